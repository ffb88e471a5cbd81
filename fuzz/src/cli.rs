//! The command line: the fast parser of the registered forms agrees with clap.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Parser;
use frosty::cmd::{Cli, Command};
use frosty::hook::flags;

/// A byte below the length of this list means a word, so that the fuzzer need not spell them.
const WORDS: [&str; 24] = [
    "hook",
    "--arm",
    "manual",
    "always",
    "--wait",
    "20d",
    "1h30m",
    "0s",
    "250ms",
    "--timeout",
    "1900000",
    "60",
    "0",
    "-h",
    "--help",
    "--",
    "--store",
    "--scope",
    "embedded",
    "--arm=manual",
    "--wait=1s",
    "",
    "-1",
    "99999999999999999999",
];

pub fn run(data: &[u8]) {
    let mut argv = vec![OsString::from("frosty")];
    for word in data.split(|b| *b == 0xff).take(12) {
        match word {
            [code] if usize::from(*code) < WORDS.len() => argv.push(WORDS[usize::from(*code)].into()),
            word => argv.push(OsString::from_vec(word.to_vec())),
        }
    }
    let short = match argv.as_slice() {
        [_, command, words @ ..] if command == "hook" => flags::parse(words).ok(),
        _ => None,
    };
    // The fast parser leaves all other forms to clap.
    if short.is_none() && !data.len().is_multiple_of(8) {
        return;
    }
    match (Cli::try_parse_from(&argv).map(|cli| cli.command), short) {
        (Ok(Some(Command::Hook(args))), Some(flags)) => assert_eq!(args.flags(), flags, "{argv:?}"),
        (long, Some(flags)) => panic!("{argv:?}: {flags:?} where clap says {long:?}"),
        (Ok(Some(Command::Hook(args))), None) => {
            let flags = args.flags();
            let words: Vec<_> = argv.iter().skip(2).filter_map(|a| a.to_str()).collect();
            // The fast parser leaves no registered form to clap, which would cost a Stop event more than its
            // verdict.
            let registered = words.chunks(2).all(|c| matches!(c, ["--arm" | "--wait" | "--timeout", _]));
            assert!(!registered, "{argv:?} is left to clap: {flags:?}");
        }
        (_, None) => {}
    }
}
