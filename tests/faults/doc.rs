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
    text.push_str("\n| fault | exit codes | slowest | admitted / allowed | lost | doubled | decided by |\n|---|---|---|---|---|---|---|\n");
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
        let _ = write!(who, "; {} of them by the server too, with a lost reply", facts.unheard);
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
        other => other,
    }
}

const INTRODUCTION: &str = "# What happens under each fault

The fault suite writes this page. To renew it: `FROSTY_FAULTS_DOC=1 cargo test --test faults`. It needs root, which may mount and make
namespaces, and redis-server, strace and cc.

Each row stages one fault with a real redis-server. Hooks send requests before the fault, during it (8 of them at once among them),
and after it until the server decides again. Each hook is a process of its own with a session of its own, so its verdict can be found
in the server's journal or in the local one.

- **exit codes**: how many hooks ended with each. 2 is \"continue\". A hook that ends with another code than 0 or 2 fails the row.
- **slowest**: from the end of stdin to the exit. More than 1 s fails the row, unless a hundred hooks run at once, or more than 16
  processes of the machine are ready to run when the hook ends.
- **admitted / allowed**: the hooks that ended with 2, and how many the minimum interval (INTERVAL) permits between the first request
  and the last. The test itself is stricter. No two admissions of a scope may be closer than the minimum interval, over both stores
  together, by the stores' own times and by the test's clock. A clock that is stepped forward may end one interval early.
- **lost**: verdicts that are in neither journal at the end. **doubled**: verdicts that are in one twice; this never happens.
- **decided by**: from the entries of the journals. `none` is `store_down`: exit 0 and one line with the cause. The reply of a server's
  decision may be lost; then the embedded store decides again, and the server's admission is counted but not used.

The bound: for each scope and machine, admissions are never closer than the minimum interval, whichever store decides. Cooldowns and
holds stay in force. A quota may be used once more per store within one window, and a server that lost its data has lost its quotas.
Machines that share a scope and cannot reach each other have a minimum interval each.
";

const STORIES_BEGIN: &str = "\n## Stories\n\n| story | result |\n|---|---|\n";
