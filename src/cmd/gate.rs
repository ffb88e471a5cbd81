//! `frosty gate`: runs a command once it is admitted, for loops in a shell and for cron.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::cmd::{PlaceArgs, out};
use crate::config::{Config, ConfigError, Flags, encoded};
use crate::duration;
use crate::env::Env;
use crate::exit::Exit;
use crate::hint::Problem;
use crate::hook::gate::{GateAnswer, GateRequest, GateTerms};
use crate::hook::run::RunMark;
use crate::hook::signals::{self, Signals};
use crate::hook::step_of;
use crate::journal::why;
use crate::policy::decision;
use crate::policy::limits::LONGEST_HOLD;
use crate::policy::request::{Claim, Event, RunOutcome, RunPart, Step};
use crate::policy::verdict::{Admission, Decision, Outcome, Reason};
use crate::process;
use crate::store;
use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;
use crate::store::listen;
use crate::text;
use command::Ended;
use lease::{Busy, Lease};

mod command;
mod lease;

/// The flags of `gate`.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// Use this scope: its runs share the limits [default: the folder]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
    /// Wait until the command is admitted
    #[arg(long)]
    pub wait: bool,
    /// Wait at most this long (20m, 2h)
    #[arg(long, value_name = "DURATION", value_parser = most, requires = "wait")]
    pub max: Option<Duration>,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Run this command, with its arguments
    #[arg(value_name = "CMD", required = true, last = true)]
    pub command: Vec<OsString>,
}

fn most(text: &str) -> Result<Duration, String> {
    let most = duration::parse(text).filter(|most| *most <= LONGEST_HOLD);
    most.ok_or_else(|| "expected a duration up to 365d, such as 20m or 2h".to_owned())
}

/// The variable that names the run to the hooks in it.
const MARK: &str = "FROSTY_GATE";
/// How often a request with an outdated fence is sent again.
const TRIES: u32 = 3;
/// How long the end of a run is sent again while no store takes it.
const REPORTS_FOR: Duration = Duration::from_secs(5);
/// The longest part of a folder's name in its scope.
const LONGEST_FOLDER: usize = 60;

/// How a gate ends.
enum End {
    /// The command ran and ended.
    Ran(Ended),
    /// The command was not admitted now.
    NotNow(Problem),
    /// The agent reported that it is done.
    Done(Problem),
    /// A signal ended the wait.
    Signal(i32),
}

/// Runs the command once it is admitted, and returns the exit code.
#[must_use]
pub fn run(args: GateArgs) -> u8 {
    match gate(args) {
        Ok(End::Ran(ended)) => {
            if ended.is_interrupted {
                signals::die_by(libc::SIGINT);
            }
            ended.code
        }
        Ok(End::NotNow(why)) => failed(&why, Exit::NotNow),
        Ok(End::Done(why)) => failed(&why, Exit::AgentDone),
        Ok(End::Signal(signal)) => {
            signals::die_by(signal);
            command::code_of(signal)
        }
        Err((exit, why)) => failed(&why, exit),
    }
}

fn failed(why: &Problem, exit: Exit) -> u8 {
    out::report(&why.lines());
    exit as u8
}

/// The gate: where its request is sent, and what identifies it.
struct Gate {
    env: Env,
    flags: Flags,
    project: Option<PathBuf>,
    config: Config,
    /// The session that stands for the runs of the scope, encoded.
    session: String,
    scope: String,
    began: Instant,
    most: Option<Duration>,
}

fn gate(args: GateArgs) -> Result<End, (Exit, Problem)> {
    let env = Env::read();
    if env.disabled() {
        let why = Problem::new("FROSTY_DISABLE is set, and no command runs without an admission");
        return Err((Exit::Config, why.with_hint("unset FROSTY_DISABLE")));
    }
    let gate = Gate::new(env, &args)?;
    let program = args.command.first().cloned().unwrap_or_default();
    if !command::exists(&program) {
        let found = text::line(&program.to_string_lossy());
        let hint = "name a program: frosty gate -- claude -p 'Continue'";
        return Err((Exit::Usage, Problem::new(format!("no program \"{found}\" is found")).with_hint(hint)));
    }
    let is_inside = gate.env.gate.as_deref().and_then(|run| run.parse::<RunMark>().ok());
    if is_inside.is_some_and(|run| run.session == gate.session) {
        return Ok(End::NotNow(Problem::new("this process is part of a run of the same gate")));
    }
    let signals = Signals::of_gate().map_err(|e| (Exit::Failed, Problem::new(format!("cannot make a pipe: {e}"))))?;
    Ok(gate
        .admitted(&signals)
        .and_then(|admitted| gate.run_command(admitted, &args.command, &signals))
        .map_or_else(|end| end, End::Ran))
}

/// An admission, and what it was given to.
struct Admitted<'a> {
    admission: Admission,
    fence: Option<i64>,
    terms: GateTerms,
    lease: Lease<'a>,
}

