use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::policy::windows::Windows;
use crate::policy::work::Record;
use crate::policy::work::queue::Queue;

/// Asserts that each field of a document is stored again, and that a default one is stored as `empty`.
fn is_stored<T: DeserializeOwned + Serialize + Default>(full: &str, empty: &str) {
    let document: T = serde_json::from_str(full).unwrap();
    let full: Value = serde_json::from_str(full).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), full);
    assert_eq!(serde_json::to_string(&T::default()).unwrap(), empty);
}

/// A field that is not stored is a limit or a count that the next step does not know.
#[test]
fn every_field_of_a_session_is_stored() {
    is_stored::<SessionState>(
        r#"{"fence": 1, "scope": "s", "name": "n", "named_by_project": true, "label": "l", "project": "p",
            "rest": {"kind": "rest", "since": 1, "until": 2, "topic": "t", "id": 3}, "lifted": [4], "woken": true,
            "wake_on": ["a"], "note": "n", "given": "g", "note_depth": 1, "given_depth": 2, "begun": {"at": 1, "id": "i"},
            "admitted": {"at": 2, "id": "j"}, "briefed": true, "notes": [{"at": 1, "text": "t"}], "notes_changed": true,
            "notes_given": 5, "cadence": {"kind": "dream", "turns": 1, "cycles": 2, "reflections": 3, "since_dump": 4,
            "since_dream": 5, "dreams": [6]}, "rhythm": {"at": 7, "n": [8]}, "count": 9, "idle": 10, "units": 11,
            "recent": [[12]], "transcript": {"path": "p", "inode": 13, "offset": 14}, "unmeasured": 15,
            "client_version": "v", "model": "m", "gate": true, "failures": 16, "answered_person": 17, "by_person": true,
            "state": "ended", "slot": 0, "needs_you": true, "pid": 18, "client": "19:20:21", "host": "h", "held_by": "b",
            "held_reason": "r", "work_mode": "required", "work": {"id": "w", "agent": "a", "claim": 22, "depth": 23,
            "turns": 24}, "started": true, "seen": 25, "last_reason": "rest"}"#,
        r#"{"scope":"","seen":0}"#,
    );
}

#[test]
fn every_field_of_a_scope_is_stored() {
    is_stored::<ScopeState>(
        r#"{"hold": {"reason": "r", "by": "b", "since": 1, "until": 2, "id": 3}, "released": 4, "lifted": [5],
            "stop": {"admitted_at": 6, "attempts": [7], "attempts_keep": 8, "cooldown": {"start": 9, "end": 10, "id": 11},
            "strikes": 12}, "compact": {"strikes": 0}, "api": {"start": 13, "end": 14}, "api_of_key": true,
            "api_model": "m", "api_own": {"start": 15, "end": 16}, "api_strikes": 17, "api_row": 18, "api_holds": 19,
            "quota": {"admitted": [20], "keep": 21, "waiting": [{"session": "s", "since": 22, "next": 23}],
            "in_flight": [{"session": "s", "at": 24}]}, "trips": [25], "taken": 26}"#,
        r#"{"stop":{"strikes":0},"compact":{"strikes":0},"api_strikes":0,"api_row":0,"api_holds":0}"#,
    );
}

#[test]
fn every_field_of_a_fleet_and_its_windows_is_stored() {
    let empty = r#"{"born":""}"#;
    is_stored::<FleetState>(
        r#"{"born": "b", "lost": 1, "hold": {"reason": "r", "by": "b", "since": 1}, "released": 4, "lifted": [5],
            "hold_at_once": true, "limit": {"start": 1, "end": 2}, "answered": 3, "probed": 4,
            "limits": [{"model": "m", "limit": {"start": 5, "end": 6}, "answered": 7, "probed": 8}],
            "slots": {"start": 9, "end": 10}, "freed_at": 11, "at_once": 12, "quota": {"keep": 13}}"#,
        empty,
    );
    let waiting = r#""waiting": [{"session": "s", "since": 1, "next": 2}]"#;
    for part in [r#""admitted": [1]"#, waiting, r#""in_flight": [{"session": "s", "at": 1}]"#] {
        is_stored::<FleetState>(&format!(r#"{{"born": "b", "quota": {{"keep": 0, {part}}}}}"#), empty);
    }
    is_stored::<Windows>(
        r#"{"five_hour": {"resets_at": 1, "used": 2, "seen": 3, "changed": 4, "first_used": 5, "turns": 6,
            "earlier_cost": 7}, "seven_day": {"resets_at": 8, "used": 0, "seen": 0, "changed": 0, "first_used": 0,
            "turns": 0}, "unknown": 9, "counted": 10, "reporters": [{"session": "s", "api_ms": 11, "at": 12}]}"#,
        r#"{"counted":0}"#,
    );
}

#[test]
fn every_field_of_a_queue_is_stored() {
    let question = r#"{"session": "s", "depth": 1, "host": "h", "waiter": 3, "reply": "r"}"#;
    is_stored::<Queue>(
        &format!(
            r#"{{"ids": 1, "placed": [2, 3, 4], "first": [5, 6, 7], "waiting": [8, 9, 10], "later": 11, "dead": 12,
                "hand": [{{"entry": {{"id": "e", "text": "t", "priority": "high", "added": 1, "by": "b", "depth": 2,
                "attempts": 3, "why": "w", "number": 4, "after": [5, 6], "at": 7, "model": "m", "ack_turn": true,
                "question": {question}, "newer": 1}}, "claim": 13, "session": "s", "host": "h", "client": 14,
                "since": 15, "renewed": 16, "start": "t", "overdue": 17}}], "failures": [18], "added": [19],
                "reported": 20}}"#
        ),
        r#"{"ids":0,"placed":[0,0,0],"first":[0,0,0],"waiting":[0,0,0],"later":0,"dead":0}"#,
    );
    is_stored::<Record>(
        &format!(
            r#"{{"id": "e", "agent": "a", "state": "in_hand", "place": ["later", 1], "at": 2, "detail": "d",
                "question": {question}}}"#
        ),
        r#"{"id":"","agent":"","state":"waiting","at":0}"#,
    );
}
