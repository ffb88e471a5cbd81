//! The changes of a decision on a server: the conditions for its validity, and its effects.
//!
//! A version is checked only of a document that the decision changed, or that permitted it. A refusal therefore
//! conflicts with no other request.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::config::Config;
use crate::journal::Entry;
use crate::policy::decision::State;
use crate::policy::documents::{FleetState, QuotaLog, ScopeState, SessionState, Waiting};
use crate::policy::lifetime;
use crate::policy::limits::{Class, LONGEST, Ms, Policy, Quota, millis};
use crate::policy::pace::LONGEST_FLIGHT;
use crate::policy::request::{Event, Step};
use crate::policy::verdict::{Attempt, Decision, Outcome, Reason};
use crate::store::server::commit::Commit;
use crate::store::server::document::Document;
use crate::store::server::keys::Keys;
use crate::store::server::load::{Loaded, SetAside};
use crate::store::server::{NAME, session_index, work};
use crate::store::sleeping::{self, Change};
use crate::store::windows;

/// The longest lifetime of a document, whatever a person wrote into it: a server refuses a time beyond its calendar.
const FURTHEST: Ms = 500 * 86_400_000;
/// The indexes are written again after this long.
const INDEX_EVERY: Ms = 3_600_000;

/// Returns the commit of a decision that was made from `loaded` and resulted in `state`.
pub(crate) fn of(config: &Config, step: &Step, loaded: &Loaded, state: &mut State, decided: &Decision) -> Commit {
    let mut commit = Commit::default();
    let keys = Keys::of(&config.fleet);
    let is_stop = step.event.asks() == Some(Class::Stop);
    let admitted = decided.outcome == Outcome::Admit;
    if admitted {
        commit.only_soon_after(loaded.now);
    }
    // The counted facts come first, so that no later failure admits too much.
    if admitted && is_stop {
        admission(&mut commit, keys, &config.policy, step, loaded, state, decided);
    }
    if let (Some(work), Some(state)) = (&loaded.work, &state.work) {
        work::changes(&mut commit, keys, work, state, admitted);
    }
    if let Some(document) = &loaded.scope {
        let scope = stored_scope(&state.scope, step, loaded);
        let lifetime = lifetime::scope_lifetime(&scope, loaded.now);
        put(&mut commit, keys.scope(&step.scope), document, &scope, lifetime, admitted);
    }
    if let Some(document) = &loaded.fleet {
        let fleet = FleetState { quota: without_entries(&state.fleet.quota), ..state.fleet.clone() };
        put(&mut commit, keys.fleet(), document, &fleet, None, admitted);
    }
    set_aside(&mut commit, &loaded.set_aside);
    if loaded.windows.is_in_place() {
        put(&mut commit, keys.windows(), &loaded.windows, &loaded.windows.state, Some(windows::KEEP), false);
    }
    if decided.reason == Reason::Lost {
        return commit;
    }
    if is_stop {
        let keep = state.scope.stop.attempts_keep;
        attempts(&mut commit, keys, &config.policy, step, decided, loaded, keep);
        queues(&mut commit, keys, step, loaded, state);
    }
    if config.policy.pace.is_some() && step.event.ends_turn() && !admitted && decided.reason != Reason::Superseded {
        commit.remove(keys.in_flight(), &step.session);
    }
    for key in &loaded.ahead {
        commit.clamp(key.clone());
    }
    if !step.event.is_of_holds() {
        let lifetime = Some(lifetime::session_lifetime(&state.session, loaded.now));
        put(&mut commit, keys.session(&step.session), &loaded.session, &state.session, lifetime, admitted);
        if !step.shadow {
            sleeping(&mut commit, keys, &loaded.session.state, &state.session, loaded.now);
        }
        indexes(&mut commit, keys, step, &loaded.session.state, &state.session, loaded.now);
    }
    notifications(&mut commit, keys, step, decided);
    if !has_entry(step, loaded, decided) {
        journal(&mut commit, config, step, &state.session.label, decided);
    }
    commit
}

