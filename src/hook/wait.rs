//! The waiting engine: begin, ask; refused, wait for what could change the answer, and ask again with the fence.
//!
//! It ends with an admission, or silently: another stop, a prompt or the session's end has taken over, the client is gone
//! or told it to end, or its time is up. A store that cannot be asked is asked again, ever more slowly.

use std::time::{Duration, Instant};

use super::claim;
use super::client::Client;
use super::local::Known;
use super::signals::Signals;
use super::told;
use crate::clock;
use crate::config::{Config, Env};
use crate::store::StoreError;
use crate::store::listen::{self, Ears, Heard, Listener, Teller};
use crate::store::marks::{self, Mark};
use crate::text;
use crate::throttle::effects::BY_API;
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Decision, Outcome, Reason, Verdict};
use crate::willy::detached::{self, Caller};
use crate::willy::lost;

/// Between two tries to reach a store that is away: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(10);
/// An admission that took longer is not used.
const LATEST: Duration = Duration::from_secs(1);
/// A wait is renewed so long before its end, or a tenth of it before.
const RENEW_BEFORE: Duration = Duration::from_secs(3600);
/// Looks are so far apart, and asks too, but for [`QUICK`] of them when something stirs.
const PACE: Duration = Duration::from_secs(1);
const QUICK: u32 = 3;

/// How a wait ended with an admission.
pub(super) struct Admitted {
    pub(super) verdict: Verdict,
    /// The last refusal that was more than a guard.
    pub(super) paused: Option<Decision>,
}

/// A waiting engine.
pub(super) struct Engine<'a> {
    pub(super) config: &'a Config,
    pub(super) env: &'a Env,
    pub(super) known: &'a Known,
    pub(super) caller: Caller<'a>,
    /// Nobody sits before the client, which waits for this process: the wait is not renewed, and a session that is done
    /// ends it.
    pub(super) unattended: bool,
    pub(super) client: Client,
    pub(super) signals: Signals,
    /// The mark of an earlier take-over of the session, which does not concern this engine.
    pub(super) mark: Option<Mark>,
    /// The event that it waits after.
    pub(super) begin: Step,
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) renew_at: Option<Instant>,
    pub(super) hearing: Hearing<'a>,
}

/// What an engine hears with, and has heard.
#[derive(Default)]
pub(super) struct Hearing<'a> {
    ears: Option<Box<dyn Ears + 'a>>,
    /// Who answered last.
    teller: Option<Teller>,
    /// The store fell silent, and was told of the stop once more since.
    told: bool,
    /// What somebody published and the store has not been told yet.
    word: Option<String>,
    looks: Pace,
    asks: Pace,
    /// When this engine looks again whether it is time to look for others that are gone.
    watch: Option<Instant>,
}

/// What keeps looks, or asks, from following each other without end, whatever the store says.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    /// How many more came sooner than [`PACE`] after the one before than did not.
    quick: u32,
}

impl Pace {
    /// How long to hold still before the next; `None` when it may come now.
    fn holds(&mut self) -> Option<Duration> {
        let rest = PACE.checked_sub(self.last?.elapsed());
        self.quick = if rest.is_some() { (self.quick + 1).min(QUICK + 1) } else { self.quick.saturating_sub(1) };
        rest.filter(|_| self.quick > QUICK)
    }
}

/// When a wait that begins now is to be renewed.
pub(super) fn renew_at(now: Instant, wait: Duration) -> Instant {
    now + wait.saturating_sub(RENEW_BEFORE.min(wait / 10))
}

/// What a wait came to.
enum Next {
    Ask,
    /// The store does not know the session any more.
    Tell,
    Leave,
    Expire,
}

/// What a look says.
enum Call {
    Nothing,
    Ask,
    Tell,
}