impl Gate {
    fn new(env: Env, args: &GateArgs) -> Result<Self, (Exit, Problem)> {
        let refused = |e: ConfigError| {
            let exit = if e.is_of_command_line() { Exit::Usage } else { Exit::Config };
            (exit, Problem::from(&e))
        };
        // A cron has no variable of the client, and a loop in the client's shell is about this folder.
        let project = std::env::current_dir().ok();
        let flags = Flags { scope: args.name.clone(), ..args.place.flags() };
        let mut config = Config::load(&env, project.as_deref(), &flags).map_err(refused)?;
        if config.shadow {
            let why = Problem::new("mode is shadow, in which no request is admitted");
            return Err((Exit::Config, why.with_hint("admit commands: export FROSTY_MODE=enforce")));
        }
        let session = match &config.scope {
            Some(scope) => encoded(&format!("gate-{scope}"), "the command line", "--name"),
            None => encoded(&of_folder(project.as_deref()), "the folder", "--name"),
        };
        let session = session.map_err(refused)?;
        let scope = config.scope.clone().unwrap_or_else(|| session.clone());
        config.adopt_profile_of("", &scope);
        let most = args.wait.then_some(args.max.unwrap_or(LONGEST_HOLD));
        Ok(Self { env, flags, project, config, session, scope, began: Instant::now(), most })
    }

    /// Returns how long the gate may still wait; `None` for one that does not wait.
    fn left(&self) -> Option<Duration> {
        self.most.map(|most| most.saturating_sub(self.began.elapsed()))
    }

