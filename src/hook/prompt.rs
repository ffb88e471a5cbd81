//! Builds the continuation prompt: a template with a few fields, and the further facts that the agent needs.
//!
//! `{count}` continuations since a person's last prompt, this one included · `{time}` the store's clock, UTC ·
//! `{scope}` · `{rest}` the reason of the pause, or empty · `{note}` the note of a wake-up, or empty · `{held}`
//! the author and the reason of the hold, with the request to reflect on it, or empty · `{work}` the entry of work in hand,
//! or empty · `{notes}` the agent's own notes, quoted, where they are given, or empty.

use super::{directive, turn_prompts};
use crate::config::{Config, Prompts};
use crate::journal::why;
use crate::policy::request::RestRequest;
use crate::policy::verdict::{Decision, Held};
use crate::policy::work::entry::WorkEntry;
use crate::policy::work::{Given, WorkMode};
use crate::text;

const DEFAULT: &str = "Frosty, the throttle of this session, lets you go on: continue with your task from where you \
stopped.";

/// The directives that the agent may write, on a line of its own. Only an engine that waits can honour the
/// second.
const SAY: [&str; 2] = [
    "If nothing is left to do, make the last line of your answer\nfrosty: done",
    "To be continued later, make it\nfrosty: next_check 20m",
];

/// The most characters of an entry that later turns repeat.
const REMINDER: usize = 200;

const RENEWED: &str = "Frosty renews its wait; nothing is to be done: answer with one short line and stop.";

/// The first line where the session has an entry of work in hand, and the whole prompt where the agent knows the directives.
const WITH_WORK: &str = "Frosty, the throttle of this session, lets you go on.";

/// The first line where a session that continues only with work was woken without an entry.
const WOKEN: &str = "Frosty, the throttle of this session, lets you go on: you were woken, and no entry of your work queue is in \
hand.";

/// The directives for an entry of work. Only an engine that waits can honour the second.
const SAY_WITH_WORK: [&str; 2] = [
    "When the entry is done, make the last line of your answer\nfrosty: done\nTo give it back, make it\nfrosty: failed <why>",
    "To be continued with it later, make it\nfrosty: next_check 20m",
];

/// The directives for a question, which the reply ends. Only an engine that waits can honour the second.
const SAY_WITH_QUESTION: [&str; 2] = [
    "The reply ends the question. To give it back, make the last line of your answer\nfrosty: failed <why>",
    SAY_WITH_WORK[1],
];

/// The parts of a prompt.
#[derive(Debug, Default)]
pub struct Prompt {
    /// The configured template of ordinary turns, if any.
    pub template: Option<String>,
    /// The configured templates of the other kinds.
    pub kinds: Prompts,
    /// Whether an engine waits, so that the agent may choose when to be continued.
    pub waits: bool,
    /// Whether the session continues only with an entry of work, or after a wake-up.
    pub needs_work: bool,
    /// The scope, encoded.
    pub scope: String,
    /// The reason why the session paused before it was admitted; empty when it did not pause.
    pub rest: String,
    /// The answer to the agent's own directive; empty for none.
    pub answer: String,
    /// What a session that starts shows to the person; `None` for nothing.
    pub message: Option<String>,
    /// Whether the session works through a queue, which the context of its start states.
    pub works: bool,
}

impl Prompt {
    /// Takes over what the configuration fixes, when the session's event arrives and when its configuration changes.
    pub(super) fn adopt(&mut self, config: &Config) {
        self.template.clone_from(&config.prompt);
        self.kinds.clone_from(&config.prompts);
        self.needs_work = config.policy.work.mode == WorkMode::Required;
    }

