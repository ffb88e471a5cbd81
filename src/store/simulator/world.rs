//! One simulated world: its time, its machines and servers, its processes, and its next event.
//!
//! A process is a coroutine that runs the product's own code. It yields where it waits, and before each
//! operation on a file, on the network or on a lock. There the world may pause it, or end it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::chance::Chance;
use super::ledger::Ledger;
use super::network::Network;
use super::server::Server;
use crate::policy::limits::Ms;

/// The clock of every machine at the beginning, in milliseconds. It is earlier than any file that a history writes.
const BEGINNING: Ms = 1_790_000_000_000;
/// The limit of events, beyond which a history is stuck.
const MOST_EVENTS: u64 = 200_000;
const STACK: usize = 512 * 1024;

/// A time of the world, in microseconds since its beginning.
pub(super) type Time = u64;

pub(super) const MILLISECOND: Time = 1000;
pub(super) const SECOND: Time = 1_000_000;

/// A clock: its difference from the world's time, and when that was changed.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// The time of each change, and the difference since then, in microseconds.
    pub(super) steps: Vec<(Time, i64)>,
}

impl Clock {
    pub(super) fn ahead_by(offset: i64) -> Self {
        Self { steps: vec![(0, offset)] }
    }

    /// Returns the clock's time, in microseconds since the Unix epoch.
    pub(super) fn shows(&self, time: Time) -> i64 {
        BEGINNING * 1000 + i64::try_from(time).unwrap() + self.offset(time)
    }

    fn offset(&self, time: Time) -> i64 {
        self.steps.iter().rfind(|step| step.0 <= time).map_or(0, |step| step.1)
    }

    pub(super) fn step(&mut self, time: Time, by: i64) {
        let offset = self.offset(time);
        self.steps.push((time, offset + by));
    }

    /// Returns the time between `from` and `to` by this clock. A step back counts as no time.
    pub(super) fn elapsed(&self, from: Time, to: Time) -> i64 {
        let steps = self.steps.windows(2).filter(|pair| pair[1].0 > from && pair[1].0 <= to);
        let forward: i64 = steps.map(|pair| (pair[1].1 - pair[0].1).max(0)).sum();
        i64::try_from(to.saturating_sub(from)).unwrap() + forward
    }

    /// Returns whether it was stepped meanwhile.
    pub(super) fn is_stepped(&self, from: Time, to: Time) -> bool {
        self.steps.iter().skip(1).any(|step| step.0 >= from && step.0 <= to)
    }

    /// Returns when it showed `ms`: at the latest at `to`, and not before `from` if possible.
    pub(super) fn time_of(&self, ms: Ms, from: Time, to: Time) -> Time {
        let ends = self.steps.iter().skip(1).map(|step| step.0).chain([Time::MAX]);
        let candidates = self.steps.iter().zip(ends).filter_map(|((since, offset), end)| {
            let at = Time::try_from((ms - BEGINNING) * 1000 - offset).ok()?;
            (at + MILLISECOND > *since && at < end && at <= to).then_some(at)
        });
        let all: Vec<Time> = candidates.collect();
        all.iter().copied().find(|at| *at + MILLISECOND > from).or(all.last().copied()).unwrap_or(from)
    }
}

/// The rates of the faults, in thousandths of the occasions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    pub(super) delayed: u64,
    pub(super) lost: u64,
    pub(super) held_back: u64,
    pub(super) doubled: u64,
    pub(super) paused: u64,
    pub(super) killed: u64,
    pub(super) starved: u64,
}

/// An event at a time.
pub(super) enum Happening {
    Resume {
        process: usize,
        turn: u64,
    },
    Kill {
        process: usize,
    },
    Network(super::network::Happening),
    /// A change of the world by the history that is played.
    Do(Box<dyn FnOnce()>),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    ByItself,
    Killed,
}

struct Process {
    coroutine: Option<Coroutine<(), (), (), DefaultStack>>,
    yielder: *const Yielder<(), ()>,
    host: usize,
    turn: u64,
    /// The connection that it reads from.
    reads: Option<usize>,
    /// Whether it is a newer program with an additional field in its documents.
    is_newer: bool,
    /// The id of its present step.
    step: Rc<str>,
    may_be_killed: bool,
    then: Option<Box<dyn FnOnce(Ended)>>,
}

