//! Reads the system's zone data, and this machine's own zone.

use std::path::Path;

use chrono::{Local, Offset, TimeZone};

use crate::policy::calendar::Zone;
use crate::policy::limits::Ms;
use crate::read;

/// The directories with the system's zone data.
const ZONEINFO: [&str; 4] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];
/// The size limit of a zone's file.
const LARGEST_ZONE: u64 = 256 * 1024;

/// The period around a time that [`around`] covers, in days before and after it: the longest wait of an engine, and more.
const DAYS: (i64, i64) = (2, 40);
const DAY: i64 = 86_400;
/// Two changes of a clock are further apart than this, in seconds.
const STEP: i64 = 6 * 3600;

/// A zone's offset from UTC at a time, both in seconds; `None` where it cannot be known.
pub type Offsets<'a> = dyn Fn(i64) -> Option<i64> + 'a;

/// Returns whether there is a zone of this name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    named(name).is_some()
}

/// Returns the offsets of a zone from two days before a time to forty days after it, without a name those of the machine's
/// own zone; `None` where the zone is unknown.
#[must_use]
pub fn around(name: Option<&str>, at: Ms) -> Option<Zone> {
    match name {
        Some(name) => offsets(&*named(name)?, at),
        None => offsets(&local, at),
    }
}

fn offsets(zone: &Offsets<'_>, at: Ms) -> Option<Zone> {
    let at = at.div_euclid(1000);
    let (mut from, end) = (at.saturating_sub(DAYS.0 * DAY), at.saturating_add(DAYS.1 * DAY));
    let mut east = zone(from)?;
    let mut found = vec![(from, east)];
    while from < end {
        let to = from.saturating_add(STEP).min(end);
        let next = zone(to)?;
        if next != east {
            found.push((change(zone, from, to, east)?, next));
            east = next;
        }
        from = to;
    }
    let all = found.into_iter().map(|(since, east)| Some((since.saturating_mul(1000), i32::try_from(east).ok()?)));
    Some(Zone::new(all.collect::<Option<_>>()?))
}

/// Returns the first second of a period at which the offset is no longer the one at its beginning.
fn change(zone: &Offsets<'_>, mut from: i64, mut to: i64, east: i64) -> Option<i64> {
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        if zone(middle)? == east { from = middle } else { to = middle }
    }
    Some(to)
}

/// Returns the offset of the machine's zone.
pub fn local(at: i64) -> Option<i64> {
    Some(Local.timestamp_opt(at, 0).single()?.offset().fix().local_minus_utc().into())
}

/// Returns a zone of the system's zone data.
#[must_use]
pub fn named<'z>(name: &str) -> Option<Box<Offsets<'z>>> {
    if matches!(name, "UTC" | "GMT" | "Etc/UTC") {
        return Some(Box::new(|_| Some(0)));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    if name.is_empty() || name.len() > 64 || name.starts_with('/') || !name.chars().all(is_name) {
        return None;
    }
    let bytes = ZONEINFO.iter().find_map(|dir| read::file(&Path::new(dir).join(name), LARGEST_ZONE).ok())?;
    let zone = tz::TimeZone::from_tz_data(&bytes).ok()?;
    Some(Box::new(move |at| Some(zone.find_local_time_type(at).ok()?.ut_offset().into())))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::policy::calendar::Calendar;

    fn utc(text: &str) -> Ms {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn the_offsets_around_a_time() {
        for (name, at, expected) in [
            ("Europe/Berlin", "2026-12-01T12:00:00Z", &[("2026-11-29T12:00:00Z", 3600)][..]),
            (
                "Europe/Berlin",
                "2026-03-28T12:00:00Z",
                &[("2026-03-26T12:00:00Z", 3600), ("2026-03-29T01:00:00Z", 7200)],
            ),
            (
                "America/New_York",
                "2026-11-02T12:00:00Z",
                &[("2026-10-31T12:00:00Z", -14_400), ("2026-11-01T06:00:00Z", -18_000)],
            ),
            ("UTC", "2026-03-28T12:00:00Z", &[("2026-03-26T12:00:00Z", 0)]),
        ] {
            let expected = Zone::new(expected.iter().map(|(since, east)| (utc(since), *east)).collect());
            assert_eq!(around(Some(name), utc(at)), Some(expected), "{name} at {at}");
        }
        let now = utc("2026-12-01T12:00:00Z");
        assert_eq!(around(None, now).unwrap().local(now) - now, local(now / 1000).unwrap() * 1000);
        for name in ["", "Nowhere/City", "../../etc/passwd", "/etc/localtime", "Europe"] {
            assert_eq!(around(Some(name), now), None, "{name:?}");
        }
        for at in [Ms::MIN, Ms::MAX] {
            let _ = (around(None, at), around(Some("Europe/Berlin"), at));
        }
    }

    /// The offsets around a time answer as those of the whole year do.
    #[test]
    fn a_calendar_needs_no_offsets_from_further_away() {
        let year = |standard: i32, ahead: &str, back: &str| {
            Zone::new(vec![(0, standard), (utc(ahead), standard + 3600), (utc(back), standard)])
        };
        for (name, whole) in [
            ("Europe/Berlin", year(3600, "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z")),
            ("America/New_York", year(-18_000, "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z")),
        ] {
            let of = |zone| Calendar {
                zone,
                hours: ["mon-fri 08:00-18:00", "sun 02:30-03:30"].map(|text| text.parse().unwrap()).into(),
                times: ["02:30", "sat 09:00"].map(|text| text.parse().unwrap()).into(),
            };
            let whole = of(whole);
            let begin = utc("2026-01-01T00:00:00Z");
            for now in (begin..begin + 366 * DAY * 1000).step_by(7 * 3_600_000 - 1) {
                let near = of(around(Some(name), now).unwrap());
                let answers =
                    |calendar: &Calendar| (calendar.opens(now), calendar.closes(now), calendar.next_time(now));
                assert_eq!(answers(&near), answers(&whole), "{name} at {now}");
            }
        }
    }
}
