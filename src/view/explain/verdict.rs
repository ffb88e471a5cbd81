//! Describes a verdict in words: its rule, its numbers, what must change, and when and how the session resumes.

use crate::local_time;
use crate::naming::Names;
use crate::policy::cadence::TurnKind;
use crate::policy::decision::State;
use crate::policy::limits::{Class, Ms, Policy};
use crate::policy::verdict::{Decision, End, Outcome, Reason};
use crate::view::explain::entry::who;
use crate::view::explain::{comes_back, rule};
use crate::view::journal::Past;

/// The facts from which a verdict is explained.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The journal entry of the verdict.
    pub past: &'a Past,
    /// The reason of the verdict.
    pub reason: Reason,
    /// The class of the admission request.
    pub class: Class,
    /// The time that it had to wait then, in milliseconds, if a time ended the refusal.
    pub retry_after: Option<Ms>,
    /// The limits as they are configured now.
    pub policy: &'a Policy,
    /// The state of its session and scope now.
    pub state: &'a State,
    /// The store's clock.
    pub now: Ms,
    /// The refusals that follow one another from now on. The time of the last one ends all of them, or no time does.
    pub doors: Vec<Decision>,
    /// The flags that another command needs to look at the same place, each after a space.
    pub place: &'a str,
    /// The session's shown name; empty where the entry has no session.
    pub name: String,
    /// The failure that ended its last turn, if one did.
    pub failure: Option<&'a Past>,
}

impl<'a> Facts<'a> {
    /// Reads the verdict of an entry; `None` where this version does not know its reason.
    #[must_use]
    pub fn of(past: &'a Past, policy: &'a Policy, state: &'a State, now: Ms, doors: Vec<Decision>) -> Option<Self> {
        let reason = Reason::from_code(past.text("reason"))?;
        let retry_after = past.text("retry_after_ms").parse().ok();
        Some(Self {
            past,
            reason,
            class: class(past),
            retry_after,
            policy,
            state,
            now,
            doors,
            place: "",
            name: String::new(),
            failure: None,
        })
    }

    /// Returns whether its engine waits out a refusal.
    pub(crate) fn is_paced(&self) -> bool {
        self.state.session.pid.is_some() && self.class == Class::Stop
    }

    /// Returns the verdict in a few sentences, one per line.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut all = vec![self.happened()];
        let is_about_then = matches!(self.reason, Reason::Superseded | Reason::Event | Reason::NoteKept)
            || (self.class == Class::Compact && self.past.says("verdict", "admit"));
        if self.is_shadow() {
            all.push(
                "It is in shadow mode: the verdict was only journaled, and the session was not affected.".to_owned(),
            );
            return all;
        }
        if let Some(since) = comes_back::since(self) {
            all.push(since.to_owned());
            return all;
        }
        let failed =
            self.failure.filter(|_| self.class == Class::Stop).map(|failure| comes_back::failed(self, failure));
        match self.reason {
            reason if reason.is_admission() && self.class == Class::Stop && comes_back::failed_since(self) => {
                all.push(failed.unwrap_or_else(|| "It continued, and that turn failed.".to_owned()));
                all.push(comes_back::now(self));
                all.extend(comes_back::by_whom(self));
            }
            reason if reason.is_admission() && self.class == Class::Stop => {
                all.push("It continued; its next stop is a new request.".to_owned());
                all.push(comes_back::now(self));
            }
            Reason::Event if failed.is_some() => {
                all.extend(failed);
                all.push(comes_back::now(self));
                all.extend(comes_back::by_whom(self));
            }
            _ if is_about_then => {}
            reason if reason == Reason::Disarmed || reason.end() == End::Repair => {
                all.extend(comes_back::by_whom(self))
            }
            _ => {
                all.extend(failed);
                all.push(comes_back::now(self));
                all.extend(comes_back::by_whom(self));
            }
        }
        if self.reason == Reason::Superseded {
            all.extend(comes_back::by_whom(self));
        }
        all
    }

    fn is_shadow(&self) -> bool {
        self.past.says("mode", "shadow")
    }

    fn happened(&self) -> String {
        let who = if self.name.is_empty() { who(self.past, &Names::default()) } else { self.name.clone() };
        // An entry that could not be read has no session.
        let who = if who == "-" { "An unknown session".to_owned() } else { who };
        let whose = if self.class == Class::Compact { format!("A compaction of {who}") } else { who };
        let at = local_time::clock(self.past.ms, self.now);
        let rule = Some(rule::name(self)).filter(|name| !name.is_empty()).map(|name| format!(" ({name})"));
        let was = match (self.past.text("verdict"), self.is_shadow()) {
            ("admit", false) => "was admitted",
            ("admit", true) => "would have been admitted",
            ("refuse", true) => "would have been refused",
            _ => match self.reason.end() {
                End::Event if matches!(self.reason, Reason::WaiterExpired | Reason::Disarmed) => {
                    "lost its waiting engine"
                }
                End::Event => "had an event",
                End::Store => &format!("had a call that could not be decided ({})", self.reason.code()),
                End::Repair => &format!("had a call that was not decided ({})", self.reason.code()),
                _ => "was refused",
            },
        };
        let shadow = if self.is_shadow() { "shadow: " } else { "" };
        let kind = TurnKind::from_code(self.past.text("turn_kind")).filter(|kind| !kind.is_work());
        let kind = kind.map(|kind| format!(" The turn is {} ({}), and not its work.", kind.words(), kind.code()));
        let degraded = if self.past.says("degraded", "1") {
            " The server was unreachable, and the embedded store on this machine decided."
        } else {
            ""
        };
        let numbers = rule::numbers(self);
        let end = if numbers.ends_with('.') { "" } else { "." };
        let (rule, kind) = (rule.unwrap_or_default(), kind.unwrap_or_default());
        format!("{shadow}{whose} {was} at {at}{rule}: {numbers}{end}{kind}{degraded}")
    }
}

