//! Whether an engine waits for a session, as far as this machine can tell.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::clock;
use crate::throttle::state::{Phase, SessionState};
use crate::throttle::verdict::Reason;

/// Whether an engine waits for the session; of another machine's is only known that one did.
#[must_use]
pub fn waits(session: &SessionState) -> bool {
    session.pid.is_some_and(|pid| session.host != clock::host() || is_alive(pid))
}

/// Whether the session stood down with an engine of this machine that is gone: nobody brings it back by itself.
#[must_use]
pub fn lost(session: &SessionState) -> bool {
    let refused =
        Reason::from_code(&session.last_reason).is_some_and(|reason| reason.is_rest() || is_waited_out(reason));
    // A prompt since then sent the engine away, and the session on.
    let prompted = session.begun.as_ref().is_some_and(|begun| begun.id.is_empty());
    session.phase == Phase::Open && session.pid.is_some() && refused && !prompted && !waits(session)
}

/// Whether a waiting engine stays for it.
fn is_waited_out(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::MinInterval | Reason::Burst | Reason::Cooldown | Reason::ApiError | Reason::Hold | Reason::Quota
    )
}

/// Whether the process is there and is a frosty: a number is given to another process one day.
fn is_alive(pid: u32) -> bool {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    if test_kill_process(process) == Err(Errno::SRCH) {
        return false;
    }
    // Without /proc its number is all that is known of it.
    name_of(&pid.to_string()).is_none_or(|name| name.starts_with("frosty") || Some(name) == name_of("self"))
}

/// The name of a process (Linux); it is readable for everybody, as `exe` is not.
fn name_of(process: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/comm")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::state::Begun;

    fn session(pid: u32, host: String, reason: Reason) -> SessionState {
        SessionState { pid: Some(pid), host, last_reason: reason.code().to_owned(), ..SessionState::default() }
    }

    #[test]
    fn a_process_by_its_number_and_name() {
        let own = std::process::id();
        assert!(waits(&session(own, clock::host(), Reason::Done)), "a process of our own name");
        // The number was given to somebody else.
        let mut other = std::process::Command::new("sleep").arg("20").spawn().unwrap();
        let reused = session(other.id(), clock::host(), Reason::Done);
        while name_of(&other.id().to_string()).is_some_and(|name| name.trim() != "sleep") {
            std::thread::yield_now();
        }
        assert!(!waits(&reused));
        let _ = other.kill();
        let _ = other.wait();
        assert!(!waits(&reused), "a process that is gone");
        assert!(
            waits(&session(other.id(), "elsewhere".to_owned(), Reason::Done)),
            "of another machine nothing is known"
        );
    }

    #[test]
    fn who_is_lost() {
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let _ = gone.wait();
        for (reason, is_lost) in [
            (Reason::Done, true),
            (Reason::Parked, true),
            (Reason::Cooldown, true),
            (Reason::Hold, true),
            (Reason::Admitted, false),
            (Reason::Superseded, false),
            (Reason::Event, false),
        ] {
            let session = session(gone.id(), clock::host(), reason);
            assert_eq!(lost(&session), is_lost, "{reason:?}");
            assert!(!lost(&SessionState { pid: None, ..session.clone() }), "the plain engine waits for nobody");
            assert!(!lost(&SessionState { phase: Phase::Ended, ..session.clone() }));
            let prompted = Some(Begun { at: 1, id: String::new() });
            assert!(!lost(&SessionState { begun: prompted, ..session.clone() }));
            assert!(!lost(&SessionState { host: "elsewhere".to_owned(), ..session }));
        }
    }
}