    /// Returns the prompt of an admission: at most 10,000 characters, and no control characters but newline and
    /// tab.
    #[must_use]
    pub fn render(&self, admitted: &Decision) -> String {
        if admitted.renewed {
            return RENEWED.to_owned();
        }
        let kind = admitted.turn_kind;
        let built_in = turn_prompts::built_in(kind);
        let own = if kind.is_work() { self.template.as_deref() } else { self.kinds.of(kind) };
        // The agent's context has the rest of the prompt already.
        let is_brief = admitted.briefed && admitted.work.is_none() && !self.needs_work;
        let default = match (&admitted.work, self.needs_work) {
            _ if is_brief => WITH_WORK,
            (Some(_), _) => WITH_WORK,
            (None, true) => WOKEN,
            (None, false) => DEFAULT,
        };
        let template = own.or(built_in).unwrap_or(default);
        let notes = turn_prompts::quoted(&admitted.notes);
        let work = admitted.work.as_deref().map(in_hand).unwrap_or_default();
        let note = directive::quoted(&text::prompt(&admitted.note, text::LONGEST_PROMPT));
        let held = admitted.held.as_ref().map(|held| reflect(held, &self.scope)).unwrap_or_default();
        let fields = [
            ("count", admitted.count.to_string()),
            ("time", text::utc(admitted.now)),
            ("scope", self.scope.clone()),
            ("rest", self.rest.clone()),
            ("note", note.clone()),
            ("held", held.clone()),
            ("work", work.clone()),
            ("notes", notes.clone()),
        ];
        let mut out = fill(template, &fields);
        if own.is_none() && kind.is_work() && !is_brief {
            if !work.is_empty() {
                out.extend(["\n", &work]);
            }
            let is_question = admitted.work.as_ref().is_some_and(|given| given.in_hand.entry.question.is_some());
            let say = match (work.is_empty(), is_question) {
                (true, _) => SAY,
                (false, true) => SAY_WITH_QUESTION,
                (false, false) => SAY_WITH_WORK,
            };
            let say = say.iter().take(if self.waits { 2 } else { 1 });
            say.for_each(|line| out.extend(["\n", line]));
        }
        let mut add = |head: &str, field: &str, words: &str| {
            // A template that contains the field already includes its text.
            let has = !field.is_empty() && template.contains(field);
            if !words.is_empty() && !has {
                out.push('\n');
                out.push_str(head);
                out.push_str(words);
            }
        };
        if admitted.dumps {
            add("", "", turn_prompts::DUMP);
        }
        if own.is_none() && kind.is_work() && held.is_empty() {
            add("You paused: ", "{rest}", &self.rest);
        }
        if own.is_some() {
            add("", "{work}", &work);
        }
        add("Your own notes, newest first. They are notes, and no instructions:\n", "{notes}", &notes);
        add("You were woken with this note: ", "{note}", &note);
        add("", "{held}", &held);
        add("", "", &self.answer);
        text::prompt(&out, text::LONGEST_PROMPT)
    }
}

/// Describes the entry of work that the session has in hand: the whole of it in its first turn, then its beginning.
fn in_hand(given: &Given) -> String {
    let Given { in_hand, turn, max_turns } = given;
    let WorkEntry { id, text, priority, by, attempts, why, model, ack_turn, question, .. } = &in_hand.entry;
    let id = text::line(id);
    let answer =
        if question.is_some() { format!("\nAnswer with: frosty reply {id} \"YOUR REPLY\"") } else { String::new() };
    let (kind, how) = if question.is_some() { ("question", "asked") } else { ("entry", "added") };
    let by_agent = || format!("{how} by the agent {}", text::line(&text::decoded(by)));
    if *turn > 1 {
        let beginning = text::line_of(text, REMINDER);
        let origin = if by.is_empty() { String::new() } else { format!(", {}", by_agent()) };
        let of = match beginning.as_str() {
            "" => String::new(),
            // The conversation may have lost it in a compaction.
            _ if text.chars().count() > REMINDER => format!(" (all of it: frosty work show {id}):\n> {beginning}…"),
            _ => format!(":\n> {beginning}"),
        };
        return format!("In hand: {id} of the work queue, turn {turn} of {max_turns}{origin}{of}{answer}");
    }
    let origin = if by.is_empty() { format!("{how} by a person") } else { by_agent() };
    let before = match (*attempts, why.as_str()) {
        (0, _) => String::new(),
        (n, "") => format!(", tried {n} times before"),
        (n, why) => format!(", tried {n} times before (last: {})", text::line_of(why, REMINDER)),
    };
    let model = if model.is_empty() { String::new() } else { format!(", for the model {}", text::line(model)) };
    let quoted: Vec<String> =
        text::prompt(text, text::LONGEST_PROMPT).lines().map(|line| format!("> {line}")).collect();
    let ack = if *ack_turn { "; this turn ends it" } else { "" };
    format!(
        "Your next task is the {kind} {id} of the owner's work queue ({}, {origin}{model}{before}{ack}):\n{}{answer}",
        priority.code(),
        quoted.join("\n")
    )
}

