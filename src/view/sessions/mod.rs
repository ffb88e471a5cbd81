//! Reads the sessions of a fleet and their states once ([`Report::read`]), and formats them as a table ([`table`]) or
//! as JSON ([`json`]).

pub mod json;
pub mod kind;
pub mod screen;
pub mod state;
pub mod table;
pub mod width;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::engine;
use crate::local_time;
use crate::naming::{self, Names};
use crate::policy::api_error::BY_API;
use crate::policy::burst_window;
use crate::policy::decision::State;
use crate::policy::documents::{Phase, ScopeState, SessionState};
use crate::policy::hold::Hold;
use crate::policy::limits::{Ms, millis};
use crate::policy::verdict::Reason;
use crate::process::ProcessStatus;
use crate::store::files::undecided;
use crate::store::files::undecided::Undecided;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::outbox::backlog;
use crate::store::outbox::backlog::Backlog;
use crate::store::{self, StoreError};
use crate::view::journal::Admissions;
use crate::view::survey::{QuotaLeft, under};
use crate::view::usage::Usage;
use crate::view::work::{Summary, summaries};

use kind::{Back, Kind};
use state::{Engine, Facts};

/// Sessions that were not seen for this long are left out, unless an engine waits for them.
const RECENT: Ms = 86_400_000;
/// Sessions that need a person are shown for this long.
const STILL_WANTED: Ms = 7 * 86_400_000;
/// A state that lasts longer is shown with its age.
const MINUTE: Ms = 60_000;
/// The period over which admissions are counted.
const HOUR: Ms = 3_600_000;
/// How often `--watch` counts the admissions: counting is more work for a server than all other queries.
const RECOUNT: Duration = Duration::from_secs(10);
/// The longest time that counting may take for people, from the begin of the reading.
const SOON: Duration = Duration::from_millis(120);
/// The most entries of the journal that are counted; for people half as many.
const MOST_READ: usize = 20_000;

/// One session and its state.
#[derive(Debug, Clone)]
pub struct Row {
    /// The session's id, encoded.
    pub id: String,
    /// The session's shown name.
    pub name: String,
    /// The name of its agent's profile; empty without one.
    pub profile: String,
    /// The session's document in the store.
    pub session: SessionState,
    /// The session's state.
    pub kind: Kind,
    /// What resumes the session.
    pub back: Back,
    /// The time since its last event.
    pub quiet: Ms,
    /// The number of attempts in its scope's burst window.
    pub attempts: u32,
    /// The trips of its scope that are not forgotten yet.
    pub strikes: u32,
    /// The consecutive API errors of its scope.
    pub api_strikes: u32,
    /// The continuations that were admitted within the last hour, as far as the journal was read; `None` where it could
    /// not be read.
    pub admissions: Option<u32>,
    /// What is left of the quotas that count it; `None` where only this machine's part is known.
    pub quota: Option<QuotaLeft>,
    /// The hold in force over it, and whether it is the whole fleet's.
    pub hold: Option<(Hold, bool)>,
    /// Whether its engine runs, as far as this machine can find out; `None` where no engine waits.
    pub engine: Option<ProcessStatus>,
    /// Its last hook call, where that came to no verdict.
    pub undecided: Option<Undecided>,
}

/// The sessions that are not shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The sessions that have ended.
    pub ended: usize,
    /// The sessions that were not seen for a day.
    pub old: usize,
}

/// A fleet and its sessions at one moment.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The clock of the store that answered.
    pub now: Ms,
    /// The store that answered: the server's URL without a password, or `embedded`.
    pub store: String,
    /// The fleet's name, encoded.
    pub fleet: String,
    /// Whether Frosty is in shadow mode: then the states are what it would do.
    pub shadow: bool,
    /// Why the configured server could not be read, so that only this machine's part is known.
    pub away: Option<String>,
    /// What this machine has not sent to the server yet.
    pub backlog: Option<Backlog>,
    /// The fleet's hold, if one is in force.
    pub hold: Option<Hold>,
    /// The usage windows.
    pub usage: Usage,
    /// The work queues with an entry; none where they are unknown.
    pub work: Vec<Summary>,
    /// Why the work queues cannot be read, where they cannot.
    pub work_trouble: Option<String>,
    /// The sessions, those that need a person first.
    pub rows: Vec<Row>,
    /// The shown name of every session of the fleet.
    pub names: Names,
    /// The sessions that are not shown.
    pub left_out: LeftOut,
    /// The number of attempts that fill the burst window; `None` where it is switched off.
    pub burst: Option<u32>,
    /// Whether any quota is configured.
    pub has_quotas: bool,
    /// Whether the last hour's journal was longer than was read.
    pub journal_cut: bool,
    /// The flags that another command needs for the same store and fleet, each after a space.
    pub place: String,
}

