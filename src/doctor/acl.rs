//! Checks command by command whether the server's user has the rights that Frosty needs. Each command is called so that
//! it only reads, or is refused for its arguments: a server checks the user's rights before the arguments. `ACL DRYRUN`
//! would give the same answer, but needs rights of its own, and not every server has it.

use redis::{Cmd, Value};

use super::report::Check;
use super::server::{ServerFacts, each};
use crate::config::{Config, Server};
use crate::store::StoreError;
use crate::store::server::connection::{Link, error_text};
use crate::store::server::trial;
use crate::store::server::trial::JOURNAL;
use crate::text;

const NAME: &str = "rights";

/// The result of the trial.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// The missing rights, as words of an ACL rule.
    pub(super) denied: Vec<&'static str>,
    /// The server's reason for refusing writes.
    pub(super) unwritable: Option<String>,
}

/// Tries every command. Afterwards the connection only listens.
///
/// # Errors
/// When the connection ends.
pub(super) fn try_all(link: &mut Link<'_>, config: &Config) -> Result<Tried, StoreError> {
    let mut tried = Tried::default();
    let (words, commands): (Vec<_>, Vec<Cmd>) =
        trial::all(config).into_iter().map(|(right, cmd, of)| ((right, of), cmd)).unzip();
    for ((right, of), answer) in words.into_iter().zip(each(link, &commands)?) {
        let Value::ServerError(e) = answer else { continue };
        let said = error_text(&e);
        match e.code() {
            code if code.starts_with("NOPERM") => {
                let what = if is_about_the_command(&said) { right } else { of };
                if !tried.denied.contains(&what) {
                    tried.denied.push(what);
                }
            }
            "READONLY" | "OOM" | "MISCONF" | "LOADING" | "MASTERDOWN" | "NOREPLICAS" | "CLUSTERDOWN" => {
                tried.unwritable.get_or_insert(said);
            }
            _ => {}
        }
    }
    Ok(tried)
}

/// Returns whether a refusal concerns the command and not its keys or channels. A name in it may contain any word.
fn is_about_the_command(said: &str) -> bool {
    said.contains("to run the")
        || !["one of the keys", "one of the channels", "to access"].iter().any(|w| said.contains(w))
}

/// Returns whether the user has every right; `None` where that is not known.
pub(super) fn rights(told: &ServerFacts, server: &Server, config: &Config) -> Option<Check> {
    let denied = told.denied.as_ref()?;
    let user = server.username.as_deref().map_or_else(|| "default".to_owned(), text::word);
    if denied.is_empty() {
        return Some(Check::ok(NAME, format!("the user {user} may do all that Frosty does")));
    }
    // The words are pasted into a shell, where only the command rights need no quotes.
    let word = |word: &&str| match *word {
        JOURNAL => text::word(&format!("~{}", config.stream)),
        word if word.starts_with('+') => word.to_owned(),
        word => format!("'{word}'"),
    };
    let missing = denied.iter().map(word).collect::<Vec<_>>().join(" ");
    let found = format!("the user {user} may not do all that Frosty does; it lacks {missing}");
    Some(Check::fail(NAME, found, format!("redis-cli -u {} ACL SETUSER {user} {missing}", told.at)))
}
