//! The properties of work queues: of each commit that changes one, in the order of the commits, by the store's content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::content::{Content, Files, Held, LISTS, Place, Task};
use super::oracle::DECIDED;
use super::world::{Time, World};
use crate::journal;

/// The most later high entries that overtake a normal one, and the most later entries that overtake a low one.
const NORMAL_IS_OVERTAKEN: u64 = 4;
const LOW_IS_OVERTAKEN: u64 = 12;

/// The fields of a journal entry.
pub(super) type Fields = BTreeMap<String, String>;

/// The time of a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) time: Time,
    /// The same by the store's clock, in milliseconds.
    pub(super) ms: i64,
    /// Whether that clock was stepped shortly before.
    pub(super) is_stepped: bool,
}

/// The place that an entry got in a list, and the entries that overtook it since.
#[derive(Debug)]
struct Order {
    number: u64,
    turn: u64,
    by_high: u64,
    by_both: u64,
}

#[derive(Debug, Default)]
struct Queue {
    places: BTreeMap<String, Place>,
    /// The ids of the entries that are done or dropped.
    over: BTreeSet<String>,
    order: BTreeMap<String, Order>,
    /// The number of commits.
    turn: u64,
    /// The fencing tokens of all claims.
    claims: BTreeSet<u64>,
    is_closed: bool,
}

/// An entry that was taken from a client, because that is gone.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) at: Time,
    pub(super) client: u32,
}

/// The work queues of one store.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    queues: BTreeMap<String, Queue>,
    /// The entries that the store ever had, by the life of its data.
    pub(super) known: BTreeSet<(u64, String)>,
    pub(super) taken: Vec<Taken>,
    /// The first violation.
    pub(super) broken: Option<String>,
    /// How often each kind of change happened.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// The most entries of an agent that may be in hand when a dispatcher claims one.
    pub(super) most: BTreeMap<String, usize>,
    /// The start tokens that were committed with an admission, and those that a client used.
    pub(super) tokens: BTreeSet<String>,
    used: BTreeSet<String>,
    /// The fencing tokens of all claims, those of lost data included.
    claimed: BTreeSet<u64>,
}

/// One commit: what it wrote to the journal, and what is known by an id after it.
pub(super) struct Commit<'c> {
    pub(super) at: At,
    pub(super) fields: &'c Fields,
    pub(super) state: &'c dyn Fn(&str) -> Option<String>,
}

impl Commit<'_> {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn admits(&self) -> bool {
        self.field("next_action") == "CLAUDE_CODE_RESTART"
    }

    /// Returns whether it is a person's command for an entry.
    fn is(&self, event: &str, id: &str) -> bool {
        self.field("event") == event && self.field("work") == id
    }

    /// Returns whether the session of a claim sent this event.
    fn is_own(&self, held: &Held, event: &str) -> bool {
        self.field("event") == event && self.field("session") == held.session
    }

    /// Returns how the session of a claim ended its entry, where it did.
    fn end_by(&self, held: &Held) -> &str {
        let end = self.field("work_end").strip_prefix(&held.task.id).unwrap_or_default();
        if self.field("session") == held.session { end.trim_start() } else { "" }
    }
}

impl Ledger {
    /// Notes a queue as it is after a loss of data.
    pub(super) fn restart(
        &mut self,
        life: u64,
        content: impl Fn(&str) -> Content,
        state: impl Fn(&str) -> Option<String>,
    ) {
        self.used.clear();
        for (agent, queue) in &mut self.queues {
            let before = std::mem::take(queue);
            queue.follow(&content(agent));
            let ids = before.over.into_iter().chain(before.places.into_keys());
            queue.over.extend(ids.filter(|id| matches!(state(id).as_deref(), Some("done" | "dropped"))));
            self.known.extend(queue.places.keys().chain(&queue.over).map(|id| (life, id.clone())));
        }
    }

    /// Returns the number of claims of a queue.
    pub(super) fn claims(&self, agent: &str) -> usize {
        self.queues.get(agent).map_or(0, |queue| queue.claims.len())
    }

    /// Returns whether a claim was committed.
    pub(super) fn has_claimed(&self, claim: u64) -> bool {
        self.claimed.contains(&claim)
    }

    /// Returns whether an entry waits that one more client may have: in its list, or in hand of a client that is gone.
    pub(super) fn waits(&self, agent: &str, most: usize, gone: &BTreeMap<u32, Time>) -> bool {
        let Some(queue) = self.queues.get(agent).filter(|queue| !queue.is_closed) else { return false };
        let is_gone = |place: &Place| matches!(place, Place::Hand(held) if gone.contains_key(&held.client));
        let in_hand = |place: &&Place| matches!(place, Place::Hand(_)) && !is_gone(place);
        let waits = queue.places.values().any(|place| place.is_claimable() || is_gone(place));
        waits && queue.places.values().filter(in_hand).count() < most
    }

