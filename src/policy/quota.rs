//! Quotas that several sessions share: which session is next, and when its place is free.
//!
//! A session that waits for a place is in the wait queue, which has the order of the Stop events. It continues when
//! more places are free than sessions are before it. So each session gets its share, however fast its turns are.

use crate::policy::decision::{Case, Refusal, State};
use crate::policy::documents::{FleetState, QuotaLog, Waiting};
use crate::policy::limits::{LONGEST, Ms, Quota, millis};
use crate::policy::pace::Paced;
use crate::policy::request::R_RANGE;
use crate::policy::verdict::Reason;
use crate::policy::{pace, release_slots};

/// A session that does not send its request is passed this long after the request was due.
const PASSED_AFTER: Ms = 250;
/// A session that does not send its request leaves the wait queue this long after the request was due.
const LEAVES_AFTER: Ms = 5_000;
/// The number of places that are calculated in advance.
pub(crate) const LOOKAHEAD: u32 = 64;

/// The known admissions of one quota: the oldest of those that it counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The oldest of the newest `limit` admissions, oldest first, at most [`LOOKAHEAD`].
    pub(crate) oldest: Vec<Ms>,
}

impl Places {
    fn in_log(log: &QuotaLog, quota: &Quota) -> Self {
        let from = log.admitted.len().saturating_sub(quota.limit as usize);
        let unused = (quota.limit as usize).saturating_sub(log.admitted.len());
        let looked = (quota.limit.min(LOOKAHEAD) as usize).saturating_sub(unused);
        Self { oldest: log.admitted.iter().skip(from).take(looked).copied().collect() }
    }

    /// Returns how many places are free, up to [`LOOKAHEAD`].
    fn free(&self, quota: &Quota, now: Ms) -> usize {
        let unused = (quota.limit.min(LOOKAHEAD) as usize).saturating_sub(self.oldest.len());
        unused.saturating_add(self.oldest.iter().take_while(|at| at.saturating_add(millis(quota.per)) <= now).count())
    }

    /// Returns when the place after `before` other sessions is free.
    fn time(&self, quota: &Quota, before: usize, now: Ms) -> Ms {
        let per = millis(quota.per);
        let taken: Vec<Ms> = self.oldest.iter().copied().filter(|at| at.saturating_add(per) > now).collect();
        let Some(index) = before.checked_sub(self.free(quota, now)) else { return now };
        let places = (quota.limit as usize).saturating_sub(self.free(quota, now)).max(1);
        let rounds = Ms::try_from(index / places).unwrap_or(Ms::MAX).saturating_add(1);
        // A place beyond the known ones is free later than the last of them.
        let first = taken.get(index % places).or(taken.last()).copied().unwrap_or(now);
        first.saturating_add(per.saturating_mul(rounds))
    }
}

/// The quotas with their log, or with the part of it that was read.
pub(crate) struct Shared<'a> {
    pub(crate) quotas: &'a [Quota],
    pub(crate) log: &'a mut QuotaLog,
    /// How long a request waits at most before it is decided again.
    pub(crate) longest: Ms,
}

impl Shared<'_> {
    /// Removes a session and overdue sessions from the wait queue, and returns when the session began to wait.
    ///
    /// `least` is a time for which a session may wait whatever the quotas are.
    pub(crate) fn leave(&mut self, session: &str, least: Ms, now: Ms) -> Option<Ms> {
        let longest = self.quotas.iter().map(|quota| millis(quota.per)).max().unwrap_or(0).min(self.longest).max(least);
        let waiting = &mut self.log.waiting;
        // A request that is due later than any place was dated by a clock that was ahead.
        waiting.iter_mut().for_each(|w| w.next = w.next.min(now.saturating_add(longest)));
        let since = waiting.iter().find(|w| w.session == session).map(|w| w.since.min(now));
        waiting.retain(|w| w.session != session && w.next.saturating_add(LEAVES_AFTER) > now);
        since
    }

    /// Returns how long until the place of a session that stopped at `since` is free; `None` when it is.
    ///
    /// A session that `waits` enters the queue.
    pub(crate) fn left(&mut self, session: &str, since: Ms, waits: bool, now: Ms) -> Option<Ms> {
        if self.quotas.is_empty() {
            return None;
        }
        self.log.admitted.iter_mut().for_each(|at| *at = (*at).min(now));
        let is_before = |w: &&Waiting| {
            (w.since.min(now), w.session.as_str()) < (since, session) && w.next.saturating_add(PASSED_AFTER) > now
        };
        let before = self.log.waiting.iter().filter(is_before).count();
        let places: Vec<Places> = match self.log.places.as_slice() {
            [] => self.quotas.iter().map(|quota| Places::in_log(self.log, quota)).collect(),
            read => read.to_vec(),
        };
        let all = || self.quotas.iter().zip(&places);
        if all().all(|(quota, places)| before < places.free(quota, now)) {
            return None;
        }
        let time = all().map(|(quota, places)| places.time(quota, before, now)).max().unwrap_or(now);
        // A free place is kept briefly for earlier sessions that are due.
        let is_free = all().all(|(quota, places)| places.free(quota, now) > 0);
        let due = self.log.waiting.iter().filter(is_before).map(|w| w.next.saturating_add(PASSED_AFTER)).min();
        let time = due.filter(|_| is_free).map_or(time, |passed| time.min(passed));
        let left = time.saturating_sub(now).clamp(1, self.longest.max(1));
        if waits {
            self.enter(session, since, now.saturating_add(left));
        }
        Some(left)
    }

    /// Adds a session to the wait queue.
    pub(crate) fn enter(&mut self, session: &str, since: Ms, next: Ms) {
        let at = self.log.waiting.partition_point(|w| (w.since, w.session.as_str()) < (since, session));
        self.log.waiting.insert(at, Waiting { session: session.to_owned(), since, next });
    }
}

