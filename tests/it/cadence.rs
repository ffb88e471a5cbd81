//! What a session is given at a compaction and at its start.

use crate::support::{Frosty, Server, stop_saying};

/// What the client is given at a compaction and at the start of a session, on both stores.
#[test]
fn what_must_survive_is_printed_by_the_hook() {
    let server = Server::start();
    let of = |event: &str, key: &str, value: &str| {
        serde_json::json!({ "session_id": "s", "hook_event_name": event, key: value }).to_string()
    };
    for frosty in [Frosty::embedded(), Frosty::on(&server)] {
        assert_eq!(frosty.hook(&of("SessionStart", "source", "startup")).stdout, "");
        frosty.hook(&stop_saying("s", "frosty: note the port is 8080\nfrosty: wait_for the build"));
        let kept = "To be kept, from Frosty:\nRest: waits for the build\nNotes of the agent:\n> the port is 8080";
        for trigger in ["manual", "auto"] {
            let answer = frosty.hook(&of("PreCompact", "trigger", trigger));
            assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), format!("{kept}\n").as_str()), "{trigger}");
        }
        let begun = frosty.hook(&of("SessionStart", "source", "compact"));
        let output: serde_json::Value = serde_json::from_str(&begun.stdout).unwrap();
        assert_eq!(output["hookSpecificOutput"]["additionalContext"], kept);
        assert_eq!(output["hookSpecificOutput"]["hookEventName"], "SessionStart");
        let listed = frosty.run(&["notes"], b"");
        assert!(listed.stdout.ends_with("the port is 8080\n"), "{listed:?}");
        assert_eq!(frosty.run(&["notes", "s", "--clear"], b"").stdout, "s has forgotten its note\n");
        assert!(!frosty.hook(&of("SessionStart", "source", "resume")).stdout.contains("8080"));
    }
}

#[test]
fn a_session_with_a_queue_is_informed_of_its_owner() {
    let frosty = Frosty::embedded();
    std::fs::write(frosty.home.path().join(".claude/frosty.json"), r#"{"work": "required"}"#).unwrap();
    let payload = serde_json::json!({ "session_id": "s", "hook_event_name": "SessionStart", "source": "startup" });
    let context = frosty.hook(&payload.to_string()).stdout;
    assert!(context.contains("the owner's work queue"), "{context}");
}
