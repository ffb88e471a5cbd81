//! What the server said of a scope, kept on this machine in case it falls silent or loses its data; and what the embedded
//! store decided in its place. All times are this machine's clock.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::server_record::FOREVER;
use super::state_file::ScopeFile;
use crate::clock;
use crate::throttle::effects::BY_API;
use crate::throttle::policy::{Class, Ms, millis};
pub(super) use crate::throttle::state::IN_FLIGHT;
use crate::throttle::state::{Begun, Hold, Rest, RestKind, ScopeState, SessionState, Span};
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Decision, Outcome, Reason};

/// No directive books a longer rest, but `done`.
const LONGEST_REST: Duration = Duration::from_secs(2 * 86_400);

/// What the server last said of a scope.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Mirror {
    /// The server's `born`.
    pub(super) born: String,
    /// When it was last told.
    pub(super) seen: Ms,
    /// The doors that it closed.
    #[serde(flatten)]
    pub(super) doors: Doors,
}

/// What may stand against a scope besides guard, rest and quota.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Doors {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<Hold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop: Option<Span>,
    pub(super) stop_strikes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) compact: Option<Span>,
    pub(super) compact_strikes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api: Option<Span>,
    pub(super) api_strikes: u32,
}

/// The embedded store decides for this scope, and the server has not been told yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Away {
    /// Tells this time from every other.
    pub(super) id: String,
    /// Since when.
    pub(super) since: Ms,
    /// How many steps it took: what was told of fewer is not the whole of it.
    pub(super) steps: u64,
    /// When it admitted continuations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) admitted: Vec<Ms>,
    /// What it began with: the server knows of that.
    pub(super) brought: Doors,
    /// When a hold was last lifted by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) released: Option<Ms>,
    /// It changes hands too often: not before this time, or an admission here, does it go back. Each change closes the guard,
    /// and a server that fails only where it would admit could else keep it closed for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stays_until: Option<Ms>,
}

impl Doors {
    /// What a scope's state says.
    pub(super) fn of(scope: &ScopeState) -> Self {
        Self {
            hold: scope.hold.clone(),
            stop: scope.stop.cooldown,
            stop_strikes: scope.stop.strikes,
            compact: scope.compact.cooldown,
            compact_strikes: scope.compact.strikes,
            api: scope.api,
            api_strikes: scope.api_strikes,
        }
    }

    /// As [`ScopeState::rebase`].
    pub(super) fn rebase(&mut self, now: Ms) {
        for span in [&mut self.stop, &mut self.compact, &mut self.api].into_iter().flatten() {
            span.rebase(now);
        }
        if let Some(hold) = &mut self.hold {
            hold.rebase(now);
        }
    }

    /// When the last of them opens; `None` when none is closed.
    fn until(&self, now: Ms) -> Option<Ms> {
        let hold = self.hold.as_ref().map(|h| h.until.unwrap_or(FOREVER));
        let spans = [self.stop, self.compact, self.api].into_iter().flatten().map(|s| s.end);
        spans.chain(hold).max().filter(|end| *end > now)
    }
}

/// What is to be kept of the server's answer to a step.
pub(super) struct Noted {
    /// Until when the scope is to be marked.
    pub(super) until: Option<Ms>,
    /// The session as the server said it, where that is to be remembered.
    pub(super) session: Option<SessionState>,
}

impl ScopeFile {
    /// Takes note of the server's answer to a step. `known` is what the server said of the session before.
    pub(super) fn note(
        &mut self,
        step: &Step,
        decided: &Decision,
        known: Option<&SessionState>,
        born: &str,
        now: Ms,
    ) -> Noted {
        let mirror = self.mirror.get_or_insert_with(Mirror::default);
        if !born.is_empty() {
            born.clone_into(&mut mirror.born);
        }
        mirror.seen = now;
        doors(&mut mirror.doors, step, decided, now);
        let doors = mirror.doors.until(now);
        let mut said = known.cloned();
        if step.event.is_clients() || decided.reason.is_rest() {
            session(said.get_or_insert_default(), step, decided, now);
        }
        // Sessions are kept for what they say of rests; of all else the server is asked.
        let rests = |s: &SessionState| s.rest.as_ref().is_some_and(|r| r.lasts(now));
        let said = said.filter(|s| s.seen > 0 && (rests(s) || doors.is_some()));
        self.sessions.retain(|_, listed| listed.rests(now) || doors.is_some());
        match &said {
            Some(said) => self.list(&step.session, said, now),
            None => drop(self.sessions.remove(&step.session)),
        }
        // A rest for good is told again by the engine that waits it out; a file of it is not looked at for good.
        let most = now.saturating_add(millis(LONGEST_REST));
        let rests = self.sessions.values().filter_map(|listed| listed.rest_until).map(|until| until.min(most));
        let until = rests.chain(doors).max().filter(|end| *end > now);
        if until.is_none() {
            self.mirror = None;
        }
        Noted { until, session: said }
    }

