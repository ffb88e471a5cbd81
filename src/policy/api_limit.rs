//! The limits of the API key that its agents have met: of the whole key, or of one model.
//!
//! A limit whose end is far away is probed: once an hour one request of the fleet is not refused by it.

use serde::{Deserialize, Serialize};

use crate::policy::documents::{FleetState, ScopeState, SessionState};
use crate::policy::fact::Span;
use crate::policy::limits::Ms;

/// A limit is not probed this long before its end.
pub const NEAR: Ms = 6 * 3_600_000;
/// The time from the beginning of a limit, or from its last probe, to the next one.
pub const PROBE_EVERY: Ms = 3_600_000;
/// How long a lifted limit is remembered, which is longer than any reset time that is believed.
const REMEMBERED: Ms = 8 * 86_400_000;

/// The limit of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelLimit {
    /// The part of a model's name by which the limit's text names it, in lower case.
    pub model: String,
    /// The period in which the API refuses the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Span>,
    /// When a successful turn on the model or a release last lifted such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Ms>,
    /// When the limit was last probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probed: Option<Ms>,
}

impl ModelLimit {
    /// Returns whether a model, by its full name, is the one that the limit names.
    fn is_of(&self, model: &str) -> bool {
        !self.model.is_empty() && model.to_lowercase().contains(&self.model)
    }

    fn is_remembered(&self, now: Ms) -> bool {
        let is_recent = |at: Ms| at > now.saturating_sub(REMEMBERED);
        self.limit.is_some_and(|limit| limit.end > now) || self.answered.is_some_and(is_recent)
    }
}

/// What refuses a request because of the API's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiRefusal {
    /// When the refusal ends, or the next probe is due.
    pub until: Ms,
    /// Whether a limit of the key refuses, whose end frees many sessions.
    pub of_key: bool,
}

/// A period that refuses requests, and when it was last probed, where it is a limit of the key.
struct Closed {
    span: Span,
    probed: Option<Ms>,
    of_key: bool,
}

impl Closed {
    /// Returns when the period no longer refuses: at its end, or at a probe before that.
    fn opens(&self, now: Ms) -> Ms {
        let probe = self.span.start.max(self.probed.unwrap_or(0)).saturating_add(PROBE_EVERY).max(now);
        if self.of_key && self.span.end.saturating_sub(probe) > NEAR { probe } else { self.span.end }
    }
}

impl FleetState {
    /// Works as [`Span::rebase`], for the limits of the key. An answer in the future lifts nothing.
    pub(crate) fn rebase_limits(&mut self, now: Ms) {
        let of_models = self.limits.iter_mut().map(|known| (&mut known.limit, &mut known.answered, &mut known.probed));
        for (limit, answered, probed) in of_models.chain([(&mut self.limit, &mut self.answered, &mut self.probed)]) {
            if let Some(limit) = limit {
                limit.rebase(now);
            }
            *answered = answered.filter(|at| *at <= now);
            *probed = probed.map(|at| at.min(now));
        }
    }

    /// Returns when a hold or a limit of the fleet was last lifted.
    #[must_use]
    pub fn lifted_at(&self) -> Option<Ms> {
        let of_models = self.limits.iter().filter_map(|known| known.answered).max();
        self.released.max(self.answered).max(of_models)
    }

    /// Returns the last end of the limits in force at `now`.
    #[must_use]
    pub fn limited_until(&self, now: Ms) -> Option<Ms> {
        let of_models = self.limits.iter().filter_map(|known| known.limit);
        of_models.chain(self.limit).map(|limit| limit.end).filter(|end| *end > now).max()
    }

    /// Returns when the limits end that apply to a scope, for a session that was last seen on this model.
    #[must_use]
    pub fn limit_for(&self, scope: &ScopeState, model: &str, now: Ms) -> Option<Ms> {
        self.limits_for(scope, model, now).map(|closed| closed.span.end).max()
    }