/// How long after a rounded reset the sessions continue, at least, and what is added by chance.
const AFTER_RESET: Ms = 5_000;

const AFTER_RESET_BY_CHANCE: Ms = 55_000;

impl Case<'_> {
    /// 8. the quotas of the scope and of the fleet. `waited` is the time since when the session has waited for one.
    pub(crate) fn without_place(&self, state: &mut State, waited: Option<Ms>) -> Refusal {
        let (State { fleet, scope, session, .. }, Self { ask, now, .. }) = (state, *self);
        // The queue has the order of the Stop events, whatever else a session has waited for since.
        let begun = session.begun.as_ref().map(|begun| begun.at).filter(|at| *at <= now);
        // Where the Stop event is unknown, or was dated by a clock that was ahead, the session keeps its place.
        let since = begun.or(waited).unwrap_or(now);
        if let Some((until, is_rounded)) = fleet.quota.paced.closed_until() {
            // The end frees all sessions at once.
            release_slots::mark(session);
            let by_chance = AFTER_RESET_BY_CHANCE * Ms::from(ask.r.min(R_RANGE - 1)) / Ms::from(R_RANGE);
            let late = if is_rounded { AFTER_RESET + by_chance } else { 0 };
            return Some((Reason::Limit, Some(until.saturating_add(late).saturating_sub(now))));
        }
        let own_left = shared(&self.limits.quotas, &mut scope.quota, Ms::MAX).left(&ask.session, since, ask.paced, now);
        let (quotas, paced) = (self.fleet_quotas(fleet), fleet.quota.paced);
        let waits_for_fleet = ask.paced && own_left.is_none();
        let mut fleets = shared(&quotas, &mut fleet.quota, paced.longest_wait(now));
        if paced == Paced::NoRoom && own_left.is_none() {
            if ask.paced {
                fleets.enter(&ask.session, since, now.saturating_add(pace::NO_ROOM));
            }
            return Some((Reason::Pace, Some(pace::NO_ROOM)));
        }
        let fleet_left = fleets.left(&ask.session, since, waits_for_fleet, now);
        let left = own_left.max(fleet_left)?;
        let is_paced = paced.quota().is_some() && fleet_left == Some(left) && !self.is_of_quota(fleet, since);
        Some((if is_paced { Reason::Pace } else { Reason::Quota }, Some(left)))
    }

    /// Returns whether the fleet's configured quotas alone would refuse, too.
    fn is_of_quota(&self, fleet: &mut FleetState, since: Ms) -> bool {
        let quotas = &self.policy.fleet_quotas;
        shared(quotas, &mut fleet.quota, Ms::MAX).left(&self.ask.session, since, false, self.now).is_some()
    }

    /// Returns the fleet's quotas, with that of the pace.
    pub(crate) fn fleet_quotas(&self, fleet: &FleetState) -> Vec<Quota> {
        self.policy.fleet_quotas.iter().copied().chain(fleet.quota.paced.quota()).collect()
    }
}

pub(crate) fn shared<'a>(quotas: &'a [Quota], log: &'a mut QuotaLog, longest: Ms) -> Shared<'a> {
    Shared { quotas, log, longest }
}

