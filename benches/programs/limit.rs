//! The limit: reads stdin, sends two prepared requests over a raw socket, reads the replies of each, exits. No
//! hook over one connection can be faster. Arguments: the port, then for each request its file and the number
//! of replies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Reads one reply; returns whether it was one.
fn reply(from: &mut BufReader<&TcpStream>) -> bool {
    let mut line = String::new();
    if from.read_line(&mut line).is_err() || line.len() < 3 {
        return false;
    }
    let count = line[1..].trim().parse::<i64>().unwrap_or(-1);
    match line.as_bytes()[0] {
        b'*' => (0..count).all(|_| reply(from)),
        b'$' if count >= 0 => {
            let mut bytes = vec![0; count as usize + 2];
            from.read_exact(&mut bytes).is_ok()
        }
        b'-' => false,
        _ => true,
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut payload = Vec::new();
    let _ = std::io::stdin().lock().read_to_end(&mut payload);
    let Some(port) = args.first().and_then(|port| port.parse::<u16>().ok()) else { std::process::exit(64) };
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { std::process::exit(1) };
    let _ = server.set_read_timeout(Some(std::time::Duration::from_secs(1)));
    let mut replies = BufReader::new(&server);
    for request in args[1..].chunks(2) {
        let bytes = std::fs::read(&request[0]).unwrap_or_default();
        let count: usize = request[1].parse().unwrap_or(0);
        if (&server).write_all(&bytes).is_err() || !(0..count).all(|_| reply(&mut replies)) {
            std::process::exit(1);
        }
    }
    std::process::exit(i32::from(payload.is_empty()));
}
