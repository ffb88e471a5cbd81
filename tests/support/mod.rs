//! The shared parts of the tests: a real server, the built binary in a clean environment, steps.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod documents;
pub mod histories;
pub mod place;
pub mod proxy;
pub mod steps;
pub mod twin;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[allow(unused_imports, reason = "each test file uses its own part")]
pub use steps::{T0, policy, step, stop_step};

/// The modules in which a test may use a server that runs already: see [`Server::start`].
const SHARING: [&str; 7] = ["concurrency", "holds", "hook", "status", "telling", "waiting", "waking"];

/// A server of the test's own, ended with it.
pub struct Server {
    /// `None` where the server ran already.
    child: Option<Child>,
    pub port: u16,
    _dir: Option<TempDir>,
    /// A lock for the server of `FROSTY_TEST_SERVER`: one test uses it at a time, in any process.
    _lock: Option<fs::File>,
}

impl Server {
    /// Returns an empty server: a `redis-server` of its own, or in the files of [`SHARING`] the one that
    /// `FROSTY_TEST_SERVER` names (CONTRIBUTING.md), if no other test uses it at the moment.
    #[track_caller]
    pub fn start() -> Self {
        let module = Path::new(std::panic::Location::caller().file()).file_stem().unwrap();
        let is_sharing = SHARING.iter().any(|sharing| module == *sharing);
        is_sharing.then(Self::running).flatten().unwrap_or_else(Self::start_own)
    }

    /// Starts a `redis-server` that the test may stop.
    pub fn start_own() -> Self {
        Self::start_with(&[])
    }

    /// Returns the server of `FROSTY_TEST_SERVER`, emptied. A server with other data than that of these tests,
    /// which leave a mark in database 15, is not used.
    fn running() -> Option<Self> {
        #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
        let named = std::env::var("FROSTY_TEST_SERVER").ok()?;
        let lock = fs::File::create(std::env::temp_dir().join(format!("frosty-tests-{named}.lock"))).unwrap();
        lock.try_lock().ok()?;
        let port = named.strip_prefix("127.0.0.1:").and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("FROSTY_TEST_SERVER must be 127.0.0.1:<port>, found {named}"));
        let server = Self { child: None, port, _dir: None, _lock: Some(lock) };
        let mut con = server.connection();
        let held: String = redis::cmd("INFO").arg("keyspace").query(&mut con).unwrap();
        redis::cmd("SELECT").arg(15).query::<()>(&mut con).unwrap();
        let is_ours: bool = redis::cmd("EXISTS").arg("frosty-tests").query(&mut con).unwrap();
        assert!(is_ours || !held.contains("keys="), "{named} holds data of others: {held}");
        redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
        redis::cmd("SCRIPT").arg("FLUSH").query::<()>(&mut con).unwrap();
        redis::cmd("SET").arg("frosty-tests").arg("may be emptied").query::<()>(&mut con).unwrap();
        Some(server)
    }

    /// Starts `redis-server` with further options.
    pub fn start_with(options: &[&str]) -> Self {
        // Another program may have taken the port meanwhile.
        (0..10).find_map(|_| Self::launch(free_port(), options)).expect("redis-server did not start")
    }

    /// Starts `redis-server` on a port that was free a moment ago.
    pub fn start_on(port: u16) -> Self {
        Self::launch(port, &[]).expect("redis-server did not start")
    }

    /// Starts the server; returns `None` when it ended, because another program has the port.
    fn launch(port: u16, options: &[&str]) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(options)
            .current_dir(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be installed: ./tests/run.sh does it");
        let mut server = Self { child: Some(child), port, _dir: Some(dir), _lock: None };
        let end = Instant::now() + Duration::from_secs(40);
        while !server.answers() {
            if server.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return None;
            }
            assert!(Instant::now() < end, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }

    /// Returns whether this server listens on the port, and no other. A server with a password cannot be
    /// verified.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut said = [0; 4096];
        let n = stream.write_all(b"INFO server\r\n").and_then(|()| stream.read(&mut said)).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..n]);
        said.starts_with('-') || said.contains(&format!("process_id:{}\r", self.pid()))
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a test that signals its server starts its own").id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Starts a proxy before a server, which counts round trips: each time the client sends after the server
/// answered.
pub fn counting_proxy(server: &Server) -> (String, Arc<AtomicU32>) {
    distant_proxy(server, Duration::ZERO)
}

