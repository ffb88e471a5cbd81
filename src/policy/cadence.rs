//! Cadence: which of a session's turns are for work, which for reflection, and which for a dream before a long rest.
//!
//! Each turn is an ordinary admission under the same limits. Its kind changes only the agent's prompt, and that the turn counts for
//! no idle streak. Work in hand, a wake-up's note and a hold come before a reflection.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::calendar::Calendar;
use crate::policy::decision::Case;
use crate::policy::documents::SessionState;
use crate::policy::limits::{Ms, millis};
use crate::policy::request::Event;
use crate::policy::rest::{Rest, RestKind};
use crate::policy::verdict::Reason;
use crate::policy::work::{WorkMode, WorkPolicy, WorkState, rule as work_rule};

/// This many continuations without a rest are a cycle too.
pub const CYCLE: u32 = 20;
/// Each such reflection is on the reflections before it.
const ON_REFLECTIONS: u32 = 5;
/// The most dreams of a session within a day.
pub const DREAMS_A_DAY: usize = 6;
const DAY: Ms = 86_400_000;
/// The fewest other turns from one dream to the next, so that dreams are at most a tenth of the turns.
const TURNS_BETWEEN_DREAMS: u32 = 9;
/// The client's prompt cache lives for five minutes after a request; the dream's own request takes some time.
const CACHE: Ms = 270_000;
const MOST: u32 = 1_000_000;

/// What a turn is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnKind {
    /// The agent's task.
    #[default]
    Work,
    /// A look at the work of the last cycles.
    ReflectionOnCycle,
    /// A look at how the agent paces itself, waits, and asks for help.
    ReflectionOnSelf,
    /// A look at the reflections before it.
    ReflectionOnReflections,
    /// What was decided, and the next moves, before a long rest.
    Dream,
}

impl TurnKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Work, Self::ReflectionOnCycle, Self::ReflectionOnSelf, Self::ReflectionOnReflections, Self::Dream];

    /// Returns the name in the journal, in the store and on screens.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::ReflectionOnCycle => "reflection_on_cycle",
            Self::ReflectionOnSelf => "reflection_on_self",
            Self::ReflectionOnReflections => "reflection_on_reflections",
            Self::Dream => "dream",
        }
    }

    /// Returns what the turn is for, in a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Work => "its work",
            Self::ReflectionOnCycle => "a reflection on its last cycles",
            Self::ReflectionOnSelf => "a reflection on itself",
            Self::ReflectionOnReflections => "a reflection on its reflections",
            Self::Dream => "a dream",
        }
    }

    /// Returns the kind with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Returns whether the turn is for work. Only such a turn counts for the idle streak.
    #[must_use]
    pub fn is_work(&self) -> bool {
        *self == Self::Work
    }

    /// Returns whether the turn is a reflection of any kind.
    #[must_use]
    pub fn is_reflection(self) -> bool {
        !matches!(self, Self::Work | Self::Dream)
    }

    /// Returns the kind of the `nth` reflection, from 1 on.
    #[must_use]
    pub fn of_reflection(nth: u32) -> Self {
        match nth {
            n if n.is_multiple_of(ON_REFLECTIONS) => Self::ReflectionOnReflections,
            n if n.is_multiple_of(2) => Self::ReflectionOnSelf,
            _ => Self::ReflectionOnCycle,
        }
    }
}

/// When an agent may dream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dreams {
    /// Never.
    #[default]
    Off,
    /// Before each long rest that the limits of dreams allow.
    On,
    /// The same, but not outside the working hours.
    InHours,
}

impl Dreams {
    /// Returns the value with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Off, Self::On, Self::InHours].into_iter().find(|one| one.name() == name)
    }

    /// Returns the name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::InHours => "in_hours",
        }
    }
}

/// The cadence of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cadence {
    /// The name of the profile; empty without one.
    pub profile: String,
    /// The cycles from one reflection to the next; zero switches reflections off.
    pub reflect_every: u32,
    /// The continuations after which a reflection ends in a state dump; zero is never.
    pub dump_every: u32,
    /// When the agent dreams.
    pub dreams: Dreams,
    /// The fewest other turns from one dream to the next. It is no key of the configuration.
    pub between_dreams: u32,
    /// A rest of this length is long: a dream comes before it, and the prompt after it contains the notes.
    pub long_rest: Duration,
    /// The working hours, outside of which the agent rests, and the fixed times, until which an idle agent rests.
    pub calendar: Calendar,
}

