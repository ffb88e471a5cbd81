//! Reads a configuration file: JSON that overrides the configuration so far.
//!
//! A project's file comes with a cloned repository, so it may only set names and tighten limits.

mod idle;
mod pace;
mod profiles;
mod tighten;
mod value;

use std::time::Duration;

use serde_json::Value;

use crate::config::error::ConfigError;
use crate::config::{Arm, Config, encoded, json, keys, notify, routes, signals};
use crate::hint::edit;
use crate::policy::limits::{Backoff, Burst, ClassPolicy, Cooldown, Quota, Spread};
use crate::secret;
use crate::text;
use tighten::Tighter;
pub use tighten::Trust;

/// The fields that a continuation prompt may contain, in braces.
pub const PROMPT_FIELDS: [&str; 8] = ["count", "time", "scope", "rest", "note", "held", "work", "notes"];

/// Returns the first word in braces that is no field. Other braces are text.
fn unknown_field<'p>(prompt: &'p str, fields: &[&str]) -> Option<&'p str> {
    let words = prompt.match_indices('{').filter_map(|(at, _)| Some(prompt.get(at + 1..)?.split_once('}')?.0));
    let is_name = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    words.filter(is_name).find(|word| !fields.contains(word))
}

const MOST_QUOTAS: usize = 8;

/// Applies the JSON text of a file to the configuration.
///
/// # Errors
/// When the text is not JSON, contains a key twice, an unknown key or an impossible value, or loosens a limit of the
/// user.
pub fn apply(config: &mut Config, text: &str, file: &str, trust: Trust) -> Result<(), ConfigError> {
    let value = json::read(text, file)?;
    let reader = Reader { file, trust };
    for (key, value) in reader.object("the file", &value)? {
        reader.top(config, key, value)?;
    }
    reader.known_profiles(config)
}

struct Reader<'a> {
    file: &'a str,
    trust: Trust,
}

