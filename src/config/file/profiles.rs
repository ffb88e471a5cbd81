//! Reads the profiles, and which agent has which.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;

use super::{Reader, unknown_field};
use crate::clock;
use crate::config::error::ConfigError;
use crate::config::keys;
use crate::config::profile::{Profile, Prompts};
use crate::config::{Config, PROMPT_FIELDS};
use crate::policy::cadence::{Dreams, TurnKind};
use crate::text;
use crate::zone;

/// The most profiles, and the most agents.
const MOST: usize = 1000;
/// The most hours, and the most fixed times, of a profile.
const MOST_OF_CALENDAR: usize = 64;

impl Reader<'_> {
    /// Reads `agents` or `profiles`, which belong to the user.
    pub(super) fn profile_keys(&self, config: &mut Config, key: &str, v: &Value) -> Result<(), ConfigError> {
        match key {
            "agents" => config.agents = self.agents(key, v)?,
            _ => config.profiles = self.profiles(key, v)?,
        }
        Ok(())
    }

    fn agents(&self, key: &str, v: &Value) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut agents = BTreeMap::new();
        for (agent, v) in self.few(key, v)? {
            let dotted = format!("{key}.{}", text::line(agent));
            if let Some(inner) = self.object(&dotted, v)?.keys().find(|inner| *inner != "profile") {
                return Err(self.unknown(&format!("{dotted}.{inner}"), "profile"));
            }
            let Some(profile) = v.get("profile") else {
                return Err(self.value(&dotted, v, "an object such as {\"profile\": \"staccato\"}"));
            };
            agents.insert(text::encode(agent), self.text(&format!("{dotted}.profile"), profile)?);
        }
        Ok(agents)
    }

    fn profiles(&self, key: &str, v: &Value) -> Result<BTreeMap<String, Profile>, ConfigError> {
        let mut profiles = BTreeMap::new();
        for (name, v) in self.few(key, v)? {
            let mut profile = Profile::ready(name).unwrap_or_else(|| Profile::plain(name));
            for (inner, v) in self.object(&format!("{key}.{name}"), v)? {
                self.profile(&mut profile, inner, &format!("{key}.{name}.{inner}"), v)?;
            }
            profiles.insert(name.clone(), profile.with_zone());
        }
        Ok(profiles)
    }

    fn profile(&self, profile: &mut Profile, inner: &str, key: &str, v: &Value) -> Result<(), ConfigError> {
        let cadence = &mut profile.cadence;
        match inner {
            "beat" => profile.beat = self.duration(key, v, keys::ANY_LENGTH)?,
            "idle" => self.idle(&mut profile.idle, key, v)?,
            "reflect_every" => cadence.reflect_every = self.whole(key, v, keys::CYCLES)?,
            "dump_every" => cadence.dump_every = self.whole(key, v, keys::CONTINUATIONS)?,
            "long_rest" => cadence.long_rest = self.duration(key, v, keys::POSITIVE)?,
            "dreams" => {
                let dreams = v.as_str().and_then(Dreams::from_name);
                cadence.dreams = dreams.ok_or_else(|| self.value(key, v, "\"off\", \"on\" or \"in_hours\""))?;
            }
            "hours" => cadence.calendar.hours = self.of_calendar(key, v)?,
            "times" => cadence.calendar.times = self.of_calendar(key, v)?,
            "zone" => {
                profile.zone = self.maybe_text(key, v)?;
                if profile.zone.as_deref().is_some_and(|name| zone::around(Some(name), clock::host_ms()).is_none()) {
                    return Err(self.value(
                        key,
                        v,
                        "a zone of this system such as \"Europe/Berlin\", or null for its own",
                    ));
                }
            }
            "prompts" => self.prompts(&mut profile.prompts, key, v)?,
            _ => {
                return Err(self.unknown(
                    key,
                    "beat, idle, reflect_every, dump_every, dreams, long_rest, hours, times, zone, prompts",
                ));
            }
        }
        Ok(())
    }

    /// Reads a list of hours or of times.
    fn of_calendar<T: FromStr<Err: Display>>(&self, key: &str, v: &Value) -> Result<Vec<T>, ConfigError> {
        let such = "a list such as [\"mon-fri 08:00-18:00\"] for hours, [\"09:00\", \"sat 12:00\"] for times";
        let list =
            v.as_array().filter(|list| list.len() <= MOST_OF_CALENDAR).ok_or_else(|| self.value(key, v, such))?;
        let one = |v: &Value| {
            let text = v.as_str().ok_or_else(|| self.value(key, v, such))?;
            text.parse()
                .map_err(|why: T::Err| self.value(key, v, &format!("{such}: {}", text::line_of(&why.to_string(), 80))))
        };
        list.iter().map(one).collect()
    }

    fn prompts(&self, prompts: &mut Prompts, key: &str, v: &Value) -> Result<(), ConfigError> {
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            let kinds = TurnKind::ALL.map(TurnKind::code);
            let Some(kind) = TurnKind::ALL.into_iter().find(|kind| kind.code() == inner) else {
                return Err(self.unknown(&dotted, &kinds.join(", ")));
            };
            prompts.set(kind, self.template(&dotted, v)?);
        }
        Ok(())
    }

    /// Reads the template of a prompt.
    pub(super) fn template(&self, key: &str, v: &Value) -> Result<Option<String>, ConfigError> {
        let template = self.maybe_text(key, v)?;
        if template.as_ref().is_some_and(|p| p.chars().count() > text::LONGEST_PROMPT) {
            return Err(self.value(key, v, "a text of at most 10,000 characters"));
        }
        match template.as_deref().and_then(|template| unknown_field(template, &PROMPT_FIELDS)) {
            Some(unknown) => Err(self.no_field(key, unknown)),
            None => Ok(template),
        }
    }

    fn few<'v>(&self, key: &str, v: &'v Value) -> Result<&'v serde_json::Map<String, Value>, ConfigError> {
        let object = self.object(key, v)?;
        let is_name = |name: &String| !text::encode(name).is_empty() && text::encode(name).len() <= text::LONGEST_NAME;
        if object.len() > MOST || !object.keys().all(is_name) {
            return Err(self.value(key, v, "at most 1000, each with a name of 1 to 128 bytes"));
        }
        Ok(object)
    }

    /// Checks that each profile that an agent has is known.
    pub(super) fn known_profiles(&self, config: &Config) -> Result<(), ConfigError> {
        for (key, name) in config.agents.iter().map(|(agent, name)| (format!("agents.{agent}.profile"), name)) {
            if config.profile_named(name).is_none() {
                let ready = crate::config::profile::READY.map(|(name, _)| name);
                let all: Vec<&str> = ready.into_iter().chain(config.profiles.keys().map(String::as_str)).collect();
                let near = text::nearest(name, all.iter().copied());
                let meant = near.map(|near| format!(" (did you mean \"{near}\"?)")).unwrap_or_default();
                let found = format!("\"{}\"{meant}", text::line_of(name, 40));
                return Err(self.wrong(&key, found, format!("a profile: {}", all.join(", "))));
            }
        }
        Ok(())
    }
}