impl Report {
    /// Reads everything; with `all`, also the sessions that are left out otherwise. Admissions that were counted a
    /// moment ago are not counted again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(config: &Config, all: bool, hour: &mut LastHour) -> Result<Self, StoreError> {
        let begun = Instant::now();
        let own = config.with_ready_profiles();
        let config = &*own;
        let mut reader = FleetReader::open(config);
        let mut survey = reader.survey()?;
        let now = survey.now;
        let away = reader.away().map(ToString::to_string);
        let server = if away.is_some() { None } else { reader.server() };
        let mut left_out = LeftOut::default();
        let mut shown = std::mem::take(&mut survey.sessions);
        let names = Names::of_all(&shown);
        shown.retain(|(_, s)| all || left_out.keeps(s, now));
        let seats: BTreeSet<&str> = shown.iter().map(|(_, s)| s.scope.as_str()).collect();
        let quotas = reader.quotas_left(&survey, &seats)?;
        let is_away = away.is_some();
        // Usage windows that cannot be read hide no session.
        let usage = reader.fleet_state().map(|state| Usage::of(config, &state, now)).unwrap_or_default();
        let queues = if is_away { Ok(Vec::new()) } else { summaries(&mut reader, now) };
        let (work, work_trouble) = queues.map_or_else(|why| (Vec::new(), Some(why.to_string())), |work| (work, None));
        // This machine's journal contains only what was decided here.
        let admissions = if is_away { None } else { hour.count(&mut reader, now, begun) };
        let unknown = ScopeState::default();
        let mut undecided = undecided::all(config.state.as_deref());
        let rows = shown.into_iter().map(|(id, session)| {
            let is_here = survey.here.contains(&session.scope);
            let mut scope = survey.scopes.get(&session.scope).unwrap_or(&unknown).clone();
            if !is_here {
                scope = under(&survey.fleet, scope, &session, now);
            }
            let quota = [quotas.scopes.get(&session.scope).copied(), quotas.fleet].into_iter().flatten();
            let quota = quota.reduce(QuotaLeft::and);
            let is_away = is_away || is_here;
            let mark = undecided.remove(&id);
            let row = Row::new(config, now, is_away, survey.fleet.hold.as_ref(), &scope, (id, session), quota, mark);
            let admissions = admissions.map(|all| all.of.get(&row.id).copied().unwrap_or(0));
            Row { admissions, name: names.name(&row.id), ..row }
        });
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by_key(|row| (row.urgency(), row.kind, due(row.back), std::cmp::Reverse(row.session.seen)));
        let policy = &config.policy;
        Ok(Self {
            now,
            store: server.map_or_else(|| store::files::NAME.to_owned(), ToOwned::to_owned),
            fleet: config.fleet.clone(),
            shadow: config.shadow,
            away,
            backlog: backlog::of(config).filter(|b| b.unshipped > 0 || b.away > 0 || b.breaker.is_some()),
            hold: survey.fleet.hold,
            usage,
            work,
            work_trouble,
            rows,
            names,
            left_out,
            burst: policy.stop.burst.map(|burst| burst.limit),
            has_quotas: !(policy.stop.quotas.is_empty() && policy.fleet_quotas.is_empty()),
            journal_cut: admissions.is_some_and(|all| all.cut),
            place: String::new(),
        })
    }

    /// Returns how many sessions are in each state, in the states' order.
    #[must_use]
    pub fn totals(&self) -> Vec<(Kind, usize)> {
        let count = |kind: &Kind| self.rows.iter().filter(|row| row.kind == *kind).count();
        Kind::ALL.into_iter().map(|kind| (kind, count(&kind))).filter(|(_, n)| *n > 0).collect()
    }
}

/// The admissions of the last hour, as they were counted last.
#[derive(Debug)]
pub struct LastHour {
    counted: Option<(Instant, Option<Admissions>)>,
    most: usize,
    within: Option<Duration>,
}

impl LastHour {
    /// Counts for people, in so few entries that the counting takes no noticeable time.
    #[must_use]
    pub fn for_people() -> Self {
        Self { counted: None, most: MOST_READ / 2, within: Some(SOON) }
    }

