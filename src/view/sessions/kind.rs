//! The states of a session, and what resumes it.

use crate::policy::limits::Ms;

/// The state of a session. Sessions are shown in this order: first those that need a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A permission dialog is open.
    NeedsYou,
    /// The agent waits for a person.
    Blocked,
    /// The session was refused, and no engine waits for it.
    Stopped,
    /// Its last hook call came to no verdict.
    Undecided,
    /// Its waiting engine has ended, and no process wakes the session any more.
    WaiterLost,
    /// Its waiting engine reached the end of its wait, and no process wakes the session any more.
    Expired,
    /// Its scope or the fleet is held (isolated, forced open).
    Hold,
    /// A cooldown is open.
    Cooldown,
    /// A cooldown after an API error is open.
    ApiCooldown,
    /// It was released with others, and waits for its release slot.
    Spread,
    /// A quota is used up.
    Quota,
    /// It waits for a slot of the pace.
    Pace,
    /// The fleet has used its share of a usage window.
    Limit,
    /// The minimum interval is not over.
    Guard,
    /// A person typed a moment ago.
    Quiet,
    /// The agent rests until a time.
    Resting,
    /// The agent waits for a topic.
    WaitFor,
    /// The client wakes it by itself.
    Parked,
    /// The agent reported that it is done.
    Done,
    /// The client stopped the background session, and a person can open it again.
    Asleep,
    /// It was admitted last, or prompted since, and its last event is so old that its turn may have been interrupted.
    NoEvent,
    /// Its turn runs: it was admitted last, or prompted since.
    Running,
    /// It began, and has not been prompted yet.
    Idle,
    /// Only the server knows the state, and the server is unreachable.
    Unknown,
    /// The client ended the session, or the run of its gate is over.
    Ended,
}

impl Kind {
    /// Every state, in its order.
    pub const ALL: [Self; 25] = [
        Self::NeedsYou,
        Self::Blocked,
        Self::Stopped,
        Self::Undecided,
        Self::WaiterLost,
        Self::Expired,
        Self::Hold,
        Self::Cooldown,
        Self::ApiCooldown,
        Self::Spread,
        Self::Quota,
        Self::Pace,
        Self::Limit,
        Self::Guard,
        Self::Quiet,
        Self::Resting,
        Self::WaitFor,
        Self::Parked,
        Self::Done,
        Self::Asleep,
        Self::NoEvent,
        Self::Running,
        Self::Idle,
        Self::Unknown,
        Self::Ended,
    ];

    /// Returns the code that `frosty status --json` has.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NeedsYou => "needs_you",
            Self::WaiterLost => "waiter_lost",
            Self::Expired => "expired",
            Self::Undecided => "undecided",
            Self::Hold => "hold",
            Self::Cooldown => "cooldown",
            Self::ApiCooldown => "api_cooldown",
            Self::Spread => "spread",
            Self::Quota => "quota",
            Self::Pace => "pace",
            Self::Limit => "limit",
            Self::Guard => "guard",
            Self::Quiet => "quiet",
            Self::Resting => "resting",
            Self::WaitFor => "wait_for",
            Self::Blocked => "blocked",
            Self::Parked => "parked",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Asleep => "asleep",
            Self::NoEvent => "no_event",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Unknown => "unknown",
            Self::Ended => "ended",
        }
    }

    /// Returns the words for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NeedsYou => "needs you",
            Self::WaiterLost => "waiter lost",
            Self::ApiCooldown => "api cooldown",
            Self::NoEvent => "no event",
            other => other.code(),
        }
    }
}

/// What resumes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// Nothing is needed: the session runs, or it has ended.
    Nothing,
    /// Its engine resumes it: by the limits here its time has just come.
    Now,
    /// Its engine resumes it at a time that is not known here: by the limits here the time has passed long ago.
    Later,
    /// Its engine resumes it once its call can be decided.
    Mended,
    /// Its engine resumes it at this time.
    At(Ms),
    /// Its engine resumes it once a hold without an end is released.
    Release,
    /// A wake-up or a prompt resumes it.
    Wake,
    /// A prompt resumes it.
    Prompt,
    /// An answer to its dialog resumes it.
    Answer,
    /// The client resumes it by a task or timer of its own.
    Client,
    /// The next `frosty gate` of its scope runs its command.
    Gate,
}

impl Back {
    /// Returns the code that `frosty status --json` has.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Now | Self::At(_) | Self::Later => Some("time"),
            Self::Mended => Some("mend"),
            Self::Release => Some("release"),
            Self::Wake => Some("wake"),
            Self::Prompt => Some("prompt"),
            Self::Answer => Some("answer"),
            Self::Client => Some("client"),
            Self::Gate => Some("gate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_own_code() {
        let codes: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert!(Kind::ALL.is_sorted());
        // The state must fit into its column of the table.
        assert!(Kind::ALL.iter().all(|kind| kind.words().len() <= 12));
    }
}
