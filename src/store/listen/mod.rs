//! The notifications for a waiting engine between two requests. They decide nothing: each only makes the engine send a
//! request.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

mod files;
mod published;
mod server;

use crate::clock;
use crate::config::Config;
use crate::policy::documents::{FleetState, SessionState};
use crate::policy::hold::Hold;
use crate::policy::limits::{Ms, millis};
use crate::policy::verdict::{Decision, Reason};
use crate::policy::work::WorkState;
use crate::policy::work::rule::waits_for_queue;
use crate::store::server::kept_connection::Line;
use crate::store::server::load::Loaded;
#[cfg(test)]
use crate::store::simulator;
use crate::store::{StoreError, server as configured};
pub use published::{Word, Words};

/// The longest single wait, after which the engine finds a lost notification by reading the state.
pub const LONGEST: Duration = Duration::from_secs(5);

/// How often a wait checks the state on this machine.
const EACH: Duration = Duration::from_secs(1);

/// The session that a waiting engine listens for.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The scope, encoded.
    pub scope: String,
    /// The session, encoded.
    pub session: String,
    /// The session's name; empty for none.
    pub name: String,
    /// The agent whose work queue the session works through, encoded; empty for none.
    pub agent: String,
}

/// The store's data about the session and the holds over it.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The session's fence.
    pub fence: Option<i64>,
    /// Whether there is a wake-up that no admission has delivered.
    pub woken: bool,
    /// When a session that has no entry of work in hand could claim one, or end the claim of a client that is gone.
    pub work_at: Option<Ms>,
    /// The holds of the scope and of its fleet, in force or over.
    pub holds: Vec<Hold>,
    /// When a hold or an API cooldown of the scope or its fleet was last ended before its time.
    pub released: Option<Ms>,
    /// The store's clock.
    pub now: Ms,
    /// Whether the server is back that this store replaced.
    pub is_back: bool,
}

impl Look {
    /// Returns the data that was read from a server.
    fn of(loaded: &Loaded) -> Self {
        let session = &loaded.session.state;
        let (scope, fleet) = (loaded.scope.as_ref().map(|d| &d.state), loaded.fleet.as_ref().map(|d| &d.state));
        let holds = [scope.and_then(|s| s.hold.clone()), fleet.and_then(|f| f.hold.clone())];
        let released = [scope.and_then(|s| s.released), fleet.and_then(FleetState::lifted_at)];
        Self {
            fence: session.fence,
            woken: session.woken,
            work_at: work_at(session, loaded.work.as_ref().map(|work| &work.state), loaded.now),
            holds: holds.into_iter().flatten().collect(),
            released: released.into_iter().flatten().max(),
            now: loaded.now,
            is_back: false,
        }
    }

    /// Returns whether a new request could get another answer than `refused` before its `retry_after` is over.
    ///
    /// A session that is unknown to the store, or has an older fence there, is sent again.
    #[must_use]
    pub fn contradicts(&self, refused: &Decision, fence: i64) -> bool {
        if self.is_back || self.fence != Some(fence) || (self.woken && refused.reason.is_rest()) {
            return true;
        }
        let ends_by_work = matches!(refused.reason, Reason::NoWork | Reason::Done | Reason::Idle);
        if ends_by_work && self.work_at.is_some_and(|at| end_of(refused).is_none_or(|end| at < end)) {
            return true;
        }
        if matches!(refused.reason, Reason::ApiError | Reason::Spread) {
            return self.released.is_some_and(|at| at >= refused.now);
        }
        refused.reason == Reason::Hold && self.held_until(refused.now) != Some(end_of(refused))
    }

    /// Returns when the last hold in force at `now` ends: `None` without a hold, `Some(None)` when no time ends it.
    fn held_until(&self, now: Ms) -> Option<Option<Ms>> {
        let ends = self.holds.iter().filter(|h| h.holds(now)).map(|h| h.until);
        ends.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)))
    }
}

