//! Writes docs/faults.md from the results of the rows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::Told;
use crate::measure::Facts;
use crate::rows::{Loss, ROWS, Row};
use crate::site::INTERVAL;
use crate::stories::STORIES;

pub fn write(told: &BTreeMap<&'static str, Told>) {
    let mut text = String::from(INTRODUCTION);
    text = text.replace("INTERVAL", &format!("{} ms", INTERVAL.as_millis()));
    text.push_str("\n| fault | exit codes | slowest | admitted / allowed | lost | doubled | who decided |\n|---|---|---|---|---|---|---|\n");
    for row in ROWS {
        if let Some(Told::Row(facts)) = told.get(row.name) {
            let _ = writeln!(text, "{}", line(row, facts));
        }
    }
    text.push_str(STORIES_BEGIN);
    for story in STORIES {
        if let Some(Told::Story(said)) = told.get(story.name) {
            let _ = writeln!(text, "| {} | {said} |", story.what);
        }
    }
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md"), text).unwrap();
}

/// Returns the result of a test in the form of the document.
pub fn shown(name: &str, told: &Told) -> String {
    match told {
        Told::Row(facts) => ROWS.iter().find(|r| r.name == name).map(|r| line(r, facts)).unwrap_or_default(),
        Told::Story(said) => said.clone(),
    }
}

fn line(row: &Row, facts: &Facts) -> String {
    let codes: Vec<String> = facts.codes.iter().map(|(code, n)| format!("{code}: {n}")).collect();
    let deciders: Vec<String> = facts.deciders.iter().map(|(who, n)| format!("{} {n}", name(who))).collect();
    let mut slowest = format!("{} ms", facts.slowest.as_millis());
    if let Some((middle, most)) = facts.percentiles {
        let _ = write!(slowest, " (p50 {}, p99 {})", middle.as_millis(), most.as_millis());
    }
    let lost = match (facts.lost, row.lost) {
        (0, _) => "0".to_owned(),
        (n, Loss::WithTheServersData) => format!("{n}, with the server's data"),
        (n, Loss::NoStoreCouldHoldIt) => format!("{n}: no store could hold them"),
        (n, Loss::None) => n.to_string(),
    };
    let mut who = deciders.join(", ");
    if facts.unheard > 0 {
        let _ = write!(who, "; {} of them by the server too, whose answer was lost", facts.unheard);
    }
    if !facts.note.is_empty() {
        let _ = write!(who, "; {}", facts.note);
    }
    format!(
        "| {} | {} | {slowest} | {} / {} | {lost} | {} | {who} |",
        row.fault,
        codes.join(", "),
        facts.admitted,
        facts.allowed,
        facts.doubled
    )
}

fn name(store: &str) -> &str {
    match store {
        "dragonfly" => "server",
        "none" => "nobody",
        other => other,
    }
}

const INTRODUCTION: &str = "# What happens when something is wrong

Made by the fault suite itself; to renew it: `FROSTY_FAULTS_DOC=1 cargo test --test faults` (as root, who may mount and
make namespaces; with redis-server, strace and cc installed).

Each row is a story with a real redis-server: hooks ask before the fault, while it lasts (8 of them at once among them),
and after it, until the server decides again. Every hook is a process of its own with a session of its own, so that its
verdict can be found again in the server's journal and in the local one.

- **exit codes**: how many hooks ended with which. 2 is \"go on\"; a hook that ends otherwise than 0 or 2 fails the row.
- **slowest**: from stdin's end to the exit. More than 1 s fails the row, but where a hundred run at once,
  or where more than 16 processes of the machine want to run when the hook ends.
- **admitted / allowed**: hooks that were told to go on, and how many the guard (INTERVAL) leaves room for between the first
  ask and the last. What is held against the policy is stricter: no two admissions of a scope may be closer than the guard,
  by the stores' own times, over both stores together, and by the test's clock too. A clock that is stepped forward may end
  one window early.
- **lost**: verdicts that are in neither journal in the end. **doubled**: verdicts that are in one twice; never.
- **who decided**: by the entries of the journals. `nobody` is `store_down`: exit 0 and a line of the cause. A server may
  decide and its answer be lost on the way; then the embedded store decides once more, and what the server admitted is
  burnt: nobody was told.

The bound: for each scope and machine, admissions are never closer than the guard, whichever store decides; cooldowns and
holds stand; a quota may be used once more per store within one window, and a server that lost its data has forgotten
quotas. Hosts that share a scope and are cut off from each other have a guard each.
";

const STORIES_BEGIN: &str = "\n## Stories\n\n| what | what was seen |\n|---|---|\n";
