//! Tests which of several states wins, one line for each case.

use crate::policy::documents::Begun;
use crate::policy::fact::Span;
use crate::policy::rest::Rest;
use crate::view::sessions::state::*;

const NOW: Ms = 1_800_000_000_000;

/// Returns a session that stopped a minute ago and was refused.
fn refused(reason: &str) -> SessionState {
    let begun = Some(Begun { at: NOW - 60_000, id: "stop".to_owned() });
    SessionState {
        fence: Some(7),
        begun,
        last_reason: reason.to_owned(),
        seen: NOW - 60_000,
        ..SessionState::default()
    }
}

fn rests(kind: RestKind, until: Option<Ms>) -> SessionState {
    let rest = Rest { kind, since: NOW - 60_000, until, topic: "x".to_owned(), id: 0 };
    SessionState { rest: Some(rest), ..refused(kind.code()) }
}

fn prompted(session: SessionState) -> SessionState {
    SessionState { begun: Some(Begun { at: NOW - 1, id: String::new() }), ..session }
}

fn hold(until: Option<Ms>) -> Hold {
    Hold { reason: "look".to_owned(), by: "ann".to_owned(), since: NOW - 5, until, id: 0 }
}

fn cooling(end: Ms) -> ScopeState {
    let mut scope = ScopeState::default();
    scope.stop.cooldown = Some(Span::new(NOW - 60_000, end));
    scope.stop.admitted_at = Some(NOW - 61_000);
    scope
}

fn guarded() -> ScopeState {
    let mut scope = ScopeState::default();
    scope.stop.admitted_at = Some(NOW - 3000);
    scope
}