/// Returns when a session could have an entry of the queue that it works through.
fn work_at(session: &SessionState, work: Option<&WorkState>, now: Ms) -> Option<Ms> {
    let work = work.filter(|_| !session.gate)?;
    if session.work.as_ref().is_some_and(|own| work.has(own)) {
        return waits_for_queue(session).then_some(now);
    }
    let is_gone = || work.seen.iter().any(|(_, runs)| !runs);
    if work.has_work(now) || is_gone() { Some(now) } else { work.next_due(now) }
}

/// Returns when a refusal ends, by the store's clock.
#[must_use]
pub fn end_of(refused: &Decision) -> Option<Ms> {
    refused.retry_after.map(|left| refused.now.saturating_add(millis(left)))
}

/// What ended a wait.
#[derive(Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// The time was over or a notification came: the state must be read again.
    Stirred,
    /// The texts that other programs published: wake-ups that the store does not know of yet.
    Words(Words),
}

/// The source of one waiting engine's notifications.
pub(crate) enum Notifications<'a> {
    /// A server, over the engine's connection.
    Server(server::ServerNotifications<'a>),
    /// The files of the embedded store.
    Files(files::FileNotifications<'a>),
}

impl<'a> Notifications<'a> {
    /// Listens on the store that gave the last answer.
    ///
    /// # Errors
    /// When there is no state folder.
    pub(crate) fn open(config: &'a Config, listener: &Listener, source: Source) -> Result<Self, StoreError> {
        let files = || files::FileNotifications::open(config, listener);
        Ok(match (configured(config), source) {
            (Some((server, _)), Source::Server) => {
                Self::Server(server::ServerNotifications::new(config, server, listener))
            }
            (Some((server, _)), Source::Outage(times)) => Self::Files(files()?.watching_for(config, server, times)),
            // A server that never existed may be started some day, and wake-ups are then sent to it.
            (Some((server, _)), Source::Files) => Self::Files(files()?.expecting(config, server)),
            _ => Self::Files(files()?),
        })
    }

    /// Reads the session and the holds over the connection in `line`, and opens one where there is none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn look(&mut self, line: &mut Option<Line<'a>>) -> Result<Look, StoreError> {
        match self {
            Self::Server(server) => server.look(line),
            Self::Files(files) => Ok(files.look()),
        }
    }

    /// Waits for a notification, for at most `most` (and [`LONGEST`]), or until `interrupt` can be read.
    ///
    /// It checks `stirs` on this machine once a second.
    pub(crate) fn wait(
        &mut self,
        line: &mut Option<Line<'a>>,
        most: Duration,
        interrupt: BorrowedFd<'_>,
        stirs: &dyn Fn() -> bool,
    ) -> WaitEnd {
        match self {
            Self::Server(server) => server.wait(line, most, interrupt, stirs),
            Self::Files(_) => {
                let _ = poll([interrupt], most.min(EACH));
                WaitEnd::Stirred
            }
        }
    }

    /// Returns why the connection was lost, once.
    pub(crate) fn loss(&mut self) -> Option<String> {
        match self {
            Self::Server(server) => server.loss(),
            Self::Files(_) => None,
        }
    }
}

/// The source of the last answer, where an engine listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The server.
    Server,
    /// Files, as the configured store.
    Files,
    /// Files, in the place of a server that is away; the number is how many times in a row.
    Outage(u32),
}

impl Source {
    /// Returns the source of an answer after one of `before`.
    #[must_use]
    pub fn of(by_files: bool, outage: bool, before: Option<Self>) -> Self {
        match (by_files, outage, before) {
            (false, ..) => Self::Server,
            (true, false, _) => Self::Files,
            (true, true, Some(Self::Outage(n))) => Self::Outage(n.saturating_add(1)),
            (true, true, _) => Self::Outage(0),
        }
    }
}

