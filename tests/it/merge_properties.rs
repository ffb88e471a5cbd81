//! Two stores decided apart, on clocks that may be an hour apart: tests the facts that the merge keeps and lifts.
use frosty::policy::documents::{Begun, FleetState, ScopeState, SessionState};
use frosty::policy::fact::{FactId, Span};
use frosty::policy::hold::Hold;
use frosty::policy::limits::Ms;
use frosty::policy::merge;
use frosty::policy::merge::Clocks;
use frosty::policy::rest::{Rest, RestKind};
use proptest::option::of;
use proptest::prelude::*;

const NOW: Ms = 1_800_000_000_000;
const HOUR: Ms = 3_600_000;

/// A fact by its number: how long ago it began, and how much is left of it; the last one has no end.
fn span(id: FactId, now: Ms) -> Span {
    let id_ms = Ms::try_from(id).unwrap();
    Span { start: now - 1_000 * id_ms, end: now + 700 * id_ms, id }
}

fn hold(id: FactId, now: Ms) -> Hold {
    let Span { start, end, .. } = span(id, now);
    let until = (id != 6).then_some(end);
    Hold {
        reason: id.to_string(),
        by: if id.is_multiple_of(2) { "api".into() } else { "ann".into() },
        since: start,
        until,
        id,
    }
}

/// One side: the number of the fact in each place, and what it lifted.
type Side = ([Option<FactId>; 5], u32, Vec<FactId>);

fn side() -> impl Strategy<Value = Side> {
    let fact = || of(1..=6_u64);
    ([fact(), fact(), fact(), fact(), fact()], 0..4_u32, proptest::collection::vec(1..=6_u64, 0..3))
}

#[derive(Debug, Clone, Default, PartialEq)]
struct All {
    scope: ScopeState,
    fleet: FleetState,
    session: SessionState,
}

fn all(side: &Side, now: Ms) -> All {
    let ([scopes, fleets, stop, api, rest], strikes, lifted) = side;
    let lifted_but = |own: &Option<FactId>| lifted.iter().copied().filter(|id| Some(*id) != *own).collect::<Vec<_>>();
    let mut all = All::default();
    all.scope.hold = scopes.map(|id| hold(id, now));
    all.scope.lifted = lifted_but(scopes);
    all.scope.stop.cooldown = stop.map(|id| span(id, now));
    all.scope.stop.strikes = *strikes;
    all.scope.api = api.map(|id| span(id, now));
    all.fleet.hold = fleets.map(|id| hold(id, now));
    all.fleet.lifted = lifted_but(fleets);
    all.session.rest = rest.map(|id| Rest {
        kind: RestKind::Rest,
        since: hold(id, now).since,
        until: hold(id, now).until,
        topic: String::new(),
        id,
    });
    all.session.lifted = lifted_but(rest);
    all.session.fence = Some(i64::from(*strikes));
    all.session.begun = Some(Begun { at: now - Ms::from(*strikes), id: strikes.to_string() });
    all.session.seen = now - 5;
    all
}

fn merge(base: Option<&All>, here: &All, there: &All, clocks: Clocks) -> All {
    All {
        scope: merge::scope(base.map(|b| &b.scope), &here.scope, &there.scope, clocks),
        fleet: merge::fleet(base.map(|b| &b.fleet), &here.fleet, &there.fleet, clocks),
        session: merge::session(base.map(|b| &b.session), &here.session, &there.session, clocks),
    }
}

/// The fact in a place (its id and its end), and what its document lifted.
type Place = (Option<(FactId, Option<Ms>)>, Vec<FactId>);