fn failed(scope: ScopeState) -> ScopeState {
    ScopeState { api: Some(Span::new(NOW - 60_000, NOW + 40_000)), api_strikes: 1, ..scope }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one line for each case")]
fn which_state_wins() {
    use Engine::{Gone, Plain, Waits};
    let held = |until| ScopeState { hold: Some(hold(until)), ..ScopeState::default() };
    let free = ScopeState::default;
    let admitted = || refused("admitted");
    let dialog = |session| SessionState { needs_you: true, ..session };
    let ended = |session| SessionState { phase: Phase::Ended, ..session };
    let expired = |session| SessionState { phase: Phase::Expired, ..session };
    let woken = |session| SessionState { woken: true, ..session };
    let (soon, late) = (NOW + 40_000, NOW + 90_000);
    let used_up = Some(QuotaLeft { left: 0, frees: Some(late) });
    type Case = (&'static str, SessionState, ScopeState, Option<Hold>, Option<QuotaLeft>, Engine, Kind, Back);
    let cases: Vec<Case> = vec![
        ("new", SessionState::default(), free(), None, None, Plain, Kind::Idle, Back::Nothing),
        ("prompted", prompted(SessionState::default()), free(), None, None, Plain, Kind::Running, Back::Nothing),
        ("admitted", admitted(), guarded(), None, None, Plain, Kind::Running, Back::Nothing),
        ("a probe", refused("probe"), guarded(), None, None, Waits, Kind::Running, Back::Nothing),
        ("its engine has gone on with it", admitted(), guarded(), None, None, Gone, Kind::Running, Back::Nothing),
        ("held while it runs", admitted(), held(None), None, None, Waits, Kind::Running, Back::Nothing),
        (
            "prompted since it was refused",
            prompted(refused("cooldown")),
            cooling(soon),
            None,
            None,
            Gone,
            Kind::Running,
            Back::Nothing,
        ),
        ("ended", ended(dialog(rests(RestKind::Done, None))), held(None), None, None, Gone, Kind::Ended, Back::Nothing),
        ("a dialog", dialog(prompted(admitted())), free(), None, None, Plain, Kind::NeedsYou, Back::Answer),
        ("a dialog under a hold", dialog(refused("hold")), held(None), None, None, Gone, Kind::NeedsYou, Back::Answer),
        ("its engine died", refused("cooldown"), cooling(soon), None, None, Gone, Kind::WaiterLost, Back::Prompt),
        (
            "the engine of one that is done died",
            rests(RestKind::Done, None),
            free(),
            None,
            None,
            Gone,
            Kind::WaiterLost,
            Back::Prompt,
        ),
        ("expired", expired(rests(RestKind::Done, None)), free(), None, None, Gone, Kind::Expired, Back::Prompt),
        ("expired, then prompted", prompted(refused("done")), free(), None, None, Gone, Kind::Running, Back::Nothing),
        ("plain, refused", refused("cooldown"), cooling(soon), None, None, Plain, Kind::Stopped, Back::Prompt),
        ("plain, held", refused("hold"), held(None), None, None, Plain, Kind::Stopped, Back::Prompt),
        (
            "plain, a nap that nobody ends",
            rests(RestKind::Rest, Some(soon)),
            free(),
            None,
            None,
            Plain,
            Kind::Stopped,
            Back::Prompt,
        ),
        ("plain, done", rests(RestKind::Done, None), free(), None, None, Plain, Kind::Done, Back::Prompt),
        ("plain, parked", rests(RestKind::Parked, Some(soon)), free(), None, None, Plain, Kind::Parked, Back::Client),
        (
            "plain, parked until a moment ago",
            rests(RestKind::Parked, Some(NOW)),
            free(),
            None,
            None,
            Plain,
            Kind::Stopped,
            Back::Prompt,
        ),
        ("plain, failed", admitted(), failed(cooling(NOW - 60_000)), None, None, Plain, Kind::Stopped, Back::Prompt),
        ("failed at once", refused(""), failed(free()), None, None, Plain, Kind::Stopped, Back::Prompt),
        ("failed, and waited out", admitted(), failed(guarded()), None, None, Waits, Kind::Running, Back::Nothing),
        (
            "failed, and waits",
            refused("api_error"),
            failed(free()),
            None,
            None,
            Waits,
            Kind::ApiCooldown,
            Back::At(soon),
        ),
        ("guard", refused("min_interval"), guarded(), None, None, Waits, Kind::Guard, Back::At(NOW + 12_000)),
        ("cooldown", refused("burst"), cooling(soon), None, None, Waits, Kind::Cooldown, Back::At(soon)),
        ("held", refused("hold"), held(Some(soon)), None, None, Waits, Kind::Hold, Back::At(soon)),
        ("held without an end", refused("hold"), held(None), None, None, Waits, Kind::Hold, Back::Release),
        (
            "the fleet is held",
            refused("cooldown"),
            cooling(soon),
            Some(hold(Some(late))),
            None,
            Waits,
            Kind::Hold,
            Back::At(late),
        ),
        ("both are held", refused("hold"), held(Some(soon)), Some(hold(None)), None, Waits, Kind::Hold, Back::Release),
        (
            "held, and cooling for longer",
            refused("hold"),
            ScopeState { hold: Some(hold(Some(soon))), ..cooling(late) },
            None,
            None,
            Waits,
            Kind::Hold,
            Back::At(late),
        ),
        (
            "held, and done besides",
            rests(RestKind::Done, None),
            held(Some(soon)),
            None,
            None,
            Waits,
            Kind::Hold,
            Back::Wake,
        ),
        (
            "cooling, and naps for longer",
            rests(RestKind::Rest, Some(late)),
            cooling(soon),
            None,
            None,
            Waits,
            Kind::Cooldown,
            Back::At(late),
        ),
        ("resting", rests(RestKind::Rest, Some(soon)), guarded(), None, None, Waits, Kind::Resting, Back::At(soon)),
        ("done", rests(RestKind::Done, None), free(), None, None, Waits, Kind::Done, Back::Wake),
        ("blocked", rests(RestKind::Blocked, Some(late)), free(), None, None, Waits, Kind::Blocked, Back::At(late)),
        ("waits for a topic", rests(RestKind::WaitFor, None), free(), None, None, Waits, Kind::WaitFor, Back::Wake),
        ("parked", rests(RestKind::Parked, None), free(), None, None, Waits, Kind::Parked, Back::Client),
        (
            "woken, and the guard is closed",
            woken(rests(RestKind::Done, None)),
            guarded(),
            None,
            None,
            Waits,
            Kind::Guard,
            Back::At(NOW + 12_000),
        ),
        ("quota", refused("quota"), free(), None, used_up, Waits, Kind::Quota, Back::At(late)),
        (
            "guard, and a quota besides",
            refused("min_interval"),
            guarded(),
            None,
            used_up,
            Waits,
            Kind::Guard,
            Back::At(late),
        ),
        ("its time is over", refused("cooldown"), cooling(NOW), None, None, Waits, Kind::Cooldown, Back::Now),
        (
            "its time came long ago",
            refused("cooldown"),
            cooling(NOW - 7000),
            None,
            None,
            Waits,
            Kind::Cooldown,
            Back::Later,
        ),
    ];
    let policy = Policy::default();
    for (what, session, scope, fleet_hold, quota, engine, kind, back) in cases {
        let session = SessionState { seen: NOW - 60_000, ..session };
        let facts = Facts {
            park_max: 600_000,
            policy: &policy,
            fleet_hold: fleet_hold.as_ref(),
            scope: &scope,
            session: &session,
            quota,
            engine,
            hearsay: false,
            undecided: None,
            now: NOW,
        };
        assert_eq!(of(&facts), (kind, back), "{what}");
        // If only the server knows the state, only the waiting engine is shown.
        let seen = matches!(kind, Kind::Ended | Kind::NeedsYou);
        let unknown = if seen || engine == Waits { (kind, back) } else { (Kind::Unknown, Back::Nothing) };
        assert_eq!(of(&Facts { hearsay: true, ..facts }), unknown, "{what}");
        // A turn without an event for long may have been interrupted. Time alone changes no other state.
        let silent = SessionState { seen: NOW - 600_001, ..session.clone() };
        let expected = if kind == Kind::Running { Kind::NoEvent } else { kind };
        assert_eq!(of(&Facts { session: &silent, ..facts }).0, expected, "{what}");
    }
}