    /// Returns the agents whose queues it has seen.
    pub(super) fn agents(&self) -> Vec<String> {
        self.queues.keys().cloned().collect()
    }

    /// Returns whether a session has an entry in hand, or could claim one now.
    pub(super) fn has_work(&self, agent: &str, session: &str) -> bool {
        let Some(queue) = self.queues.get(agent) else { return false };
        queue.places.values().any(|place| match place {
            Place::Hand(held) => held.session == session,
            place => place.is_claimable() && !queue.is_closed,
        })
    }

    /// Compares a queue after a commit with the same queue before it.
    pub(super) fn look(&mut self, life: u64, agent: &str, content: &Content, commit: &Commit<'_>) {
        if self.broken.is_some() {
            return;
        }
        let queue = self.queues.entry(agent.to_owned()).or_default();
        let judged = started(queue, content, commit, self.most.get(agent), &mut self.used);
        let judged = judged.and_then(|()| queue.judge(content, commit, &mut self.taken, &mut self.counts));
        self.claimed.extend(content.held().map(|held| held.claim));
        if commit.admits() {
            self.tokens.extend(content.held().map(|held| held.start.clone()).filter(|start| !start.is_empty()));
        }
        queue.follow(content);
        self.known.extend(queue.places.keys().map(|id| (life, id.clone())));
        if let Err(why) = judged {
            self.broken = Some(format!("the queue of {agent} at {}: {why}", commit.at.time));
        }
    }
}

impl Queue {
    fn follow(&mut self, content: &Content) {
        self.turn += 1;
        self.places = content.places.iter().map(|place| (place.task().id.clone(), place.clone())).collect();
        let turn = self.turn;
        let waits: Vec<&Task> = content.places.iter().filter(|p| p.is_claimable()).map(Place::task).collect();
        self.order.retain(|id, order| waits.iter().any(|task| task.id == *id && task.number == order.number));
        for task in waits {
            let new = || Order { number: task.number, turn, by_high: 0, by_both: 0 };
            self.order.entry(task.id.clone()).or_insert_with(new);
        }
        let claims =
            self.places.values().filter_map(|place| if let Place::Hand(h) = place { Some(h.claim) } else { None });
        self.claims.extend(claims);
        self.is_closed = content.is_closed;
    }

    fn judge(
        &mut self,
        content: &Content,
        commit: &Commit<'_>,
        taken: &mut Vec<Taken>,
        counts: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), String> {
        let mut now: BTreeMap<&str, &Place> = BTreeMap::new();
        for place in &content.places {
            if let Some(other) = now.insert(&place.task().id, place) {
                return Err(format!("an entry is in two places: {other:?} and {place:?}"));
            }
        }
        for (id, before) in &self.places {
            match now.get(id.as_str()) {
                Some(after) => moved(before, after, commit, taken, counts)?,
                None => {
                    ended(id, before, commit, counts)?;
                    self.over.insert(id.clone());
                }
            }
        }
        for (id, place) in &now {
            let state = (commit.state)(id).unwrap_or_default();
            if state != place.state() {
                return Err(format!("{id} is {}, and is known as {state:?}", place.state()));
            }
            if self.over.contains(*id) {
                return Err(format!("{id} was over, and is there again: {place:?}"));
            }
        }
        for (nth, list) in LISTS.iter().enumerate() {
            let count = content.places.iter().filter(|place| matches!(place, Place::In(l, _) if l == list)).count();
            if content.counts[nth] != count as u64 {
                return Err(format!("the list {list} has {count} entries, and counts {}", content.counts[nth]));
            }
        }
        self.claimed(&now, commit, counts)?;
        self.admitted(&now, commit)
    }

