//! Detects sessions that the client will wake by itself (2.1.331): it has a timer for them, or their work
//! continues beside the turn.

use std::time::Duration;

use super::payload::Payload;
use crate::policy::request::RestRequest;
use crate::policy::rest::RestKind;

/// After this long without the client's wake-up, it may never come.
const LONGEST: Duration = Duration::from_secs(3600);

/// Returns the rest of a session that is parked. `park_max` is how long a waiting engine allows for work that
/// may never end (a development server, for example). Without a waiting engine such work is no reason to rest.
#[must_use]
pub fn rest(payload: &Payload<'_>, park_max: Option<Duration>) -> Option<RestRequest> {
    let tasks = payload.running_tasks();
    let ends = |kind: &String| matches!(kind.as_str(), "subagent" | "workflow" | "teammate");
    let lasting = if payload.has_crons() || tasks.iter().any(ends) {
        LONGEST
    } else if tasks.is_empty() {
        return None;
    } else {
        park_max?
    };
    Some(RestRequest { kind: RestKind::Parked, lasting: Some(lasting), topic: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_what_runs() {
        let minutes = |m: u64| Some(Duration::from_secs(m * 60));
        for (tasks, crons, plain, waiting) in [
            ("[]", "[]", None, None),
            (r#"[{"type":"shell","status":"running"}]"#, "[]", None, minutes(10)),
            (r#"[{"type":"monitor"}]"#, "[]", None, minutes(10)),
            (r#"[{"type":"MCP task"}]"#, "[]", None, minutes(10)),
            (r#"[{"type":"shell"},{"type":"subagent"}]"#, "[]", minutes(60), minutes(60)),
            (r#"[{"type":"workflow"}]"#, "[]", minutes(60), minutes(60)),
            (r#"[{"type":"teammate"}]"#, "[]", minutes(60), minutes(60)),
            ("[]", r#"[{"id":"c1"}]"#, minutes(60), minutes(60)),
            (r#"[{"type":"subagent","status":"completed"}]"#, "[]", None, None),
            (r#"[{"type":"subagent"},null,"x",7]"#, "[]", minutes(60), minutes(60)),
            (r#"[{"type":7}]"#, "null", None, minutes(10)),
            ("7", "{}", None, None),
            ("null", "null", None, None),
        ] {
            let json = format!(
                r#"{{"hook_event_name":"Stop","session_id":"s","background_tasks":{tasks},"session_crons":{crons}}}"#
            );
            let payload = super::super::payload::parse(json.as_bytes()).unwrap();
            let lasting = |park| rest(&payload, park).map(|r| r.lasting.unwrap());
            assert_eq!(lasting(None), plain, "{json}");
            assert_eq!(lasting(minutes(10)), waiting, "{json}");
        }
        let older = super::super::payload::parse(br#"{"hook_event_name":"Stop","session_id":"s"}"#).unwrap();
        assert_eq!(rest(&older, minutes(10)), None);
    }
}
