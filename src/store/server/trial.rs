//! Tries commands on a server without changing anything there: whether it would decide a step, and the rights of its
//! user.
//!
//! Each call reads, or is refused for its arguments: a server checks the user's rights and its own state before it
//! checks the arguments.

use redis::{Cmd, ServerError, Value, cmd};

use crate::config::Config;
use crate::policy::limits::Ms;
use crate::store::StoreError;
use crate::store::reflect::STREAM;
use crate::store::server::commit::{COMMIT, COMMIT_SHA, READY};
use crate::store::server::connection::{Link, error_text, refused};
use crate::store::server::keys::{CHANNEL, Keys};
use crate::store::server::load::time;

/// The placeholder for the key of the journal's stream.
pub(crate) const JOURNAL: &str = "~";

/// A right, a call that needs it, and the other keys or channels that the call needs.
pub(crate) type Trial = (&'static str, Cmd, &'static str);

/// Returns the server's clock if the server would decide a step now; else the error that a step would get.
///
/// One write contains the clock, the script without arguments under the keys of a Stop event, and each command that the
/// script needs to decide.
///
/// # Errors
/// When the server does not answer in time, or would refuse a step.
pub(crate) fn ready(link: &mut Link<'_>) -> Result<Ms, StoreError> {
    let config = link.config();
    let trials: Vec<Cmd> = all(config).into_iter().filter(|t| decides(t.0)).map(|(_, call, _)| call).collect();
    let mut asked = vec![cmd("TIME"), script_call("EVALSHA", COMMIT_SHA, config)];
    asked.extend(trials.iter().cloned());
    link.send(&asked)?;
    let clock = link.take()?;
    let now = time(&clock).ok_or_else(|| link.nonsense(&clock))?;
    let mut answer = link.read()?;
    let mut wrong = None;
    for _ in &trials {
        if let Value::ServerError(e) = link.read()?
            && is_refusal(&e)
        {
            wrong.get_or_insert(e);
        }
    }
    if matches!(&answer, Value::ServerError(e) if e.code() == "NOSCRIPT") {
        link.send(&[script_call("EVAL", COMMIT, config)])?;
        answer = link.read()?;
    }
    match (answer, wrong) {
        (Value::ServerError(e), _) | (_, Some(e)) => Err(refused(link.server(), &error_text(&e))),
        (Value::BulkString(said), None) if said == READY => Ok(now),
        (other, None) => Err(link.nonsense(&other)),
    }
}

/// Returns whether an error is about the command and not about the arguments that it was given here.
fn is_refusal(e: &ServerError) -> bool {
    e.code() != "ERR" || e.details().is_some_and(|said| said.contains("unknown command"))
}

/// Returns whether no step is decided without this right. Steps only try the indexes and the journal.
fn decides(right: &str) -> bool {
    matches!(right, "+get" | "+set" | "+zadd" | "+zrange" | "+zcount" | "+zremrangebyscore" | "+pexpire")
}

/// Returns the script's call without arguments, under the keys that a Stop event names.
pub(crate) fn script_call(how: &str, script: &str, config: &Config) -> Cmd {
    let keys = Keys::of(&config.fleet);
    let keys = [
        config.stream.clone(),
        keys.session("-"),
        keys.scope("-"),
        keys.fleet(),
        keys.admissions("-"),
        keys.attempts("-"),
    ];
    let mut call = cmd(how);
    call.arg(script).arg(keys.len()).arg(&keys);
    call
}

/// Returns a trial of each right (except `SELECT`, which every connection has used before).
pub(crate) fn all(config: &Config) -> Vec<Trial> {
    // No such key is ever created.
    let key = Keys::of(&config.fleet).never_made();
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
        ("+get", call(&["GET", key]), own),
        ("+zrange", call(&["ZRANGE", key, "0", "0"]), own),
        ("+zcount", call(&["ZCOUNT", key, "0", "0"]), own),
        ("+xread", call(&["XREAD", "COUNT", "1", "STREAMS", key, "0"]), own),
        ("+xrevrange", call(&["XREVRANGE", key, "+", "-", "COUNT", "1"]), own),
        // Each of these has an invalid argument.
        ("+set", call(&["SET", key, "x", "NO-SUCH-OPTION"]), own),
        ("+zadd", call(&["ZADD", key, "no-number", "a"]), own),
        ("+zremrangebyscore", call(&["ZREMRANGEBYSCORE", key, "no-number", "0"]), own),
        ("+pexpire", call(&["PEXPIRE", key, "no-number"]), own),
        ("+xadd", call(&["XADD", stream, "no-id", "a", "b"]), JOURNAL),
        ("+xadd", call(&["XADD", STREAM, "no-id", "a", "b"]), "~reflect.willy"),
        // This channel has no listeners.
        ("+publish", call(&["PUBLISH", "frosty.wake.doctor", ""]), "&frosty.wake.*"),
        // Only a hold publishes on one of these (`frosty.hold`), and the connection ends with this call.
        ("+subscribe", call(&["SUBSCRIBE", "trigger.nova.doctor"]), "&trigger.nova.*"),
        ("+subscribe", call(&["SUBSCRIBE", "frosty.wake.doctor"]), "&frosty.wake.*"),
        ("+subscribe", call(&["SUBSCRIBE", CHANNEL]), "&frosty.hold"),
    ]
}