/// The world.
pub(super) struct World {
    pub(super) time: Time,
    pub(super) chance: Chance,
    /// The clocks of the machines.
    pub(super) hosts: Vec<Clock>,
    pub(super) servers: Vec<Server>,
    pub(super) network: Network,
    pub(super) rates: Rates,
    /// When the last fault is over.
    pub(super) calms_at: Time,
    /// The clients that have ended, by their process ids, and when.
    pub(super) gone: BTreeMap<u32, Time>,
    /// The work queues in each machine's files.
    pub(super) files: Vec<Ledger>,
    events: BTreeMap<(Time, u64), Happening>,
    happened: u64,
    processes: Vec<Process>,
    current: Option<usize>,
    base: Instant,
    /// The history as text, where it is to be printed.
    pub(super) told: Option<Vec<String>>,
    stacks: Vec<DefaultStack>,
    pub(super) is_over: bool,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// Runs with the world of this thread, where there is one.
pub(super) fn try_with<T>(f: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(f))
}

/// Runs with the world of this thread.
pub(super) fn with<T>(f: impl FnOnce(&mut World) -> T) -> T {
    try_with(f).unwrap()
}

/// Runs with the world, where the calling code is in one of its processes.
pub(super) fn in_process<T>(f: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with_borrow_mut(|world| world.as_mut().filter(|world| world.current.is_some()).map(f))
}

/// Adds a line to the history, where it is to be printed.
pub(super) fn tell(line: impl FnOnce() -> String) {
    try_with(|world| world.tell(line));
}

impl World {
    pub(super) fn of(seed: u64, tells: bool) -> Self {
        Self {
            time: 0,
            chance: Chance::of(seed),
            hosts: Vec::new(),
            servers: Vec::new(),
            network: Network::default(),
            rates: Rates::default(),
            calms_at: 0,
            gone: BTreeMap::new(),
            files: Vec::new(),
            events: BTreeMap::new(),
            happened: 0,
            processes: Vec::new(),
            current: None,
            base: Instant::now(),
            told: tells.then(Vec::new),
            stacks: STACKS.with_borrow_mut(std::mem::take),
            is_over: false,
        }
    }

    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        let (time, process) = (self.time, self.current);
        if let Some(told) = &mut self.told {
            let process = process.map_or_else(|| "-".to_owned(), |process| format!("p{process}"));
            told.push(format!("{:>12.3} ms {process:>4} {}", time as f64 / 1000.0, line()));
        }
    }

    /// Plans an event after this much time.
    pub(super) fn after(&mut self, time: Time, happening: Happening) {
        self.happened += 1;
        self.events.insert((self.time + time, self.happened), happening);
    }

    /// Plans a change by the history as [`World::after`] does.
    pub(super) fn later(&mut self, time: Time, then: impl FnOnce() + 'static) {
        self.after(time, Happening::Do(Box::new(then)));
    }

    pub(super) fn now(&self) -> Instant {
        self.base + Duration::from_micros(self.time)
    }

    /// Returns the time until this moment, rounded up.
    pub(super) fn until(&self, at: Instant) -> Time {
        Time::try_from(at.saturating_duration_since(self.now()).as_nanos().div_ceil(1000)).unwrap_or(Time::MAX)
    }

    pub(super) fn host(&self) -> usize {
        self.current.map_or(0, |process| self.processes[process].host)
    }

    pub(super) fn current(&self) -> Option<usize> {
        self.current
    }

    /// Starts a process on a machine, and returns its number; `then` runs when it has ended.
    #[allow(unsafe_code, reason = "the yielder lives as long as its coroutine")]
    pub(super) fn start(
        &mut self,
        (host, is_newer): (usize, bool),
        may_be_killed: bool,
        body: impl FnOnce() + 'static,
        then: impl FnOnce(Ended) + 'static,
    ) -> usize {
        let process = self.processes.len();
        let stack = self.stacks.pop().unwrap_or_else(|| DefaultStack::new(STACK).unwrap());
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            with(|world| world.processes[process].yielder = yielder);
            body();
        });
        self.processes.push(Process {
            coroutine: Some(coroutine),
            yielder: std::ptr::null(),
            host,
            turn: 0,
            reads: None,
            is_newer,
            step: Rc::default(),
            may_be_killed,
            then: Some(Box::new(then)),
        });
        self.after(0, Happening::Resume { process, turn: 0 });
        process
    }

    /// Plans the next turn of the running process: after `after`, unless it is paused or killed.
    fn plan(&mut self, after: Time, reads: Option<usize>) {
        let Some(process) = self.current else { return };
        let Rates { paused, killed, .. } = self.rates;
        let left = self.calms_at.saturating_sub(self.time);
        let about = &mut self.processes[process];
        about.turn += 1;
        about.reads = reads;
        let turn = about.turn;
        if about.may_be_killed && self.chance.happens(killed) {
            let at = if self.chance.happens(500) { 0 } else { self.chance.below(after.min(SECOND).min(left)) };
            self.after(at, Happening::Kill { process });
            return;
        }
        let mut after = after;
        if self.chance.happens(paused) {
            let most = self.chance.one_of(&[20 * MILLISECOND, 500 * MILLISECOND, 2 * SECOND, 20 * SECOND]);
            let pause = self.chance.below(most.min(left));
            self.tell(|| format!("is paused for {pause} us"));
            after += pause;
            self.processes[process].reads = None;
        }
        self.after(after, Happening::Resume { process, turn });
    }

    /// Wakes a process that reads from this connection.
    pub(super) fn wake(&mut self, process: usize, connection: usize) {
        let about = &self.processes[process];
        if about.reads == Some(connection) {
            let turn = about.turn;
            self.after(0, Happening::Resume { process, turn });
        }
    }

    /// Records the step of the running process.
    pub(super) fn begins(&mut self, step: &str) {
        if let Some(process) = self.current {
            self.processes[process].step = step.into();
        }
    }

    /// Returns the id of a process's step.
    pub(super) fn step_of(&self, process: usize) -> Rc<str> {
        Rc::clone(&self.processes[process].step)
    }

    /// Returns whether a process is a newer program.
    pub(super) fn is_newer(&self, process: usize) -> bool {
        self.processes[process].is_newer
    }
}