    fn limits_for<'a>(&'a self, scope: &'a ScopeState, model: &'a str, now: Ms) -> impl Iterator<Item = Closed> + 'a {
        let of_models = self.limits.iter().filter(|known| known.is_of(model)).map(|known| (known.limit, known.probed));
        let of_all = std::iter::once((self.limit, self.probed)).chain(of_models);
        let closed = of_all.filter_map(|(limit, probed)| Some(Closed { span: limit?, probed, of_key: true }));
        // The scope was released since the limit was met.
        let is_exempt = |limit: Span| scope.released.is_some_and(|at| at >= limit.start);
        closed.filter(move |closed| closed.span.end > now && !is_exempt(closed.span))
    }

    /// Returns when the limit that closes a scope was last lifted by an answer, and when it was last probed.
    fn answers_for(&self, scope: &ScopeState) -> (Option<Ms>, Option<Ms>) {
        let known = self.limits.iter().find(|known| known.model == scope.api_model);
        match scope.api_model.as_str() {
            "" => (self.answered, self.probed),
            _ => (known.and_then(|known| known.answered), known.and_then(|known| known.probed)),
        }
    }

    /// Returns whether the scope's API cooldown is a reset time that was disproved since.
    pub(crate) fn disproves(&self, scope: &ScopeState) -> bool {
        let (answered, _) = self.answers_for(scope);
        scope.api_of_key && scope.api.is_some_and(|api| answered.is_some_and(|at| at >= api.start))
    }

    /// Returns the scope's API cooldown, unless it was a reset time that was disproved since.
    fn cooldown_of(&self, scope: &ScopeState, now: Ms) -> Option<Closed> {
        let span = scope.api.filter(|api| api.end > now && !self.disproves(scope))?;
        let (_, probed) = self.answers_for(scope);
        Some(Closed { span, probed, of_key: scope.api_of_key })
    }

    /// Returns the end of a scope's API cooldown, unless it was a reset time that was disproved since.
    #[must_use]
    pub fn api_end_of(&self, scope: &ScopeState, now: Ms) -> Option<Ms> {
        self.cooldown_of(scope, now)
            .into_iter()
            .chain(Self::own_cooldown(scope, now))
            .map(|closed| closed.span.end)
            .max()
    }

    fn own_cooldown(scope: &ScopeState, now: Ms) -> Option<Closed> {
        let span = scope.api_own.filter(|api| api.end > now)?;
        Some(Closed { span, probed: None, of_key: false })
    }

    fn closed<'a>(
        &'a self,
        scope: &'a ScopeState,
        session: &'a SessionState,
        now: Ms,
    ) -> impl Iterator<Item = Closed> + 'a {
        let of_scope = self.cooldown_of(scope, now).into_iter().chain(Self::own_cooldown(scope, now));
        of_scope.chain(self.limits_for(scope, &session.model, now))
    }

    /// Returns what refuses a request of the session because of the API's errors.
    #[must_use]
    pub fn api_refusal(&self, scope: &ScopeState, session: &SessionState, now: Ms) -> Option<ApiRefusal> {
        let refusals = self.closed(scope, session, now).map(|closed| (closed.opens(now), closed.of_key));
        let refusals = refusals.filter(|(until, _)| *until > now);
        refusals
            .map(|(until, of_key)| ApiRefusal { until, of_key })
            .reduce(|a, b| ApiRefusal { until: a.until.max(b.until), of_key: a.of_key || b.of_key })
    }

    /// Notes an admission. Where limits apply to the session, it probes them.
    pub(crate) fn note_probe(&mut self, scope: &ScopeState, session: &SessionState, now: Ms) {
        if self.cooldown_of(scope, now).is_some() {
            match scope.api_model.as_str() {
                "" => self.probed = Some(now),
                model => self.change_limit(model, |known| known.probed = Some(now)),
            }
        }
        if self.limit.is_some_and(|limit| limit.end > now) {
            self.probed = Some(now);
        }
        for known in self.limits.iter_mut().filter(|known| known.is_of(&session.model)) {
            if known.limit.is_some_and(|limit| limit.end > now) {
                known.probed = Some(now);
            }
        }
    }

    /// Notes a limit with the reset time that an agent received. An empty model is the whole key.
    pub(crate) fn meet(&mut self, model: &str, span: Span) {
        self.limits.retain(|known| known.is_remembered(span.start));
        match model {
            "" => open(&mut self.limit, span),
            model => self.change_limit(model, |known| open(&mut known.limit, span)),
        }
    }

    /// Lifts the limits that a successful turn disproves, which ended at `answered` on this model.
    ///
    /// Where the model is not known, that is the key's limit alone.
    pub(crate) fn answer(&mut self, model: &str, answered: Ms, now: Ms) {
        let of_models = self.limits.iter_mut().filter(|known| known.is_of(model));
        let of_models = of_models.map(|known| (&mut known.limit, &mut known.answered));
        for (limit, lifted) in of_models.chain([(&mut self.limit, &mut self.answered)]) {
            if limit.is_some_and(|limit| limit.start <= answered) {
                *limit = None;
                *lifted = Some(now);
            }
        }
    }

    /// Lifts every limit.
    pub(crate) fn lift_limits(&mut self, now: Ms) {
        let of_models = self.limits.iter_mut().map(|known| (&mut known.limit, &mut known.answered));
        for (limit, lifted) in of_models.chain([(&mut self.limit, &mut self.answered)]) {
            if limit.take().is_some() {
                *lifted = Some(now);
            }
        }
    }

    /// Changes the limit of a model, which may be a new one.
    fn change_limit(&mut self, model: &str, change: impl FnOnce(&mut ModelLimit)) {
        let at = self.limits.iter().position(|known| known.model == model);
        let mut known = at.map_or_else(ModelLimit::default, |at| self.limits.remove(at));
        model.clone_into(&mut known.model);
        change(&mut known);
        self.limits.push(known);
    }
}

