//! Finds the client process that a session belongs to, and what the event of another process may do to that
//! session. Two processes use one session id after `claude --continue` in a second window, for example.

use super::client;
use crate::env::Env;
use crate::policy::process::Process;
use crate::policy::request::{Claim, Event, Step};
use crate::policy::verdict::{Reason, Verdict};
use crate::process::{self, ProcessStatus};
use crate::store::{Store, StoreError};

/// Returns the client process that sent the event. No file is read for a Stop event that is not waited out.
pub(super) fn client_of(env: &Env, event: &Event, waits: bool) -> Option<Process> {
    let named = client::named(env)?;
    let is_plain = !waits && matches!(event, Event::Stop { .. } | Event::StopFailure(_));
    Some(if is_plain { named } else { process::exact(named.pid) })
}

/// Returns what an event does to a session of another process. A turn that an attended client ran takes the
/// session over at once.
pub(crate) fn of(event: &Event, unattended: bool) -> Claim {
    match event {
        Event::SessionStart { .. } | Event::SessionEnd | Event::Sleep => Claim::Yield,
        event if event.raises_fence() && unattended => Claim::Yield,
        event if event.raises_fence() => Claim::Take,
        _ => Claim::Beside,
    }
}

/// Sends the step to the store once, or twice where the session belongs to another process of this machine.
/// The second request contains what became of that process. Only a process that has ended loses its session
/// to a window that opens or closes, or to an unattended run.
pub(crate) fn step(store: &mut dyn Store, step: &Step) -> Result<Verdict, StoreError> {
    let mut verdict = store.step(step);
    if let Ok(Verdict { decision, .. }) = &verdict
        && decision.reason == Reason::Contested
    {
        let owner = decision.client.map(|owner| process::standing(&owner, &step.host, None));
        let claim = match owner {
            Some(ProcessStatus::Runs) => Claim::Beside,
            Some(ProcessStatus::Gone) | None => Claim::Take,
            Some(ProcessStatus::Unknown) => step.event.settles_unseen(),
        };
        verdict = store.step(&Step { claim, ..step.clone() });
    }
    verdict
}
