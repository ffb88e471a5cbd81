//! A server's bytes: they are read the same at any pace, and only a commit that was applied to a state that
//! allows it leads to an admission.

use std::io::Read;

use frosty::config::{Config, Server};
use frosty::hook::fuzzing::{Said, answer};
use frosty::hook::prompt::Prompt;
use frosty::policy::decision::State;
use frosty::policy::limits::{Ms, Quota};
use frosty::policy::request::{Event, RestRequest, Step};
use frosty::policy::verdict::{Decision, Outcome, Reason};
use frosty::store::fuzzing::{Asked, asked, carried, carry_questions, committed, questions, refused, time, whole};
use redis::{Parser, Value};

use crate::{draw, said, state};

/// More replies than the requests of any step.
const MOST: usize = 24;

pub fn run(data: &[u8]) {
    let Some((pace, bytes)) = data.split_first() else { return };
    let mut replies = replies(*pace, bytes);
    let server = Server::default();
    for value in &replies {
        if let Value::ServerError(e) = value {
            said::one_line(&refused(&server, e).to_string(), 1500);
        }
        parts(value);
    }
    // As in the connection, an error ends the step.
    if replies.iter().any(|value| matches!(value, Value::ServerError(_))) {
        return;
    }
    let config = config(*pace);
    for step in steps(*pace) {
        let mut answers = replies.clone();
        let mut rest = answers.split_off(questions(&config, &server, &step).min(answers.len())).into_iter();
        match asked(&config, &server, &step, answers) {
            Err(e) => said::one_line(&e.to_string(), 1500),
            Ok(asked) => decided(&config, &step, asked, rest.next()),
        }
    }
    // The last text is a scope's file.
    if let Some(Value::BulkString(file)) = replies.pop()
        && carry_questions(&config, "scope", &file, draw::T0).is_some()
    {
        match carried(&config, &server, ("scope", &file), draw::T0, replies) {
            Err(e) => said::one_line(&e.to_string(), 1500),
            Ok((commit, store_epoch)) => {
                assert!(!store_epoch.is_empty());
                assert!(commit.starts_with(b"*"));
            }
        }
    }
}

/// Returns the replies, read at once and in small pieces.
fn replies(pace: u8, bytes: &[u8]) -> Vec<Value> {
    let (mut once, mut drip) = (bytes, Drip { bytes, pace: usize::from(pace % 16) + 1 });
    let (mut at_once, mut dripped) = (Parser::new(), Parser::new());
    let mut all = Vec::new();
    while all.len() < MOST {
        match (at_once.parse_value(&mut once), dripped.parse_value(&mut drip)) {
            (Ok(value), Ok(other)) => {
                // Compared as text, since a NaN is not equal to itself.
                assert_eq!(format!("{value:?}"), format!("{other:?}"));
                all.push(value);
            }
            (Err(e), Err(_)) => {
                said::one_line(&frosty::text::line(&e.to_string()), 300);
                break;
            }
            // The parser skips a byte of garbage that arrives alone. The next value must be a verdict all the
            // same.
            (Err(_), Ok(value)) => {
                all.push(value);
                break;
            }
            (Ok(value), Err(e)) => panic!("at once {value:?}, dripped {e:?}"),
        }
    }
    all
}

/// Returns a configuration with or without each kind of limit.
fn config(pace: u8) -> Config {
    let mut config = Config::default();
    let quota = |limit, secs| Quota { limit, per: std::time::Duration::from_secs(secs) };
    if pace & 16 != 0 {
        config.policy.stop.quotas = vec![quota(2, 60), quota(3, 3600)];
        config.policy.fleet_quotas = vec![quota(2, 60)];
    }
    if pace & 32 != 0 {
        config.policy.stop.burst = None;
    }
    config
}

