//! The limit: reads stdin, sends one prepared EVALSHA over a raw socket, reads the reply, exits. Nothing a hook does
//! over one connection can be faster. Arguments: the port, and the file that holds the request.

use std::io::{Read, Write};
use std::net::TcpStream;

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(port), Some(request)) = (args.next(), args.next()) else { std::process::exit(64) };
    let mut payload = Vec::new();
    let mut buffer = [0; 4096];
    let mut stdin = std::io::stdin().lock();
    while let Ok(n) = stdin.read(&mut buffer) {
        if n == 0 {
            break;
        }
        payload.extend_from_slice(&buffer[..n]);
    }
    let request = std::fs::read(request).unwrap_or_default();
    let Ok(port) = port.parse::<u16>() else { std::process::exit(64) };
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else { std::process::exit(1) };
    let _ = server.set_read_timeout(Some(std::time::Duration::from_secs(1)));
    if server.write_all(&request).is_err() {
        std::process::exit(1);
    }
    // The verdict is an array of ten bulk strings: twenty line ends and the array's own.
    let (mut lines, mut ok) = (0, false);
    while lines < 21 {
        match server.read(&mut buffer) {
            Ok(n) if n > 0 => {
                ok = ok || buffer[0] == b'*';
                lines += buffer[..n].iter().filter(|b| **b == b'\n').count();
            }
            _ => break,
        }
    }
    std::process::exit(i32::from(!ok || payload.is_empty()));
}