/// Returns whether the same request was refused here before, and its answer was lost.
fn has_entry(step: &Step, loaded: &Loaded, decided: &Decision) -> bool {
    let session = &loaded.session.state;
    let is_told = step.event.begins() && session.begun.as_ref().is_some_and(|begun| begun.id == step.id);
    let is_same = decided.outcome == Outcome::Refuse && session.last_reason == decided.reason.code();
    is_same && decided.work_end.is_empty() && step.late.is_none() && (is_told || loaded.own_attempts > 0)
}

/// Returns the commit of a request that met conflicts until its deadline: its attempt and its entry, under no
/// condition.
pub(crate) fn of_attempt(config: &Config, step: &Step, loaded: &Loaded, decided: &Decision) -> Commit {
    let mut commit = Commit::default();
    if step.event.asks() == Some(Class::Stop) && decided.attempt == Attempt::Counted {
        let keep = loaded.scope.as_ref().map_or(0, |scope| scope.state.stop.attempts_keep);
        let window = config.policy.stop.burst.map_or(0, |burst| millis(burst.window));
        let key = Keys::of(&config.fleet).attempts(&step.scope);
        commit.add(key, keep.max(window).clamp(0, millis(LONGEST)), step.id.clone());
    }
    journal(&mut commit, config, step, &loaded.session.state.label, decided);
    commit
}

/// Keeps damaged documents for a person to look at.
pub(crate) fn set_aside(commit: &mut Commit, damaged: &[SetAside]) {
    for document in damaged {
        commit.keep(document.key.clone(), millis(lifetime::SESSION), &document.text);
    }
}

/// Adds the decision's effect on the attempts, and the largest number of them under which it is valid.
///
/// A request that was counted before, when its answer was lost, counts once.
fn attempts(
    commit: &mut Commit,
    keys: Keys<'_>,
    policy: &Policy,
    step: &Step,
    decided: &Decision,
    loaded: &Loaded,
    keep: Ms,
) {
    let Some(burst) = policy.stop.burst else { return };
    let key = keys.attempts(&step.scope);
    let counts = match decided.attempt {
        Attempt::Uncounted => return,
        // The scope's document has the cooldown, so of two requests that fill the window at once one is decided again.
        // The cooldown began with the decision, so what was counted since then stays. A clock that was set back dates
        // nothing.
        Attempt::Emptied => {
            let until = (!loaded.ahead.contains(&key)).then_some(loaded.now);
            return commit.empty(key, until);
        }
        Attempt::First => {
            commit.empty(key.clone(), None);
            false
        }
        Attempt::Counted => true,
    };
    // One more attempt would have filled the window. Outside the minimum interval it would not matter.
    if counts && (decided.reason == Reason::MinInterval || policy.stop.is_limited_by_window()) {
        let most = burst.limit.saturating_sub(2).saturating_add(loaded.own_attempts);
        commit.only_up_to(key.clone(), millis(burst.window), most);
    }
    commit.add(key, keep, step.id.clone());
}

fn queues(commit: &mut Commit, keys: Keys<'_>, step: &Step, loaded: &Loaded, state: &State) {
    let before = loaded.scope.as_ref().map_or(&[][..], |scope| &scope.state.quota.waiting);
    queue(commit, keys.scope_queue(&step.scope), before, &state.scope.quota.waiting, &step.session);
    let before = loaded.fleet.as_ref().map_or(&[][..], |fleet| &fleet.state.quota.waiting);
    queue(commit, keys.fleet_queue(), before, &state.fleet.quota.waiting, &step.session);
}

/// Adds the decision's effect on a wait queue: two sorted sets, the start of each session's wait and its next request.
fn queue(commit: &mut Commit, keys: [String; 2], before: &[Waiting], after: &[Waiting], own: &str) {
    let [since, next] = keys;
    for gone in before.iter().filter(|w| !after.iter().any(|a| a.session == w.session)) {
        commit.remove(since.clone(), &gone.session);
        commit.remove(next.clone(), &gone.session);
    }
    if let Some(waiting) = after.iter().find(|w| w.session == own) {
        commit.rank(since, waiting.since, own);
        commit.rank(next, waiting.next, own);
    }
}

