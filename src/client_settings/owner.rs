//! Finds out which entries of a settings file are Frosty's, and which engine they register.

use std::path::Path;

use super::{Hook, shell};

/// The key of a hook's entry that contains the marker. The client knows this key (2.1.331: the text beside its
/// spinner while the hook runs), so no check of its own can ever refuse the file for it.
pub const MARKER_KEY: &str = "statusMessage";
/// The marker's text.
pub const MARKER: &str = "frosty";

/// The handler that decides a session's Stop events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Waits after a refusal until it ends.
    Continuous,
    /// Answers at once.
    Plain,
}

impl Engine {
    /// Returns the engine's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Continuous => "continuous",
            Self::Plain => "plain",
        }
    }
}

/// The file name of the hook binary, which `frosty install` registers.
pub const HOOK_BINARY: &str = "frosty-hook";

/// The owner of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// An entry from `frosty install`. It has the marker and runs a program by its absolute path: the hook
    /// binary or, as earlier versions wrote it, `… hook`.
    Installed,
    /// An entry that also runs one of the two programs as a hook, but was written by a person or belongs to a
    /// plugin. It is never changed.
    ByHand,
    /// An entry of another program.
    Other,
}

/// The call of a Frosty hook in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program, by its path or its name.
    pub program: String,
    /// The flags after the program.
    pub flags: Vec<String>,
}

impl Call {
    /// Returns whether the call runs the hook binary, and not `frosty hook`.
    #[must_use]
    pub fn is_of_hook_binary(&self) -> bool {
        is_hook_binary(&self.program)
    }
}

/// Returns whether a word names the hook binary.
#[must_use]
pub fn is_hook_binary(word: &str) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == HOOK_BINARY)
}

/// Returns the owner of a hook.
#[must_use]
pub fn owner(hook: &Hook) -> Owner {
    if installed(hook).is_some() {
        return Owner::Installed;
    }
    if call(hook).is_some() { Owner::ByHand } else { Owner::Other }
}

/// Returns the call of an entry that `frosty install` wrote.
fn installed(hook: &Hook) -> Option<Call> {
    let is_marked = hook.kind == "command" && hook.marker.as_deref() == Some(MARKER);
    let args = hook.args.as_ref().filter(|_| is_marked && Path::new(&hook.command).is_absolute())?;
    let flags = match args.split_first() {
        _ if is_hook_binary(&hook.command) => args.clone(),
        Some((first, flags)) if first == "hook" => flags.to_vec(),
        _ => return None,
    };
    Some(Call { program: hook.command.clone(), flags })
}

/// Returns the call of a Frosty hook in an entry: direct, by another program (`env`), or in a shell's command
/// line. It is found without running the command.
#[must_use]
pub fn call(hook: &Hook) -> Option<Call> {
    if hook.kind != "command" {
        return None;
    }
    if let Some(call) = installed(hook) {
        return Some(call);
    }
    let words = match &hook.args {
        Some(args) => std::iter::once(&hook.command).chain(args).cloned().collect(),
        None => shell::words(&hook.command),
    };
    call_in(&words).or_else(|| {
        // A command line for a shell: sh -c 'frosty hook'.
        words.iter().filter(|word| word.contains(char::is_whitespace)).find_map(|line| call_in(&shell::words(line)))
    })
}

fn call_in(words: &[String]) -> Option<Call> {
    words.split(|word| shell::parts_commands(word)).find_map(call_of_command)
}

/// Returns the call in one simple command.
fn call_of_command(words: &[String]) -> Option<Call> {
    let is_tool = |word: &str| Path::new(word).file_name().is_some_and(|name| name == "frosty");
    let call = |program: &String, flags: &[String]| Call { program: program.clone(), flags: flags.to_vec() };
    if words.first().is_some_and(|first| TAKE_PATHS.contains(&first.as_str())) {
        return None;
    }
    (0..words.len()).find_map(|at| match words.get(at..)? {
        [program, hook, flags @ ..] if hook == "hook" && is_tool(program) => Some(call(program, flags)),
        // Before another word it is a directory of that name: git -C frosty-hook pull.
        [program, flags @ ..] if is_hook_binary(program) && flags.first().is_none_or(|word| word.starts_with('-')) => {
            Some(call(program, flags))
        }
        _ => None,
    })
}

/// Commands that take the path of a directory or file, which may have the hook binary's name.
const TAKE_PATHS: [&str; 16] = [
    "[", "cat", "cd", "chmod", "cp", "echo", "git", "ln", "ls", "mkdir", "mv", "printf", "pushd", "rm", "test", "touch",
];

/// Returns the engine that an entry registers, where it is Frosty's and on `Stop`.
#[must_use]
pub fn engine(hook: &Hook) -> Option<Engine> {
    let is_wait = |word: &String| word == "--wait" || word.starts_with("--wait=");
    let waits = call(hook).filter(|_| hook.event == "Stop")?.flags.iter().any(is_wait);
    Some(if waits { Engine::Continuous } else { Engine::Plain })
}
