//! The input of a step: one event of one session, with its admission request if it makes one.

use std::time::Duration;

use crate::policy::limits::{Class, Ms};
use crate::policy::process::Process;
use crate::policy::rest::RestKind;
use crate::policy::turn::Turn;
use crate::policy::work::Start;

/// The limit of the number that a caller draws for jitter, exclusive: `r` counts millionths.
pub const R_RANGE: u32 = 1_000_000;

/// The events in the policy's terms (the client's name of an event is [`Step::event_name`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent stops and requests a continuation: begins a new fence.
    Stop {
        /// The rest that the agent or its tasks request, booked before the request is decided.
        rest: Option<RestRequest>,
    },
    /// The engine that waits since an earlier Stop event sends its request again, with the fence of that event.
    Ask {
        /// The fence of the waiting engine.
        fence: i64,
        /// Whether the engine's time is nearly over and it requests another turn of waiting: a rest does not refuse it,
        /// and goes on.
        renew: bool,
    },
    /// The session continues after its client left it in the middle of its work: begins a new fence and makes a
    /// request.
    ///
    /// It is no Stop event, so it gives no information about the API.
    Resume {
        /// The fence of the session as it was left; a newer fence has taken over.
        fence: Option<i64>,
        /// The rest to book before the request is decided.
        rest: Option<RestRequest>,
    },
    /// The turn ended on an API error: begins a new fence and books the failure, without an admission request.
    StopFailure(Failure),
    /// The client is about to compact by itself: requests a compaction.
    PreCompactAuto,
    /// A person typed a prompt: raises the fence and ends the rest.
    PersonPrompt,
    /// The first prompt of a client that a dispatcher started, by its start token; a person's prompt where no dispatcher
    /// committed that token, or it was used before.
    StartPrompt {
        /// The start token.
        token: String,
    },
    /// The client woke the session by itself: raises the fence and ends only a rest of kind `parked`.
    ClientPrompt {
        /// Whether the prompt is the feedback of a Stop hook.
        ///
        /// The turn of an admission then begins now, however late the client delivered it, and the minimum interval
        /// starts again.
        of_admission: bool,
    },
    /// A session began or was resumed: registers its name and label.
    SessionStart {
        /// The window label; empty for none.
        label: String,
    },
    /// The session is over: raises the fence and ends the rest.
    SessionEnd,
    /// The client's supervisor stopped a background session: the session ends, and a person can open it again.
    Sleep,
    /// The session opened a permission dialog.
    NeedsYou,
    /// A wake-up for the session: ends its rest, now or at its next request. It is not an event of the client.
    Wake {
        /// The note for the agent's next prompt; empty for none.
        note: String,
        /// Whether many sessions are woken together, so that this one waits for its release slot.
        spread: bool,
        /// The signal, which the session's list `wake_on` may exclude; a wake-up without one always wakes.
        signal: Option<String>,
        /// How many sessions one after the other caused it: 0 for a person's.
        depth: u32,
    },
    /// A command forgets the session's notes. It is not an event of the client.
    ForgetNotes,
    /// A command holds the scope, or its whole fleet. It concerns no session.
    Hold(HoldRequest),
    /// A command lifts the hold of the scope, or of its whole fleet. It concerns no session.
    Release {
        /// Whether the fleet's hold is lifted, and not the scope's.
        fleet: bool,
        /// Whether the sessions continue without release slots.
        at_once: bool,
    },
    /// A command lifts the limits of the fleet's key. It concerns no session.
    LiftLimits,
    /// The session's waiting engine reached the end of its wait.
    Expired {
        /// The fence of the waiting engine.
        fence: i64,
    },
    /// A step of a run of `frosty gate`. It makes no request, because the next gate requests the next run.
    Run {
        /// The fence of the gate; a newer fence has taken over.
        fence: i64,
        /// What happened in the run.
        part: RunPart,
    },
    /// Any other event, which is only journaled.
    Other,
}

/// What happened in a run of `frosty gate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunPart {
    /// An agent of the run received its prompt: the minimum interval starts again.
    Prompt,
    /// A turn ended well: books the agent's rest, and what a Stop event tells of the API.
    Turn {
        /// The rest that the agent requests.
        rest: Option<RestRequest>,
    },
    /// A turn ended on an API error.
    Failure(Failure),
    /// The command still runs.
    Alive,
    /// The gate is over. Another gate of the scope may begin.
    End(RunOutcome),
}

