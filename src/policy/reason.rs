//! The reasons of the answers to requests: one table, one row per reason.
//!
//! A new reason is a row here and the rule in [`crate::policy::decision`] that gives it. The journal, `frosty status`,
//! `frosty explain` and the waiting engine take their handling of a reason from its row.

/// What ends the refusal for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing: the request was admitted.
    Admitted,
    /// A time.
    Time,
    /// A person's release, or the end of the hold.
    Release,
    /// A wake-up, a person's prompt, or the time that the agent named.
    WakeUp,
    /// The client, by a timer or a task of its own.
    Client,
    /// A newer event, which decides instead.
    Successor,
    /// The same process, which sends another request before it answers.
    SameProcess,
    /// A store that answers.
    Store,
    /// A person, with a corrected input for Frosty.
    Repair,
    /// Nothing: the event made no request.
    Event,
}

/// The data of one reason.
struct Row {
    /// The name in the journal, the store and on screens.
    code: &'static str,
    /// The journal's `status`, which programs that read older journals know.
    status: &'static str,
    /// The rule of docs/policy.md that gives the reason; empty where no rule does.
    rule: &'static str,
    /// What ends the refusal.
    end: End,
    /// The reason in a few words.
    words: &'static str,
    /// The reason in words for the agent, where the agent itself requested the rest.
    to_agent: &'static str,
}

macro_rules! reasons {
    ($($(#[$meaning:meta])* $name:ident: $code:literal, $status:literal, $rule:literal, $end:ident, $words:literal
        $(, $to_agent:literal)?;)*) => {
        /// The reason of an answer to a request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$meaning])* $name,)*
        }

        impl Reason {
            /// Every reason, in the table's order.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => {
                        const ROW: Row = Row {
                            code: $code,
                            status: $status,
                            rule: $rule,
                            end: End::$end,
                            words: $words,
                            to_agent: concat!($($to_agent)?),
                        };
                        &ROW
                    })*
                }
            }
        }
    };
}

reasons! {
    /// The request was admitted.
    Admitted: "admitted", "RESTARTING", "rule 9", Admitted, "admitted";
    /// The request was admitted as the first continuation after a cooldown (half-open).
    Probe: "probe", "RESTARTING", "rule 9, half-open", Admitted, "the first after a cooldown";
    /// The minimum interval has not passed: too soon after the last admission.
    MinInterval: "min_interval", "STANDING_DOWN", "rule 7, minimum interval", Time, "too soon after the last turn";
    /// This attempt filled the burst window and opened a cooldown.
    Burst: "burst", "COOLDOWN", "rule 6, burst window", Time, "too many attempts in a short time opened a cooldown";
    /// A cooldown is open.
    Cooldown: "cooldown", "COOLDOWN", "rule 2, cooldown", Time, "a cooldown is open";
    /// A cooldown after an API error is open.
    ApiError: "api_error", "COOLDOWN", "rule 3, API cooldown", Time, "the API failed, and its cooldown is open";
    /// The scope or its fleet is held.
    Hold: "hold", "HOLD", "rule 1, hold", Release, "held";
    /// The agent rests until a time.
    Rest: "rest", "RESTING", "rule 4, rest", WakeUp, "the agent rests", "you asked to be continued later";
    /// The agent reported that it is done.
    Done: "done", "RESTING", "rule 4, rest", WakeUp, "the agent reported it is done", "you reported that you are done";
    /// The agent waits for a person.
    Blocked: "blocked", "RESTING", "rule 4, rest", WakeUp, "the agent waits for a person", "you reported that you are blocked on ";
    /// The agent waits for a topic.
    WaitFor: "wait_for", "RESTING", "rule 4, rest", WakeUp, "the agent waits for a wake-up", "you reported that you wait for ";
    /// The client wakes the session by itself.
    Parked: "parked", "RESTING", "rule 4, rest", Client, "the client will wake the session itself", "work of yours ran in the background";
    /// The agent's last turns did nothing.
    Idle: "idle", "RESTING", "rule 4, rest", WakeUp, "the agent had nothing to do", "your last turns did nothing new";
    /// The command of the gate failed.
    Failed: "failed", "RESTING", "rule 4, rest", WakeUp, "the last run failed", "your last run failed";
    /// The session continues only with an entry of its agent's work queue, and none can be claimed.
    NoWork: "no_work", "RESTING", "rule 4, rest", WakeUp, "no work can be claimed", "there was no work for you";
    /// The agent's working hours are over.
    OffHours: "off_hours", "RESTING", "rule 4, rest", WakeUp, "the agent's working hours are over", "your working hours were over";
    /// A person's turn ended a moment ago.
    Quiet: "quiet", "STANDING_DOWN", "rule 4, quiet minute", Time, "a person typed a moment ago";
    /// The session was freed together with others, and its release slot has not come.
    Spread: "spread", "STANDING_DOWN", "rule 5, release slot", Time, "others were freed with it, and its release slot comes later";
    /// A quota is used up.
    Quota: "quota", "STANDING_DOWN", "rule 8, quota", Time, "a quota is used up";
    /// The pace of the fleet has no slot for the turn yet.
    Pace: "pace", "STANDING_DOWN", "rule 8, pace", Time, "the pace of the usage window has no slot yet";
    /// The fleet has used its share of a usage window.
    Limit: "limit", "STANDING_DOWN", "rule 8, usage window", Time, "the share of a usage window is used up or unknown";
    /// Other requests changed the state of the decision until the deadline; the request is to be sent again.
    Busy: "busy", "STANDING_DOWN", "", Time, "the store is busy";
    /// A newer Stop event, a prompt or the session's end took over.
    Superseded: "superseded", "STANDING_DOWN", "rule 0, fence", Successor, "a newer stop or prompt took over";
    /// The event made no request and was journaled.
    Event: "event", "RECORDED", "", Event, "event";
    /// The session's `wake_on` does not contain the wake-up's signal: the wake-up ends no rest, and its note is kept.
    NoteKept: "note_kept", "RECORDED", "", Event, "the signal ends no rest, and its note is kept";
    /// A waiting engine reached the end of its wait, so nothing wakes the session any more.
    WaiterExpired: "waiter_expired", "RECORDED", "", Event, "waiter expired";
    /// A waiting engine ended because its session was disarmed or Frosty's hooks were removed.
    Disarmed: "disarmed", "RECORDED", "", Event, "disarmed";
    /// The requester knows the store by another store epoch and sends its state first. Nothing was decided or
    /// journaled.
    Lost: "lost", "STANDING_DOWN", "", SameProcess, "lost";
    /// The session belongs to another client process of the requesting machine. Nothing was decided or journaled: the
    /// caller first checks whether that process still runs.
    Contested: "contested", "STANDING_DOWN", "", SameProcess, "contested";
    /// No store could decide.
    StoreDown: "store_down", "STANDING_DOWN", "", Store, "store down";
    /// The configuration cannot be read or is impossible.
    BadConfig: "bad_config", "RECORDED", "", Repair, "bad config";
    /// The hook's input is no valid payload.
    BadInput: "bad_input", "RECORDED", "", Repair, "bad input";
    /// The command line is wrong.
    BadUsage: "bad_usage", "RECORDED", "", Repair, "bad usage";
}

