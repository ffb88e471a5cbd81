//! Properties of the queue: an entry is always in exactly one state, nothing waits for ever, and no old claim ends an entry.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::entry::{List, Priority, WorkEntry};
use super::queue::{InHand, Queue};
use super::{Move, RecordState, WorkMode, WorkPolicy, WorkState};
use crate::policy::limits::{Ms, Policy};
use crate::policy::process::Process;
use crate::policy::request::Event;

#[test]
fn an_entry_of_an_older_program_is_stored_as_it_was() {
    let old = r#"{"id":"echo:1","text":"go","priority":"normal","added":7,"number":3,"after":[0,2]}"#;
    let entry: WorkEntry = serde_json::from_str(old).unwrap();
    assert_eq!((entry.model.as_str(), serde_json::to_string(&entry).unwrap().as_str()), ("", old));
}

#[test]
fn a_queue_is_reported_again_after_a_while() {
    let queue = Queue { reported: 5000, ..Queue::default() };
    assert_eq!([5000, 5999, 6000, 4999].map(|now| queue.may_report(now, 1000)), [false, false, true, true]);
    assert!(Queue::default().may_report(1_700_000_000_000, 1000));
}

/// The lists of a store, in memory: each applies the moves, as the server and the files do.
#[derive(Default)]
struct Lists {
    queue: Queue,
    lists: BTreeMap<&'static str, BTreeMap<(Ms, String), WorkEntry>>,
    records: BTreeMap<String, RecordState>,
    seen: Vec<(u64, bool)>,
}

impl Lists {
    fn load(&self, picked: Option<&str>) -> WorkState {
        let all = |list: List| self.lists.get(list.code()).into_iter().flatten().map(|(_, entry)| entry.clone());
        let picked = picked.and_then(|id| {
            List::ALL.into_iter().find_map(|list| Some((list, all(list).find(|entry| entry.id == id)?)))
        });
        WorkState {
            agent: "echo".to_owned(),
            queue: self.queue.clone(),
            heads: [List::High, List::Normal, List::Low].map(|list| all(list).next()),
            later: all(List::Later).take(8).collect(),
            picked,
            seen: self.seen.clone(),
            moves: Vec::new(),
        }
    }

    fn commit(&mut self, state: WorkState) {
        self.queue = state.queue;
        for change in state.moves {
            match change {
                Move::Take(list, entry) => {
                    let gone =
                        self.lists.entry(list.code()).or_default().remove(&(entry.score(list), entry.id.clone()));
                    assert!(gone.is_some(), "{} is not in {}", entry.id, list.code());
                }
                Move::Put(list, entry) => {
                    let place = (entry.score(list), entry.id.clone());
                    let before = self.lists.entry(list.code()).or_default().insert(place, entry);
                    assert_eq!(before, None);
                }
                Move::Note(record) => {
                    self.records.insert(record.id.clone(), record.state);
                }
            }
        }
        self.check();
    }

    /// Each entry is in one place, the counts are right, and the record names the state.
    fn check(&self) {
        let mut states: BTreeMap<&str, RecordState> = BTreeMap::new();
        let mut add = |id: &'_ str, state| {
            let id: &str = self.records.get_key_value(id).expect("each entry has a record").0;
            assert_eq!(states.insert(id, state), None, "{id} is in two places");
        };
        for list in List::ALL {
            let state = if list == List::Dead { RecordState::Dead } else { RecordState::Waiting };
            self.lists.get(list.code()).into_iter().flatten().for_each(|((_, id), _)| add(id, state));
        }
        self.queue.hand.iter().for_each(|in_hand| add(&in_hand.entry.id, RecordState::InHand));
        for (id, state) in &self.records {
            let found = states.get(id.as_str()).copied();
            assert_eq!(found.unwrap_or(*state), *state, "{id}");
            assert_eq!(found.is_none(), state.is_over(), "{id} is lost");
        }
        let count = |list: List| self.lists.get(list.code()).map_or(0, BTreeMap::len) as u64;
        assert_eq!(self.queue.waiting, [List::High, List::Normal, List::Low].map(count));
        assert_eq!((self.queue.later, self.queue.dead), (count(List::Later), count(List::Dead)));
    }
}