/// How a gate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// The command did not run, or a person ended it.
    None,
    /// The command exited with 0, which ends its backoff.
    Succeeded,
    /// The command failed: the backoff of the scope's gate grows.
    Failed,
}

impl Event {
    /// Returns the class of the event's admission request, if it makes one.
    #[must_use]
    pub fn asks(&self) -> Option<Class> {
        match self {
            Self::Stop { .. } | Self::Resume { .. } | Self::Ask { .. } => Some(Class::Stop),
            Self::PreCompactAuto => Some(Class::Compact),
            _ => None,
        }
    }

    /// Returns whether the event begins a new fence, with which an engine may wait.
    #[must_use]
    pub fn begins(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::Resume { .. } | Self::StopFailure(_))
    }

    /// Returns whether the client process leaves the session.
    #[must_use]
    pub fn ends(&self) -> bool {
        matches!(self, Self::SessionEnd | Self::Sleep)
    }

    /// Returns whether the event begins or raises the session's fence.
    #[must_use]
    pub fn raises_fence(&self) -> bool {
        let is_prompt = matches!(self, Self::PersonPrompt | Self::StartPrompt { .. } | Self::ClientPrompt { .. });
        self.begins() || self.ends() || is_prompt
    }

    /// Returns the event's claim on a session of another client process that this machine cannot see.
    ///
    /// A turn that runs here continues here, and a window that opens or closes changes nothing.
    #[must_use]
    pub fn settles_unseen(&self) -> Claim {
        if self.raises_fence() && !self.ends() { Claim::Take } else { Claim::Beside }
    }

    /// Returns whether the event reads or writes its scope's state.
    #[must_use]
    pub fn touches_scope(&self) -> bool {
        let of_run =
            matches!(self, Self::Run { part: RunPart::Prompt | RunPart::Turn { .. } | RunPart::Failure(_), .. });
        let own = matches!(self, Self::StopFailure(_)) || self.begins_turn() || of_run || self.is_of_holds();
        self.asks().is_some() || (own && !self.is_fleets())
    }

    /// Returns whether the event opens or lifts a hold or a limit, which concerns no session.
    #[must_use]
    pub fn is_of_holds(&self) -> bool {
        matches!(self, Self::Hold(_) | Self::Release { .. } | Self::LiftLimits)
    }

    /// Returns whether a person's command sent the event: a hold, a release, a wake-up, or the end of notes.
    #[must_use]
    pub fn is_persons(&self) -> bool {
        self.is_of_holds() || matches!(self, Self::Wake { .. } | Self::ForgetNotes)
    }

    /// Returns whether the event concerns the whole fleet, and no scope.
    #[must_use]
    pub fn is_fleets(&self) -> bool {
        let of_fleet = matches!(self, Self::Hold(HoldRequest { fleet: true, .. }) | Self::Release { fleet: true, .. });
        of_fleet || matches!(self, Self::LiftLimits)
    }

    /// Returns whether the turn of an admission begins with the event, so that the minimum interval starts again.
    #[must_use]
    pub fn begins_turn(&self) -> bool {
        let is_started = matches!(self, Self::StartPrompt { .. } | Self::ClientPrompt { of_admission: true });
        is_started || matches!(self, Self::Run { part: RunPart::Prompt, .. })
    }

    /// Returns the API error that the event reports, if it reports one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::StopFailure(failure) | Self::Run { part: RunPart::Failure(failure), .. } => Some(failure),
            _ => None,
        }
    }

    /// Returns whether the event reads or writes the fleet's state.
    #[must_use]
    pub fn touches_fleet(&self) -> bool {
        let of_key = self.failure().is_some_and(|failure| failure.of_key);
        let answers = matches!(self, Self::Run { part: RunPart::Turn { .. }, .. });
        of_key || answers || self.is_fleets() || self.asks() == Some(Class::Stop)
    }

    /// Returns whether no turn of the session is in flight after the event.
    #[must_use]
    pub fn ends_turn(&self) -> bool {
        let of_run = matches!(self, Self::Run { part, .. } if !matches!(part, RunPart::Prompt | RunPart::Alive));
        self.asks() == Some(Class::Stop) || matches!(self, Self::StopFailure(_)) || self.ends() || of_run
    }

    /// Returns whether the client itself sent the event, which shows that the session is alive.
    #[must_use]
    pub fn is_clients(&self) -> bool {
        !matches!(self, Self::Wake { .. } | Self::ForgetNotes | Self::Expired { .. }) && !self.is_of_holds()
    }
}

