//! The names of the server's keys, built in one place. All of a fleet's keys have its hash tag, so that one script may name them.

/// The channel that a server's listeners hear of holds on.
pub const CHANNEL: &str = "frosty.hold";

/// The keys of one fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a>(&'a str);

impl<'a> Keys<'a> {
    /// The keys of this fleet (its encoded name).
    pub(crate) fn of(fleet: &'a str) -> Self {
        Self(fleet)
    }

    fn key(self, parts: [&str; 3]) -> String {
        let [kind, name, tail] = parts;
        ["frosty:{", self.0, "}:", kind, name, tail].concat()
    }

    /// The document of a session: a JSON string.
    pub(crate) fn session(self, session: &str) -> String {
        self.key(["doc:session:", session, ""])
    }

    /// The document of a scope: a JSON string.
    pub(crate) fn scope(self, scope: &str) -> String {
        self.key(["doc:scope:", scope, ""])
    }

    /// The document of the fleet: a JSON string.
    pub(crate) fn fleet(self) -> String {
        self.key(["doc:fleet", "", ""])
    }

    /// The continuations that a scope was admitted: a sorted set by time.
    pub(crate) fn admissions(self, scope: &str) -> String {
        self.key(["admissions:scope:", scope, ""])
    }

    /// The attempts that a scope's burst window counts: a sorted set by time.
    pub(crate) fn attempts(self, scope: &str) -> String {
        self.key(["attempts:scope:", scope, ""])
    }

    /// The continuations that the fleet's quotas count: a sorted set by time.
    pub(crate) fn fleet_admissions(self) -> String {
        self.key(["admissions:fleet", "", ""])
    }

    /// The wait queue of a scope's quotas: two sorted sets of sessions, by since when each waits and by when it is due.
    pub(crate) fn scope_queue(self, scope: &str) -> [String; 2] {
        [self.key(["queue:since:scope:", scope, ""]), self.key(["queue:next:scope:", scope, ""])]
    }

    /// The wait queue of the fleet's quotas.
    pub(crate) fn fleet_queue(self) -> [String; 2] {
        [self.key(["queue:since:fleet", "", ""]), self.key(["queue:next:fleet", "", ""])]
    }

    fn channel(self, parts: [&str; 2]) -> String {
        let [kind, name] = parts;
        ["frosty.wake.{", self.0, "}:", kind, name].concat()
    }

    /// The channel of what a session's waiting engine must learn of.
    pub(crate) fn session_channel(self, session: &str) -> String {
        self.channel(["session:", session])
    }

    /// The channel of a scope's holds and releases.
    pub(crate) fn scope_channel(self, scope: &str) -> String {
        self.channel(["scope:", scope])
    }

    /// The channel of the fleet's holds and releases.
    pub(crate) fn fleet_channel(self) -> String {
        self.channel(["fleet", ""])
    }

    /// The index of the sessions or scopes (`session`, `scope`): a sorted set by when each was last seen.
    pub(crate) fn index(self, kind: &str) -> String {
        self.key([kind, "s", ""])
    }

    /// How much of a machine's journal has arrived.
    pub(crate) fn shipped(self, journal: &str) -> String {
        self.key(["shipped:", journal, ""])
    }

    /// A key that is never made: what a user may do is tried on it.
    pub(crate) fn never_made(self) -> String {
        self.key(["doctor", "", ""])
    }
}

/// Where an unreadable document is kept for a person to look at.
pub(crate) fn unreadable(document: &str) -> String {
    [document, ":unreadable"].concat()
}
