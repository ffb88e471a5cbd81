//! A redis-server that can be killed, restarted with or without its data, frozen, and run with another clock.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::Connection;
use tempfile::TempDir;

use crate::support::free_port;

/// A clock that is set by writing a file.
pub struct Clock {
    folder: TempDir,
}

impl Clock {
    /// Builds the library that implements it.
    pub fn new() -> Self {
        let clock = Self { folder: TempDir::new().unwrap() };
        assert_eq!(crate::support::library("clock", clock.folder.path()), clock.library());
        clock.step(0);
        clock
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("clock.so")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    /// Sets it this many seconds from the true time.
    pub fn step(&self, by: i64) {
        let new = self.folder.path().join("clock.new");
        fs::write(&new, by.to_string()).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    /// Returns the variables that apply it to a process. The process's monotonic clock stays true.
    pub fn vars(&self) -> Vec<(String, String)> {
        let var = |name: &str, path: PathBuf| (name.to_owned(), path.to_str().unwrap().to_owned());
        vec![var("LD_PRELOAD", self.library()), var("FAULTS_CLOCK", self.file())]
    }
}

pub struct Redis {
    child: Mutex<Option<Child>>,
    pub port: u16,
    dir: TempDir,
    options: Vec<String>,
    vars: Vec<(String, String)>,
}

impl Redis {
    pub fn start(options: &[&str]) -> Self {
        Self::start_with(options, Vec::new())
    }

    /// Starts a server that stores every write on disk.
    pub fn durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub fn start_with(options: &[&str], vars: Vec<(String, String)>) -> Self {
        let options = options.iter().map(|o| (*o).to_owned()).collect();
        let server = Self { child: Mutex::new(None), port: free_port(), dir: TempDir::new().unwrap(), options, vars };
        server.launch();
        server
    }

    fn launch(&self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(&self.options).envs(self.vars.iter().cloned()).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server must be installed: ./tests/run.sh does it");
        *self.child.lock().unwrap() = Some(child);
        let end = Instant::now() + Duration::from_secs(40);
        let answers = || {
            let mut con = redis::Client::open(self.url()).unwrap().get_connection().ok()?;
            redis::cmd("PING").query::<String>(&mut con).ok()
        };
        while answers().is_none() {
            assert!(Instant::now() < end, "redis-server did not start on port {}", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn connection(&self) -> Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub fn is_up(&self) -> bool {
        self.child.lock().unwrap().is_some()
    }

    /// Sends `kill -9`.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn restart(&self) {
        self.kill();
        self.launch();
    }

    pub fn restart_empty(&self) {
        self.kill();
        for entry in fs::read_dir(&self.dir).unwrap().flatten() {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        self.launch();
    }

    /// Sends `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.lock().unwrap().as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