pub(crate) fn count(log: &mut QuotaLog, quotas: &[Quota], now: Ms) {
    if let Some(longest) = quotas.iter().map(|q| millis(q.per)).max() {
        log.keep = log.keep.clamp(longest, millis(LONGEST));
        log.admitted.retain(|at| *at > now.saturating_sub(log.keep));
        log.admitted.push(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(limit: u32, per: u64) -> Quota {
        Quota { limit, per: Duration::from_millis(per) }
    }

    fn log(admitted: &[Ms], waiting: &[(&str, Ms, Ms)]) -> QuotaLog {
        let waiting =
            waiting.iter().map(|(s, since, next)| Waiting { session: (*s).to_owned(), since: *since, next: *next });
        QuotaLog { admitted: admitted.to_vec(), waiting: waiting.collect(), ..QuotaLog::default() }
    }

    /// A session that is not in the queue has stopped just now.
    fn left(log: &mut QuotaLog, quotas: &[Quota], session: &str, now: Ms) -> Option<Ms> {
        let since = log.waiting.iter().find(|w| w.session == session).map_or(now, |w| w.since);
        let mut shared = Shared { quotas, log, longest: Ms::MAX };
        shared.leave(session, 0, now);
        shared.left(session, since, true, now)
    }

    #[test]
    fn the_first_that_waits_goes_first() {
        let quotas = [quota(1, 500)];
        let mut log = log(&[1000], &[]);
        assert_eq!(left(&mut log, &quotas, "a", 1100), Some(400));
        assert_eq!(left(&mut log, &quotas, "b", 1200), Some(800), "its own place is the second");
        assert_eq!(left(&mut log, &quotas, "c", 1500), Some(250), "a place is free, and is a's");
        assert_eq!(left(&mut log, &quotas, "a", 1500), None);
        assert_eq!(log.waiting.iter().map(|w| w.session.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn one_that_is_overdue_is_passed_and_leaves() {
        let quotas = [quota(1, 500)];
        let mut log = log(&[1000], &[("a", 1100, 1500), ("b", 1200, 2000)]);
        assert_eq!(left(&mut log, &quotas, "b", 1700), Some(50), "a may still come");
        assert_eq!(left(&mut log, &quotas, "b", 1750), None);
        assert_eq!(left(&mut log, &quotas, "c", 6500), None);
        assert!(log.waiting.is_empty(), "a left");
    }

    #[test]
    fn a_session_that_waits_for_the_pace_keeps_its_place() {
        let mut log = log(&[], &[("a", 1000, 31_000)]);
        for now in [2000, 7500, 30_900] {
            Shared { quotas: &[], log: &mut log, longest: Ms::MAX }.leave("b", 300_000, now);
            assert_eq!(log.waiting.iter().map(|w| (w.session.as_str(), w.next)).collect::<Vec<_>>(), [("a", 31_000)]);
        }
        Shared { quotas: &[], log: &mut log, longest: Ms::MAX }.leave("b", 300_000, 36_000);
        assert!(log.waiting.is_empty(), "it did not come");
    }

    #[test]
    fn of_several_places_each_has_its_own() {
        let quotas = [quota(3, 1000), quota(10, 60_000)];
        let mut log = log(&[1000, 1200, 1600], &[]);
        for (session, expected) in [("a", 300), ("b", 500), ("c", 900), ("d", 1300), ("e", 1500)] {
            assert_eq!(left(&mut log, &quotas, session, 1700), Some(expected), "{session}");
        }
        assert_eq!(left(&mut log, &quotas, "b", 2200), None, "two places are free, and only a is before it");
    }

    #[test]
    fn an_admission_is_counted_as_long_as_any_quota_needs_it() {
        for (quotas, keep, expected, kept) in [
            (&[quota(1, 100)][..], 0, &[901, 1000][..], 100),
            (&[quota(1, 100), quota(9, 101)], 0, &[900, 901, 1000], 101),
            (&[quota(1, 50)], 100, &[901, 1000], 100),
            (&[], 0, &[900, 901], 0),
        ] {
            let mut log = QuotaLog { keep, ..log(&[900, 901], &[]) };
            count(&mut log, quotas, 1000);
            assert_eq!((log.admitted.as_slice(), log.keep), (expected, kept), "{quotas:?} {keep}");
        }
    }

    #[test]
    fn a_session_keeps_the_time_since_when_it_waits_and_no_request_is_due_later_than_a_place() {
        let waiting = [("a", 900, 9_000), ("b", 950, 1_050), ("c", 960, -4_000), ("d", 970, -3_999)];
        let mut log = log(&[], &waiting);
        let quotas = [quota(1, 500), quota(5, 700)];
        let mut shared = Shared { quotas: &quotas, log: &mut log, longest: 600 };
        assert_eq!(shared.leave("b", 0, 1000), Some(950));
        assert_eq!(shared.leave("b", 0, 1000), None);
        assert_eq!(shared.leave("a", 0, 800), Some(800), "no session waits since the future");
        let left: Vec<_> = log.waiting.iter().map(|w| (w.session.as_str(), w.next)).collect();
        assert_eq!(left, [("d", -3_999)], "c did not come for five seconds");
        let mut late = self::log(&[], &waiting[..1]);
        Shared { quotas: &quotas, log: &mut late, longest: 600 }.leave("z", 0, 1000);
        assert_eq!(late.waiting[0].next, 1600);
    }
}