impl Default for Cadence {
    fn default() -> Self {
        let long_rest = Duration::from_secs(1800);
        let (profile, calendar) = (String::new(), Calendar::default());
        let between_dreams = TURNS_BETWEEN_DREAMS;
        Self { profile, reflect_every: 0, dump_every: 0, dreams: Dreams::Off, between_dreams, long_rest, calendar }
    }
}

/// What is counted for the cadence of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CadenceState {
    /// The kind of the turn that was admitted last and has not ended.
    #[serde(skip_serializing_if = "TurnKind::is_work")]
    pub kind: TurnKind,
    /// The continuations of the present cycle.
    pub turns: u32,
    /// The cycles since the last reflection.
    pub cycles: u32,
    /// The reflections so far.
    pub reflections: u32,
    /// The continuations since the last state dump.
    pub since_dump: u32,
    /// The other turns since the last dream.
    pub since_dream: u32,
    /// When the last dreams were admitted, at most as many as a day may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dreams: Vec<Ms>,
}

impl CadenceState {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the reflections that are due, as the kind of the next one.
    #[must_use]
    pub fn due(&self, cadence: &Cadence) -> Option<TurnKind> {
        let is_due = cadence.reflect_every > 0 && self.cycles >= cadence.reflect_every;
        is_due.then(|| TurnKind::of_reflection(self.reflections.saturating_add(1)))
    }

    /// Returns the cycles that are left until the next reflection is due; `None` without reflections.
    #[must_use]
    pub fn cycles_left(&self, cadence: &Cadence) -> Option<u32> {
        (cadence.reflect_every > 0).then(|| cadence.reflect_every.saturating_sub(self.cycles))
    }

    /// Returns the number of dreams of the last day.
    #[must_use]
    pub fn dreams_of_day(&self, now: Ms) -> usize {
        self.dreams.iter().filter(|at| is_within_a_day(**at, now)).count()
    }

    /// Returns until when the last day has the most dreams that it may have, where it has.
    #[must_use]
    pub fn dreamt_until(&self, now: Ms) -> Option<Ms> {
        let mut dreams: Vec<Ms> = self.dreams.iter().copied().filter(|at| is_within_a_day(*at, now)).collect();
        dreams.sort_unstable();
        let first = dreams.len().checked_sub(DREAMS_A_DAY)?;
        dreams.get(first).map(|at| at.saturating_add(DAY))
    }

    /// Returns the turns that must come before the next dream.
    #[must_use]
    pub fn turns_before_dream(&self, cadence: &Cadence) -> u32 {
        cadence.between_dreams.saturating_sub(self.since_dream)
    }

    /// Returns whether the last admission was a dream.
    pub(crate) fn has_just_dreamt(&self) -> bool {
        self.since_dream == 0 && !self.dreams.is_empty()
    }

    /// Returns the kind of the turn that ended, which is over.
    pub(crate) fn end_turn(&mut self) -> TurnKind {
        std::mem::take(&mut self.kind)
    }

    /// Notes that a rest begins, which ends the cycle.
    pub(crate) fn rests(&mut self) {
        if self.turns > 0 {
            self.turns = 0;
            self.cycles = self.cycles.saturating_add(1).min(MOST);
        }
    }

    /// Notes an admission of this kind. Returns whether its reflection ends in a state dump.
    fn admitted(&mut self, kind: TurnKind, cadence: &Cadence, now: Ms) -> bool {
        self.kind = kind;
        let more = |n: u32| n.saturating_add(1).min(MOST);
        self.since_dump = more(self.since_dump);
        if kind == TurnKind::Dream {
            self.since_dream = 0;
            // By their number and not by their times, which a clock that is set forward and back again makes old.
            let over = (self.dreams.len() + 1).saturating_sub(DREAMS_A_DAY);
            self.dreams.drain(..over);
            self.dreams.push(now);
            return false;
        }
        self.since_dream = more(self.since_dream);
        if kind.is_reflection() {
            (self.cycles, self.reflections) = (0, more(self.reflections));
            let dumps = cadence.dump_every > 0 && self.since_dump >= cadence.dump_every;
            if dumps {
                self.since_dump = 0;
            }
            return dumps;
        }
        self.turns = more(self.turns);
        if self.turns >= CYCLE {
            self.rests();
        }
        false
    }
}

