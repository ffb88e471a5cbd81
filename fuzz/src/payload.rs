//! stdin: from any input, Frosty reads exactly the fields that it contains.

use std::time::Duration;

use frosty::config::{Config, encoded};
use frosty::env::Env;
use frosty::hook::fuzzing::{event, parked};
use frosty::hook::payload::{Payload, parse};
use frosty::policy::request::{Event, FailureClass, Reset};
use frosty::policy::rest::RestKind;
use serde_json::Value;

use crate::said;

pub fn run(data: &[u8]) {
    let payload = match parse(data) {
        Ok(payload) => payload,
        Err(e) => return said::one_line(&e.to_string(), 1000),
    };
    assert!(!payload.hook_event_name.is_empty() && !payload.session_id.is_empty());
    if let Ok(name) = encoded(&payload.session_id, "the payload", "session_id") {
        said::name(&name);
    }
    let text = std::str::from_utf8(data).expect("taken for a payload").trim_start_matches('\u{feff}');
    // The generic parser rejects some input that this one accepts (half a surrogate pair in an unused field,
    // for example).
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        as_written(&payload, &value);
    }
    what_it_asks(&payload);
}

fn as_written(payload: &Payload<'_>, value: &Value) {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    assert_eq!(text("session_id").as_ref(), Some(&payload.session_id));
    assert_eq!(text("hook_event_name").as_ref(), Some(&payload.hook_event_name));
    assert_eq!(payload.cwd(), text("cwd"));
    assert_eq!(payload.last_message(), text("last_assistant_message"));
    assert_eq!(payload.error(), text("error"));
    assert_eq!(payload.error_texts(), [text("error_details"), text("last_assistant_message")]);
    assert_eq!(payload.is_manual(), value["trigger"] == "manual");
    assert_eq!(payload.needs_permission(), value["notification_type"] == "permission_prompt");
    assert_eq!(payload.is_subagents(), !value["agent_id"].is_null() || payload.hook_event_name == "SubagentStop");
    let listed = value["background_tasks"].as_array().map_or(0, Vec::len);
    assert!(payload.running_tasks().len() <= listed);
    assert_eq!(payload.has_crons(), value["session_crons"].as_array().is_some_and(|l| !l.is_empty()));
}

fn what_it_asks(payload: &Payload<'_>) {
    let (config, env) = (Config::default(), Env::default());
    let day = Duration::from_secs(86_400);
    for waits in [false, true] {
        let (event, answer) = event(payload, &config, &env, waits);
        said::one_line(&answer, 300);
        let name = payload.hook_event_name.as_str();
        // Only these events may ever be answered with exit 2.
        let asks = !payload.is_subagents() && (name == "Stop" || name == "PreCompact" && !payload.is_manual());
        assert_eq!(event.asks().is_some(), asks, "{event:?}");
        match event {
            Event::Stop { rest: Some(rest) } => {
                said::one_line(&rest.topic, 200);
                assert_eq!(rest.lasting.is_none(), rest.kind == RestKind::Done, "{rest:?}");
                assert!(rest.lasting.is_none_or(|d| d <= day), "{rest:?}");
            }
            Event::StopFailure(failure) => {
                said::one_line(&failure.cure, 300);
                assert_eq!(failure.cure.is_empty(), failure.class == FailureClass::Passing, "{failure:?}");
                match failure.reset {
                    Some(Reset::At(at)) => assert!((0..=99_999_999_999_999).contains(&at), "{failure:?}"),
                    Some(Reset::After(after)) => assert!(after <= 400 * day, "{failure:?}"),
                    None => {}
                }
                assert!(failure.class != FailureClass::Person || failure.reset.is_none());
            }
            _ => {}
        }
    }
    let rest = parked(payload, None);
    assert!(rest.is_none_or(|r| r.kind == RestKind::Parked && r.lasting == Some(Duration::from_secs(3600))));
}