/// Adds an admission, and the limits under which it is valid.
fn admission(
    commit: &mut Commit,
    keys: Keys<'_>,
    policy: &Policy,
    step: &Step,
    loaded: &Loaded,
    state: &mut State,
    decided: &Decision,
) {
    let interval = millis(policy.stop.min_interval);
    let own = &policy.stop.quotas;
    let fleets: Vec<Quota> = policy.fleet_quotas.iter().copied().chain(state.fleet.quota.paced.quota()).collect();
    let key = keys.admissions(&step.scope);
    if interval > 0 {
        commit.only_if_free(key.clone(), 1, interval);
    }
    for quota in own {
        commit.only_if_free(key.clone(), quota.limit, millis(quota.per));
    }
    // The last admission stays in any case. Those before it stay as long as any request of the scope counts them.
    let is_forgotten = loaded.scope.as_ref().is_some_and(|scope| scope.version.is_empty() && loaded.was_admitted);
    let keep = &mut state.scope.quota.keep;
    *keep = if is_forgotten { millis(LONGEST) } else { interval.max(*keep).clamp(1, millis(LONGEST)) };
    let told = format!("{}-{}-{}", decided.now, step.id, decided.count);
    commit.add(key, *keep, told.clone());
    // This comes after the write that a server without memory refuses.
    commit.touch(keys.scope(&step.scope), millis(lifetime::SCOPE));
    if !fleets.is_empty() || policy.pace.is_some() {
        let key = keys.fleet_admissions();
        for quota in fleets {
            commit.only_if_free(key.clone(), quota.limit, millis(quota.per));
        }
        commit.add(key, state.fleet.quota.keep, told);
    }
    if policy.pace.is_some() {
        commit.add(keys.in_flight(), LONGEST_FLIGHT, step.session.clone());
    }
}

/// Returns the scope as its document contains it: without what the sorted sets contain.
fn stored_scope(scope: &ScopeState, step: &Step, loaded: &Loaded) -> ScopeState {
    let mut scope = ScopeState { quota: without_entries(&scope.quota), ..scope.clone() };
    scope.stop.attempts.clear();
    // A turn that begins late starts the minimum interval anew. Every admission itself is an entry.
    if !step.event.begins_turn() {
        scope.stop.admitted_at = loaded.turn_began;
    }
    scope
}

fn without_entries(log: &QuotaLog) -> QuotaLog {
    QuotaLog { keep: log.keep, ..QuotaLog::default() }
}

/// Writes a scope's document if it changed.
pub(crate) fn put_scope(
    commit: &mut Commit,
    key: String,
    document: &Document<ScopeState>,
    scope: &ScopeState,
    now: Ms,
) {
    put(commit, key, document, scope, lifetime::scope_lifetime(scope, now), false);
}

/// Writes a session's document if it changed.
pub(crate) fn put_session(
    commit: &mut Commit,
    key: String,
    document: &Document<SessionState>,
    session: &SessionState,
    now: Ms,
) {
    put(commit, key, document, session, Some(lifetime::session_lifetime(session, now)), false);
}

/// Writes or removes the text of the session's rest.
pub(crate) fn sleeping(commit: &mut Commit, keys: Keys<'_>, before: &SessionState, after: &SessionState, now: Ms) {
    for Change { agent, text } in sleeping::changes(before, after, true, now) {
        let key = keys.sleeping(&agent);
        let Some((text, end)) = text else {
            commit.forget(key);
            continue;
        };
        let lifetime = end.map_or_else(|| lifetime::session_lifetime(after, now), |end| end.saturating_sub(now));
        commit.set(key, Some(lifetime.clamp(1, FURTHEST)), text);
    }
}

/// Writes a document that changed, and checks the version of one that changed or permitted an admission.
pub(crate) fn put<T: Clone + Default + PartialEq + Serialize + DeserializeOwned>(
    commit: &mut Commit,
    key: String,
    document: &Document<T>,
    state: &T,
    lifetime: Option<Ms>,
    admitted: bool,
) {
    let id = clock::id();
    let next = document.next(state, &id);
    if admitted || next.is_some() {
        commit.only_at_version(key.clone(), &document.version);
    }
    if let Some(next) = next {
        commit.set(key, lifetime.map(|lifetime| lifetime.clamp(1, FURTHEST)), next);
        commit.written.push(id);
    }
}

