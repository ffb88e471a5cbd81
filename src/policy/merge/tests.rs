use super::*;
use crate::policy::process::Process;
use crate::policy::rest::RestKind;
use crate::policy::work::Claimed;

/// The clock there is 1000 behind.
const CLOCKS: Clocks = Clocks { here: 6000, there: 5000 };

fn known(fence: Option<i64>, by: &str) -> SessionState {
    SessionState { fence, seen: 1, last_reason: by.to_owned(), ..SessionState::default() }
}

fn begun(fence: i64, by: &str, at: Ms, id: &str) -> SessionState {
    SessionState { begun: Some(Begun { at, id: id.to_owned() }), ..known(Some(fence), by) }
}

#[test]
fn the_side_with_the_newer_turn_gives_the_session_its_fence() {
    let here = |at, id| begun(3, "here", at, id);
    let there = |at, id| begun(7, "there", at, id);
    let unseen = SessionState { seen: 0, ..known(None, "there") };
    for (name, base, here, there, expected) in [
        ("known on neither side", None, known(None, "here"), unseen, (None, "here")),
        ("seen there alone", None, known(None, "here"), known(None, "there"), (None, "there")),
        ("no fence here", None, known(None, "here"), known(Some(7), "there"), (Some(7), "there")),
        ("no fence there", None, known(Some(3), "here"), known(None, "there"), (Some(3), "here")),
        ("the same turn", None, known(Some(7), "here"), known(Some(7), "there"), (Some(7), "there")),
        ("a larger fence here", None, known(Some(8), "here"), known(Some(7), "there"), (Some(8), "here")),
        (
            "a fence that was lowered there",
            Some(8),
            known(Some(8), "here"),
            known(Some(7), "there"),
            (Some(7), "there"),
        ),
        ("nothing new here", Some(3), here(5999, "a"), there(1, "b"), (Some(7), "there")),
        ("unknown beginnings", None, known(Some(3), "here"), there(1, "b"), (Some(7), "there")),
        ("the same Stop event", None, here(1, "a"), there(4000, "a"), (Some(7), "here")),
        ("two prompts", None, here(1, ""), there(4000, ""), (Some(7), "there")),
        ("later here", None, here(5000, "a"), there(4000, "b"), (Some(8), "here")),
        ("earlier here", None, here(4999, "a"), there(4000, "b"), (Some(7), "there")),
        ("earlier here, and nothing new there", Some(7), here(4999, "a"), there(4000, "b"), (Some(8), "here")),
    ] {
        let base = base.map(|fence| known(Some(fence), "base"));
        let merged = session(base.as_ref(), &here, &there, CLOCKS);
        assert_eq!((merged.fence, merged.last_reason.as_str()), expected, "{name}");
    }
}

#[test]
fn a_session_that_moves_takes_what_it_does_not_know_from_the_other_side() {
    let there = SessionState {
        scope: "scope".to_owned(),
        name: "name".to_owned(),
        named_by_project: true,
        label: "label".to_owned(),
        project: "project".to_owned(),
        ..begun(7, "there", 900, "b")
    };
    let moved = |here: &SessionState| session(None, here, &there, CLOCKS);
    let here = SessionState { slot: Some(77), seen: 5500, admitted: there.begun.clone(), ..known(Some(8), "here") };
    let expected = SessionState {
        slot: Some(0),
        seen: 4500,
        admitted: None,
        fence: Some(8),
        last_reason: "here".to_owned(),
        ..there.clone()
    };
    assert_eq!(moved(&here), expected);
    let own = SessionState {
        scope: "own".to_owned(),
        name: "other".to_owned(),
        label: "window".to_owned(),
        project: "folder".to_owned(),
        ..begun(8, "here", 5700, "a")
    };
    let begun = Some(Begun { at: 4700, id: "a".to_owned() });
    assert_eq!(moved(&own), SessionState { begun, seen: 0, ..own.clone() });
}