impl<'a> Engine<'a> {
    /// Runs until the session is admitted; `None` when there is nobody or nothing left to wait for.
    pub(super) fn run(mut self) -> Option<Admitted> {
        let mut ask = self.begin.clone();
        let mut fence = None;
        let mut away = Away::default();
        let mut paused = None;
        let mut held = None;
        loop {
            self.signals.clear();
            // A failure is committed first, whoever is there.
            if (fence.is_some() || ask.event.asks().is_some()) && self.leaves() {
                return None;
            }
            if let Some(wait) = self.hearing.asks.holds() {
                self.pause(wait);
                continue;
            }
            self.hearing.asks.last = Some(Instant::now());
            self.hush();
            let verdict = match self.step(&ask) {
                Ok(verdict) => verdict,
                Err(e) => {
                    if ask.event.raises_fence() {
                        ask.late = Some(self.since.elapsed());
                    }
                    if Instant::now() >= self.until {
                        return self.expire(fence);
                    }
                    away.journal(&self, &e);
                    self.hearing.ears = None;
                    self.pause(away.next());
                    continue;
                }
            };
            away = Away::default();
            let teller = Teller::of(&verdict, self.hearing.teller);
            if self.hearing.teller.replace(teller) != Some(teller) {
                self.hearing.ears = None;
            }
            let refused = match verdict.decision.outcome {
                Outcome::Admit if self.signals.terminated() => return None,
                Outcome::Admit => {
                    let mut verdict = verdict;
                    // A store that took over meanwhile does not know of it.
                    let known = verdict.decision.held.is_some() || verdict.decision.renewed;
                    verdict.decision.held = verdict.decision.held.or(held.filter(|_| !known));
                    return Some(Admitted { verdict, paused });
                }
                Outcome::Refuse | Outcome::Record => verdict.decision,
            };
            if refused.reason == Reason::Superseded {
                return None;
            }
            if let Some(word) = told::word(&self.config.fleet, &ask, &refused) {
                detached::tell(self.config, self.caller, &word);
            }
            if refused.reason == Reason::Hold {
                held = refused.held.clone().filter(|h| h.by != BY_API);
            }
            let own = refused.fence?;
            fence = Some(own);
            // What only told of a failure asks now.
            let renew = self.renew_at.is_some_and(|at| Instant::now() >= at);
            if refused.outcome == Outcome::Refuse {
                if !matches!(refused.reason, Reason::MinInterval | Reason::Spread) {
                    paused = Some(refused.clone());
                }
                if self.unattended && refused.reason == Reason::Done {
                    return None;
                }
                match self.listen(&refused, own) {
                    // A stand-in's fence may not be the server's, which may be there again: it knows the stop by its id.
                    Next::Ask if matches!(teller, Teller::StandIn(_)) && !renew => {
                        ask = self.told_again();
                        continue;
                    }
                    Next::Ask => {}
                    Next::Tell => {
                        ask = self.told_again();
                        continue;
                    }
                    Next::Leave => return None,
                    Next::Expire => return self.expire(fence),
                }
            }
            // From its renewal on it asks past a rest until it is admitted or its time is over.
            let renew = self.renew_at.is_some_and(|at| Instant::now() >= at);
            ask = of(&self.begin, Event::Ask { fence: own, renew });
        }
    }

    fn step(&self, step: &Step) -> Result<Verdict, StoreError> {
        let begun = Instant::now();
        let verdict = claim::step(self.config, step, begun + self.config.budget)?;
        // Later than any ask may be: another store may have taken over meanwhile. The admission is burnt.
        if verdict.admission.is_some() && begun.elapsed() > LATEST {
            return Err(StoreError::TooLate);
        }
        Ok(verdict)
    }

    fn leaves(&self) -> bool {
        let Step { session, id, client, .. } = &self.begin;
        let mark = || marks::taken_over_by(self.config, session);
        let other = |by: &Mark| by.id != *id && Some(by) != self.mark.as_ref() && by.concerns(client.as_ref());
        self.signals.terminated() || !self.client.is_there() || mark().as_ref().is_some_and(other)
    }

    /// The begin once more, for a store that lost the session: with what is left of its rest.
    fn told_again(&self) -> Step {
        let mut step = Step { late: Some(self.since.elapsed()), ..self.begin.clone() };
        if let Event::Stop { rest: Some(rest) } = &mut step.event {
            rest.lasting = rest.lasting.map(|lasting| lasting.saturating_sub(self.since.elapsed()));
        }
        step
    }

