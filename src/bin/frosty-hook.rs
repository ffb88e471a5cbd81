//! argv → hook → exit code: the program that the client's settings register. It runs the code of `frosty hook`,
//! and contains no command for people.
//!
//! It begins without the standard library's start-up, which makes ten system calls to report an overflow of the
//! stack.
#![no_main]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use frosty::arena::Arena;
use frosty::hook::flags::{self, Wrong};
use frosty::hook::{self, Code, Program};

#[global_allocator]
static HEAP: Arena = Arena::new();

const HELP: &str = "\
Answers one hook call of Claude Code: its JSON on stdin, the verdict as the exit code.
It takes the flags of `frosty hook`; see: frosty hook --help
";

/// The entry point that the C library calls.
///
/// # Safety
/// `argv` must contain `argc` pointers to texts that end in a zero byte.
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "the C library's start-up is not the standard library's")]
unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    hook::begin(Program::HookBinary);
    let words = (1..usize::try_from(argc).unwrap_or(0)).map(|at| {
        // SAFETY: the caller guarantees that there are `argc` texts.
        let word = unsafe { CStr::from_ptr(*argv.add(at)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    answer(&words.collect::<Vec<OsString>>()).leave()
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
    // A reader that has gone away is not a failure.
    let _ = io::stdout().write_all(said.as_bytes());
    Code::ZERO
}
