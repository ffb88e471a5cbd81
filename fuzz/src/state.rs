//! The bytes of a state file, then any steps at any times: nothing panics, and no step is admitted against the
//! file's limits.

use frosty::journal::Entry;
use frosty::policy::api_limit::{NEAR, PROBE_EVERY};
use frosty::policy::decision;
use frosty::policy::decision::State;
use frosty::policy::documents::{ClassState, QuotaLog, ScopeState, SessionState};
use frosty::policy::fact::Span;
use frosty::policy::hold::Hold;
use frosty::policy::limits::{Class, ClassPolicy, Ms, Policy, Quota, millis};
use frosty::policy::request::{Event, Step};
use frosty::policy::rest::{Rest, RestKind};
use frosty::policy::verdict::{Decision, Outcome, Reason};
use frosty::store::fuzzing::{fleet_file, scope_file, session_file};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::{draw, said};

/// The number of bytes that draw the policy and the steps. The file comes after them.
const HEAD: usize = 128;

pub fn run(data: &[u8]) {
    let (head, file) = data.split_at_checked(HEAD).unwrap_or((data, b""));
    let _ = play(&mut Unstructured::new(head), file);
}

fn play(u: &mut Unstructured<'_>, file: &[u8]) -> Result<()> {
    let mut now: Ms = if draw::rarely(u, 8)? { u.int_in_range(0..=draw::LAST)? } else { draw::T0 };
    let mut state = State::default();
    if let Some(scope) = scope_file(file) {
        state.scope = scope;
    }
    if let Some(session) = session_file(file) {
        state.session = session;
    }
    if let Some(fleet) = fleet_file(file) {
        state.fleet = fleet;
    }
    plant(u, &mut state, now)?;
    // Both stores keep these in order.
    state.scope.quota.admitted.sort_unstable();
    state.fleet.quota.admitted.sort_unstable();
    let policy = draw::policy(u)?;
    for _ in 0..8 {
        let step = draw::any_step(u, state.session.fence.unwrap_or(now), now)?;
        told(&policy, &mut state, &step, now);
        let by: Ms = match u.int_in_range(0..=5)? {
            0 => 0,
            1 => u.int_in_range(1..=1000)?,
            2 => millis(policy.stop.min_interval),
            3 => 1000 * u.int_in_range::<Ms>(0..=3600)?,
            4 => -1000 * u.int_in_range::<Ms>(0..=3600)?,
            _ => u.arbitrary()?,
        };
        now = now.saturating_add(by).clamp(0, draw::LAST);
        if u.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Adds facts near `now`, which bytes alone would hardly hit.
fn plant(u: &mut Unstructured<'_>, state: &mut State, now: Ms) -> Result<()> {
    // About a quarter of them.
    let which = u.arbitrary::<u16>()? & u.arbitrary::<u16>()?;
    let mut near = |set: u32| -> Result<Option<Ms>> {
        if which & (1 << set) == 0 {
            return Ok(None);
        }
        Ok(Some(now.saturating_add(Ms::from(u.arbitrary::<i32>()?) >> (set % 4 * 4))))
    };
    if let Some(at) = near(0)? {
        state.scope.stop.admitted_at = Some(at);
    }
    if let (Some(start), Some(end)) = (near(1)?, near(2)?) {
        state.scope.stop.cooldown = Some(Span::new(start, end));
    }
    if let (Some(start), Some(end)) = (near(3)?, near(4)?) {
        state.scope.api = Some(Span::new(start, end));
    }
    if let Some(since) = near(5)? {
        state.scope.hold = Some(Hold { reason: String::new(), by: "ann".to_owned(), since, until: near(6)?, id: 0 });
    }
    if let Some(since) = near(7)? {
        state.fleet.hold = Some(Hold { reason: String::new(), by: "bob".to_owned(), since, until: near(8)?, id: 0 });
    }
    state.scope.quota.admitted.extend(near(9)?);
    state.fleet.quota.admitted.extend(near(10)?);
    state.scope.stop.attempts.extend(near(11)?);
    if let Some(since) = near(12)? {
        let rest = Rest { kind: RestKind::Rest, since, until: near(13)?, topic: String::new(), id: 0 };
        state.session.rest = Some(rest);
    }
    if let Some(at) = near(14)? {
        state.scope.compact.admitted_at = Some(at);
    }
    state.session.fence = near(15)?.or(state.session.fence);
    Ok(())
}

/// Checks the decision of one step against the state before it.
fn told(policy: &Policy, state: &mut State, step: &Step, now: Ms) {
    let before = state.clone();
    let decided = decision::step(policy, state, step, now);
    let told = || format!("{decided:?}\nby {step:?}\nat {now} under {policy:?}\nafter {before:?}");

    let knows_another = !step.known_epoch.is_empty() && step.known_epoch != before.fleet.store_epoch;
    if step.event.asks() == Some(Class::Stop) && knows_another {
        assert_eq!((decided.outcome, decided.reason), (Outcome::Refuse, Reason::Lost), "{}", told());
        assert_eq!((&state.scope, &state.session), (&before.scope, &before.session), "{}", told());
        return;
    }
    if decided.reason == Reason::Contested {
        assert_eq!(decided.client, before.session.client, "{}", told());
        assert_eq!((&state.scope, &state.session), (&before.scope, &before.session), "{}", told());
        return;
    }
    if decided.repeated {
        assert_eq!(before.session.admitted.as_ref().map(|a| &a.id), Some(&step.id), "{}", told());
        assert_eq!((&state.scope, &state.session), (&before.scope, &before.session), "{}", told());
        return;
    }
    let admitted = decided.outcome == Outcome::Admit;
    if let Some(why) = forbids(policy, &before, step, now) {
        assert!(!admitted, "admitted, though {why}: {}", told());
    }
    assert_eq!(admitted, matches!(decided.reason, Reason::Admitted | Reason::Probe), "{}", told());
    match step.event.asks() {
        None => {
            let is_kept_out = matches!(step.event, Event::Hold(_)) && decided.reason == Reason::Hold;
            let recorded = decided.outcome == Outcome::Record || decided.reason == Reason::Superseded;
            assert!(recorded || is_kept_out, "{}", told());
        }
        Some(class) if admitted => {
            let own = state.scope.class_mut(class).clone();
            assert_eq!(own.admitted_at, Some(now), "an admission that the guard does not know: {}", told());
            let counted = |log: &QuotaLog, quotas: &[Quota]| quotas.is_empty() || log.admitted.last() == Some(&now);
            let stop = class == Class::Stop;
            assert!(!stop || counted(&state.scope.quota, &policy.stop.quotas), "{}", told());
            assert!(!stop || counted(&state.fleet.quota, &policy.fleet_quotas), "{}", told());
        }
        Some(_) => {
            assert_ne!(decided.outcome, Outcome::Record, "{}", told());
            // A refusal with an end has a time. Only a hold or a rest may be without one.
            let ends = decided.retry_after.is_some_and(|left| !left.is_zero());
            let endless = decided.reason == Reason::Hold || decided.reason.is_rest();
            let superseded = decided.reason == Reason::Superseded;
            assert!(ends || superseded || (endless && decided.retry_after.is_none()), "{}", told());
        }
    }
    fence(&before.session, &state.session, step, &decided);
    written(state, step, &decided);
}

/// Returns the reason why the state does not allow the request, read from it without the model.
pub fn forbids(policy: &Policy, state: &State, step: &Step, now: Ms) -> Option<&'static str> {
    let State { fleet, scope, session, .. } = state;
    let class = step.event.asks()?;
    let (limits, own) = match class {
        Class::Stop => (&policy.stop, &scope.stop),
        Class::Compact => (&policy.compact, &scope.compact),
    };
    if let Some(why) = own_limits(limits, own, now) {
        return Some(why);
    }
    if class == Class::Compact {
        return None;
    }
    let asks_again = matches!(step.event, Event::Ask { .. });
    // A good Stop event of any session lifts the API's limit of the key.
    let is_answered = fleet.answered.is_some() || fleet.limits.iter().any(|known| known.answered.is_some());
    let is_lifted = scope.api_of_key && (!asks_again || is_answered);
    // A reset time that is far away is probed each hour.
    let is_probed = |api: Span| {
        scope.api_of_key && now >= api.start.saturating_add(PROBE_EVERY) && api.end.saturating_sub(now) > NEAR
    };
    let is_lifted = is_lifted || scope.api.is_some_and(is_probed);
    if scope.api.is_some_and(|api| open(api, now)) && !is_lifted {
        return Some("an API cooldown is open");
    }
    // The first good Stop event lifts a hold of the API's.
    if scope.hold.as_ref().is_some_and(|h| holds(h, now) && (asks_again || h.by != "api")) {
        return Some("the scope is held");
    }
    if fleet.hold.as_ref().is_some_and(|h| holds(h, now)) {
        return Some("the fleet is held");
    }
    if used_up(&scope.quota, &policy.stop.quotas, now) || used_up(&fleet.quota, &policy.fleet_quotas, now) {
        return Some("a quota is used up");
    }
    if let Event::Ask { fence, .. } = step.event
        && session.fence.is_some_and(|newer| (0..=draw::LAST).contains(&newer) && newer > fence)
    {
        return Some("another stop took over");
    }
    let resting = session.rest.as_ref().is_some_and(|r| ends(r.since, r.until, now));
    if matches!(step.event, Event::Ask { renew: false, .. }) && resting && !session.woken {
        return Some("the session rests");
    }
    None
}

fn own_limits(limits: &ClassPolicy, own: &ClassState, now: Ms) -> Option<&'static str> {
    let interval = millis(limits.min_interval);
    let ago = |at: Ms| i128::from(now) - i128::from(at.min(now));
    if own.admitted_at.is_some_and(|at| ago(at) < i128::from(interval)) {
        return Some("the guard is closed");
    }
    if own.cooldown.is_some_and(|c| open(c, now)) {
        return Some("a cooldown is open");
    }
    let burst = limits.burst.filter(|_| interval == 0)?;
    let noted = own.attempts.iter().filter(|at| ago(**at) < i128::from(millis(burst.window))).count();
    (noted + 1 >= burst.limit as usize).then_some("the bang window is full")
}

