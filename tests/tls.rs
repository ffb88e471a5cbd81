//! `rediss://` against a real server with TLS, with certificates made for the run: `cargo test --features tls --test tls`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Answer, Engine, Frosty, Server, documents, eventually, free_port, stop, stop_saying};
use tempfile::TempDir;

/// An authority of our own and what it has signed.
struct Papers(TempDir);

impl Papers {
    fn new() -> Self {
        let papers = Self(TempDir::new().unwrap());
        for ca in ["ca", "other-ca"] {
            let (key, pem, subject) = (format!("{ca}.key"), format!("{ca}.pem"), format!("/CN={ca}"));
            papers.openssl(&[
                &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"][..],
                &["-keyout", &key, "-out", &pem, "-subj", &subject, "-days", "2"],
            ]);
        }
        let config = "[ca]\ndefault_ca = d\n[d]\ndir = .\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\n\
            default_md = sha256\npolicy = p\nunique_subject = no\n[p]\ncommonName = supplied\n";
        fs::write(papers.file("ca.cnf"), config).unwrap();
        fs::write(papers.file("index.txt"), "").unwrap();
        fs::write(papers.file("serial"), "01").unwrap();
        papers.sign("server", "IP:127.0.0.1,DNS:localhost", None);
        papers
    }

    /// Signs a certificate for these names; valid for two days, or only in the past.
    fn sign(&self, name: &str, names: &str, until: Option<&str>) {
        let of = |ending: &str| format!("{name}.{ending}");
        fs::write(self.file(&of("ext")), format!("subjectAltName={names}\n")).unwrap();
        self.openssl(&[
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=server"][..],
            &["-keyout", &of("key"), "-out", &of("csr")],
        ]);
        let dates: &[&str] = match until {
            Some(end) => &["-startdate", "20200101000000Z", "-enddate", end],
            None => &["-days", "2"],
        };
        self.openssl(&[
            &["ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-notext"][..],
            &["-extfile", &of("ext"), "-in", &of("csr"), "-out", &of("pem")],
            dates,
        ]);
    }