/// Returns the class of the entry's admission request.
#[must_use]
pub fn class(past: &Past) -> Class {
    if past.says("event", "PreCompact") { Class::Compact } else { Class::Stop }
}

/// Returns whether an entry records a verdict or why there was none, and not a mere event.
#[must_use]
pub fn is_verdict(past: &Past) -> bool {
    let decided = [Outcome::Admit, Outcome::Refuse].iter().any(|outcome| past.says("verdict", outcome.code()));
    decided
        || Reason::from_code(past.text("reason"))
            .is_some_and(|reason| !matches!(reason, Reason::Event | Reason::NoteKept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision::refusal;
    use crate::policy::documents::Begun;
    use crate::policy::documents::Phase;
    use crate::policy::documents::SessionState;
    use crate::policy::fact::Span;
    use crate::policy::hold::Hold;
    use crate::policy::limits::Quota;
    use crate::policy::rest::Rest;
    use crate::policy::rest::RestKind;
    use crate::view::journal::Words;
    use std::time::Duration;

    const AT: Ms = 1_800_000_000_000;

    fn past(reason: &str, more: &[(&str, &str)]) -> Past {
        let verdict = match reason {
            "admitted" | "probe" => "admit",
            "event" | "note_kept" | "waiter_expired" | "disarmed" | "bad_input" | "bad_usage" => "record",
            _ => "refuse",
        };
        let mut words = Words::default();
        let own = [("window", "nova-3"), ("scope", "seat"), ("session", "s"), ("verdict", verdict), ("reason", reason)];
        let numbers = [("event", "Stop"), ("retry_after_ms", "11000"), ("attempts", "3"), ("strikes", "2")];
        for (name, value) in
            own.iter().chain(&numbers).filter(|(name, _)| !more.iter().any(|(n, _)| n == name)).chain(more)
        {
            words.push(name);
            words.push(value);
        }
        Past::new(words, AT)
    }

    fn decision(reason: Reason, left: Option<u64>) -> Decision {
        Decision {
            outcome: if matches!(reason, Reason::Admitted) { Outcome::Admit } else { Outcome::Refuse },
            retry_after: left.map(Duration::from_secs),
            attempts: 1,
            strikes: 1,
            ..refusal(reason, AT + 5000)
        }
    }

    fn told(past: &Past, state: &State, now: Decision) -> String {
        told_of_all(past, state, vec![now])
    }

    fn told_of_all(past: &Past, state: &State, doors: Vec<Decision>) -> String {
        let mut policy = Policy::default();
        policy.stop.quotas = vec![Quota { limit: 2, per: Duration::from_secs(3600) }];
        let doors = doors.into_iter().filter(|door| door.outcome == Outcome::Refuse).collect();
        Facts::of(past, &policy, state, AT + 5000, doors).unwrap().sentences().join("\n")
    }

    const TYPE_ON: &str = "type in the session to continue";

    #[test]
    fn every_reason_is_told_with_its_rule_numbers_and_way_back() {
        let mut state = State::default();
        (state.scope.stop.admitted_at, state.session.idle) = (Some(AT - 4000), 3);
        let (reason, by) = ("mend the key".to_owned(), "ann".to_owned());
        state.scope.hold = Some(Hold { reason, by, since: AT - 1, until: None, id: 0 });
        state.scope.api = Some(Span::new(AT, AT + 9000));
        state.scope.quota.admitted = vec![AT - 2, AT - 1];
        for reason in Reason::ALL {
            let kind = RestKind::from_code(reason.code());
            let topic = "the build".to_owned();
            state.session.rest = kind.map(|kind| Rest { kind, since: AT, until: None, topic, id: 0 });
            let words = told(&past(reason.code(), &[("detail", "its detail")]), &state, decision(reason, Some(6)));
            let expected: &[&str] = match reason {
                Reason::Admitted => {
                    &["nova-3 was admitted at ", "(rule 9): no limit applied", "next stop is a new request"]
                }
                Reason::Probe => &["(rule 9, half-open)", "the first after a cooldown; 2 strikes counted"],
                Reason::MinInterval => &[
                    "nova-3 was refused at ",
                    "(rule 7, minimum interval): the last continuation was admitted 4s before, and stop.min_interval is 15s.",
                    "It would be admitted from ",
                    "(in 6s)",
                    "no waiting engine",
                    TYPE_ON,
                ],
                Reason::Burst => &[
                    "(rule 6, burst window): 3 attempts within 20s, where stop.burst.limit is 3, opened cooldown number 2, of 11s",
                    TYPE_ON,
                ],
                Reason::Cooldown => &["(rule 2, cooldown)", "2 strikes", "10m after its end", TYPE_ON],
                Reason::ApiError => &["(rule 3, API cooldown)", "the API had failed 2 times", TYPE_ON],
                Reason::Hold => {
                    &["(rule 1, hold): held by ann since", "without an end: mend the key", "frosty release seat"]
                }
                Reason::Rest => &["(rule 4, rest)", "next_check", TYPE_ON],
                Reason::Done => &["(rule 4, rest)", "\"frosty: done", TYPE_ON],
                Reason::Blocked => &["\"frosty: blocked the build\"", TYPE_ON],
                Reason::WaitFor => &["\"frosty: wait_for the build\"", TYPE_ON],
                Reason::Parked => &["the client wakes the session by itself", "The client wakes it by itself; or type"],
                Reason::Idle => &["the agent's last 3 turns in a row did nothing new (idle.base is 2m, ", TYPE_ON],
                Reason::Failed => &["the last run failed (api_error.base is 1m, api_error.max is 1h)", TYPE_ON],
                Reason::NoWork => &["(rule 4, rest)", "work is required", TYPE_ON],
                Reason::OffHours => &["(rule 4, rest)", "hours of its profile", TYPE_ON],
                Reason::Quiet => &["(rule 4, quiet minute)", "person.quiet is 1m", TYPE_ON],
                Reason::Spread => &["(rule 5, release slot)", "250ms apart", TYPE_ON],
                Reason::Quota => &["(rule 8, quota): stop.quotas is 2 per 1h, of which 2 were used", TYPE_ON],
                Reason::Pace => &["(rule 8, pace): the turns of the fleet are spread", TYPE_ON],
                Reason::Limit => &["(rule 8, usage window): the fleet had used its share", TYPE_ON],
                Reason::Busy => &["other requests changed the state of the decision", TYPE_ON],
                Reason::Superseded => {
                    &["(rule 0, fence): a newer stop, a prompt or the session's end", "No action is needed"]
                }
                Reason::Event => &["no request was made, and Stop was journaled"],
                Reason::NoteKept => &["wake_on does not contain the signal"],
                Reason::Disarmed => &["nova-3 lost its waiting engine at ", ": its detail.", TYPE_ON],
                Reason::WaiterExpired => &["reached the end of its wait (--wait)", TYPE_ON],
                Reason::Lost => &["the server had lost its data"],
                Reason::Contested => &["belonged to another client process"],
                Reason::StoreDown => &["could not be decided (store_down)", "its detail", TYPE_ON],
                Reason::BadConfig => &["was not decided (bad_config)", "its detail", "fix that"],
                Reason::BadInput => &["was not decided (bad_input)", "its detail", "fix that"],
                Reason::BadUsage => &["was not decided (bad_usage)", "its detail", "fix that"],
            };
            for word in expected {
                assert!(words.contains(word), "{}: no {word:?} in: {words}", reason.code());
            }
            // Without a waiting engine no process receives a wake-up.
            assert!(!words.contains("frosty wake"), "{words}");
        }
    }

    #[test]
    fn what_became_of_it_since() {
        let begun = |at, id: &str| Some(Begun { at, id: id.to_owned() });
        let session = |begun, needs_you, phase| SessionState { begun, needs_you, phase, ..SessionState::default() };
        let at_work = "It was prompted since, and is running: its next stop is a new request.";
        let dialog = "A permission dialog is open in the session: answer it there.";
        for (session, reason, last) in [
            (session(begun(AT, "stop"), false, Phase::Open), "cooldown", "type in the session to continue."),
            (session(begun(AT + 1, ""), false, Phase::Open), "cooldown", at_work),
            // The client wakes the agent with a prompt of its own.
            (session(begun(AT + 1, ""), false, Phase::Open), "admitted", "A request now would be admitted."),
            (session(begun(AT, "stop"), true, Phase::Open), "admitted", dialog),
            (session(begun(AT, "stop"), true, Phase::Open), "event", dialog),
            (session(begun(AT + 1, ""), false, Phase::Ended), "done", "The session has ended."),
            (session(begun(AT + 1, ""), false, Phase::Ended), "admitted", "The session has ended."),
            (session(begun(AT, "stop"), false, Phase::Open), "admitted", "A request now would be admitted."),
            (session(begun(AT + 1, "fail"), false, Phase::Open), "admitted", "type in the session to continue."),
        ] {
            let state = State { session, ..State::default() };
            let words = told(&past(reason, &[]), &state, decision(Reason::Admitted, None));
            assert!(words.ends_with(last), "{words}");
        }
    }

    #[test]
    fn whatever_holds_it_is_named_with_what_lifts_it() {
        let hold = |until| Some(Hold { reason: "look".to_owned(), by: "ann".to_owned(), since: AT - 1, until, id: 0 });
        let mut state = State::default();
        state.scope.hold = hold(Some(AT + 60_000));
        let refused = past("hold", &[]);
        let words = told(&refused, &state, decision(Reason::Hold, Some(55)));
        assert!(words.ends_with("\nTo release its hold earlier: frosty release seat"), "{words}");
        assert!(!words.contains("hold_after_strikes"), "{words}");
        let mut willys = state.clone();
        willys.scope.hold = hold(None).map(|hold| Hold { by: "willy".to_owned(), ..hold });
        let words = told(&refused, &willys, decision(Reason::Hold, None));
        assert!(
            words.contains("held by willy since") && words.contains(": look (hold_after_strikes is 5)."),
            "{words}"
        );
        state.fleet.hold = hold(None);
        let words = told(&refused, &state, decision(Reason::Hold, None));
        assert!(
            words.ends_with(
                " earlier: frosty release seat\nTo release the fleet's hold earlier: frosty release --fleet"
            ),
            "{words}"
        );
        let policy = Policy::default();
        let mut told = Facts::of(&refused, &policy, &state, AT, vec![decision(Reason::Hold, None)]).unwrap();
        told.place = " --fleet other";
        let words = told.sentences().join("\n");
        assert!(
            words.contains("frosty release seat --fleet other\n") && words.ends_with("frosty release --fleet other"),
            "{words}"
        );
    }

    #[test]
    fn what_stands_against_it_now_and_who_asks() {
        let mut state = State::default();
        let refused = past("min_interval", &[]);
        assert!(told(&refused, &state, decision(Reason::Admitted, None)).contains("A request now would be admitted."));
        let words = told(&refused, &state, decision(Reason::Done, None));
        assert!(
            words.contains(
                "refused done: the agent reported it is done. It does not end by itself.\nIt has no waiting engine"
            ),
            "{words}"
        );
        state.session.pid = Some(crate::process::own());
        state.session.host = crate::clock::host();
        let words = told(&refused, &state, decision(Reason::Done, None));
        assert!(
            words.contains("It does not end by itself.\nIts waiting engine")
                && words.ends_with("\nTo wake it: frosty wake s"),
            "{words}"
        );
        let words = told(&refused, &state, decision(Reason::MinInterval, Some(6)));
        assert!(
            words.contains("(rule 5, minimum interval)")
                && words.contains("on this machine) sends a new request then."),
            "{words}"
        );
        state.session.host = "elsewhere".to_owned();
        let words = told(&refused, &state, decision(Reason::MinInterval, Some(6)));
        assert!(words.contains("on elsewhere) sends a new request then, if it still runs."), "{words}");
        state.fleet.hold =
            Some(Hold { reason: "all".to_owned(), by: "bo".to_owned(), since: AT, until: Some(AT + 60_000), id: 0 });
        let words = told(&past("hold", &[]), &state, decision(Reason::Hold, Some(55)));
        assert!(words.contains("the whole fleet was held by bo") && words.contains("the fleet's hold"), "{words}");
    }

    #[test]
    fn a_call_that_could_not_be_read_is_nobodys() {
        let nobodys = past("bad_input", &[("window", ""), ("scope", ""), ("session", "")]);
        let words = told(&nobodys, &State::default(), decision(Reason::Admitted, None));
        assert!(words.starts_with("An unknown session had a call that was not decided (bad_input) at "), "{words}");
    }

    #[test]
    fn one_door_after_the_other() {
        let state = State::default();
        let after = |reason, from: Ms, left| Decision { now: AT + 5000 + from * 1000, ..decision(reason, left) };
        let refused = past("cooldown", &[]);
        let nap = vec![decision(Reason::Cooldown, Some(60)), after(Reason::Rest, 60, Some(140))];
        let words = told_of_all(&refused, &state, nap);
        assert!(
            words.contains("\nAfter that it would be refused rest: the agent rests. It would be admitted from "),
            "{words}"
        );
        assert!(words.contains(" (in 3m20s) if nothing changes."), "{words}");
        let mut waited = state.clone();
        (waited.session.pid, waited.session.host) = (Some(crate::process::own()), crate::clock::host());
        let done = vec![decision(Reason::Cooldown, Some(60)), after(Reason::Done, 60, None)];
        let words = told_of_all(&refused, &waited, done);
        assert!(
            words.contains("it is done. It does not end by itself.\nIts waiting engine")
                && words.ends_with("\nTo wake it: frosty wake s"),
            "{words}"
        );
    }

    #[test]
    fn shadows_and_compactions() {
        let state = State::default();
        let shadow = past("burst", &[("mode", "shadow")]);
        let words = told(&shadow, &state, decision(Reason::Cooldown, Some(6)));
        assert!(words.starts_with("shadow: nova-3 would have been refused at "), "{words}");
        assert_eq!(words.lines().count(), 2, "{words}");
        let words = told(&past("admitted", &[("mode", "shadow")]), &state, decision(Reason::Admitted, None));
        assert!(words.starts_with("shadow: nova-3 would have been admitted at "), "{words}");
        let compact = past("burst", &[("event", "PreCompact")]);
        let words = told(&compact, &state, decision(Reason::Cooldown, Some(6)));
        assert!(
            words.starts_with("A compaction of nova-3 was refused") && words.contains("compact.burst.limit is 4"),
            "{words}"
        );
        assert!(words.ends_with("the agent continues uncompacted."), "{words}");
    }
}
