//! The remedies of a server's errors.

use crate::config::Server;
use crate::store::server::connection::ACL;
use crate::text;

/// Returns the remedy of an error that a server sent: a short clause, a colon and a command that can be pasted.
pub(crate) fn cure(server: &Server, said: &str) -> String {
    let at = &server.shown;
    let has = |code: &str| said.contains(code);
    let starts = |code: &str| said.starts_with(code);
    if has("without any password") {
        "the server has no password, so remove it from the address and: unset FROSTY_STORE_PASSWORD_FILE".to_owned()
    } else if has("DB index") {
        let own = format!("/{}", server.database);
        let bare = at.strip_suffix(&own).unwrap_or(at);
        format!("choose a database that exists: export FROSTY_STORE={bare}/0")
    } else if has("NOAUTH") || has("unauthenticated") || has("WRONGPASS") || has("invalid username-password") {
        WITH_PASSWORD.to_owned()
    } else if has("NOPERM") || has("The user executing the script can't") {
        let user = server.username.as_deref().map_or_else(|| "default".to_owned(), text::word);
        // To a shell a bare & would end the command.
        let rights: Vec<String> = ACL.split(' ').map(text::word).collect();
        let rights = rights.join(" ");
        format!("grant the rights as an administrator: redis-cli -u {at} ACL SETUSER {user} {rights}")
    } else if has("READONLY") {
        format!(
            "this is a replica, so set FROSTY_STORE to its primary, which is shown by: redis-cli -u {at} INFO replication"
        )
    } else if has("OOM") {
        format!("its memory is full, so raise the limit, which is shown by: redis-cli -u {at} CONFIG GET maxmemory")
    } else if has("WRONGTYPE") {
        format!("find the key that holds another type and delete it: redis-cli -u {at} --scan --pattern 'frosty:*'")
    } else if has("CROSSSLOT") {
        // The fleet's keys have its name as their hash tag.
        "put the journal into the cluster slot of the fleet: \
export FROSTY_STREAM=\"torch.continuous.ops{${FROSTY_FLEET:-default}}\""
            .to_owned()
    } else if starts("MOVED ")
        && let Some(node) = node(server, said)
    {
        format!("connect to the cluster node that has the keys of this fleet: export FROSTY_STORE={node}")
    } else {
        by_state(at, said)
    }
}

/// Returns the remedy of an error that a server's own state or configuration causes.
fn by_state(at: &str, said: &str) -> String {
    let has = |code: &str| said.contains(code);
    let starts = |code: &str| said.starts_with(code);
    if has("max number of clients") {
        format!(
            "the server takes no more connections, so raise the limit: redis-cli -u {at} CONFIG SET maxclients 20000"
        )
    } else if starts("LOADING") {
        format!("wait until the server has loaded its data, as shown by: redis-cli -u {at} INFO persistence")
    } else if starts("MISCONF") {
        format!("the server takes no writes until it can save its data, see why: redis-cli -u {at} INFO persistence")
    } else if starts("BUSY") {
        format!("end the script that keeps the server busy: redis-cli -u {at} SCRIPT KILL")
    } else if starts("MASTERDOWN") || starts("NOREPLICAS") {
        format!("the replication is broken, see what is missing: redis-cli -u {at} INFO replication")
    } else if ["CLUSTERDOWN", "ASK ", "TRYAGAIN", "MOVED"].iter().any(|code| starts(code)) {
        format!("the cluster is not ready, see what is missing: redis-cli -u {at} CLUSTER INFO")
    } else if has("unknown command") || has("Unknown Redis command") {
        format!(
            "remove the rename-command line from the configuration file, which is shown by: \
redis-cli -u {at} INFO server"
        )
    } else {
        format!("check the server: redis-cli -u {at} PING")
    }
}

/// The remedy of a wrong or missing password.
pub(crate) const WITH_PASSWORD: &str = "write the password into a file that only you can read, and then: \
export FROSTY_STORE_PASSWORD_FILE=~/.config/frosty-password";

/// Returns the address of the node that a redirection names, as a word of a shell.
fn node(server: &Server, said: &str) -> Option<String> {
    let (host, port) = said.split_whitespace().nth(2)?.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = match host.trim_matches(['[', ']']) {
        // The same node, at another port.
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
