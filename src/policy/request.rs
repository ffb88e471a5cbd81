//! The question: one event of one session, and what it asks of the policy.

use std::time::Duration;

use crate::policy::documents::RestKind;
use crate::policy::limits::Class;
use crate::policy::limits::Ms;
use crate::policy::process::Process;

/// The highest number a caller draws for jitter, exclusive: `r` counts millionths.
pub const R_RANGE: u32 = 1_000_000;

/// What happened, in the policy's terms (the client's name for it is [`Step::event_name`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent stops and asks to go on: begins a new fence.
    Stop {
        /// The rest that the agent or its tasks ask for, booked before the ask is decided.
        rest: Option<RestRequest>,
    },
    /// A waiter of an earlier stop asks again, with the fence that stop began.
    Ask {
        /// The fence the waiter holds.
        fence: i64,
        /// The waiter's time is nearly over and it asks for another: a rest does not stand in the way, and goes on.
        renew: bool,
    },
    /// The session goes on after its client left it in the middle of its work: begins a new fence and asks. It is no stop, so
    /// it shows nothing of the API.
    Resume {
        /// The fence of the session as it was left; a newer one has taken over.
        fence: Option<i64>,
        /// The rest to book before the ask is decided.
        rest: Option<RestRequest>,
    },
    /// The turn ended on an API error: begins a new fence and books the failure. Not an ask.
    StopFailure(Failure),
    /// The client is about to compact by itself: asks for a compaction.
    PreCompactAuto,
    /// A person typed a prompt: raises the fence and ends the rest.
    PersonPrompt,
    /// The client woke the session by itself: raises the fence and ends only a rest of kind `parked`.
    ClientPrompt {
        /// The prompt is the feedback of a Stop hook: the turn of an admission begins now, however late the client delivered
        /// it, and the minimum interval starts again.
        of_admission: bool,
    },
    /// A session began or was resumed: registers its name and label.
    SessionStart {
        /// The window label; empty for none.
        label: String,
    },
    /// The session is over: raises the fence and ends the rest.
    SessionEnd,
    /// The client's supervisor stopped a background session: the session's end, from which a person can open it again.
    Sleep,
    /// The session stands at a permission dialog.
    NeedsYou,
    /// Somebody wakes the session: ends its rest, now or when it next asks. Not an event of the client.
    Wake {
        /// What the agent is told in its next prompt; empty for nothing.
        note: String,
        /// It is one of many that are woken together, and waits for its release slot.
        spread: bool,
    },
    /// Somebody holds the scope, or its whole fleet. Concerns no session.
    Hold(HoldRequest),
    /// Somebody lifts the hold of the scope, or of its whole fleet. Concerns no session.
    Release {
        /// The fleet's, and not the scope's.
        fleet: bool,
        /// Without release slots.
        at_once: bool,
    },
    /// The session's waiting engine reached the end of its wait.
    Expired {
        /// The fence the waiter holds.
        fence: i64,
    },
    /// Anything else: journaled only.
    Other,
}

impl Event {
    /// The class that the event asks for, if it asks.
    #[must_use]
    pub fn asks(&self) -> Option<Class> {
        match self {
            Self::Stop { .. } | Self::Resume { .. } | Self::Ask { .. } => Some(Class::Stop),
            Self::PreCompactAuto => Some(Class::Compact),
            _ => None,
        }
    }

    /// Whether the event begins a new fence that an engine may wait with.
    #[must_use]
    pub fn begins(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::Resume { .. } | Self::StopFailure(_))
    }

    /// Whether the client process leaves the session.
    #[must_use]
    pub fn ends(&self) -> bool {
        matches!(self, Self::SessionEnd | Self::Sleep)
    }

    /// Whether the event begins or raises the session's fence.
    #[must_use]
    pub fn raises_fence(&self) -> bool {
        self.begins() || self.ends() || matches!(self, Self::PersonPrompt | Self::ClientPrompt { .. })
    }

    /// What the event does to a session of another client process of which this machine cannot see whether it still runs: a
    /// turn that runs here goes on here, and a window that opens or closes changes nothing.
    #[must_use]
    pub fn settles_unseen(&self) -> Claim {
        if self.raises_fence() && !self.ends() { Claim::Take } else { Claim::Beside }
    }

    /// Whether the event reads or writes its scope's state.
    #[must_use]
    pub fn touches_scope(&self) -> bool {
        let own =
            matches!(self, Self::StopFailure(_) | Self::ClientPrompt { of_admission: true }) || self.is_of_holds();
        self.asks().is_some() || (own && !self.is_fleets())
    }

    /// Whether a hold is opened or lifted: that concerns no session.
    #[must_use]
    pub fn is_of_holds(&self) -> bool {
        matches!(self, Self::Hold(_) | Self::Release { .. })
    }

    /// Whether a person's command sent it: a hold, a release or a wake-up.
    #[must_use]
    pub fn is_persons(&self) -> bool {
        self.is_of_holds() || matches!(self, Self::Wake { .. })
    }

    /// Whether it is the whole fleet that is held or released; then no scope is concerned.
    #[must_use]
    pub fn is_fleets(&self) -> bool {
        matches!(self, Self::Hold(HoldRequest { fleet: true, .. }) | Self::Release { fleet: true, .. })
    }

    /// Whether the event reads or writes the fleet's state.
    #[must_use]
    pub fn touches_fleet(&self) -> bool {
        let of_key = matches!(self, Self::StopFailure(failure) if failure.of_key);
        of_key || self.is_fleets() || self.asks() == Some(Class::Stop)
    }

    /// Whether the client itself sent the event: then the session was seen.
    #[must_use]
    pub fn is_clients(&self) -> bool {
        !matches!(self, Self::Wake { .. } | Self::Expired { .. }) && !self.is_of_holds()
    }
}

