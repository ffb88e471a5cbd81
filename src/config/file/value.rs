//! Reads values of one type, each with its error.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Reader;
use crate::config::error::ConfigError;
use crate::duration;

impl Reader<'_> {
    pub(super) fn object<'v>(&self, key: &str, v: &'v Value) -> Result<&'v Map<String, Value>, ConfigError> {
        v.as_object().ok_or_else(|| self.value(key, v, "an object"))
    }

    pub(super) fn text(&self, key: &str, v: &Value) -> Result<String, ConfigError> {
        v.as_str().map(str::to_owned).ok_or_else(|| self.value(key, v, "a text"))
    }

    pub(super) fn maybe_text(&self, key: &str, v: &Value) -> Result<Option<String>, ConfigError> {
        match v {
            Value::Null => Ok(None),
            Value::String(s) if !s.is_empty() => Ok(Some(s.clone())),
            _ => Err(self.value(key, v, "a text that is not empty, or null")),
        }
    }

    pub(super) fn duration(
        &self,
        key: &str,
        v: &Value,
        within: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        v.as_str().and_then(duration::parse).filter(|d| within.contains(d)).ok_or_else(|| {
            let (least, most) = (duration::show(*within.start()), duration::show(*within.end()));
            let such = if most == "1s" { "\"250ms\"" } else { "\"15s\", \"10m\" or \"1h30m\"" };
            self.value(key, v, &format!("a duration from {least} to {most} such as {such}"))
        })
    }

    pub(super) fn whole(&self, key: &str, v: &Value, within: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        let n = v.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| within.contains(n));
        let (least, most) = within.into_inner();
        n.ok_or_else(|| self.value(key, v, &format!("a whole number from {least} to {most}")))
    }

    /// Reads a number with at most three decimals, in thousandths.
    pub(super) fn thousandths(&self, key: &str, v: &Value, within: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        let (least, most) = within.into_inner();
        let scaled = v.as_f64().map(|f| f * 1000.0).filter(|f| (f - f.round()).abs() < 1e-6);
        let within = scaled.filter(|f| (f64::from(least)..=f64::from(most)).contains(&f.round()));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds of a u32")]
        within.map(|f| f.round() as u32).ok_or_else(|| {
            let (least, most) = (f64::from(least) / 1000.0, f64::from(most) / 1000.0);
            self.value(key, v, &format!("a number from {least} to {most} with at most three decimals"))
        })
    }
}
