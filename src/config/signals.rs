//! Reads the signals that end a session's rest (key `wake_on`).

use serde_json::Value;

use crate::policy::signal;

/// The most signals in the list.
pub(crate) const MOST: usize = 32;

/// Describes the accepted values.
pub(crate) const ALLOWED: &str =
    "a list of at most 32 names, each of 1 to 32 of a-z, 0-9, _ and -, such as [\"urgent\"], or null for all";

/// Reads the value of the key `wake_on`: `Some(None)` for all signals. Returns `None` for an impossible value.
#[allow(clippy::option_option, reason = "the outer one is an impossible value, as for every key")]
pub(crate) fn read(v: &Value) -> Option<Option<Vec<String>>> {
    if v.is_null() {
        return Some(None);
    }
    let list = v.as_array().filter(|list| list.len() <= MOST)?;
    let name = |v: &Value| v.as_str().filter(|name| signal::is_name(name)).map(str::to_owned);
    Some(Some(list.iter().map(name).collect::<Option<Vec<_>>>()?))
}

/// Returns whether each signal of one list is in another; `None` is the list of all signals.
pub(crate) fn is_part(of: Option<&[String]>, whole: Option<&[String]>) -> bool {
    let Some(whole) = whole else { return true };
    of.is_some_and(|of| of.iter().all(|one| whole.contains(one)))
}
