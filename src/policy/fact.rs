//! The identity of a hold, a rest or a cooldown in every copy of it, and its period.

use serde::{Deserialize, Serialize};

use crate::policy::fnv::Fnv;
use crate::policy::limits::Ms;

/// Identifies a hold, a rest or a cooldown in every copy of it.
///
/// It is derived from the id of the step that began the fact, and has at most fifteen digits. It is zero where an
/// earlier version of the program wrote the fact.
pub type FactId = u64;

/// The number of lifted facts that are remembered.
const MOST_LIFTED: usize = 8;

/// Returns the id of the fact that a step begins.
#[must_use]
pub fn fact_id(step: &str) -> FactId {
    step.bytes().fold(Fnv::default(), Fnv::with).short()
}

/// Returns the id of a fact: its own, or one derived from its beginning.
pub(crate) fn identity(id: FactId, since: Ms) -> FactId {
    if id == 0 { fact_id(&since.to_string()) } else { id }
}

/// Notes that a fact was lifted.
pub(crate) fn note_lifted(lifted: &mut Vec<FactId>, id: FactId) {
    if !lifted.contains(&id) {
        lifted.push(id);
        let over = lifted.len().saturating_sub(MOST_LIFTED);
        lifted.drain(..over);
    }
}

/// A period with its start, so that a clock that was set back is noticed and the length is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first millisecond.
    pub start: Ms,
    /// The first millisecond after the period.
    pub end: Ms,
    /// The id of the fact, where the period is a cooldown.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Span {
    /// Makes a period without an id.
    #[must_use]
    pub fn new(start: Ms, end: Ms) -> Self {
        Self { start, end, id: 0 }
    }

    /// Returns the id of the fact.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.start)
    }

    /// Moves a period that starts in the future to `now` and keeps its length.
    pub fn rebase(&mut self, now: Ms) {
        if self.start > now {
            self.id = self.identity();
            self.end = now.saturating_add(self.end.saturating_sub(self.start).max(0));
            self.start = now;
        }
    }

    /// Returns what is left at `now`, or `None` once the period is over.
    #[must_use]
    pub fn left(&self, now: Ms) -> Option<Ms> {
        (self.end > now).then(|| self.end.saturating_sub(now))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
pub(crate) fn is_unnamed(id: &FactId) -> bool {
    *id == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lifted_facts_are_remembered_once() {
        let mut lifted = Vec::new();
        for id in [1, 2, 3, 4, 5, 6, 7, 8, 2, 9, 10] {
            note_lifted(&mut lifted, id);
        }
        assert_eq!(lifted, [3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_period_of_the_future_begins_now_with_its_length() {
        for (start, end, expected) in
            [(90, 130, (90, 130)), (100, 130, (100, 130)), (101, 131, (100, 130)), (120, 90, (100, 100))]
        {
            let mut span = Span::new(start, end);
            let id = span.identity();
            span.rebase(100);
            assert_eq!((span.start, span.end, span.identity()), (expected.0, expected.1, id), "{start} {end}");
        }
        assert_eq!([99, 100, 129, 130].map(|now| Span::new(100, 130).left(now)), [Some(31), Some(30), Some(1), None]);
    }
}