/// One change in a history.
#[derive(Debug, Clone)]
enum Change {
    Add(Priority, Ms),
    Claim(u8),
    Finish(u8, bool),
    GiveBack(u8),
    Dies(u8),
    Drop(u16),
    Retry(u16),
    Passes(Ms),
}

fn change() -> impl Strategy<Value = Change> {
    let priority = prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)];
    prop_oneof![
        6 => (priority, prop_oneof![4 => Just(0), 1 => 1..200_000_i64]).prop_map(|(p, d)| Change::Add(p, d)),
        6 => (0..4_u8).prop_map(Change::Claim),
        4 => (0..4_u8, any::<bool>()).prop_map(|(n, old)| Change::Finish(n, old)),
        2 => (0..4_u8).prop_map(Change::GiveBack),
        1 => (0..4_u8).prop_map(Change::Dies),
        1 => any::<u16>().prop_map(Change::Drop),
        1 => any::<u16>().prop_map(Change::Retry),
        2 => (1..400_000_i64).prop_map(Change::Passes),
    ]
}

/// How often later entries overtook each entry that waits, from the time at which it got its place.
#[derive(Default)]
struct Overtaken {
    /// The priority of each entry that waits, and the turn at which it got its place.
    placed: BTreeMap<String, (Priority, usize)>,
    /// The same, of the entries that do not wait any more too.
    last: BTreeMap<String, (Priority, usize)>,
    by_high: BTreeMap<String, u64>,
    by_both: BTreeMap<String, u64>,
}

impl Overtaken {
    fn follow(&mut self, moves: &[Move], turn: &mut usize) {
        for change in moves {
            match change {
                Move::Put(List::High | List::Normal | List::Low, entry) => {
                    *turn += 1;
                    self.placed.insert(entry.id.clone(), (entry.priority, *turn));
                    self.last.insert(entry.id.clone(), (entry.priority, *turn));
                    self.by_high.insert(entry.id.clone(), 0);
                    self.by_both.insert(entry.id.clone(), 0);
                }
                Move::Take(List::High | List::Normal | List::Low, entry) => {
                    self.placed.remove(&entry.id);
                }
                _ => {}
            }
        }
    }

