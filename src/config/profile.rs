//! The profiles of agents: a named cadence with its prompts, and the agents that have it.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock;
use crate::config::Config;
use crate::config::keys::idle_keys;
use crate::duration;
use crate::policy::cadence::{Cadence, Dreams, TurnKind};
use crate::policy::calendar::Calendar;
use crate::policy::documents::SessionState;
use crate::policy::limits::{Backoff, Idle, Policy};
use crate::text;
use crate::zone;

/// The prompts of the kinds of turns, where they are not the built-in ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompts([Option<String>; TurnKind::ALL.len()]);

impl Prompts {
    /// Returns the template of a kind, where one is configured.
    #[must_use]
    pub fn of(&self, kind: TurnKind) -> Option<&str> {
        self.0.get(place(kind))?.as_deref()
    }

    /// Sets the template of a kind.
    pub(crate) fn set(&mut self, kind: TurnKind, template: Option<String>) {
        if let Some(slot) = self.0.get_mut(place(kind)) {
            *slot = template;
        }
    }
}

fn place(kind: TurnKind) -> usize {
    TurnKind::ALL.iter().position(|one| *one == kind).unwrap_or_default()
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The shortest time between two continuations. It only lengthens the minimum interval.
    pub beat: Duration,
    /// Idle backoff; `None` leaves it as it is configured.
    pub idle: Option<Idle>,
    /// The reflections and the dreams.
    pub cadence: Cadence,
    /// The prompts.
    pub prompts: Prompts,
    /// The zone of the calendar; `None` is the machine's own.
    pub zone: Option<String>,
}

/// Each agent that has no entry of its own in `agents`.
const EVERY: &str = "*";

/// The profiles that are always there, each with its sentence.
pub const READY: [(&str, &str); 4] = [
    ("staccato", "Short beats: it looks often, rests briefly, and reflects seldom."),
    ("measured", "An even beat: a turn at most every three minutes, rests of twenty, and a dream before some of them."),
    ("interlaced", "Work and reflection in turn: it looks back after each cycle, and dreams."),
    (
        "clock",
        "By the clock: it begins at 9, 13, 17 and 21 o'clock, works while there is something to do, and rests until the next.",
    ),
];

impl Profile {
    /// Returns a profile that changes nothing.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        let cadence = Cadence { profile: name.to_owned(), ..Cadence::default() };
        Self { beat: Duration::ZERO, idle: None, cadence, prompts: Prompts::default(), zone: None }
    }

    /// Returns the ready profile with this name, if there is one.
    #[must_use]
    pub fn ready(name: &str) -> Option<Self> {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        let rests = |base, factor, max, looked_max| {
            let growth = Backoff { base: minutes(base), factor, max: minutes(max) };
            Some(Idle { growth, looked_max: minutes(looked_max), table: Vec::new() })
        };
        let plain = Self::plain(name);
        let cadence =
            |reflect_every, dump_every, dreams| Cadence { reflect_every, dump_every, dreams, ..plain.cadence.clone() };
        Some(match name {
            "staccato" => Self {
                beat: Duration::from_secs(20),
                idle: rests(1, 1500, 10, 5),
                cadence: cadence(12, 0, Dreams::Off),
                ..plain
            },
            "measured" => Self {
                beat: minutes(3),
                idle: rests(20, 1000, 20, 20),
                cadence: Cadence { long_rest: minutes(20), ..cadence(4, 40, Dreams::On) },
                ..plain
            },
            "interlaced" => {
                Self { beat: minutes(1), idle: rests(5, 2000, 60, 20), cadence: cadence(1, 20, Dreams::On), ..plain }
            }
            "clock" => Self {
                beat: minutes(1),
                cadence: Cadence {
                    calendar: Calendar {
                        times: ["09:00", "13:00", "17:00", "21:00"].iter().filter_map(|at| at.parse().ok()).collect(),
                        ..Calendar::default()
                    },
                    ..cadence(2, 40, Dreams::On)
                },
                ..plain
            },
            _ => return None,
        })
    }

    /// Reads the offsets of the zone, where the profile needs them. An unknown zone is the machine's own.
    pub(crate) fn with_zone(mut self) -> Self {
        let calendar = &mut self.cadence.calendar;
        if !(calendar.hours.is_empty() && calendar.times.is_empty()) {
            let now = clock::host_ms();
            let named = self.zone.as_deref().and_then(|name| zone::around(Some(name), now));
            calendar.zone = named.or_else(|| zone::around(None, now)).unwrap_or_default();
        }
        self
    }

    /// Applies the profile to a policy. It shortens no minimum interval.
    pub fn shape(&self, policy: &mut Policy) {
        let Self { beat, idle, cadence, prompts: _, zone: _ } = self;
        policy.stop.min_interval = policy.stop.min_interval.max(*beat);
        if idle.is_some() {
            policy.idle.clone_from(idle);
        }
        policy.cadence.clone_from(cadence);
    }

    /// Returns the profile as the configuration names its keys.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "assigning to a key of a JSON object inserts it")]
    pub fn keys(&self) -> Value {
        let Self { beat, idle, cadence, prompts, zone } = self;
        let Cadence { profile: _, reflect_every, dump_every, dreams, between_dreams: _, long_rest, calendar } = cadence;
        let all = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>();
        let mut keys = json!({
            "beat": duration::show(*beat), "reflect_every": reflect_every, "dump_every": dump_every,
            "dreams": dreams.name(), "long_rest": duration::show(*long_rest), "zone": zone,
            "hours": all(&mut calendar.hours.iter().map(ToString::to_string)),
            "times": all(&mut calendar.times.iter().map(ToString::to_string)),
        });
        if let Some(idle) = idle {
            keys["idle"] = idle_keys(idle);
        }
        let prompts =
            TurnKind::ALL.into_iter().filter_map(|kind| Some((kind.code().to_owned(), prompts.of(kind)?.into())));
        let prompts: Map<String, Value> = prompts.collect();
        if !prompts.is_empty() {
            keys["prompts"] = Value::Object(prompts);
        }
        keys
    }
}