impl Reason {
    /// Returns the reason code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// Returns the reason with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.code() == code)
    }

    /// Returns the journal's `status` of a continuation's verdict, which programs that read older journals know.
    #[must_use]
    pub fn status(self) -> &'static str {
        self.row().status
    }

    /// Returns the number and name of the rule, as in docs/policy.md; empty where no rule decided.
    #[must_use]
    pub fn rule(self) -> &'static str {
        self.row().rule
    }

    /// Returns what ends the refusal.
    #[must_use]
    pub fn end(self) -> End {
        self.row().end
    }

    /// Returns the reason in a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        self.row().words
    }

    /// Returns the reason of a pause in words for the agent that requested it; `None` where the agent did not.
    ///
    /// The topic follows where the words end in a space.
    #[must_use]
    pub fn to_agent(self) -> Option<&'static str> {
        Some(self.row().to_agent).filter(|words| !words.is_empty())
    }

    /// Returns whether the request was admitted.
    #[must_use]
    pub fn is_admission(self) -> bool {
        self.end() == End::Admitted
    }

    /// Returns whether the session itself rests, which a wake-up ends.
    #[must_use]
    pub fn is_rest(self) -> bool {
        matches!(self.end(), End::WakeUp | End::Client)
    }

    /// Returns whether a waiting engine waits for the end of the refusal.
    #[must_use]
    pub fn is_waited_out(self) -> bool {
        matches!(self.end(), End::Time | End::Release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_row_says_what_it_is() {
        let codes: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len(), "each reason has a code of its own");
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
            assert!(!reason.words().is_empty());
            // A rule of docs/policy.md either admits, or can be waited out, woken or taken over.
            let is_decided = !matches!(reason.end(), End::SameProcess | End::Store | End::Repair | End::Event);
            assert_eq!(!reason.rule().is_empty(), is_decided && reason != Reason::Busy, "{}", reason.code());
            assert_eq!(reason.to_agent().is_some(), reason.is_rest(), "{}", reason.code());
            assert_eq!(reason.is_admission(), matches!(reason, Reason::Admitted | Reason::Probe), "{}", reason.code());
            assert!(!reason.is_waited_out() || !(reason.is_admission() || reason.is_rest()), "{}", reason.code());
        }
        assert!([Reason::Hold, Reason::MinInterval, Reason::Quota].iter().all(|reason| reason.is_waited_out()));
        assert_eq!(Reason::from_code("no such reason"), None);
    }
}