    /// Waits until a new ask could be answered otherwise.
    fn listen(&mut self, refused: &Decision, fence: i64) -> Next {
        let since = Instant::now();
        let due = refused.retry_after.map(|left| since + left + Duration::from_millis(1));
        let renew_at = self.renew_at.filter(|at| *at > since);
        let mut away = Away::default();
        loop {
            self.signals.clear();
            if self.leaves() {
                return Next::Leave;
            }
            let now = Instant::now();
            // Asked before its time is called over: a machine that stalled must not cost the agent its engine.
            if [due, renew_at].into_iter().flatten().any(|at| now >= at) {
                return Next::Ask;
            }
            if now >= self.until {
                return Next::Expire;
            }
            self.watch(now);
            let ends = [due, renew_at, Some(self.until)];
            let left = ends.into_iter().flatten().min().unwrap_or(self.until).saturating_duration_since(now);
            if let Some(wait) = self.hearing.looks.holds() {
                self.pause(wait.min(left));
                continue;
            }
            match self.hear(left, refused, fence) {
                Ok(Call::Ask) => return Next::Ask,
                Ok(Call::Tell) => return Next::Tell,
                Ok(Call::Nothing) => {
                    away = Away::default();
                    self.hearing.told = false;
                }
                // Another store may have to stand in: it may not know the session, so it is told from the beginning.
                Err(e) if e.is_silence() && !std::mem::replace(&mut self.hearing.told, true) => {
                    self.hearing.ears = None;
                    return Next::Tell;
                }
                Err(e) => {
                    self.hearing.ears = None;
                    away.journal(self, &e);
                    self.pause(away.next().min(left));
                }
            }
        }
    }

    /// Has it looked, now and then, whether engines beside this one are gone: whoever dies tells nobody.
    fn watch(&mut self, now: Instant) {
        if self.config.notify.is_empty() || self.hearing.watch.is_some_and(|at| now < at) {
            return;
        }
        let first = self.hearing.watch.replace(now + lost::EVERY).is_none();
        if !first && lost::is_due(self.config) {
            detached::look_for_lost(self.caller);
        }
    }

    /// Looks, and waits if nothing calls.
    fn hear(&mut self, most: Duration, refused: &Decision, fence: i64) -> Result<Call, StoreError> {
        self.hearing.looks.last = Some(Instant::now());
        if let Some(note) = self.hearing.word.clone() {
            self.hush();
            let Step { scope, session, .. } = &self.begin;
            self.step(&super::step_of(scope.clone(), session.clone(), "Wake", Event::Wake { note, spread: false }))?;
            self.hearing.word = None;
        }
        let ears = match &mut self.hearing.ears {
            Some(ears) => ears,
            None => {
                let Step { scope, session, name, .. } = &self.begin;
                let listener = Listener { scope: scope.clone(), session: session.clone(), name: name.clone() };
                let teller = self.hearing.teller.unwrap_or(Teller::Server);
                self.hearing.ears.insert(listen::open(self.config, &listener, teller)?)
            }
        };
        let look = ears.look()?;
        let over = listen::end_of(refused).is_some_and(|end| look.now >= end);
        if over || look.contradicts(refused, fence) {
            return Ok(if look.is_back || look.fence.is_none_or(|stored| stored < fence) {
                Call::Tell
            } else {
                Call::Ask
            });
        }
        match ears.wait(most, self.signals.fd())? {
            Heard::Stirred => {}
            Heard::Word(said) => {
                let before = self.hearing.word.take().filter(|w| !w.is_empty());
                let words = before.into_iter().chain([said]).collect::<Vec<_>>().join(" / ");
                self.hearing.word = Some(text::line_of(&words, text::LONGEST_NOTE));
            }
        }
        Ok(Call::Nothing)
    }

    /// Gives the looking connection up, so that there are never more than two.
    fn hush(&mut self) {
        if let Some(ears) = &mut self.hearing.ears {
            ears.hush();
        }
    }

    /// Sleeps until a signal comes.
    fn pause(&self, most: Duration) {
        let left = self.until.saturating_duration_since(Instant::now());
        listen::pause(most.min(left), self.signals.fd());
    }

    /// Nobody will wake the session any more: that is journaled.
    fn expire(&self, fence: Option<i64>) -> Option<Admitted> {
        let fence = fence.unwrap_or(self.begin.host_ms);
        let expired = Step { event_name: "WaiterExpired".to_owned(), ..of(&self.begin, Event::Expired { fence }) };
        if let Err(e) = self.step(&expired) {
            self.known.journal(self.env, Reason::WaiterExpired, &e.to_string());
        }
        detached::tell(self.config, self.caller, &told::expired(&self.config.fleet, &self.begin));
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
