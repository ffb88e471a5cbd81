//! Configuration files: a project's file never loosens the user's limits, and no password is ever shown.

use frosty::config::{Config, Trust, apply};
use frosty::policy::decision;
use frosty::policy::decision::State;
use frosty::policy::limits::{Backoff, ClassPolicy, LONGEST, Ms, Policy, millis};
use frosty::policy::request::{Event, Step};
use frosty::policy::verdict::{Outcome, Reason};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

use crate::{draw, said};

/// The user's own files under a project's file, besides those that the fuzzer writes.
const OWN: [&str; 5] = [
    "{}",
    r#"{"stop":{"min_interval":"0s","burst":{"limit":3,"window":"20s"}}}"#,
    r#"{"stop":{"min_interval":"0s","burst":null},"compact":{"burst":null}}"#,
    r#"{"stop":{"quotas":[{"limit":100,"per":"1h"}],"min_interval":"1m"},"fleet_quotas":[{"limit":1,"per":"15m"}]}"#,
    r#"{"store":"embedded","compact":{"min_interval":"5m"},"api_error":{"base":"1s","max":"2s"},"arm":"manual"}"#,
];

const SECRET: &str = "s3cr3t-Qx7zW";

pub fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let mode = usize::from(*mode);
    if mode >= 0xc0 {
        return url(&String::from_utf8_lossy(rest));
    }
    if mode >= 0x80 {
        let mut u = Unstructured::new(rest);
        let (Ok(own), Ok(project)) = (object(&mut u, 2), object(&mut u, 6)) else { return };
        return layers(&own.to_string(), &project.to_string(), u.arbitrary().unwrap_or(1000));
    }
    let text = String::from_utf8_lossy(rest);
    match (OWN.get(mode % 8), text.split_once('\0')) {
        (Some(own), _) => layers(own, &text, 1000),
        (None, Some((own, project))) => layers(own, project, 1000),
        (None, None) => layers(&text, "{}", 1000),
    }
}

fn layers(own: &str, project: &str, every: u32) {
    let mut config = Config::default();
    let laid = apply(&mut config, own, "/home/ann/frosty.json", Trust::Own).and_then(|()| config.checked("/home"));
    if let Err(e) = laid {
        return said::one_line(&e.to_string(), 1500);
    }
    within_bounds(&config.policy);
    let before = config.clone();
    let laid = apply(&mut config, project, "/src/frosty.json", Trust::Project).and_then(|()| config.checked("/src"));
    if let Err(e) = laid {
        return said::one_line(&e.to_string(), 1500);
    }
    within_bounds(&config.policy);
    not_looser(&before, &config);
    storm(&before.policy, &config.policy, every);
}

fn not_looser(before: &Config, after: &Config) {
    for (a, b) in [(&before.policy.stop, &after.policy.stop), (&before.policy.compact, &after.policy.compact)] {
        tighter(a, b);
    }
    backoff(before.policy.api_error, after.policy.api_error);
    assert_eq!(before.policy.fleet_quotas, after.policy.fleet_quotas);
    assert_eq!((&before.store, &before.fleet, &before.stream), (&after.store, &after.fleet, &after.stream));
    assert_eq!((before.arm, before.park_max, before.print_wait), (after.arm, after.park_max, after.print_wait));
    assert_eq!((before.budget, before.journal_max), (after.budget, after.journal_max));
    assert_eq!((before.shadow, &before.state), (after.shadow, &after.state));
    if let Some(scope) = &after.scope {
        said::name(scope);
    }
    assert!(after.prompt.as_ref().is_none_or(|p| p.chars().count() <= 10_000));
}

fn tighter(before: &ClassPolicy, after: &ClassPolicy) {
    assert!(after.min_interval >= before.min_interval, "{before:?} became {after:?}");
    if let Some(was) = before.burst {
        let is = after.burst.unwrap_or_else(|| panic!("the bang window is gone: {before:?}"));
        assert!(is.limit <= was.limit && is.window >= was.window, "{was:?} became {is:?}");
        assert!(!before.is_limited_by_window() || after.is_limited_by_window(), "{before:?} became {after:?}");
    }
    backoff(before.cooldown.backoff, after.cooldown.backoff);
    assert!(after.cooldown.jitter >= before.cooldown.jitter && after.cooldown.calm >= before.cooldown.calm);
    assert!(after.quotas.starts_with(&before.quotas), "{before:?} became {after:?}");
}

fn backoff(before: Backoff, after: Backoff) {
    let tighter = after.base >= before.base && after.factor >= before.factor && after.max >= before.max;
    assert!(tighter, "{before:?} became {after:?}");
}

/// Checks the assumptions of the script's arithmetic and the model's loops.
fn within_bounds(policy: &Policy) {
    for class in [&policy.stop, &policy.compact] {
        let Backoff { base, factor, max } = class.cooldown.backoff;
        assert!(base <= max && max <= LONGEST && (1000..=100_000).contains(&factor));
        assert!(class.min_interval <= LONGEST && class.cooldown.calm <= LONGEST && class.cooldown.jitter <= 1000);
        assert!(
            class.burst.is_none_or(|b| (1..=1000).contains(&b.limit) && !b.window.is_zero() && b.window <= LONGEST)
        );
    }
    let Backoff { base, factor, max } = policy.api_error;
    assert!(base <= max && max <= LONGEST && (1000..=100_000).contains(&factor));
    let mut quotas = policy.stop.quotas.iter().chain(&policy.fleet_quotas);
    assert!(quotas.all(|q| (1..=10_000).contains(&q.limit) && !q.per.is_zero() && q.per <= LONGEST));
    assert!(policy.stop.quotas.len() <= 8 && policy.fleet_quotas.len() <= 8 && policy.compact.quotas.is_empty());
}

