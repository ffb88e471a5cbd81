//! Reads the state of a whole fleet at one moment, in as few round trips as possible.

use std::collections::{BTreeSet, HashMap};

use redis::{Cmd, Value, cmd};

use crate::config::Config;
use crate::policy::documents::{FleetState, QuotaLog, ScopeState, SessionState};
use crate::policy::fact::Span;
use crate::policy::limits::{Ms, Quota, millis};
use crate::store::failover::server_record::Route;
use crate::store::failover::{decider, server_record};
use crate::store::files::state_file;
use crate::store::files::state_file::{FleetFile, ScopeFile};
use crate::store::fleet_reader::{FleetReader, Kind, Session};
use crate::store::server::connection::{Link, error_text, refused};
use crate::store::server::keys::Keys;
use crate::store::server::load::{get, newest, time, times};
use crate::store::{self as store, StoreError, fleet_reader};
use crate::text;

/// The state of a fleet at one moment.
#[derive(Debug, Default)]
pub struct Survey {
    /// The clock of the store that answered.
    pub now: Ms,
    /// The fleet, with its hold only if it is in force, and without the admissions of its quotas.
    pub fleet: FleetState,
    /// Every session in the store, the last seen first.
    pub sessions: Vec<Session>,
    /// The scopes in which these were last seen, as far as continuations are concerned, without the admissions of their
    /// quotas.
    pub scopes: HashMap<String, ScopeState>,
    /// The scopes that this machine's files decide although the server answers.
    pub here: BTreeSet<String>,
}

/// What is left of quotas: of several, the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLeft {
    /// The number of admissions that they still allow now.
    pub left: u32,
    /// If one is used up, when the last of those has a place again.
    pub frees: Option<Ms>,
}

impl QuotaLeft {
    /// Returns what both leave together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { left: self.left.min(other.left), frees: self.frees.max(other.frees) }
    }

    /// Returns what one quota leaves after so many admissions. `oldest` is the time of the `limit`-th newest.
    fn of(quota: &Quota, used: u32, oldest: Option<Ms>, now: Ms) -> Self {
        let frees = oldest.map(|at| at.min(now).saturating_add(millis(quota.per))).filter(|at| *at > now);
        Self { left: if frees.is_some() { 0 } else { quota.limit.saturating_sub(used) }, frees }
    }

    /// Returns what quotas leave, by the log of their admissions; `None` where no quota is configured.
    pub(crate) fn in_log(log: &QuotaLog, quotas: &[Quota], now: Ms) -> Option<Self> {
        let left = |quota: &Quota| {
            let from = now.saturating_sub(millis(quota.per));
            let used = log.admitted.iter().filter(|at| **at > from).count();
            let oldest = log.admitted.len().checked_sub(quota.limit as usize);
            let oldest = oldest.and_then(|i| log.admitted.get(i).copied());
            Self::of(quota, u32::try_from(used).unwrap_or(u32::MAX), oldest, now)
        };
        quotas.iter().map(left).reduce(Self::and)
    }
}

/// What the configured quotas leave.
#[derive(Debug, Default)]
pub struct QuotasLeft {
    /// The fleet's; `None` where no quota is configured, or the server does not answer.
    pub fleet: Option<QuotaLeft>,
    /// Each scope's.
    pub scopes: HashMap<String, QuotaLeft>,
}

/// Returns a session's scope with what the API's errors refuse it: without a cooldown that was disproved, and with the
/// limits of the fleet's key.
#[must_use]
pub fn under(fleet: &FleetState, mut scope: ScopeState, session: &SessionState, now: Ms) -> ScopeState {
    let until = fleet.api_refusal(&scope, session, now).map(|refusal| refusal.until);
    let start = scope.api.map_or(now, |api| api.start);
    scope.api = until.map(|end| Span::new(start, end)).or(scope.api.filter(|api| api.end <= now));
    scope.api_of_key = false;
    scope
}

