//! Tests `frosty install` and `frosty uninstall`: their changes of a settings file, and the parts that stay.

mod beside;
mod edits;
mod files;
mod status_line;
