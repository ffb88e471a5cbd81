//! What a change makes of a file, to be read or given to `patch`.

use similar::TextDiff;

/// The change as a unified diff; empty where nothing changes.
#[must_use]
pub fn unified(before: &str, after: &str, from: &str, to: &str) -> String {
    TextDiff::from_lines(before, after).unified_diff().context_radius(3).header(from, to).to_string()
}
