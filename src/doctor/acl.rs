//! Whether the server's user may do what Frosty does, tried command by command. Each is called so that it reads, or is
//! refused for its arguments: a server looks at the user's rights before it looks at those. `ACL DRYRUN` would tell the same,
//! but needs rights of its own, and not every server has it.

use redis::{Cmd, Value, cmd};

use super::report::Check;
use super::server::{Told, each};
use crate::config::{Config, Server};
use crate::store::StoreError;
use crate::store::link::{Link, error_text};
use crate::store::reflect::STREAM;
use crate::text;
use crate::willy::reflect::CHANNEL;

const NAME: &str = "rights";
/// Stands for the key of the journal's stream.
const JOURNAL: &str = "~";

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
        trials(config).into_iter().map(|(right, cmd, of)| ((right, of), cmd)).unzip();
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

/// Each right (but `SELECT`, without which nobody gets so far) with a call that needs it and changes nothing, and the keys or
/// channels that the call needs besides.
fn trials(config: &Config) -> Vec<(&'static str, Cmd, &'static str)> {
    // No such key is ever made.
    let key = format!("frosty:{{{}}}:doctor", config.fleet);
    let (key, stream) = (key.as_str(), config.stream.as_str());
    let call = |words: &[&str]| {
        let (name, rest) = words.split_first().unwrap_or((&"TIME", &[]));
        let mut call = cmd(name);
        call.arg(rest);
        call
    };
    let own = "~frosty:*";
    let nothing = "0000000000000000000000000000000000000000";
    vec![
        ("+time", call(&["TIME"]), "+time"),
        ("+eval", call(&["EVAL", "no lua", "1", key]), own),
        // A text that is no script is not kept, and no script has this digest.
        ("+evalsha", call(&["EVALSHA", nothing, "1", key]), own),
        ("+hmget", call(&["HMGET", key, "x"]), own),
        ("+get", call(&["GET", key]), own),
        ("+zrange", call(&["ZRANGE", key, "0", "0"]), own),
        ("+zcount", call(&["ZCOUNT", key, "0", "0"]), own),
        ("+xread", call(&["XREAD", "COUNT", "1", "STREAMS", key, "0"]), own),
        ("+xrevrange", call(&["XREVRANGE", key, "+", "-", "COUNT", "1"]), own),
        // Each of these has an argument that is none.
        ("+set", call(&["SET", key, "x", "NO-SUCH-OPTION"]), own),
        ("+hset", call(&["HSET", key, "a", "b", "half-a-pair"]), own),
        ("+zadd", call(&["ZADD", key, "no-number", "a"]), own),
        ("+zremrangebyscore", call(&["ZREMRANGEBYSCORE", key, "no-number", "0"]), own),
        ("+pexpire", call(&["PEXPIRE", key, "no-number"]), own),
        ("+xadd", call(&["XADD", stream, "no-id", "a", "b"]), JOURNAL),
        ("+xadd", call(&["XADD", STREAM, "no-id", "a", "b"]), "~reflect.willy"),
        // There is no such key to keep.
        ("+persist", call(&["PERSIST", key]), own),
        // Nobody listens there.
        ("+publish", call(&["PUBLISH", "frosty.wake.doctor", ""]), "&frosty.wake.*"),
        // Nobody publishes there but whoever holds, and the connection ends with this.
        ("+subscribe", call(&["SUBSCRIBE", "trigger.nova.doctor"]), "&trigger.nova.*"),
        ("+subscribe", call(&["SUBSCRIBE", "frosty.wake.doctor"]), "&frosty.wake.*"),
        ("+subscribe", call(&["SUBSCRIBE", CHANNEL]), "&frosty.hold"),
    ]
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