    /// Takes the lease and an admission, or returns how the gate ends without them.
    fn admitted(&self, signals: &Signals) -> Result<Admitted<'_>, End> {
        let busy = |busy: Busy| self.ended_by(signals).unwrap_or_else(|| self.busy(&busy));
        let mut tries = 0;
        loop {
            let lease = Lease::take(&self.config, &self.session, self.left(), signals).map_err(busy)?;
            let fence = lease.fence(&self.request(None), self.left(), signals).map_err(busy)?;
            let (answer, terms) = self.ask(self.request(fence), signals).map_err(|e| End::NotNow(Problem::from(&e)))?;
            if tries == 0 {
                self.show_wait(&self.request(fence));
            }
            let not_run = RunPart::End(RunOutcome::None);
            match answer {
                GateAnswer::Admitted(admission, fence) => return Ok(Admitted { admission, fence, terms, lease }),
                GateAnswer::Refused(Some(refused))
                    if refused.reason == Reason::Superseded && self.may_retry(&mut tries, signals) => {}
                GateAnswer::Refused(refused) => {
                    let own = refused.as_ref().filter(|refused| refused.reason != Reason::Superseded);
                    self.report(&terms, own.and_then(|refused| refused.fence), not_run);
                    return Err(self.ended_by(signals).unwrap_or_else(|| self.refused(refused.as_deref())));
                }
                GateAnswer::Late(fence) => {
                    self.report(&terms, fence, not_run);
                    return Err(End::NotNow(Problem::from(&StoreError::TooLate)));
                }
            }
        }
    }

    /// Shows a person at a terminal why the command does not run yet. Nothing is sent.
    fn show_wait(&self, step: &Step) {
        if self.most.is_none() || !io::stderr().is_terminal() {
            return;
        }
        let Ok(mut seen) = FleetReader::open(&self.config).foresee(&step.scope, &step.session) else { return };
        // As for an engine that waits already, whatever the fence is.
        let event = Event::Ask { fence: seen.state.session.fence.unwrap_or(seen.now), renew: false };
        let step = Step { event, ..step.clone() };
        let decided = decision::step(&self.config.policy, &mut seen.state, &step, seen.now);
        if decided.outcome == Outcome::Refuse && !matches!(decided.reason, Reason::Done | Reason::Superseded) {
            let left = decided.retry_after.map(|left| format!(", for {} at least", duration::about(left)));
            let code = decided.reason.code();
            out::report(&format!("waiting ({code}){}: {}", left.unwrap_or_default(), why(&decided)));
        }
    }

    fn ask(&self, step: Step, signals: &Signals) -> Result<(GateAnswer, GateTerms), StoreError> {
        let (env, flags, config) = (&self.env, &self.flags, &self.config);
        let request = GateRequest { env, flags, project: self.project.as_deref(), config, step };
        match self.left() {
            Some(left) => Ok(request.wait(left, signals)),
            None => Ok((request.once()?, GateTerms { config: config.clone(), scope: self.scope.clone() })),
        }
    }

    /// Returns whether a gate with an outdated fence may read it again. It does not do that without a pause.
    fn may_retry(&self, tries: &mut u32, signals: &Signals) -> bool {
        *tries += 1;
        let has_time = self.left().map_or(*tries < TRIES, |left| !left.is_zero());
        if has_time && *tries > 1 {
            let pause = Duration::from_millis(100).saturating_mul(1 << (*tries).min(6));
            listen::pause(self.left().map_or(pause, |left| pause.min(left)), [signals.fd()]);
            signals.clear();
        }
        has_time && !signals.terminated()
    }

    /// Builds the request of the run.
    fn request(&self, fence: Option<i64>) -> Step {
        let paced = self.most.is_some();
        let own = process::own();
        Step {
            paced,
            pid: paced.then_some(own),
            client: Some(own),
            claim: Claim::Take,
            ..self.step(Event::Resume { fence, rest: None })
        }
    }

    fn step(&self, event: Event) -> Step {
        let folder = self.project.as_deref().map(|dir| text::line_of(&dir.to_string_lossy(), text::LONGEST_FOLDER));
        Step {
            name: self.config.name.as_deref().map(text::line).unwrap_or_default(),
            named_by_project: self.config.named_by_project,
            project: folder.unwrap_or_default(),
            ..step_of(self.scope.clone(), self.session.clone(), "Gate", event)
        }
    }

    /// Records a step of the run. Returns whether a store took it.
    fn report(&self, terms: &GateTerms, fence: Option<i64>, part: RunPart) -> bool {
        let Some(fence) = fence else { return true };
        let step = Step { scope: terms.scope.clone(), ..self.step(Event::Run { fence, part }) };
        let store = store::open(&terms.config, Instant::now() + terms.config.budget);
        store.and_then(|mut store| store.step(&step)).is_ok()
    }

    /// Runs the admitted command to its end, unless a signal came first.
    fn run_command(&self, admitted: Admitted<'_>, words: &[OsString], signals: &Signals) -> Result<Ended, End> {
        let Admitted { admission, fence, terms, mut lease } = admitted;
        if let Some(end) = self.ended_by(signals) {
            self.report(&terms, fence, RunPart::End(RunOutcome::None));
            return Err(end);
        }
        let mark = RunMark {
            fleet: terms.config.fleet.clone(),
            scope: terms.scope.clone(),
            session: self.session.clone(),
            fence: fence.unwrap_or_default(),
        };
        let vars = self.flags.store.iter().map(|store| ("FROSTY_STORE", store.clone()));
        let vars: Vec<_> = vars.chain([(MARK, mark.to_string())]).collect();
        lease.starts(format!("{MARK}={mark}"));
        let ended = match command::start(admission, words, &vars) {
            Ok(child) => {
                lease.runs(child.id());
                command::wait(child, signals, || {
                    self.report(&terms, fence, RunPart::Alive);
                })
            }
            Err(ended) => ended,
        };
        let outcome = match ended.code {
            0 => RunOutcome::Succeeded,
            _ if ended.is_interrupted => RunOutcome::None,
            _ => RunOutcome::Failed,
        };
        let until = Instant::now() + REPORTS_FOR;
        while !self.report(&terms, fence, RunPart::End(outcome)) {
            if Instant::now() >= until {
                out::report("no store could note the end of this run");
                break;
            }
            clock::sleep(Duration::from_millis(200));
        }
        lease.ran();
        Ok(ended)
    }

    fn ended_by(&self, signals: &Signals) -> Option<End> {
        signals.terminated().then(|| End::Signal(signals.take_last().unwrap_or(libc::SIGTERM)))
    }

    fn busy(&self, busy: &Busy) -> End {
        End::NotNow(Problem::new(format!("not now: {busy}")).with_hint(self.look()))
    }

    fn refused(&self, refused: Option<&Decision>) -> End {
        let Some(refused) = refused else {
            let hint = "see what is wrong: frosty doctor";
            return End::NotNow(Problem::new("not now: no store could decide").with_hint(hint));
        };
        if refused.reason == Reason::Done {
            let hint = format!("allow another run: frosty wake {}", text::word(&self.shown()));
            return End::Done(Problem::new("the agent reported it is done").with_hint(hint));
        }
        // After a wait the time in the last refusal is out of date.
        let left = refused.retry_after.filter(|_| self.began.elapsed() < Duration::from_secs(1));
        let left = left.map(|left| format!(", possible in {}", duration::about(left)));
        let code = refused.reason.code();
        let why = format!("not now ({code}){}: {}", left.unwrap_or_default(), why(refused));
        End::NotNow(Problem::new(why).with_hint(self.look()))
    }

    /// Returns the name by which the commands find the gate.
    fn shown(&self) -> String {
        self.config.name.clone().unwrap_or_else(|| self.scope.clone())
    }

    fn look(&self) -> String {
        format!("see what it waits for: frosty explain {}", text::word(&self.shown()))
    }
}

/// Returns the name of a folder's scope. No pane of tmux and no session has such a name.
fn of_folder(folder: Option<&Path>) -> String {
    let folder = folder.unwrap_or(Path::new("/"));
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let digest = Sha256::digest(real.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String = text::encode(&name).chars().filter(|c| *c != '%').take(LONGEST_FOLDER).collect();
    format!("gate-{name}-{hex}")
}
