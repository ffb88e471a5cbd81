//! The limits of the API key on both stores: the one probe of many requests, the commands, and the time after a reset.

use std::time::{Duration, Instant};

use frosty::config::{Config, Flags};
use frosty::env::Env;
use frosty::policy::limits::Ms;
use frosty::policy::request::{Event, Failure, FailureClass, Step};
use frosty::policy::verdict::Outcome;
use frosty::store;
use serde_json::json;

use crate::support::place::Place;
use crate::support::{Frosty, documents, step, stop};

const S: Ms = 1000;
const H: Ms = 3_600 * S;
const LAST_FENCE: i64 = 999_999_999_999_999;

/// The commands and the probe on both stores. The limit began two hours ago, so a probe is due.
#[test]
fn of_many_requests_at_once_one_probes() {
    for place in Place::both() {
        let now = frosty::clock::host_ms();
        let span = json!({"start": now - 2 * H, "end": now + 48 * H});
        let limits = json!([{"model": "opus", "limit": span}]);
        match &place.server {
            Some(server) => {
                documents::write(&mut server.connection(), documents::FLEET, &json!({"born": "b", "limits": limits}));
            }
            None => {
                let dir = place.frosty.home.path().join(".local/state/frosty/default");
                std::fs::create_dir_all(&dir).unwrap();
                let file = json!({"v": 1, "fleet": {"limits": limits}});
                std::fs::write(dir.join("fleet.json"), file.to_string()).unwrap();
            }
        }
        let config = config(&place);
        let probe = |agent: usize| {
            open(&config, &failed(agent));
            // Not a Stop event, whose good answer would lift the limit.
            let again = step(Event::Ask { fence: LAST_FENCE, renew: false });
            let own = format!("s{agent}");
            open(&config, &Step { id: format!("b{agent}"), scope: own.clone(), session: own, ..again })
        };
        let outcomes: Vec<Outcome> = std::thread::scope(|threads| {
            let all: Vec<_> = (0..8)
                .map(|agent| {
                    threads.spawn({
                        let probe = &probe;
                        move || probe(agent)
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let admitted = outcomes.iter().filter(|outcome| **outcome == Outcome::Admit).count();
        assert_eq!(admitted, 1, "{outcomes:?}");
    }
}

/// A failure without a reset that names the model, so that the session is known to be on it.
fn failed(agent: usize) -> Step {
    let failure = Failure {
        class: FailureClass::Request,
        reset: None,
        of_key: false,
        model: "opus".to_owned(),
        too_long: false,
        cure: String::new(),
    };
    let own = format!("s{agent}");
    Step { id: format!("a{agent}"), scope: format!("other-{agent}"), session: own, ..step(Event::StopFailure(failure)) }
}

fn config(place: &Place) -> Config {
    let store = place.server.as_ref().map_or_else(|| "embedded".to_owned(), crate::support::Server::url);
    let env = Env { home: Some(place.frosty.home.path().to_owned()), store: Some(store), ..Env::default() };
    let mut config = Config::load(&env, None, &Flags::default()).unwrap();
    config.policy.spread.step = Duration::ZERO;
    config.policy.spread.cold = Duration::ZERO;
    config.budget = Duration::from_secs(5);
    config
}

fn open(config: &Config, step: &Step) -> Outcome {
    let verdict = store::open(config, Instant::now() + config.budget).unwrap().step(step).unwrap();
    assert!(verdict.notes.is_empty(), "{verdict:?}");
    verdict.decision.outcome
}

#[test]
fn release_limit_lifts_the_limits_and_no_hold() {
    for place in Place::both() {
        let frosty = place.frosty.config(r#"{"stop": {"min_interval": "0s", "burst": null}}"#);
        let place = Place { frosty, server: place.server };
        let none = place.run(&["release", "--limit"]);
        assert_eq!((none.code, none.stdout.as_str()), (Some(0), "the fleet default has no limit\n"), "{none:?}");
        let failure = json!({"hook_event_name": "StopFailure", "session_id": "s", "cwd": "/w", "error": "rate_limit",
            "error_details": "You've hit your Opus limit · retry-after: 5000"});
        place.frosty.hook(&failure.to_string());
        place.run(&["hold", "--fleet", "--reason", "look"]);
        let lifted = place.run(&["release", "--limit"]);
        assert!(lifted.stdout.starts_with("lifted the limits of the fleet default, of which 1h"), "{lifted:?}");
        assert_eq!(place.frosty.hook(&stop("s")).code, Some(0), "the hold is in force");
        assert_eq!(place.reasons("s").last().map(String::as_str), Some("hold"));
        place.run(&["release", "--fleet"]);
        assert_eq!(place.frosty.hook(&stop("s")).code, Some(2), "the scope's cooldown is over with the limit");
    }
}

/// With a subscription the client continues by itself up to 91 s after the reset, so Frosty's engine comes later.
#[test]
fn a_subscription_is_released_after_the_client_has_continued() {
    for (variable, least, most) in [("ANTHROPIC_API_KEY", 5, 60), ("CLAUDE_CODE_OAUTH_TOKEN", 100, 155)] {
        let frosty = Frosty::embedded().var(variable, "secret");
        // Half a day away at any time of the test.
        let now = chrono::Utc::now() + chrono::Duration::hours(12);
        let text = format!("You've hit your session limit · resets {} (UTC)", now.format("%-I%P"));
        let failure = json!({"hook_event_name": "StopFailure", "session_id": "s", "cwd": "/w", "error": "rate_limit",
            "last_assistant_message": text});
        frosty.hook(&failure.to_string());
        let entry = frosty.journal().pop().unwrap();
        let field = |name: &str| entry[name].as_i64().unwrap();
        let back = field("ms") + field("retry_after_ms");
        let after = (back - now.timestamp_millis() / (H) * H) / S;
        assert!((least..most).contains(&after), "{variable}: {after} s after the reset: {entry}");
    }
}
