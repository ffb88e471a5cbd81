//! What comes next for each agent, when, and why: in sentences ([`sentences`]) or as JSON ([`json`]).
//!
//! The state and the time are those of a row of `frosty status`. The kinds of turns and the calendar are asked of the
//! policy.

pub mod json;
mod now;
#[cfg(test)]
mod tests;

use crate::config::Config;
use crate::duration;
use crate::local_time;
use crate::policy::cadence::{Cadence, DREAMS_A_DAY, Dreams, TurnKind};
use crate::policy::limits::Ms;
use crate::policy::work::WorkMode;
use crate::text;
use crate::view::sessions::Row;
use crate::view::sessions::kind::{Back, Kind};

/// What comes next for one agent.
#[derive(Debug)]
pub struct Schedule<'a> {
    /// The session and its state.
    row: &'a Row,
    /// Its agent's cadence.
    cadence: Cadence,
    /// Whether the session claims entries of a work queue.
    work: WorkMode,
    /// Whether an idle agent rests.
    rests_when_idle: bool,
    now: Ms,
}

impl<'a> Schedule<'a> {
    /// Returns the schedule of a row that was read at `now`.
    #[must_use]
    pub fn of(config: &Config, row: &'a Row, now: Ms) -> Self {
        let policy = config.policy_of(&row.session);
        let (work, rests_when_idle) = (row.session.work_mode, policy.idle.is_some());
        let mut cadence = policy.cadence.clone();
        if row.session.gate {
            // The runs of a gate are all for its command.
            (cadence.reflect_every, cadence.dreams) = (0, Dreams::Off);
        }
        Self { row, cadence, work, rests_when_idle, now }
    }

    /// Returns the schedule in sentences: first the present state and its end, then what else is fixed.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let profile = match self.row.profile.as_str() {
            "" => "no profile".to_owned(),
            name => text::line(name),
        };
        let then = self.then().map(|then| format!("; then {then}")).unwrap_or_default();
        let first = format!("{} ({profile}) {}{then}.", self.row.name, now::clause(self));
        if self.is_over() {
            return vec![first];
        }
        let others = [self.hours(), self.times(), self.reflections(), self.dreams()];
        [Some(first)].into_iter().chain(others).flatten().chain([self.mood()]).collect()
    }

    fn is_over(&self) -> bool {
        self.row.kind == Kind::Ended
    }

    /// Returns what the next turn is for, where that is no work. It is what an admission would decide now.
    fn next_kind(&self) -> Option<TurnKind> {
        let waits = !matches!(self.row.back, Back::Nothing | Back::Prompt | Back::Answer | Back::Client | Back::Gate);
        self.row.session.cadence.due(&self.cadence).filter(|_| waits && !self.is_called())
    }

    /// Returns whether an entry in hand, a wake-up's note or a hold comes before a reflection.
    fn is_called(&self) -> bool {
        let session = &self.row.session;
        let is_held = !session.held_by.is_empty() || self.row.kind == Kind::Hold;
        session.work.is_some() || self.work == WorkMode::Required || !session.note.is_empty() || is_held
    }

    fn then(&self) -> Option<String> {
        let unless = if self.work == WorkMode::Preferred { ", unless work is waiting" } else { "" };
        self.next_kind().map(|kind| format!("{}{unless}", kind.words()))
    }

    fn clock(&self, at: Ms) -> String {
        local_time::clock(at, self.now)
    }

    /// Describes the working hours.
    fn hours(&self) -> Option<String> {
        let calendar = &self.cadence.calendar;
        if calendar.hours.is_empty() {
            return None;
        }
        let (opens, closes) = (calendar.opens(self.now), calendar.closes(self.now));
        Some(match (opens, closes) {
            (Some(opens), _) => format!("Its working hours begin at {}.", self.clock(opens)),
            (None, Some(closes)) => match calendar.opens(closes) {
                Some(again) => {
                    format!(
                        "Its working hours end at {}, and begin again at {}.",
                        self.clock(closes),
                        self.clock(again)
                    )
                }
                None => format!("Its working hours end at {}.", self.clock(closes)),
            },
            (None, None) => "Its working hours do not end.".to_owned(),
        })
    }

    /// Returns the next fixed time, until which an idle agent rests.
    fn next_time(&self) -> Option<Ms> {
        self.cadence.calendar.next_time(self.now).filter(|_| self.rests_when_idle)
    }

    fn times(&self) -> Option<String> {
        let at = self.next_time()?;
        Some(format!("Its next fixed time, until which it rests when it is idle, is {}.", self.clock(at)))
    }

    fn reflections(&self) -> Option<String> {
        let state = &self.row.session.cadence;
        let left = state.cycles_left(&self.cadence)?;
        if self.work == WorkMode::Required {
            return Some("It neither reflects nor dreams, because work is required.".to_owned());
        }
        let kind = TurnKind::of_reflection(state.reflections.saturating_add(1)).words();
        match left {
            0 if self.next_kind().is_some() => None,
            0 => Some(format!("Due: {kind}. It is the next turn that no work, note or hold comes before.")),
            1 => Some(format!("After 1 more cycle: {kind}.")),
            left => Some(format!("After {left} more cycles: {kind}.")),
        }
    }

    fn dreams(&self) -> Option<String> {
        let state = &self.row.session.cadence;
        let hours = match self.cadence.dreams {
            _ if self.work == WorkMode::Required || self.row.kind == Kind::Stopped => return None,
            Dreams::Off => return None,
            Dreams::On => "",
            Dreams::InHours => ", within its working hours",
        };
        let today = state.dreams_of_day(self.now);
        let rest = duration::show(self.cadence.long_rest);
        let next = match (state.dreamt_until(self.now), state.turns_before_dream(&self.cadence)) {
            (Some(until), _) => format!("no other before {}", self.clock(until)),
            (None, 0) => format!("the next one before a rest of {rest} or more{hours}"),
            (None, 1) => format!("the next one after 1 more turn, before a rest of {rest} or more{hours}"),
            (None, turns) => format!("the next one after {turns} more turns, before a rest of {rest} or more{hours}"),
        };
        Some(format!("Dreams: {today} of {DREAMS_A_DAY} in the last day; {next}."))
    }

    fn mood(&self) -> String {
        let rhythm = &self.row.session.rhythm;
        format!("Mood: {} ({}).", rhythm.mood(self.now).word(), rhythm.reason(self.now))
    }
}
