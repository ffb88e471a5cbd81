//! What a change makes of a file, to be read or given to `patch`.

use diffy::DiffOptions;

/// The change as a unified diff with three lines around it.
#[must_use]
pub fn unified(before: &str, after: &str, from: &str, to: &str) -> String {
    let mut options = DiffOptions::new();
    options.set_original_filename(from.to_owned()).set_modified_filename(to.to_owned());
    options.create_patch(before, after).to_string()
}
