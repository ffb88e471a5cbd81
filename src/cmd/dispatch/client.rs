//! The client that a route starts: its command line, its settings, and its output.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{self, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::arm;
use crate::config::{Config, Route, SessionKind, SessionRoute, started_by};
use crate::env::{self, Env};
use crate::policy::verdict::Admission;
use crate::policy::work::entry::is_model;
use crate::read;
use crate::text;

/// The client's program.
pub(super) const PROGRAM: &str = "claude";
/// The most bytes of a session's output that a message is made of.
const MOST_SAID: u64 = 4096;
/// How long the files of a start are kept.
const KEPT_FOR: Duration = Duration::from_secs(365 * 86_400);
/// The most outputs that are kept.
const MOST_FILES: usize = 200;
/// The most bytes of a file with an API key.
const LONGEST_KEY: u64 = 64 * 1024;
/// The variables that a client inherits from the session in which the dispatcher was started.
const OF_SESSION: [&str; 4] = ["CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SESSION_ID", "CLAUDE_JOB_DIR"];

/// What the client of one start is given.
pub(super) struct Client<'a> {
    pub(super) config: &'a Config,
    pub(super) env: &'a Env,
    pub(super) route: &'a Route,
    pub(super) session: &'a SessionRoute,
    pub(super) token: &'a str,
    /// The session's id in print mode.
    pub(super) id: &'a str,
    /// The place of the API key in the route's list, which may be empty.
    pub(super) key: usize,
    /// The model for the entry; empty for that of the route.
    pub(super) model: &'a str,
}

/// Returns what no client can be started without, where it is missing, with a command that shows it.
pub(super) fn missing(env: &Env, session: &SessionRoute, key: usize) -> Option<(String, String)> {
    if env::on_path(PROGRAM).is_none() {
        let why = format!("the client's program {PROGRAM} is not found on PATH");
        return Some((why, format!("see where it is: command -v {PROGRAM}")));
    }
    let see = |path: &Path| format!("see what is there: ls -ld {}", text::path(path));
    let folder = session.folder.as_ref().map(|folder| expanded(env, folder));
    if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
        return Some((format!("{} is no folder", text::path(folder)), see(folder)));
    }
    let place = folder.or_else(|| std::env::current_dir().ok());
    // `FROSTY_ON` is set for the client.
    let told = arm::told(&Env { on: None, ..env.clone() }, None, place.as_deref());
    if told.unwrap_or(Some(false)) == Some(false) {
        let place = place.as_deref().map(text::path).unwrap_or_default();
        return Some((format!("Frosty is off in {place}"), format!("switch it on: frosty on --project {place}")));
    }
    let file = session.keys.get(key).map(|file| expanded(env, file))?;
    let why = read::file(&file, LONGEST_KEY).err()?;
    Some((format!("the API key in {} cannot be read: {why}", text::path(&file)), see(&file)))
}

pub(super) fn expanded(env: &Env, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), &env.home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// A client that was started.
pub(super) struct Started {
    pub(super) child: Child,
    /// The file with what it writes to its stdout and its stderr.
    pub(super) output: PathBuf,
}

