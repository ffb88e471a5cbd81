//! The waiting engine: begin, ask; refused, wait for what could change the answer, and ask again with the fence.
//!
//! It ends with an admission, or silently: another stop, a prompt or the session's end has taken over, the client is gone
//! or told it to end, or its time is up. A store that cannot be asked is asked again, ever more slowly.

use std::fs::File;
use std::time::{Duration, Instant};

use super::claim;
use super::client::Client;
use super::course::{Away, Course, asks_again_in, took};
use super::local::Known;
use super::signals::Signals;
use super::standing::{Found, Standing, Terms};
use super::told;
use crate::clock;
use crate::config::{Config, Env};
use crate::store::listen::{self, Ears, Heard, Listener, Teller};
use crate::store::marks::{self, Mark};
use crate::store::{self, StoreError};
use crate::text;
use crate::throttle::effects::BY_API;
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Decision, Outcome, Reason, Verdict};
use crate::willy::Kind;
use crate::willy::detached::{self, Caller};
use crate::willy::lost;

/// An admission that took longer is not used.
pub(super) const LATEST: Duration = Duration::from_secs(1);
/// A wait is renewed so long before its end, or a tenth of it before.
const RENEW_BEFORE: Duration = Duration::from_secs(3600);
/// Looks are so far apart, and asks too, but for a few of them when something stirs.
pub(super) const PACE: Duration = Duration::from_secs(1);

/// How a wait ended with an admission.
pub(super) struct Admitted {
    pub(super) verdict: Verdict,
    /// The last refusal that was more than a guard.
    pub(super) paused: Option<Decision>,
    /// Keeps a switch from returning before this process has ended.
    pub(super) kept: Option<File>,
}

/// How an engine ended.
pub(super) enum End {
    Admitted(Box<Admitted>),
    /// There is nobody or nothing left to wait for.
    Over,
    /// The wait goes on under other terms.
    Changed(Box<Terms>),
}

/// The process as it began.
pub(super) struct Start {
    pub(super) client: Client,
    pub(super) signals: Signals,
    pub(super) since: Instant,
}

/// A waiting engine.
pub(super) struct Engine<'a, 's> {
    pub(super) config: &'a Config,
    pub(super) env: &'a Env,
    pub(super) known: &'a Known,
    pub(super) caller: Caller<'a>,
    /// Nobody sits before the client, which waits for this process: the wait is not renewed, and a session that is done
    /// ends it.
    pub(super) unattended: bool,
    pub(super) start: &'a Start,
    /// Whether the session may still be continued.
    pub(super) standing: &'a mut Standing<'s>,
    /// The event that it waits after.
    pub(super) begin: Step,
    pub(super) until: Instant,
    pub(super) renew_at: Option<Instant>,
    pub(super) ears: Option<Box<dyn Ears + 'a>>,
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
    End(End),
}

/// Whether the session may still be continued.
enum Stands {
    Yes,
    /// That is not clear at present.
    Not,
    End(End),
}

/// What a look says.
enum Call {
    Nothing,
    Ask,
    Tell,
}

