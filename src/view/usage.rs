//! Formats the usage windows for people: their share, their reset, their age, and the next slot of the pace.

use crate::config::Config;
use crate::local_time;
use crate::policy::decision::State;
use crate::policy::limits::{Ms, millis};
use crate::policy::pace::{self, Paced};
use crate::policy::windows::{POINT, WHOLE, Window, Windows};

/// The cells of a bar.
const CELLS: u32 = 8;
/// A report that is older is shown with its age.
const STALE: Ms = 600_000;

/// The usage windows at one moment.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// The windows.
    pub windows: Windows,
    /// Whether a pace is configured.
    pub is_paced: bool,
    /// What the pace permits.
    pub paced: Paced,
    /// When the next slot of the pace comes.
    pub next: Option<Ms>,
}

impl Usage {
    /// Derives the usage from the state that a request would be decided from.
    #[must_use]
    pub fn of(config: &Config, state: &State, now: Ms) -> Self {
        let log = &state.fleet.quota;
        let is_counted = |at: Ms| at > now.saturating_sub(pace::LONGEST_FLIGHT);
        let in_flight = log.in_flight.iter().filter(|flight| is_counted(flight.at)).count();
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        let pace = config.policy.pace.as_ref();
        let paced = pace.map(|pace| pace::derive(pace, &state.windows, in_flight, now)).unwrap_or_default();
        let last = log.admitted.iter().max().copied();
        let next = paced.quota().map(|quota| last.map_or(now, |last| last.saturating_add(millis(quota.per)).max(now)));
        Self { windows: state.windows.clone(), is_paced: pace.is_some(), paced, next }
    }

    /// Returns a text for each window that has not ended, with its age: `5h 62 % until 14:00, reported 40s ago`.
    #[must_use]
    pub fn texts(&self, now: Ms) -> Vec<String> {
        let text = |(name, window): (&str, Window)| {
            let (end, age) =
                (local_time::clock(window.resets_at, now), local_time::age(now.saturating_sub(window.seen)));
            format!("{name} {} % until {end}, reported {age} ago", percent(window.used))
        };
        self.windows.open(now).map(text).collect()
    }

    /// Returns whether no session reported a window for a while.
    #[must_use]
    pub fn is_stale(&self, now: Ms) -> bool {
        self.windows.open(now).any(|(_, window)| now.saturating_sub(window.seen) > STALE)
    }

    /// Returns what the pace permits, as JSON names it; `None` without a pace.
    #[must_use]
    pub fn pace_code(&self) -> Option<&'static str> {
        self.is_paced.then_some(match self.paced {
            Paced::Free => "free",
            Paced::Slot(..) => "slot",
            Paced::NoRoom => "no_room",
            Paced::Limit(_) => "limit",
            Paced::Unknown(_) => "unknown",
        })
    }

    /// Returns a text for each window that has not ended, such as `5h ▓▓▓▓▓░░░ 62 %, resets 14:00, next slot in 40s`.
    #[must_use]
    pub fn lines(&self, now: Ms) -> Vec<String> {
        if let Some(until) = self.windows.unknown_until(now) {
            let effect = if self.is_paced {
                format!(", so nothing is admitted until {}", local_time::clock(until, now))
            } else {
                String::new()
            };
            return vec![format!("usage windows could not be read{effect}")];
        }
        let open: Vec<(&str, Window)> = self.windows.open(now).collect();
        let line = |(name, window): &(&str, Window)| {
            let mut line = format!(
                "{name} {} {} %, resets {}",
                bar(window.used),
                percent(window.used),
                local_time::clock(window.resets_at, now)
            );
            let age = now.saturating_sub(window.seen);
            if age > STALE {
                line.push_str(&format!(", reported {} ago", local_time::age(age)));
            }
            match (self.paced, self.next) {
                (Paced::Limit(until), _) if until == window.resets_at => line.push_str(", its cap is reached"),
                (Paced::Slot(_, until), Some(next)) if until == window.resets_at && next <= now => {
                    line.push_str(", a slot is free");
                }
                (Paced::Slot(_, until), Some(next)) if until == window.resets_at => {
                    line.push_str(&format!(", next slot in {}", local_time::left(next, now)));
                }
                (Paced::NoRoom, _) => line.push_str(", no room beside the turns that run"),
                _ => {}
            }
            line
        };
        open.iter().map(line).collect()
    }
}

/// Returns a share in per cent.
fn percent(used: u32) -> u32 {
    used.saturating_add(POINT / 2) / POINT
}

/// Draws a share as a bar.
fn bar(used: u32) -> String {
    let full = (used.min(WHOLE) * CELLS + WHOLE / 2) / WHOLE;
    let cells = (0..CELLS).map(|cell| if cell < full { '▓' } else { '░' });
    cells.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::limits::Quota;

    #[test]
    fn a_window_is_shown_with_its_age_and_its_next_slot() {
        let now = 1_800_000_000_000;
        let window = Window { resets_at: now + 3_600_000, used: 6200, seen: now - 1000, ..Window::default() };
        let slot = Paced::Slot(Quota { limit: 1, per: Duration::from_secs(60) }, window.resets_at);
        let windows = Windows { five_hour: Some(window), ..Windows::default() };
        let usage = |paced, next| Usage { windows: windows.clone(), is_paced: true, paced, next }.lines(now).join("\n");
        let shown = usage(slot, Some(now + 40_000));
        assert!(shown.starts_with("5h ▓▓▓▓▓░░░ 62 %, resets ") && shown.ends_with(", next slot in 40s"), "{shown}");
        assert!(usage(slot, Some(now)).ends_with(", a slot is free"));
        assert!(usage(Paced::Limit(window.resets_at), None).ends_with(", its cap is reached"));
        let old = Window { seen: now - 25 * 60_000, ..window };
        let old = Usage { windows: Windows { five_hour: Some(old), ..Windows::default() }, ..Usage::default() };
        assert!(old.lines(now).join("").ends_with(", reported 25m ago"), "{:?}", old.lines(now));
        assert!(old.lines(now + 3_600_000).is_empty(), "a window that ended is not shown");
    }

    #[test]
    fn windows_that_could_not_be_read_are_shown_as_that() {
        let now = 1_800_000_000_000;
        let shown = |is_paced| Usage { windows: Windows::unreadable(now), is_paced, ..Usage::default() }.lines(now);
        assert_eq!(shown(false), ["usage windows could not be read"]);
        assert!(shown(true)[0].starts_with("usage windows could not be read, so nothing is admitted until "));
    }

    #[test]
    fn a_bar_has_eight_cells() {
        for (used, shown) in [(0, "░░░░░░░░"), (5000, "▓▓▓▓░░░░"), (10_000, "▓▓▓▓▓▓▓▓"), (12_000, "▓▓▓▓▓▓▓▓")]
        {
            assert_eq!(bar(used), shown);
        }
    }
}
