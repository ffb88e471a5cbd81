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
    // After a prompt the agent is at work, and the engine of the stop before has rightly left.
    let stood_down = session.begun.as_ref().is_some_and(|begun| !begun.id.is_empty());
    stood_down && session.phase == Phase::Open && session.pid.is_some() && refused && !waits(session)
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
    about(&pid.to_string()).is_none_or(|(name, is_over)| {
        !is_over && (name.starts_with("frosty") || about("self").is_some_and(|(own, _)| own == name))
    })
}

/// The name of a process, and whether it is over and only its parent has not asked for its end yet (Linux, `stat` of
/// proc(5)); it is readable for everybody, as `exe` is not.
fn about(process: &str) -> Option<(String, bool)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // A name may hold any character.
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    Some((name.to_owned(), matches!(tail.trim_start().chars().next(), Some('Z' | 'X'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::state::Begun;

    fn session(pid: u32, host: String, reason: Reason) -> SessionState {
        let begun = Some(Begun { at: 1, id: "a stop".to_owned() });
        SessionState { pid: Some(pid), host, begun, last_reason: reason.code().to_owned(), ..SessionState::default() }
    }

    #[test]
    fn a_process_by_its_number_and_name() {
        let own = std::process::id();
        assert!(waits(&session(own, clock::host(), Reason::Done)), "a process of our own name");
        // The number was given to somebody else.
        let mut other = std::process::Command::new("sleep").arg("20").spawn().unwrap();
        let reused = session(other.id(), clock::host(), Reason::Done);
        while about(&other.id().to_string()).is_some_and(|(name, _)| name != "sleep") {
            std::thread::yield_now();
        }
        assert!(!waits(&reused));
        let _ = other.kill();
        let _ = other.wait();
        assert!(!waits(&reused), "a process that is gone");
        // Of our own name for as long as it is not another program, and then nobody asks how it ended.
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