#[test]
fn of_one_turn_both_sides_know_a_part() {
    let process = Some(Process::numbered(1));
    let here = SessionState {
        count: 3,
        gate: true,
        failures: 4,
        phase: Phase::Expired,
        pid: process,
        seen: 5500,
        ..known(Some(7), "here")
    };
    let there = SessionState { count: 2, started: true, failures: 5, client: process, ..known(Some(7), "there") };
    let expected = SessionState {
        count: 3,
        gate: true,
        started: true,
        failures: 5,
        phase: Phase::Expired,
        pid: process,
        client: process,
        seen: 4500,
        ..known(Some(7), "there")
    };
    assert_eq!(session(None, &here, &there, CLOCKS), expected);
    let back = session(None, &there, &SessionState { seen: 5500, ..here }, CLOCKS);
    assert_eq!(back, SessionState { seen: 5500, last_reason: "here".to_owned(), ..expected });
}

/// What of a session is merged by itself: the claim, and the notes with their depth.
#[test]
fn the_changed_side_gives_the_claim_and_the_notes() {
    let state = |id: &str, depth: u32| SessionState {
        work: (!id.is_empty()).then(|| Claimed { id: id.to_owned(), ..Claimed::default() }),
        woken: depth == 2,
        note: id.to_owned(),
        note_depth: depth,
        ..known(Some(7), "")
    };
    let (none, one, two) = (state("", 0), state("e1", 1), state("e2", 2));
    for (base, here, there, work, wakes) in [
        (Some(&one), &one, &two, "e2", (true, "e2", 2)),
        (Some(&one), &two, &one, "e2", (true, "e2", 2)),
        (Some(&one), &none, &one, "", (false, "", 0)),
        (Some(&none), &one, &two, "e1", (true, "e2\ne1", 2)),
        (None, &one, &none, "e1", (false, "e1", 1)),
        (None, &none, &two, "e2", (true, "e2", 2)),
        (None, &two, &one, "e2", (true, "e1\ne2", 2)),
    ] {
        let merged = session(base, here, there, CLOCKS);
        let found = merged.work.as_ref().map_or("", |work| &work.id);
        let notes = (merged.woken, merged.note.as_str(), merged.note_depth);
        assert_eq!((found, notes), (work, wakes), "{base:?} {here:?} {there:?}");
    }
}

#[test]
fn counts_are_those_of_the_side_that_changed_them() {
    let counted = |n: u32| {
        let mut scope = ScopeState { api_strikes: n, api_row: n, api_holds: n, ..ScopeState::default() };
        (scope.stop.strikes, scope.compact.strikes) = (n, n);
        (scope.stop.attempts_keep, scope.quota.keep) = (Ms::from(n), Ms::from(n));
        scope
    };
    for (base, here, there, expected) in [
        (Some(2), 2, 1, 1),
        (Some(2), 1, 2, 1),
        (Some(2), 1, 0, 1),
        (Some(2), 3, 4, 4),
        (None, 1, 2, 2),
        (None, 2, 1, 2),
    ] {
        let merged = scope(base.map(counted).as_ref(), &counted(here), &counted(there), CLOCKS);
        let keep = Ms::from(here.max(there));
        let mut all = counted(expected);
        (all.stop.attempts_keep, all.quota.keep) = (keep, keep);
        assert_eq!(merged, all, "{base:?} {here} {there}");
    }
}

/// Every cooldown of a scope is one that was not known there. The reset time among them is then a cooldown of the scope alone.
#[test]
fn each_cooldown_is_brought_along() {
    let span = |id| Some(Span { id, ..Span::new(5500, 6700) });
    let mut here = ScopeState { api: span(1), api_own: span(2), api_of_key: true, ..ScopeState::default() };
    here.api_model = "opus".to_owned();
    (here.stop.cooldown, here.compact.cooldown) = (span(3), span(4));
    let merged = scope(None, &here, &ScopeState::default(), CLOCKS);
    let brought = |id| Some(Span { id, ..Span::new(4500, 5700) });
    let found = [merged.api, merged.api_own, merged.stop.cooldown, merged.compact.cooldown];
    assert_eq!(found, [1, 2, 3, 4].map(brought));
    assert_eq!((merged.api_of_key, merged.api_model.as_str()), (false, ""));
    let there = ScopeState { api: brought(1), api_of_key: true, api_model: "opus".to_owned(), ..ScopeState::default() };
    let merged = scope(None, &here, &there, CLOCKS);
    assert_eq!((merged.api, merged.api_of_key, merged.api_model.as_str()), (brought(1), true, "opus"));
    // A cooldown that is over on its side is not brought, and one that began in the future begins now.
    let over = ScopeState { api: Some(Span { id: 1, ..Span::new(5500, 6000) }), ..ScopeState::default() };
    assert_eq!(scope(None, &over, &ScopeState::default(), CLOCKS).api, None);
    let ahead = ScopeState { api: Some(Span { id: 1, ..Span::new(6500, 6700) }), ..ScopeState::default() };
    assert_eq!(scope(None, &ahead, &ScopeState::default(), CLOCKS).api, Some(Span { id: 1, ..Span::new(5000, 5700) }));
}