impl Reader<'_> {
    fn top(&self, config: &mut Config, key: &str, v: &Value) -> Result<(), ConfigError> {
        match key {
            "scope" if self.trust == Trust::Own => {
                let scope = self.maybe_text(key, v)?;
                config.scope = scope.map(|name| encoded(&name, self.file, key)).transpose()?;
            }
            "name" => {
                let name = self.maybe_text(key, v)?;
                // The name that the user gave stays: the agent's work and its profile go by it.
                if self.trust == Trust::Own || config.name.is_none() {
                    (config.name, config.named_by_project) = (name, self.trust == Trust::Project);
                }
            }
            // Editors read it; Frosty does not.
            "$schema" => {
                self.text(key, v)?;
            }
            "stop" => {
                let mut prompt = config.prompt.take();
                self.class(&mut config.policy.stop, key, v, Some(&mut prompt))?;
                config.prompt = prompt;
            }
            "compact" => self.class(&mut config.policy.compact, key, v, None)?,
            "api_error" => self.api_error(&mut config.policy.api_error, key, v)?,
            "scope" | "fleet_quotas" | "pace" | "store" | "stream" | "fleet" | "arm" | "notify" | "routes" | "mode"
            | "park_max" | "print_wait" | "resume_after" | "spread" | "budget" | "journal_max"
            | "hold_after_strikes" | "work" | "work_max_turns" | "work_max_attempts" | "work_lease" | "agents"
            | "profiles"
                if self.trust == Trust::Project =>
            {
                let allowed =
                    "it only in your own configuration (a project may set name, stop.prompt and tighter limits)";
                return Err(self.value(key, v, allowed));
            }
            "pace" => self.pace(&mut config.policy.pace, key, v)?,
            "fleet_quotas" => self.quotas(&mut config.policy.fleet_quotas, key, v)?,
            "store" => config.set_store(&self.text(key, v)?, self.file, key)?,
            "stream" => config.set_stream(&self.text(key, v)?, self.file, key)?,
            "fleet" => config.set_fleet(&self.text(key, v)?, self.file, key)?,
            "mode" => config.set_mode(&self.text(key, v)?, self.file, key)?,
            "arm" => {
                config.arm = Arm::from_name(&self.text(key, v)?)
                    .ok_or_else(|| self.value(key, v, "\"always\" or \"manual\""))?;
            }
            "routes" => config.routes = routes::read(v).map_err(|wrong| self.wrong_routes(key, v, wrong))?,
            "notify" => config.notify = notify::read(v).ok_or_else(|| self.value(key, v, notify::ALLOWED))?,
            "wake_on" => self.signals(&mut config.wake_on, key, v)?,
            "park_max" => config.park_max = self.duration(key, v, keys::POSITIVE)?,
            "print_wait" => config.print_wait = self.duration(key, v, keys::POSITIVE)?,
            "spread" => self.spread(&mut config.policy.spread, key, v)?,
            "resume_after" => config.resume_after = self.duration(key, v, keys::RESUME_AFTER)?,
            "idle" => self.idle(&mut config.policy.idle, key, v)?,
            "person" => self.person(&mut config.policy, key, v)?,
            "budget" => config.budget = self.duration(key, v, keys::BUDGET)?,
            "journal_max" => config.journal_max = self.whole(key, v, keys::JOURNAL_MAX)?,
            "work" | "work_max_turns" | "work_max_attempts" | "work_lease" => self.work(config, key, v)?,
            "agents" | "profiles" => self.profile_keys(config, key, v)?,
            "hold_after_strikes" => config.policy.hold_after_strikes = self.whole(key, v, keys::STRIKES)?,
            _ => {
                return Err(self.unknown(
                    key,
                    "store, fleet, scope, name, stream, stop, compact, api_error, fleet_quotas, pace, arm, mode, park_max, print_wait, resume_after, idle, person, spread, budget, journal_max, hold_after_strikes, work, work_max_turns, work_max_attempts, work_lease, wake_on, notify, routes, agents, profiles",
                ));
            }
        }
        Ok(())
    }

    fn api_error(&self, backoff: &mut Backoff, key: &str, v: &Value) -> Result<(), ConfigError> {
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            if !self.backoff(backoff, inner, &dotted, v)? {
                return Err(self.unknown(&dotted, "base, factor, max"));
            }
        }
        Ok(())
    }

    /// Reads the signals that wake. A project's list is a part of the user's.
    fn signals(&self, signals: &mut Option<Vec<String>>, key: &str, v: &Value) -> Result<(), ConfigError> {
        let new = signals::read(v).ok_or_else(|| self.value(key, v, signals::ALLOWED))?;
        if self.trust == Trust::Project && !signals::is_part(new.as_deref(), signals.as_deref()) {
            return Err(self.looser(key, v));
        }
        *signals = new;
        Ok(())
    }

    fn work(&self, config: &mut Config, key: &str, v: &Value) -> Result<(), ConfigError> {
        let work = &mut config.policy.work;
        match key {
            "work" => config.set_work(&self.text(key, v)?, self.file, key)?,
            "work_max_turns" => work.max_turns = self.whole(key, v, keys::WORK_TURNS)?,
            "work_max_attempts" => work.max_attempts = self.whole(key, v, keys::WORK_ATTEMPTS)?,
            _ => work.lease = self.duration(key, v, keys::WORK_LEASE)?,
        }
        Ok(())
    }

    fn spread(&self, spread: &mut Spread, key: &str, v: &Value) -> Result<(), ConfigError> {
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            let length = || self.duration(&dotted, v, keys::SPREAD);
            match inner.as_str() {
                "step" => spread.step = length()?,
                "cold" => spread.cold = length()?,
                _ => return Err(self.unknown(&dotted, "step, cold")),
            }
        }
        Ok(())
    }

    fn class(
        &self,
        class: &mut ClassPolicy,
        key: &str,
        v: &Value,
        mut prompt: Option<&mut Option<String>>,
    ) -> Result<(), ConfigError> {
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match (inner.as_str(), &mut prompt) {
                ("min_interval", _) => {
                    let new = self.duration(&dotted, v, keys::ANY_LENGTH)?;
                    // Without an interval of the user the window limits admissions. The project's interval is added to
                    // it.
                    let limits = self.trust == Trust::Project && class.is_limited_by_window() && class.burst.is_some();
                    self.set(&mut class.min_interval, new, Tighter::Larger, &dotted, v)?;
                    class.window_limits = limits;
                }
                ("burst", _) => self.burst(&mut class.burst, &dotted, v)?,
                ("cooldown", _) => self.cooldown(&mut class.cooldown, &dotted, v)?,
                ("quotas", Some(_)) => self.quotas(&mut class.quotas, &dotted, v)?,
                ("prompt", Some(prompt)) => **prompt = self.template(&dotted, v)?,
                (_, Some(_)) => {
                    return Err(self.unknown(&dotted, "min_interval, burst, cooldown, quotas, prompt"));
                }
                (_, None) => return Err(self.unknown(&dotted, "min_interval, burst, cooldown")),
            }
        }
        Ok(())
    }

    fn burst(&self, burst: &mut Option<Burst>, key: &str, v: &Value) -> Result<(), ConfigError> {
        if v.is_null() {
            if self.trust == Trust::Project && burst.is_some() {
                return Err(self.looser(key, v));
            }
            *burst = None;
            return Ok(());
        }
        // Any burst window is tighter than none.
        let mut new = burst.unwrap_or(Burst { limit: u32::MAX, window: Duration::ZERO });
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match inner.as_str() {
                "limit" => {
                    let limit = self.whole(&dotted, v, keys::BURST_LIMIT)?;
                    self.set(&mut new.limit, limit, Tighter::Smaller, &dotted, v)?;
                }
                "window" => {
                    let window = self.duration(&dotted, v, keys::POSITIVE)?;
                    self.set(&mut new.window, window, Tighter::Larger, &dotted, v)?;
                }
                _ => return Err(self.unknown(&dotted, "limit, window")),
            }
        }
        if new.limit == u32::MAX || new.window.is_zero() {
            return Err(self.value(key, v, "both limit and window, since no burst window was set before"));
        }
        *burst = Some(new);
        Ok(())
    }

    fn cooldown(&self, cooldown: &mut Cooldown, key: &str, v: &Value) -> Result<(), ConfigError> {
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match inner.as_str() {
                "jitter" => {
                    let jitter = self.thousandths(&dotted, v, keys::JITTER)?;
                    self.set(&mut cooldown.jitter, jitter, Tighter::Larger, &dotted, v)?;
                }
                "calm" => {
                    let calm = self.duration(&dotted, v, keys::ANY_LENGTH)?;
                    self.set(&mut cooldown.calm, calm, Tighter::Larger, &dotted, v)?;
                }
                _ => {
                    if !self.backoff(&mut cooldown.backoff, inner, &dotted, v)? {
                        return Err(self.unknown(&dotted, "base, factor, max, jitter, calm"));
                    }
                }
            }
        }
        Ok(())
    }

    fn backoff(&self, backoff: &mut Backoff, inner: &str, key: &str, v: &Value) -> Result<bool, ConfigError> {
        match inner {
            "base" => {
                let base = self.duration(key, v, keys::POSITIVE)?;
                self.set(&mut backoff.base, base, Tighter::Larger, key, v)?;
            }
            "factor" => {
                let factor = self.thousandths(key, v, keys::FACTOR)?;
                self.set(&mut backoff.factor, factor, Tighter::Larger, key, v)?;
            }
            "max" => {
                let max = self.duration(key, v, keys::POSITIVE)?;
                self.set(&mut backoff.max, max, Tighter::Larger, key, v)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads quotas. A project's quotas are added to the user's.
    fn quotas(&self, quotas: &mut Vec<Quota>, key: &str, v: &Value) -> Result<(), ConfigError> {
        let Some(list) = v.as_array() else {
            return Err(self.value(key, v, "a list such as [{\"limit\": 100, \"per\": \"1h\"}]"));
        };
        if self.trust == Trust::Own {
            quotas.clear();
        }
        for (i, v) in list.iter().enumerate() {
            let (mut limit, mut per) = (None, None);
            for (inner, v) in self.object(&format!("{key}[{i}]"), v)? {
                let dotted = format!("{key}[{i}].{inner}");
                match inner.as_str() {
                    "limit" => limit = Some(self.whole(&dotted, v, keys::QUOTA_LIMIT)?),
                    "per" => per = Some(self.duration(&dotted, v, keys::POSITIVE)?),
                    _ => return Err(self.unknown(&dotted, "limit, per")),
                }
            }
            let (Some(limit), Some(per)) = (limit, per) else {
                return Err(self.value(&format!("{key}[{i}]"), v, "both limit and per"));
            };
            quotas.push(Quota { limit, per });
        }
        if quotas.len() > MOST_QUOTAS {
            return Err(self.value(key, v, "at most 8 quotas in all"));
        }
        Ok(())
    }

    fn value(&self, key: &str, v: &Value, allowed: &str) -> ConfigError {
        self.wrong(key, shown(v), allowed.to_owned())
    }

    fn wrong(&self, key: &str, found: String, allowed: String) -> ConfigError {
        let place = self.file.to_owned();
        ConfigError::Value { place, key: key.to_owned(), found, allowed, cure: edit(self.file) }
    }

    fn wrong_routes(&self, key: &str, v: &Value, wrong: routes::Wrong) -> ConfigError {
        let of = |at: usize| format!("{key}[{at}]");
        let found = |at: usize| v.get(at).map(|route| text::line_of(&route.to_string(), 200)).unwrap_or_default();
        let twice = "a route with a from and a topic that no other one has, with a topic that is no agent, and with an agent that no other one runs or starts";
        match wrong {
            routes::Wrong::List => self.value(key, v, routes::ALLOWED),
            routes::Wrong::Field(at, field) => self.unknown(&format!("{}.{field}", of(at)), &routes::fields()),
            routes::Wrong::Route(at) => {
                self.wrong(&of(at), secret::scrubbed(&found(at)).to_string(), routes::ALLOWED.to_owned())
            }
            routes::Wrong::Twice(at) => self.wrong(&of(at), secret::scrubbed(&found(at)).to_string(), twice.to_owned()),
        }
    }

    fn no_field(&self, key: &str, field: &str) -> ConfigError {
        let fields: Vec<String> = PROMPT_FIELDS.iter().map(|field| format!("{{{field}}}")).collect();
        let near = text::nearest(field, PROMPT_FIELDS);
        let meant = near.map(|near| format!(" (did you mean {{{near}}}?)")).unwrap_or_default();
        let found = format!("{{{}}}{meant}", text::line_of(field, 40));
        self.wrong(key, found, format!("no fields but {}", fields.join(" ")))
    }

    fn unknown(&self, key: &str, allowed: &str) -> ConfigError {
        let (above, last) = key.rsplit_once('.').map_or(("", key), |(above, last)| (above, last));
        let near = text::nearest(last, allowed.split(", "));
        let dot = if above.is_empty() { "" } else { "." };
        ConfigError::UnknownKey {
            file: self.file.to_owned(),
            line: None,
            key: text::line(&secret::scrubbed(key)),
            near: near.map(|near| format!("{above}{dot}{near}")),
            allowed: allowed.to_owned(),
        }
    }
}

fn shown(v: &Value) -> String {
    let found = match v {
        Value::Array(list) if !list.is_empty() => format!("a list of {}", list.len()),
        Value::Object(object) if !object.is_empty() => format!("an object of {}", object.len()),
        v => v.to_string(),
    };
    text::line(&secret::scrubbed(&found))
}