fn places(all: &All) -> [Place; 5] {
    let hold = |hold: &Option<Hold>| hold.as_ref().map(|h| (h.id, h.until));
    let span = |span: Option<Span>| span.map(|s| (s.id, Some(s.end)));
    [
        (hold(&all.scope.hold), all.scope.lifted.clone()),
        (hold(&all.fleet.hold), all.fleet.lifted.clone()),
        (span(all.scope.stop.cooldown), Vec::new()),
        (span(all.scope.api), Vec::new()),
        (all.session.rest.as_ref().map(|r| (r.id, r.until)), all.session.lifted.clone()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_merge_told_twice_is_told_once(base in of(side()), here in side(), there in side(), ahead in -HOUR..=HOUR) {
        let clocks = Clocks { here: NOW + ahead, there: NOW };
        let base = base.map(|base| all(&base, clocks.here));
        let (here, there) = (all(&here, clocks.here), all(&there, clocks.there));
        let once = merge(base.as_ref(), &here, &there, clocks);
        prop_assert_eq!(&merge(base.as_ref(), &here, &once, clocks), &once);
    }

    #[test]
    fn a_release_is_never_forgotten(base in of(side()), here in side(), there in side(), ahead in -HOUR..=HOUR) {
        let clocks = Clocks { here: NOW + ahead, there: NOW };
        let base = base.map(|base| all(&base, clocks.here));
        let (here, there) = (all(&here, clocks.here), all(&there, clocks.there));
        let merged = places(&merge(base.as_ref(), &here, &there, clocks));
        let (here, there, base) = (places(&here), places(&there), base.as_ref().map(places));
        for i in 0..5 {
            let Some((id, _)) = merged[i].0 else { continue };
            prop_assert!(!here[i].1.contains(&id) && !there[i].1.contains(&id), "place {i}");
            if base.as_ref().is_some_and(|base| base[i].0.is_some_and(|(known, _)| known == id)) {
                let stands = |side: &Place| side.0.is_some_and(|(own, _)| own == id);
                prop_assert!(stands(&here[i]) && stands(&there[i]), "place {i}");
            }
        }
    }

    #[test]
    fn no_restriction_is_lost(base in of(side()), here in side(), there in side(), ahead in -HOUR..=HOUR) {
        let clocks = Clocks { here: NOW + ahead, there: NOW };
        let base = base.map(|base| all(&base, clocks.here));
        let (here, there) = (all(&here, clocks.here), all(&there, clocks.there));
        let merged = places(&merge(base.as_ref(), &here, &there, clocks));
        let (here, there, base) = (places(&here), places(&there), base.as_ref().map(places));
        let left = |end: Option<Ms>, now: Ms| end.map_or(Ms::MAX, |end| end - now);
        for i in 0..5 {
            for (own, other, now) in [(&here[i], &there[i], clocks.here), (&there[i], &here[i], clocks.there)] {
                let Some((id, end)) = own.0 else { continue };
                let in_base = base.as_ref().is_some_and(|base| base[i].0.is_some_and(|(known, _)| known == id));
                let is_lifted = other.1.contains(&id) || (in_base && other.0.is_none_or(|(theirs, _)| theirs != id));
                // A person's hold wins over one of API errors.
                let is_less = i < 2 && id.is_multiple_of(2);
                let kept = merged[i].0.map_or(0, |(_, end)| left(end, clocks.there));
                prop_assert!(is_lifted || (is_less && kept > 0) || kept >= left(end, now), "place {i}: {kept}");
            }
        }
    }

    /// The clock here is an hour ahead or behind: the merged documents are the same.
    #[test]
    fn no_clock_has_a_say(base in of(side()), here in side(), there in side(), ahead in -HOUR..=HOUR) {
        let merged = |ahead: Ms| {
            let clocks = Clocks { here: NOW + ahead, there: NOW };
            let base = base.as_ref().map(|base| all(base, clocks.here));
            merge(base.as_ref(), &all(&here, clocks.here), &all(&there, clocks.there), clocks)
        };
        prop_assert_eq!(merged(ahead), merged(0));
    }
}

/// A document of an older version of the program has no ids, and its facts are identified by their beginning.
#[test]
fn a_hold_without_an_id_is_lifted_too() {
    let held = FleetState { hold: Some(Hold { id: 0, ..hold(3, NOW) }), ..FleetState::default() };
    let clocks = Clocks { here: NOW, there: NOW };
    let free = FleetState::default();
    assert_eq!(merge::fleet(Some(&held), &free, &held, clocks).hold, None);
    assert_eq!(merge::fleet(Some(&held), &held, &free, clocks).hold, None);
    assert_eq!(merge::fleet(None, &held, &free, clocks).hold.map(|h| h.reason), Some("3".to_owned()));
}

/// A cooldown that a release cut short on one side is over on the other.
#[test]
fn a_cooldown_that_was_cut_short_stays_short() {
    let clocks = Clocks { here: NOW + HOUR, there: NOW };
    let open = |now| ScopeState { api: Some(span(5, now)), ..ScopeState::default() };
    let mut cut = open(clocks.here);
    cut.api.as_mut().unwrap().end = clocks.here;
    let base = open(clocks.here);
    assert_eq!(merge::scope(Some(&base), &cut, &open(NOW), clocks).api.unwrap().end, NOW);
    let mut there = open(NOW);
    there.api.as_mut().unwrap().end = NOW;
    assert_eq!(merge::scope(Some(&base), &base, &there, clocks).api.unwrap().end, NOW);
}

/// A wake-up and its note are carried once, and one that was passed to the agent here is not passed on there.
#[test]
fn notes_are_brought_once() {
    let clocks = Clocks { here: NOW, there: NOW };
    let session = |woken: bool, note: &str| SessionState { woken, note: note.into(), ..SessionState::default() };
    let note = |base: Option<&SessionState>, here: &SessionState, there: &SessionState| {
        let merged = merge::session(base, here, there, clocks);
        (merged.woken, merged.note)
    };
    let (woken, quiet, more) = (session(true, "look"), session(false, ""), session(true, "look\nhere"));
    assert_eq!(note(Some(&woken), &quiet, &woken), (false, String::new()));
    assert_eq!(note(Some(&woken), &woken, &quiet), (false, String::new()));
    assert_eq!(note(Some(&quiet), &woken, &quiet), (true, "look".into()));
    assert_eq!(note(None, &woken, &more), (true, "look\nhere".into()));
}

/// A release in a store without its data lifts the holds opened before it, which the store lost, and none that was opened since.
#[test]
fn a_release_at_a_store_that_lost_its_data_lifts_what_was_kept_of_it() {
    let clocks = Clocks { here: NOW + HOUR, there: NOW };
    let (kept, opened_here) = (hold(3, clocks.here), hold(5, clocks.here));
    for (own, released, stands) in [
        (&kept, Some(NOW - 10), false),
        (&kept, Some(NOW - 10_000), true),
        (&kept, None, true),
        (&opened_here, Some(NOW - 10), true),
    ] {
        let mut found = Some(own.clone());
        merge::heed_release(&mut found, Some(&kept), released, clocks);
        assert_eq!(found.is_some(), stands, "{own:?} {released:?}");
    }
}