impl FleetReader<'_> {
    /// Reads everything at once. If the server refuses the reads that every request needs, this machine's files are
    /// read instead.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn survey(&mut self) -> Result<Survey, StoreError> {
        if self.server.is_some() {
            match self.survey_of_server() {
                Err(Unsurveyed::Fleet(why)) => self.give_up(why),
                Err(Unsurveyed::Other(why)) => return Err(why),
                Ok(survey) => return Ok(survey),
            }
        }
        self.survey_of_files()
    }

    fn survey_of_server(&mut self) -> Result<Survey, Unsurveyed> {
        let config = self.config;
        let Some(link) = &mut self.server else { return Err(StoreError::NoStateFolder.into()) };
        let fleet = get(&Keys::of(&config.fleet).fleet());
        link.send(&[cmd("TIME"), fleet, fleet_reader::index(config, "session")])?;
        let clock = link.take()?;
        let now = time(&clock).ok_or_else(|| link.nonsense(&clock))?;
        let fleet = link.take();
        let named = link.read()?;
        let fleet = fleet.and_then(|answer| fleet_reader::fleet(config, link, &answer));
        let mut fleet = fleet.map_err(Unsurveyed::Fleet)?;
        fleet.hold = fleet.hold.filter(|hold| hold.holds(now));
        if let Value::ServerError(e) = &named {
            return Err(refused(link.server(), &error_text(e)).into());
        }
        let named = fleet_reader::names_in(named);
        let (mut sessions, others): fleet_reader::Documents<SessionState> =
            fleet_reader::documents(config, link, Kind::Session, named)?;
        let named: BTreeSet<&str> = sessions.iter().map(|(_, s)| s.scope.as_str()).collect();
        let named = named.into_iter().filter(|name| text::is_encoded(name)).map(str::to_owned).collect();
        let (scopes, of_another_type): fleet_reader::Documents<ScopeState> =
            fleet_reader::documents(config, link, Kind::Scope, named)?;
        let scopes = with_entries(config, link, scopes, now)?;
        let scopes = scopes.into_iter().collect();
        let mut survey = Survey { now, fleet, scopes, ..Survey::default() };
        lay_over(config, &mut survey, &mut sessions, &others, of_another_type);
        fleet_reader::sort_out(&mut sessions);
        Ok(Survey { sessions, ..survey })
    }

    fn survey_of_files(&mut self) -> Result<Survey, StoreError> {
        let now = self.now()?;
        let mut sessions = fleet_reader::sessions_here(self.config)?;
        fleet_reader::sort_out(&mut sessions);
        let scopes = fleet_reader::scope_files(self.config)?.into_iter().map(|(scope, file)| (scope, file.as_known()));
        let dir = self.config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&self.config.fleet);
        let fleet = state_file::peek::<FleetFile>(&state_file::fleet(&dir)).map(|f| f.fleet).unwrap_or_default();
        let scopes = scopes.collect();
        let fleet = FleetState { hold: self.fleet_hold()?, ..fleet };
        Ok(Survey { now, fleet, sessions, scopes, here: BTreeSet::new() })
    }

    /// Returns what is left of the configured quotas in these scopes of a survey.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn quotas_left(&mut self, survey: &Survey, scopes: &BTreeSet<&str>) -> Result<QuotasLeft, StoreError> {
        let (own, fleets) = (&self.config.policy.stop.quotas, &self.config.policy.fleet_quotas);
        let now = survey.now;
        if own.is_empty() && fleets.is_empty() {
            return Ok(QuotasLeft::default());
        }
        let Some(link) = &mut self.server else {
            let dir = self.config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&self.config.fleet);
            let fleet = state_file::peek::<FleetFile>(&state_file::fleet(&dir)).map(|f| f.fleet).unwrap_or_default();
            let left = |scope: &&str| {
                let log = survey.scopes.get(*scope).map_or_else(QuotaLog::default, |s| s.quota.clone());
                Some(((*scope).to_owned(), QuotaLeft::in_log(&log, own, now)?))
            };
            let scopes = scopes.iter().filter_map(left).collect();
            return Ok(QuotasLeft { fleet: QuotaLeft::in_log(&fleet.quota, fleets, now), scopes });
        };
        let keys = Keys::of(&self.config.fleet);
        let mut left = QuotasLeft::default();
        if !fleets.is_empty() {
            left.fleet = counted(link, &[keys.fleet_admissions()], fleets, now)?.pop().flatten();
        }
        if !own.is_empty() {
            let names: Vec<&str> = scopes.iter().copied().collect();
            for some in names.chunks(fleet_reader::AT_ONCE) {
                let names: Vec<String> = some.iter().map(|scope| keys.admissions(scope)).collect();
                let told = counted(link, &names, own, now)?;
                let told = some.iter().zip(told).filter_map(|(scope, left)| Some(((*scope).to_owned(), left?)));
                left.scopes.extend(told);
            }
            for scope in &survey.here {
                let log = survey.scopes.get(scope).map(|s| s.quota.clone()).unwrap_or_default();
                left.scopes.extend(QuotaLeft::in_log(&log, own, now).map(|left| (scope.clone(), left)));
            }
        }
        Ok(left)
    }
}

/// Adds to the scopes the last admission of each, and the attempts that its burst window may count.
fn with_entries(
    config: &Config,
    link: &mut Link<'_>,
    mut scopes: Vec<(String, ScopeState)>,
    now: Ms,
) -> Result<Vec<(String, ScopeState)>, StoreError> {
    let keys = Keys::of(&config.fleet);
    let attempts = config.policy.stop.burst.map_or(1, |burst| burst.limit);
    for some in scopes.chunks_mut(fleet_reader::AT_ONCE) {
        let questions = some
            .iter()
            .flat_map(|(name, _)| [newest(&keys.admissions(name), 1, 1), newest(&keys.attempts(name), attempts, 1)]);
        link.send(&questions.collect::<Vec<_>>())?;
        for (_, scope) in some {
            let mut entries =
                || link.read().map(|answer| times(&answer).into_iter().map(|at| at.min(now)).collect::<Vec<_>>());
            let (last, attempts) = (entries()?.last().copied(), entries()?);
            scope.stop.admitted_at = scope.stop.admitted_at.max(last);
            scope.stop.attempts = attempts;
        }
    }
    Ok(scopes)
}