/// Opens a limit. A longer one that is open keeps its end. An earlier release exempts no scope from a limit that was met anew.
fn open(limit: &mut Option<Span>, span: Span) {
    let end = limit.map_or(span.end, |open| open.end.max(span.end));
    *limit = Some(Span::new(span.start, end));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Ms = 100 * 86_400_000;

    #[test]
    fn a_limit_is_remembered_while_it_can_matter() {
        let answered = |answered: Ms| ModelLimit { answered: Some(answered), ..ModelLimit::default() };
        let limit = |end: Ms| ModelLimit { limit: Some(Span::new(0, end)), ..ModelLimit::default() };
        for (known, expected) in [
            (limit(NOW), false),
            (limit(NOW + 1), true),
            (answered(NOW - 8 * 86_400_000), false),
            (answered(NOW - 8 * 86_400_000 + 1), true),
            (ModelLimit { limit: limit(NOW + 1).limit, ..answered(0) }, true),
            (ModelLimit::default(), false),
        ] {
            assert_eq!(known.is_remembered(NOW), expected, "{known:?}");
        }
    }

    #[test]
    fn a_limit_is_probed_while_its_end_is_far_from_the_next_probe() {
        let closed = |end: Ms| Closed { span: Span::new(0, end), probed: None, of_key: true };
        assert_eq!(closed(PROBE_EVERY + NEAR).opens(0), PROBE_EVERY + NEAR);
        assert_eq!(closed(PROBE_EVERY + NEAR + 1).opens(0), PROBE_EVERY);
    }

    #[test]
    fn limits_and_cooldowns_end_with_their_last_millisecond() {
        let fleet = FleetState { limit: Some(Span::new(0, 500)), ..FleetState::default() };
        let scope = ScopeState { api: Some(Span::new(0, 500)), ..ScopeState::default() };
        let ends = |now| [fleet.limit_for(&scope, "", now), fleet.api_end_of(&scope, now), fleet.limited_until(now)];
        assert_eq!(ends(499), [Some(500); 3]);
        assert_eq!(ends(500), [None; 3]);
    }

    #[test]
    fn only_an_answer_since_then_disproves_and_a_reset_time_only() {
        for (answered, api_of_key, refuses) in
            [(None, true, true), (Some(99), true, true), (Some(100), true, false), (Some(100), false, true)]
        {
            let fleet = FleetState { answered, ..FleetState::default() };
            let scope = ScopeState { api: Some(Span::new(100, 500)), api_of_key, ..ScopeState::default() };
            let found = fleet.api_refusal(&scope, &SessionState::default(), 200).is_some();
            assert_eq!(found, refuses, "{answered:?}, of the key: {api_of_key}");
        }
    }

    #[test]
    fn each_model_has_one_limit_the_longest() {
        let mut fleet = FleetState::default();
        for (model, start, end) in [("opus", 0, 50), ("sonnet", 1, 60), ("opus", 2, 70), ("sonnet", 3, 60)] {
            fleet.meet(model, Span::new(start, end));
        }
        let limit = |known: &ModelLimit| (known.model.clone(), known.limit.map(|limit| (limit.start, limit.end)));
        let found: Vec<_> = fleet.limits.iter().map(limit).collect();
        assert_eq!(found, [("opus".to_owned(), Some((2, 70))), ("sonnet".to_owned(), Some((3, 60)))]);
    }

    #[test]
    fn a_limit_that_is_met_anew_binds_a_scope_that_was_released_before() {
        let mut fleet = FleetState::default();
        fleet.meet("", Span::new(10, 100));
        let released = ScopeState { released: Some(20), ..ScopeState::default() };
        assert_eq!(fleet.limit_for(&released, "", 30), None);
        fleet.meet("", Span::new(30, 60));
        assert_eq!(fleet.limit_for(&released, "", 30), Some(100), "a longer one keeps its end");
        fleet.answer("", 29, 40);
        assert!(fleet.limit.is_some(), "an answer before it disproves nothing");
        fleet.answer("", 31, 40);
        assert_eq!(fleet.limit, None);
    }
}
