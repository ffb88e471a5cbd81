//! The identity of a process, exact enough to distinguish it from every other process.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A process of one machine: its id, and the data that distinguishes it from other processes with the same id.
///
/// The other process is a later one, or one of another container. The stored form is `<pid>`, or
/// `<pid>:<start>:<namespace>` where the rest is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// When the process started, and the namespace of its id; `None` where that was not read.
    pub birth: Option<Birth>,
}

/// The data that distinguishes two processes with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// When the process started, in the kernel's ticks since it booted.
    pub start: u64,
    /// The inode of the pid namespace.
    pub namespace: u64,
}

impl Process {
    /// Returns the process with this id, of which nothing else is known.
    #[must_use]
    pub fn numbered(pid: u32) -> Self {
        Self { pid, birth: None }
    }

    /// Returns whether both may be one process of the same machine.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        let births = self.birth.zip(other.birth);
        self.pid == other.pid && births.is_none_or(|(own, others)| own == others)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.birth {
            None => write!(f, "{}", self.pid),
            Some(Birth { start, namespace }) => write!(f, "{}:{start}:{namespace}", self.pid),
        }
    }
}

/// The error for a text that is no process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a process as pid or pid:start:namespace")]
pub struct NoProcess;

impl FromStr for Process {
    type Err = NoProcess;

    fn from_str(text: &str) -> Result<Self, NoProcess> {
        let mut parts = text.split(':');
        let pid = parts.next().and_then(|pid| pid.parse().ok()).ok_or(NoProcess)?;
        let mut number = || parts.next().map(|part| part.parse::<u64>().map_err(|_| NoProcess)).transpose();
        let birth = number()?.zip(number()?).map(|(start, namespace)| Birth { start, namespace });
        Ok(Self { pid, birth })
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.birth {
            None => serializer.serialize_u32(self.pid),
            Some(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored {
            Number(u32),
            Text(String),
        }
        match Stored::deserialize(deserializer)? {
            Stored::Number(pid) => Ok(Self::numbered(pid)),
            Stored::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_by_its_text() {
        let known = Process { pid: 7, birth: Some(Birth { start: 12, namespace: 4_026_531_836 }) };
        for (process, text, json) in
            [(Process::numbered(7), "7", "7"), (known, "7:12:4026531836", "\"7:12:4026531836\"")]
        {
            assert_eq!((process.to_string().as_str(), text.parse()), (text, Ok(process)));
            assert_eq!(serde_json::to_string(&process).unwrap(), json);
            assert_eq!(serde_json::from_str::<Process>(json).unwrap(), process);
        }
        for text in ["", "x", "7:x:1", "-1"] {
            assert_eq!(text.parse::<Process>(), Err(NoProcess), "{text:?}");
        }
        let other = Process { birth: Some(Birth { start: 13, namespace: 4_026_531_836 }), ..known };
        assert!(known.may_be(&Process::numbered(7)) && Process::numbered(7).may_be(&known) && known.may_be(&known));
        assert!(!known.may_be(&other) && !known.may_be(&Process::numbered(8)));
    }
}
