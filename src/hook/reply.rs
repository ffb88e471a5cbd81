//! Writes the reply to the client, by the contract table. The only exit 2 of the program is here.
//!
//! | event | admitted | refused | anything else |
//! |---|---|---|---|
//! | `Stop` | exit 2, stderr = the prompt, stdout = `{"suppressOutput":true}` | exit 0, stdout = a message when the reason changed | exit 0 |
//! | `PreCompact` `auto` | exit 0, stdout = what must survive | exit 2, stderr = the reason | exit 0 |
//! | `PreCompact` by a person | | | exit 0, stdout = what must survive |
//! | `SessionStart` | | | exit 0, stdout = the same as context after a compaction or a resume, and the owner of the work queue |
//! | every other | | | exit 0, silent |

use std::io::{self, Write};
use std::time::Duration;

use super::memory;
use super::prompt::Prompt;
use super::streams::were_missing;
use crate::duration;
use crate::hint::Problem;
use crate::journal::why;
use crate::local_time;
use crate::policy::limits::{Class, millis};
use crate::policy::request::Event;
use crate::policy::verdict::{Admission, Decision, Outcome, Reason, Verdict};
use crate::text;

/// A longer time is shown with the time of day at which it ends.
const CLOCK_FROM: Duration = Duration::from_secs(3600);

/// The exit code of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(u8);

impl Code {
    /// The agent stops, or no request was sent.
    pub const ZERO: Self = Self(0);

    /// Ends the process with this code. Nothing is cleaned up: the kernel does that faster, and everything that
    /// must last was written when it was decided.
    pub fn leave(self) -> ! {
        let _ = io::stdout().flush();
        // SAFETY: the call takes a number and never returns.
        #[allow(unsafe_code, reason = "the standard library has no exit without its clean-up")]
        unsafe {
            libc::_exit(self.0.into())
        }
    }
}

/// The facts that earn exit 2.
enum Two {
    /// A continuation that a store has committed.
    GoOn(Admission),
    /// A compaction that the policy refused. The client then continues without it.
    Uncompacted,
}

/// Writes the reply to the client and returns the exit code.
#[must_use]
pub fn answer(event: &Event, verdict: Verdict, prompt: &Prompt, streams: Streams) -> Code {
    let Verdict { decision, admission, notes, degraded, .. } = verdict;
    let Streams { stdout: out, stderr: err } = streams;
    for note in &notes {
        let _ = writeln!(err, "frosty: {}", text::line_of(note, 2000));
    }
    // An agent that continues reads this text.
    let goes_on = event.asks() == Some(Class::Stop) && decision.outcome == Outcome::Admit;
    if let (Some(why), false) = (&degraded, goes_on) {
        let _ = writeln!(err, "frosty: local files decide instead of the server: {}", text::line_of(why, 2000));
    }
    match (event.asks(), decision.outcome) {
        (Some(Class::Stop), Outcome::Admit) => {
            let Some(admission) = admission else { return Code::ZERO };
            if were_missing() {
                return Code::ZERO;
            }
            let prompt = prompt.render(&decision);
            // The client can ignore an exit 2 with an empty stdout. So if the reply cannot be written, the
            // continuation is not made and the admission is discarded.
            let said = writeln!(out, "{{\"suppressOutput\":true}}")
                .and_then(|()| out.flush())
                .and_then(|()| writeln!(err, "{prompt}"));
            match said {
                Ok(()) => two(Two::GoOn(admission)),
                Err(_) => Code::ZERO,
            }
        }
        (Some(Class::Stop), _) => {
            if decision.reason_changed {
                let mut message = stand_down(&decision);
                if let Some(why) = degraded {
                    message = format!("{message} Local files decide instead of the server: {}", text::line(&why));
                }
                let message = serde_json::json!({ "systemMessage": message });
                let _ = writeln!(out, "{message}").and_then(|()| out.flush());
            }
            Code::ZERO
        }
        (Some(Class::Compact), Outcome::Refuse) => match writeln!(err, "{}", uncompacted(&decision)) {
            Ok(()) => two(Two::Uncompacted),
            Err(_) => Code::ZERO,
        },
        _ => {
            let _ = remembered(event, &decision, prompt)
                .map_or(Ok(()), |text| writeln!(out, "{text}").and_then(|()| out.flush()));
            Code::ZERO
        }
    }
}