/// Writes the two indexes, where a session is new, has another name or scope, or was not seen for a while.
fn indexes(commit: &mut Commit, keys: Keys<'_>, step: &Step, before: &SessionState, after: &SessionState, now: Ms) {
    let is_recent = before.seen > now.saturating_sub(INDEX_EVERY) && before.seen <= now;
    let is_same = session_index::is_same(before, after);
    let is_known = before.scope == step.scope && is_recent && !matches!(step.event, Event::SessionStart { .. });
    if !step.event.is_clients() || (is_known && is_same) {
        return;
    }
    if !is_known {
        commit.index(keys.index("scope"), step.scope.clone(), String::new());
    }
    let is_new = before.seen == 0;
    let gone = if is_same || is_new { String::new() } else { session_index::member(&step.session, before) };
    commit.index(keys.index("session"), session_index::member(&step.session, after), gone);
}

/// Notifies the engines that wait for what the event changed.
fn notifications(commit: &mut Commit, keys: Keys<'_>, step: &Step, decided: &Decision) {
    let event = &step.event;
    if event.is_fleets() {
        return commit.notify(&keys.fleet_channel(), code(event));
    }
    if event.is_of_holds() {
        return commit.notify(&keys.scope_channel(&step.scope), code(event));
    }
    // A Stop event that does not wait has no other engine, and is spared the key.
    let writes = match event {
        Event::Stop { .. } | Event::Resume { .. } | Event::StopFailure(_) => step.paced,
        Event::Wake { .. } => true,
        _ => event.raises_fence(),
    };
    // An event of another client process raises no fence.
    let is_beside = event.raises_fence() && decided.fence.is_none();
    if writes && decided.reason != Reason::Superseded && !is_beside {
        commit.notify(&keys.session_channel(&step.session), code(event));
    }
}

/// Returns the event as an engine reads it.
fn code(event: &Event) -> &'static str {
    match event {
        Event::Stop { .. } => "stop",
        Event::Resume { .. } => "resume",
        Event::StopFailure(_) => "failure",
        Event::PersonPrompt | Event::StartPrompt { .. } => "prompt",
        Event::ClientPrompt { .. } => "client_prompt",
        Event::SessionEnd | Event::Sleep => "end",
        Event::Wake { .. } => "wake",
        Event::Hold(_) => "hold",
        Event::Release { .. } | Event::LiftLimits => "release",
        _ => "other",
    }
}

fn journal(commit: &mut Commit, config: &Config, step: &Step, label: &str, decided: &Decision) {
    let window = if label.is_empty() { &step.scope } else { label };
    let entry = Entry::of(step, decided, window, &config.fleet, NAME);
    commit.journal(&config.stream, config.journal_max.into(), entry.words());
}

#[cfg(test)]
mod tests {
    use redis::Arg;

    use super::*;
    use crate::hook::step_of;
    use crate::policy::decision;
    use crate::policy::limits::Burst;

    /// A trip may be committed late: what others committed since its decision stays in the window.
    #[test]
    fn a_trip_empties_the_window_up_to_its_decision() {
        let (mut policy, keys) = (Policy::default(), Keys::of("f"));
        policy.stop.burst = Some(Burst { limit: 3, window: std::time::Duration::from_secs(5) });
        let step = step_of("s".to_owned(), "a".to_owned(), "Stop", Event::Stop { rest: None });
        let trip = decision::refusal(Reason::Burst, 7);
        let trip = Decision { attempt: Attempt::Emptied, ..trip };
        for (ahead, until) in [(Vec::new(), b"7".as_slice()), (vec![keys.attempts("s")], b"+inf")] {
            let loaded = Loaded { now: 7, ahead, ..Loaded::default() };
            let mut commit = Commit::default();
            attempts(&mut commit, keys, &policy, &step, &trip, &loaded, 0);
            let call = commit.call("EVAL", "script");
            let words: Vec<Arg<&[u8]>> = call.args_iter().collect();
            assert!(words.ends_with(&[Arg::Simple(b"E"), Arg::Simple(b"1"), Arg::Simple(until)]));
        }
    }
}