/// Yields for this long.
pub(super) fn suspend(after: Time) {
    suspend_for(after, None);
}

/// Yields for this long. Bytes that arrive on a connection from which the process reads end it sooner.
#[allow(unsafe_code, reason = "the yielder lives as long as its coroutine, which is the one that runs")]
pub(super) fn suspend_for(after: Time, reads: Option<usize>) {
    let yielder = with(|world| {
        world.plan(after, reads);
        world.processes[world.current.unwrap()].yielder
    });
    // SAFETY: it was set by this very coroutine when it began, and lives on its stack.
    unsafe { (*yielder).suspend(()) };
}

/// Plays a world until no event is left or `World::is_over`; returns it.
pub(super) fn play(world: World) -> World {
    WORLD.set(Some(world));
    loop {
        let next = with(|world| {
            let ((time, _), next) = world.events.pop_first().filter(|_| !world.is_over)?;
            world.time = world.time.max(time);
            assert!(world.happened < MOST_EVENTS, "the history does not end");
            Some(next)
        });
        match next {
            None => break,
            Some(Happening::Do(then)) => then(),
            Some(Happening::Network(happening)) => with(|world| super::network::happens(world, happening)),
            Some(Happening::Kill { process }) => end(process, Ended::Killed),
            Some(Happening::Resume { process, turn }) => resume(process, turn),
        }
    }
    clear().unwrap()
}

/// Removes the world of this thread, with the processes that still run in it.
pub(super) fn clear() -> Option<World> {
    let count = try_with(|world| world.processes.len())?;
    (0..count).for_each(unwind);
    let mut world = WORLD.take()?;
    STACKS.set(std::mem::take(&mut world.stacks));
    Some(world)
}

fn resume(process: usize, turn: u64) {
    let coroutine = with(|world| {
        let about = &mut world.processes[process];
        if about.turn != turn {
            return None;
        }
        let coroutine = about.coroutine.take();
        world.current = coroutine.as_ref().map(|_| process);
        coroutine
    });
    let Some(mut coroutine) = coroutine else { return };
    let result = coroutine.resume(());
    with(|world| world.current = None);
    match result {
        CoroutineResult::Yield(()) => with(|world| world.processes[process].coroutine = Some(coroutine)),
        CoroutineResult::Return(()) => {
            with(|world| world.stacks.push(coroutine.into_stack()));
            end(process, Ended::ByItself);
        }
    }
}

/// Ends a process. Its files and connections are closed, and it does nothing else.
fn end(process: usize, how: Ended) {
    if how == Ended::Killed {
        tell(|| format!("p{process} is killed"));
        unwind(process);
    }
    let then = with(|world| world.processes[process].then.take());
    if let Some(then) = then {
        then(how);
    }
}

fn unwind(process: usize) {
    let coroutine = with(|world| world.processes[process].coroutine.take());
    if let Some(mut coroutine) = coroutine {
        coroutine.force_unwind();
        with(|world| world.stacks.push(coroutine.into_stack()));
    }
}