fn is_within_a_day(at: Ms, now: Ms) -> bool {
    // A dream of the future was admitted before the clock was set back.
    at > now.saturating_sub(DAY)
}

/// Returns when the working hours begin, outside of them. A wake-up continues the session all the same, because a person or a
/// program has called for it.
pub(in crate::policy) fn closed_until(case: &Case<'_>, session: &SessionState) -> Option<Ms> {
    case.policy.cadence.calendar.opens(case.now).filter(|_| !session.woken)
}

/// Books the rest of a session outside its working hours, and ends it where they have begun.
pub(in crate::policy) fn rest_outside_hours(case: &Case<'_>, session: &mut SessionState) {
    let calendar = &case.policy.cadence.calendar;
    let rest = session.rest.as_ref();
    let is_off = rest.is_some_and(|rest| rest.kind == RestKind::OffHours);
    if calendar.hours.is_empty() && !is_off {
        return;
    }
    let Some(opens) = closed_until(case, session) else {
        session.rest = session.rest.take().filter(|_| !is_off);
        return;
    };
    // What the agent itself requested stays, and so does a longer rest.
    let gives_way = |rest: &Rest| !rest.kind.is_agents() && rest.until.is_none_or(|until| until < opens);
    if is_off || rest.is_none_or(|rest| !rest.lasts(case.now) || gives_way(rest)) {
        let since = rest.filter(|_| is_off).map_or(case.now, |rest| rest.since);
        let id = rest.filter(|_| is_off).map_or(0, |rest| rest.id);
        session.rest = Some(Rest { kind: RestKind::OffHours, since, until: Some(opens), topic: String::new(), id });
    }
}

/// Returns whether the session dreams before its rest, which it has just begun.
pub(in crate::policy) fn dreams_before(case: &Case<'_>, session: &SessionState, work: Option<&WorkState>) -> bool {
    let (cadence, now) = (&case.policy.cadence, case.now);
    let Some(rest) = &session.rest else { return false };
    let is_kind = match (cadence.dreams, rest.kind) {
        (Dreams::Off, _) => false,
        (_, RestKind::Rest | RestKind::Idle) => true,
        (Dreams::On, RestKind::OffHours) => true,
        _ => false,
    };
    let is_kind = is_kind && (cadence.dreams == Dreams::On || cadence.calendar.opens(now).is_none());
    // An entry of work comes first, and a session that continues only with one does not dream without it.
    let has_work = |policy: WorkPolicy| policy.mode == WorkMode::Required || work.is_none_or(|work| work.has_work(now));
    let is_called = work_rule::policy_of(case.policy, session, case.ask).is_some_and(has_work);
    // The rest has begun with the refusal of the last request, and nothing but a wake-up or a renewal sends another one in it.
    let has_begun = matches!(case.ask.event, Event::Ask { .. })
        && Reason::from_code(&session.last_reason).is_some_and(Reason::is_rest);
    if !is_kind || has_begun || !case.ask.paced || session.work.is_some() || is_called || session.gate {
        return false;
    }
    let state = &session.cadence;
    let is_long = rest.until.is_none_or(|until| until.saturating_sub(rest.since) >= millis(cadence.long_rest));
    let since_turn = session.begun.as_ref().map(|begun| now.saturating_sub(begun.at));
    let is_warm = since_turn.is_some_and(|ms| (0..=CACHE).contains(&ms)) && case.ask.cache_is_warm != Some(false);
    is_long && is_warm && state.dreams_of_day(now) < DREAMS_A_DAY && state.turns_before_dream(cadence) == 0
}

