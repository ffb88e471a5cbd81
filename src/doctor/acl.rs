//! Whether the server's user may do what Frosty does, tried command by command. Each is called so that it reads, or is
//! refused for its arguments: a server looks at the user's rights before it looks at those. `ACL DRYRUN` would tell the same,
//! but needs rights of its own, and not every server has it.

use redis::{Cmd, Value};

use super::report::Check;
use super::server::{Told, each};
use crate::config::{Config, Server};
use crate::store::StoreError;
use crate::store::server::connection::Link;
use crate::store::server::connection::error_text;
use crate::store::server::trial;
use crate::store::server::trial::JOURNAL;
use crate::text;

const NAME: &str = "rights";

/// What trying brought.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// What is missing, as words of a rule.
    pub(super) denied: Vec<&'static str>,
    /// Why it takes no writes, in its own words.
    pub(super) unwritable: Option<String>,
}

/// Tries everything; afterwards the connection only listens.
///
/// # Errors
/// When the connection ends.
pub(super) fn try_all(link: &mut Link<'_>, config: &Config) -> Result<Tried, StoreError> {
    let mut tried = Tried::default();
    let (words, commands): (Vec<_>, Vec<Cmd>) =
        trial::all(config).into_iter().map(|(right, cmd, of)| ((right, of), cmd)).unzip();
    for ((right, of), answer) in words.into_iter().zip(each(link, &commands)?) {
        let Value::ServerError(e) = answer else { continue };
        let said = error_text(&e);
        match e.code() {
            code if code.starts_with("NOPERM") => {
                let what = if is_about_the_command(&said) { right } else { of };
                if !tried.denied.contains(&what) {
                    tried.denied.push(what);
                }
            }
            "READONLY" | "OOM" | "MISCONF" | "LOADING" | "MASTERDOWN" | "NOREPLICAS" | "CLUSTERDOWN" => {
                tried.unwritable.get_or_insert(said);
            }
            _ => {}
        }
    }
    Ok(tried)
}

/// Whether a refusal is for the command and not for its keys or channels. A name in it may hold any word.
fn is_about_the_command(said: &str) -> bool {
    said.contains("to run the")
        || !["one of the keys", "one of the channels", "to access"].iter().any(|w| said.contains(w))
}

/// Whether the user may do what Frosty does; nothing to say where that was not learnt.
pub(super) fn rights(told: &Told, server: &Server, config: &Config) -> Option<Check> {
    let denied = told.denied.as_ref()?;
    let user = server.username.as_deref().map_or_else(|| "default".to_owned(), text::word);
    if denied.is_empty() {
        return Some(Check::ok(NAME, format!("the user {user} may do all that Frosty does")));
    }
    // Pasted into a shell, where only the commands are words as they are.
    let word = |word: &&str| match *word {
        JOURNAL => text::word(&format!("~{}", config.stream)),
        word if word.starts_with('+') => word.to_owned(),
        word => format!("'{word}'"),
    };
    let missing = denied.iter().map(word).collect::<Vec<_>>().join(" ");
    let found = format!("the user {user} may not do all that Frosty does; it lacks {missing}");
    Some(Check::fail(NAME, found, format!("redis-cli -u {} ACL SETUSER {user} {missing}", told.at)))
}
