//! argv → command → exit code: the tool for people. The hook's own codes are `hook::Code`; all others are
//! `exit::Exit`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use frosty::cmd::{
    Cli, Command, Failure, announce, check, completions, config, dispatch, doctor, explain, gate, hold, install, log,
    man, message, notes, out, overview, release, same_place, schedule, status, statusline, switch, uninstall, wake,
    work,
};
use frosty::exit::Exit;
use frosty::hint::Hint;
use frosty::hook::{self, Program, flags};
use frosty::{color, secret, text};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|a| a == "hook") {
        hook::begin(Program::Tool);
    }
    if completions::answer(&args) {
        return written(Exit::Done).into();
    }
    let command = match Cli::try_parse_from(&args) {
        Ok(cli) => {
            color::choose(cli.color);
            cli.command
        }
        Err(e) => return usage(&args, &e),
    };
    let Some(command) = command else {
        overview::run();
        return written(Exit::Done).into();
    };
    let done = match command {
        Command::Gate(args) => return gate::run(args).into(),
        Command::Hook(args) => hook::run(&args.flags(), Program::Tool).leave(),
        Command::Install(args) => install::run(&args).map_err(Failure::from),
        Command::Uninstall(args) => uninstall::run(&args).map_err(Failure::from),
        Command::On(target) => switch::run(target, true),
        Command::Off(target) => switch::run(target, false),
        Command::Wake(args) => wake::run(args),
        Command::Work(args) => work::run(args),
        Command::Tell(args) => message::tell::run(args),
        Command::Ask(args) => message::ask::run(args),
        Command::Reply(args) => message::reply::run(args),
        Command::Dispatch(args) => dispatch::run(args),
        Command::Hold(args) => hold::run(args),
        Command::Release(args) => release::run(args),
        Command::Config(args) => config::run(args),
        Command::Completions(args) => {
            completions::run(&args);
            Ok(())
        }
        Command::Man(args) => man::run(&args).map_err(Failure::from),
        Command::Announce(args) => announce::run(&args),
        Command::Doctor(args) => doctor::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Log(args) => log::run(args),
        Command::Notes(args) => notes::run(args),
        Command::Schedule(args) => schedule::run(args),
        Command::Status(args) => status::run(args),
        Command::Statusline(args) => {
            statusline::run(args);
            return Exit::Done.into();
        }
    };
    let exit = match done {
        Ok(()) => Exit::Done,
        Err(e) => {
            let hint =
                e.hint().map(|hint| format!("\nhint: {}", same_place::repeated(&hint, &args))).unwrap_or_default();
            out::report(&format!("{e}{hint}"));
            e.exit()
        }
    };
    written(exit).into()
}

/// Returns the exit code of a command, also if its output may not have been written.
fn written(exit: Exit) -> Exit {
    match out::failure() {
        Some(e) => {
            out::report(&format!("cannot write the output: {e}"));
            if exit == Exit::Done { Exit::Failed } else { exit }
        }
        None => exit,
    }
}

fn usage(args: &[OsString], e: &clap::Error) -> ExitCode {
    if !e.use_stderr() {
        out::note(e.print());
        return written(Exit::Done).into();
    }
    if let [_, command, words @ ..] = args
        && command == "hook"
        && let Err(wrong) = flags::parse(words)
    {
        hook::bad_usage(&flags::sentence(&wrong), flags::is_manual(words)).leave();
    }
    let _ = write!(io::stderr(), "{}", out::for_stderr(&shown(e)));
    Exit::Usage.into()
}

/// Returns clap's error in a form that is safe to show. It may contain a URL with a password in a wrong place,
/// or any other text.
fn shown(e: &clap::Error) -> String {
    text::prompt(&secret::scrubbed(&e.to_string()), text::LONGEST_PROMPT)
}
