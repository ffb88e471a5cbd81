//! `frosty dispatch`: takes the tasks of streams into the agents' queues, and runs the programs and starts the sessions that
//! work through a queue.

mod claim;
mod client;
mod launcher;
mod live;
mod overflow;
pub(crate) mod starter;
mod streams;
mod unit;
mod waiting;
pub(crate) mod worker;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Failure, PlaceArgs, out};
use crate::clock;
use crate::config::{Config, Flags, Route};
use crate::env::Env;
use crate::hint::{Hint, Problem};
use crate::hook;
use crate::policy::request::Event;
use crate::store::work::{self as queues, Change, Changed};
use crate::text;
use launcher::Processes;
use starter::Starter;
use streams::Streams;
use worker::Worker;

/// How the id of a dispatcher's session begins.
pub(super) const RUN: &str = "run-";
/// How the id of a session begins by which a dispatcher claims an entry for a client.
pub(super) const START: &str = "start-";
/// How often the streams and the queues are looked at.
pub(crate) const EVERY: Duration = Duration::from_millis(500);
/// How often the dispatcher looks for work that has waited too long.
const EACH_LOOK: Duration = Duration::from_secs(60);
/// The pause after an error of the server.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// The flags of `dispatch`.
#[derive(Debug, Args)]
pub struct DispatchArgs {
    /// Take what there is, run and start what is admitted now, and exit
    #[arg(long)]
    pub once: bool,
    /// Print a unit of systemd that runs the dispatcher, and exit
    #[arg(long, conflicts_with = "once")]
    pub print_unit: bool,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Why the dispatcher does not run.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// There are no routes.
    #[error("no route is configured")]
    NoRoutes,
    /// The configuration admits nothing.
    #[error("mode is shadow, in which no session is started and no program is run")]
    Shadow,
    /// The unit would contain a password.
    #[error("the URL of --store contains a user or a password, and every user can read a unit")]
    PasswordInUnit,
    /// Frosty is switched off altogether.
    #[error("FROSTY_DISABLE is set, so that no session is started and no program is run")]
    Disabled,
    /// A stream cannot be read.
    #[error("{stream}: {why}")]
    Stream {
        /// The stream.
        stream: String,
        /// The server's error.
        why: String,
    },
    /// The tasks of some streams were not taken, for the reasons that were reported.
    #[error("the tasks of some streams were not taken")]
    Streams,
    /// A route takes the tasks of a stream, and there is no server.
    #[error("a route takes the tasks of the stream {stream}, and the store is this machine's files")]
    NoServer {
        /// The stream.
        stream: String,
    },
}

impl Hint for DispatchError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoRoutes => {
                "set some: frosty config set routes '[{\"to\": \"echo\", \"run\": [\"cat\"]}]'".to_owned()
            }
            Self::Shadow => "start them: export FROSTY_MODE=enforce".to_owned(),
            Self::PasswordInUnit => "put the URL into your configuration: frosty config set store URL".to_owned(),
            Self::Disabled => "switch it on: unset FROSTY_DISABLE".to_owned(),
            Self::Stream { .. } | Self::Streams => "check the server: frosty doctor".to_owned(),
            Self::NoServer { .. } => "name the server: export FROSTY_STORE=redis://127.0.0.1:18000".to_owned(),
        })
    }
}

/// Runs the dispatcher.
///
/// # Errors
/// When there are no routes, a stream cannot be read at the start, or no request would be admitted.
pub fn run(args: DispatchArgs) -> Result<(), Failure> {
    let env = Env::read();
    if args.print_unit {
        if args.place.store.as_ref().is_some_and(|store| store.contains('@')) {
            return Err(DispatchError::PasswordInUnit.into());
        }
        unit::print(&args.place);
        return Ok(());
    }
    let mut env = env;
    // A session that is started has the same store.
    env.store = args.place.store.clone().or(env.store);
    let flags = args.place.flags();
    let config = super::config(&env, args.place)?;
    if config.routes.is_empty() {
        return Err(DispatchError::NoRoutes.into());
    }
    let works = config.routes.iter().any(Route::works);
    if works && env.disabled() {
        return Err(DispatchError::Disabled.into());
    }
    if works && config.shadow {
        return Err(DispatchError::Shadow.into());
    }
    let mut streams = Streams::of(&config)?;
    let taken = streams.as_mut().map_or(Ok(()), |streams| streams.take(&config));
    if let Err(why) = &taken {
        report(why);
    }
    std::thread::scope(|scope| {
        for (number, route) in config.routes.iter().enumerate().filter(|(_, route)| route.works()) {
            let (config, env, once) = (&config, &env, args.once);
            let folder = route.session.as_ref().and_then(|session| session.folder.as_ref());
            let folder = folder.map(|folder| client::expanded(env, folder));
            let folder = folder.or_else(|| env.claude_project_dir.clone()).or_else(|| std::env::current_dir().ok());
            let terms = Terms { env, flags: &flags, folder, reported: Cell::new(None) };
            for starter in Starter::all_of(config, env, route) {
                let terms = terms.clone();
                scope.spawn(move || start(starter, &terms, once));
            }
            scope.spawn(move || work(config, &terms, (number, route), once));
        }
        if !args.once {
            scope.spawn(|| watch(&config));
            scope.spawn(|| renew(&config));
            serve(&config, streams);
        }
    });
    look(&config);
    if taken.is_err() { Err(DispatchError::Streams.into()) } else { Ok(()) }
}

