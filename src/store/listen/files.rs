//! Listens on the embedded store: checks its files once a second, and reads those that were replaced.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Listener, Look};
use crate::clock;
use crate::config::{Config, Server};
use crate::policy::work::WorkMode;
use crate::policy::work::queue::InHand;
use crate::store::StoreError;
use crate::store::failover::{probe, server_record};
use crate::store::files::state_file::{FleetFile, ScopeFile, SessionFile};
use crate::store::files::{paths, state_file, transaction, work};
use crate::store::work::seen as claims;

const EVERY: Duration = Duration::from_secs(1);
/// The slowest pace of requests to a server that exists but does not answer for this scope.
const SLOWEST: Duration = Duration::from_secs(10);

/// What distinguishes a replaced file from the one read before: each replacement is a file of its own.
type Mark = Option<(u64, i64, i64, u64)>;

pub(crate) struct FileNotifications<'a> {
    scope: PathBuf,
    session: PathBuf,
    fleet: PathBuf,
    record: PathBuf,
    /// The document of the queue that the session works through, the folder of its fleet, and its agent.
    work: Option<(PathBuf, PathBuf, String)>,
    /// The entries of that queue that sessions have in hand.
    in_hand: Vec<InHand>,
    seen: Option<Box<([Mark; 5], Look)>>,
    /// The change that was committed and not finished at the last look.
    unfinished: Mark,
    absent: Option<Absent<'a>>,
}

/// The server that the files replace while they are watched.
struct Absent<'a> {
    config: &'a Config,
    server: &'a Server,
    /// The earliest time of the next try, whatever the record contains.
    not_before: Instant,
    /// Whether the server was never there, so that no breaker paces the tries.
    new: bool,
}

impl<'a> FileNotifications<'a> {
    pub(super) fn open(config: &Config, listener: &Listener) -> Result<Self, StoreError> {
        let dir = config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet);
        let agent = Some(&listener.agent).filter(|agent| config.policy.work.mode != WorkMode::Off && !agent.is_empty());
        let work = agent.map(|agent| (dir.join(paths::queue(agent)), dir.clone(), agent.clone()));
        Ok(Self {
            scope: state_file::scope(&dir, &listener.scope),
            session: state_file::session(&dir, &listener.session),
            fleet: state_file::fleet(&dir),
            record: server_record::path(&dir),
            work,
            in_hand: Vec::new(),
            seen: None,
            unfinished: None,
            absent: None,
        })
    }

    /// Also watches for the server's return: at once, and more slowly where it refused this scope `times` before.
    pub(super) fn watching_for(self, config: &'a Config, server: &'a Server, times: u32) -> Self {
        let patience = EVERY.saturating_mul(1 << times.min(10)).min(SLOWEST);
        // The server's queue is not known here.
        let absent = Some(Absent { config, server, not_before: clock::now() + patience, new: false });
        Self { absent, work: None, ..self }
    }

    /// Also checks at intervals whether a server was started where none ever was.
    pub(super) fn expecting(self, config: &'a Config, server: &'a Server) -> Self {
        Self { absent: Some(Absent { config, server, not_before: clock::now() + SLOWEST, new: true }), ..self }
    }

    fn is_back(&mut self) -> bool {
        let Some(Absent { config, server, not_before, new }) = &mut self.absent else { return false };
        let now = clock::now();
        if now < *not_before {
            return false;
        }
        if *new {
            *not_before = now + SLOWEST;
            return probe::answers(config, server, now + config.budget);
        }
        probe::is_back(config, server)
    }
}

impl FileNotifications<'_> {
    pub(super) fn look(&mut self) -> Look {
        let unfinished = self.record.parent().and_then(|dir| mark(&transaction::path(dir)));
        let is_left = unfinished.is_some() && unfinished == self.unfinished;
        self.unfinished = unfinished;
        let look = self.look_at_files();
        // The process that committed the change was killed before it finished it, and the next request does.
        if is_left { Look { fence: None, ..look } } else { look }
    }

    fn look_at_files(&mut self) -> Look {
        let is_back = self.is_back();
        let now = clock::host_ms();
        let record = self.absent.as_ref().and_then(|_| mark(&self.record));
        let queue = self.work.as_ref().and_then(|(queue, ..)| mark(queue));
        let marks = [mark(&self.scope), mark(&self.session), mark(&self.fleet), record, queue];
        if let Some((seen, look)) = self.seen.as_deref()
            && *seen == marks
            && claims(&self.in_hand).iter().all(|(_, runs)| *runs)
        {
            return Look { now, is_back, ..look.clone() };
        }
        let mut look = Look { now, ..Look::default() };
        // The next request handles an unreadable file, under the lock.
        if let Some(file) = state_file::peek::<ScopeFile>(&self.scope) {
            look.holds.extend(file.scope.hold);
            look.released = file.scope.released;
        }
        // The session's file does not depend on its scope.
        if let Some(SessionFile { session, .. }) = state_file::peek(&self.session) {
            (look.fence, look.woken) = (session.fence, session.woken);
            let work = self.work.as_ref().and_then(|(_, dir, agent)| work::load(dir, agent).ok()?);
            look.work_at = super::work_at(&session, work.as_ref().map(|work| &work.state), now);
            self.in_hand = work.map(|work| work.state.queue.hand).unwrap_or_default();
        }
        if let Some(file) = state_file::peek::<FleetFile>(&self.fleet) {
            look.released = look.released.max(file.fleet.lifted_at());
            look.holds.extend(file.fleet.hold);
        }
        if let (Some(absent), Some(dir)) = (&self.absent, self.record.parent()) {
            let record = server_record::read(dir);
            look.holds.extend(record.as_ref().and_then(|r| r.fleet_hold(&absent.server.shown)).cloned());
        }
        self.seen = Some(Box::new((marks, look.clone())));
        Look { is_back, ..look }
    }
}

fn mark(path: &Path) -> Mark {
    let about = fs::metadata(path).ok()?;
    Some((about.ino(), about.mtime(), about.mtime_nsec(), about.size()))
}