    /// The embedded store decides for the scope from now on: with what the server said last, and its guard closed as if
    /// the server had just admitted it.
    ///
    /// `pause` is how long that is.
    pub(super) fn take_over(&mut self, now: Ms, closes_guard: bool, pause: Ms) {
        let scope = &mut self.scope;
        if let Some(mirror) = &mut self.mirror {
            mirror.doors.rebase(now);
            let doors = &mirror.doors;
            scope.hold = doors.hold.clone().filter(|h| h.holds(now));
            scope.stop.cooldown = later(scope.stop.cooldown, doors.stop);
            scope.stop.strikes = scope.stop.strikes.max(doors.stop_strikes);
            scope.compact.cooldown = later(scope.compact.cooldown, doors.compact);
            scope.compact.strikes = scope.compact.strikes.max(doors.compact_strikes);
            scope.api = later(scope.api, doors.api);
            // Whether it is a reset time is not told: it runs out.
            scope.api_of_key = false;
            scope.api_strikes = doors.api_strikes;
        }
        if closes_guard {
            // What was asked of the server before may be admitted there until then.
            scope.taken = Some(now.saturating_add(IN_FLIGHT));
        }
        let term = pause.saturating_add(IN_FLIGHT).saturating_mul(2);
        let was_here = self.given_back.is_some_and(|at| at <= now && at.saturating_add(term) > now);
        let stays_until = was_here.then(|| now.saturating_add(term));
        let brought = Doors::of(scope);
        self.away = Some(Away { id: clock::id(), since: now, brought, stays_until, ..Away::default() });
    }

    /// Once more in the server's place.
    pub(super) fn stay_over(&mut self, now: Ms, closes_guard: bool) {
        let Some(away) = &mut self.away else { return };
        away.since = away.since.min(now);
        away.brought.rebase(now);
        if closes_guard {
            self.scope.taken = self.scope.taken.max(Some(away.since.saturating_add(IN_FLIGHT)));
        }
    }

    /// The sessions that rest.
    pub(super) fn resting(&self, now: Ms) -> BTreeSet<String> {
        self.sessions.iter().filter(|(_, listed)| listed.rests(now)).map(|(id, _)| id.clone()).collect()
    }

    /// As [`ScopeState::rebase`], for all that the file holds.
    pub(super) fn rebase(&mut self, now: Ms) {
        self.scope.rebase(now);
        if let Some(mirror) = &mut self.mirror {
            mirror.doors.rebase(now);
        }
        if let Some(away) = &mut self.away {
            away.brought.rebase(now);
        }
    }

    /// The scope as whoever decides for it now knows it: the server's last word, as long as it is the server.
    pub(super) fn as_known(&self) -> ScopeState {
        let mut scope = self.scope.clone();
        if let (None, Some(mirror)) = (&self.away, &self.mirror) {
            let doors = mirror.doors.clone();
            scope.hold = doors.hold.or(scope.hold);
            scope.stop.cooldown = later(scope.stop.cooldown, doors.stop);
            scope.stop.strikes = scope.stop.strikes.max(doors.stop_strikes);
            scope.compact.cooldown = later(scope.compact.cooldown, doors.compact);
            scope.compact.strikes = scope.compact.strikes.max(doors.compact_strikes);
            scope.api = later(scope.api, doors.api);
            scope.api_strikes = scope.api_strikes.max(doors.api_strikes);
        }
        scope
    }

    /// The scope's hold is lifted by hand, in the server's place.
    pub(super) fn lift_hold(&mut self, now: Ms) {
        if let Some(away) = &mut self.away {
            away.released = Some(now);
        }
        if let Some(mirror) = &mut self.mirror {
            (mirror.doors.hold, mirror.doors.api) = (None, None);
        }
    }

    /// A good stop has lifted a hold of API errors, in the server's place.
    pub(super) fn lift_api_hold(&mut self) {
        if let Some(mirror) = &mut self.mirror {
            mirror.doors.hold = mirror.doors.hold.take().filter(|h| h.by != BY_API);
        }
    }

    /// The server has been told of everything and decides again. What stays is what closes doors, should it fall silent
    /// again before it said anything; a hold may be lifted there by hand.
    pub(super) fn give_back(&mut self, now: Ms) {
        self.away = None;
        self.given_back = Some(now);
        self.scope.hold = None;
        self.sessions.clear();
        self.tenure = clock::id();
    }
}

impl Away {
    /// Whether it is to stay, however well the server is.
    pub(super) fn stays(&self, now: Ms) -> bool {
        self.admitted.is_empty() && self.stays_until.is_some_and(|until| until > now && now >= self.since)
    }
}

