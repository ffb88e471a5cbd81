//! Decides the next action of a waiting engine: a state machine without clock, I/O or randomness.
//!
//! `engine.rs` performs each action with the store, the files and the signals of its process, and returns the
//! result as the next input. The engine sends its event. After a refusal it waits for a change that could
//! affect the answer, and sends again with the fence. It ends with an admission, or silently: another Stop
//! event, a prompt or the session's end took over, the client is gone or ended it, or its time is up.

use std::time::{Duration, Instant};

use super::pace::{PACE, Pace, Retry, next_request_in};
use crate::policy::api_error::BY_API;
use crate::policy::verdict::{Decision, Held, Outcome, Reason};
use crate::store::listen::{self, Look, Source, WaitEnd, Word, Words};

/// A slower admission is not used. A Stop event that is sent later counts as late.
pub(crate) const LATEST: Duration = Duration::from_secs(1);
/// A wait is renewed this long before its end, or a tenth of it before.
const RENEW_BEFORE: Duration = Duration::from_secs(3600);

/// A request to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// The event after which the engine waits, always with the same id. `late` is the time since it happened.
    Begin { late: Option<Duration> },
    /// A request with the fence of that event. `again` marks a retry with the same id, since no answer arrived.
    Ask { fence: i64, renew: bool, again: bool },
    /// A wake-up that was published and that the store does not know yet.
    Wake(Word),
    /// The wait ends without an admission.
    Expired { fence: Option<i64> },
}

/// The next action of an engine, and the input that it returns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Check whether the session may still be continued: [`Input::Checked`].
    Check,
    /// Send a request: [`Input::Answered`] or [`Input::Failed`].
    Send(Request),
    /// Check once more after an admission, under the lock that a switch takes: [`Input::Checked`].
    Verify,
    /// Read the session and the holds in this store: [`Input::Looked`] or [`Input::Failed`].
    Look(Source),
    /// Listen for notifications for at most this long: [`Input::WaitEnd`] or [`Input::Failed`].
    Listen(Duration),
    /// Sleep for this long, or until a signal arrives or a file changes: [`Input::Paused`].
    Pause(Duration),
    /// End the wait.
    End(End),
}

/// The end of a wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The last answer was an admission. `paused` is the last refusal that was more than a minimum interval.
    /// `held` is the hold at the session's last refusal by one.
    Admitted { paused: Option<Box<Decision>>, held: Option<Held> },
    /// Nothing is left to wait for.
    Over,
    /// The time is up, so nothing wakes the session any more.
    Expired,
    /// The wait continues under other terms.
    Changed,
}

/// The result of an engine's last action.
#[derive(Debug)]
pub(crate) enum Input {
    /// The wait begins, or continues under other terms.
    Begin,
    Checked(Checked),
    Answered(Box<Answer>),
    Failed(Failure),
    Looked(Look),
    WaitEnd(WaitEnd),
    Paused,
}

/// The result of a check.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Whether the client still exists, has not ended the engine, and nothing on this machine took the session
    /// over.
    pub(crate) is_wanted: bool,
    pub(crate) terms: Found,
}

/// A change of the terms under which the session is decided.
#[derive(Debug)]
pub(crate) enum Found {
    Same,
    Changed,
    /// The session was disarmed, or the registration was removed, for this reason.
    Gone(&'static str),
    /// The terms cannot be read at present.
    Unclear(Reason, String),
}

/// A store's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) decision: Decision,
    /// Whether files decided, and whether they did so in a server's place.
    pub(crate) by_files: bool,
    pub(crate) outage: bool,
}

/// The reason why a store could not be used.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    /// Whether the store did not answer at all, so that another may take its place.
    pub(crate) is_silence: bool,
    /// A random number.
    pub(crate) chance: u64,
}

/// A note about the session that is written on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The session is undecided, for this reason.
    Undecided(Reason, String),
    /// The session is decided again.
    Decided,
    /// The session is no longer continued, for this reason.
    Disarmed(&'static str),
}

/// The next action, and the note that is written before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) note: Option<Note>,
    pub(crate) action: Action,
}

impl From<Action> for Next {
    fn from(action: Action) -> Self {
        Self { note: None, action }
    }
}

impl From<End> for Next {
    fn from(end: End) -> Self {
        Action::End(end).into()
    }
}

/// The bounds of a wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) since: Instant,
    pub(crate) until: Instant,
    pub(crate) renew_at: Option<Instant>,
}

impl Bounds {
    /// Returns the bounds of a wait of this length. An unattended wait is not renewed.
    pub(crate) fn of(since: Instant, wait: Duration, unattended: bool) -> Self {
        let renewed = since + wait.saturating_sub(RENEW_BEFORE.min(wait / 10));
        Self { since, until: since + wait, renew_at: (!unattended).then_some(renewed) }
    }