    /// Counts for programs.
    #[must_use]
    pub fn for_programs() -> Self {
        Self { counted: None, most: MOST_READ, within: None }
    }

    /// Counts nothing.
    #[must_use]
    pub fn uncounted() -> Self {
        Self { counted: Some((Instant::now(), None)), most: 0, within: None }
    }

    /// Counts the admissions, unless that was done a moment ago. A journal that cannot be read hides no session.
    fn count(&mut self, reader: &mut FleetReader<'_>, now: Ms, begun: Instant) -> Option<&Admissions> {
        let fresh = self.counted.take().filter(|(at, _)| at.elapsed() < RECOUNT);
        let (most, until) = (self.most, self.within.map(|within| begun + within));
        let mut count = || reader.admissions(now.saturating_sub(HOUR), most, until).ok();
        self.counted.insert(fresh.unwrap_or_else(|| (Instant::now(), count()))).1.as_ref()
    }
}

/// Returns whether a session is present: it has not ended, and was seen lately or has a waiting engine.
#[must_use]
pub fn is_present(session: &SessionState, now: Ms) -> bool {
    LeftOut::default().keeps(session, now)
}

impl LeftOut {
    /// Returns whether a session is shown. A session that is not shown is counted.
    fn keeps(&mut self, session: &SessionState, now: Ms) -> bool {
        let is_gate_over = session.gate && session.client.is_none() && !engine::waits(session);
        let rests = session.rest.as_ref().is_some_and(|rest| rest.lasts(now) && !session.woken);
        if session.phase == Phase::Ended || (is_gate_over && !rests) {
            self.ended += 1;
            return false;
        }
        let unseen = now.saturating_sub(session.seen);
        let wanted = session.needs_you || session.phase == Phase::Expired || engine::lost(session);
        // A session that rests for days has no event for days.
        let waits = || {
            let reason = Reason::from_code(&session.last_reason);
            !reason.is_some_and(Reason::is_admission) && engine::waits(session)
        };
        let kept = unseen < RECENT || (wanted && unseen < STILL_WANTED) || waits();
        self.old += usize::from(!kept);
        kept
    }
}

impl Row {
    /// Returns how soon a person should look at the session: first at a dialog, then at what only a person can fix,
    /// then at all others.
    fn urgency(&self) -> u8 {
        let by_api = self.hold.as_ref().is_some_and(|(hold, _)| hold.by == BY_API);
        match self.kind {
            Kind::NeedsYou => 0,
            Kind::Hold | Kind::Stopped if by_api => 1,
            _ => 2,
        }
    }

    /// Returns the state, with the time since the last event where that adds information.
    #[must_use]
    pub fn state(&self) -> String {
        let age = local_time::age(self.quiet);
        match self.kind {
            Kind::NoEvent => format!("no event for {age}"),
            Kind::NeedsYou | Kind::Running if self.quiet >= MINUTE => format!("{} {age}", self.kind.words()),
            kind => kind.words().to_owned(),
        }
    }

    /// Builds the row of a session from the state that decides its requests, without its admissions. `is_away` means
    /// that only this machine's part is known.
    #[must_use]
    pub fn of(config: &Config, id: &str, state: &State, now: Ms, is_away: bool) -> Self {
        let policy = &config.policy;
        let own = QuotaLeft::in_log(&state.scope.quota, &policy.stop.quotas, now);
        let fleets = QuotaLeft::in_log(&state.fleet.quota, &policy.fleet_quotas, now);
        let quota = [own, fleets].into_iter().flatten().reduce(QuotaLeft::and);
        let hold = state.fleet.hold.as_ref().filter(|hold| hold.holds(now));
        let mark = config.state.as_deref().and_then(|dir| undecided::of(dir, id));
        let scope = under(&state.fleet, state.scope.clone(), &state.session, now);
        Self::new(config, now, is_away, hold, &scope, (id.to_owned(), state.session.clone()), quota, mark)
    }