/// Why a server gave no survey.
enum Unsurveyed {
    /// Its data under the fleet's key is refused, so no stop is decided there.
    Fleet(StoreError),
    /// Anything else.
    Other(StoreError),
}

impl From<StoreError> for Unsurveyed {
    fn from(e: StoreError) -> Self {
        Self::Other(e)
    }
}

/// Replaces the server's data with this machine's for each scope that this machine's files decide. These are the scopes
/// that stay here for a while, and those whose key, or a session's, has another type on the server.
fn lay_over(
    config: &Config,
    survey: &mut Survey,
    sessions: &mut Vec<Session>,
    refused: &[String],
    of_another_type: Vec<String>,
) {
    let (Some(dir), Some((server, _))) = (decider::dir(config), store::server(config)) else { return };
    let record = server_record::read(&dir);
    let away = record.as_ref().map(|r| &r.away);
    let stays = |scope: &&String| decider::route(config, &dir, record.as_ref(), &server.shown, scope) == Route::Stays;
    let mut here: BTreeSet<String> = away.into_iter().flatten().filter(stays).cloned().collect();
    here.extend(of_another_type);
    let scope_of =
        |id: &String| Some(fleet_reader::session_here(&dir, id)?.scope).filter(|scope| text::is_encoded(scope));
    here.extend(refused.iter().filter_map(scope_of));
    for scope in &here {
        let file = state_file::peek::<ScopeFile>(&state_file::scope(&dir, scope));
        let file = file.unwrap_or_else(|| ScopeFile::new(ScopeState::default()));
        let known = state_file::listed(&dir, scope, &file).into_iter().map(|(id, file)| (id, file.session));
        let known: Vec<Session> = known.collect();
        sessions.retain(|(id, _)| !known.iter().any(|(own, _)| own == id));
        sessions.extend(known);
        survey.scopes.insert(scope.clone(), file.as_known());
    }
    survey.here = here;
}

/// Reads in one write how much of these quotas each key has used. `None` replaces what the server does not return for a
/// key or its user.
fn counted(
    link: &mut Link<'_>,
    keys: &[String],
    quotas: &[Quota],
    now: Ms,
) -> Result<Vec<Option<QuotaLeft>>, StoreError> {
    let ask = |key: &String, quota: &Quota| -> [Cmd; 2] {
        let mut count = cmd("ZCOUNT");
        count.arg(key).arg(format!("({}", now.saturating_sub(millis(quota.per)))).arg("+inf");
        let mut oldest = cmd("ZRANGE");
        let nth = -i64::from(quota.limit);
        oldest.arg(key).arg(nth).arg(nth).arg("WITHSCORES");
        [count, oldest]
    };
    let asked: Vec<Cmd> = keys.iter().flat_map(|key| quotas.iter().flat_map(move |q| ask(key, q))).collect();
    link.send(&asked)?;
    let mut all = Vec::with_capacity(keys.len());
    for _ in keys {
        let mut least: Option<QuotaLeft> = None;
        let mut told = true;
        for quota in quotas {
            let (count, oldest) = (link.read()?, link.read()?);
            let Value::Int(used) = count else {
                told = false;
                continue;
            };
            let left =
                QuotaLeft::of(quota, u32::try_from(used).unwrap_or(u32::MAX), times(&oldest).first().copied(), now);
            least = Some(least.map_or(left, |l| l.and(left)));
        }
        all.push(least.filter(|_| told));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_quotas_leave() {
        let quota = |limit, secs| Quota { limit, per: Duration::from_secs(secs) };
        let now = 100_000;
        let log = QuotaLog { admitted: vec![10_000, 50_000, 95_000], keep: 100_000, ..QuotaLog::default() };
        for (quotas, left) in [
            (vec![], None),
            (vec![quota(5, 60)], Some((3, None))),
            (vec![quota(2, 60)], Some((0, Some(110_000)))),
            (vec![quota(5, 60), quota(3, 1000)], Some((0, Some(1_010_000)))),
            (vec![quota(2, 60), quota(1, 10)], Some((0, Some(110_000)))),
            // Its place is free again at this very millisecond.
            (vec![quota(1, 5)], Some((1, None))),
        ] {
            let found = QuotaLeft::in_log(&log, &quotas, now);
            assert_eq!(found.map(|q| (q.left, q.frees)), left, "{quotas:?}");
        }
    }
}