/// Sleeps until one of `interrupts` can be read, at most this long.
pub fn pause<const N: usize>(most: Duration, interrupts: [BorrowedFd<'_>; N]) {
    let _ = poll(interrupts, most);
}

/// Sleeps until `interrupt` can be read, the time has come, or the check `stirs`, once a second, returns true.
pub fn pause_until(until: Instant, interrupt: BorrowedFd<'_>, stirs: &dyn Fn() -> bool) {
    loop {
        let left = until.saturating_duration_since(clock::now());
        if left.is_zero() || poll([interrupt], left.min(EACH)) != Some([false]) || stirs() {
            return;
        }
    }
}

/// Waits until one of these can be read and returns which can; `None` when a signal came.
fn poll<const N: usize>(of: [BorrowedFd<'_>; N], most: Duration) -> Option<[bool; N]> {
    #[cfg(test)]
    if let Some(is_ready) = simulator::poll(N > 1, most) {
        return Some(std::array::from_fn(|nth| is_ready && nth == 0));
    }
    use rustix::event::{PollFd, PollFlags, Timespec};
    let mut fds = of.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let timeout = Timespec::try_from(most).ok();
    match rustix::event::poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Some(fds.map(|fd| !fd.revents().is_empty())),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision::refusal;
    use crate::policy::verdict::Held;

    fn refused(reason: Reason, retry_after: Option<u64>) -> Decision {
        Decision {
            retry_after: retry_after.map(Duration::from_millis),
            fence: Some(7),
            held: Some(Held { by: String::new(), reason: String::new(), fleet: false }),
            ..refusal(reason, 1000)
        }
    }

    fn hold(until: Option<Ms>) -> Hold {
        Hold { reason: String::new(), by: "ann".into(), since: 0, until, id: 0 }
    }

    #[test]
    fn only_what_could_change_the_answer_makes_it_ask() {
        let look = |fence, woken, holds: &[Option<Ms>]| Look {
            fence: Some(fence),
            woken,
            work_at: None,
            holds: holds.iter().map(|u| hold(*u)).collect(),
            released: Some(999),
            now: 1000,
            is_back: false,
        };
        for (look, refused, asks) in [
            (look(7, false, &[]), refused(Reason::Rest, Some(50)), false),
            (look(6, false, &[]), refused(Reason::Rest, Some(50)), true),
            (look(8, false, &[]), refused(Reason::Rest, Some(50)), true),
            (look(7, true, &[]), refused(Reason::Done, None), true),
            (look(7, true, &[]), refused(Reason::Cooldown, Some(50)), false),
            (look(7, true, &[]), refused(Reason::Quota, Some(50)), false),
            (look(7, false, &[Some(1050)]), refused(Reason::Hold, Some(50)), false),
            (look(7, false, &[Some(1050), Some(900)]), refused(Reason::Hold, Some(50)), false),
            (look(7, false, &[Some(1040)]), refused(Reason::Hold, Some(50)), true),
            (look(7, false, &[]), refused(Reason::Hold, Some(50)), true),
            (look(7, false, &[]), refused(Reason::Hold, None), true),
            (look(7, false, &[None, Some(1050)]), refused(Reason::Hold, None), false),
            (look(7, true, &[None]), refused(Reason::Hold, None), false),
            (look(7, false, &[None]), refused(Reason::Cooldown, Some(50)), false),
        ] {
            assert_eq!(look.contradicts(&refused, 7), asks, "{look:?} {refused:?}");
        }
        let failed = refused(Reason::ApiError, Some(50));
        assert!(!look(7, false, &[]).contradicts(&failed, 7), "released before it was refused");
        assert!(Look { released: Some(1000), ..look(7, false, &[]) }.contradicts(&failed, 7));
        let with_work = |at| Look { work_at: Some(at), ..look(7, false, &[]) };
        for (reason, left, at, asks) in [
            (Reason::NoWork, None, 5000, true),
            (Reason::NoWork, Some(50), 1049, true),
            (Reason::NoWork, Some(50), 1050, false),
            (Reason::Done, None, 1000, true),
            (Reason::Idle, Some(50), 1000, true),
            (Reason::Rest, Some(50), 1000, false),
            (Reason::Blocked, None, 1000, false),
        ] {
            assert_eq!(with_work(at).contradicts(&refused(reason, left), 7), asks, "{reason:?} {left:?} {at}");
        }
        let lost = Look { fence: None, ..look(0, false, &[]) };
        assert!(lost.contradicts(&refused(Reason::Rest, Some(50)), 7), "a server that lost its data");
    }
}
