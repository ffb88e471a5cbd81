//! The fault matrix: every fault that can be staged between Frosty, its server and its machine, and its result.
//!
//! A test runner of its own, which measures the figures in `docs/faults.md`. `cargo test --test faults -- <part
//! of a name>` runs some rows; `FROSTY_FAULTS_DOC=1 cargo test --test faults` writes docs/faults.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod claims;
mod doc;
mod engines;
mod kills;
mod machine;
mod measure;
mod moves;
mod rows;
mod server;
mod site;
mod spool;
mod stage;
mod stories;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use measure::Facts;
use rows::Row;

/// The number of rows that run at once. They mostly sleep.
const AT_ONCE: usize = 8;

/// One test.
struct Test {
    name: &'static str,
    alone: bool,
    needs_root: bool,
    run: Box<dyn Fn() -> Result<Told, String> + Send + Sync>,
}

/// The result of a test.
#[derive(Clone)]
pub enum Told {
    Row(Facts),
    Story(String),
}

fn tests() -> Vec<Test> {
    // The long ones begin first, and the short ones fill the gaps.
    let (long, short): (Vec<&Row>, Vec<&Row>) = rows::ROWS.iter().partition(|row| row.stage.is_long());
    let rows = long.into_iter().chain(short).map(|row| Test {
        name: row.name,
        alone: row.stage.alone(),
        needs_root: row.stage.needs_root(),
        run: Box::new(move || stage::play(row).map(Told::Row)),
    });
    let stories = stories::STORIES.iter().map(|story| Test {
        name: story.name,
        alone: story.alone,
        needs_root: false,
        run: Box::new(move || (story.run)().map(Told::Story)),
    });
    stories.chain(rows).collect()
}

#[allow(clippy::disallowed_methods, reason = "a test's own knob")]
fn writes_the_document() -> bool {
    std::env::var_os("FROSTY_FAULTS_DOC").is_some_and(|v| v == "1")
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = args.iter().filter(|a| !a.starts_with('-') && *a != "terse").collect();
    let all = tests();
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let is_chosen = |name: &str, filter: &str| if has("--exact") { name == filter } else { name.contains(filter) };
    let chosen: Vec<&Test> =
        all.iter().filter(|t| filters.is_empty() || filters.iter().any(|f| is_chosen(t.name, f))).collect();
    // In the form that nextest requires: no row is ignored.
    if has("--list") {
        chosen.iter().filter(|_| !has("--ignored")).for_each(|t| println!("{}: test", t.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let started = Instant::now();
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let (able, unable): (Vec<&Test>, Vec<&Test>) = chosen.into_iter().partition(|t| root || !t.needs_root);
    unable.iter().for_each(|t| println!("test {} ... ignored, only root may mount", t.name));
    let (alone, together): (Vec<&Test>, Vec<&Test>) = able.into_iter().partition(|t| t.alone);
    let shows = has("--nocapture") || has("--show-output");
    let mut told = run(&together, AT_ONCE, shows);
    told.extend(run(&alone, 1, shows));
    let failed: Vec<_> = told.iter().filter(|(_, told)| told.is_err()).collect();
    for (name, why) in &failed {
        println!("\n---- {name} ----\n    {}", why.as_ref().err().unwrap());
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        told.len() - failed.len(),
        failed.len(),
        unable.len(),
        all.len() - told.len() - unable.len(),
        started.elapsed().as_secs_f64()
    );
    if !failed.is_empty() {
        return ExitCode::from(101);
    }
    if writes_the_document() && told.len() == all.len() {
        doc::write(&told.into_iter().map(|(name, told)| (name, told.unwrap())).collect());
    }
    ExitCode::SUCCESS
}

type Results = BTreeMap<&'static str, Result<Told, String>>;

/// Runs tests on this many threads, each test on a fresh one, because some leave their thread in namespaces of
/// its own.
fn run(tests: &[&Test], threads: usize, shows: bool) -> Results {
    let (next, told) = (AtomicUsize::new(0), Mutex::new(Results::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let started = Instant::now();
                    let one = || catch_unwind(AssertUnwindSafe(|| (test.run)()));
                    let result = thread::scope(|own| own.spawn(one).join().unwrap());
                    let result = result.unwrap_or_else(|panic| Err(why(panic.as_ref())));
                    let word = if result.is_ok() { "ok" } else { "FAILED" };
                    println!("test {} ... {word} ({:.1}s)", test.name, started.elapsed().as_secs_f64());
                    if let (true, Ok(told)) = (shows, &result) {
                        println!("    {}", doc::shown(test.name, told));
                    }
                    told.lock().unwrap().insert(test.name, result);
                }
            });
        }
    });
    told.into_inner().unwrap()
}

fn why(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_else(|| "it panicked".to_owned())
}