/// Counts the admission, and returns the kind of its turn and whether it ends in a state dump.
///
/// `is_called` is whether work in hand, the note of a wake-up or a hold has precedence.
pub(in crate::policy) fn admit(
    case: &Case<'_>,
    session: &mut SessionState,
    dreams: bool,
    is_called: bool,
) -> (TurnKind, bool) {
    let cadence = &case.policy.cadence;
    let kind = match session.cadence.due(cadence) {
        _ if dreams => TurnKind::Dream,
        Some(kind) if !is_called => kind,
        _ => TurnKind::Work,
    };
    // An agent without a cadence is not counted. Its dreams of the last day are, should it get one again.
    if (cadence.reflect_every == 0 && cadence.dreams == Dreams::Off) || session.gate {
        let dreams = std::mem::take(&mut session.cadence.dreams);
        let since_dream = if dreams.is_empty() { 0 } else { 1 };
        session.cadence = CadenceState { dreams, since_dream, ..CadenceState::default() };
        return (TurnKind::Work, false);
    }
    (kind, session.cadence.admitted(kind, cadence, case.now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reflections_in_turn() {
        let kinds: Vec<&str> = (1..=10).map(|nth| TurnKind::of_reflection(nth).code()).collect();
        let expected =
            ["cycle", "self", "cycle", "self", "reflections", "self", "cycle", "self", "cycle", "reflections"];
        assert_eq!(kinds, expected.map(|on| format!("reflection_on_{on}")));
        assert!(TurnKind::ALL.iter().all(|kind| {
            serde_json::to_value(kind).unwrap() == kind.code()
                && kind.is_reflection() == kind.code().contains("reflection")
        }));
    }

    #[test]
    fn a_cycle_is_a_run_or_twenty_continuations() {
        let cadence = Cadence { reflect_every: 2, dump_every: 30, ..Cadence::default() };
        let mut state = CadenceState::default();
        let mut kinds = Vec::new();
        for n in 0..50 {
            let kind = state.due(&cadence).unwrap_or_default();
            let dumps = state.admitted(kind, &cadence, n);
            kinds.push((kind, dumps));
        }
        let at = |wanted: fn(&(TurnKind, bool)) -> bool| {
            kinds.iter().enumerate().filter(|(_, one)| wanted(one)).map(|(n, _)| n).collect::<Vec<_>>()
        };
        assert_eq!(at(|(kind, _)| kind.is_reflection()), [40]);
        assert_eq!(at(|(_, dumps)| *dumps), [40]);
        state.rests();
        state.rests();
        assert_eq!((state.cycles, state.turns), (1, 0), "a rest after no turn is no cycle");
    }

    #[test]
    fn what_is_counted_of_dreams() {
        let cadence = Cadence { reflect_every: 3, ..Cadence::default() };
        let mut state = CadenceState::default();
        assert!(!state.has_just_dreamt());
        (0..10).for_each(|n| assert!(!state.admitted(TurnKind::Dream, &cadence, n)));
        assert_eq!((state.dreams.as_slice(), state.has_just_dreamt()), (&[4, 5, 6, 7, 8, 9][..], true));
        assert_eq!((state.dreams_of_day(DAY + 3), state.dreamt_until(DAY + 3)), (6, Some(DAY + 4)));
        assert_eq!((state.dreams_of_day(DAY + 4), state.dreamt_until(DAY + 4)), (5, None));
        assert!(!state.admitted(TurnKind::ReflectionOnSelf, &cadence, 10), "without a state dump");
        assert_eq!((state.has_just_dreamt(), state.turns_before_dream(&cadence)), (false, TURNS_BETWEEN_DREAMS - 1));
        state.cycles = 1;
        assert_eq!([&cadence, &Cadence::default()].map(|cadence| state.cycles_left(cadence)), [Some(2), None]);
    }

    #[test]
    fn names_are_read_back() {
        assert!(
            [Dreams::Off, Dreams::On, Dreams::InHours].iter().all(|one| Dreams::from_name(one.name()) == Some(*one))
        );
        assert!(TurnKind::ALL.iter().all(|kind| TurnKind::from_code(kind.code()) == Some(*kind)));
        assert_eq!((Dreams::from_name(""), TurnKind::from_code("")), (None, None));
    }
}
