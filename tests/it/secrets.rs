//! A password is sent to the server alone: it is in no output, error, journal or state file, whatever goes
//! wrong and however the password was given.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Answer, Engine, Frosty, Server, documents, feed, free_port, stop};

/// One as people have them, and one that every encoding changes.
const SECRETS: [&str; 2] = ["hunter2secret", "Ge\"he\\im\u{e9} w#rt/?@:%"];

#[derive(Debug, Clone, Copy)]
enum Given {
    Url,
    File,
    Config,
}

fn percent(text: &str) -> String {
    let one = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(one).collect()
}

fn given(how: Given, secret: &str, host: &str, budget: &str) -> Frosty {
    let url = format!("redis://frosty:{}@{host}", percent(secret));
    let frosty = Frosty::new().config(&serde_json::json!({ "budget": budget }).to_string());
    match how {
        Given::Url => frosty.var("FROSTY_STORE", &url),
        Given::Config => frosty.config(&serde_json::json!({ "store": url, "budget": budget }).to_string()),
        Given::File => {
            let frosty = frosty.var("FROSTY_STORE", &format!("redis://frosty@{host}"));
            let file = frosty.home.path().join("password");
            write_password(&file, format!("{secret}\n").as_bytes());
            frosty.var("FROSTY_STORE_PASSWORD_FILE", file.to_str().unwrap())
        }
    }
}

fn write_password(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Every way of giving each of the secrets to the server at an address.
fn each_way(host: &str, budget: &str, mut run: impl FnMut(&Frosty, &str)) {
    for secret in SECRETS {
        for how in [Given::Url, Given::File, Given::Config] {
            run(&given(how, secret, host, budget), secret);
        }
    }
}

/// No output or file, except where the secret was given, contains it: as it is, as `{:?}` or a URL shows it, or
/// the beginning of it.
#[track_caller]
fn tells_nothing(frosty: &Frosty, said: &[&str], secret: &str) {
    let mut all: Vec<(String, String)> = said.iter().map(|s| ("the output".to_owned(), (*s).to_owned())).collect();
    let mut folders = vec![frosty.home.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("password") && !path.ends_with(".claude/frosty.json") {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                all.push((path.display().to_string(), text));
            }
        }
    }
    let begins: String = secret.chars().take(8).collect();
    let decimal = begins.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(", ");
    let forms = [begins.escape_debug().to_string(), percent(&begins), decimal, begins];
    for (place, text) in all {
        for form in &forms {
            assert!(!text.contains(form.as_str()), "{place} tells {form:?}: {text}");
        }
    }
}

/// Runs a hook that must refuse with these words, and show no secret.
#[track_caller]
fn fails(frosty: &Frosty, secret: &str, words: &[&str]) {
    let answer = frosty.hook(&stop("s"));
    answer.stands_down_saying(words);
    tells_nothing(frosty, &[&answer.stdout, &answer.stderr], secret);
    assert!(!frosty.journal().is_empty(), "the failure is journaled");
}

/// The reply to the received commands.
type Shape = fn(&[u8]) -> Vec<u8>;

/// A socket that repeats the commands it gets: after so many plain `+OK`, in this shape.
fn echo(oks: usize, shape: Shape) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut told = Vec::new();
                let mut bytes = [0; 16384];
                let mut turn = 0;
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    told.extend_from_slice(&bytes[..n]);
                    let reply = if turn < oks { b"+OK\r\n".to_vec() } else { shape(&told[..told.len().min(250)]) };
                    turn += 1;
                    if stream.write_all(&reply).is_err() {
                        return;
                    }
                }
            });
        }
    });
    host
}

fn one_line(told: &[u8]) -> Vec<u8> {
    told.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }).collect()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[test]
