//! The flags for the store and the fleet, repeated in a hint: without them its command would look at other data.

use std::ffi::OsString;

use clap::CommandFactory;

use super::PlaceArgs;
use super::command_line::Cli;

/// Adds the flags of this command line to a hint whose command takes them, and has none.
#[must_use]
pub fn repeated(hint: &str, args: &[OsString]) -> String {
    let flags = given(args).again();
    let command = hint.rsplit_once(": ").map_or(hint, |(_, command)| command);
    if flags.is_empty() || !takes_them(command) { hint.to_owned() } else { format!("{hint}{flags}") }
}

/// Reads the flags of a command line that was parsed before, so that no value is missing.
fn given(args: &[OsString]) -> PlaceArgs {
    let words: Vec<&str> = args.iter().map_while(|arg| arg.to_str()).take_while(|word| *word != "--").collect();
    let value = |flag: &str| {
        words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(flag)? {
            "" => words.get(at.saturating_add(1)).map(|value| (*value).to_owned()),
            rest => rest.strip_prefix('=').map(str::to_owned),
        })
    };
    PlaceArgs { store: value("--store"), fleet: value("--fleet") }
}

/// Returns whether a text is a command of Frosty that takes the flags, without further words of the shell.
fn takes_them(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let is_plain =
        !command.contains([';', '|', '&', '>']) && !command.contains("--store") && !command.contains("--fleet");
    if words.next() != Some("frosty") || !is_plain {
        return false;
    }
    let mut known = Cli::command();
    for word in words {
        let Some(sub) = known.find_subcommand(word) else { break };
        known = sub.clone();
    }
    known.get_arguments().any(|argument| argument.get_id() == "store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_keeps_the_place() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let on = args("frosty reply x y --store=redis://h:1 --fleet two");
        for (hint, expected) in [
            ("see it: frosty work show x", "see it: frosty work show x --store redis://h:1 --fleet two"),
            ("see the queues: frosty work", "see the queues: frosty work"),
            ("check it: frosty doctor", "check it: frosty doctor --store redis://h:1 --fleet two"),
            ("arm it: frosty on", "arm it: frosty on"),
            ("see it: frosty status --fleet three", "see it: frosty status --fleet three"),
            ("edit the file: ${EDITOR:-vi} x", "edit the file: ${EDITOR:-vi} x"),
        ] {
            assert_eq!(repeated(hint, &on), expected);
        }
        assert_eq!(
            repeated("see it: frosty work show x", &args("frosty reply x -- --fleet two")),
            "see it: frosty work show x"
        );
    }
}
