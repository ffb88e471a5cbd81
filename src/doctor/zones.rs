//! Zone data: what a reset time in the client's words is read by.

use super::report::Check;
use crate::hook::reset;

const ZONES: &str = "zones";
/// Zones that every system with zone data knows.
const KNOWN: [&str; 2] = ["Europe/London", "America/New_York"];

/// Zone data that is missing; nothing where it is there.
pub(super) fn check() -> Option<Check> {
    without(reset::knows_zone)
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
    fn a_zone_without_data_is_reported() {
        assert_eq!(without(|_| true), None);
        let found = without(|zone| zone != "America/New_York").unwrap();
        assert!(found.found.contains("no zone data for America/New_York"), "{found:?}");
        assert_eq!(found.cure.as_deref(), Some("sudo apt-get install tzdata"));
    }
}
