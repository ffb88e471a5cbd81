//! A Redis-protocol server as the store: it loads the input of a step, the policy decides, and it commits the result.
//!
//! On a conflict it loads and decides again.

pub(crate) mod changes;
pub(crate) mod commit;
pub(crate) mod connection;
pub(crate) mod document;
pub(crate) mod kept_connection;
pub(crate) mod keys;
pub(crate) mod load;
pub mod pipeline;
pub(crate) mod remedy;
#[doc(hidden)]
pub mod request_bytes;
pub(crate) mod session_index;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod trial;
pub(crate) mod wire;
pub(crate) mod work;

use std::time::{Duration, Instant};

use redis::{Value, cmd};

use crate::clock;
use crate::config::Config;
use crate::policy::decision;
use crate::policy::request::{Event, Step};
use crate::policy::verdict::{Attempt, Decision, Outcome, Reason, Verdict};
use crate::store::StoreError;
use crate::store::failover::carry::Carry;
use crate::store::failover::merge_base::Seen;
use crate::store::server::commit::{COMMIT, COMMIT_SHA, Commit, Committed, committed};
use crate::store::server::connection::{Link, error_text, refused};
use crate::store::server::kept_connection::{Line, Remembered};
use crate::store::server::load::{Load, Loaded, time};

/// The name of this store in the journal.
pub const NAME: &str = "dragonfly";

/// The time before the deadline in which a conflict is no longer decided again, beside the round trips that this takes.
const LAST_TRY: Duration = Duration::from_millis(10);
/// The number of conflicts that are retried without a pause.
const FREE_CONFLICTS: u32 = 2;
/// When a request that met conflicts until its deadline is to be sent again.
const BUSY: Duration = Duration::from_millis(500);

/// The server as a store: one connection for one verdict.
pub struct Dragonfly<'a> {
    config: &'a Config,
    link: Link<'a>,
    logged_in: bool,
    /// The documents after the last step.
    seen: Option<Seen>,
    /// Whether a commit was sent, and its answer did not come.
    unconfirmed: bool,
    /// Whether the connection was open before, so that it may have been cut meanwhile.
    is_kept: bool,
    /// The state that was read last over it.
    remembered: Option<Remembered>,
}

impl<'a> Dragonfly<'a> {
    /// Makes a store over an open connection.
    pub(crate) fn new(config: &'a Config, link: Link<'a>) -> Self {
        Self { config, link, logged_in: false, seen: None, unconfirmed: false, is_kept: false, remembered: None }
    }

    /// Makes a store over a connection that was kept since the last request.
    pub(crate) fn over(config: &'a Config, line: Line<'a>, deadline: Instant) -> Self {
        let (mut link, remembered) = line.into_parts();
        link.until(deadline);
        Self { config, link, logged_in: true, seen: None, unconfirmed: false, is_kept: true, remembered }
    }

