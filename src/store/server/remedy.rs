//! What mends a server's error.

use crate::config::Server;
use crate::store::server::connection::ACL;
use crate::text;

/// The cure of an error that a server sent: the command, or a few words, a colon and the command.
pub(crate) fn cure(server: &Server, said: &str) -> String {
    let at = &server.shown;
    let has = |code: &str| said.contains(code);
    let starts = |code: &str| said.starts_with(code);
    if has("without any password") {
        "it wants no password, so give none in its address either: unset FROSTY_STORE_PASSWORD_FILE".to_owned()
    } else if has("DB index") {
        let own = format!("/{}", server.database);
        let bare = at.strip_suffix(&own).unwrap_or(at);
        format!("name a database that it has: export FROSTY_STORE={bare}/0")
    } else if has("NOAUTH") || has("unauthenticated") || has("WRONGPASS") || has("invalid username-password") {
        "give it the right password: export FROSTY_STORE_PASSWORD_FILE=<file>".to_owned()
    } else if has("NOPERM") || has("The user executing the script can't") {
        let user = server.username.as_deref().map_or_else(|| "default".to_owned(), text::word);
        // To a shell a bare & would end the command.
        let rights: Vec<String> = ACL.split(' ').map(text::word).collect();
        let rights = rights.join(" ");
        format!("let the user do this much, as one who may: redis-cli -u {at} ACL SETUSER {user} {rights}")
    } else if has("READONLY") {
        "this is a replica, so name its primary: export FROSTY_STORE=redis://<primary>:<port>".to_owned()
    } else if has("OOM") {
        format!("its memory is full; give it more: redis-cli -u {at} CONFIG SET maxmemory <bytes>")
    } else if has("WRONGTYPE") {
        format!(
            "a key of Frosty's holds another type; find it and delete it: redis-cli -u {at} --scan --pattern 'frosty:*'"
        )
    } else if has("CROSSSLOT") {
        "in a cluster the journal must share the slot of its fleet: export FROSTY_STREAM='torch.continuous.ops{<fleet>}'"
            .to_owned()
    } else if starts("MOVED ")
        && let Some(node) = node(server, said)
    {
        format!("another node of its cluster has the keys of this fleet, so name that one: export FROSTY_STORE={node}")
    } else {
        by_state(at, said)
    }
}

/// The cure of an error that a server's own state or configuration causes.
fn by_state(at: &str, said: &str) -> String {
    let has = |code: &str| said.contains(code);
    let starts = |code: &str| said.starts_with(code);
    if has("max number of clients") {
        format!("it takes no more connections; raise its limit: redis-cli -u {at} CONFIG SET maxclients <number>")
    } else if starts("LOADING") {
        format!("it is loading its data; see how far it is: redis-cli -u {at} INFO persistence")
    } else if starts("MISCONF") {
        format!(
            "it cannot save its data, and takes no writes until it can; see why: redis-cli -u {at} INFO persistence"
        )
    } else if starts("BUSY") {
        format!("a script that takes too long keeps it busy; end it: redis-cli -u {at} SCRIPT KILL")
    } else if starts("MASTERDOWN") || starts("NOREPLICAS") {
        format!("its replication is broken; see what is missing: redis-cli -u {at} INFO replication")
    } else if ["CLUSTERDOWN", "ASK ", "TRYAGAIN", "MOVED"].iter().any(|code| starts(code)) {
        format!("its cluster is not ready; see what it lacks: redis-cli -u {at} CLUSTER INFO")
    } else if has("unknown command") || has("Unknown Redis command") {
        format!(
            "it lacks a command that is needed, or has it under another name; take out its rename-command line: \
redis-cli -u {at} INFO server"
        )
    } else {
        format!("check it with: redis-cli -u {at} PING")
    }
}

/// The address of the node that a redirection names, as a word of a shell.
fn node(server: &Server, said: &str) -> Option<String> {
    let (host, port) = said.split_whitespace().nth(2)?.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = match host.trim_matches(['[', ']']) {
        // The node that was asked, at another port.
        "" => &server.host,
        host => host,
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let scheme = if server.tls { "rediss" } else { "redis" };
    let is_plain = |user: &&String| user.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let user = server.username.as_ref().filter(is_plain).map(|user| format!("{user}@"));
    Some(text::word(&format!("{scheme}://{}{host}:{port}", user.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_that_has_the_keys() {
        let cure =
            |at: &str, said: &str| cure(&Server::parse(at).unwrap(), said).rsplit_once(": ").unwrap().1.to_owned();
        for (at, said, named) in [
            ("redis://127.0.0.1:7000", "MOVED 866 127.0.0.1:7001", "redis://127.0.0.1:7001"),
            ("redis://frosty@10.0.0.1:7000", "MOVED 866 10.0.0.2:7001", "redis://frosty@10.0.0.2:7001"),
            ("redis://127.0.0.1:7000", "MOVED 866 :7001", "redis://127.0.0.1:7001"),
            ("redis://127.0.0.1:7000", "MOVED 866 ::1:7001", "'redis://[::1]:7001'"),
            ("redis://127.0.0.1:7000", "MOVED 866 a;b:7001", "'redis://a;b:7001'"),
        ] {
            assert_eq!(cure(at, said), format!("export FROSTY_STORE={named}"), "{said}");
        }
        assert!(cure("redis://127.0.0.1:7000", "MOVED 866").ends_with("CLUSTER INFO"));
    }
}