    #[allow(clippy::too_many_arguments, reason = "all that is known of a session")]
    fn new(
        config: &Config,
        now: Ms,
        is_away: bool,
        fleet_hold: Option<&Hold>,
        scope: &ScopeState,
        (id, session): Session,
        quota: Option<QuotaLeft>,
        undecided: Option<Undecided>,
    ) -> Self {
        let mut scope = scope.clone();
        scope.rebase(now);
        let undecided = undecided.filter(|mark| mark.is_later_than(session.seen, now));
        let is_disarmed = undecided.as_ref().is_some_and(Undecided::is_of_disarming);
        let policy = config.policy_of(&session);
        let limits = &policy.stop;
        let engine = engine::standing(&session);
        let own = scope.hold.as_ref().filter(|hold| hold.holds(now));
        let hold = own.map(|hold| (hold, false)).or_else(|| fleet_hold.map(|hold| (hold, true)));
        let hold = hold.map(|(hold, whole)| (hold.clone(), whole));
        let facts = Facts {
            policy: &policy,
            fleet_hold,
            scope: &scope,
            session: &session,
            quota,
            engine: match engine {
                // Shadow mode stops no session, so only the refusal that would come now can be shown.
                _ if config.shadow => Engine::Waits,
                None => Engine::Plain,
                // Its end was wanted.
                Some(ProcessStatus::Gone) if is_disarmed => Engine::Plain,
                Some(ProcessStatus::Runs | ProcessStatus::Unknown) => Engine::Waits,
                Some(ProcessStatus::Gone) => Engine::Gone,
            },
            hearsay: is_away && is_hearsay(&session),
            // A call that takes nothing over leaves an engine of an earlier stop where it is.
            undecided: undecided.as_ref().filter(|_| !is_disarmed).map(|mark| {
                let waits =
                    || mark.took != mark.id && matches!(engine, Some(ProcessStatus::Runs | ProcessStatus::Unknown));
                mark.is_waited_for() || waits()
            }),
            park_max: millis(config.park_max),
            now,
        };
        let (kind, back) = state::of(&facts);
        burst_window::forget_strikes(&mut scope.stop, limits, now);
        Self {
            kind,
            back,
            attempts: burst_window::in_window(&scope.stop, limits, now),
            profile: policy.cadence.profile.clone(),
            strikes: scope.stop.strikes,
            api_strikes: scope.api_strikes,
            admissions: None,
            // This machine's count differs from what the server would allow.
            quota: quota.filter(|_| !is_away),
            quiet: now.saturating_sub(session.seen).max(0),
            name: naming::shown(&id, &session),
            id,
            session,
            hold,
            engine,
            undecided,
        }
    }
}

/// Returns whether this machine has the session's fence from a server, but not the server's answer.
fn is_hearsay(session: &SessionState) -> bool {
    let is_prompted = session.begun.as_ref().is_some_and(|begun| begun.id.is_empty());
    session.last_reason.is_empty() && session.fence.is_some() && !is_prompted
}

/// Returns the sort key: sessions that resume sooner come first.
fn due(back: Back) -> Ms {
    match back {
        Back::Now => 0,
        Back::At(at) => at,
        _ => Ms::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::policy::documents::Begun;
    use crate::policy::process::Process;

    #[test]
    fn who_is_left_out() {
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let _ = gone.wait();
        let now = 100 * RECENT;
        let begun = Some(Begun { at: 1, id: "stop".to_owned() });
        let session =
            |days: Ms| SessionState { seen: now - days * RECENT, begun: begun.clone(), ..SessionState::default() };
        let engine = |pid: u32, reason: &str, session| SessionState {
            pid: Some(Process::numbered(pid)),
            host: clock::host(),
            last_reason: reason.to_owned(),
            ..session
        };
        let (own, dead) = (std::process::id(), gone.id());
        for (what, session, kept) in [
            ("seen", SessionState { seen: now - RECENT + 1, ..session(0) }, true),
            ("ended", SessionState { phase: Phase::Ended, ..session(0) }, false),
            ("not seen for a day", session(1), false),
            ("an engine waits for it", engine(own, "done", session(10)), true),
            ("it went on", engine(own, "admitted", session(10)), false),
            ("its engine is gone", engine(dead, "done", session(6)), true),
            ("its engine has long been gone", engine(dead, "done", session(7)), false),
            ("at a dialog", SessionState { needs_you: true, ..session(6) }, true),
            ("expired", SessionState { phase: Phase::Expired, ..session(6) }, true),
            ("long expired", SessionState { phase: Phase::Expired, ..session(8) }, false),
        ] {
            let mut left_out = LeftOut::default();
            assert_eq!(left_out.keeps(&session, now), kept, "{what}");
            assert_eq!(left_out.ended + left_out.old, usize::from(!kept), "{what}");
        }
    }
}
