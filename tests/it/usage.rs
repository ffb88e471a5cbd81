//! Usage windows: what the status line reports limits the fleet by its pace, on a server and on files.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Frosty, Server, documents, stop, stop_step};
use frosty::config::{Config, Flags};
use frosty::env::Env;
use frosty::policy::request::Step;
use frosty::policy::verdict::Outcome;
use frosty::store;

/// The client's input of the status line, with this share of the window of five hours.
fn report(used: f64, api_ms: u64) -> String {
    let resets_at = frosty::clock::host_ms() / 1000 + 3600;
    serde_json::json!({
        "session_id": "seen",
        "rate_limits": {"five_hour": {"used_percentage": used, "resets_at": resets_at}},
        "cost": {"total_api_duration_ms": api_ms},
    })
    .to_string()
}

fn reasons(frosty: &Frosty, server: Option<&Server>) -> Vec<String> {
    let Some(server) = server else {
        return frosty.journal().iter().map(|entry| entry["reason"].as_str().unwrap().to_owned()).collect();
    };
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut server.connection()).unwrap();
    let reason = |words: &Vec<String>| words.windows(2).find(|w| w[0] == "reason").unwrap()[1].clone();
    entries.iter().map(|(_, words)| reason(words)).collect()
}

#[test]
fn a_window_at_its_cap_refuses_until_its_reset() {
    for server in [Some(Server::start()), None] {
        let frosty = server.as_ref().map_or_else(Frosty::embedded, Frosty::on);
        let frosty =
            frosty.config(r#"{"pace": {"five_hour": {"cap": 50}}, "stop": {"min_interval": "0s", "burst": null}}"#);
        assert_eq!(frosty.hook(&stop("seen")).code, Some(2), "no window is known");
        let shown = frosty.run(&["statusline"], report(62.0, 5).as_bytes()).stdout;
        assert!(shown.contains("5h ▓▓▓▓▓░░░ 62 %, resets ") && shown.contains("its cap is reached"), "{shown}");
        assert_eq!(frosty.hook(&stop("seen")).code, Some(0));
        assert_eq!(frosty.hook(&stop("other")).code, Some(0), "it is the whole fleet's");
        let last = reasons(&frosty, server.as_ref());
        assert_eq!(last[last.len() - 2..], ["limit", "limit"], "{last:?}");
        let frosty =
            frosty.config(r#"{"pace": {"five_hour": {"cap": 95}}, "stop": {"min_interval": "0s", "burst": null}}"#);
        assert_eq!(frosty.hook(&stop("seen")).code, Some(2), "below another cap");
    }
}

/// Without a pace the windows cost a Stop event nothing, and limit nothing.
#[test]
fn without_a_pace_nothing_is_limited() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(r#"{"stop": {"min_interval": "0s", "burst": null}}"#);
    assert_eq!(frosty.hook(&stop("seen")).code, Some(2));
    frosty.run(&["statusline"], report(100.0, 5).as_bytes());
    assert_eq!(frosty.hook(&stop("seen")).code, Some(2));
}

const SESSIONS: u64 = 8;
const REQUESTS: u64 = 500;

/// Reports that arrive 200 times a second make no decision wait for another commit.
#[test]
fn reports_cause_no_conflicts_of_decisions() {
    let server = Server::start_own();
    let frosty = Frosty::on(&server).config(
        r#"{"pace": {"five_hour": {"cap": 95}}, "budget": "1s",
            "stop": {"min_interval": "0s", "burst": null}}"#,
    );
    let env = Env { home: Some(frosty.home.path().to_owned()), store: Some(server.url()), ..Env::default() };
    let config = Config::load(&env, None, &Flags::default()).unwrap();
    let (is_over, reports) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut con = server.connection();
            let resets_at = frosty::clock::host_ms() / 60_000 * 60_000 + 3_600_000;
            let mut next = Instant::now();
            while !is_over.load(Ordering::SeqCst) {
                let seen = frosty::clock::host_ms();
                let window = serde_json::json!({"resets_at": resets_at, "used": 150, "seen": seen, "first_used": 100});
                documents::write(&mut con, "frosty:{default}:windows", &serde_json::json!({"five_hour": window}));
                reports.fetch_add(1, Ordering::SeqCst);
                next += Duration::from_millis(5);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        let decided: Vec<_> = (0..SESSIONS)
            .map(|own| {
                threads.spawn({
                    let config = &config;
                    move || decide(config, own)
                })
            })
            .collect();
        decided.into_iter().for_each(|thread| thread.join().unwrap());
        is_over.store(true, Ordering::SeqCst);
    });
    let (rate, verdicts) = (reports.into_inner() as f64 / began.elapsed().as_secs_f64(), SESSIONS * REQUESTS);
    let commits = commits(&server);
    println!("{verdicts} verdicts, {commits} commits, {rate:.0} reports per second");
    assert!(commits * 100 <= verdicts * 101, "{commits} commits for {verdicts} verdicts");
}

fn decide(config: &Config, own: u64) {
    for i in 0..REQUESTS {
        let own = format!("s{own}");
        let step = Step { id: format!("{own}-{i}"), scope: own.clone(), session: own, ..stop_step() };
        let verdict = store::open(config, Instant::now() + config.budget).unwrap().step(&step).unwrap();
        assert_eq!(verdict.decision.outcome, Outcome::Admit, "{verdict:?}");
    }
}