fn later(a: Option<Span>, b: Option<Span>) -> Option<Span> {
    [a, b].into_iter().flatten().max_by_key(|span| span.end)
}

/// The doors as the answer shows them: one that stands further down the rules than what refused was not looked at.
fn doors(doors: &mut Doors, step: &Step, decided: &Decision, now: Ms) {
    let left = decided.retry_after.map(millis);
    let span = left.map(|left| Span::new(now, now.saturating_add(left)));
    let held = || {
        let held = decided.held.as_ref().filter(|h| !h.fleet)?;
        let until = left.map(|left| now.saturating_add(left));
        Some(Hold { reason: held.reason.clone(), by: held.by.clone(), since: now, until, id: 0 })
    };
    match (step.event.asks(), decided.reason) {
        (_, Reason::Superseded | Reason::Contested | Reason::Busy) => {}
        (Some(Class::Compact), Reason::Cooldown | Reason::Burst) => {
            doors.compact = span;
            doors.compact_strikes = decided.strikes;
        }
        (Some(Class::Compact), _) => doors.compact = None,
        (Some(Class::Stop), Reason::Hold) => doors.hold = held(),
        (Some(Class::Stop), reason) => {
            doors.hold = None;
            if matches!(reason, Reason::Cooldown | Reason::Burst) {
                doors.stop = span;
                doors.stop_strikes = decided.strikes;
                return;
            }
            doors.stop = None;
            (doors.api, doors.api_strikes) =
                if reason == Reason::ApiError { (span, decided.strikes) } else { (None, 0) };
        }
        (None, _) => match &step.event {
            Event::StopFailure(_) if decided.held.is_some() => doors.hold = held(),
            Event::StopFailure(_) => {
                doors.api = span;
                doors.api_strikes = decided.strikes;
            }
            Event::Hold(asked) if !asked.fleet => doors.hold = held(),
            Event::Release { fleet: false, .. } => (doors.hold, doors.api) = (None, None),
            _ => {}
        },
    }
}

/// The session as the event and its answer show it.
fn session(session: &mut SessionState, step: &Step, decided: &Decision, now: Ms) {
    // Without a fence the event was another client process's, which changed nothing.
    if matches!(decided.reason, Reason::Superseded | Reason::Contested | Reason::Busy)
        || (decided.fence.is_none() && step.event.raises_fence())
    {
        return;
    }
    session.fence = decided.fence.or(session.fence);
    session.scope.clone_from(&step.scope);
    session.host.clone_from(&step.host);
    if !step.name.is_empty() {
        session.name.clone_from(&step.name);
        session.named_by_project = step.named_by_project;
    }
    if session.project.is_empty() {
        session.project.clone_from(&step.project);
    }
    session.seen = now;
    match &step.event {
        Event::Stop { rest: Some(rest) } | Event::Resume { rest: Some(rest), .. } if rest.kind != RestKind::Parked => {
            let until = rest.lasting.map(|lasting| now.saturating_add(millis(lasting)));
            session.rest = Some(Rest { kind: rest.kind, since: now, until, topic: rest.topic.clone(), id: 0 });
        }
        Event::PersonPrompt => (session.rest, session.count) = (None, 0),
        Event::SessionEnd | Event::Sleep => session.rest = None,
        _ => {}
    }
    if step.event.begins() && step.late.is_none() {
        session.begun = Some(Begun { at: now, id: step.id.clone() });
        session.pid = step.pid;
    }
    if step.event.ends() {
        session.client = None;
    } else if step.event.raises_fence() {
        session.client = step.client.or(session.client);
    }
    let renews = matches!(step.event, Event::Ask { renew: true, .. });
    let past_the_rest =
        !renews && matches!(decided.reason, Reason::MinInterval | Reason::Spread | Reason::Quota | Reason::Burst);
    if (decided.outcome == Outcome::Admit && !decided.renewed) || past_the_rest {
        session.rest = None;
    }
    if decided.outcome == Outcome::Admit {
        session.count = decided.count;
    }
}

/// Whether the answer to an event shows anything that is to be kept, where nothing is kept yet.
pub(super) fn is_worth_keeping(step: &Step, decided: &Decision) -> bool {
    match decided.reason {
        Reason::Hold | Reason::Cooldown | Reason::Burst | Reason::ApiError => true,
        Reason::Superseded | Reason::Contested | Reason::Busy => false,
        reason if reason.is_rest() => reason != Reason::Parked,
        _ => match &step.event {
            Event::StopFailure(_) => decided.retry_after.is_some() || decided.held.is_some(),
            Event::Hold(asked) => !asked.fleet,
            Event::Stop { rest: Some(rest) } | Event::Resume { rest: Some(rest), .. } => rest.kind != RestKind::Parked,
            _ => false,
        },
    }
}
