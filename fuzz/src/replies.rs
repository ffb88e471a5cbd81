//! A server's bytes: read the same at any pace, and no answer but an admission is one.

use std::io::Read;

use frosty::config::Server;
use frosty::hook::fuzzing::{Said, answer};
use frosty::hook::prompt::Prompt;
use frosty::store::fuzzing::refused;
use frosty::store::script::{decision, hold, time, whole};
use frosty::throttle::step::{Event, RestRequest};
use frosty::throttle::verdict::{Decision, Outcome, Reason};
use redis::{Parser, Value};

use crate::said;

pub fn run(data: &[u8]) {
    let Some((pace, bytes)) = data.split_first() else { return };
    let at_once = Parser::new().parse_value(bytes);
    let dripped = Parser::new().parse_value(Drip { bytes, pace: usize::from(pace % 16) + 1 });
    let value = match (at_once, dripped) {
        (Ok(value), Ok(other)) => {
            // As text, since a number that is none is not equal to itself.
            assert_eq!(format!("{value:?}"), format!("{other:?}"));
            value
        }
        (Err(e), Err(_)) => return said::one_line(&frosty::text::line(&e.to_string()), 300),
        // The parser passes over a byte of garbage that comes alone; what follows must be a verdict all the same.
        (Err(_), Ok(value)) => value,
        (Ok(value), Err(e)) => panic!("at once {value:?}, dripped {e:?}"),
    };
    if let Value::ServerError(e) = &value {
        let server = Server::default();
        said::one_line(&refused(&server, e).to_string(), 1500);
    }
    parts(&value);
    if let Some(decided) = decision(&value) {
        verdict(&value, decided);
    }
}

fn parts(value: &Value) {
    if let Some(now) = time(value) {
        assert!(now >= 0);
    }
    if let Some(hold) = hold(value) {
        assert!(hold.since >= 0 && hold.until.is_none_or(|until| until >= 0), "{hold:?}");
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

fn verdict(value: &Value, decided: Decision) {
    let Value::Array(fields) = value else { panic!("a verdict that is no array: {value:?}") };
    let field = |i: usize| fields.get(i).and_then(text).expect("a field of a verdict");
    let admits = field(0) == "admit" && matches!(field(1), "admitted" | "probe");
    assert_eq!(decided.outcome == Outcome::Admit, admits, "{decided:?}");
    assert_eq!(matches!(decided.reason, Reason::Admitted | Reason::Probe), admits, "{decided:?}");
    assert_eq!((decided.outcome.code(), decided.reason.code()), (field(0), field(1)));
    let prompt = Prompt { rest: "you said that you are done".to_owned(), ..Prompt::default() };
    said::lines(&prompt.render(&decided), 10_000);
    let rest = RestRequest { kind: frosty::throttle::state::RestKind::Done, lasting: None, topic: String::new() };
    said::one_line(&frosty::hook::prompt::paused(&decided, Some(&rest)), 1000);

    for event in [Event::Stop { rest: None }, Event::PreCompactAuto, Event::Other, Event::SessionEnd] {
        let Said { two, stdout, stderr } = answer(&event, decided.clone(), Vec::new(), &prompt);
        let earned = match event {
            Event::Stop { .. } => admits,
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
        said::lines(&String::from_utf8(stderr).expect("text"), 10_001);
    }
}

/// So many bytes at a time.
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