/// The commits that the server was sent: `EVALSHA`, and `EVAL` where it did not know the script.
fn commits(server: &Server) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut server.connection()).unwrap();
    let calls = info.lines().filter(|line| line.starts_with("cmdstat_eval"));
    calls.map(|line| line.split(['=', ',']).nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

/// Programs read the windows from `frosty status --json`, and a person their source and age from `frosty doctor`.
#[test]
fn the_windows_are_in_the_status_and_in_the_doctor() {
    for server in [Some(Server::start()), None] {
        let frosty = server.as_ref().map_or_else(Frosty::embedded, Frosty::on).config(PACED);
        let usage = |frosty: &Frosty| {
            let shown = frosty.run(&["status", "--json"], b"").stdout;
            serde_json::from_str::<serde_json::Value>(&shown).unwrap()["usage"].clone()
        };
        let doctor = |frosty: &Frosty| {
            let shown = frosty.run(&["doctor"], b"").stdout;
            shown.lines().find(|line| line.contains("  usage  ")).map(str::to_owned).unwrap_or_default()
        };
        frosty.hook(&stop("seen"));
        let empty = serde_json::json!({"five_hour": null, "seven_day": null, "unknown_until": null, "pace": "free",
            "next_slot": null});
        assert_eq!(usage(&frosty), empty);
        let shown = doctor(&frosty);
        assert!(shown.starts_with("warn") && shown.ends_with("-> frosty install --statusline"), "{shown}");
        frosty.run(&["statusline"], report(96.5, 5).as_bytes());
        let known = usage(&frosty);
        assert_eq!(
            (&known["five_hour"]["used_percentage"], &known["pace"]),
            (&96.5.into(), &"limit".into()),
            "{known}"
        );
        let shown = doctor(&frosty);
        let source = server.as_ref().map_or_else(|| "files on this machine".to_owned(), Server::url);
        assert!(shown.starts_with("ok") && shown.contains("5h 97 % until ") && shown.contains(&source), "{shown}");
        plant(&frosty, server.as_ref(), "x");
        let unknown = usage(&frosty);
        assert!(unknown["unknown_until"].is_i64() && unknown["pace"] == "unknown", "{unknown}");
        let shown = doctor(&frosty);
        assert!(
            shown.starts_with("warn") && shown.contains("could not be read, so the pace admits nothing"),
            "{shown}"
        );
    }
}

const PACED: &str = r#"{"pace": {"five_hour": {"cap": 95}}, "stop": {"min_interval": "0s", "burst": null}}"#;
const KEY: &str = "frosty:{default}:windows";

/// Puts this text in the place of the usage windows.
fn plant(frosty: &Frosty, server: Option<&Server>, text: &str) {
    match server {
        Some(server) => redis::cmd("SET").arg(KEY).arg(text).exec(&mut server.connection()).unwrap(),
        None => fs::write(windows_file(frosty), text).unwrap(),
    }
}

fn windows_file(frosty: &Frosty) -> PathBuf {
    frosty.home.path().join(".local/state/frosty/default/windows.json")
}

/// Returns the stored windows.
fn stored(frosty: &Frosty, server: Option<&Server>) -> serde_json::Value {
    let text = match server {
        Some(server) => redis::cmd("GET").arg(KEY).query::<String>(&mut server.connection()).unwrap(),
        None => fs::read_to_string(windows_file(frosty)).unwrap(),
    };
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value.get("windows").cloned().unwrap_or(value)
}

/// Windows that cannot be read may be used up. They admit nothing until a report, which is written at once.
#[test]
fn windows_that_cannot_be_read_admit_nothing_until_a_report() {
    for server in [Some(Server::start()), None] {
        let frosty = server.as_ref().map_or_else(Frosty::embedded, Frosty::on).config(PACED);
        let server = server.as_ref();
        assert_eq!(frosty.hook(&stop("seen")).code, Some(2), "no window is known");
        let far = frosty::clock::host_ms() + 400 * 86_400_000;
        let head = if server.is_some() { r#""version":"1-x","format":1"# } else { r#""v":1"# };
        let impossible = format!(r#"{{{head},"five_hour":{{"resets_at":{far},"used":9000}}}}"#);
        let impossible = match server {
            Some(_) => impossible,
            None => format!(r#"{{{head},"windows":{{"five_hour":{{"resets_at":{far},"used":9000}}}}}}"#),
        };
        for (i, damage) in
            ["", "x", "{", r#"{"version":"1-x","format":1,"five_hour":7}"#, &impossible].iter().enumerate()
        {
            plant(&frosty, server, damage);
            let before = frosty::clock::host_ms();
            assert_eq!(frosty.hook(&stop("seen")).code, Some(0), "{damage:?}");
            assert_eq!(reasons(&frosty, server).last().map(String::as_str), Some("limit"), "{damage:?}");
            let unknown = stored(&frosty, server)["unknown"].as_i64().unwrap();
            assert!(unknown >= before - 5, "{damage:?}");
            assert_eq!(frosty.hook(&stop("seen")).code, Some(0));
            assert_eq!(stored(&frosty, server)["unknown"].as_i64(), Some(unknown), "it does not begin anew");
            let shown = frosty.run(&["statusline"], report(62.0, 5 + i as u64).as_bytes()).stdout;
            assert!(shown.contains("62 %"), "{damage:?}: {shown}");
            assert_eq!(frosty.hook(&stop("seen")).code, Some(2), "{damage:?}: the report ends it");
        }
    }
}

/// A machine may have just reported the same share: a server that lost it gets it again.
#[test]
fn a_report_goes_to_a_server_that_lost_the_windows() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(PACED);
    frosty.hook(&stop("seen"));
    frosty.run(&["statusline"], report(96.0, 5).as_bytes());
    assert_eq!(frosty.hook(&stop("seen")).code, Some(0));
    redis::cmd("DEL").arg(KEY).exec(&mut server.connection()).unwrap();
    frosty.run(&["statusline"], report(96.0, 5).as_bytes());
    assert_eq!(frosty.hook(&stop("seen")).code, Some(0), "{}", stored(&frosty, Some(&server)));
}
