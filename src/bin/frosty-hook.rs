//! argv → hook → exit code: the program that the client's settings register. It runs the code of `frosty hook`, and has no
//! command for people in it.

use std::ffi::OsString;
use std::io::{self, Write};

use frosty::hook::flags::{self, Wrong};
use frosty::hook::{self, Code, Program};

const HELP: &str = "\
Answers one hook call of Claude Code: its JSON on stdin, the verdict as the exit code.
It takes the flags of `frosty hook`; see: frosty hook --help
";

fn main() {
    hook::begin(Program::HookBinary);
    answer(&std::env::args_os().skip(1).collect::<Vec<OsString>>()).leave()
}

fn answer(words: &[OsString]) -> Code {
    match flags::parse(words) {
        Ok(flags) => hook::run(&flags, Program::HookBinary),
        Err(Wrong::Help) => print(HELP),
        Err(_) if words == ["--version"] => print(concat!("frosty-hook ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(wrong) => hook::bad_usage(&flags::sentence(&wrong), flags::is_manual(words)),
    }
}

fn print(said: &str) -> Code {
    // A reader that has gone away is no failure.
    let _ = io::stdout().write_all(said.as_bytes());
    Code::ZERO
}
