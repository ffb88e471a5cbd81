//! `frosty wake --stdin`: a wake-up for each line, from any program that writes lines (`nats sub`, `tail -f`).

use std::io::{self, BufRead, BufReader, Read};

use super::{Whom, wake};
use crate::cmd::{Failure, out};
use crate::config::Config;
use crate::hint::Hint;
use crate::text;

/// The longest line that is read; a longer one is cut off.
const LONGEST: u64 = 16 * 1024;

/// Wakes the session that each line names, with the rest of the line as its note. A line that names no session is reported,
/// and the next one is read.
///
/// # Errors
/// When no line could be read.
pub(super) fn run(config: &Config, signal: Option<&str>) -> Result<(), Failure> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut line = Vec::new();
    while read_line(&mut input, &mut line)? {
        let line = String::from_utf8_lossy(&line);
        let (word, note) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        if word.is_empty() {
            continue;
        }
        let note = text::line_of(note.trim(), text::LONGEST_NOTE);
        if let Err(why) = wake(config, &Whom::Session(word.to_owned()), &note, signal, false) {
            let hint = why.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            out::report(&format!("{why}{hint}"));
        }
    }
    Ok(())
}

/// Reads the next line without its end; returns false after the last one.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, Failure> {
    line.clear();
    let cannot = |cause: io::Error| crate::store::StoreError::Files { doing: "read", path: "/dev/stdin".into(), cause };
    let read = input.by_ref().take(LONGEST).read_until(b'\n', line).map_err(cannot)?;
    if read as u64 == LONGEST && !line.ends_with(b"\n") {
        input.skip_until(b'\n').map_err(cannot)?;
    }
    Ok(read > 0)
}