/// A hold to open. It replaces the hold in force, unless that one lasts longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoldRequest {
    /// Whether the hold is for the whole fleet, and not for the scope.
    pub fleet: bool,
    /// The name on the hold.
    pub by: String,
    /// The reason of the hold.
    pub reason: String,
    /// How long the hold lasts, if a time ends it.
    pub lasting: Option<Duration>,
    /// Whether the sessions continue without release slots at its end.
    pub at_once: bool,
    /// Whether it also replaces a hold that lasts longer.
    pub replace: bool,
}

/// A rest to book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestRequest {
    /// The kind of the rest.
    pub kind: RestKind,
    /// How long the rest lasts, if a time ends it.
    pub lasting: Option<Duration>,
    /// The topic that the session waits for; empty for none.
    pub topic: String,
}

/// The effect of an API error on its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The error may pass by itself: the API cooldown grows.
    Passing,
    /// The API refused the request itself: works as `Passing` three times in a row, then opens a hold.
    Request,
    /// Only a person can correct the error: opens a hold.
    Person,
}

impl FailureClass {
    /// Returns the stored code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Request => "request",
            Self::Person => "person",
        }
    }
}

/// The end of an API error, as the API gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// At this time.
    At(Ms),
    /// After this duration.
    After(Duration),
}

/// An API error that ended a turn (`StopFailure`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The effect of the error.
    pub class: FailureClass,
    /// The end of the error, where the API gives it.
    pub reset: Option<Reset>,
    /// Whether the end applies to the key, and so to the whole fleet.
    pub of_key: bool,
    /// The model that the limit names, in lower case; empty for all.
    pub model: String,
    /// Whether the prompt no longer fits: the compact cooldown is then ended.
    pub too_long: bool,
    /// The reason of a hold that the error opens, which contains the cure.
    pub cure: String,
}

/// The claim of an event on a session that belongs to another client process than its sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Claim {
    /// The event is recorded, and the session stays as it is.
    #[default]
    Beside,
    /// Nothing is decided before the caller has checked whether that process still runs.
    Yield,
    /// The event takes the session over.
    Take,
}

impl Claim {
    /// Returns the stored code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Yield => "yield",
            Self::Take => "take",
        }
    }
}

/// One event and its context, as a store receives it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The event.
    pub event: Event,
    /// The client's name of the event, for the journal.
    pub event_name: String,
    /// Further detail for the journal; empty for none.
    pub detail: String,
    /// The scope of the event, encoded; empty where the whole fleet is meant.
    pub scope: String,
    /// The session, encoded.
    pub session: String,
    /// The session's configured name; empty for none.
    pub name: String,
    /// Whether a project's file chose that name, and not the user.
    pub named_by_project: bool,
    /// The agent whose work queue the session works through, encoded; empty for none.
    pub agent: String,
    /// The project folder; empty where it is not known.
    pub project: String,
    /// The signals that end the session's rest, as configured; `None` for all.
    pub wake_on: Option<Vec<String>>,
    /// Whether the caller waits for the end of a refusal.
    pub paced: bool,
    /// Whether the answer is for display only: no session continues by it, and the journal marks it.
    pub shadow: bool,
    /// The process that waits for the session after this Stop event, if there is one.
    pub pid: Option<Process>,
    /// The client process that sent the event; `None` where it is unknown.
    pub client: Option<Process>,
    /// The claim of the event on a session that belongs to another client process.
    pub claim: Claim,
    /// How long ago a `Stop` or `StopFailure` was first sent, where it is sent again after no answer came.
    ///
    /// A fence raised since then is newer. The store recognises an event that it did receive by its [`Step::id`], and
    /// applies nothing of it twice.
    pub late: Option<Duration>,
    /// What the request of a dispatcher requires of the queue; `None` for every other step.
    pub start: Option<Box<Start>>,
    /// The turn that ended with a `Stop`, where the caller measured it.
    pub turn: Option<Box<Turn>>,
    /// The notes that the agent wrote in the turn that ended with a `Stop`, one line each.
    pub notes: Vec<String>,
    /// Whether the client's prompt cache is still warm for the session; `None` where nothing reported that.
    pub cache_is_warm: Option<bool>,
    /// Whether the answer repeats what the agent's context is about to lose, or has lost (a compaction, a resumed session).
    pub recalls: bool,
    /// The name of the machine that sends the event.
    pub host: String,
    /// The clock of that machine.
    pub host_ms: Ms,
    /// A random number for jitter, `0..R_RANGE`.
    pub r: u32,
    /// A random id, distinct from step to step, and the same when a step is retried.
    pub id: String,
    /// The store epoch that the requester knows; empty when it does not know the store yet.
    pub known_epoch: String,
}

