//! Usage windows: what the status line reports limits the fleet by its pace, on a server and on files.

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