    fn renews(&self, now: Instant) -> bool {
        self.renew_at.is_some_and(|at| now >= at)
    }
}

/// Ends the wait for a session that is no longer continued.
fn disarmed(why: &'static str) -> Next {
    Next { note: Some(Note::Disarmed(why)), action: Action::End(End::Over) }
}

/// The stage of a wait.
#[derive(Debug, Default)]
enum Stage {
    /// A plan that is sent next.
    Before(Plan),
    /// A plan that was sent.
    Sent(Plan),
    /// The answer was an admission.
    #[default]
    Admitted,
    /// A refusal that is waited out.
    Refused(Box<Refused>),
    /// The end of the wait, which was sent.
    Expiring,
}

/// A request that will be sent.
#[derive(Debug, Clone, Copy)]
enum Plan {
    Begin,
    Ask { fence: i64, renew: bool, again: bool },
}

/// A refusal that is waited out.
#[derive(Debug)]
struct Refused {
    decision: Decision,
    fence: i64,
    /// When the next request is due, and when the wait is renewed.
    due: Option<Instant>,
    renew_at: Option<Instant>,
    /// Whether the wait was being renewed when it was refused.
    renews: bool,
    retry: Retry,
}

/// The progress of a wait.
#[derive(Debug)]
pub(crate) struct Wait {
    bounds: Bounds,
    /// Whether the event itself requests a continuation.
    asks: bool,
    /// Whether the client waits for this process in an unattended run. A session that is done ends such a wait.
    unattended: bool,
    stage: Stage,
    /// Whether the event was sent to a store.
    sent: bool,
    fence: Option<i64>,
    /// The source of the last answer.
    source: Option<Source>,
    retry: Retry,
    /// Whether the terms could not be read, and the journal contains that.
    unclear: bool,
    /// Whether the session is marked as undecided.
    marked: bool,
    paused: Option<Box<Decision>>,
    held: Option<Held>,
    /// Whether the store stopped answering, and the event was sent once more since.
    silent: bool,
    /// The published texts that were not sent to the store yet.
    words: Words,
    looks: Pace,
    requests: Pace,
    /// How long the measuring of the turn took. That does not make the event late.
    measuring: Duration,
}

impl Wait {
    /// Creates a wait after an event that `asks` to continue, or only reports a failure. `marked` is whether
    /// the session is undecided so far.
    pub(crate) fn new(bounds: Bounds, asks: bool, unattended: bool, marked: bool) -> Self {
        Self {
            bounds,
            asks,
            unattended,
            stage: Stage::Before(Plan::Begin),
            sent: false,
            fence: None,
            source: None,
            retry: Retry::default(),
            unclear: false,
            marked,
            paused: None,
            held: None,
            silent: false,
            words: Words::default(),
            looks: Pace::default(),
            requests: Pace::default(),
            measuring: Duration::ZERO,
        }
    }

    /// Notes how long the turn was measured before the event is sent.
    pub(crate) fn measured(&mut self, spent: Duration) {
        self.measuring = spent;
    }

    /// Continues within other bounds. `elsewhere` means another scope, fleet or store, which does not know the
    /// fence.
    pub(crate) fn moves(&mut self, bounds: Bounds, elsewhere: bool) {
        self.bounds = bounds;
        if elsewhere {
            (self.fence, self.source) = (None, None);
        }
    }

    /// Returns the next action. An input that does not belong to the last action leads to a check.
    pub(crate) fn next(&mut self, now: Instant, input: Input) -> Next {
        match (std::mem::take(&mut self.stage), input) {
            (_, Input::Begin) => self.plans(self.first()),
            (Stage::Before(plan), Input::Checked(checked)) => self.before(now, plan, checked),
            (Stage::Sent(_), Input::Answered(answer)) => self.answered(now, *answer),
            (Stage::Sent(plan), Input::Failed(failure)) => self.failed(now, plan, failure),
            (Stage::Admitted, Input::Checked(checked)) => self.admitted(checked),
            (Stage::Refused(refused), Input::Checked(checked)) => self.listens(now, refused, checked),
            (Stage::Refused(refused), Input::Answered(_)) => {
                self.words.remove_first();
                self.sends_words(refused)
            }
            (Stage::Refused(refused), Input::Looked(look)) => self.looked(now, refused, &look),
            (Stage::Refused(refused), Input::WaitEnd(heard)) => self.heard(refused, heard),
            (Stage::Refused(refused), Input::Failed(failure)) => self.lost(now, refused, failure),
            (Stage::Expiring, Input::Failed(failure)) => Next {
                note: Some(Note::Undecided(Reason::WaiterExpired, failure.why)),
                action: Action::End(End::Expired),
            },
            (Stage::Expiring, _) => End::Expired.into(),
            (stage, _) => {
                self.stage = stage;
                Action::Check.into()
            }
        }
    }