fn a_server_that_repeats_the_password() {
    let shapes: [Shape; 8] = [
        |told| [b"-ERR unknown: ", &one_line(told)[..], b"\r\n"].concat(),
        |told| [b"-WRONGPASS ", &one_line(told)[..], b"\r\n"].concat(),
        |told| [b"+", &one_line(told)[..], b"\r\n"].concat(),
        |told| [b":0\r\n:0\r\n", &bulk(told)[..]].concat(),
        |told| [b":0\r\n:0\r\n*2\r\n", &bulk(b"admit")[..], &bulk(told)].concat(),
        // Not UTF-8 as a whole: shown byte by byte.
        |told| [b":0\r\n:0\r\n", &bulk(&[b"\xff\xfe", told].concat())[..]].concat(),
        // Cut in the middle of it.
        |told| [b"-ERR ", &one_line(&told[..told.len().min(60)])[..told.len().min(40)], b"\r\n"].concat(),
        <[u8]>::to_vec,
    ];
    for shape in shapes {
        for oks in [0, 1] {
            each_way(&echo(oks, shape), "100ms", |frosty, secret| {
                fails(frosty, secret, &["local files decide instead"])
            });
        }
    }
}

#[test]
fn real_servers_that_refuse() {
    each_way(&format!("127.0.0.1:{}", free_port()), "1s", |frosty, secret| {
        fails(frosty, secret, &["connection refused"])
    });
    let host = |server: &Server| format!("127.0.0.1:{}", server.port);

    let other = Server::start_with(&["--requirepass", "another"]);
    each_way(&host(&other), "1s", |frosty, secret| fails(frosty, secret, &["WRONGPASS", "FROSTY_STORE_PASSWORD_FILE"]));
    // An unknown command is repeated with its arguments.
    let renamed = Server::start_with(&["--rename-command", "AUTH", ""]);
    each_way(&host(&renamed), "1s", |frosty, secret| fails(frosty, secret, &["unknown command", "AUTH", "***"]));

    let server = Server::start();
    let mut admin = server.connection();
    for secret in SECRETS {
        let mut acl = redis::cmd("ACL");
        acl.arg("SETUSER").arg("frosty").arg("reset").arg("on").arg(format!(">{secret}"));
        acl.query::<()>(&mut admin).unwrap();
        for how in [Given::Url, Given::File, Given::Config] {
            fails(&given(how, secret, &host(&server), "1s"), secret, &["NOPERM", "ACL SETUSER frosty +"]);
        }
    }
}

#[test]
fn a_server_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for (n, stream) in listener.incoming().enumerate() {
            // By turns it keeps the line open and hangs up.
            if n % 2 == 0 {
                kept.push(stream);
            }
        }
    });
    each_way(&host, "100ms", |frosty, secret| {
        fails(frosty, secret, &["local files decide instead"]);
        fails(frosty, secret, &["local files decide instead"]);
    });
}

#[test]
fn all_goes_well() {
    let server = Server::start();
    let mut admin = server.connection();
    for secret in SECRETS {
        let mut acl = redis::cmd("ACL");
        acl.arg("SETUSER").arg("frosty").arg("reset").arg("on").arg(format!(">{secret}"));
        acl.arg("~*").arg("&*").arg("+@all").query::<()>(&mut admin).unwrap();
        for how in [Given::Url, Given::File, Given::Config] {
            redis::cmd("FLUSHALL").query::<()>(&mut admin).unwrap();
            let frosty = given(how, secret, &format!("127.0.0.1:{}", server.port), "1s");
            let mut said = Vec::new();
            for (args, stdin, code) in [
                (&["hook"][..], stop("s"), 2),
                (&["hook"], stop("s"), 0),
                (&["on", "--session", "s"], String::new(), 0),
                (&["wake", "--all"], String::new(), 0),
                (&["wake", "nobody"], String::new(), 64),
                (&["release"], String::new(), 0),
            ] {
                let answer = frosty.run(args, stdin.as_bytes());
                assert_eq!(answer.code, Some(code), "{args:?} {answer:?}");
                said.extend([answer.stdout, answer.stderr]);
            }
            // An engine keeps its connections for long; the journal is there for all to read.
            let mut engine = Engine::start(&frosty, &stop("w"));
            crate::support::eventually("the engine is known", || {
                redis::cmd("EXISTS").arg(documents::session("w")).query(&mut admin).unwrap()
            });
            if engine.is_waiting() {
                drop(engine);
            } else {
                let answer = engine.answer();
                said.extend([answer.stdout, answer.stderr]);
            }
            let journal: redis::Value =
                redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut admin).unwrap();
            said.push(format!("{journal:?}"));
            for key in redis::cmd("KEYS").arg("*").query::<Vec<String>>(&mut admin).unwrap() {
                let kind: String = redis::cmd("TYPE").arg(&key).query(&mut admin).unwrap();
                if kind == "string" {
                    let text: String = redis::cmd("GET").arg(&key).query(&mut admin).unwrap();
                    said.push(format!("{key} {text}"));
                }
            }
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            assert!(said.len() > 14);
            tells_nothing(&frosty, &said, secret);
        }
    }
}

