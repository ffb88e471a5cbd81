//! The waiting engine: begin, ask; refused, wait for what could change the answer, and ask again with the fence.
//!
//! It ends with an admission, or silently: another stop, a prompt or the session's end has taken over, the client is gone
//! or told it to end, or its time is up. A store that cannot be asked is asked again, ever more slowly.

use std::time::{Duration, Instant};

use super::client::Client;
use super::local::Known;
use super::signals::Signals;
use crate::clock;
use crate::config::{Config, Env};
use crate::store::listen::{self, Ears, Heard, Listener, Look};
use crate::store::{self, StoreError};
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Decision, Outcome, Reason, Verdict};

/// Between two tries to reach a store that is away: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(10);
/// A wait is renewed so long before its end, or a tenth of it before.
const RENEW_BEFORE: Duration = Duration::from_secs(3600);

/// How a wait ended with an admission.
pub(super) struct Admitted {
    pub(super) verdict: Verdict,
    /// The last refusal that was more than a guard.
    pub(super) paused: Option<Decision>,
    /// Only the wait is renewed.
    pub(super) renewed: bool,
}

/// A waiting engine.
pub(super) struct Engine<'a> {
    pub(super) config: &'a Config,
    pub(super) env: &'a Env,
    pub(super) known: &'a Known,
    /// Nobody sits before the client, which waits for this process: the wait is not renewed, and a session that is done
    /// ends it.
    pub(super) unattended: bool,
    pub(super) client: Client,
    pub(super) signals: Signals,
    pub(super) until: Instant,
    pub(super) renew_at: Option<Instant>,
}

/// When a wait that begins now is to be renewed.
pub(super) fn renew_at(now: Instant, wait: Duration) -> Instant {
    now + wait.saturating_sub(RENEW_BEFORE.min(wait / 10))
}

/// What a wait came to.
enum Next {
    Ask,
    Renew,
    Leave,
    Expire,
}

impl<'a> Engine<'a> {
    /// Runs until the session is admitted; `None` when there is nobody or nothing left to wait for.
    pub(super) fn run(mut self, begin: Step) -> Option<Admitted> {
        let listener =
            Listener { scope: begin.scope.clone(), session: begin.session.clone(), name: begin.name.clone() };
        // Told again after no answer came, the event must not take the session from whoever came later.
        let first_fence = begin.host_ms;
        let mut ask = begin;
        let mut ears: Option<Box<dyn Ears + 'a>> = None;
        let mut away = Away::default();
        let mut paused = None;
        loop {
            if self.leaves() {
                return None;
            }
            let verdict = match self.step(&ask) {
                Ok(verdict) => verdict,
                Err(e) => {
                    if ask.event.raises_fence() {
                        ask.late = Some(first_fence);
                    }
                    ears = None;
                    match self.ride_out(&mut away, &e) {
                        Next::Ask => continue,
                        _ => return self.expire(&ask),
                    }
                }
            };
            away = Away::default();
            let refused = match verdict.decision.outcome {
                Outcome::Admit if self.signals.terminated() => return None,
                Outcome::Admit => {
                    let renewed = matches!(ask.event, Event::Ask { renew: true, .. });
                    return Some(Admitted { verdict, paused, renewed });
                }
                Outcome::Refuse | Outcome::Record => verdict.decision,
            };
            let fence = refused.fence.filter(|_| refused.reason != Reason::Superseded)?;
            // The first turn of the loop told of a failure; now the agent is to be resumed.
            let told = refused.outcome == Outcome::Record;
            ask = again(&ask, fence, false);
            if told {
                continue;
            }
            if refused.reason != Reason::MinInterval {
                paused = Some(refused.clone());
            }
            if self.unattended && refused.reason == Reason::Done {
                return None;
            }
            match self.listen(&mut ears, &listener, &refused, fence) {
                Next::Ask => {}
                Next::Renew => ask = again(&ask, fence, true),
                Next::Leave => return None,
                Next::Expire => return self.expire(&ask),
            }
        }
    }

    fn step(&self, step: &Step) -> Result<Verdict, StoreError> {
        let deadline = Instant::now() + self.config.budget;
        store::open(self.config, deadline)?.step(step)
    }

    fn leaves(&self) -> bool {
        self.signals.terminated() || !self.client.is_there()
    }