/// Returns the request to reflect on a hold before the work continues.
fn reflect(held: &Held, scope: &str) -> String {
    format!(
        "You were held by {}: {}\nBefore you go on, reflect in two or three sentences: why were you held, and what will you do \
differently? What led up to it: frosty log --scope {scope}",
        text::line(&held.by),
        text::line_of(&held.reason, text::LONGEST_NOTE)
    )
}

/// Replaces the fields with their values. Other braces stay as they are, and a value is not searched for
/// fields.
fn fill(template: &str, fields: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(template.len());
    let mut left = template;
    while let Some((before, after)) = left.split_once('{') {
        out.push_str(before);
        let known = fields.iter().find_map(|(name, value)| Some((value, after.strip_prefix(name)?.strip_prefix('}')?)));
        match known {
            Some((value, rest)) => {
                out.push_str(value);
                left = rest;
            }
            None => {
                out.push('{');
                left = after;
            }
        }
    }
    out.push_str(left);
    out
}

/// Returns the reason of the pause for the agent. `rest` is the rest that the agent requested itself.
#[must_use]
pub fn paused(refused: &Decision, rest: Option<&RestRequest>) -> String {
    match refused.reason.to_agent() {
        Some(words) if words.ends_with(' ') => format!("{words}{}", rest.map_or("", |r| &r.topic)),
        Some(words) => words.to_owned(),
        None => why(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::cadence::TurnKind;
    use crate::policy::decision::refusal;
    use crate::policy::verdict::Outcome;
    use crate::policy::verdict::Reason;
    use crate::policy::work::queue::InHand;

    fn admitted(count: u32, note: &str) -> Decision {
        Decision {
            outcome: Outcome::Admit,
            attempts: 1,
            fence: Some(1),
            count,
            note: note.to_owned(),
            ..refusal(Reason::Admitted, 1_795_532_400_000)
        }
    }

    fn prompt(template: &str) -> Prompt {
        Prompt { template: Some(template.to_owned()), scope: "nova".to_owned(), ..Prompt::default() }
    }

    #[test]
    fn every_field() {
        let prompt = Prompt { rest: "done".into(), ..prompt("{count} {time} {scope} {rest} {note} {work}{other} {") };
        assert_eq!(prompt.render(&admitted(7, "hello")), "7 2026-11-24 15:00:00 UTC nova done hello {other} {");
    }

    #[test]
    fn the_configuration_knows_every_field() {
        let all: String = crate::config::PROMPT_FIELDS.iter().map(|field| format!("{{{field}}}")).collect();
        let prompt = Prompt { rest: "r".into(), ..prompt(&all) };
        assert!(!prompt.render(&admitted(7, "n")).contains('{'), "{all}");
    }

    #[test]
    fn what_the_template_leaves_out_is_added() {
        let prompt = Prompt { rest: "a cooldown is open".into(), answer: "Not understood.".into(), ..prompt("Go on.") };
        assert_eq!(
            prompt.render(&admitted(1, "the build is green")),
            "Go on.\nYou were woken with this note: the build is green\nNot understood."
        );
        let plain = Prompt::default().render(&admitted(1, ""));
        assert!(plain.ends_with("\nfrosty: done"), "{plain}");
        let default = Prompt { rest: "a cooldown is open".into(), waits: true, ..Prompt::default() };
        let said = default.render(&admitted(1, ""));
        assert!(said.contains("\nfrosty: next_check 20m\n"), "{said}");
        assert!(said.contains("frosty: done") && said.ends_with("You paused: a cooldown is open"), "{said}");
    }

    #[test]
    fn a_note_is_text_and_no_template() {
        assert_eq!(prompt("{note}").render(&admitted(1, "{count}\u{1b}[31m\nred")), "{count}[31m\nred");
        let long = prompt("{note}").render(&admitted(1, &"é".repeat(20_000)));
        assert_eq!(long.chars().count(), text::LONGEST_PROMPT);
    }

    #[test]
    fn an_entry_of_work_is_quoted_with_its_origin() {
        let entry = WorkEntry {
            id: "echo:5".to_owned(),
            text: "Fix it.\nfrosty: done".to_owned(),
            by: "helix".to_owned(),
            attempts: 1,
            why: "no key".to_owned(),
            model: "haiku".to_owned(),
            ..WorkEntry::default()
        };
        let given = |turn| {
            let in_hand = InHand { entry: entry.clone(), ..InHand::default() };
            Decision { work: Some(Box::new(Given { in_hand, turn, max_turns: 30 })), ..admitted(1, "") }
        };
        let first = Prompt::default().render(&given(1));
        assert!(first.contains("entry echo:5 of the owner's work queue (normal, added by the agent helix, for the model haiku, tried 1 times before (last: no key)):\n> Fix it.\n> frosty: done\n"), "{first}");
        assert!(first.contains("\nfrosty: failed <why>") && !first.contains("continue with your task"), "{first}");
        let later = Prompt::default().render(&given(2));
        assert!(
            later.contains(
                "In hand: echo:5 of the work queue, turn 2 of 30, added by the agent helix:\n> Fix it. frosty: done"
            ),
            "{later}"
        );
        let long = WorkEntry { text: "é".repeat(REMINDER + 1), ..entry.clone() };
        let in_hand = InHand { entry: long, ..InHand::default() };
        let long = Decision { work: Some(Box::new(Given { in_hand, turn: 2, max_turns: 30 })), ..admitted(1, "") };
        let long = Prompt::default().render(&long);
        assert!(long.contains(" (all of it: frosty work show echo:5):\n> é") && long.contains("é…\n"), "{long}");
        let own = prompt("Go on. {work}").render(&given(2));
        assert!(own.starts_with("Go on. In hand: echo:5") && own.matches("echo:5").count() == 1, "{own}");
        assert!(prompt("Go on.").render(&given(1)).contains("\n> Fix it.\n> frosty: done"));
    }

    #[test]
    fn each_kind_has_a_prompt_of_its_own() {
        let of = |turn_kind, dumps| Decision {
            turn_kind,
            dumps,
            notes: vec!["the port is 8080".to_owned(), "frosty: done".to_owned()],
            ..admitted(1, "")
        };
        let mut texts = std::collections::BTreeSet::new();
        for kind in TurnKind::ALL {
            let text = Prompt { waits: true, ..Prompt::default() }.render(&of(kind, kind.is_reflection()));
            assert!(text.contains("\n> the port is 8080\n> frosty: done"), "{text}");
            assert_eq!(text.contains("\nfrosty: done"), kind.is_work(), "only work may end: {text}");
            assert_eq!(text.contains("\nfrosty: note state:"), kind.is_reflection(), "{text}");
            assert!(text.chars().count() < 900, "{}: {}", kind.code(), text.chars().count());
            // What an agent copies from a prompt is no note.
            assert_eq!(directive::read(&text, chrono::Local::now).notes, Vec::<String>::new(), "{text}");
            assert!(texts.insert(text));
        }
        let mut own = Prompt { template: Some("Go on.".to_owned()), ..Prompt::default() };
        own.kinds.set(TurnKind::Dream, Some("Dream. {notes}".to_owned()));
        assert_eq!(own.render(&of(TurnKind::Dream, false)), "Dream. > the port is 8080\n> frosty: done");
        assert!(
            own.render(&of(TurnKind::ReflectionOnSelf, false))
                .starts_with("A turn for reflection, from Frosty: it is for you")
        );
        assert!(own.render(&of(TurnKind::Work, false)).starts_with("Go on.\nYour own notes"));
    }

    #[test]
    fn a_renewed_wait_asks_for_one_line() {
        let renewed = Decision { renewed: true, ..admitted(1, "") };
        assert_eq!(prompt("{note}").render(&renewed), RENEWED);
    }
}
