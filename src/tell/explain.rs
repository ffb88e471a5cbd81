//! A verdict in words: which rule, which numbers, what would have to change, when and by whom it comes back.

use super::line::who;
use super::{back, rule};
use crate::status::when;
use crate::store::past::Past;
use crate::throttle::model::State;
use crate::throttle::policy::{Class, Ms, Policy};
use crate::throttle::verdict::{Decision, Outcome, Reason};

/// What is told, and from what.
#[derive(Debug)]
pub struct Told<'a> {
    /// The entry of the verdict.
    pub past: &'a Past,
    /// Its reason.
    pub reason: Reason,
    /// What was asked for.
    pub class: Class,
    /// How long it had to wait then, in milliseconds, if a time ended it.
    pub retry_after: Option<Ms>,
    /// The limits as they are configured now.
    pub policy: &'a Policy,
    /// What is known of its session and scope now.
    pub state: &'a State,
    /// The store's clock.
    pub now: Ms,
    /// What an ask would be answered now.
    pub asked_now: Decision,
}

impl<'a> Told<'a> {
    /// The verdict of an entry; `None` where its reason is none that this version knows.
    #[must_use]
    pub fn of(past: &'a Past, policy: &'a Policy, state: &'a State, now: Ms, asked_now: Decision) -> Option<Self> {
        let reason = Reason::from_code(past.text("reason"))?;
        let retry_after = past.text("retry_after_ms").parse().ok();
        Some(Self { past, reason, class: class(past), retry_after, policy, state, now, asked_now })
    }

    /// Whether its asks wait out a refusal.
    pub(super) fn is_paced(&self) -> bool {
        self.state.session.pid.is_some() && self.class == Class::Stop
    }

    /// The verdict in a few sentences, each a line.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut all = vec![self.happened()];
        let is_about_then = matches!(self.reason, Reason::Superseded | Reason::Event)
            || (self.class == Class::Compact && self.past.says("verdict", "admit"));
        if self.is_shadow() {
            all.push(
                "It is in shadow mode: the verdict is journaled only, and the session got what it gets without Frosty."
                    .to_owned(),
            );
            return all;
        }
        match self.reason {
            Reason::Admitted | Reason::Probe if self.class == Class::Stop => {
                all.push("It went on; its next stop asks again.".to_owned());
                all.push(back::now(self));
            }
            _ if is_about_then => {}
            Reason::BadConfig | Reason::BadInput | Reason::BadUsage => all.push(back::by_whom(self)),
            _ => all.extend([back::now(self), back::by_whom(self)]),
        }
        if self.reason == Reason::Superseded {
            all.push(back::by_whom(self));
        }
        all
    }

    fn is_shadow(&self) -> bool {
        self.past.says("mode", "shadow")
    }

    fn happened(&self) -> String {
        let who = who(self.past);
        let whose = if self.class == Class::Compact { format!("A compaction of {who}") } else { who };
        let at = when::clock(self.past.ms, self.now);
        let rule = Some(rule::name(self)).filter(|name| !name.is_empty()).map(|name| format!(" ({name})"));
        let was = match (self.past.text("verdict"), self.is_shadow()) {
            ("admit", false) => "was admitted",
            ("admit", true) => "would have been admitted",
            ("refuse", true) => "would have been refused",
            _ => match self.reason {
                Reason::Event => "was heard of",
                Reason::WaiterExpired => "was left without an engine",
                Reason::StoreDown => "could not be decided for (store_down)",
                Reason::BadConfig => "was not decided for (bad_config)",
                Reason::BadInput => "was not decided for (bad_input)",
                Reason::BadUsage => "was not decided for (bad_usage)",
                _ => "was refused",
            },
        };
        let shadow = if self.is_shadow() { "shadow: " } else { "" };
        let degraded = if self.past.says("degraded", "1") {
            " The server was away, and the embedded store on this machine decided."
        } else {
            ""
        };
        let numbers = rule::numbers(self);
        let end = if numbers.ends_with('.') { "" } else { "." };
        format!("{shadow}{whose} {was} at {at}{}: {numbers}{end}{degraded}", rule.unwrap_or_default())
    }
}

/// What the entry asked for.
#[must_use]
pub fn class(past: &Past) -> Class {
    if past.says("event", "PreCompact") { Class::Compact } else { Class::Stop }
}

/// Whether an entry is one of a verdict, or of why there was none: not of what only happened.
#[must_use]
pub fn is_verdict(past: &Past) -> bool {
    let decided = [Outcome::Admit, Outcome::Refuse].iter().any(|outcome| past.says("verdict", outcome.code()));
    decided || Reason::from_code(past.text("reason")).is_some_and(|reason| reason != Reason::Event)
}
