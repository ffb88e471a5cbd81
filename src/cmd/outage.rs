//! What a command says while the server is unreachable: what it shows, and what it changed, is of this machine only.

use super::{out, warn};
use crate::hint::Problem;
use crate::policy::verdict::Verdict;
use crate::store::StoreError;
use crate::text;

/// Warns that only this machine's part is known while the server is unreachable.
pub(super) fn tell_if_away(away: Option<&StoreError>) {
    if let Some(why) = away {
        let what = "the server is unreachable, so this is the state of this machine only, and changes are sent later";
        warn(what, &why.into());
    }
}

/// Warns that the server decides, but its journal cannot be read.
pub(super) fn tell_if_unread(unread: Option<&StoreError>) {
    if let Some(why) = unread {
        warn("cannot read the journal of the server, so this is the journal of this machine", &why.into());
    }
}

/// Warns that the server does not decide for one scope.
pub(super) fn tell_of_scope(why: &Problem) {
    warn("this machine decides for this scope instead of the server", why);
}

/// Warns that the server did not confirm a hold or a release, with the cause where that was not printed before.
pub(super) fn tell_if_here_only(verdict: &Verdict, away: Option<&StoreError>) {
    if let Some(why) = &verdict.degraded {
        let why = if away.is_some() { String::new() } else { format!(": {}", text::line_of(why, 2000)) };
        let what = match verdict.unconfirmed {
            true => {
                "the server's answer was lost: this applies to this machine, and to the others if the server got it"
            }
            false => "the server is unreachable: this applies to this machine only, and is sent by its next hook",
        };
        out::report(&format!("{what}{why}\nhint: run the command again when the server is back"));
    }
}