    fn plans(&mut self, plan: Plan) -> Next {
        self.stage = Stage::Before(plan);
        Action::Check.into()
    }

    /// Returns the first request under these terms.
    fn first(&self) -> Plan {
        self.fence.map_or(Plan::Begin, |fence| Plan::Ask { fence, renew: false, again: false })
    }

    fn before(&mut self, now: Instant, plan: Plan, checked: Checked) -> Next {
        // A failure is committed first, even if the client is gone.
        if (self.fence.is_some() || self.asks) && !checked.is_wanted {
            return End::Over.into();
        }
        if let Some(next) = self.stands(now, checked.terms) {
            if matches!(next.action, Action::Pause(_)) {
                self.stage = Stage::Before(plan);
            }
            return next;
        }
        if let Some(left) = self.requests.holds(now) {
            self.stage = Stage::Before(plan);
            return Action::Pause(left).into();
        }
        let waited = now.saturating_duration_since(self.bounds.since);
        // After a late payload or configuration, the store's newer events of the session take precedence.
        let late = (self.sent || waited > LATEST + self.measuring).then_some(waited);
        self.sent = true;
        self.stage = Stage::Sent(plan);
        Action::Send(match plan {
            Plan::Begin => Request::Begin { late },
            Plan::Ask { fence, renew, again } => Request::Ask { fence, renew, again },
        })
        .into()
    }

    /// Returns the next action where the session may not be continued, or not now; returns `None` where it may.
    fn stands(&mut self, now: Instant, terms: Found) -> Option<Next> {
        // A registration that is missing for a moment makes no call undecided.
        let is_unclear = matches!(terms, Found::Unclear(reason, _) if reason != Reason::Disarmed);
        let is_new = !std::mem::replace(&mut self.unclear, is_unclear) && is_unclear;
        match terms {
            Found::Same => None,
            Found::Gone(why) => Some(disarmed(why)),
            Found::Changed => Some(End::Changed.into()),
            Found::Unclear(..) if now >= self.bounds.until => Some(self.expire()),
            Found::Unclear(reason, why) => {
                self.marked |= is_new;
                let note = is_new.then_some(Note::Undecided(reason, why));
                Some(Next { note, ..self.pause(now, PACE) })
            }
        }
    }

    fn pause(&self, now: Instant, most: Duration) -> Next {
        Action::Pause(most.min(self.bounds.until.saturating_duration_since(now))).into()
    }

    fn expire(&mut self) -> Next {
        self.stage = Stage::Expiring;
        Action::Send(Request::Expired { fence: self.fence }).into()
    }

    fn failed(&mut self, now: Instant, plan: Plan, failure: Failure) -> Next {
        if now >= self.bounds.until {
            return self.expire();
        }
        self.stage = Stage::Before(match plan {
            Plan::Begin => Plan::Begin,
            Plan::Ask { fence, renew, .. } => Plan::Ask { fence, renew, again: true },
        });
        self.marked = true;
        let note = self.retry.is_first().then_some(Note::Undecided(Reason::StoreDown, failure.why));
        let left = self.retry.next(failure.chance);
        Next { note, ..self.pause(now, left) }
    }

    fn answered(&mut self, now: Instant, answer: Answer) -> Next {
        self.retry = Retry::default();
        let note = self.decided();
        let source = Source::of(answer.by_files, answer.outage, self.source);
        self.source = Some(source);
        let next = match answer.decision.outcome {
            Outcome::Admit => {
                self.fence = answer.decision.fence.or(self.fence);
                self.stage = Stage::Admitted;
                Action::Verify.into()
            }
            Outcome::Refuse | Outcome::Record => self.refused(now, answer.decision),
        };
        Next { note, ..next }
    }

    /// Returns the note that the session is decided again, where it was marked.
    fn decided(&mut self) -> Option<Note> {
        std::mem::take(&mut self.marked).then_some(Note::Decided)
    }

    /// Ends with the admission. An admission that can no longer be verified is discarded.
    fn admitted(&mut self, checked: Checked) -> Next {
        if !checked.is_wanted {
            return End::Over.into();
        }
        match checked.terms {
            Found::Gone(why) => disarmed(why),
            Found::Unclear(..) => self.plans(self.first()),
            // Other limits apply to the next request.
            Found::Same | Found::Changed => End::Admitted { paused: self.paused.take(), held: self.held.take() }.into(),
        }
    }

