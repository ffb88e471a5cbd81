//! A Rust file taken apart: its code, its comments, and its string literals.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A Rust file. `code` has blanks in place of comments and of what is in string literals, line by line as in the file.
pub struct Source {
    pub path: PathBuf,
    pub code: String,
    pub comments: String,
    pub strings: String,
}

impl Source {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut source =
            Self { path: path.to_owned(), code: String::new(), comments: String::new(), strings: String::new() };
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            let taken = match c {
                '/' if rest.starts_with("//") => source.comment(rest),
                '"' => source.string(rest, 1, "\"", true),
                'r' if rest.starts_with("r\"") => source.string(rest, 2, "\"", false),
                'r' if rest.starts_with("r#\"") => source.string(rest, 3, "\"#", false),
                '\'' => source.character(rest),
                c => {
                    source.code.push(c);
                    c.len_utf8()
                }
            };
            rest = &rest[taken..];
        }
        source
    }

    fn comment(&mut self, rest: &str) -> usize {
        let end = rest.find('\n').unwrap_or(rest.len());
        self.comments.push_str(rest[..end].trim_start_matches(['/', '!']));
        self.comments.push('\n');
        end
    }

    fn string(&mut self, rest: &str, from: usize, end: &str, escapes: bool) -> usize {
        let mut at = from;
        while !rest[at..].starts_with(end) {
            let skipped = usize::from(escapes && rest[at..].starts_with('\\'));
            at += skipped;
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
        // What a unit test compares is no text for people, and a placeholder's name is code.
        if !self.code.contains("#[cfg(test)]\nmod tests") {
            for (n, part) in rest[from..at].split('{').enumerate() {
                let text = if n == 0 { part } else { part.split_once('}').map_or(part, |(_, text)| text) };
                self.strings.push_str(text);
            }
            self.strings.push('\n');
        }
        self.code.push_str("\"\"");
        self.code.extend(rest[from..at].chars().filter(|c| *c == '\n'));
        at + end.len()
    }

    /// A character literal, or the mark of a lifetime.
    fn character(&mut self, rest: &str) -> usize {
        let inner = rest[1..].chars().next();
        let length = match inner {
            Some('\\') => rest[3..].find('\'').map(|end| end + 4),
            Some(c) if rest[1 + c.len_utf8()..].starts_with('\'') => Some(2 + c.len_utf8()),
            _ => None,
        };
        self.code.push_str(if length.is_some() { "' '" } else { "'" });
        length.unwrap_or(1)
    }

    /// Whether it is in builds of tests or fuzzers alone.
    pub fn is_of_tests(&self) -> bool {
        let path = self.path.to_string_lossy();
        ["/simulator/", "/tests.rs", "/fuzzing.rs"].iter().any(|part| path.contains(part))
    }

    /// The code before its unit tests.
    fn shipped(&self) -> &str {
        self.code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
    }

    /// The modules below the crate's root that the shipped code names.
    pub fn imported(&self) -> BTreeSet<String> {
        let code = self.shipped().replace("#[cfg(test)]\nuse crate::", "");
        let mut found = BTreeSet::new();
        for part in code.split("crate::").skip(1) {
            match part.strip_prefix('{') {
                // `use crate::{a, b::c}`: no braces are nested in this code base.
                Some(group) => {
                    let names = group.split('}').next().unwrap_or_default().split(',');
                    found.extend(names.map(|name| word(name.trim())).filter(|name| !name.is_empty()));
                }
                None => {
                    found.insert(word(part));
                }
            }
        }
        found.remove("");
        found
    }

    /// The functions with their number of lines.
    pub fn functions(&self) -> Vec<(String, usize)> {
        let lines: Vec<&str> = self.code.lines().collect();
        let mut found = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let Some((before, after)) = line.split_once("fn ") else { continue };
            let is_item = before.trim_start().split(' ').all(|w| {
                w.is_empty() || ["const", "unsafe", "extern", "\"\"", "async"].contains(&w) || w.starts_with("pub")
            });
            let indent = line.len() - line.trim_start().len();
            let closing = format!("{}}}", " ".repeat(indent));
            if !is_item || line.trim_end().ends_with(';') {
                continue;
            }
            let end = lines[at..]
                .iter()
                .position(|line| line.trim_end() == closing || line.starts_with(&format!("{closing} ")));
            if !line.trim_end().ends_with('}') {
                found.push((word(after), end.unwrap_or(0) + 1));
            }
        }
        found
    }

    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
    }

    /// The names of public declarations in the shipped code.
    pub fn declared(&self) -> Vec<String> {
        let mut found = Vec::new();
        for line in self.shipped().lines() {
            let Some(rest) = line.trim_start().strip_prefix("pub") else { continue };
            let rest = rest.strip_prefix("(crate)").unwrap_or(rest).trim_start();
            let mut words = rest.split_whitespace();
            let kind = words.find(|word| !["const", "unsafe", "async"].contains(word) || rest.starts_with("const "));
            let name = match kind {
                Some("fn" | "struct" | "enum" | "trait" | "type" | "static") => words.next(),
                Some("const") => words.find(|word| *word != "fn"),
                _ => None,
            };
            found.extend(name.map(word).filter(|name| !name.is_empty()));
        }
        found
    }

    /// The modules that the file declares.
    pub fn modules(&self) -> Vec<String> {
        let declaration = |line: &str| Some(word(line.trim_start().trim_start_matches("pub ").strip_prefix("mod ")?));
        self.code.lines().filter(|line| line.trim_end().ends_with(';')).filter_map(declaration).collect()
    }
}

/// The identifier with which a text begins.
fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