    /// Checks a new claim: its number, its session, and the entries that it overtakes.
    fn claimed(
        &mut self,
        now: &BTreeMap<&str, &Place>,
        commit: &Commit<'_>,
        counts: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), String> {
        let mut sessions = BTreeSet::new();
        for (id, place) in now {
            let Place::Hand(held) = place else { continue };
            if !sessions.insert(&held.session) {
                return Err(format!("{} has two entries in hand, one of them is {id}", held.session));
            }
            let before = self.places.get(*id);
            if matches!(before, Some(Place::Hand(before)) if before.claim == held.claim) {
                continue;
            }
            if passes(before, held, commit) {
                *counts.entry("work passed to a client").or_default() += 1;
                continue;
            }
            let by = match held.session.split('-').next() {
                Some("start") => "work claimed for a start",
                Some("run") => "work claimed for a program",
                _ => "work claimed",
            };
            *counts.entry(by).or_default() += 1;
            if self.claims.contains(&held.claim) {
                return Err(format!("the claim {} of {id} is an earlier one", held.claim));
            }
            if held.session != commit.field("session") || !commit.admits() {
                return Err(format!("{id} is claimed for {} without its admission", held.session));
            }
            // One that comes into its list by the same commit is later than all that wait.
            let turn = self.order.get(*id).map_or(self.turn + 1, |order| order.turn);
            let is_high = held.task.priority == "high";
            if held.task.priority != "low" {
                self.overtake(now, turn, is_high, counts)?;
            }
        }
        Ok(())
    }

    fn overtake(
        &mut self,
        now: &BTreeMap<&str, &Place>,
        turn: u64,
        is_high: bool,
        counts: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), String> {
        for (id, order) in &mut self.order {
            let Some(place) = now.get(id.as_str()).filter(|place| place.is_claimable()) else { continue };
            if place.task().number != order.number || order.turn >= turn {
                continue;
            }
            order.by_high += u64::from(is_high);
            order.by_both += 1;
            let (passed, most) = match place.task().priority.as_str() {
                "normal" => (order.by_high, NORMAL_IS_OVERTAKEN),
                "low" => (order.by_both, LOW_IS_OVERTAKEN),
                _ => continue,
            };
            if passed > most {
                return Err(format!("{id} is overtaken by {passed} later entries"));
            }
            if passed == most {
                *counts.entry("work aged").or_default() += 1;
            }
        }
        Ok(())
    }

    /// A session that is admitted has the entry that its prompt names, and without one there was none to claim.
    fn admitted(&self, now: &BTreeMap<&str, &Place>, commit: &Commit<'_>) -> Result<(), String> {
        let (session, id) = (commit.field("session"), commit.field("work"));
        if !commit.admits() {
            return Ok(());
        }
        if id.is_empty() {
            let left = now.iter().find(|(_, place)| place.is_claimable() && !self.is_closed);
            return left
                .map_or(Ok(()), |(id, _)| Err(format!("{session} is admitted without an entry, and {id} waits")));
        }
        match now.get(id) {
            Some(Place::Hand(held)) if held.session == session => Ok(()),
            place => Err(format!("{session} is admitted with {id}, which is {place:?}")),
        }
    }
}

/// Returns whether a commit passes the claim of a dispatcher to the client that it started.
fn passes(before: Option<&Place>, held: &Held, commit: &Commit<'_>) -> bool {
    let Some(Place::Hand(before)) = before else { return false };
    let is_new = before.claim != held.claim && held.start.is_empty();
    is_new && !before.start.is_empty() && commit.is_own(held, "UserPromptSubmit")
}

/// Checks that a dispatcher claims no more than it may, and that a client takes over a claim by its token once.
fn started(
    queue: &Queue,
    content: &Content,
    commit: &Commit<'_>,
    most: Option<&usize>,
    used: &mut BTreeSet<String>,
) -> Result<(), String> {
    let in_hand = content.held().count();
    for held in content.held() {
        let before = queue.places.get(&held.task.id);
        if passes(before, held, commit) {
            let Some(Place::Hand(Held { start, .. })) = before else { continue };
            if !used.insert(start.clone()) {
                return Err(format!("the token {start} is used twice, by {held:?}"));
            }
        }
        let is_new = !queue.claims.contains(&held.claim);
        let is_dispatchers = held.session.starts_with("start-") || held.session.starts_with("run-");
        if is_new && is_dispatchers && most.is_none_or(|most| in_hand > *most) {
            return Err(format!("{} claims where {in_hand} entries are in hand of at most {most:?}", held.session));
        }
        if is_new && held.session.starts_with("start-") == held.start.is_empty() {
            return Err(format!("{held:?} has another token than its claim needs"));
        }
    }
    Ok(())
}

/// Checks the end of an entry.
fn ended(
    id: &str,
    before: &Place,
    commit: &Commit<'_>,
    counts: &mut BTreeMap<&'static str, u64>,
) -> Result<(), String> {
    let state = (commit.state)(id);
    let is_right = match state.as_deref() {
        Some("done") => {
            let by_session = matches!(before, Place::Hand(held) if commit.end_by(held) == "done");
            *counts.entry(if by_session { "work done" } else { "work done by hand" }).or_default() += 1;
            by_session || commit.is("WorkDone", id)
        }
        Some("dropped") => {
            *counts.entry("work dropped").or_default() += 1;
            commit.is("WorkDrop", id)
        }
        _ => return Err(format!("{id} is lost, and is known as {state:?}: {before:?}")),
    };
    let fields = commit.fields;
    if is_right { Ok(()) } else { Err(format!("{id} is {state:?} without its claim: {before:?}, by {fields:?}")) }
}