/// Takes the tasks of the streams until the process is ended.
fn serve(config: &Config, mut streams: Option<Streams>) {
    loop {
        std::thread::sleep(EVERY);
        let taken = streams.as_mut().map_or(Ok(()), |streams| streams.take(config));
        if let Err(why) = taken {
            report(&why);
            std::thread::sleep(AFTER_ERROR);
        }
    }
}

/// Looks for work that has waited too long, until the process is ended.
fn watch(config: &Config) {
    loop {
        look(config);
        std::thread::sleep(EACH_LOOK);
    }
}

fn look(config: &Config) {
    if let Err(why) = waiting::look(config) {
        report(&why.into());
    }
}

fn report(why: &Failure) {
    let hint = why.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    out::report(&format!("{why}{hint}"));
}

/// Returns how long a route waits for its next look: until its next request is due, and at most as long as usual.
///
/// A place in a wait queue is kept for a fraction of a second.
fn pause(not_before: Instant) -> Duration {
    let left = not_before.saturating_duration_since(clock::now());
    if left.is_zero() { EVERY } else { left.min(EVERY) }
}

/// The configuration of a route as it is now, read as a session in the route's folder reads its own.
#[derive(Clone)]
struct Terms<'a> {
    env: &'a Env,
    flags: &'a Flags,
    folder: Option<PathBuf>,
    /// When it was last reported that nothing can be admitted.
    reported: Cell<Option<Instant>>,
}

impl Terms<'_> {
    /// Returns the configuration, where requests may be admitted by it.
    fn now(&self) -> Option<Config> {
        let why = match Config::load(self.env, self.folder.as_deref(), self.flags) {
            Ok(config) if !config.shadow => return Some(config),
            Ok(_) => {
                Problem::new(DispatchError::Shadow.to_string()).with_hint("start them: frosty config set mode enforce")
            }
            Err(why) => Problem::from(&why),
        };
        if self.reported.get().is_none_or(|at| at.elapsed() >= EACH_LOOK) {
            self.reported.set(Some(Instant::now()));
            out::report(&why.lines());
        }
        None
    }
}

/// Renews the claims of this machine while the work lasts, until the process is ended.
fn renew(config: &Config) {
    loop {
        std::thread::sleep(EACH_LOOK);
        for route in config.routes.iter().filter(|route| route.works()) {
            for fleet in overflow::fleets(config, route) {
                let step = hook::step_of(String::new(), String::new(), "WorkRenew", Event::Other);
                let change = Change { agent: &text::encode(&route.to), id: "", by: None, step: &step };
                let policy = config.policy.work;
                // What cannot be renewed now is renewed a minute later.
                let _ = queues::change(&fleet, &change, |Changed { work, now, .. }| {
                    let before = work.queue.clone();
                    work.seen = queues::seen(&before.hand).into_iter().filter(|(_, runs)| *runs).collect();
                    work.expire(&policy, now);
                    if work.queue == before { Err(()) } else { Ok(()) }
                });
            }
        }
    }
}

/// Starts the sessions of one route: for good, or until nothing is admitted now and the clients of print mode have ended.
fn start(mut starter: Starter<'_, Processes<'_>>, terms: &Terms<'_>, once: bool) {
    loop {
        let config = terms.now();
        config.iter().for_each(|config| starter.adopt(config));
        if config.is_some() && starter.turn() {
            continue;
        }
        // The exits are recorded also while nothing can be admitted.
        starter.reap();
        if once && !starter.has_children() {
            return starter.leave();
        }
        clock::sleep(starter.pause());
    }
}

/// Works through the queue of one route: for good, or until nothing is admitted now.
fn work(config: &Config, terms: &Terms<'_>, (number, route): (usize, &Route), once: bool) {
    let Some(mut worker) = Worker::of(config, terms.env, route, number) else { return };
    loop {
        let config = terms.now();
        config.iter().for_each(|config| worker.adopt(config));
        if config.is_some() && worker.turn() {
            continue;
        }
        if once {
            return worker.leave();
        }
        clock::sleep(worker.pause());
    }
}
