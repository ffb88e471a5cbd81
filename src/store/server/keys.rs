//! The names of the server's keys, built in one place. All of a fleet's keys have its hash tag, so that one script may
//! name them.

use crate::policy::work::entry::List;

/// The channel on which a server's listeners are notified of holds.
pub const CHANNEL: &str = "frosty.hold";

/// The keys of one fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a>(&'a str);

impl<'a> Keys<'a> {
    /// Returns the keys of this fleet (its encoded name).
    pub(crate) fn of(fleet: &'a str) -> Self {
        Self(fleet)
    }

    fn key(self, parts: [&str; 3]) -> String {
        let [kind, name, tail] = parts;
        ["frosty:{", self.0, "}:", kind, name, tail].concat()
    }

    /// Returns the key of a session's document (a JSON string).
    pub(crate) fn session(self, session: &str) -> String {
        self.key(["doc:session:", session, ""])
    }

    /// Returns the key of a scope's document (a JSON string).
    pub(crate) fn scope(self, scope: &str) -> String {
        self.key(["doc:scope:", scope, ""])
    }

    /// Returns the key of the fleet's document (a JSON string).
    pub(crate) fn fleet(self) -> String {
        self.key(["doc:fleet", "", ""])
    }

    /// Returns the key of a scope's admissions (a sorted set by time).
    pub(crate) fn admissions(self, scope: &str) -> String {
        self.key(["admissions:scope:", scope, ""])
    }

    /// Returns the key of the attempts that a scope's burst window counts (a sorted set by time).
    pub(crate) fn attempts(self, scope: &str) -> String {
        self.key(["attempts:scope:", scope, ""])
    }

    /// Returns the key of the admissions that the fleet's quotas count (a sorted set by time).
    pub(crate) fn fleet_admissions(self) -> String {
        self.key(["admissions:fleet", "", ""])
    }

    /// Returns the keys of the wait queue of a scope's quotas.
    ///
    /// They are two sorted sets of sessions, by the start of the wait and by the time of the next request.
    pub(crate) fn scope_queue(self, scope: &str) -> [String; 2] {
        [self.key(["queue:since:scope:", scope, ""]), self.key(["queue:next:scope:", scope, ""])]
    }

    /// Returns the keys of the wait queue of the fleet's quotas.
    pub(crate) fn fleet_queue(self) -> [String; 2] {
        [self.key(["queue:since:fleet", "", ""]), self.key(["queue:next:fleet", "", ""])]
    }

    /// Returns the key of the usage windows (a JSON string).
    pub(crate) fn windows(self) -> String {
        self.key(["windows", "", ""])
    }

    /// Returns the key of the turns that are in flight (a sorted set of sessions by the time of the admission).
    pub(crate) fn in_flight(self) -> String {
        self.key(["inflight", "", ""])
    }

    /// Returns the key of the text of an agent's rest (a string).
    pub(crate) fn sleeping(self, agent: &str) -> String {
        self.key(["sleeping:", agent, ""])
    }

    /// Returns the key of the document of an agent's work queue.
    pub(crate) fn work(self, agent: &str) -> String {
        self.key(["doc:work:", agent, ""])
    }

    /// Returns the key of a list of an agent's work queue (a sorted set of entries).
    pub(crate) fn work_list(self, agent: &str, list: List) -> String {
        self.key(["work:", list.code(), ":"]) + agent
    }

    /// Returns the key of what is known by the id of an entry of work (a JSON string).
    pub(crate) fn work_record(self, id: &str) -> String {
        self.key(["work:id:", id, ""])
    }

    /// Returns the channel of an agent's work queue.
    pub(crate) fn work_channel(self, agent: &str) -> String {
        self.channel(["work:", agent])
    }

    fn channel(self, parts: [&str; 2]) -> String {
        let [kind, name] = parts;
        ["frosty.wake.{", self.0, "}:", kind, name].concat()
    }

    /// Returns the name of the channel for the events that a session's waiting engine needs.
    pub(crate) fn session_channel(self, session: &str) -> String {
        self.channel(["session:", session])
    }

    /// Returns the channel of a scope's holds and releases.
    pub(crate) fn scope_channel(self, scope: &str) -> String {
        self.channel(["scope:", scope])
    }

    /// Returns the channel of the fleet's holds and releases.
    pub(crate) fn fleet_channel(self) -> String {
        self.channel(["fleet", ""])
    }

    /// Returns the key of the index of a `kind` (`session`, `scope`), a sorted set by when each was last seen.
    pub(crate) fn index(self, kind: &str) -> String {
        self.key([kind, "s", ""])
    }

    /// Returns the key of the position up to which a machine's journal has arrived.
    pub(crate) fn shipped(self, journal: &str) -> String {
        self.key(["shipped:", journal, ""])
    }

    /// Returns the key of the fleet's hash in the format before documents.
    pub(crate) fn before_documents(self) -> String {
        self.key(["fleet", "", ""])
    }

    /// Returns a key that is never created, on which a user's rights are tried.
    pub(crate) fn never_made(self) -> String {
        self.key(["doctor", "", ""])
    }
}

/// Returns the key that keeps an unreadable document for a person to look at.
pub(crate) fn unreadable(document: &str) -> String {
    [document, ":unreadable"].concat()
}