    fn openssl(&self, words: &[&[&str]]) {
        let out = Command::new("openssl").args(words.concat()).current_dir(&self.0).stdin(Stdio::null()).output();
        let out = out.expect("openssl must be installed: ./tests/run.sh does it");
        assert!(out.status.success(), "{words:?} {}", String::from_utf8_lossy(&out.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }
}

/// A server with TLS on one port and plain connections on the other.
struct Secure {
    plain: Server,
    port: u16,
}

impl Secure {
    fn start(papers: &Papers, name: &str, more: &[&str]) -> Self {
        let port = free_port();
        let [tls, key, pem, ca] = [
            port.to_string(),
            papers.path(&format!("{name}.key")),
            papers.path(&format!("{name}.pem")),
            papers.path("ca.pem"),
        ];
        let options = ["--tls-port", &tls, "--tls-key-file", &key, "--tls-cert-file", &pem, "--tls-ca-cert-file", &ca];
        let clients = ["--tls-auth-clients", "no"];
        let plain = Server::start_with(&[&options[..], &clients, more].concat());
        eventually("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { plain, port }
    }

    fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }
}

fn frosty(url: &str, ca: &str) -> Frosty {
    Frosty::new().var("FROSTY_STORE", url).var("FROSTY_STORE_CA_FILE", ca)
}

#[track_caller]
fn refused(answer: &Answer, words: &[&str]) {
    // The embedded store decides, and its first request waits for the minimum interval.
    answer.stands_down_saying(&[&["local files decide instead"], words].concat());
    assert!(answer.took < Duration::from_millis(2_500), "{answer:?}");
}

#[test]
fn everything_works() {
    let papers = Papers::new();
    for versions in ["TLSv1.3", "TLSv1.2"] {
        let secure = Secure::start(&papers, "server", &["--tls-protocols", versions, "--requirepass", "hunter2secret"]);
        let url = format!("rediss://:hunter2secret@127.0.0.1:{}", secure.port);
        let frosty = self::frosty(&url, &papers.path("ca.pem")).config(r#"{"stop": {"min_interval": "1ms"}}"#);
        let answer = frosty.hook(&stop("s"));
        assert_eq!(answer.code, Some(2), "{answer:?}");
        let named = format!("rediss://:hunter2secret@localhost:{}/2", secure.port);
        let answer = self::frosty(&named, &papers.path("ca.pem")).hook(&stop("s"));
        assert_eq!(answer.code, Some(2), "{answer:?}");

        // A waiting engine: woken by a plain publish, and by a wake-up.
        let admin = format!("redis://:hunter2secret@127.0.0.1:{}", secure.plain.port);
        let mut admin = redis::Client::open(admin).unwrap().get_connection().unwrap();
        for publishes in [true, false] {
            let engine = Engine::start(&frosty, &stop_saying("s", "frosty: next_check 20m"));
            eventually("it listens", || {
                let heard: (String, u32) =
                    redis::cmd("PUBSUB").arg("NUMSUB").arg("trigger.nova.s").query(&mut admin).unwrap();
                // An engine that has gone may still be listed.
                let session = documents::read(&mut admin, &documents::session("s"));
                session["rest"]["kind"] == "rest" && heard.1 == 1
            });
            if publishes {
                let text = "x".repeat(250);
                let heard: u32 = redis::cmd("PUBLISH").arg("trigger.nova.s").arg(&text).query(&mut admin).unwrap();
                assert_eq!(heard, 1);
            } else {
                assert_eq!(frosty.run(&["wake", "s"], b"").stdout, "woke s\n");
            }
            let answer = engine.answer();
            assert_eq!(answer.code, Some(2), "{answer:?}");
            assert_eq!(answer.stderr.contains(&"x".repeat(250)), publishes);
        }
        // Nothing of it was decided in files.
        assert!(frosty.journal().is_empty());
    }
}

#[test]
fn whom_not_to_trust() {
    let papers = Papers::new();
    let secure = Secure::start(&papers, "server", &[]);
    let ask = |ca: &str| frosty(&secure.url(), ca).hook(&stop("s"));
    refused(&ask(&papers.path("other-ca.pem")), &["unknown issuer", "FROSTY_STORE_CA_FILE"]);
    // Without a file it is the web's authorities.
    let answer = Frosty::new().var("FROSTY_STORE", &secure.url()).hook(&stop("s"));
    refused(&answer, &["unknown issuer", "FROSTY_STORE_CA_FILE"]);

    refused(&ask(&papers.path("none.pem")), &["No such file", "none.pem"]);
    refused(&ask(&papers.path("server.key")), &["no certificate", "server.key"]);
    fs::write(papers.file("cut.pem"), &fs::read(papers.file("ca.pem")).unwrap()[..200]).unwrap();
    refused(&ask(&papers.path("cut.pem")), &["cut.pem", "FROSTY_STORE_CA_FILE"]);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(papers.file("garbage.pem"), garbage).unwrap();
    refused(&ask(&papers.path("garbage.pem")), &["garbage.pem", "FROSTY_STORE_CA_FILE"]);

    papers.sign("elsewhere", "DNS:elsewhere.example", None);
    papers.sign("past", "IP:127.0.0.1", Some("20200102000000Z"));
    for (name, words) in [("elsewhere", "for another name"), ("past", "has expired")] {
        let secure = Secure::start(&papers, name, &[]);
        let answer = frosty(&secure.url(), &papers.path("ca.pem")).hook(&stop("s"));
        refused(&answer, &[words, "openssl s_client -connect 127.0.0.1:"]);
        let mut con = secure.plain.connection();
        let keys: u32 = redis::cmd("DBSIZE").query(&mut con).unwrap();
        assert_eq!(keys, 0);
    }
    // One that wants a certificate of ours too.
    let strict = Secure::start(&papers, "server", &["--tls-auth-clients", "yes"]);
    let answer = frosty(&strict.url(), &papers.path("ca.pem")).hook(&stop("s"));
    refused(&answer, &["CertificateRequired"]);
}

#[test]
fn who_speaks_no_tls() {
    let papers = Papers::new();
    let secure = Secure::start(&papers, "server", &[]);
    let plain = format!("rediss://127.0.0.1:{}", secure.plain.port);
    let cure = format!("FROSTY_STORE=redis://127.0.0.1:{}", secure.plain.port);
    refused(&frosty(&plain, &papers.path("ca.pem")).hook(&stop("s")), &["no trusted TLS connection", &cure]);
    // The other way round.
    let answer = Frosty::new().var("FROSTY_STORE", &format!("redis://127.0.0.1:{}", secure.port)).hook(&stop("s"));
    refused(&answer, &["unexpected reply"]);
    let nobody = format!("rediss://127.0.0.1:{}", free_port());
    refused(&frosty(&nobody, &papers.path("ca.pem")).hook(&stop("s")), &["connection refused"]);

    let says = |bytes: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rediss://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(bytes);
            }
        });
        url
    };
    for bytes in [
        &b"-ERR unknown command\r\n"[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
        b"",
    ] {
        let answer = frosty(&says(bytes), &papers.path("ca.pem")).hook(&stop("s"));
        refused(&answer, &["no trusted TLS connection"]);
    }
}

/// The deadline is one over all of it: a handshake that hangs or drips, and a reply that does.
#[test]
fn silence_ends_at_the_budget() {
    let papers = Papers::new();
    let secure = Secure::start(&papers, "server", &[]);
    let bare = |url: &str| {
        // Not the default one, which is stretched on a busy machine.
        let frosty = Frosty::bare().config(r#"{"budget": "240ms"}"#).var("FROSTY_STORE", url);
        frosty.var("FROSTY_STORE_CA_FILE", &papers.path("ca.pem")).hook(&stop("s"))
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("rediss://{}", listener.local_addr().unwrap());
    refused(&bare(&silent), &["no handshake in time (budget 240 ms)", "FROSTY_STORE=redis://"]);
    drop(listener);

    refused(&bare(&dripping(secure.port)), &["no handshake in time (budget 240 ms)"]);
    let mut con = secure.plain.connection();
    redis::cmd("CLIENT").arg("PAUSE").arg(5_000).query::<()>(&mut con).unwrap();
    refused(&bare(&secure.url()), &["in time (budget 240 ms)"]);
}

/// Before a server: passes its words on one byte at a time.
fn dripping(port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let mut byte = [0];
            while let Ok(1) = server.read(&mut byte) {
                if client.write_all(&byte).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    url
}
