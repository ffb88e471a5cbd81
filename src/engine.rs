//! Finds out whether an engine waits for a session, as far as this machine can observe it.

use crate::policy::documents::{Phase, SessionState};
use crate::policy::verdict::Reason;
use crate::process::{self, ProcessStatus};

/// Returns whether the session's waiting engine runs, or `None` where no engine waits.
#[must_use]
pub fn standing(session: &SessionState) -> Option<ProcessStatus> {
    Some(process::standing(&session.pid?, &session.host, Some("frosty")))
}

/// Returns whether an engine waits for the session. For an engine of another machine or container it is only
/// known that it did.
#[must_use]
pub fn waits(session: &SessionState) -> bool {
    standing(session).is_some_and(|standing| standing != ProcessStatus::Gone)
}

/// Returns whether the session paused with an engine of this machine that is gone, so that nothing resumes it.
#[must_use]
pub fn lost(session: &SessionState) -> bool {
    let refused =
        Reason::from_code(&session.last_reason).is_some_and(|reason| reason.is_rest() || reason.is_waited_out());
    // After a prompt the agent is at work, and the engine of the previous Stop event has ended as it should.
    let stood_down = session.begun.as_ref().is_some_and(|begun| !begun.id.is_empty());
    stood_down && session.phase == Phase::Open && session.pid.is_some() && refused && !waits(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::policy::documents::Begun;
    use crate::policy::process::Birth;
    use crate::policy::process::Process;

    fn session(pid: u32, host: String, reason: Reason) -> SessionState {
        let begun = Some(Begun { at: 1, id: "a stop".to_owned() });
        SessionState {
            pid: Some(Process::numbered(pid)),
            host,
            begun,
            last_reason: reason.code().to_owned(),
            ..SessionState::default()
        }
    }

    #[test]
    fn a_process_by_its_number_and_name() {
        let own = std::process::id();
        assert!(waits(&session(own, clock::host(), Reason::Done)), "a process of our own name");
        // The process id was reused by another process.
        let mut other = std::process::Command::new("sleep").arg("20").spawn().unwrap();
        let reused = session(other.id(), clock::host(), Reason::Done);
        while waits(&reused) {
            std::thread::yield_now();
        }
        assert!(!waits(&reused));
        let _ = other.kill();
        let _ = other.wait();
        assert!(!waits(&reused), "a process that is gone");
        // The process keeps this test's name until it executes another program, and its parent does not reap
        // it.
        let own = std::env::current_exe().unwrap();
        let mut over =
            std::process::Command::new(own).arg("--help").stdout(std::process::Stdio::null()).spawn().unwrap();
        let zombie = session(over.id(), clock::host(), Reason::Done);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while waits(&zombie) {
            assert!(std::time::Instant::now() < end, "a process that is over is taken for an engine");
            std::thread::yield_now();
        }
        let _ = over.wait();
        assert!(
            waits(&session(other.id(), "elsewhere".to_owned(), Reason::Done)),
            "of another machine nothing is known"
        );
    }

    #[test]
    fn an_engine_of_another_container_is_not_known() {
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let _ = gone.wait();
        let own = crate::process::own();
        let birth = own.birth.map(|birth| Birth { namespace: birth.namespace + 1, ..birth });
        let elsewhere = Process { pid: gone.id(), birth };
        let session = SessionState { pid: Some(elsewhere), ..session(0, clock::host(), Reason::Done) };
        assert_eq!(standing(&session), Some(ProcessStatus::Unknown));
        assert!(waits(&session) && !lost(&session), "it is never reported as gone");
        // On this machine, another process has the id by now.
        let birth = own.birth.map(|birth| Birth { start: birth.start + 1, ..birth });
        let session = SessionState { pid: Some(Process { birth, ..own }), ..session };
        assert!(!waits(&session) && lost(&session));
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
            let prompted = Some(Begun { at: 2, id: String::new() });
            assert!(!lost(&SessionState { begun: prompted, ..session.clone() }), "a person's turn");
            assert!(!lost(&SessionState { phase: Phase::Ended, ..session.clone() }));
            assert!(!lost(&SessionState { host: "elsewhere".to_owned(), ..session }));
        }
    }
}
