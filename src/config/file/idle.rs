//! Reads the keys of idle backoff and of the quiet minute.

use std::time::Duration;

use serde_json::Value;

use super::Reader;
use super::tighten::{Tighter, Trust};
use crate::config::error::ConfigError;
use crate::config::keys;
use crate::policy::limits::{Idle, IdleRow, Policy};

const MOST_ROWS: usize = 16;

/// The ready table: the more useful a run was, the sooner the agent returns.
const BY_USE: [(u32, u64); 3] = [(0, 20 * 60), (1, 10 * 60), (3, 2 * 60)];

impl Reader<'_> {
    /// Reads `idle`: null switches it off, which a project may not do.
    pub(super) fn idle(&self, idle: &mut Option<Idle>, key: &str, v: &Value) -> Result<(), ConfigError> {
        if v.is_null() {
            if self.trust == Trust::Project && idle.is_some() {
                return Err(self.looser(key, v));
            }
            *idle = None;
            return Ok(());
        }
        let mut new = idle.clone().unwrap_or_default();
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match inner.as_str() {
                "looked_max" => {
                    let longest = self.duration(&dotted, v, keys::POSITIVE)?;
                    self.set(&mut new.looked_max, longest, Tighter::Larger, &dotted, v)?;
                }
                "table" if self.trust == Trust::Project => {
                    return Err(self.value(&dotted, v, "it only in your own configuration"));
                }
                "table" => new.table = self.idle_table(&dotted, v)?,
                _ => {
                    if !self.backoff(&mut new.growth, inner, &dotted, v)? {
                        return Err(self.unknown(&dotted, "base, factor, max, looked_max, table"));
                    }
                }
            }
        }
        *idle = Some(new);
        Ok(())
    }

    fn idle_table(&self, key: &str, v: &Value) -> Result<Vec<IdleRow>, ConfigError> {
        if v.as_str() == Some("by_use") {
            let row = |(units, rest)| IdleRow { units, rest: Duration::from_secs(rest) };
            return Ok(BY_USE.map(row).to_vec());
        }
        let such =
            "\"by_use\", or a list such as [{\"units\": 0, \"rest\": \"20m\"}, {\"units\": 3, \"rest\": \"2m\"}]";
        let list = v.as_array().filter(|list| list.len() <= MOST_ROWS).ok_or_else(|| self.value(key, v, such))?;
        let mut table: Vec<IdleRow> = Vec::new();
        for (i, v) in list.iter().enumerate() {
            let (mut units, mut rest) = (None, None);
            for (inner, v) in self.object(&format!("{key}[{i}]"), v)? {
                let dotted = format!("{key}[{i}].{inner}");
                match inner.as_str() {
                    "units" => units = Some(self.whole(&dotted, v, keys::IDLE_UNITS)?),
                    "rest" => rest = Some(self.duration(&dotted, v, keys::POSITIVE)?),
                    _ => return Err(self.unknown(&dotted, "units, rest")),
                }
            }
            let (Some(units), Some(rest)) = (units, rest) else {
                return Err(self.value(&format!("{key}[{i}]"), v, "both units and rest"));
            };
            if table.last().is_some_and(|row| row.units >= units) {
                return Err(self.value(&format!("{key}[{i}].units"), v, "more units than in the row before"));
            }
            table.push(IdleRow { units, rest });
        }
        Ok(table)
    }

    /// Reads `person`.
    pub(super) fn person(&self, policy: &mut Policy, key: &str, v: &Value) -> Result<(), ConfigError> {
        for (inner, v) in self.object(key, v)? {
            let dotted = format!("{key}.{inner}");
            match inner.as_str() {
                "quiet" => {
                    let quiet = self.duration(&dotted, v, keys::QUIET)?;
                    self.set(&mut policy.quiet, quiet, Tighter::Larger, &dotted, v)?;
                }
                _ => return Err(self.unknown(&dotted, "quiet")),
            }
        }
        Ok(())
    }
}