    /// Returns the connection, to be kept until the next request.
    pub(crate) fn into_line(self) -> Line<'a> {
        Line::of(self.link)
    }

    /// Returns the connection.
    pub(crate) fn link(&mut self) -> &mut Link<'a> {
        &mut self.link
    }

    /// Logs in, unless that was done.
    pub(crate) fn log_in(&mut self) -> Result<(), StoreError> {
        if !self.logged_in {
            self.link.log_in()?;
            self.logged_in = true;
        }
        Ok(())
    }

    /// Checks that it is a Redis-protocol server at all.
    ///
    /// # Errors
    /// When it does not answer, or its answer is no time.
    pub(crate) fn greet(&mut self) -> Result<(), StoreError> {
        self.log_in()?;
        let answer = self.link.ask(&[cmd("TIME")])?.pop().unwrap_or(Value::Nil);
        time(&answer).map(|_| ()).ok_or_else(|| self.link.nonsense(&answer))
    }

    /// Returns the documents after the last step.
    pub(crate) fn take_seen(&mut self) -> Option<Seen> {
        self.seen.take()
    }

    /// Returns whether the last step may have been committed, though it failed.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.unconfirmed
    }

    fn load(&mut self, step: &Step) -> Result<Loaded, StoreError> {
        let load = Load::of(self.config, self.link.server(), step);
        let deadline = self.link.deadline();
        let answers = match self.link.ask(&load.questions()) {
            Err(StoreError::Nonsense { .. } | StoreError::Unreachable { .. }) if std::mem::take(&mut self.is_kept) => {
                self.link.renew()?;
                self.link.until(deadline);
                self.link.ask(&load.questions())?
            }
            answers => answers?,
        };
        load.answers(answers)
    }

    /// Returns the remembered state, where this step may be decided from it without a read.
    ///
    /// That is an engine's request for which the commit checks all conditions of an admission: a later one, or that of
    /// a Stop event whose turn it measured. The commit does not check a place in a wait queue, nor one in a burst window
    /// that limits beside a minimum interval.
    fn remembered(&mut self, step: &Step) -> Option<Loaded> {
        let policy = &self.config.policy;
        let is_checked = matches!(step.event, Event::Ask { .. } | Event::Stop { .. })
            && policy.stop.quotas.is_empty()
            && policy.fleet_quotas.is_empty()
            && policy.pace.is_none()
            && !policy.stop.window_limits;
        self.remembered.take().filter(|_| is_checked).map(Remembered::now)
    }

    /// Commits; the script's text is sent only where the server does not know it.
    fn commit(&mut self, commit: &Commit) -> Result<Committed, StoreError> {
        if commit.is_empty() {
            return Ok(Committed::Done { unjournaled: false });
        }
        self.unconfirmed = true;
        let mut answer = self.link.call(&[], &commit.call("EVALSHA", COMMIT_SHA))?;
        if matches!(&answer, Value::ServerError(e) if e.code() == "NOSCRIPT") {
            answer = self.link.call(&[], &commit.call("EVAL", COMMIT))?;
        }
        if let Value::ServerError(e) = &answer {
            self.unconfirmed = false;
            return Err(refused(self.link.server(), &error_text(e)));
        }
        let committed = committed(&answer).ok_or_else(|| self.link.nonsense(&answer))?;
        self.unconfirmed = false;
        Ok(committed)
    }

    /// Works as [`Dragonfly::commit`], but returns `None` where the answer was lost `for_the_first_time`.
    ///
    /// The next load shows whether the commit was applied. An admitted request is known by its id, and a hold or a release
    /// by its commit's id.
    fn commit_or_ask_again(
        &mut self,
        commit: &Commit,
        for_the_first_time: &mut bool,
    ) -> Result<Option<Committed>, StoreError> {
        let deadline = self.link.deadline();
        match self.commit(commit) {
            Err(StoreError::Nonsense { .. } | StoreError::Unreachable { .. })
                if std::mem::take(for_the_first_time) && clock::now() + LAST_TRY < deadline =>
            {
                self.link.renew()?;
                self.link.until(deadline);
                Ok(None)
            }
            committed => committed.map(Some),
        }
    }

    /// Sends the decisions made while the server could not be reached; returns the documents after that.
    ///
    /// # Errors
    /// When the server is not known to have all of it.
    pub(crate) fn tell(&mut self, carry: &Carry<'_>) -> Result<Seen, StoreError> {
        self.log_in()?;
        loop {
            let answers = self.link.ask(&carry.questions())?;
            let (commit, seen) = carry.merge(self.link.server(), answers)?;
            if self.commit(&commit)? != Committed::Conflict {
                return Ok(seen);
            }
        }
    }

    /// Works as [`Store::step`](crate::store::Store::step), for a machine that knows the server by this epoch.
    ///
    /// # Errors
    /// When nothing is known to be committed.
    pub(crate) fn step(&mut self, step: &Step, known_epoch: &str) -> Result<Verdict, StoreError> {
        self.log_in()?;
        let step = &Step { known_epoch: known_epoch.to_owned(), ..step.clone() };
        // An event that is no request would be applied twice.
        let (mut is_first_loss, mut conflicts) = (step.event.asks().is_some() || step.event.is_of_holds(), 0);
        let mut sent: Option<(Vec<String>, Decision)> = None;
        let mut remembered = self.remembered(step);
        loop {
            let (is_remembered, begun) = (remembered.is_some(), clock::now());
            let loaded = remembered.take().map_or_else(|| self.load(step), Ok)?;
            let trip = clock::now().saturating_duration_since(begun);
            if let Some((written, decided)) = sent.take()
                && loaded.has(&written)
            {
                self.seen = Some(loaded.seen(step, loaded.state()));
                return Ok(Verdict::committed(decided, loaded.notes()));
            }
            let mut state = loaded.state();
            #[cfg(test)]
            crate::store::simulator::loaded(&mut state, step);
            let decided = decision::step(&self.config.policy, &mut state, step, loaded.now);
            // A refusal checks nothing, so it is decided from fresh data.
            if is_remembered && decided.outcome != Outcome::Admit {
                continue;
            }
            if decided.reason == Reason::Contested || decided.repeated {
                self.seen = Some(loaded.seen(step, state));
                return Ok(Verdict::committed(decided, loaded.notes()));
            }
            let commit = changes::of(self.config, step, &loaded, &mut state, &decided);
            match self.commit_or_ask_again(&commit, &mut is_first_loss)? {
                Some(Committed::Done { unjournaled }) => {
                    self.seen = Some(loaded.seen(step, state));
                    return Ok(Verdict { unjournaled, ..Verdict::committed(decided, loaded.notes()) });
                }
                lost_or_conflict => {
                    let is_conflict = lost_or_conflict.is_some();
                    conflicts += u32::from(!is_remembered);
                    // Another load and commit, and then the commit of the attempt, must be answered in time.
                    let is_late = clock::now() + LAST_TRY + 3 * trip >= self.link.deadline();
                    if is_conflict && is_late && step.event.asks().is_some() {
                        return self.give_up(step, &loaded, decided);
                    }
                    sent = step.event.is_of_holds().then_some((commit.written, decided));
                    pause(conflicts);
                }
            }
        }
    }
}

