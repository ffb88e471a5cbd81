//! A server with given replies, for states that a real one here cannot have: a Dragonfly, an old or a loading Redis,
//! one with a wrong clock. Its replies are those of the original: a Dragonfly has `dragonfly_version` and
//! `thread_count` in `INFO`, and serves HTTP on the same port.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The replies of the server.
#[derive(Clone, Default)]
pub struct Says {
    /// `INFO`.
    pub info: String,
    /// `CONFIG GET`, by name; others are not known.
    pub settings: BTreeMap<&'static str, &'static str>,
    /// How far its clock is ahead, in seconds.
    pub ahead: i64,
    /// The reply to `SCRIPT LOAD`, raw; by default the script is in its cache.
    pub load: Option<&'static str>,
    /// The reply to every command that writes, raw.
    pub writes: Option<&'static str>,
    /// Whether `GET /` gets a reply.
    pub http: bool,
    /// The command at which the connection ends.
    pub ends_at: &'static str,
}

/// Starts the server, and returns its URL.
pub fn serve(says: Says) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let says = Arc::new(says);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let says = Arc::clone(&says);
            std::thread::spawn(move || talk(stream, &says));
        }
    });
    url
}

fn talk(stream: TcpStream, says: &Says) -> Option<()> {
    let mut from = BufReader::new(stream.try_clone().ok()?);
    let mut to = stream;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.starts_with("GET /") {
            let page = if says.http {
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            } else {
                "HTTP/1.1 401 Unauthorized\r\n\r\n"
            };
            return to.write_all(page.as_bytes()).ok();
        }
        let count: usize = line.trim_end().strip_prefix('*')?.parse().ok()?;
        let words: Option<Vec<String>> = (0..count).map(|_| word(&mut from)).collect();
        let words = words?;
        if words[0] == says.ends_at {
            return None;
        }
        to.write_all(reply(says, &words).as_bytes()).ok()?;
    }
}

fn word(from: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    from.read_line(&mut head).ok()?;
    let length: usize = head.trim_end().strip_prefix('$')?.parse().ok()?;
    let mut bytes = vec![0; length + 2];
    from.read_exact(&mut bytes).ok()?;
    String::from_utf8(bytes[..length].to_vec()).ok()
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn reply(says: &Says, words: &[String]) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["TIME"] => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed() + says.ahead;
            format!("*2\r\n{}{}", bulk(&now.to_string()), bulk("0"))
        }
        ["INFO", ..] => bulk(&says.info),
        ["CONFIG", "GET", name] => match says.settings.get(name) {
            Some(value) => format!("*2\r\n{}{}", bulk(name), bulk(value)),
            None => "*0\r\n".to_owned(),
        },
        ["SCRIPT", "EXISTS", ..] => if says.load.is_some() { "*1\r\n:0\r\n" } else { "*1\r\n:1\r\n" }.to_owned(),
        ["SCRIPT", "LOAD", ..] => says.load.unwrap_or("$-1\r\n").to_owned(),
        // No script has a digest of zeros.
        ["EVALSHA", digest, ..] if digest.contains(|c| c != '0') => bulk("ready"),
        ["ZRANGE" | "XREVRANGE", ..] => "*0\r\n".to_owned(),
        ["SET" | "ZADD" | "XADD" | "PEXPIRE", ..] => says.writes.unwrap_or("-ERR syntax error\r\n").to_owned(),
        _ => "$-1\r\n".to_owned(),
    }
}
