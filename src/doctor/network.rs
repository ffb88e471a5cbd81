//! Checks which machines reach the server: whether it accepts the network without a password. Also checks how a
//! Dragonfly distributes its work over threads.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use redis::{Value, cmd};

use super::report::Check;
use super::server::{ServerFacts, one};
use crate::config::{Config, Server};
use crate::store::server::connection::{Link, resolve};
use crate::text;

const OPEN: &str = "open port";
const THREADS: &str = "threads";
/// How long the console may take to answer.
const CONSOLE_ANSWERS: Duration = Duration::from_millis(300);

/// How the server can be reached.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Door {
    /// Whether it answers clients that send no password.
    pub(super) unlocked: bool,
    /// Whether it listens on an address that other machines reach; `None` where that is not known.
    pub(super) on_the_network: Option<bool>,
    /// Whether its HTTP console answers without a password. Dragonfly serves the console on the same port, unless it
    /// was started with `--primary_port_http_enabled=false`, and requires `--requirepass` where that is set.
    pub(super) console: bool,
}

/// Tests the access to the server without credentials.
pub(super) fn door(config: &Config, server: &Server, told: &ServerFacts) -> Door {
    let unlocked = Link::connect(config, server, Instant::now() + config.budget)
        .and_then(|mut link| one(&mut link, &cmd("TIME")))
        .is_ok_and(|answer| !matches!(answer, Value::ServerError(_)));
    let console = told.dragonfly().is_some() && !server.tls && console(server).unwrap_or(false);
    Door { unlocked, on_the_network: listens(server, told), console }
}

