//! The messages of a connection: the commands of one write, and the replies as they are sent.

use std::io::Write;
use std::ops::Range;

use super::database::Reply;

/// The commands of one write. Their words are parts of one text.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    text: Vec<u8>,
    words: Vec<Range<usize>>,
    /// The end of each command in `words`.
    ends: Vec<usize>,
}

impl Message {
    /// Parses the commands of one write, which is always complete.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut message = Self { text: text.to_vec(), ..Self::default() };
        let mut at = 0;
        let number = |at: &mut usize| {
            let digits = text[*at + 1..].iter().take_while(|byte| **byte != b'\r');
            let (number, len) = digits.fold((0, 0), |(number, len), digit| {
                assert!(digit.is_ascii_digit(), "a message without a length");
                (number * 10 + usize::from(digit - b'0'), len + 1)
            });
            *at += 1 + len + 2;
            number
        };
        while at < text.len() {
            for _ in 0..number(&mut at) {
                let len = number(&mut at);
                message.words.push(at..at + len);
                at += len + 2;
            }
            message.ends.push(message.words.len());
        }
        message
    }

    /// Returns the number of its commands.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Returns the words of a command.
    pub(super) fn command(&self, nth: usize) -> Vec<&[u8]> {
        let begin = nth.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.words[begin..self.ends[nth]].iter().map(|word| &self.text[word.clone()]).collect()
    }

    /// Replaces the words for which `change` returns another one, by the command's name and the word.
    pub(super) fn replace(&mut self, change: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>>) {
        let mut changed = Self::default();
        for nth in 0..self.count() {
            let command = self.command(nth);
            for word in &command {
                let begin = changed.text.len();
                match change(command[0], word) {
                    Some(other) => changed.text.extend(other),
                    None => changed.text.extend_from_slice(word),
                }
                changed.words.push(begin..changed.text.len());
            }
            changed.ends.push(changed.words.len());
        }
        *self = changed;
    }
}

/// Writes a reply in the form in which it is sent.
pub(super) fn encode(reply: &Reply, into: &mut Vec<u8>) {
    match reply {
        Reply::Status(text) => write!(into, "+{text}\r\n").unwrap(),
        Reply::Error(text) => write!(into, "-{text}\r\n").unwrap(),
        Reply::Int(n) => write!(into, ":{n}\r\n").unwrap(),
        Reply::Nil => into.extend_from_slice(b"$-1\r\n"),
        Reply::Bulk(bytes) => {
            write!(into, "${}\r\n", bytes.len()).unwrap();
            into.extend_from_slice(bytes);
            into.extend_from_slice(b"\r\n");
        }
        Reply::Array(all) => {
            write!(into, "*{}\r\n", all.len()).unwrap();
            all.iter().for_each(|reply| encode(reply, into));
        }
    }
}

/// Returns a command and its reply as text.
pub(super) fn shown(connection: usize, command: &[&[u8]], reply: &Reply) -> String {
    let words = command.iter().map(|word| String::from_utf8_lossy(word).replace('\n', " "));
    let words: Vec<String> = words.map(|word| word.chars().take(300).collect()).collect();
    let text = |reply: &Reply| match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    };
    let reply: String = match reply {
        Reply::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(" "),
        other => text(other),
    };
    format!("c{connection}: {} -> {reply}", words.join(" "))
}
