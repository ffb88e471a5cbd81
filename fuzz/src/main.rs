//! One binary for all targets; `FUZZ_TARGET` selects the one that runs. `fuzz/run.sh` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

mod cli;
mod config;
mod directive;
mod draw;
mod payload;
mod replies;
mod said;
mod state;
mod text;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 7] = [
    ("payload", payload::run),
    ("config", config::run),
    ("directive", directive::run),
    ("replies", replies::run),
    ("state", state::run),
    ("cli", cli::run),
    ("text", text::run),
];

static CHOSEN: OnceLock<Target> = OnceLock::new();

#[allow(clippy::disallowed_methods, reason = "libFuzzer has the command line")]
fn chosen() -> Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let named = TARGETS.iter().find(|(known, _)| *known == name);
    let names = TARGETS.map(|(known, _)| known).join(", ");
    named.unwrap_or_else(|| panic!("expected FUZZ_TARGET to be one of {names}, found \"{name}\"")).1
}

fuzz_target!(|data: &[u8]| CHOSEN.get_or_init(chosen)(data));
