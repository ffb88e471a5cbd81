//! Checks whether Frosty is registered once, completely, and without another hook that continues sessions unthrottled.

use std::path::Path;

use super::registered::{Registered, Source, flags};
use super::report::{Check, State};
use super::{again, edit, install};
use crate::client_settings::owner::{Engine, Owner, owner};
use crate::client_settings::{Hook, Place};
use crate::config::{Arm, Config};
use crate::env::Env;
use crate::settings::old_hooks;
use crate::settings::others::Other;
use crate::text;

const HOOKS: &str = "hooks";

/// The events that an engine needs to learn of a session's start, its prompts, its end, and its failures.
const NEEDED: [&str; 4] = ["SessionStart", "UserPromptSubmit", "SessionEnd", "StopFailure"];
/// The events that an engine can work without.
const HELPFUL: [&str; 2] = ["PreCompact", "Notification"];

/// Checks the registered hooks, and other hooks on the same events.
pub(super) fn checks(registered: &Registered, config: &Config, env: &Env, project: &Path) -> Vec<Check> {
    let unread = registered.unread.iter().map(|e| Check::of_error(HOOKS, State::Fail, e));
    let mut checks: Vec<Check> = unread.collect();
    let engines = registered.engines();
    checks.push(match engines.as_slice() {
        [] => Check::fail(HOOKS, "no Stop hook runs frosty, so nothing is continued here", install(project)),
        [(source, hook, engine)] => {
            Check::ok(HOOKS, format!("{}, in {} {}", engine.name(), source.name(), text::path(&hook.file)))
        }
        several => two(several, project),
    });
    if let Some((source, hook, _)) = engines.first() {
        checks.extend(missing(registered, &again(registered, source, hook, project)));
    }
    checks.extend(registered.unknown.iter().map(|plugin| {
        let found = format!("the plugin {} is enabled, but its hooks cannot be read here", text::line(&plugin.id));
        Check::note(HOOKS, found).cured_by(Other::Plugin(plugin.clone()).cure(project))
    }));
    checks.extend(doubled(registered));
    checks.extend(everywhere(&engines, config));
    checks.extend(old(registered, env, project, engines.is_empty()));
    checks
}

fn two(engines: &[(&Source, &Hook, Engine)], project: &Path) -> Check {
    let differ = engines.iter().any(|(_, _, e)| engines.first().is_some_and(|(_, _, first)| first != e));
    let what = if differ { "two engines in one session" } else { "registered more than once" };
    let one = |(source, hook, engine): &(&Source, &Hook, Engine)| {
        format!("{} in {}, {}", engine.name(), source.name(), text::path(&hook.file))
    };
    let all: Vec<String> = engines.iter().map(one).collect();
    let found = format!("{what}, so that each stop is decided {} times: {}", engines.len(), all.join("; "));
    // The user can remove every engine but those of the machine's administrator. The last one of these is named.
    let mine = engines.iter().rfind(|(source, ..)| **source != Source::Settings(Place::Managed));
    let other = mine.or(engines.first()).map(|(source, hook, engine)| match source {
        Source::Plugin(plugin) => Other::Plugin(plugin.clone()),
        Source::Settings(place) if owner(hook) == Owner::Installed => Other::Engine(*place, (*hook).clone(), *engine),
        Source::Settings(_) => Other::ByHand((*hook).clone(), *engine),
    });
    Check::fail(HOOKS, found, other.map_or_else(String::new, |other| other.cure(project)))
}

fn missing(registered: &Registered, cure: &str) -> Vec<Check> {
    let has = |event: &&&str| registered.ours().any(|(_, hook)| hook.event == **event);
    let lacks = |events: &'static [&'static str]| -> Vec<&str> { events.iter().filter(|e| !has(e)).copied().collect() };
    let (needed, helpful) = (lacks(&NEEDED), lacks(&HELPFUL));
    let mut checks = Vec::new();
    if !needed.is_empty() {
        let found = format!("a Stop hook without {}: it cannot track sessions", needed.join(", "));
        checks.push(Check::warn(HOOKS, found, cure));
    }
    if !helpful.is_empty() {
        let found = format!("not registered on {}", helpful.join(", "));
        checks.push(Check::note(HOOKS, found).cured_by(cure));
    }
    checks
}

/// An engine in the user's settings concerns every project, also those in which Frosty was not installed.
fn everywhere(engines: &[(&Source, &Hook, Engine)], config: &Config) -> Option<Check> {
    let (_, hook, engine) = engines.iter().find(|(source, ..)| **source == Source::Settings(Place::User))?;
    let arm = flags(hook).ok().and_then(|flags| flags.arm).and_then(|arm| Arm::from_name(&arm));
    (arm.unwrap_or(config.arm) == Arm::Always).then(|| {
        let file = text::path(&hook.file);
        let found = format!(
            "{file} continues every session of every project; registered anew it continues only armed sessions"
        );
        Check::warn(HOOKS, found, format!("frosty install --user --{}", engine.name()))
    })
}

/// Finds other events that are registered more than once. A second engine is reported elsewhere.
fn doubled(registered: &Registered) -> Option<Check> {
    let of = |event: &'static str| registered.ours().filter(move |(_, hook)| hook.event == event);
    // The continuous engine has two hooks on SessionStart: one answers, the other waits.
    let is_pair = |event: &str| {
        event == "SessionStart" && {
            let waits =
                of("SessionStart").filter(|(_, hook)| flags(hook).is_ok_and(|flags| !flags.wait.is_zero())).count();
            waits == 1 && of("SessionStart").count() == 2
        }
    };
    let twice = NEEDED
        .iter()
        .chain(&HELPFUL)
        .copied()
        .filter(|event| of(event).count() > 1 && !is_pair(event))
        .collect::<Vec<_>>();
    let (_, last) = of(twice.first()?).last()?;
    let found = format!("registered more than once on {}", twice.join(", "));
    (of("Stop").count() < 2).then(|| Check::warn(HOOKS, found, edit(&last.file)))
}

fn old(registered: &Registered, env: &Env, project: &Path, alone: bool) -> Vec<Check> {
    let home = env.home.as_deref();
    let found = registered.hooks.iter().filter_map(|(_, hook)| Some((hook, old_hooks::old_kind(hook, home, project)?)));
    let check = |(hook, old): (&Hook, old_hooks::Old)| {
        let file = text::path(&hook.file);
        let found = format!("a Stop hook in {file} {}, and continues without a limit: {}", old.does(), hook.shown());
        let state = if alone { State::Warn } else { State::Fail };
        Check { state, ..Check::fail(HOOKS, found, edit(&hook.file)) }
    };
    found.map(check).collect()
}
