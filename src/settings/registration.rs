//! Writes the entries that `frosty install` registers.

use serde_json::{Value, json};

use crate::client_settings::owner::{Engine, MARKER, MARKER_KEY, is_hook_binary};

/// Every event on which Frosty is registered, in the order they are written.
pub const EVENTS: [&str; 7] =
    ["SessionStart", "UserPromptSubmit", "Stop", "StopFailure", "PreCompact", "Notification", "SessionEnd"];

/// The longest wait of the waiting engine, as its flag.
const WAIT: &str = "20d";
/// The client's timeout for the waiting engine, in seconds. The client's own timer overflows past 24 days.
const LONG: u64 = 1_900_000;
/// The client's timeout for any other hook, in seconds.
const SHORT: u64 = 10;

/// The registration to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The absolute path of the program: the hook binary. For any other program, the entries are those of
    /// earlier versions, which ran `frosty hook`.
    pub command: String,
    /// The registered engine.
    pub engine: Engine,
    /// Whether a session must be armed first (`--arm manual`): in user settings.
    pub manual: bool,
    /// Whether the continuous engine resumes a session after its client was killed. Entries of earlier versions
    /// do not.
    pub resumes: bool,
}

/// The role of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The entry answers at once.
    Answers,
    /// The entry answers at once, beside one that waits.
    Announces,
    /// The entry waits.
    Waits,
}

impl Registration {
    /// Returns the number of entries.
    #[must_use]
    pub fn count(&self) -> usize {
        EVENTS.iter().map(|event| self.roles(event).len()).sum()
    }

    /// Returns the entries of an event, as the client reads them.
    #[must_use]
    pub fn entries(&self, event: &str) -> Vec<Value> {
        let object = |fields: Vec<(&str, Value)>| {
            Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        self.roles(event).into_iter().map(|role| object(self.fields(role))).collect()
    }

    /// Returns the entries of an event, on one line.
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

    /// Returns the roles of an event's entries.
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
        let mut args = if is_hook_binary(&self.command) { Vec::new() } else { vec!["hook".to_owned()] };
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