/// Starts the same proxy with this delay of each answer.
pub fn distant_proxy(server: &Server, later: Duration) -> (String, Arc<AtomicU32>) {
    let trips = Arc::new(AtomicU32::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (counted, port) = (Arc::clone(&trips), server.port);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let upstream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let server_spoke = Arc::new(AtomicBool::new(true));
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let (spoke, counted) = (Arc::clone(&server_spoke), Arc::clone(&counted));
            std::thread::spawn(move || {
                let mut bytes = [0; 65536];
                while let Ok(n @ 1..) = from.read(&mut bytes) {
                    if spoke.swap(false, Ordering::SeqCst) {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    to.write_all(&bytes[..n]).unwrap();
                }
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            let (mut from, mut to) = (upstream, client);
            std::thread::spawn(move || {
                let mut bytes = [0; 65536];
                while let Ok(n @ 1..) = from.read(&mut bytes) {
                    server_spoke.store(true, Ordering::SeqCst);
                    std::thread::sleep(later);
                    if to.write_all(&bytes[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    (url, trips)
}

/// Builds `tests/support/<name>.c` as a library for `LD_PRELOAD`.
pub fn library(name: &str, into: &Path) -> PathBuf {
    let library = into.join(format!("{name}.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/support/{name}.c"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
    let built = cc.output().expect("cc must be installed: ./tests/run.sh does it");
    assert!(built.status.success(), "{built:?}");
    library
}

/// These ports are below the range from which the system assigns the ports of connections, so a free one stays
/// free while its server is down. Each run of this program has two hundred, and binds the first to claim the
/// others.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const RUN: u16 = 200;

pub fn free_port() -> u16 {
    static CLAIM: OnceLock<(TcpListener, u16)> = OnceLock::new();
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (_, first) = CLAIM.get_or_init(|| {
        let claim = |first| TcpListener::bind(("127.0.0.1", first)).ok().map(|held| (held, first));
        PORTS.step_by(usize::from(RUN)).find_map(claim).expect("too many runs of the tests at once")
    });
    loop {
        let port = first + 1 + NEXT.fetch_add(1, Ordering::SeqCst) % (RUN - 1);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The built binary in an environment with only a scratch home.
pub struct Frosty {
    pub home: TempDir,
    vars: Vec<(String, String)>,
}

impl Frosty {
    /// Creates it with a budget of a second, so that a stalled machine fails no test of another property.
    pub fn new() -> Self {
        Self::bare().config("{}")
    }

    /// Creates it without any configuration.
    pub fn bare() -> Self {
        let home = TempDir::new().unwrap();
        fs::create_dir_all(home.path().join("project/.claude")).unwrap();
        fs::create_dir_all(home.path().join(".claude")).unwrap();
        Self { home, vars: Vec::new() }
    }

    pub fn embedded() -> Self {
        Self::new().var("FROSTY_STORE", "embedded")
    }

    pub fn on(server: &Server) -> Self {
        Self::new().var("FROSTY_STORE", &server.url())
    }

    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the user's configuration. It gets a budget of a second, unless it is broken or contains one.
    pub fn config(self, json: &str) -> Self {
        let mut text = json.to_owned();
        if let Ok(serde_json::Value::Object(mut object)) = serde_json::from_str(json) {
            object.entry("budget").or_insert("1s".into());
            // The quiet minute is longer than a test.
            object.entry("person").or_insert(serde_json::json!({"quiet": "0s"}));
            text = serde_json::Value::Object(object).to_string();
        }
        fs::write(self.home.path().join(".claude/frosty.json"), text).unwrap();
        self
    }

    /// Writes the project's configuration.
    pub fn project_config(self, json: &str) -> Self {
        fs::write(self.project().join(".claude/frosty.json"), json).unwrap();
        self
    }

    pub fn project(&self) -> PathBuf {
        self.home.path().join("project")
    }

    pub fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/frosty")
    }

    /// Returns the file of a scope of the fleet `default`.
    pub fn scope_file(&self, scope: &str) -> PathBuf {
        self.state().join("default").join(frosty::store::files::paths::scope(scope))
    }

    /// Returns the file of a session of the fleet `default`.
    pub fn session_file(&self, session: &str) -> PathBuf {
        self.state().join("default").join(frosty::store::files::paths::session(session))
    }

    pub fn journal(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.state().join("default/journal.jsonl")).unwrap_or_default();
        text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_frosty")), args)
    }

    /// Returns a call of the hook binary.
    pub fn hook_binary(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_frosty-hook")), args)
    }

    pub fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().current_dir(self.project());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", self.home.path());
        command.env("CLAUDE_PROJECT_DIR", self.project());
        command.envs(self.vars.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `frosty <args>` with this on stdin.
    pub fn run(&self, args: &[&str], stdin: &[u8]) -> Answer {
        feed(self.command(args), stdin)
    }

    /// Runs `frosty hook` on a payload.
    pub fn hook(&self, payload: &str) -> Answer {
        self.run(&["hook"], payload.as_bytes())
    }
}

/// A waiting engine, killed with the test.
pub struct Engine {
    child: Option<Child>,
}

impl Engine {
    /// Starts `frosty hook --wait 20d --timeout 1900000` on a payload.
    pub fn start(frosty: &Frosty, payload: &str) -> Self {
        Self::of(frosty.command(&["hook", "--wait", "20d", "--timeout", "1900000"]), payload)
    }

    pub fn of(mut command: Command, payload: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(payload.as_bytes());
        Self { child: Some(child) }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn is_waiting(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Returns its answer; it must end within 20 s.
    pub fn answer(mut self) -> Answer {
        let started = Instant::now();
        eventually("the engine ends", || !self.is_waiting());
        Answer::of(self.child.take().unwrap().wait_with_output().unwrap(), started.elapsed())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for a condition, for 20 s at most.
#[track_caller]
pub fn eventually(what: &str, mut happens: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !happens() {
        assert!(Instant::now() < end, "within 20 s it never came that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command with this on stdin.
pub fn feed(mut command: Command, stdin: &[u8]) -> Answer {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    Answer::of(child.wait_with_output().unwrap(), started.elapsed())
}

/// The answer of a run.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Answer {
    pub fn of(output: Output, took: Duration) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            took,
        }
    }

    /// Checks for exit 0 and one message on stderr, perhaps with a hint in a second line, that has all of these words.
    #[track_caller]
    pub fn stands_down_saying(&self, words: &[&str]) {
        assert_eq!(self.code, Some(0), "{self:?}");
        let (message, hint) = self.stderr.trim_end().split_once('\n').unwrap_or((self.stderr.trim_end(), "hint: "));
        assert!(message.starts_with("frosty: ") && hint.starts_with("hint: ") && !hint.contains('\n'), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
    }
}

pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hook").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns the payload of a Stop event.
pub fn stop(session: &str) -> String {
    serde_json::json!({"session_id": session, "hook_event_name": "Stop", "stop_hook_active": false}).to_string()
}

/// Returns the payload of a Stop event with this last message.
pub fn stop_saying(session: &str, message: &str) -> String {
    serde_json::json!({"session_id": session, "hook_event_name": "Stop", "last_assistant_message": message}).to_string()
}
