//! Reads the keys of the pace.

use serde_json::Value;

use super::Reader;
use crate::config::error::ConfigError;
use crate::config::keys;
use crate::policy::pace::{Pace, WindowPace};

impl Reader<'_> {
    /// Reads `pace`; null switches it off.
    pub(super) fn pace(&self, pace: &mut Option<Pace>, key: &str, v: &Value) -> Result<(), ConfigError> {
        if v.is_null() {
            *pace = None;
            return Ok(());
        }
        let mut new = pace.unwrap_or_default();
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match inner.as_str() {
                "five_hour" => self.window_pace(&mut new.five_hour, &dotted, v)?,
                "seven_day" => self.window_pace(&mut new.seven_day, &dotted, v)?,
                _ => return Err(self.unknown(&dotted, "five_hour, seven_day")),
            }
        }
        *pace = Some(new);
        Ok(())
    }

    fn window_pace(&self, pace: &mut Option<WindowPace>, key: &str, v: &Value) -> Result<(), ConfigError> {
        if v.is_null() {
            *pace = None;
            return Ok(());
        }
        let WindowPace { mut cap, mut spread } = pace.unwrap_or_default();
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match inner.as_str() {
                "cap" => cap = self.whole(&dotted, v, keys::CAP)?,
                "spread" => {
                    spread = v.as_bool().ok_or_else(|| self.value(&dotted, v, "true or false"))?;
                }
                _ => return Err(self.unknown(&dotted, "cap, spread")),
            }
        }
        *pace = Some(WindowPace { cap, spread });
        Ok(())
    }
}
