//! Reads the key `pace`.

use serde_json::Value;

use super::Reader;
use crate::config::error::ConfigError;
use crate::config::keys;
use crate::policy::pace::{Pace, WindowPace};

impl Reader<'_> {
    /// Reads `pace`: null switches it off.
    pub(super) fn pace(&self, pace: &mut Option<Pace>, key: &str, v: &Value) -> Result<(), ConfigError> {
        if v.is_null() {
            *pace = None;
            return Ok(());
        }
        let mut new = Pace::default();
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match inner.as_str() {
                "five_hour" => new.five_hour = self.window(WindowPace { cap: 95, spread: true }, &dotted, v)?,
                "seven_day" => new.seven_day = self.window(WindowPace { cap: 98, spread: false }, &dotted, v)?,
                _ => return Err(self.unknown(&dotted, "five_hour, seven_day")),
            }
        }
        if new == Pace::default() {
            return Err(self.value(key, v, "five_hour, seven_day or both; null switches the pace off"));
        }
        *pace = Some(new);
        Ok(())
    }

    fn window(&self, mut window: WindowPace, key: &str, v: &Value) -> Result<Option<WindowPace>, ConfigError> {
        if v.is_null() {
            return Ok(None);
        }
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match inner.as_str() {
                "cap" => window.cap = self.whole(&dotted, v, keys::PACE_CAP)?,
                "spread" => {
                    window.spread = v.as_bool().ok_or_else(|| self.value(&dotted, v, "true or false"))?;
                }
                _ => return Err(self.unknown(&dotted, "cap, spread")),
            }
        }
        Ok(Some(window))
    }
}
