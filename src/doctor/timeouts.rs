//! Checks whether the client lets each engine run for as long as it may take.

use std::path::Path;
use std::time::Duration;

use super::again;
use super::registered::{Registered, Source, flags};
use super::report::Check;
use crate::client_settings::Hook;
use crate::duration;
use crate::text;

const TIMEOUTS: &str = "timeouts";
/// The client's timer overflows past this many seconds (2.1.331), and ends the hook at once.
const LONGEST: u64 = 2_147_483;

/// Returns one line for each wrong timeout, else one line for all.
pub(super) fn checks(registered: &Registered, budget: Duration, project: &Path) -> Vec<Check> {
    let of = |(source, hook): &(Source, Hook)| of(hook, &again(registered, source, hook, project), budget);
    let mut checks: Vec<Check> = registered.ours().flat_map(of).collect();
    // The hooks of all events give the same lines.
    checks.dedup();
    if checks.is_empty() && registered.ours().next().is_some() {
        checks.push(Check::ok(TIMEOUTS, "every hook has the time that it may need"));
    }
    checks
}

fn of(hook: &Hook, cure: &str, budget: Duration) -> Vec<Check> {
    let event = text::line(&hook.event);
    let fail = |found: String| Check::fail(TIMEOUTS, format!("{event}: {found}"), cure);
    let warn = |found: String| Check::warn(TIMEOUTS, format!("{event}: {found}"), cure);
    let flags = match flags(hook) {
        Ok(flags) => flags,
        Err(wrong) => return vec![fail(format!("a wrong command line: {wrong}"))],
    };
    let given = hook.timeout.map(Duration::try_from_secs_f64).and_then(Result::ok);
    let longest = Duration::from_secs(LONGEST);
    let mut checks = Vec::new();
    if given.is_some_and(|given| given > longest) {
        checks.push(fail(format!(
            "\"timeout\" is past {LONGEST} s, where the client's timer overflows and ends it at once"
        )));
    }
    if flags.wait.is_zero() {
        if let Some(given) = given.filter(|given| *given < budget) {
            let (given, budget) = (duration::show(given), duration::show(budget));
            checks.push(warn(format!("\"timeout\" is {given}, less than the budget of a verdict, {budget}")));
        }
        if hook.async_rewake && hook.event == "Stop" {
            checks.push(warn("asyncRewake without --wait: nothing resumes a refused session".to_owned()));
        }
        return checks;
    }
    let wait = duration::show(flags.wait);
    match (flags.timeout, given) {
        (None, _) => checks.push(fail(format!("--wait {wait} without --timeout: the hook answers bad_config"))),
        (Some(told), _) if told > longest => {
            checks.push(fail(format!("--timeout {} is past {LONGEST}: the hook answers bad_config", told.as_secs())));
        }
        (Some(told), _) if flags.wait > told => {
            let told = told.as_secs();
            checks.push(fail(format!("--wait {wait} is longer than --timeout {told}: the hook answers bad_config")));
        }
        (Some(told), Some(given)) if given < told => {
            let (told, given) = (told.as_secs(), given.as_secs());
            checks
                .push(fail(format!("\"timeout\" is {given} and --timeout {told}: the client ends it while it waits")));
        }
        (Some(told), Some(given)) if given > told => {
            let (told, given) = (told.as_secs(), given.as_secs());
            checks.push(Check::note(TIMEOUTS, format!("{event}: \"timeout\" is {given} and --timeout {told}")));
        }
        (Some(told), None) => {
            let told = told.as_secs();
            checks.push(fail(format!(
                "--timeout {told} and no \"timeout\": the client ends it at its own, while it waits"
            )));
        }
        (Some(_), Some(_)) => {}
    }
    if !hook.async_rewake {
        let found = format!("{event}: --wait without asyncRewake holds the screen for as long as the agent rests");
        checks.push(Check::note(TIMEOUTS, found).cured_by(cure));
    }
    checks
}
