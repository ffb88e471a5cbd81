//! Holds the haiku, one of which Willy publishes with each hold.

const HAIKU: [&str; 6] = [
    "The loop is snowed in. / Nobody has to hurry. / The thaw is on file.",
    "Frost on the prompt line, / forty agents breathe out once. / Silence keeps the log.",
    "Ice does not refuse; / it only says: not just now, / and it names the hour.",
    "A pond stops mid-wave. / Under it the fish still know / which way they were bound.",
    "So many restarts. / Willy puts the kettle on / and counts them again.",
    "Cold hands, open door. / What was it you ran from, friend? / Sit. It will be there.",
];

/// Returns one of them.
pub(crate) fn drawn(chance: u64) -> &'static str {
    let at = usize::try_from(chance % HAIKU.len() as u64).unwrap_or(0);
    HAIKU.get(at).copied().unwrap_or_default()
}