impl Engine<'_, '_> {
    /// Runs until the session is admitted, or there is nobody or nothing left to wait for.
    pub(super) fn run(mut self, course: &mut Course) -> End {
        let mut ask = self.first_ask(course);
        loop {
            self.start.signals.clear();
            // A failure is committed first, whoever is there.
            if (course.fence.is_some() || ask.event.asks().is_some()) && self.leaves(course) {
                return End::Over;
            }
            match self.stands(course) {
                Stands::Yes => {}
                Stands::Not => {
                    self.pause(PACE);
                    continue;
                }
                Stands::End(end) => return end,
            }
            if let Some(wait) = course.hearing.asks.holds() {
                self.pause(wait);
                continue;
            }
            course.hearing.asks.last = Some(Instant::now());
            self.hush();
            course.told = true;
            let verdict = match self.step(&ask) {
                Ok(verdict) => verdict,
                Err(e) => {
                    if ask.event.raises_fence() {
                        ask.late = Some(self.start.since.elapsed());
                    }
                    if Instant::now() >= self.until {
                        return self.expire(course.fence);
                    }
                    course.marked = true;
                    course.away.journal(self.env, self.known, &e);
                    self.ears = None;
                    self.pause(course.away.next());
                    continue;
                }
            };
            course.away = Away::default();
            if std::mem::take(&mut course.marked) {
                self.known.decided(self.env);
            }
            let teller = Teller::of(&verdict, course.hearing.teller);
            if course.hearing.teller.replace(teller) != Some(teller) {
                self.ears = None;
            }
            let refused = match verdict.decision.outcome {
                Outcome::Admit => match self.admitted(course, verdict) {
                    Some(end) => return end,
                    None => {
                        ask = self.first_ask(course);
                        continue;
                    }
                },
                Outcome::Refuse | Outcome::Record => verdict.decision,
            };
            match self.refused(course, &ask, &refused, teller) {
                Ok(next) => ask = next,
                Err(end) => return end,
            }
        }
    }

    /// What is asked first under these terms.
    fn first_ask(&self, course: &Course) -> Step {
        match course.fence {
            Some(fence) => of(&self.begin, Event::Ask { fence, renew: false }),
            None if course.told => self.told_again(),
            None => {
                // After a payload or a configuration that came late, what was told of the session meanwhile is newer.
                let waited = self.start.since.elapsed();
                Step { late: (waited > LATEST).then_some(waited), ..self.begin.clone() }
            }
        }
    }

    /// Whether the session may be continued still.
    fn stands(&mut self, course: &mut Course) -> Stands {
        match self.standing.look() {
            Found::Same => {
                course.unclear = false;
                Stands::Yes
            }
            Found::Gone => Stands::End(End::Over),
            Found::Changed(terms) => {
                course.unclear = false;
                Stands::End(End::Changed(terms))
            }
            Found::Unclear(_, _) if Instant::now() >= self.until => Stands::End(self.expire(course.fence)),
            Found::Unclear(reason, why) => {
                if !std::mem::replace(&mut course.unclear, true) {
                    course.marked = true;
                    self.known.journal(self.env, reason, &why);
                }
                Stands::Not
            }
        }
    }

    /// The session was admitted: looks once more whether it may be continued. An admission that comes too late for that is
    /// burnt; `None` asks again.
    fn admitted(&mut self, course: &mut Course, mut verdict: Verdict) -> Option<End> {
        if self.start.signals.terminated() {
            return Some(End::Over);
        }
        course.fence = verdict.decision.fence.or(course.fence);
        let kept = self.standing.keep();
        match self.standing.look() {
            Found::Gone => return Some(End::Over),
            Found::Unclear(..) => return None,
            // Other limits apply to the next request.
            Found::Same | Found::Changed(_) => {}
        }
        // A store that took over meanwhile does not know of it.
        let known = verdict.decision.held.is_some() || verdict.decision.renewed;
        verdict.decision.held = verdict.decision.held.or(course.held.take().filter(|_| !known));
        Some(End::Admitted(Box::new(Admitted { verdict, paused: course.paused.take(), kept })))
    }