#[test]
fn a_hold_brings_its_way_to_end_and_a_person_s_goes_before_one_of_errors() {
    let hold = |id, by: &str, until| Some(Hold { reason: String::new(), by: by.to_owned(), since: 5000, until, id });
    let side = |hold: Option<Hold>, hold_at_once| FleetState { hold, hold_at_once, ..FleetState::default() };
    for (here, there, expected) in [
        (hold(1, "ann", Some(9000)), None, (1, true)),
        (None, hold(2, "ann", Some(9000)), (2, false)),
        (hold(1, "ann", Some(9000)), hold(2, "bob", Some(8001)), (2, false)),
        (hold(1, "ann", Some(9000)), hold(2, "bob", Some(8000)), (2, false)),
        (hold(1, "ann", Some(9000)), hold(2, "bob", Some(7999)), (1, true)),
        (hold(1, "ann", None), hold(2, "bob", Some(9_999)), (1, true)),
        (hold(1, "ann", Some(7000)), hold(2, BY_API, Some(9_999)), (1, true)),
        (hold(1, BY_API, None), hold(2, "bob", Some(5001)), (2, false)),
        (hold(1, BY_API, Some(9000)), hold(2, "bob", Some(5000)), (1, true)),
    ] {
        let merged = fleet(None, &side(here.clone(), true), &side(there.clone(), false), CLOCKS);
        assert_eq!((merged.hold.unwrap().id, merged.hold_at_once), expected, "{here:?} {there:?}");
    }
}

#[test]
fn the_last_release_of_both_sides_counts() {
    let side = |released| ScopeState { released, ..ScopeState::default() };
    for (base, here, there, expected) in [
        (None, Some(5900), None, Some(4900)),
        (None, Some(6000), Some(4999), Some(5000)),
        (None, Some(5900), Some(4950), Some(4950)),
        (None, Some(6001), None, None),
        (Some(5900), Some(5900), None, None),
        (Some(5800), Some(5900), None, Some(4900)),
    ] {
        let base = base.map(|at| side(Some(at)));
        let merged = scope(base.as_ref(), &side(here), &side(there), CLOCKS);
        assert_eq!(merged.released, expected, "{base:?} {here:?} {there:?}");
    }
}

/// A fact of an older program has no id: it is known by its beginning, which the other store's clock must not change.
#[test]
fn a_fact_without_an_id_keeps_its_identity() {
    let (since, until) = (5000, Some(9000));
    let hold = Hold { reason: String::new(), by: "ann".to_owned(), since, until, id: 0 };
    let rest = Rest { kind: RestKind::Done, since, until, topic: String::new(), id: 0 };
    let span = Span::new(since, 9000);
    let ids = [hold.identity(), rest.identity(), span.identity()];
    let here = ScopeState { hold: Some(hold), api: Some(span), ..ScopeState::default() };
    let scope = scope(None, &here, &ScopeState::default(), CLOCKS);
    let here = SessionState { rest: Some(rest), ..known(Some(7), "here") };
    let session = session(None, &here, &known(Some(7), "there"), CLOCKS);
    assert_eq!([scope.hold.unwrap().id, session.rest.unwrap().id, scope.api.unwrap().id], ids);
}
