use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::policy::turn::{MOST_CALLS, Worth};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcript").join(format!("{name}.jsonl"));
    fs::read_to_string(path).unwrap()
}

/// A transcript in a folder of its own.
struct File {
    dir: TempDir,
    path: PathBuf,
}

impl File {
    fn of(text: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("transcript.jsonl");
        fs::write(&path, text).unwrap();
        Self { dir, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn append(&self, text: &str) {
        append(&self.path, text);
    }

    fn measure(&self, from: Option<&TranscriptPlace>, message: &str) -> Turn {
        self.measure_within(Duration::from_secs(20), from, message)
    }

    /// Measures a turn that is not there, in a time in which nothing can arrive.
    fn measure_now(&self, from: Option<&TranscriptPlace>, message: &str) -> Turn {
        self.measure_within(Duration::ZERO, from, message)
    }

    fn measure_within(&self, within: Duration, from: Option<&TranscriptPlace>, message: &str) -> Turn {
        measure(self.path(), from, Some(message), Instant::now() + within, || false)
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn line(value: &serde_json::Value) -> String {
    format!("{value}\n")
}

fn prompt(text: &str, at: u32) -> String {
    line(&json!({"type": "user", "isSidechain": false, "message": {"role": "user", "content": text},
        "turnOrigin": "human", "version": "2.1.331", "timestamp": format!("2026-11-24T13:00:{at:02}.000Z")}))
}

fn assistant(id: u32, block: &serde_json::Value, stop: &str, tokens: u64, at: u32) -> String {
    line(&json!({"type": "assistant", "isSidechain": false, "version": "2.1.331", "requestId": format!("req_{id}"),
        "timestamp": format!("2026-11-24T13:00:{at:02}.000Z"),
        "message": {"id": format!("msg_{id}"), "model": "claude-opus-5-5", "content": [block], "stop_reason": stop,
            "usage": {"input_tokens": 10, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3,
                "output_tokens": tokens}}}))
}

fn says(id: u32, text: &str) -> String {
    assistant(id, &json!({"type": "text", "text": text}), "end_turn", 5, 30)
}

fn calls(id: u32, name: &str, input: &serde_json::Value) -> String {
    let block = json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": name, "input": input});
    assistant(id, &block, "tool_use", 5, 20)
}

fn result(id: u32, text: &str) -> String {
    line(&json!({"type": "user", "isSidechain": false, "message": {"role": "user",
        "content": [{"type": "tool_result", "tool_use_id": format!("toolu_{id}"), "content": text}]}}))
}

fn bash(id: u32, command: &str, output: &str) -> String {
    calls(id, "Bash", &json!({"command": command})) + &result(id, output)
}

#[test]
fn a_turn_of_the_client() {
    let turn = File::of(&fixture("turn-with-usage")).measure(None, "Canned reply 1.");
    assert!(turn.seen);
    assert_eq!((turn.origin.as_str(), turn.tools, turn.units, turn.requests), ("sdk", 0, 0, 1));
    assert_eq!((turn.tokens_in, turn.tokens_out, turn.tokens_cached), (1000, 25, 500));
    assert_eq!((turn.model.as_str(), turn.request_id.as_str()), ("claude-opus-5-5", "req_stub_001"));
    assert_eq!((turn.version.as_str(), turn.took), ("2.1.331", Some(Duration::from_millis(128))));
    assert_eq!(turn.worth(&[]), Worth::Empty);
}

#[test]
fn two_blocks_of_one_message_are_one_request() {
    let turn = File::of(&fixture("two-blocks-one-message")).measure(None, "Canned reply 2.");
    assert_eq!((turn.origin.as_str(), turn.tools, turn.units, turn.requests), ("human", 1, 1, 2));
    assert_eq!((turn.tokens_in, turn.tokens_out, turn.tokens_cached), (2000, 50, 1000));
    assert_eq!((turn.delegated, turn.worth(&[])), (true, Worth::Worked), "a shell runs in the background");
}

#[test]
fn the_last_line_of_a_message_has_its_usage() {
    let block = |text: &str, tokens| assistant(1, &json!({"type": "text", "text": text}), "end_turn", tokens, 1);
    let file = File::of(&(prompt("go", 0) + &block("one", 1) + &block("two", 700)));
    for message in ["one\n\ntwo", "two", " onetwo "] {
        let turn = file.measure(None, message);
        assert_eq!((turn.requests, turn.tokens_in, turn.tokens_out), (1, 10, 700), "{message:?}");
    }
    assert!(!file.measure_now(None, "one").seen, "the message goes on");
    assert!(!file.measure_now(None, "wo").seen, "a block is whole");
}

#[test]
fn continuations_are_measured_one_after_the_other() {
    let text = fixture("tool-turns");
    let file = File::of("");
    let mut place = None;
    let mut turns = Vec::new();
    let mut feed = text.split_inclusive('\n');
    for message in ["one", "two", "three", "Canned reply 6.", "Canned reply 7."] {
        for line in feed.by_ref() {
            file.append(line);
            if line.contains(&format!("\"text\":\"{message}\"")) {
                break;
            }
        }
        let turn = file.measure(place.as_ref(), message);
        place.clone_from(&turn.place);
        turns.push(turn);
    }
    let facts: Vec<_> = turns.iter().map(|t| (t.seen, t.tools, t.requests, t.tokens_out)).collect();
    assert_eq!(facts, [(true, 0, 1, 25), (true, 1, 2, 50), (true, 1, 2, 50), (true, 0, 1, 25), (true, 0, 1, 25)]);
    assert_eq!(turns[1].calls, turns[2].calls, "the same command with the same result");
    assert_eq!(turns[2].worth(&[turns[1].calls.clone()]), Worth::Looked);
    assert_eq!((turns[0].origin.as_str(), turns[1].origin.as_str()), ("sdk", ""));
    // Without the place, the turn begins with the last continuation.
    let last = file.measure(None, "Canned reply 7.");
    assert_eq!((last.requests, &last.place), (1, &place));
}

#[test]
fn a_compaction_belongs_to_the_turn() {
    let turn = File::of(&fixture("compaction-auto")).measure(None, "Canned reply 2.");
    assert_eq!((turn.seen, turn.requests), (true, 4));
    let summary = line(&json!({"type": "user", "isCompactSummary": true, "turnOrigin": "sdk",
        "message": {"role": "user", "content": "This session is being continued"}}));
    let text = prompt("go", 0) + &bash(1, "make", "ok") + &summary + &says(2, "done");
    let turn = File::of(&text).measure(None, "done");
    assert_eq!((turn.origin.as_str(), turn.tools, turn.requests), ("human", 1, 2));
    assert_eq!(turn.worth(&[]), Worth::Worked);
}

#[test]
fn lines_of_subagents_are_not_the_turn() {
    let side = fixture("subagent-agent-file");
    let text = prompt("go", 0) + &says(1, "before") + &prompt("again", 1) + &side + &says(3, "done") + &side;
    let file = File::of(&text);
    let turn = file.measure(None, "done");
    assert_eq!((turn.requests, turn.tokens_out, turn.tools), (1, 5, 0));
    let turn = file.measure_now(None, "Canned reply 2.");
    assert!(!turn.seen, "the message of a subagent is not the turn's");
}

#[test]
fn an_error_of_the_api_is_no_request() {
    let text = fixture("api-error-429") + &prompt("again", 1) + &says(2, "done");
    let file = File::of(&text);
    let from = TranscriptPlace { path: file.path().to_owned(), inode: inode(&file.path), offset: 0 };
    let turn = file.measure(Some(&from), "done");
    assert_eq!((turn.seen, turn.requests, turn.tokens_out), (true, 1, 5));
    assert_eq!((turn.origin.as_str(), turn.model.as_str()), ("human", "claude-opus-5-5"));
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn polls_are_alike_up_to_digits() {
    let of = |text: String| File::of(&(prompt("go", 0) + &text + &says(99, "done"))).measure(None, "done");
    let date = |output: &str| of(bash(1, "date", output)).calls;
    assert_eq!(date("Tue Nov 24 13:00:09"), date("Tue Nov 24 9:10:11"));
    assert_ne!(date("Tue Nov 24 13:00:09"), date("Wed Nov 25 13:00:09"));
    assert_ne!(date("a"), of(bash(1, "date -u", "a")).calls);
    assert_ne!(date("a"), of(calls(1, "Read", &json!({"command": "date"})) + &result(1, "a")).calls);
    let twice = of(bash(1, "date", "1") + &bash(2, "date", "2"));
    assert_eq!((twice.tools, twice.calls.len()), (2, 1), "each once");
    let parallel = calls(1, "Bash", &json!({"command": "a"})) + &calls(2, "Bash", &json!({"command": "b"}));
    let mut parallel = of(parallel + &result(2, "y") + &result(1, "x")).calls;
    let mut serial = of(bash(1, "a", "x") + &bash(2, "b", "y")).calls;
    parallel.sort_unstable();
    serial.sort_unstable();
    assert_eq!(parallel, serial, "each result belongs to its call");
}

#[test]
fn what_counts_as_work() {
    let of = |text: String| File::of(&(prompt("go", 0) + &text + &says(99, "done"))).measure(None, "done");
    for (name, input, units) in [
        ("TodoWrite", json!({"todos": []}), 0),
        ("TaskUpdate", json!({}), 0),
        ("CronCreate", json!({}), 0),
        ("ScheduleWakeup", json!({}), 0),
        ("Bash", json!({"command": "frosty status"}), 0),
        ("Bash", json!({"command": "/usr/bin/frosty log"}), 0),
        ("Bash", json!({"command": "frosty wake a && make"}), 1),
        ("Bash", json!({"command": "frostytool"}), 1),
        ("Bash", json!("no object"), 1),
        ("Read", json!({"command": "frosty"}), 1),
    ] {
        let turn = of(calls(1, name, &input) + &result(1, "x"));
        let worth = if units == 0 { Worth::Empty } else { Worth::Worked };
        assert_eq!((turn.tools, turn.units, turn.worth(&[])), (1, units, worth), "{name} {input}");
        assert!(!turn.delegated);
    }
    for (name, input) in [
        ("Task", json!({})),
        ("Agent", json!({})),
        ("Monitor", json!({})),
        ("Bash", json!({"run_in_background": true})),
    ] {
        assert!(of(calls(1, name, &input)).delegated, "{name}");
    }
}

#[test]
fn a_hundred_tools() {
    let letters = |n: u32| ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"][n as usize];
    let tools: String = (0..100).map(|n| bash(n, &format!("{}{}", letters(n / 10), letters(n % 10)), "ok")).collect();
    let file = File::of(&(prompt("go", 0) + &tools + &says(200, "done")));
    let turn = file.measure(None, "done");
    assert_eq!((turn.tools, turn.units, turn.requests, turn.tokens_out), (100, 100, 101, 505));
    assert_eq!(turn.calls.len(), MOST_CALLS + 1);
    assert_eq!(turn.worth(std::slice::from_ref(&turn.calls)), Worth::Worked);
}

#[test]
fn a_message_that_is_written_while_it_is_read() {
    let file = File::of(&(prompt("go", 0) + &bash(1, "make", "ok")));
    let end = says(2, "done");
    let (head, tail) = end.split_at(end.len() / 2);
    file.append(head);
    let reads = AtomicU32::new(0);
    let turn = measure(file.path(), None, Some("done"), Instant::now() + Duration::from_secs(20), || {
        // The line is completed only once its half was read.
        if reads.fetch_add(1, Ordering::SeqCst) == 3 {
            file.append(tail);
        }
        false
    });
    assert_eq!((turn.seen, turn.tools, turn.requests), (true, 1, 2));
    assert!(reads.load(Ordering::SeqCst) >= 3);
    assert_eq!(turn.place.unwrap().offset, fs::metadata(&file.path).unwrap().len());
}

#[test]
fn an_unseen_turn_belongs_to_the_next() {
    let file = File::of(&(prompt("go", 0) + &says(1, "one")));
    let first = file.measure(None, "one").place.unwrap();
    file.append(&(prompt("more", 1) + &bash(2, "make", "ok")));
    let unseen = file.measure_now(Some(&first), "two");
    assert_eq!((unseen.seen, unseen.tools, unseen.place.as_ref()), (false, 0, Some(&first)));
    assert_eq!((unseen.version.as_str(), unseen.worth(&[])), ("2.1.331", Worth::Unknown));
    file.append(&(says(3, "two") + &prompt("again", 2) + &says(4, "three")));
    let both = file.measure(Some(&first), "three");
    assert_eq!((both.seen, both.tools, both.requests), (true, 1, 3));
    assert_eq!(both.place.unwrap().offset, fs::metadata(&file.path).unwrap().len());
    // The lines of a turn that began meanwhile are left to that turn.
    let second = file.measure(Some(&first), "two");
    assert_eq!(second.requests, 2);
    assert_eq!(file.measure(second.place.as_ref(), "three").requests, 1);
}

#[test]
fn the_same_message_at_the_end_of_the_turn_before() {
    let file = File::of(&(prompt("go", 0) + &says(1, "Done.") + &prompt("more", 1)));
    assert!(!file.measure_now(None, "Done.").seen, "that message ended another turn");
    file.append(&says(2, "Done."));
    assert_eq!(file.measure(None, "Done.").request_id, "req_2");
    let text = prompt("go", 0) + &assistant(1, &json!({"type": "text", "text": "Done."}), "tool_use", 5, 1);
    assert!(!File::of(&text).measure_now(None, "Done.").seen, "a tool follows");
}

#[test]
fn no_transcript() {
    let file = File::of("");
    fs::remove_file(&file.path).unwrap();
    let from = TranscriptPlace { path: file.path().to_owned(), inode: 5, offset: 7 };
    let turn = file.measure(Some(&from), "done");
    assert_eq!((turn.seen, turn.place), (false, Some(from)));
    for blocks in [false, true] {
        let path = file.dir.path().join("other");
        match blocks {
            false => fs::create_dir(&path).unwrap(),
            true => {
                fs::remove_dir(&path).unwrap();
                rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
                    .unwrap();
            }
        }
        let until = Instant::now() + Duration::from_secs(600);
        assert!(!measure(path.to_str().unwrap(), None, Some("x"), until, || false).seen);
    }
    // Without the message it is unknown where the turn ends.
    let file = File::of(&(prompt("go", 0) + &says(1, "one")));
    let until = Instant::now() + Duration::from_secs(600);
    assert!(!measure(file.path(), None, None, until, || false).seen);
    let interrupted = measure(file.path(), None, Some("two"), until, || true);
    assert!(!interrupted.seen);
}

#[test]
fn a_replaced_or_shortened_file() {
    let file = File::of(&(prompt("go", 0) + &bash(1, "make", "ok") + &says(2, "one")));
    let first = file.measure(None, "one").place.unwrap();
    let other = file.dir.path().join("other");
    fs::write(&other, prompt("go", 0) + &says(3, "two")).unwrap();
    fs::rename(&other, &file.path).unwrap();
    let turn = file.measure(Some(&first), "two");
    let place = turn.place.clone().unwrap();
    assert_eq!((turn.seen, turn.requests, place.inode), (true, 1, inode(&file.path)));
    assert_ne!(place.inode, first.inode);
    // The same file, cut off and written again.
    fs::write(&file.path, prompt("go", 0) + &says(4, "x")).unwrap();
    let turn = file.measure(Some(&place), "x");
    assert_eq!((turn.seen, turn.request_id.as_str()), (true, "req_4"));
    // A file that is replaced while it is read.
    let reads = AtomicU32::new(0);
    let turn = measure(file.path(), None, Some("three"), Instant::now() + Duration::from_secs(20), || {
        if reads.fetch_add(1, Ordering::SeqCst) == 2 {
            fs::write(&other, prompt("go", 0) + &says(5, "three")).unwrap();
            fs::rename(&other, &file.path).unwrap();
        }
        false
    });
    assert_eq!((turn.seen, turn.request_id.as_str()), (true, "req_5"));
}

#[test]
fn lines_that_are_no_messages() {
    let noise = "\n{\"type\":\"assistant\"\n[]\n\"user\"\n{\"type\":7,\"message\":{}}\n{\"type\":\"user\",\"message\":8}\n\
                 {\"type\":\"assistant\",\"message\":{\"id\":3,\"content\":{\"a\":[]},\"usage\":{\"input_tokens\":null}}}\n";
    let text = prompt("go", 0) + noise + &says(1, "done");
    let turn = File::of(&text).measure(None, "done");
    assert_eq!((turn.seen, turn.tokens_in), (true, 10));
    let mut bytes = prompt("go", 0).into_bytes();
    bytes.extend(b"{\"type\":\"assistant\",\"x\":\"\xff\xfe\"}\n");
    bytes.extend(says(1, "half \u{1f980}").replace('\u{1f980}', "\\ud83e").into_bytes());
    let file = File::of("");
    fs::write(&file.path, bytes).unwrap();
    let message = serde_json::from_str::<&serde_json::value::RawValue>("\"half \\ud83e\"").unwrap();
    let message = crate::hook::payload::text(Some(message)).unwrap();
    assert!(file.measure(None, &message).seen, "half a character of the client's: {message}");
}

#[test]
fn a_line_of_8_mb_and_one_that_is_too_long() {
    let file = File::of(&(prompt("go", 0) + &bash(1, "cat", &"x".repeat(8 << 20)) + &says(2, "one")));
    let turn = file.measure(None, "one");
    assert_eq!((turn.seen, turn.tools, turn.calls.len()), (true, 1, 1));
    file.append(&(prompt("more", 1) + &bash(3, "cat", &"x".repeat(17 << 20)) + &says(4, "two")));
    let turn = file.measure(turn.place.as_ref(), "two");
    assert_eq!((turn.seen, turn.tools, turn.requests), (true, 1, 2), "the result alone was skipped");
}

#[test]
fn a_file_of_50_mb() {
    let filler = bash(1, "cat", &"x".repeat(10_000));
    let mut text = prompt("go", 0);
    while text.len() < 50 << 20 {
        text.push_str(&filler);
    }
    let file = File::of(&text);
    file.append(&(says(2, "one") + &prompt("more", 1) + &bash(3, "make", "ok") + &says(4, "two")));
    let turn = file.measure(None, "two");
    assert_eq!((turn.seen, turn.tools, turn.requests), (true, 1, 2), "the last turn alone");
    // All of it is one turn, with its place.
    let from = TranscriptPlace { offset: 0, ..turn.place.clone().unwrap() };
    assert!(file.measure(Some(&from), "two").tools > 4900);
    // A turn with a beginning that is not found is unknown, and the next one is known.
    let file = File::of(&(text + &says(2, "one")));
    let unknown = file.measure(None, "one");
    assert!(!unknown.seen && unknown.place.is_some());
    file.append(&(prompt("more", 1) + &says(4, "two")));
    assert_eq!(file.measure(unknown.place.as_ref(), "two").requests, 1);
}

/// Transcripts of the client 2.1.332.
#[test]
fn turns_of_the_client_with_a_compaction_a_subagent_an_error_and_many_tools() {
    let measure = |name: &str, message: &str| File::of(&fixture(name)).measure(None, message);
    let turn = measure("compaction-in-turn", "All done.\n\nfrosty: done");
    assert_eq!((turn.origin.as_str(), turn.tools, turn.requests, turn.delegated), ("human", 6, 7, false));
    let turn = measure("subagent-in-turn", "All done.\n\nfrosty: done");
    assert_eq!((turn.origin.as_str(), turn.tools, turn.requests, turn.delegated), ("human", 1, 2, true));
    let turn = measure("hundred-tools", "frosty: done");
    assert_eq!((turn.tools, turn.requests, turn.tokens_in, turn.calls.len()), (100, 101, 101_000, MOST_CALLS + 1));
    let file = File::of(&fixture("api-error-in-turn"));
    let from = TranscriptPlace { path: file.path().to_owned(), inode: inode(&file.path), offset: 0 };
    let first = file.measure(Some(&from), "Begun.");
    let second = file.measure(first.place.as_ref(), "All done.\n\nfrosty: done");
    assert_eq!((first.tools, first.requests, first.tokens_in), (1, 2, 2000));
    assert_eq!((second.tools, second.requests, second.tokens_in), (1, 2, 2000), "with those of the failed turn");
    assert_eq!(second.origin, "task_notification");
}

/// A transcript of `claude --continue --fork-session` (2.1.332): it begins with the lines of the parent.
#[test]
fn the_turns_of_the_parent_are_not_counted_again_in_a_fork() {
    let file = File::of(&fixture("fork"));
    let parents = TranscriptPlace { path: "/home/nova/parent.jsonl".to_owned(), inode: inode(&file.path), offset: 0 };
    for from in [None, Some(&parents)] {
        let turn = file.measure(from, "Forked.\n\nfrosty: done");
        assert_eq!((turn.origin.as_str(), turn.tools, turn.requests, turn.tokens_in), ("human", 1, 2, 80));
    }
    // The last turn of the parent ends in the same file, and its message is not the fork's.
    assert!(!file.measure_now(None, "All done.\n\nfrosty: done").seen);
    let all =
        file.measure(Some(&TranscriptPlace { path: file.path().to_owned(), ..parents }), "Forked.\n\nfrosty: done");
    assert_eq!((all.tools, all.requests, all.tokens_in), (3, 6, 4080), "with the parent's turns");
}