impl Config {
    /// Returns the profile with this name, of the configuration or a ready one.
    #[must_use]
    pub fn profile_named(&self, name: &str) -> Option<Profile> {
        self.profiles.get(name).cloned().or_else(|| Some(Profile::ready(name)?.with_zone()))
    }

    /// Returns the same configuration with the ready profiles of its agents, for commands that look at many sessions.
    ///
    /// Otherwise the zone of a ready profile is read for each session.
    #[must_use]
    pub fn with_ready_profiles(&self) -> Cow<'_, Self> {
        let is_known = |name: &&String| self.profiles.contains_key(*name);
        if self.agents.values().all(|name| is_known(&name)) {
            return Cow::Borrowed(self);
        }
        let mut own = self.clone();
        for name in self.agents.values() {
            if let Some(profile) = self.profile_named(name) {
                own.profiles.insert(name.clone(), profile);
            }
        }
        Cow::Owned(own)
    }

    /// Returns the name of the profile that `agents` lists for the name that the user gave a session or for its scope, else for every
    /// agent. A window's label is none of these: its agent can change it.
    #[must_use]
    pub fn listed_profile(&self, name: &str, scope: &str) -> Option<&str> {
        let listed = |name: &str| self.agents.get(&text::encode(name)).filter(|_| !name.is_empty());
        listed(name).or_else(|| listed(scope)).or_else(|| listed(EVERY)).map(String::as_str)
    }

    /// Returns the policy of a session, by its agent's profile.
    #[must_use]
    pub fn policy_of(&self, session: &SessionState) -> Cow<'_, Policy> {
        if self.agents.is_empty() {
            return Cow::Borrowed(&self.policy);
        }
        let name = if session.named_by_project { "" } else { &session.name };
        let listed = self.listed_profile(name, &session.scope);
        let mut policy = self.policy.clone();
        if let Some(profile) = listed.and_then(|name| self.profile_named(name)) {
            profile.shape(&mut policy);
        }
        Cow::Owned(policy)
    }

    /// Applies the profile of an agent, where one is listed for the name that the user gave it or for its scope.
    pub fn adopt_profile_of(&mut self, name: &str, scope: &str) {
        if let Some(profile) = self.listed_profile(name, scope).map(str::to_owned) {
            self.adopt_profile(&profile);
        }
    }

    /// Applies the profile with this name.
    fn adopt_profile(&mut self, name: &str) {
        let Some(profile) = self.profile_named(name) else { return };
        profile.shape(&mut self.policy);
        if let Some(own) = profile.prompts.of(TurnKind::Work) {
            self.prompt = Some(own.to_owned());
        }
        self.prompts = profile.prompts;
    }
}