/// Checks that Stop events at one pace keep every limit of the user under the limits with the project's file.
/// The total number of admissions may differ either way, since a window that fills sooner also empties sooner.
fn storm(own: &Policy, with_project: &Policy, pace: u32) {
    let mut state = State::default();
    let mut now = draw::T0;
    let mut admitted: Vec<Ms> = Vec::new();
    let mut tripped = Ms::MIN;
    let stop = &own.stop;
    for i in 0..40 {
        now += Ms::from(pace >> (i % 3 * 4));
        let step = Step { id: i.to_string(), paced: pace.is_multiple_of(5), ..draw::step(Event::Stop { rest: None }) };
        let decided = decision::step(with_project, &mut state, &step, now);
        if decided.reason == Reason::Burst {
            tripped = now;
        }
        if decided.outcome != Outcome::Admit {
            continue;
        }
        let told = || format!("{admitted:?}, then {now}\n{own:?}\n{with_project:?}");
        assert!(admitted.last().is_none_or(|last| now - last >= millis(stop.min_interval)), "{}", told());
        let within = |per| admitted.iter().filter(|at| **at > now - millis(per)).count() + 1;
        if let Some(burst) = stop.burst {
            // A trip empties the window.
            let from = tripped.max(now - millis(burst.window));
            let noted = admitted.iter().filter(|at| **at > from).count() + 1;
            assert!(!stop.min_interval.is_zero() || noted < burst.limit as usize, "{}", told());
            assert!(now >= tripped.saturating_add(millis(stop.cooldown.backoff.base)), "{}", told());
        }
        for quota in stop.quotas.iter().chain(&own.fleet_quotas) {
            assert!(within(quota.per) <= quota.limit as usize, "{}", told());
        }
        admitted.push(now);
    }
}

/// Checks that no displayed text contains the password of a server's URL, or a password in the port's place.
fn url(rest: &str) {
    let secret = SECRET.to_lowercase();
    // A part that the fuzzer spelled itself may be shown.
    let spelled: String = rest.to_lowercase().chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
    if secret.as_bytes().windows(3).any(|part| spelled.as_bytes().windows(3).any(|other| other == part)) {
        return;
    }
    let (user, rest) = rest.split_once('\0').unwrap_or(("", rest));
    for store in [format!("redis://{user}:{SECRET}@{rest}"), format!("redis://{user}:{SECRET}")] {
        let mut config = Config::default();
        let json = json!({ "store": store }).to_string();
        let told = match apply(&mut config, &json, "/home/ann/frosty.json", Trust::Own) {
            Ok(()) => format!("{config:?}"),
            Err(e) => {
                said::one_line(&e.to_string(), 1500);
                e.to_string()
            }
        };
        assert!(!told.to_lowercase().contains(&secret), "{told}");
    }
}

/// Returns a file with known keys only, and mostly possible values. It contains about one in `few` keys.
fn object(u: &mut Unstructured<'_>, few: u8) -> Result<Value> {
    let mut file = Map::new();
    for name in ["stop", "compact"] {
        let mut class = Map::new();
        if u.ratio(1, few)? {
            class.insert("min_interval".into(), time(u)?);
        }
        match u.int_in_range(0..=3 + few / 2)? {
            0 => drop(class.insert("burst".into(), Value::Null)),
            1..=2 => drop(class.insert("burst".into(), json!({ "limit": u.int_in_range(1..=6)?, "window": time(u)? }))),
            3 => drop(class.insert("burst".into(), json!({ "window": time(u)? }))),
            _ => {}
        }
        if u.ratio(1, few)? {
            let mut cooldown = backoff_object(u, few)?;
            if u.ratio(1, few)? {
                cooldown.insert("jitter".into(), thousandths(u, 0, 1000)?);
            }
            if u.ratio(1, few)? {
                cooldown.insert("calm".into(), time(u)?);
            }
            class.insert("cooldown".into(), cooldown.into());
        }
        if name == "stop" && u.ratio(1, few)? {
            class.insert("quotas".into(), json!([{ "limit": u.int_in_range(1..=5)?, "per": time(u)? }]));
        }
        file.insert(name.into(), class.into());
    }
    if u.ratio(1, few)? {
        file.insert("api_error".into(), backoff_object(u, few)?.into());
    }
    if u.ratio(1, 8)? {
        let key = *u.choose(&["fleet_quotas", "store", "fleet", "arm", "budget", "park_max", "name", "scope"])?;
        file.insert(key.into(), if u.arbitrary()? { "manual".into() } else { time(u)? });
    }
    Ok(file.into())
}

fn backoff_object(u: &mut Unstructured<'_>, few: u8) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for key in ["base", "max"] {
        if u.ratio(1, few)? {
            object.insert(key.into(), time(u)?);
        }
    }
    if u.ratio(1, few)? {
        object.insert("factor".into(), thousandths(u, 900, 4000)?);
    }
    Ok(object)
}

fn time(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(frosty::duration::show(draw::duration(u, std::time::Duration::ZERO)?).into())
}

fn thousandths(u: &mut Unstructured<'_>, least: u32, most: u32) -> Result<Value> {
    Ok((f64::from(u.int_in_range(least..=most)?) / 1000.0).into())
}