    /// Waits after a refusal, or continues after the record of a failure.
    fn refused(&mut self, now: Instant, decision: Decision) -> Next {
        if decision.reason == Reason::Superseded {
            return End::Over.into();
        }
        if decision.reason == Reason::Hold {
            self.held = decision.held.clone().filter(|held| held.by != BY_API);
        }
        let Some(fence) = decision.fence else { return End::Over.into() };
        self.fence = Some(fence);
        let renews = self.bounds.renews(now);
        if decision.outcome != Outcome::Refuse {
            return self.plans(Plan::Ask { fence, renew: renews, again: false });
        }
        if !matches!(decision.reason, Reason::MinInterval | Reason::Spread | Reason::Quiet) {
            self.paused = Some(Box::new(decision.clone()));
        }
        if self.unattended && decision.reason == Reason::Done {
            return End::Over.into();
        }
        let due = next_request_in(&decision).map(|left| now + left + Duration::from_millis(1));
        let renew_at = self.bounds.renew_at.filter(|at| *at > now);
        self.stage =
            Stage::Refused(Box::new(Refused { decision, fence, due, renew_at, renews, retry: Retry::default() }));
        Action::Check.into()
    }

    fn listens(&mut self, now: Instant, refused: Box<Refused>, checked: Checked) -> Next {
        if !checked.is_wanted {
            return End::Over.into();
        }
        if let Some(next) = self.stands(now, checked.terms) {
            if matches!(next.action, Action::Pause(_)) {
                self.stage = Stage::Refused(refused);
            }
            return next;
        }
        // Checked before the end of the wait, so that a stalled machine does not cost the agent its engine.
        if [refused.due, refused.renew_at].into_iter().flatten().any(|at| now >= at) {
            return self.asks_again(now, &refused);
        }
        if now >= self.bounds.until {
            return self.expire();
        }
        if let Some(held) = self.looks.holds(now) {
            let left = held.min(self.left(now, &refused));
            self.stage = Stage::Refused(refused);
            return self.pause(now, left);
        }
        self.sends_words(refused)
    }

    /// Sends the published texts first, those of one signal after the other, and then looks.
    fn sends_words(&mut self, refused: Box<Refused>) -> Next {
        let Some(word) = self.words.first().cloned() else { return self.looks_in(refused) };
        self.stage = Stage::Refused(refused);
        Action::Send(Request::Wake(word)).into()
    }

    /// Returns how long nothing is due.
    fn left(&self, now: Instant, refused: &Refused) -> Duration {
        let ends = [refused.due, refused.renew_at, Some(self.bounds.until)];
        ends.into_iter().flatten().min().unwrap_or(now).saturating_duration_since(now)
    }

    fn looks_in(&mut self, refused: Box<Refused>) -> Next {
        self.stage = Stage::Refused(refused);
        Action::Look(self.source.unwrap_or(Source::Server)).into()
    }

    fn looked(&mut self, now: Instant, refused: Box<Refused>, look: &Look) -> Next {
        let is_over = listen::end_of(&refused.decision).is_some_and(|end| look.now >= end);
        if is_over || look.contradicts(&refused.decision, refused.fence) {
            // The event is sent again to a store that lost the session, or that is reachable again.
            return match look.is_back || look.fence.is_none_or(|stored| stored < refused.fence) {
                true => self.plans(Plan::Begin),
                false => self.asks_again(now, &refused),
            };
        }
        let left = self.left(now, &refused);
        self.stage = Stage::Refused(refused);
        Action::Listen(left).into()
    }

    fn heard(&mut self, mut refused: Box<Refused>, heard: WaitEnd) -> Next {
        if let WaitEnd::Words(words) = heard {
            self.words.append(&words);
        }
        refused.retry = Retry::default();
        self.silent = false;
        self.stage = Stage::Refused(refused);
        // The refusal that the engine waits out is still valid, so nothing is undecided any more.
        Next { note: self.decided(), action: Action::Check }
    }

    fn lost(&mut self, now: Instant, mut refused: Box<Refused>, failure: Failure) -> Next {
        // A failover may be necessary. The other store may not know the session, so the event is sent again.
        if failure.is_silence && !std::mem::replace(&mut self.silent, true) {
            return self.plans(Plan::Begin);
        }
        self.marked = true;
        let note = refused.retry.is_first().then_some(Note::Undecided(Reason::StoreDown, failure.why));
        let left = refused.retry.next(failure.chance).min(self.left(now, &refused));
        self.stage = Stage::Refused(refused);
        Next { note, ..self.pause(now, left) }
    }

    fn asks_again(&mut self, now: Instant, refused: &Refused) -> Next {
        // The fence of a failover store may not be the server's, which knows the event by its id. Of a request
        // that met conflicts, only the attempt was committed.
        let is_unknown = matches!(self.source, Some(Source::Outage(_))) || refused.decision.reason == Reason::Busy;
        if is_unknown && !refused.renews {
            return self.plans(Plan::Begin);
        }
        // From its renewal on, the engine's requests disregard a rest, until it is admitted or its time is
        // over.
        self.plans(Plan::Ask { fence: refused.fence, renew: self.bounds.renews(now), again: false })
    }
}

#[cfg(test)]
mod tests;