/// A URL that cannot be parsed, in every place.
#[test]
fn urls_that_are_wrong() {
    let secret = SECRETS[0];
    for url in [
        "redis://frosty:SECRET",
        "redis://:SECRET",
        "redis://frosty:SECRET:6379",
        "redis://frosty:SECRET@",
        "redis://frosty:SECRET@host:99999",
        "redis://frosty:SECRET@host:port",
        "redis://frosty:SECRET@host/nonumber",
        "redis://frosty:SECRET@[::1",
        "redis://frosty:%zz%SECRET@host",
        "redis://frosty:%ff%feSECRET@host",
        "redis://frosty:a/SECRET@host",
        "redis://frosty:1/SECRET@host",
        "redis://frosty:1#SECRET@host",
        "redis://frosty:1?SECRET@host",
        "redis://frosty:a SECRET@host:x",
        "redis://frosty:a\"'SECRET@host:x",
        "redis://host/0?password=SECRET",
        "redis://host/0#SECRET",
        "redis//frosty:SECRET@host",
        "redis:/frosty:SECRET@host",
        "frosty:SECRET@host",
        "frosty:SECRET",
        "http://frosty:SECRET@host",
        "rediss+x://frosty:SECRET",
        "redis+unix:///run/redis?user=frosty&pass=SECRET",
        "unix:///run/redis?pass=SECRET",
    ] {
        let url = url.replace("SECRET", secret);
        let by_variable = Frosty::new().var("FROSTY_STORE", &url);
        fails(&by_variable, secret, &["bad_config", "FROSTY_STORE", "unset FROSTY_STORE"]);
        let mut wrong = vec![
            serde_json::json!({ "store": url }),
            serde_json::json!({ "store": [url] }),
            serde_json::json!({ "fleet": {"x": url} }),
        ];
        // Elsewhere only what looks like one is taken for one.
        if url.contains("://") || url.contains('@') {
            wrong.extend([serde_json::json!({ "mode": url }), serde_json::json!({ (url.as_str()): 1 })]);
        }
        for json in wrong {
            fails(&Frosty::new().config(&json.to_string()), secret, &["bad_config", ".claude/frosty.json"]);
        }
        fails(&Frosty::new().config(&format!("{{\"store\": {url:?}")), secret, &["bad_config", "not valid JSON"]);
        let frosty = Frosty::new();
        for args in [&["hook", "--store", &url][..], &["wake", "--all", "--store", &url]] {
            let answer = frosty.run(args, stop("s").as_bytes());
            assert!(answer.stderr.contains("--store"), "{answer:?}");
            tells_nothing(&frosty, &[&answer.stdout, &answer.stderr], secret);
        }
        if !url.contains("://") && !url.contains('@') {
            continue;
        }
        for args in [
            &["hook", &url][..],
            &["hook", "--timeout", &url],
            &["wake", "--al", &url],
            &["release", "a", &url],
            &["on", &url],
            &[&url],
        ] {
            let answer = frosty.run(args, stop("s").as_bytes());
            assert!(matches!(answer.code, Some(0 | 1 | 64)), "{answer:?}");
            assert!(!answer.stderr.is_empty(), "{args:?}");
            tells_nothing(&frosty, &[&answer.stdout, &answer.stderr], secret);
        }
    }
    // A project may name no store: the error shows its value without the password.
    let frosty = Frosty::embedded().project_config(r#"{"store": "redis://frosty:hunter2secret@host"}"#);
    let answer = frosty.hook(&stop("s"));
    answer.stands_down_saying(&["bad_config", "redis://***@host"]);
    fs::remove_file(frosty.project().join(".claude/frosty.json")).unwrap();
    tells_nothing(&frosty, &[&answer.stdout, &answer.stderr], secret);
}

#[test]
fn a_password_file_that_cannot_be_used() {
    let server = Server::start_with(&["--requirepass", SECRETS[0]]);
    let ask = |path: &Path| -> (Frosty, Answer) {
        let frosty = Frosty::on(&server).var("FROSTY_STORE_PASSWORD_FILE", path.to_str().unwrap());
        let answer = frosty.hook(&stop(frosty.home.path().file_name().unwrap().to_str().unwrap()));
        (frosty, answer)
    };
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("password");
    let bad = |path: &Path, words: &[&str]| {
        let (frosty, answer) = ask(path);
        answer.stands_down_saying(&[&["local files decide instead", "FROSTY_STORE_PASSWORD_FILE"], words].concat());
        tells_nothing(&frosty, &[&answer.stdout, &answer.stderr], SECRETS[0]);
    };
    bad(&file, &["No such file"]);
    bad(dir.path(), &["no regular file"]);
    // The password where its file belongs.
    bad(Path::new(SECRETS[0]), &["the file that it names", "No such file"]);
    bad(Path::new(&format!("x/{}", SECRETS[0])), &["the file that it names"]);
    write_password(&file, b"");
    bad(&file, &["it is empty"]);
    write_password(&file, b"\r\n\n");
    bad(&file, &["it is empty"]);
    write_password(&file, &[SECRETS[0].as_bytes(), b"\xff\n"].concat());
    bad(&file, &["UTF-8"]);
    write_password(&file, format!("{0}\n{0}\n", SECRETS[0]).as_bytes());
    bad(&file, &["WRONGPASS"]);
    write_password(&file, &vec![b'h'; 2 * 1024 * 1024]);
    bad(&file, &["longer than"]);

    // An editor may put a byte-order mark before it.
    for text in [format!("\u{feff}{}\r\n", SECRETS[0]), SECRETS[0].to_owned()] {
        write_password(&file, text.as_bytes());
        assert_eq!(ask(&file).1.code, Some(2));
    }
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        bad(&file, &["may write it", "chmod go-w"]);
    }
    // Read access is up to the user.
    for mode in [0o400, 0o600, 0o644] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let (frosty, answer) = ask(&file);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        tells_nothing(&frosty, &[&answer.stdout, &answer.stderr], SECRETS[0]);
    }
}

/// Under another name a user without a password would be logged in as one that needs none.
#[test]
fn a_user_without_a_password_is_not_the_default_user() {
    let server = Server::start();
    let frosty = Frosty::new().var("FROSTY_STORE", &format!("redis://frosty@127.0.0.1:{}", server.port));
    frosty.hook(&stop("s")).stands_down_saying(&["WRONGPASS"]);
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg("frosty").arg("on").arg("nopass").arg("~*").arg("&*").arg("+@all");
    acl.query::<()>(&mut server.connection()).unwrap();
    // Removes the effect of the refusal: a scope that the embedded store decides for.
    fs::remove_dir_all(frosty.state()).unwrap();
    let answer = feed(frosty.command(&["hook"]), stop("s").as_bytes());
    assert_eq!(answer.code, Some(2), "{answer:?}");
}
