//! Removes passwords from texts that are shown or journaled.

use std::collections::HashSet;

/// The replacement of a password.
const MASK: &str = "***";
/// The number of consecutive characters of a password that are masked, wherever they begin.
const RUN: usize = 6;
/// The longest text that is searched, and returned.
const MOST: usize = 4000;

/// Returns the text without the secret, whole or in part, in plain form or in that of `{:?}`; at most 4,000
/// characters.
#[must_use]
pub fn without(text: &str, secret: &str) -> String {
    let kept: Vec<char> = text.chars().take(MOST).collect();
    if secret.is_empty() {
        return kept.into_iter().collect();
    }
    // A short secret is matched exactly, since WRONG is in WRONGPASS, for example.
    let fold = |c: &char| if secret.chars().count() < RUN { *c } else { c.to_ascii_lowercase() };
    let folded: Vec<char> = kept.iter().map(fold).collect();
    let escaped: String = secret.escape_debug().collect();
    let bytes = secret.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(", ");
    let mut hidden = vec![false; kept.len()];
    for form in [secret.to_owned(), escaped.escape_debug().collect(), escaped, bytes] {
        let form: Vec<char> = form.chars().map(|c| fold(&c)).collect();
        let run = RUN.min(form.len());
        let parts: HashSet<&[char]> = form.windows(run).collect();
        for (i, window) in folded.windows(run).enumerate() {
            if parts.contains(window) {
                hidden.iter_mut().skip(i).take(run).for_each(|h| *h = true);
            }
        }
    }
    let mut out = String::with_capacity(kept.len());
    let mut before = false;
    for (c, hide) in kept.into_iter().zip(hidden) {
        match (hide, before) {
            (true, false) => out.push_str(MASK),
            (true, true) => {}
            (false, _) => out.push(c),
        }
        before = hide;
    }
    out
}

/// Returns a foreign text that may contain a store's URL, in a form that is safe to show. Every possible
/// password is masked, and rather too much.
#[must_use]
pub fn scrubbed(words: &str) -> String {
    let quote = |c: char| matches!(c, '"' | '\'' | '`');
    let ends = |c: char| c.is_whitespace() || quote(c);
    let Some((before, rest)) = words.split_once("://") else {
        let Some((before, host)) = words.rsplit_once('@') else { return words.to_owned() };
        let kept = before.find(quote).and_then(|at| before.get(..=at)).unwrap_or_default();
        return [kept, MASK, "@", host].concat();
    };
    // A password may contain spaces and quotes too.
    let (host, masked) = rest.rsplit_once('@').map_or((rest, ""), |(_, host)| (host, "***@"));
    let (host, after) = host.find(ends).and_then(|at| host.split_at_checked(at)).unwrap_or((host, ""));
    [before, "://", masked, &url(host), after].concat()
}

/// Returns a command's words, the program first, in a form that is safe to show. It masks a store's URL, the
/// part before the `@` of any other URL, and the value of a flag, a variable or a header for passwords and
/// keys. It masks rather too much.
#[must_use]
pub fn command<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut hides = Hides::Nothing;
    for word in words {
        if hides == Hides::Next || hides == Hides::Url {
            out.push(if hides == Hides::Url { url(word) } else { MASK.to_owned() });
            hides = Hides::Nothing;
            continue;
        }
        let word =
            if word.contains("redis://") || word.contains("rediss://") { scrubbed(word) } else { word.to_owned() };
        // A whole shell command line may be one word.
        let mut parts = Vec::new();
        for part in word.split(' ') {
            let (shown, then) = one_word(part, hides);
            hides = then;
            parts.push(shown);
        }
        if hides == Hides::Quoted {
            hides = Hides::Nothing;
        }
        out.push(parts.join(" "));
    }
    out.join(" ")
}

/// The part of a command's words to mask next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hides {
    Nothing,
    /// One word.
    Next,
    /// One word that is a store's URL, however wrong.
    Url,
    /// All words up to a quote.
    Quoted,
}

