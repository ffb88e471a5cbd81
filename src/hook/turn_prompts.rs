//! The built-in prompts of the turns that are not for work, and the agent's notes in a prompt.

use super::directive;
use crate::policy::cadence::TurnKind;
use crate::policy::notes;
use crate::text;

const ON_CYCLE: &str = "A turn for reflection, from Frosty: before you go on, look back at your last runs of work. This turn is for that alone and needs no tool. In at \
most five sentences: what moved forward, what did not, and which step cost more than it brought? What will you do next, and \
what will you leave? Keep what you will need later, each on a line of its own:\nfrosty: note <what to remember>";

const ON_SELF: &str = "A turn for reflection, from Frosty: it is for you and not for the task, and needs no tool. In at most five sentences: how have you paced \
yourself? Where did you wait too long, or look too often? When should you have asked for help, or reported that you are blocked? \
Choose one habit to change, and keep it:\nfrosty: note <the habit>";

const ON_REFLECTIONS: &str = "A turn for reflection, from Frosty: look at your last reflections and not at the task; it needs no tool. In at most five sentences: \
what did they change? Which resolution did you not keep, and why? Which one do you drop? Keep the one that matters \
most:\nfrosty: note <the resolution>";

const DREAM: &str = "A turn before your rest, from Frosty: you are about to rest for a while. This turn needs no tool. In at most eight sentences: what \
was decided, and why, and what is still open? Then prepare three moves for the moment when you are woken, each on a line of its \
own:\nfrosty: note next: <the move>";

/// The notes that the prompts give as examples. An agent that copies one has written none.
pub(super) const EXAMPLES: [&str; 6] = [
    "<text>",
    "<what to remember>",
    "<the habit>",
    "<the resolution>",
    "next: <the move>",
    "state: <the task, what is done, what comes next>",
];

/// The last line of a reflection that ends in a state dump.
pub(super) const DUMP: &str = "Make the last line one from which a stranger could continue:\nfrosty: note state: <the task, what is done, what comes next>";

/// Returns the built-in prompt of a kind; `None` for work.
pub(super) fn built_in(kind: TurnKind) -> Option<&'static str> {
    match kind {
        TurnKind::Work => None,
        TurnKind::ReflectionOnCycle => Some(ON_CYCLE),
        TurnKind::ReflectionOnSelf => Some(ON_SELF),
        TurnKind::ReflectionOnReflections => Some(ON_REFLECTIONS),
        TurnKind::Dream => Some(DREAM),
    }
}

/// Quotes the agent's notes, newest first. A quoted line is no directive.
pub(super) fn quoted(all: &[String]) -> String {
    let lines: Vec<String> = all.iter().map(|note| format!("> {}", text::line_of(note, notes::LONGEST))).collect();
    directive::quoted(&lines.join("\n"))
}