/// Returns what the client adds to the instructions of a compaction, or to the context of a session that starts.
#[cold]
fn remembered(event: &Event, decision: &Decision, prompt: &Prompt) -> Option<String> {
    let lines = memory::lines(decision);
    if !matches!(event, Event::SessionStart { .. }) {
        return lines;
    }
    let queue = prompt.works.then(|| memory::QUEUE.to_owned());
    let lines: Vec<String> = queue.into_iter().chain(lines).collect();
    if lines.is_empty() && prompt.message.is_none() {
        return None;
    }
    // The client reads one object.
    let mut output = serde_json::Map::new();
    if let Some(message) = &prompt.message {
        output.insert("systemMessage".to_owned(), message.as_str().into());
    }
    if !lines.is_empty() {
        let context = serde_json::json!({ "hookEventName": "SessionStart", "additionalContext": lines.join("\n") });
        output.insert("hookSpecificOutput".to_owned(), context);
    }
    Some(serde_json::Value::Object(output).to_string())
}

/// The destinations of the reply.
pub struct Streams<'a> {
    /// The hook's output, which the client parses as JSON.
    pub stdout: &'a mut dyn Write,
    /// The text for the agent or for a person.
    pub stderr: &'a mut dyn Write,
}

/// Returns exit code 2, and is the only function that makes it. It consumes the facts that earned it.
fn two(earned: Two) -> Code {
    match earned {
        Two::GoOn(Admission { .. }) | Two::Uncompacted => Code(2),
    }
}

/// Writes a failure to stderr: the message in one line, and the hint in a second one. The exit code is 0 in any case.
#[must_use]
pub fn failed(reason: Reason, why: &Problem) -> Code {
    let _ = writeln!(io::stderr(), "frosty: {}: {}", reason.code(), why.lines());
    Code::ZERO
}

/// Returns the message of a refused stop: for how long the session pauses, why, and how a person continues it.
fn stand_down(decision: &Decision) -> String {
    format!("❄ Paused{}: {}. Type to continue.", period(decision), why(decision))
}

/// Returns the length of a refusal, for the person at the screen. A short one needs no clock, and no file with this machine's
/// time zone is read for it.
fn period(decision: &Decision) -> String {
    let Some(after) = decision.retry_after else { return String::new() };
    let about = duration::about(after);
    if after < CLOCK_FROM {
        return format!(" {about}");
    }
    let end = local_time::zoned(decision.now.saturating_add(millis(after)), decision.now);
    format!(" until {end} ({about})")
}

