//! The states a session can be in, and what brings it back.

use crate::policy::limits::Ms;

/// What a session does now. In this order they are shown: what wants a person first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It stands at a permission dialog.
    NeedsYou,
    /// The agent waits for somebody.
    Blocked,
    /// It was refused, and no engine waits for it.
    Stopped,
    /// Its last hook call came to no verdict.
    Undecided,
    /// Its waiting engine is gone, and nothing wakes it any more.
    WaiterLost,
    /// Its waiting engine reached the end of its wait, and nothing wakes it any more.
    Expired,
    /// Its scope or the fleet is held (isolated, forced open).
    Hold,
    /// A cooldown is open.
    Cooldown,
    /// A cooldown after an API error is open.
    ApiCooldown,
    /// It was freed with others, and waits for its release slot.
    Spread,
    /// A quota is used up.
    Quota,
    /// The guard (minimum interval) is closed.
    Guard,
    /// The agent rests until a time.
    Resting,
    /// The agent waits for a topic.
    WaitFor,
    /// The client wakes it by itself.
    Parked,
    /// The agent said it is done.
    Done,
    /// The client stopped it in the background, and a person can open it again.
    Asleep,
    /// It was admitted last, or prompted since, and no event of it came for so long that its turn may have been broken off.
    NoEvent,
    /// Its turn runs: it was admitted last, or prompted since.
    Running,
    /// It began and has not been prompted yet.
    Idle,
    /// The server knows, and is away.
    Unknown,
    /// The client ended it.
    Ended,
}

impl Kind {
    /// Every kind, in their order.
    pub const ALL: [Self; 22] = [
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
        Self::Guard,
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

    /// The code, as `frosty status --json` has it.
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
            Self::Guard => "guard",
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

    /// As people read it.
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

/// What brings a session back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// Nothing has to: it runs, or it is over.
    Nothing,
    /// Its engine: by the limits here its time has just come.
    Now,
    /// Its engine, at a time that is not known here: by the limits here its time came long ago.
    Later,
    /// Its engine, once its call can be decided.
    Mended,
    /// Its engine, at this time.
    At(Ms),
    /// Its engine, once a hold without an end is released.
    Release,
    /// A wake-up or a prompt.
    Wake,
    /// A prompt.
    Prompt,
    /// Whoever answers its dialog.
    Answer,
    /// The client, by a task or timer of its own.
    Client,
}

impl Back {
    /// The code, as `frosty status --json` has it.
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
        // The state stands in a column of the table.
        assert!(Kind::ALL.iter().all(|kind| kind.words().len() <= 12));
    }
}