/// A hold to open. It replaces the one that stands, unless that one lasts longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoldRequest {
    /// Of the whole fleet, and not of the scope.
    pub fleet: bool,
    /// Who holds.
    pub by: String,
    /// Why.
    pub reason: String,
    /// How long, if a time ends it.
    pub lasting: Option<Duration>,
    /// Whether its end needs no release slots.
    pub at_once: bool,
    /// Whether it replaces a hold that lasts longer, too.
    pub replace: bool,
}

/// A rest to book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestRequest {
    /// Its kind.
    pub kind: RestKind,
    /// How long, if a time ends it.
    pub lasting: Option<Duration>,
    /// What it waits for; empty for nothing.
    pub topic: String,
}

/// What an API error does to its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// It may pass by itself: the API cooldown grows.
    Passing,
    /// The request itself was refused: as `Passing` three times in a row, then a hold.
    Request,
    /// Only a person can mend it: a hold.
    Person,
}

impl FailureClass {
    /// The code that the script knows it by.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Request => "request",
            Self::Person => "person",
        }
    }
}

/// When an API error says that it will be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// At this time.
    At(Ms),
    /// After this long.
    After(Duration),
}

/// An API error that ended a turn (`StopFailure`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it does.
    pub class: FailureClass,
    /// When the API says it will be over.
    pub reset: Option<Reset>,
    /// Whether that is a fact of the key, and so of the whole fleet.
    pub of_key: bool,
    /// The prompt no longer fits: the compact cooldown is ended.
    pub too_long: bool,
    /// The reason of a hold that it opens, which names the cure.
    pub cure: String,
}

/// What an event does to a session that belongs to another client process than the one that sent it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Claim {
    /// It is recorded, and the session stays as it is.
    #[default]
    Beside,
    /// Nothing is decided before the caller has found out whether that process still runs.
    Yield,
    /// It takes the session over.
    Take,
}

impl Claim {
    /// The code that the script knows it by.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Yield => "yield",
            Self::Take => "take",
        }
    }
}

/// One question to the store.
#[derive(Debug, Clone)]
pub struct Step {
    /// What happened.
    pub event: Event,
    /// The client's name of the event, for the journal.
    pub event_name: String,
    /// What more the journal should say of it; empty for nothing.
    pub detail: String,
    /// The asking scope, encoded; empty where the whole fleet is meant.
    pub scope: String,
    /// The session, encoded.
    pub session: String,
    /// The session's configured name; empty for none.
    pub name: String,
    /// Whether a project's file chose that name, and not the user.
    pub named_by_project: bool,
    /// The project folder; empty where it is not known.
    pub project: String,
    /// Whether the caller waits out a refusal.
    pub paced: bool,
    /// Whether the answer is only looked at: nobody goes on by it, and the journal says so.
    pub shadow: bool,
    /// The process that waits for the session after this stop, if one does.
    pub pid: Option<Process>,
    /// The client process that sent the event; `None` where it is unknown.
    pub client: Option<Process>,
    /// What the event does to a session that belongs to another client process.
    pub claim: Claim,
    /// For a `Stop` or `StopFailure` told again after no answer came: how long ago it was told first. A fence raised since
    /// then is newer. (One that the store did hear is known by its [`Step::id`], and nothing of it is done twice.)
    pub late: Option<Duration>,
    /// The asking machine's name.
    pub host: String,
    /// The asking machine's clock.
    pub host_ms: Ms,
    /// Chance for jitter, `0..R_RANGE`.
    pub r: u32,
    /// A random id, distinct from step to step, and the same when a step is told again.
    pub id: String,
    /// The `born` that the asker knows the store by; empty when it does not know the store yet.
    pub known_born: String,
}
