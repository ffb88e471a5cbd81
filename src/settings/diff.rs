//! Shows a change of a file as a diff, to be read or passed to `patch`.

use diffy::DiffOptions;

/// Returns the change as a unified diff with three lines of context.
#[must_use]
pub fn unified(before: &str, after: &str, from: &str, to: &str) -> String {
    let mut options = DiffOptions::new();
    options.set_original_filename(from.to_owned()).set_modified_filename(to.to_owned());
    options.create_patch(before, after).to_string()
}