impl Started {
    /// Returns the beginning of the output.
    pub(super) fn said(&self) -> String {
        let mut said = Vec::new();
        let _ = File::open(&self.output).and_then(|file| file.take(MOST_SAID).read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Client<'_> {
    /// Starts the client with this prompt. This is the only function that does, and it consumes the proof of an admission.
    ///
    /// # Errors
    /// When its settings cannot be written, or the program cannot be started.
    pub(super) fn start(&self, admission: Admission, prompt: &str) -> io::Result<Started> {
        let Admission { .. } = admission;
        let state = self.config.state.as_deref().ok_or(io::ErrorKind::NotFound)?;
        let settings = started_by(state, self.token);
        let folder = settings.parent().unwrap_or(state);
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        prune(folder);
        private(&settings)?.write_all(self.settings().as_bytes())?;
        let output = settings.with_extension("log");
        let mut command = self.command(&settings);
        // The client may outlive the dispatcher, so that it has the file itself and no pipe.
        let out = private(&output)?;
        command.stdin(Stdio::piped()).stderr(out.try_clone()?).stdout(out);
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A client that does not read its prompt closes the pipe, or leaves it full.
            let prompt = prompt.to_owned();
            std::thread::spawn(move || input.write_all(prompt.as_bytes()));
        }
        Ok(Started { child, output })
    }

    fn command(&self, settings: &Path) -> Command {
        let SessionRoute { kind, folder, model, system_prompt, .. } = self.session;
        let mut command = Command::new(PROGRAM);
        command.arg(if *kind == SessionKind::Background { "--bg" } else { "-p" });
        command.arg("--name").arg(&self.route.to);
        let of_entry = Some(self.model.to_owned()).filter(|model| is_model(model));
        let flags = [("--model", &of_entry.or_else(|| model.clone())), ("--append-system-prompt", system_prompt)];
        for (flag, value) in flags.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?))) {
            command.arg(flag).arg(value);
        }
        if *kind == SessionKind::Print {
            // In the background the client chooses the id.
            command.arg("--session-id").arg(self.id);
        }
        command.arg("--settings").arg(settings);
        // The client's supervisor keeps the first environment for every later session. So what belongs to this one is
        // in its settings.
        for name in env::own().iter().chain(&OF_SESSION) {
            command.env_remove(name);
        }
        if *kind == SessionKind::Print {
            command.env("CLAUDE_CODE_RETRY_WATCHDOG", "1");
        }
        if let Some(folder) = folder {
            command.current_dir(expanded(self.env, folder));
        }
        command
    }

    /// Returns the client's settings: the environment of its hooks, and the command that reads the API key.
    fn settings(&self) -> String {
        let mut vars = self.session.env.clone();
        let on = if self.session.kind == SessionKind::Print { "print" } else { "1" };
        let start = match self.session.kind {
            SessionKind::Background => self.token.to_owned(),
            SessionKind::Print => format!("{}.{}", self.token, self.id),
        };
        let own = [
            ("FROSTY_NAME", self.route.to.clone()),
            ("FROSTY_SCOPE", self.route.to.clone()),
            ("FROSTY_FLEET", text::decoded(&self.config.fleet)),
            ("FROSTY_WORK", "required".to_owned()),
            ("FROSTY_ON", on.to_owned()),
            ("FROSTY_START", start),
        ];
        vars.extend(own.map(|(name, value)| (name.to_owned(), value)));
        // The client's folder is another one.
        let text = |path: &Option<PathBuf>| {
            let path = path::absolute(path.as_ref()?).ok()?;
            Some(path.to_string_lossy().into_owned())
        };
        let passed = [
            ("FROSTY_CONFIG", text(&self.env.config)),
            ("FROSTY_STORE", self.env.store.clone()),
            ("FROSTY_STORE_PASSWORD_FILE", text(&self.env.store_password_file)),
            ("FROSTY_STORE_CA_FILE", text(&self.env.store_ca_file)),
            ("FROSTY_STREAM", self.env.stream.clone()),
        ];
        vars.extend(passed.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        let mut settings = json!({});
        if let (Some(file), Some(object)) = (self.key_file(), settings.as_object_mut()) {
            // A key in the environment comes before the command.
            vars.insert("ANTHROPIC_API_KEY".to_owned(), String::new());
            let quoted = file.to_string_lossy().replace('\'', r"'\''");
            object.insert("apiKeyHelper".to_owned(), format!("cat '{quoted}'").into());
        }
        if let Some(object) = settings.as_object_mut() {
            object.insert("env".to_owned(), json!(vars));
        }
        settings.to_string()
    }

    fn key_file(&self) -> Option<PathBuf> {
        self.session.keys.get(self.key).map(|file| expanded(self.env, file))
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Removes old files of starts. The hooks of a session need its settings as long as it lives.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let aged = |entry: fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
    let mut files: Vec<(SystemTime, PathBuf)> = entries.flatten().filter_map(aged).collect();
    files.sort();
    let is_log = |path: &Path| path.extension().is_some_and(|end| end == "log");
    let logs = files.iter().filter(|(_, path)| is_log(path)).count();
    let mut over = logs.saturating_sub(MOST_FILES);
    for (at, path) in files {
        let is_old = at.elapsed().is_ok_and(|age| age > KEPT_FOR);
        if is_old || (over > 0 && is_log(&path)) {
            over = over.saturating_sub(usize::from(is_log(&path)));
            let _ = fs::remove_file(path);
        }
    }
}