impl Step {
    /// Returns how long ago the event happened, where the step was sent later than that.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.late.or_else(|| self.turn.as_ref().map(|turn| turn.spent))
    }

    /// Returns whether the event shows that the API answered a turn. The Stop event of a dispatcher is that of no turn.
    pub(crate) fn shows_answer(&self) -> bool {
        let ends_turn = matches!(self.event, Event::Stop { .. } | Event::Run { part: RunPart::Turn { .. }, .. });
        ends_turn && self.start.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the letters of the predicates that are true of an event.
    fn letters(event: &Event) -> String {
        let are = [
            ('a', event.asks() == Some(Class::Stop)),
            ('c', event.asks() == Some(Class::Compact)),
            ('b', event.begins()),
            ('e', event.ends()),
            ('r', event.raises_fence()),
            ('u', event.settles_unseen() == Claim::Take),
            ('s', event.touches_scope()),
            ('h', event.is_of_holds()),
            ('p', event.is_persons()),
            ('f', event.is_fleets()),
            ('t', event.begins_turn()),
            ('x', event.failure().is_some()),
            ('k', event.touches_fleet()),
            ('l', event.ends_turn()),
            ('m', event.is_clients()),
        ];
        are.into_iter().filter(|(_, is)| *is).map(|(letter, _)| letter).collect()
    }

    /// Asks for a continuation (`a`) or a compaction (`c`), begins (`b`) or ends (`e`) a session's turns, raises its fence
    /// (`r`), takes an unseen session (`u`), touches the scope (`s`), is of holds (`h`), of persons (`p`), of the fleet (`f`),
    /// begins a turn (`t`), fails (`x`), touches the fleet (`k`), lands a turn (`l`), is the client's (`m`).
    #[test]
    fn what_each_event_is() {
        let failure = |of_key| Failure {
            class: FailureClass::Passing,
            reset: None,
            of_key,
            model: String::new(),
            too_long: false,
            cure: String::new(),
        };
        let hold = |fleet| Event::Hold(HoldRequest { fleet, ..HoldRequest::default() });
        let release = |fleet| Event::Release { fleet, at_once: false };
        let run = |part| Event::Run { fence: 1, part };
        let wake = Event::Wake { note: String::new(), spread: false, signal: None, depth: 0 };
        for (event, expected) in [
            (Event::Stop { rest: None }, "abrusklm"),
            (Event::Ask { fence: 1, renew: false }, "asklm"),
            (Event::Resume { fence: None, rest: None }, "abrusklm"),
            (Event::StopFailure(failure(false)), "brusxlm"),
            (Event::StopFailure(failure(true)), "brusxklm"),
            (Event::PreCompactAuto, "csm"),
            (Event::PersonPrompt, "rum"),
            (Event::StartPrompt { token: String::new() }, "rustm"),
            (Event::ClientPrompt { of_admission: false }, "rum"),
            (Event::ClientPrompt { of_admission: true }, "rustm"),
            (Event::SessionStart { label: String::new() }, "m"),
            (Event::SessionEnd, "erlm"),
            (Event::Sleep, "erlm"),
            (Event::NeedsYou, "m"),
            (wake, "p"),
            (Event::ForgetNotes, "p"),
            (hold(false), "shp"),
            (hold(true), "hpfk"),
            (release(false), "shp"),
            (release(true), "hpfk"),
            (Event::LiftLimits, "hpfk"),
            (Event::Expired { fence: 1 }, ""),
            (run(RunPart::Prompt), "stm"),
            (run(RunPart::Turn { rest: None }), "sklm"),
            (run(RunPart::Failure(failure(false))), "sxlm"),
            (run(RunPart::Failure(failure(true))), "sxklm"),
            (run(RunPart::Alive), "m"),
            (run(RunPart::End(RunOutcome::None)), "lm"),
            (Event::Other, "m"),
        ] {
            assert_eq!(letters(&event), expected, "{event:?}");
        }
    }
}