    /// Waits after a refusal, or after what only told of a failure. What to ask next.
    fn refused(&mut self, course: &mut Course, ask: &Step, refused: &Decision, teller: Teller) -> Result<Step, End> {
        if refused.reason == Reason::Superseded {
            return Err(End::Over);
        }
        if let Some(word) = told::word(&self.config.fleet, ask, refused) {
            // A stop that is told to another store, too, is the same one.
            let again = word.kind == Kind::Blocked && std::mem::replace(&mut course.hearing.blocked, true);
            if !again {
                detached::tell(self.config, self.caller, &word, detached::Then::Stays);
            }
        }
        if refused.reason == Reason::Hold {
            course.held = refused.held.clone().filter(|h| h.by != BY_API);
        }
        let Some(own) = refused.fence else { return Err(End::Over) };
        course.fence = Some(own);
        let renew = self.renew_at.is_some_and(|at| Instant::now() >= at);
        if refused.outcome == Outcome::Refuse {
            if !matches!(refused.reason, Reason::MinInterval | Reason::Spread) {
                course.paused = Some(refused.clone());
            }
            if self.unattended && refused.reason == Reason::Done {
                return Err(End::Over);
            }
            match self.listen(course, refused, own) {
                // A stand-in's fence may not be the server's, which may be there again: it knows the stop by its id.
                Next::Ask if matches!(teller, Teller::StandIn(_)) && !renew => return Ok(self.told_again()),
                // Nothing but the attempt was committed, so the stop is not known yet.
                Next::Ask if refused.reason == Reason::Busy && !renew => return Ok(self.told_again()),
                Next::Ask => {}
                Next::Tell => return Ok(self.told_again()),
                Next::End(end) => return Err(end),
            }
        }
        // From its renewal on it asks past a rest until it is admitted or its time is over.
        let renew = self.renew_at.is_some_and(|at| Instant::now() >= at);
        Ok(of(&self.begin, Event::Ask { fence: own, renew }))
    }

    fn step(&self, step: &Step) -> Result<Verdict, StoreError> {
        let begun = Instant::now();
        let verdict = claim::step(&mut *store::open(self.config, begun + self.config.budget)?, step)?;
        // Later than any ask may be: another store may have taken over meanwhile. The admission is burnt.
        if verdict.admission.is_some() && begun.elapsed() > LATEST {
            return Err(StoreError::TooLate);
        }
        Ok(verdict)
    }

    fn leaves(&self, course: &Course) -> bool {
        let Step { session, id, client: own, .. } = &self.begin;
        let other = |by: &Mark| by.id != *id && Some(by) != course.mark.as_ref() && by.concerns(own.as_ref());
        let marked = || marks::taken_over_by(self.config, session).filter(other);
        let undecided =
            || took(self.config, session).filter(|by| *by != self.known.id && Some(by) != course.took.as_ref());
        let Start { client, signals, .. } = self.start;
        signals.terminated() || !client.is_there() || marked().is_some() || undecided().is_some()
    }

    /// The begin once more, for a store that lost the session: with what is left of its rest.
    fn told_again(&self) -> Step {
        let waited = self.start.since.elapsed();
        let mut step = Step { late: Some(waited), ..self.begin.clone() };
        if let Event::Stop { rest: Some(rest) } | Event::Resume { rest: Some(rest), .. } = &mut step.event {
            rest.lasting = rest.lasting.map(|lasting| lasting.saturating_sub(waited));
        }
        step
    }

    /// Waits until a new ask could be answered otherwise.
    fn listen(&mut self, course: &mut Course, refused: &Decision, fence: i64) -> Next {
        let since = Instant::now();
        let due = asks_again_in(refused).map(|left| since + left + Duration::from_millis(1));
        let renew_at = self.renew_at.filter(|at| *at > since);
        let mut away = Away::default();
        loop {
            self.start.signals.clear();
            if self.leaves(course) {
                return Next::End(End::Over);
            }
            match self.stands(course) {
                Stands::Yes => {}
                Stands::Not => {
                    self.pause(PACE);
                    continue;
                }
                Stands::End(end) => return Next::End(end),
            }
            let now = Instant::now();
            // Asked before its time is called over: a machine that stalled must not cost the agent its engine.
            if [due, renew_at].into_iter().flatten().any(|at| now >= at) {
                return Next::Ask;
            }
            if now >= self.until {
                return Next::End(self.expire(Some(fence)));
            }
            self.watch(course, now);
            let ends = [due, renew_at, Some(self.until)];
            let left = ends.into_iter().flatten().min().unwrap_or(self.until).saturating_duration_since(now);
            if let Some(wait) = course.hearing.looks.holds() {
                self.pause(wait.min(left));
                continue;
            }
            match self.hear(course, left, refused, fence) {
                Ok(Call::Ask) => return Next::Ask,
                Ok(Call::Tell) => return Next::Tell,
                Ok(Call::Nothing) => {
                    away = Away::default();
                    course.hearing.told = false;
                    // The refusal that it waits out stands: nothing is undecided any more.
                    if std::mem::take(&mut course.marked) {
                        self.known.decided(self.env);
                    }
                }
                // Another store may have to stand in: it may not know the session, so it is told from the beginning.
                Err(e) if e.is_silence() && !std::mem::replace(&mut course.hearing.told, true) => {
                    self.ears = None;
                    return Next::Tell;
                }
                Err(e) => {
                    self.ears = None;
                    course.marked = true;
                    away.journal(self.env, self.known, &e);
                    self.pause(away.next().min(left));
                }
            }
        }
    }