fn listens(server: &Server, told: &ServerFacts) -> Option<bool> {
    if !is_loopback(&server.host) {
        return Some(true);
    }
    // In protected mode Redis accepts no other machine while there is no password.
    if told.setting("protected-mode") == Some("yes") {
        return Some(false);
    }
    match told.setting("bind") {
        // Dragonfly listens on every interface by default.
        Some("") if told.dragonfly().is_some() => Some(true),
        Some(addresses) => Some(addresses.split_whitespace().any(|a| !is_loopback(a.trim_start_matches('-')))),
        None => by_the_system(server.port),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Returns whether a socket of this machine that listens on the port does so beyond loopback (Linux). `None` means that
/// there is no such socket, as for a server in a container.
fn by_the_system(port: u16) -> Option<bool> {
    let sockets = ["tcp", "tcp6"].iter().filter_map(|kind| fs::read_to_string(format!("/proc/net/{kind}")).ok());
    let mut found = None;
    for table in sockets {
        for address in listeners(&table, port) {
            found = Some(found.unwrap_or(false) || !address.ends_with("7F") && address != V6_LOOPBACK);
        }
    }
    found
}

/// `::1` as the kernel prints it.
const V6_LOOPBACK: &str = "00000000000000000000000001000000";

/// Returns the addresses that listen on the port, as the kernel prints them: words of four bytes, the lowest byte
/// first.
fn listeners(table: &str, port: u16) -> Vec<&str> {
    let listens = |line: &'_ str| -> Option<(String, bool)> {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next()?.to_owned();
        Some((local, columns.nth(1)? == "0A"))
    };
    let on = format!(":{port:04X}");
    let own = |line: &&str| listens(line).is_some_and(|(local, listens)| listens && local.ends_with(&on));
    table.lines().filter(own).filter_map(|line| line.split_whitespace().nth(1)?.split(':').next()).collect()
}

/// Returns whether `GET /` is answered with a page.
fn console(server: &Server) -> std::io::Result<bool> {
    let found = resolve(server, Instant::now() + CONSOLE_ANSWERS)?;
    let Some(address) = found.first() else { return Ok(false) };
    let mut stream = TcpStream::connect_timeout(address, CONSOLE_ANSWERS)?;
    stream.set_read_timeout(Some(CONSOLE_ANSWERS))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.") && head.ends_with(b" 200"))
}

/// Checks whether the network has access without a password.
pub(super) fn open(told: &ServerFacts, server: &Server) -> Check {
    let Door { unlocked, on_the_network, console } = told.door;
    if !unlocked {
        return Check::ok(OPEN, format!("{} requires a password", told.at));
    }
    let port = server.port;
    let what = if console { "its HTTP console require" } else { "requires" };
    let what = format!("port {port}{} {what} no password", if console { " and" } else { "" });
    match on_the_network {
        Some(false) => Check::ok(OPEN, "no password, and only this machine reaches it"),
        None => Check::note(OPEN, format!("{what}; whether other machines reach it is not known"))
            .cured_by(format!("ss -ltn 'sport = :{}'", server.port)),
        Some(true) => {
            let found = format!("{what}, and other machines reach it");
            let cure = if told.dragonfly().is_some() {
                format!("dragonfly --bind 127.0.0.1 --port {}", server.port)
            } else if is_loopback(&server.host) {
                format!("redis-cli -u {} CONFIG SET bind '127.0.0.1 -::1'", told.at)
            } else {
                format!("redis-cli -u {} CONFIG SET requirepass <password>", told.at)
            };
            Check::warn(OPEN, found, cure)
        }
    }
}

/// Checks whether a Dragonfly with several threads keeps the keys of a Stop event on one of them; `None` for other
/// servers.
pub(super) fn threads(told: &ServerFacts, server: &Server, config: &Config, edit: &str) -> Option<Check> {
    told.dragonfly()?;
    let threads: u32 = told.info("thread_count")?.parse().ok()?;
    if threads < 2 {
        return Some(Check::ok(THREADS, "one thread has all keys"));
    }
    let is = |name: &str, values: &[&str]| told.setting(name).map(|value| values.contains(&value));
    let by_flag = is("lock_on_hashtags", &["true", "yes", "1"]);
    let by_mode = is("cluster_mode", &["emulated", "yes"]).or(told.info("cluster_enabled").map(|on| on == "1"));
    let tag = format!("{{{}}}", config.fleet);
    let tagged = config.stream.contains(&tag);
    let co_located = by_flag == Some(true) || by_mode == Some(true);
    let stream = format!("\"stream\": \"torch.continuous.ops{tag}\"");
    Some(if co_located && tagged {
        Check::ok(THREADS, format!("{threads} threads, and a fleet's keys are on one of them"))
    } else if co_located {
        let journal = text::line(&config.stream);
        let found = format!("{threads} threads, but the journal {journal} has no {tag}; to change that: {stream}");
        Check::note(THREADS, found).cured_by(edit)
    } else {
        let known = if by_flag.is_none() { " (as far as is known)" } else { "" };
        let found = format!(
            "{threads} threads, and a fleet's keys are spread over them{known}: slower with many agents; \
to have them on one, start it with --lock_on_hashtags, and in frosty.json: {stream}"
        );
        Check::note(THREADS, found).cured_by(format!("dragonfly --lock_on_hashtags --port {}", server.port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_as_the_kernel_lists_them() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            0: 0100007F:4650 00000000:0000 0A 0\n   1: 00000000:1F90 00000000:0000 0A 0\n\
            2: 0100007F:4651 0100007F:4650 01 0\n";
        assert_eq!(listeners(table, 18000), ["0100007F"]);
        assert_eq!(listeners(table, 8080), ["00000000"]);
        assert!(listeners(table, 18001).is_empty(), "it is connected, and does not listen");
        let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(by_the_system(here.local_addr().unwrap().port()), Some(false));
        let everywhere = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        assert_eq!(by_the_system(everywhere.local_addr().unwrap().port()), Some(true));
    }

    #[test]
    fn where_it_listens() {
        let server = Server::default();
        let told = |dragonfly: bool, settings: &[(&str, &str)]| ServerFacts {
            info: Some(
                dragonfly.then(|| ("dragonfly_version".to_owned(), "df-v1.40.1".to_owned())).into_iter().collect(),
            ),
            settings: Some(settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
            ..ServerFacts::default()
        };
        for (dragonfly, settings, expected) in [
            (false, &[("bind", "* -::*"), ("protected-mode", "yes")][..], Some(false)),
            (false, &[("bind", "* -::*"), ("protected-mode", "no")], Some(true)),
            (false, &[("bind", "127.0.0.1 -::1"), ("protected-mode", "no")], Some(false)),
            (true, &[("bind", "")], Some(true)),
            (true, &[("bind", "127.0.0.1")], Some(false)),
        ] {
            assert_eq!(listens(&server, &told(dragonfly, settings)), expected, "{settings:?}");
        }
        let away = Server::parse("redis://192.0.2.7:7").unwrap();
        assert_eq!(listens(&away, &told(false, &[])), Some(true));
    }
}