/// Checks the move of an entry from one place to another.
fn moved(
    before: &Place,
    after: &Place,
    commit: &Commit<'_>,
    taken: &mut Vec<Taken>,
    counts: &mut BTreeMap<&'static str, u64>,
) -> Result<(), String> {
    let id = &before.task().id;
    let mut count = |name| *counts.entry(name).or_default() += 1;
    let wrong = || Err(format!("{before:?} became {after:?} by {:?}", commit.fields));
    match (before, after) {
        (Place::Hand(a), Place::Hand(b)) if a.claim == b.claim => {
            return if a.session == b.session { Ok(()) } else { wrong() };
        }
        (Place::Hand(_), Place::Hand(b)) if passes(Some(before), b, commit) => {}
        (Place::Hand(held), _) => {
            let end = commit.end_by(held);
            let is_again = after.task().attempts == held.task.attempts + 1;
            if end == "given back: the session ended" {
                count("work of an ended session");
                return if after.is_claimable() && !is_again { Ok(()) } else { wrong() };
            }
            let is_failed = end.starts_with("failed") || end.starts_with("given back") || commit.is("WorkFail", id);
            let is_failed =
                is_failed || (commit.is_own(held, "Start") && commit.field("work") == id && !commit.admits());
            if is_failed {
                count(if matches!(after, Place::In("dead", _)) { "work given up" } else { "work failed" });
                return if matches!(after, Place::In("dead" | "later", _)) && is_again { Ok(()) } else { wrong() };
            }
            if !is_again && commit.field("session") != held.session {
                count("work of a client's earlier session");
                return if after.is_claimable() { Ok(()) } else { wrong() };
            }
            count("work of a client that is gone");
            if !held.is_overdue {
                taken.push(Taken { at: commit.at.time, client: held.client });
            }
            return if is_again { Ok(()) } else { wrong() };
        }
        (Place::In("later", task), Place::In(list, _)) if *list == "later" && after.task().at == task.at => {}
        (Place::In("later", task), _) => {
            if commit.is("WorkRetry", id) {
                count("work retried");
            } else if task.at > commit.at.ms + 1 && !commit.at.is_stepped {
                return Err(format!("{id} is delayed until {}, and became {after:?} at {}", task.at, commit.at.ms));
            } else {
                count("work due");
            }
        }
        (Place::In("dead", _), Place::In(list, _)) if *list != "dead" => {
            count("work retried");
            return if commit.is("WorkRetry", id) { Ok(()) } else { wrong() };
        }
        (Place::In(a, task), Place::In(b, other)) if a != b || task.number != other.number => return wrong(),
        _ => {}
    }
    Ok(())
}

/// Looks at the queues that a transaction of files changes.
pub(super) fn files(world: &mut World, dir: &Path, changes: &[(&str, Option<&str>)], line: Option<&str>) {
    let host = world.host();
    let agents: BTreeSet<&str> =
        changes.iter().filter_map(|(file, _)| file.strip_prefix("work/")?.split('/').next()).collect();
    let fields: Fields = line.and_then(|line| journal::fields(line.as_bytes())).into_iter().flatten().collect();
    if agents.is_empty() || world.files.is_empty() {
        return;
    }
    let files = Files::of(dir, changes);
    look_at(world, host, &files, agents.into_iter().map(str::to_owned), &fields);
}

/// Looks at the queues of a machine's files when nothing runs any more: all that was committed is there.
pub(super) fn files_at_rest(world: &mut World, host: usize, dir: &Path) {
    let agents = world.files[host].agents().into_iter();
    look_at(world, host, &Files::at_rest(dir), agents, &Fields::new());
}

fn look_at(world: &mut World, host: usize, files: &Files<'_>, agents: impl Iterator<Item = String>, fields: &Fields) {
    let clock = &world.hosts[host];
    let at = At {
        time: world.time,
        ms: clock.shows(world.time) / 1000,
        is_stepped: clock.is_stepped(world.time.saturating_sub(DECIDED), world.time),
    };
    for agent in agents {
        let commit = Commit { at, fields, state: &|id| files.state(id) };
        world.files[host].look(0, &agent, &Content::of_files(files, &agent), &commit);
    }
}