    /// Has it looked, now and then, whether engines beside this one are gone: whoever dies tells nobody.
    fn watch(&self, course: &mut Course, now: Instant) {
        if self.config.notify.is_empty() || course.hearing.watch.is_some_and(|at| now < at) {
            return;
        }
        let first = course.hearing.watch.replace(now + lost::EVERY).is_none();
        if !first && lost::is_due(self.config) {
            detached::look_for_lost(self.caller);
        }
    }

    /// Looks, and waits if nothing calls.
    fn hear(
        &mut self,
        course: &mut Course,
        most: Duration,
        refused: &Decision,
        fence: i64,
    ) -> Result<Call, StoreError> {
        let hearing = &mut course.hearing;
        hearing.looks.last = Some(Instant::now());
        if let Some(note) = hearing.word.clone() {
            self.hush();
            let Step { scope, session, .. } = &self.begin;
            self.step(&super::step_of(scope.clone(), session.clone(), "Wake", Event::Wake { note, spread: false }))?;
            hearing.word = None;
        }
        let ears = match &mut self.ears {
            Some(ears) => ears,
            None => {
                let Step { scope, session, name, .. } = &self.begin;
                let listener = Listener { scope: scope.clone(), session: session.clone(), name: name.clone() };
                let teller = hearing.teller.unwrap_or(Teller::Server);
                self.ears.insert(listen::open(self.config, &listener, teller)?)
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
        let standing = &*self.standing;
        let heard = ears.wait(most, self.start.signals.fd(), &|| standing.stirs());
        if let Some(why) = ears.loss() {
            let event = "Subscription".to_owned();
            Known { event, asked_to_go_on: false, ..self.known.clone() }.note(self.env, Reason::Event, &why);
        }
        match heard? {
            Heard::Stirred => {}
            Heard::Word(said) => {
                let before = hearing.word.take().filter(|w| !w.is_empty());
                let words = before.into_iter().chain([said]).collect::<Vec<_>>().join(" / ");
                hearing.word = Some(text::line_of(&words, text::LONGEST_NOTE));
            }
        }
        Ok(Call::Nothing)
    }

    /// Gives the looking connection up, so that there are never more than two.
    fn hush(&mut self) {
        if let Some(ears) = &mut self.ears {
            ears.hush();
        }
    }

    /// Sleeps until a signal comes, or a file that the session is decided under changes.
    fn pause(&self, most: Duration) {
        let until = (Instant::now() + most).min(self.until);
        listen::pause_until(until, self.start.signals.fd(), &|| self.standing.stirs());
    }

    /// Nobody will wake the session any more: that is journaled.
    fn expire(&self, fence: Option<i64>) -> End {
        let fence = fence.unwrap_or(self.begin.host_ms);
        let expired = Step { event_name: "WaiterExpired".to_owned(), ..of(&self.begin, Event::Expired { fence }) };
        if let Err(e) = self.step(&expired) {
            self.known.journal(self.env, Reason::WaiterExpired, &e.to_string());
        }
        let word = told::expired(&self.config.fleet, &self.begin);
        detached::tell(self.config, self.caller, &word, detached::WAITED);
        End::Over
    }
}

/// A step of the same session, now.
fn of(step: &Step, event: Event) -> Step {
    Step { event, late: None, detail: String::new(), host_ms: clock::host_ms(), id: clock::id(), ..step.clone() }
}