impl Dragonfly<'_> {
    /// Commits only the attempt of a request that met conflicts until its deadline.
    fn give_up(&mut self, step: &Step, loaded: &Loaded, decided: Decision) -> Result<Verdict, StoreError> {
        let decided = busy(decided);
        let commit = changes::of_attempt(self.config, step, loaded, &decided);
        let Committed::Done { unjournaled } = self.commit(&commit)? else {
            // This commit has no condition.
            return Err(self.link.nonsense(&Value::SimpleString("conflict".to_owned())));
        };
        self.seen = Some(loaded.seen(step, loaded.state()));
        Ok(Verdict { unjournaled, ..Verdict::committed(decided, loaded.notes()) })
    }
}

/// Waits after conflicts, longer after more of them and by chance, so that the same requests do not meet again.
fn pause(conflicts: u32) {
    let most = 1_u64 << conflicts.saturating_sub(FREE_CONFLICTS).min(5);
    if conflicts > FREE_CONFLICTS {
        clock::sleep(Duration::from_micros(500 * (1 + clock::chance() % most)));
    }
}

/// Returns the answer to a request that met conflicts until its deadline.
fn busy(decided: Decision) -> Decision {
    let attempt = if decided.attempt == Attempt::Uncounted { Attempt::Uncounted } else { Attempt::Counted };
    let refusal = decision::refusal(Reason::Busy, decided.now);
    Decision { attempt, fence: decided.fence, store_epoch: decided.store_epoch, retry_after: Some(BUSY), ..refusal }
}
