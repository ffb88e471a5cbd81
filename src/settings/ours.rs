//! Which entries of a settings file are Frosty's, which engine they make, and how they are written.

use std::path::Path;

use serde_json::{Value, json};

use super::{Hook, shell};

/// The key of a hook's entry that bears the marker. The client knows it (2.1.331: the words beside its spinner while the
/// hook runs), so that no check of its own can ever refuse the file for it.
pub const MARKER_KEY: &str = "statusMessage";
/// The marker.
pub const MARKER: &str = "frosty";

/// Every event that Frosty is registered on, in the order they are written.
pub const EVENTS: [&str; 7] =
    ["SessionStart", "UserPromptSubmit", "Stop", "StopFailure", "PreCompact", "Notification", "SessionEnd"];

/// How long the waiting engine may wait, as it is told so.
const WAIT: &str = "20d";
/// How long the client lets the waiting engine run, in seconds; its own timer overflows past 24 days.
const LONG: u64 = 1_900_000;
/// How long the client lets any other hook run, in seconds.
const SHORT: u64 = 10;

/// The handler that decides a session's stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Waits a refusal out.
    Continuous,
    /// Answers at once.
    Plain,
}

impl Engine {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Continuous => "continuous",
            Self::Plain => "plain",
        }
    }
}

/// Whose an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Written by `frosty install`: it bears the marker and runs a program named by its absolute path as `… hook`.
    Installed,
    /// Runs `frosty hook` too, but was written by a person or belongs to a plugin: it is never changed.
    ByHand,
    /// Somebody else's.
    Other,
}

/// Whose a hook is.
#[must_use]
pub fn owner(hook: &Hook) -> Owner {
    if hook.kind != "command" {
        return Owner::Other;
    }
    let runs_hook = hook.args.as_ref().is_some_and(|args| args.first().is_some_and(|a| a == "hook"));
    if hook.marker.as_deref() == Some(MARKER) && runs_hook && Path::new(&hook.command).is_absolute() {
        return Owner::Installed;
    }
    if call(hook).is_some() { Owner::ByHand } else { Owner::Other }
}

/// The call of `frosty hook` that a hook makes, as its program and its arguments: by itself, by another program (`env`), or in
/// a shell's line, as far as that can be told without running it.
#[must_use]
pub fn call(hook: &Hook) -> Option<Vec<String>> {
    let words = match &hook.args {
        Some(args) => std::iter::once(&hook.command).chain(args).cloned().collect(),
        None => shell::words(&hook.command),
    };
    call_in(&words).or_else(|| {
        // A line that a shell is given: sh -c 'frosty hook'.
        words.iter().filter(|word| word.contains(char::is_whitespace)).find_map(|line| call_in(&shell::words(line)))
    })
}

fn call_in(words: &[String]) -> Option<Vec<String>> {
    let is_frosty = |word: &str| Path::new(word).file_name().is_some_and(|name| name == "frosty");
    let at = words.windows(2).position(|w| matches!(w, [program, hook] if hook == "hook" && is_frosty(program)))?;
    let call = words.iter().skip(at).take_while(|word| !shell::parts_commands(word));
    Some(call.cloned().collect())
}

/// Which engine an entry makes, where it is Frosty's and on `Stop`.
#[must_use]
pub fn engine(hook: &Hook) -> Option<Engine> {
    if hook.event != "Stop" || owner(hook) == Owner::Other {
        return None;
    }
    let is_wait = |word: &str| word == "--wait" || word.starts_with("--wait=");
    let waits = match &hook.args {
        Some(args) if args.first().is_some_and(|a| a == "hook") => args.iter().any(|a| is_wait(a)),
        _ => call(hook).is_some_and(|words| words.iter().any(|word| is_wait(word))),
    };
    Some(if waits { Engine::Continuous } else { Engine::Plain })
}

/// What is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The program's absolute path.
    pub command: String,
    /// The engine.
    pub engine: Engine,
    /// Whether a session must be armed first (`--arm manual`): in user settings.
    pub manual: bool,
    /// Whether the continuous engine resumes a session whose client was killed. What earlier versions wrote does not.
    pub resumes: bool,
}

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Answers at once.
    Answers,
    /// Answers at once, beside one that waits.
    Announces,
    /// Waits.
    Waits,
}

impl Registration {
    /// How many entries there are.
    #[must_use]
    pub fn count(&self) -> usize {
        EVENTS.iter().map(|event| self.roles(event).len()).sum()
    }

    /// The entries of an event, as the client reads them.
    #[must_use]
    pub fn entries(&self, event: &str) -> Vec<Value> {
        let object = |fields: Vec<(&str, Value)>| {
            Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        self.roles(event).into_iter().map(|role| object(self.fields(role))).collect()
    }

    /// The entries of an event, on one line.
    #[must_use]
    pub fn written(&self, event: &str) -> String {
        let entries: Vec<String> = self.roles(event).into_iter().map(|role| self.line(role)).collect();
        entries.join(", ")
    }

    fn line(&self, role: Role) -> String {
        let field = |(key, value): (&str, Value)| match value {
            Value::Array(words) => {
                let words: Vec<String> = words.iter().map(Value::to_string).collect();
                format!("\"{key}\": [{}]", words.join(", "))
            }
            value => format!("\"{key}\": {value}"),
        };
        let fields: Vec<String> = self.fields(role).into_iter().map(field).collect();
        format!("{{ {} }}", fields.join(", "))
    }

    /// What the entries of an event do.
    fn roles(&self, event: &str) -> Vec<Role> {
        match (self.engine, event) {
            (Engine::Continuous, "Stop" | "StopFailure") => vec![Role::Waits],
            (Engine::Continuous, "SessionStart") if self.resumes => vec![Role::Announces, Role::Waits],
            _ => vec![Role::Answers],
        }
    }

    fn fields(&self, role: Role) -> Vec<(&'static str, Value)> {
        let waits = role == Role::Waits;
        let timeout = if waits { LONG } else { SHORT };
        let mut args = vec!["hook".to_owned()];
        let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
        if self.manual {
            flag("--arm", "manual".to_owned());
        }
        if role == Role::Announces {
            args.push("--show-resume".to_owned());
        }
        let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
        if waits {
            flag("--wait", WAIT.to_owned());
            flag("--timeout", timeout.to_string());
        }
        let mut fields = vec![("type", json!("command")), ("command", json!(self.command)), ("args", json!(args))];
        if waits {
            fields.push(("asyncRewake", json!(true)));
        }
        fields.extend([("timeout", json!(timeout)), (MARKER_KEY, json!(MARKER))]);
        fields
    }
}