fn one_word(word: &str, hides: Hides) -> (String, Hides) {
    match hides {
        _ if word.is_empty() => return (String::new(), hides),
        Hides::Nothing => {}
        Hides::Url => return (url(word), Hides::Nothing),
        Hides::Next => return (MASK.to_owned(), Hides::Nothing),
        Hides::Quoted => match word.strip_suffix(['"', '\'']) {
            Some(_) => return (format!("{MASK}{}", word.get(word.len() - 1..).unwrap_or_default()), Hides::Nothing),
            None => return (MASK.to_owned(), hides),
        },
    }
    let lower = word.to_ascii_lowercase();
    let is_secret = |name: &str| ["pass", "secret", "token", "key", "auth"].iter().any(|part| name.contains(part));
    if lower == "--store" {
        return (word.to_owned(), Hides::Url);
    }
    if matches!(lower.as_str(), "-a" | "-u" | "--user")
        || (lower.starts_with("--") && is_secret(&lower) && !lower.contains('='))
    {
        return (word.to_owned(), Hides::Next);
    }
    if let Some((name, value)) = word.split_once('=') {
        let name_of = name.to_ascii_lowercase();
        if name_of.ends_with("--store") {
            return (format!("{name}={}", url(value)), Hides::Nothing);
        }
        if is_secret(&name_of) {
            return (format!("{}={MASK}", nameless(name)), Hides::Nothing);
        }
    }
    // A header.
    if is_secret(&lower) && lower.ends_with(':') {
        return (word.to_owned(), Hides::Quoted);
    }
    (nameless(word), Hides::Nothing)
}

/// Returns a URL without the part before its `@`.
fn nameless(word: &str) -> String {
    match word.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://{MASK}@{host}"),
        None => word.to_owned(),
    }
}