    fn claimed(&mut self, of: (Priority, usize)) {
        let (priority, turn) = of;
        for (id, (waiting, placed)) in &self.placed {
            if *placed >= turn || priority == Priority::Low {
                continue;
            }
            let high = self.by_high.get_mut(id).unwrap();
            *high += u64::from(priority == Priority::High);
            assert!(*waiting != Priority::Normal || *high <= 4, "{id} was overtaken by {high} high entries");
            let both = self.by_both.get_mut(id).unwrap();
            *both += 1;
            assert!(*waiting != Priority::Low || *both <= 12, "{id} was overtaken by {both} entries");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_loses_nothing_and_starves_nothing(history in prop::collection::vec(change(), 1..200)) {
        let policy = WorkPolicy { max_attempts: 3, ..WorkPolicy::default() };
        let (mut lists, mut now, mut turn, mut next) = (Lists::default(), 1_000_000, 0, 0);
        let mut order = Overtaken::default();
        // The claims that each session once had.
        let mut claims: BTreeMap<u8, Vec<(String, u64)>> = BTreeMap::new();
        let mut done: BTreeSet<String> = BTreeSet::new();
        for change in history {
            let id = |n: u16| lists.records.keys().nth(usize::from(n) % lists.records.len().max(1)).cloned();
            let picked = match &change {
                Change::Drop(n) | Change::Retry(n) => id(*n),
                _ => None,
            };
            let mut state = lists.load(picked.as_deref());
            match change {
                Change::Add(priority, delay) => {
                    let entry = WorkEntry { priority, ..WorkEntry::default() };
                    state.add(entry, Some(now + delay), now);
                }
                Change::Claim(session) => {
                    let name = session.to_string();
                    next += 1;
                    if let Some(in_hand) = state.claim(&name, next, &InHand::default(), now) {
                        order.follow(&state.moves, &mut turn);
                        let at = order.last.get(&in_hand.entry.id).copied().unwrap();
                        order.claimed(at);
                        claims.entry(session).or_default().push((in_hand.entry.id, in_hand.claim));
                    }
                }
                Change::Finish(session, old) => {
                    let own = claims.entry(session).or_default();
                    let one = if old { own.first() } else { own.last() };
                    if let Some((id, claim)) = one.cloned() {
                        let is_held = state.held(&id, claim).is_some();
                        prop_assert_eq!(state.finish(&id, Some(claim), now).is_ok(), is_held);
                        prop_assert!(!is_held || done.insert(id), "acknowledged twice");
                    }
                }
                Change::GiveBack(session) => {
                    if let Some((id, claim)) = claims.entry(session).or_default().pop() {
                        let is_held = state.held(&id, claim).is_some();
                        prop_assert_eq!(state.give_back(&id, Some(claim), "no", &policy, now).is_ok(), is_held);
                    }
                }
                Change::Dies(session) => {
                    if let Some((_, claim)) = claims.entry(session).or_default().pop() {
                        state.seen = vec![(claim, false)];
                        state.expire(&policy, now);
                        prop_assert!(!state.queue.hand.iter().any(|in_hand| in_hand.claim == claim));
                    }
                }
                Change::Drop(_) => {
                    if let Some(id) = picked {
                        let _ = state.drop_entry(&id, now);
                    }
                }
                Change::Retry(_) => {
                    let _ = state.retry(now);
                }
                Change::Passes(time) => now += time,
            }
            let claimed = state.moves.iter().any(|m| matches!(m, Move::Note(r) if r.state == RecordState::InHand));
            if !claimed {
                order.follow(&state.moves, &mut turn);
            }
            lists.commit(state);
        }
    }
}

#[test]
fn entries_are_claimed_by_priority_and_age() {
    let (mut lists, now) = (Lists::default(), 5);
    let add = |lists: &mut Lists, priority| {
        let mut state = lists.load(None);
        let id = state.add(WorkEntry { priority, ..WorkEntry::default() }, None, now).id;
        lists.commit(state);
        id
    };
    let claim = |lists: &mut Lists| {
        let mut state = lists.load(None);
        let claimed = state.claim("s", 1, &InHand::default(), now).map(|in_hand| in_hand.entry.id);
        lists.commit(state);
        claimed.unwrap()
    };
    let low = add(&mut lists, Priority::Low);
    let normal = add(&mut lists, Priority::Normal);
    let high: Vec<String> = (0..6).map(|_| add(&mut lists, Priority::High)).collect();
    let order: Vec<String> = (0..7).map(|_| claim(&mut lists)).collect();
    assert_eq!(order[..4], high[..4], "high entries come first");
    assert_eq!(order[4], normal, "a normal entry waits behind four later ones");
    assert_eq!(order[5..], high[4..]);
    assert_eq!(claim(&mut lists), low);
}

#[test]
fn a_silent_claim_ends_in_two_steps() {
    let policy = WorkPolicy::default();
    let lease = 7_200_000;
    let mut lists = Lists::default();
    let mut state = lists.load(None);
    state.add(WorkEntry::default(), None, 0);
    let in_hand = state.claim("s", 1, &InHand { host: "far".to_owned(), ..InHand::default() }, 0).unwrap();
    lists.commit(state);
    for (now, seen, held) in [
        (lease - 1, None, true),
        (lease, None, true),
        (lease + 59_999, None, true),
        // A machine that sees the client renews the claim.
        (lease + 59_999, Some(true), true),
        (lease + 60_000, None, true),
        (2 * lease + 60_000, None, true),
        (2 * lease + 120_000, None, false),
    ] {
        let mut state = lists.load(None);
        state.seen = seen.map(|runs| (in_hand.claim, runs)).into_iter().collect();
        state.expire(&policy, now);
        assert_eq!(state.held(&in_hand.entry.id, in_hand.claim).is_some(), held, "{now}");
        lists.commit(state);
    }
    let state = lists.load(None);
    assert_eq!((state.queue.waiting, state.heads[1].as_ref().unwrap().attempts), ([0, 1, 0], 1));
}

#[test]
fn many_failures_open_the_breaker() {
    let policy = WorkPolicy { max_attempts: 1, ..WorkPolicy::default() };
    let mut lists = Lists::default();
    for n in 0..21 {
        let mut state = lists.load(None);
        state.add(WorkEntry::default(), None, n);
        let claimed = state.claim("s", 1, &InHand::default(), n);
        assert_eq!(claimed.is_some(), n < 20, "{n}");
        if let Some(in_hand) = claimed {
            state.give_back(&in_hand.entry.id, None, "no", &policy, n).unwrap();
        }
        lists.commit(state);
    }
    let state = lists.load(None);
    assert_eq!((state.queue.dead, state.queue.broken_until(20)), (20, Some(1_800_000)));
    assert_eq!((state.next_due(20), state.has_work(20)), (Some(1_800_000), false));
    assert!(state.has_work(1_800_000));
}

/// A queue with the entries that are in hand of these clients: the entry, the session, the machine, and the process.
fn in_hand(claims: &[(&str, &str, &str, u32)]) -> WorkState {
    let hand = claims.iter().zip(1..).map(|((id, session, host, pid), claim)| InHand {
        entry: WorkEntry { id: (*id).to_owned(), ..WorkEntry::default() },
        claim,
        session: (*session).to_owned(),
        host: (*host).to_owned(),
        client: Some(Process::numbered(*pid)),
        ..InHand::default()
    });
    WorkState { queue: Queue { hand: hand.collect(), ..Queue::default() }, ..WorkState::default() }
}

fn held(state: &WorkState) -> Vec<&str> {
    state.queue.hand.iter().map(|in_hand| in_hand.entry.id.as_str()).collect()
}

#[test]
fn a_client_has_the_entry_of_one_session_at_a_time() {
    let claims = [("a", "old", "here", 1), ("b", "new", "here", 1), ("c", "old", "far", 1), ("d", "other", "here", 2)];
    let mut state = in_hand(&claims);
    state.release_others("new", ("here", Process::numbered(1)), 5);
    assert_eq!((held(&state), state.queue.waiting), (vec!["b", "c", "d"], [0, 1, 0]));
    assert_eq!(state.heads[1].as_ref().unwrap().attempts, 0, "no attempt has failed");
}

#[test]
fn a_claim_follows_the_client_that_resumed_the_session() {
    let policy = WorkPolicy::default();
    for (host, client, changes) in [
        ("here", Some(1), false),
        ("here", None, false),
        ("far", None, false),
        ("here", Some(2), true),
        ("far", Some(1), true),
    ] {
        let mut state = in_hand(&[("a", "s", "here", 1)]);
        state.seen = vec![(1, false), (9, true)];
        state.renew(1, (host, client.map(Process::numbered)), &policy, 0);
        let in_hand = &state.queue.hand[0];
        let expected = if changes { (host, client) } else { ("here", Some(1)) };
        assert_eq!((in_hand.host.as_str(), in_hand.client.map(|client| client.pid)), expected);
        assert_eq!(state.seen.len(), if changes { 1 } else { 2 }, "what was seen of the earlier client");
    }
}

/// A renewal is a change of the queue, so there is one each quarter of the lease.
#[test]
fn a_claim_is_renewed_seldom_and_at_once_when_it_is_overdue() {
    let policy = WorkPolicy { lease: std::time::Duration::from_secs(4), ..WorkPolicy::default() };
    for (overdue, now, renewed) in [(None, 999, 0), (None, 1000, 1000), (Some(1), 2, 2)] {
        let mut state = in_hand(&[("a", "s", "here", 1)]);
        state.queue.hand[0].overdue = overdue;
        state.renew(1, ("here", Some(Process::numbered(1))), &policy, now);
        assert_eq!((state.queue.hand[0].renewed, state.queue.hand[0].overdue), (renewed, None));
    }
}

/// The changes of the picked entry, by the list in which it is.
#[test]
fn what_a_person_does_with_a_picked_entry() {
    for list in List::ALL {
        let picked = || {
            let entry = WorkEntry { id: "e".to_owned(), attempts: 2, at: 9, ..WorkEntry::default() };
            let queue = Queue { waiting: [1, 1, 1], later: 1, dead: 1, ..Queue::default() };
            WorkState { picked: Some((list, entry)), queue, ..WorkState::default() }
        };
        let last = |state: &WorkState| {
            state.moves.iter().rev().find_map(|one| match one {
                Move::Note(record) => Some((record.state, record.detail.clone())),
                _ => None,
            })
        };
        let mut retried = picked();
        let may_retry = matches!(list, List::Later | List::Dead);
        assert_eq!(retried.retry(5).is_ok(), may_retry, "{list:?}");
        if may_retry {
            assert_eq!(last(&retried), Some((RecordState::Waiting, String::new())));
            let head = retried.heads[1].as_ref().unwrap();
            assert_eq!((head.attempts, head.at, retried.queue.waiting[1]), (0, 0, 2));
            assert_eq!(retried.queue.later + retried.queue.dead, 1);
        }
        let mut finished = picked();
        finished.finish_picked(5).unwrap();
        assert_eq!(last(&finished), Some((RecordState::Done, String::new())), "{list:?}");
        assert!(finished.finish_picked(5).is_err());
        let mut dropped = picked();
        dropped.drop_entry("e", 5).unwrap();
        assert_eq!(last(&dropped), Some((RecordState::Dropped, String::new())), "{list:?}");
        assert!(dropped.drop_entry("e", 5).is_err());
    }
}

#[test]
fn an_attempt_waits_longer_from_one_to_the_next() {
    assert_eq!([0, 1, 2, 3, 4, 99].map(super::backoff), [0, 2, 5, 10, 30, 30].map(|minutes| minutes * 60_000));
    assert!(WorkMode::ALL.iter().all(|mode| WorkMode::from_name(mode.name()) == Some(*mode)));
}

/// The death of a client is an attempt, the end of its session is not.
#[test]
fn an_entry_that_was_let_go_waits_again_or_is_given_up() {
    let policy = WorkPolicy { max_attempts: 2, ..WorkPolicy::default() };
    for (attempts, died, expected) in [
        (0, false, (0, 0, [0, 1, 0])),
        (1, false, (0, 0, [0, 1, 0])),
        (0, true, (1, 0, [0, 1, 0])),
        (1, true, (1, 1, [0, 0, 0])),
    ] {
        let mut state = in_hand(&[("a", "s", "here", 1)]);
        state.queue.hand[0].entry.attempts = attempts;
        state.release("a", 1, died.then_some(&policy), 5).unwrap();
        assert!(state.release("a", 1, None, 5).is_err());
        let found = (state.queue.failures.len(), state.queue.dead, state.queue.waiting);
        assert_eq!(found, expected, "{attempts} {died}");
    }
    for (attempts, later, dead) in [(0, 1, 0), (1, 0, 1)] {
        let mut state = in_hand(&[("a", "s", "here", 1)]);
        state.queue.hand[0].entry.attempts = attempts;
        assert!(state.give_back("a", Some(2), "why", &policy, 5).is_err());
        state.give_back("a", Some(1), "why", &policy, 5).unwrap();
        assert_eq!((state.queue.later, state.queue.dead, state.queue.failures.len()), (later, dead, 1));
        let put = state.moves.iter().find_map(|one| match one {
            Move::Put(list, entry) => Some((*list, entry.at)),
            _ => None,
        });
        assert_eq!(put, Some(if later == 1 { (List::Later, 5 + 120_000) } else { (List::Dead, 5) }));
    }
}

#[test]
fn a_delayed_entry_can_be_claimed_from_its_time_on() {
    let mut state = WorkState::default();
    for at in [10, 20, 30] {
        state.add(WorkEntry { id: at.to_string(), ..WorkEntry::default() }, Some(at), 5);
    }
    assert_eq!(([9, 10].map(|now| state.has_work(now)), state.next_due(5)), ([false, true], Some(10)));
    let in_hand = state.claim("s", 1, &InHand::default(), 20).unwrap();
    assert_eq!((in_hand.entry.id.as_str(), in_hand.entry.at), ("10", 0));
    let later: Vec<&str> = state.later.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!((later, state.queue.later, state.queue.waiting), (vec!["30"], 1, [0, 1, 0]));
}

#[test]
fn which_steps_read_the_queue() {
    let stop = Event::Stop { rest: None };
    for (mode, event, shadow, expected) in [
        (WorkMode::Preferred, stop.clone(), false, true),
        (WorkMode::Preferred, stop.clone(), true, false),
        (WorkMode::Off, stop, false, false),
        (WorkMode::Required, Event::SessionEnd, false, true),
        (WorkMode::Required, Event::StartPrompt { token: String::new() }, false, true),
        (WorkMode::Required, Event::PreCompactAuto, false, false),
        (WorkMode::Required, Event::PersonPrompt, false, false),
    ] {
        let mut policy = Policy::default();
        policy.work.mode = mode;
        assert_eq!(super::rule::reads_queue(&policy, &event, shadow), expected, "{mode:?} {event:?}");
    }
}