fn open(span: Span, now: Ms) -> bool {
    ends(span.start, Some(span.end), now)
}

fn holds(hold: &Hold, now: Ms) -> bool {
    ends(hold.since, hold.until, now)
}

/// Returns whether a span that began at `since` is not over. A span that begins later than now begins now, with
/// the same length.
fn ends(since: Ms, until: Option<Ms>, now: Ms) -> bool {
    match until {
        Some(until) if since > now => until > since,
        Some(until) => until > now,
        None => true,
    }
}

fn used_up(log: &QuotaLog, quotas: &[Quota], now: Ms) -> bool {
    let within =
        |per: i128| log.admitted.iter().filter(|at| i128::from(now) - i128::from((**at).min(now)) < per).count();
    quotas.iter().any(|q| within(i128::from(millis(q.per))) >= q.limit as usize)
}

/// Checks that the fence only grows, and that an event that must raise it does so.
fn fence(before: &SessionState, after: &SessionState, step: &Step, decided: &Decision) {
    let valid = |fence: Option<i64>| fence.filter(|f| (0..=draw::LAST).contains(f));
    if decided.reason == Reason::Superseded {
        assert_eq!(before, after, "a superseded step changed the session");
        return;
    }
    let (old, new) = (valid(before.fence), valid(after.fence));
    let is_others = step.client.zip(before.client).is_some_and(|(own, owner)| {
        (before.host != step.host || !own.may_be(&owner)) && (after.client, &after.host) == (Some(owner), &before.host)
    });
    if step.event.raises_fence() && is_others {
        assert_eq!(before, after, "a step beside the session's own client process changed the session");
        return;
    }
    let told = step.event.raises_fence() && before.begun.as_ref().is_some_and(|b| b.id == step.id);
    if step.event.raises_fence() && !told {
        assert!(new > old || new == Some(draw::LAST), "{old:?} became {new:?}");
    }
    assert!(new >= old, "{old:?} became {new:?}");
}

/// Checks that the new state can be read back, and that the entry is one line with the decision.
fn written(state: &State, step: &Step, decided: &Decision) {
    let mut scope = state.scope.clone();
    let bytes = serde_json::to_vec(&scope).expect("JSON");
    // The retention time of admissions is not written where there are none. No store has such a state.
    if scope.quota.is_empty() {
        scope.quota = QuotaLog::default();
    }
    assert_eq!(serde_json::from_slice::<ScopeState>(&bytes).expect("a state"), scope);
    let session = serde_json::to_vec(&state.session).expect("JSON");
    assert_eq!(serde_json::from_slice::<SessionState>(&session).expect("a state"), state.session);
    let line = Entry::of(step, decided, &state.session.label, "default", "embedded").line();
    let line = line.strip_suffix('\n').expect("a whole line");
    assert!(!line.chars().any(|c| c.is_ascii_control()), "{line:?}");
    let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(entry["verdict"], decided.outcome.code());
    assert_eq!(entry["reason"], decided.reason.code());
    let label = state.session.label.as_str();
    assert_eq!(entry["window"], if label.is_empty() { "default" } else { label });
    assert_eq!(entry["scope"], step.scope.as_str());
    said::one_line(entry["timestamp"].as_str().expect("a time"), 40);
}