    /// Waits until a new ask could be answered otherwise.
    fn listen(
        &mut self,
        ears: &mut Option<Box<dyn Ears + 'a>>,
        listener: &Listener,
        refused: &Decision,
        fence: i64,
    ) -> Next {
        let since = Instant::now();
        let due = refused.retry_after.map(|left| since + left + Duration::from_millis(1));
        let mut away = Away::default();
        loop {
            if self.leaves() {
                return Next::Leave;
            }
            self.signals.clear();
            let now = Instant::now();
            if now >= self.until {
                return Next::Expire;
            }
            if self.renew_at.is_some_and(|at| now >= at) {
                self.renew_at = None;
                return Next::Renew;
            }
            if due.is_some_and(|at| now >= at) {
                return Next::Ask;
            }
            let ends = [due, self.renew_at, Some(self.until)];
            let left = ends.into_iter().flatten().min().unwrap_or(self.until).saturating_duration_since(now);
            let heard = self.hear(ears, listener, left, |look| {
                let over = listen::end_of(refused).is_some_and(|end| look.now >= end);
                over || look.contradicts(refused, fence)
            });
            match heard {
                Ok(None) => return Next::Ask,
                Ok(Some(Heard::Stirred)) => away = Away::default(),
                Ok(Some(Heard::Word(note))) => {
                    // One that cannot be told to the store is lost with it; who published it sees that nobody came.
                    let _ = self.step(&woken(listener, note));
                }
                Err(e) => {
                    *ears = None;
                    away.journal(self, &e);
                    self.pause(away.next().min(left));
                }
            }
        }
    }

    /// Looks, and waits if nothing `calls`; `None` when something does.
    fn hear(
        &self,
        ears: &mut Option<Box<dyn Ears + 'a>>,
        listener: &Listener,
        most: Duration,
        calls: impl Fn(&Look) -> bool,
    ) -> Result<Option<Heard>, StoreError> {
        let ears = match ears {
            Some(ears) => ears,
            None => ears.insert(listen::open(self.config, listener)?),
        };
        if calls(&ears.look()?) {
            return Ok(None);
        }
        ears.wait(most, self.signals.fd()).map(Some)
    }

    /// Waits for the store to come back, or for the end of the wait.
    fn ride_out(&self, away: &mut Away, e: &StoreError) -> Next {
        away.journal(self, e);
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Next::Expire;
        }
        self.pause(away.next().min(left));
        Next::Ask
    }

    /// Sleeps until a signal comes.
    fn pause(&self, most: Duration) {
        listen::pause(most, self.signals.fd());
    }

    /// Nobody will wake the session any more: that is journaled.
    fn expire(&self, ask: &Step) -> Option<Admitted> {
        let expired = Step { event_name: "WaiterExpired".to_owned(), ..of(ask, Event::Expired) };
        if let Err(e) = self.step(&expired) {
            self.known.journal(self.env, Reason::WaiterExpired, &e.to_string());
        }
        None
    }
}

/// A store that is away.
#[derive(Default)]
struct Away {
    tries: u32,
}

impl Away {
    /// The local journal is told once.
    fn journal(&self, engine: &Engine<'_>, e: &StoreError) {
        if self.tries == 0 {
            engine.known.journal(engine.env, Reason::StoreDown, &e.to_string());
        }
    }

    /// How long to wait before the next try: doubling, and up to a quarter longer by chance, so that many engines do not
    /// come back as one.
    fn next(&mut self) -> Duration {
        let grown = FIRST_RETRY.saturating_mul(1 << self.tries.min(10)).min(SLOWEST_RETRY);
        self.tries = self.tries.saturating_add(1);
        grown + grown.mul_f64((clock::chance() % 1000) as f64 / 4000.0)
    }
}

/// A step of the same session, now.
fn of(step: &Step, event: Event) -> Step {
    Step { event, late: None, detail: String::new(), host_ms: clock::host_ms(), id: clock::id(), ..step.clone() }
}

fn again(step: &Step, fence: i64, renew: bool) -> Step {
    of(step, Event::Ask { fence, renew })
}

fn woken(listener: &Listener, note: String) -> Step {
    let Listener { scope, session, .. } = listener;
    super::step_of(scope.clone(), session.clone(), "Wake", Event::Wake { note })
}
