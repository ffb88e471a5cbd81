//! Checks the zone data, which reset times in the client's messages need.

use std::path::Path;

use super::report::Check;
use crate::env;
use crate::text;
use crate::zone;

const ZONES: &str = "zones";
/// Zones that are on every system with zone data.
const KNOWN: [&str; 2] = ["Europe/London", "America/New_York"];

const TIME_ZONE: &str = "time zone";
/// The file of this machine's zone.
const LOCALTIME: &str = "/etc/localtime";

/// Reports that this machine's zone has no data, so that local times are UTC; `None` where it has data.
pub(super) fn local() -> Option<Check> {
    local_of(env::time_zone().as_deref(), Path::new(LOCALTIME), zone::is_known)
}

fn local_of(named: Option<&str>, localtime: &Path, knows: impl Fn(&str) -> bool) -> Option<Check> {
    let zone = named.map(|zone| zone.trim_start_matches(':')).filter(|zone| !zone.is_empty());
    let Some(zone) = zone else {
        let is_broken = localtime.symlink_metadata().is_ok() && !localtime.exists();
        let found = format!("{} leads to no zone data, so local times are in UTC", localtime.display());
        return is_broken.then(|| Check::warn(TIME_ZONE, found, "sudo apt-get install tzdata"));
    };
    // A rule such as CET-1CEST needs no data.
    let is_rule = zone.bytes().any(|b| b.is_ascii_digit()) && !zone.contains('/');
    if is_rule
        || ["UTC", "GMT", "localtime"].contains(&zone)
        || Path::new(zone).is_absolute() && Path::new(zone).exists()
    {
        return None;
    }
    if knows(zone) {
        return None;
    }
    let found = format!("there is no zone data for TZ={}, so local times are in UTC", text::line(zone));
    let cure = if KNOWN.into_iter().any(knows) { "unset TZ" } else { "sudo apt-get install tzdata" };
    Some(Check::warn(TIME_ZONE, found, cure))
}

/// Reports missing zone data; `None` where it is present.
pub(super) fn check() -> Option<Check> {
    without(zone::is_known)
}

fn without(knows: impl Fn(&str) -> bool) -> Option<Check> {
    let missing = KNOWN.into_iter().find(|zone| !knows(zone))?;
    let found = format!(
        "there is no zone data for {missing}, so a reset time such as \"resets 7pm ({missing})\" cannot be read, and the computed API cooldown takes its place"
    );
    Some(Check::warn(ZONES, found, "sudo apt-get install tzdata"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_zone_without_data_is_reported() {
        let here = Path::new("/proc/self/exe");
        let cure = |named: Option<&str>, known: &[&str]| {
            local_of(named, here, |zone| known.contains(&zone)).and_then(|check| check.cure)
        };
        for (named, known, expected) in [
            (None, &[][..], None),
            (Some(""), &[], None),
            (Some("UTC"), &[], None),
            (Some("CET-1CEST"), &[], None),
            (Some("/proc/self/exe"), &[], None),
            (Some(":Europe/Berlin"), &["Europe/Berlin"], None),
            (Some("Europe/Berlin"), &["Europe/London"], Some("unset TZ")),
            (Some("Europe/Berlin"), &[], Some("sudo apt-get install tzdata")),
            (Some("/nowhere/zone"), &[], Some("sudo apt-get install tzdata")),
        ] {
            assert_eq!(cure(named, known).as_deref(), expected, "{named:?}");
        }
        let dir = tempfile::TempDir::new().unwrap();
        let link = dir.path().join("localtime");
        std::os::unix::fs::symlink("/nowhere/zone", &link).unwrap();
        assert!(local_of(None, &link, |_| true).unwrap().found.contains("leads to no zone data"));
    }

    #[test]
    fn a_zone_without_data_is_reported() {
        assert_eq!(without(|_| true), None);
        let found = without(|zone| zone != "America/New_York").unwrap();
        assert!(found.found.contains("no zone data for America/New_York"), "{found:?}");
        assert_eq!(found.cure.as_deref(), Some("sudo apt-get install tzdata"));
    }
}