fn uncompacted(decision: &Decision) -> String {
    format!("❄ Compaction paused{}: {}.", period(decision), why(decision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision;
    use crate::policy::verdict::Memory;

    /// A stream that takes nothing.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const STOP: Event = Event::Stop { rest: None };

    fn verdict(outcome: Outcome, reason: Reason) -> Verdict {
        let retry_after = (outcome == Outcome::Refuse).then_some(Duration::from_secs(30));
        Verdict::committed(Decision { retry_after, ..decision::decision(outcome, reason, 0) }, Vec::new())
    }

    fn reply(event: &Event, verdict: Verdict, prompt: &Prompt) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = answer(event, verdict, prompt, Streams { stdout: &mut out, stderr: &mut err }).0;
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn plain(event: &Event, verdict: Verdict) -> (u8, String, String) {
        reply(event, verdict, &Prompt::default())
    }

    #[test]
    fn only_a_committed_admission_that_was_written_exits_with_2() {
        let admitted = || verdict(Outcome::Admit, Reason::Admitted);
        let (code, out, err) = plain(&STOP, admitted());
        assert_eq!((code, out.as_str()), (2, "{\"suppressOutput\":true}\n"));
        assert!(err.starts_with("Frosty, the throttle of this session, lets you go on"), "{err}");
        let uncommitted = Verdict { admission: None, ..admitted() };
        assert_eq!(plain(&STOP, uncommitted), (0, String::new(), String::new()));
        for closed in [0, 1] {
            let (mut own, mut other) = (Closed, Vec::new());
            let streams: [&mut dyn Write; 2] =
                if closed == 0 { [&mut own, &mut other] } else { [&mut other, &mut own] };
            let [stdout, stderr] = streams;
            let code = answer(&STOP, admitted(), &Prompt::default(), Streams { stdout, stderr }).0;
            assert_eq!(code, 0, "the stream {closed} is closed");
        }
    }

    #[test]
    fn a_refused_stop_is_explained_when_its_reason_changed() {
        let refused = |reason_changed, degraded: Option<&str>| {
            let mut verdict = verdict(Outcome::Refuse, Reason::MinInterval);
            verdict.decision.reason_changed = reason_changed;
            Verdict { degraded: degraded.map(str::to_owned), ..verdict }
        };
        assert_eq!(plain(&STOP, refused(false, None)), (0, String::new(), String::new()));
        let why = Reason::MinInterval.words();
        let message = format!("{{\"systemMessage\":\"❄ Paused 30s: {why}. Type to continue.\"}}\n");
        assert_eq!(plain(&STOP, refused(true, None)), (0, message, String::new()));
        let (code, out, err) = plain(&STOP, refused(true, Some("it is away")));
        assert!(
            code == 0 && out.contains("Type to continue. Local files decide instead of the server: it is away"),
            "{out}"
        );
        assert_eq!(err, "frosty: local files decide instead of the server: it is away\n");
    }

    #[test]
    fn what_is_said_beside_the_answer() {
        let degraded = |outcome, reason| Verdict { degraded: Some("away".to_owned()), ..verdict(outcome, reason) };
        let (_, _, err) = plain(&STOP, degraded(Outcome::Admit, Reason::Admitted));
        assert!(!err.contains("away"), "an agent that continues reads it: {err}");
        let (_, _, err) = plain(&Event::Other, degraded(Outcome::Record, Reason::Event));
        assert!(err.contains("away"), "{err}");
        let (_, _, err) = plain(&Event::PreCompactAuto, degraded(Outcome::Admit, Reason::Admitted));
        assert!(err.contains("away"), "{err}");
        let noted =
            Verdict { notes: vec!["a file was set aside".to_owned()], ..verdict(Outcome::Record, Reason::Event) };
        assert_eq!(plain(&Event::Other, noted), (0, String::new(), "frosty: a file was set aside\n".to_owned()));
    }

    #[test]
    fn a_refused_compaction_exits_with_2_and_an_admitted_one_gets_what_must_survive() {
        let compact = Event::PreCompactAuto;
        let words = format!("❄ Compaction paused 30s: {}.\n", Reason::Cooldown.words());
        assert_eq!(plain(&compact, verdict(Outcome::Refuse, Reason::Cooldown)), (2, String::new(), words));
        let streams = Streams { stdout: &mut Vec::new(), stderr: &mut Closed };
        let code = answer(&compact, verdict(Outcome::Refuse, Reason::Cooldown), &Prompt::default(), streams).0;
        assert_eq!(code, 0, "the reason cannot be written");
        let mut admitted = verdict(Outcome::Admit, Reason::Admitted);
        admitted.decision.memory = Some(Box::new(Memory { work: "echo:1".to_owned(), rest: None }));
        let (code, out, err) = plain(&compact, admitted);
        assert!(code == 0 && out.contains("echo:1") && err.is_empty(), "{out} {err}");
    }

    #[test]
    fn what_a_session_that_starts_is_given() {
        let start = Event::SessionStart { label: String::new() };
        let recorded = || verdict(Outcome::Record, Reason::Event);
        assert_eq!(plain(&start, recorded()), (0, String::new(), String::new()));
        let shown = Prompt { message: Some("hello".to_owned()), ..Prompt::default() };
        assert_eq!(reply(&start, recorded(), &shown).1, "{\"systemMessage\":\"hello\"}\n");
        let (_, out, _) = reply(&start, recorded(), &Prompt { works: true, ..Prompt::default() });
        assert!(
            out.contains("\"additionalContext\":\"Frosty, the throttle that") && !out.contains("systemMessage"),
            "{out}"
        );
        // Any other event is silent, whatever the session remembers.
        assert_eq!(reply(&Event::PersonPrompt, recorded(), &shown), (0, String::new(), String::new()));
    }

    #[test]
    fn a_long_pause_is_shown_with_its_end() {
        let period = |secs| {
            let retry_after = Some(Duration::from_secs(secs));
            period(&Decision { retry_after, ..decision::refusal(Reason::Rest, 0) })
        };
        assert!(!period(3599).contains("until"), "{}", period(3599));
        assert!(period(3600).starts_with(" until ") && period(3600).ends_with(')'), "{}", period(3600));
        assert_eq!(super::period(&decision::refusal(Reason::Done, 0)), "");
    }
}