/// Returns steps that are decided from a server's answers.
fn steps(pace: u8) -> [Step; 3] {
    let event = match (pace >> 6) & 3 {
        0 => Event::SessionStart { label: "w:1".to_owned() },
        1 => Event::PreCompactAuto,
        2 => Event::ClientPrompt { of_admission: true },
        _ => Event::Release { fleet: true, at_once: false },
    };
    let ask = Event::Ask { fence: draw::T0, renew: false };
    [Event::Stop { rest: None }, ask, event].map(draw::step)
}

/// Checks a decision against the state in the answers and against the answer to the commit.
fn decided(config: &Config, step: &Step, asked: Asked, answer: Option<Value>) {
    let Asked { now, before, decision, after, notes, commit } = asked;
    notes.iter().for_each(|note| said::one_line(note, 1500));
    let admitted = decision.outcome == Outcome::Admit;
    if let Some(why) = state::forbids(&config.policy, &before, step, now) {
        assert!(!admitted, "admitted, though {why}: {decision:?} at {now} after {before:?}");
    }
    assert!(!admitted || closes(&after, step, now), "an admission that the guard does not know: {after:?}");
    assert!(commit.is_empty() || commit.starts_with(b"*"));
    assert!(!admitted || commit.len() > 200, "an admission without a commit");
    if answer.as_ref().and_then(committed) == Some(true) {
        verdict(step, decision, notes);
    }
}

fn closes(after: &State, step: &Step, now: Ms) -> bool {
    let own = if matches!(step.event, Event::PreCompactAuto) { &after.scope.compact } else { &after.scope.stop };
    own.admitted_at == Some(now)
}

fn parts(value: &Value) {
    if let Some(now) = time(value) {
        assert!(now >= 0);
    }
    if let Some(applied) = committed(value) {
        let Value::Array(fields) = value else { panic!("a commit's answer that is no array: {value:?}") };
        let word = fields.first().and_then(text).expect("its first word");
        assert_eq!((applied, fields.len()), (word == "done", 3), "{value:?}");
        assert!(matches!(word, "done" | "conflict"), "{value:?}");
    }
    if let Value::Array(fields) = value {
        fields.iter().filter_map(text).for_each(|text| {
            let read = whole(text);
            assert_eq!(read.is_some(), (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()));
            assert!(read.is_none_or(|n| (0..1_000_000_000_000_000).contains(&n)));
        });
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Checks the texts about a decision with a commit that was applied.
fn verdict(step: &Step, decided: Decision, notes: Vec<String>) {
    let admits = decided.outcome == Outcome::Admit;
    assert_eq!(matches!(decided.reason, Reason::Admitted | Reason::Probe), admits, "{decided:?}");
    let prompt = Prompt { rest: "you reported that you are done".to_owned(), ..Prompt::default() };
    said::lines(&prompt.render(&decided), 10_000);
    let rest = RestRequest { kind: frosty::policy::rest::RestKind::Done, lasting: None, topic: String::new() };
    said::one_line(&frosty::hook::prompt::paused(&decided, Some(&rest)), 1000);

    for event in
        [step.event.clone(), Event::Stop { rest: None }, Event::PreCompactAuto, Event::Other, Event::SessionEnd]
    {
        let Said { two, stdout, stderr } = answer(&event, decided.clone(), notes.clone(), &prompt);
        let earned = match event {
            Event::Stop { .. } | Event::Ask { .. } => admits,
            Event::PreCompactAuto => decided.outcome == Outcome::Refuse,
            _ => false,
        };
        assert_eq!(two, earned, "exit 2 to {event:?} by {decided:?}");
        let stdout = String::from_utf8(stdout).expect("text");
        if !stdout.is_empty() {
            let line = stdout.strip_suffix('\n').expect("a whole line");
            said::one_line(line, 2000);
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|v| v.is_object()), "{line}");
        }
        said::lines(&String::from_utf8(stderr).expect("text"), 15_000);
    }
}

/// A reader that returns `pace` bytes at a time.
struct Drip<'a> {
    bytes: &'a [u8],
    pace: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = self.pace.min(into.len());
        self.bytes.read(&mut into[..most])
    }
}