/// Returns a store's URL in a form that is safe to show, even if it is malformed. The parts that may be a
/// password are masked: before an `@`, after a `?` or `#`, and in the position of a port that is not a number.
#[must_use]
pub fn url(raw: &str) -> String {
    let (scheme, rest) = raw.split_once("://").map_or(("", raw), |(scheme, rest)| (scheme, rest));
    // With a colon before the scheme's colon, or an `@`, the scheme is not one.
    let scheme = if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) { scheme } else { MASK };
    let mut out = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => {
            out.push_str(MASK);
            out.push('@');
            host
        }
        None => rest,
    };
    let shown = rest.find(['?', '#']).and_then(|at| rest.get(..at)).unwrap_or(rest);
    let (authority, path) = shown.find('/').and_then(|at| shown.split_at_checked(at)).unwrap_or((shown, ""));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let path = if path.strip_prefix('/').is_none_or(number) { path } else { "/***" };
    // A port, or an address in brackets and a port.
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    match authority.get(after..).and_then(|port| port.split_once(':')) {
        Some((host, port)) if port.len() <= 5 && number(port) => {
            out.extend([authority.get(..after).unwrap_or_default(), host, ":", port, path]);
        }
        Some((host, _)) => out.extend([authority.get(..after).unwrap_or_default(), host, ":", MASK]),
        None => out.extend([authority, path]),
    }
    if shown.len() < rest.len() {
        out.push_str(MASK);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_every_form() {
        for secret in ["hunter2secret", "p\"a\\s s\u{e9}w\u{1b}ord", "pw", "s\u{e9}cr\u{e9}t!"] {
            let told = [
                secret.to_owned(),
                if secret.len() < RUN { secret.to_owned() } else { secret.to_ascii_uppercase() },
                format!("{secret:?}"),
                format!("{:?}", format!("{secret:?}")),
                format!("{:?}", secret.as_bytes()),
            ];
            for told in told {
                let shown = without(&format!("ERR '{told}' is wrong"), secret);
                assert!(!shown.contains(secret) && !shown.contains(told.trim_matches(['[', ']', '"'])), "{shown}");
                assert!(shown.starts_with("ERR '") && shown.ends_with("is wrong"), "{shown}");
            }
        }
        // A server that truncates the text that it repeats.
        assert_eq!(without("args: 'hunter2sec...", "hunter2secret"), "args: '***...");
        assert_eq!(without("WRONGPASS invalid", "hunter2secret"), "WRONGPASS invalid");
        assert_eq!(without("WRONGPASS wrong", "wrong"), "WRONGPASS ***");
        assert_eq!(without("as it is", ""), "as it is");
    }

    #[test]
    fn commands_of_others() {
        for (words, shown) in [
            (&["/b/frosty", "hook", "--store", "redis://u:hunter2@h:7"][..], "/b/frosty hook --store redis://***@h:7"),
            (&["frosty", "hook", "--store", "u:hun ter2@h", "--wait", "1d"], "frosty hook --store ***@h --wait 1d"),
            (&["frosty", "hook", "--store=hunter2@h"], "frosty hook --store=***@h"),
            (
                &["FROSTY_STORE='redis://u:hun ter2@h' frosty hook; date"],
                "FROSTY_STORE='redis://***@h' frosty hook; date",
            ),
            (&["curl -u me:hunter2 http://u:hunter2@h/xadd/x"], "curl -u *** http://***@h/xadd/x"),
            (
                &["curl -H \"Authorization: Bearer hunter2\" http://h/xadd/x"],
                "curl -H \"Authorization: *** ***\" http://h/xadd/x",
            ),
            (&["curl", "-H", "x-api-key: hunter2", "h:1/xadd/"], "curl -H x-api-key: *** h:1/xadd/"),
            (&["API_TOKEN=hunter2 redis-cli -a hunter2 ping; exit 2"], "API_TOKEN=*** redis-cli -a *** ping; exit 2"),
            (&["mysql", "--password", "hunter2", "--token=hunter2"], "mysql --password *** --token=***"),
            (&["curl http://u:hunter2@h/?token=hunter2"], "curl http://***@h/?token=***"),
            (&["npx flow@alpha --keep-going; exit 2"], "npx flow@alpha --keep-going; exit 2"),
            (&["curl -X POST http://h:18000/xadd/torch -d '{}'"], "curl -X POST http://h:18000/xadd/torch -d '{}'"),
        ] {
            let said = command(words.iter().copied());
            assert!(!said.contains("hunter2") && !said.contains("ter2"), "{said}");
            assert_eq!(said, shown);
        }
    }

    #[test]
    fn urls_however_wrong() {
        for (raw, shown) in [
            ("redis://user:hunter2@host:7/1", "redis://***@host:7/1"),
            ("redis://user:hun@ter2@host", "redis://***@host"),
            ("redis://user:hunter2", "redis://user:***"),
            ("redis://:hunter2", "redis://:***"),
            ("redis://user:hunter2:6379", "redis://user:***"),
            ("redis://[::1]:hunter2", "redis://[::1]:***"),
            ("redis://[::1]:7/x", "redis://[::1]:7/***"),
            ("redis://:12345/hunter2", "redis://:12345/***"),
            ("user:hunter2@host", "***@host"),
            ("user:hunter2", "user:***"),
            ("hun:ter2://host", "***://host"),
            ("redis+unix:///run/s?pass=hunter2", "redis+unix:///******"),
            ("redis://host/0#hunter2", "redis://host/0***"),
            ("redis://host:99999", "redis://host:99999"),
            ("postgres://x", "postgres://x"),
            ("embeded", "embeded"),
        ] {
            assert_eq!(url(raw), shown, "{raw}");
        }
        assert_eq!(scrubbed("found 'redis://u:p@h' there: a:b"), "found 'redis://***@h' there: a:b");
        assert_eq!(scrubbed("[\"redis://u:p 'a\\\"b@h\"]"), "[\"redis://***@h\"]");
        assert_eq!(scrubbed("an argument 'u:p a'b@h' there"), "an argument '***@h' there");
        assert_eq!(scrubbed("'redis://u:hunter2' there"), "'redis://u:***' there");
    }
}
