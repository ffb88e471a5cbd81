//! Why a request was answered as it was: one table, one row per reason.
//!
//! A new reason is a row here and the rule in [`crate::policy::decision`] that gives it. What the journal, `frosty status`,
//! `frosty explain` and the waiting engine do with a reason follows from its row.

/// What ends that the reason stands against a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing stands against it: it was admitted.
    Admitted,
    /// A time.
    Time,
    /// A person's release, or the end of the hold.
    Release,
    /// A wake-up, a person's prompt, or the time that the agent named.
    WakeUp,
    /// The client, by a timer or a task of its own.
    Client,
    /// Whoever took over decides what comes.
    Successor,
    /// The same process, which asks once more before it answers.
    SameProcess,
    /// A store that answers.
    Store,
    /// A person who mends what was given to Frosty.
    Repair,
    /// Nothing was asked.
    Event,
}

/// What is known of a reason.
struct Row {
    /// The name in the journal, the store and on screens.
    code: &'static str,
    /// The journal's `status`, which programs that read older journals know.
    status: &'static str,
    /// The rule of docs/policy.md that gives it; empty where no rule does.
    rule: &'static str,
    /// What ends it.
    end: End,
    /// Why, in a few words.
    words: &'static str,
    /// The same to the agent, where the agent itself asked for it.
    to_agent: &'static str,
}

macro_rules! reasons {
    ($($(#[$meaning:meta])* $name:ident: $code:literal, $status:literal, $rule:literal, $end:ident, $words:literal
        $(, $to_agent:literal)?;)*) => {
        /// Why a request was answered as it was.
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
    /// Admitted.
    Admitted: "admitted", "RESTARTING", "rule 9", Admitted, "admitted";
    /// Admitted as the first continuation after a cooldown (half-open).
    Probe: "probe", "RESTARTING", "rule 9, half-open", Admitted, "the first after a cooldown";
    /// The guard (minimum interval): too soon after the last admission.
    MinInterval: "min_interval", "STANDING_DOWN", "rule 7, guard", Time, "too soon after the last one";
    /// This attempt filled the bang window and opened a cooldown.
    Burst: "burst", "COOLDOWN", "rule 6, bang window", Time, "too many attempts in a short time opened a cooldown";
    /// A cooldown is open.
    Cooldown: "cooldown", "COOLDOWN", "rule 2, cooldown", Time, "a cooldown is open";
    /// A cooldown after an API error is open.
    ApiError: "api_error", "COOLDOWN", "rule 3, API cooldown", Time, "the API failed, and its cooldown is open";
    /// The scope or its fleet is held.
    Hold: "hold", "HOLD", "rule 1, hold", Release, "held";
    /// The agent rests until a time.
    Rest: "rest", "RESTING", "rule 4, rest", WakeUp, "the agent rests", "you asked to be continued later";
    /// The agent said that it is done.
    Done: "done", "RESTING", "rule 4, rest", WakeUp, "the agent said it is done", "you said that you are done";
    /// The agent waits for a person.
    Blocked: "blocked", "RESTING", "rule 4, rest", WakeUp, "the agent waits for a person", "you said that you are blocked on ";
    /// The agent waits for a topic.
    WaitFor: "wait_for", "RESTING", "rule 4, rest", WakeUp, "the agent waits for a wake-up", "you said that you wait for ";
    /// The client wakes the session by itself.
    Parked: "parked", "RESTING", "rule 4, rest", Client, "the client will wake the session itself", "work of yours ran in the background";
    /// It was freed together with others, and its release slot has not come.
    Spread: "spread", "STANDING_DOWN", "rule 5, release slot", Time, "others were freed with it, and its release slot comes later";
    /// A quota is used up.
    Quota: "quota", "STANDING_DOWN", "rule 8, quota", Time, "a quota is used up";
    /// Other requests changed what it was decided from until its deadline: it is to be sent again.
    Busy: "busy", "STANDING_DOWN", "", Time, "the store is busy";
    /// A newer stop, a prompt or the session's end took over.
    Superseded: "superseded", "STANDING_DOWN", "rule 0, fence", Successor, "a newer stop or prompt took over";
    /// Nothing was asked: an event was journaled.
    Event: "event", "RECORDED", "", Event, "event";
    /// A waiting engine reached the end of its wait; nobody wakes the session any more.
    WaiterExpired: "waiter_expired", "RECORDED", "", Event, "waiter expired";
    /// The requester knows the store by another store epoch: what it has to tell comes first. Nothing was decided or journaled.
    Lost: "lost", "STANDING_DOWN", "", SameProcess, "lost";
    /// The session belongs to another client process of the requesting machine. Nothing was decided or journaled: the caller
    /// finds out first whether that process still runs.
    Contested: "contested", "STANDING_DOWN", "", SameProcess, "contested";
    /// No store could decide.
    StoreDown: "store_down", "STANDING_DOWN", "", Store, "store down";
    /// The configuration cannot be read or is impossible.
    BadConfig: "bad_config", "RECORDED", "", Repair, "bad config";
    /// The hook's input is no payload.
    BadInput: "bad_input", "RECORDED", "", Repair, "bad input";
    /// The command line is wrong.
    BadUsage: "bad_usage", "RECORDED", "", Repair, "bad usage";
}

impl Reason {
    /// The reason code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// The reason with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.code() == code)
    }

    /// The journal's `status` of a continuation's verdict, which programs that read older journals know.
    #[must_use]
    pub fn status(self) -> &'static str {
        self.row().status
    }

    /// The number and name of its rule, as docs/policy.md has them; empty where none decided.
    #[must_use]
    pub fn rule(self) -> &'static str {
        self.row().rule
    }

    /// What ends it.
    #[must_use]
    pub fn end(self) -> End {
        self.row().end
    }

    /// Why, in a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        self.row().words
    }

    /// Why the session paused, told to its agent who asked for it; its topic follows where the words end in a space.
    /// `None` where the agent did not ask for it.
    #[must_use]
    pub fn to_agent(self) -> Option<&'static str> {
        Some(self.row().to_agent).filter(|words| !words.is_empty())
    }

    /// Whether the request was admitted.
    #[must_use]
    pub fn is_admission(self) -> bool {
        self.end() == End::Admitted
    }

    /// Whether the session itself rests: what a wake-up ends.
    #[must_use]
    pub fn is_rest(self) -> bool {
        matches!(self.end(), End::WakeUp | End::Client)
    }

    /// Whether a waiting engine waits it out.
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
            // A rule of docs/policy.md either admits or can be waited out, woken or taken over.
            let is_decided = !matches!(reason.end(), End::SameProcess | End::Store | End::Repair | End::Event);
            assert_eq!(!reason.rule().is_empty(), is_decided && reason != Reason::Busy, "{}", reason.code());
            assert_eq!(reason.to_agent().is_some(), reason.is_rest(), "{}", reason.code());
        }
        assert_eq!(Reason::from_code("no such reason"), None);
    }
}
