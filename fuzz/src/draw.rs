//! Draws policies and steps from the fuzzer's bytes. A new field of [`Step`] has its one place here.

use std::time::Duration;

use frosty::policy::cadence::Cadence;
use frosty::policy::limits::{Backoff, Burst, ClassPolicy, Cooldown, LONGEST, Policy, Quota, Spread};
use frosty::policy::process::Process;
use frosty::policy::request::{Claim, Event, Failure, FailureClass, HoldRequest, R_RANGE, Reset, RestRequest, Step};
use frosty::policy::rest::RestKind;
use frosty::policy::work::WorkPolicy;
use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// A plausible time of a machine, 2026-11-24.
pub const T0: i64 = 1_795_532_400_000;
/// The largest time that the store reads.
pub const LAST: i64 = 999_999_999_999_999;

pub fn step(event: Event) -> Step {
    Step {
        shadow: false,
        event,
        event_name: "Stop".to_owned(),
        detail: String::new(),
        scope: "scope".to_owned(),
        session: "session".to_owned(),
        name: String::new(),
        named_by_project: false,
        project: String::new(),
        wake_on: None,
        paced: false,
        pid: None,
        client: None,
        claim: Claim::Beside,
        late: None,
        host: "host".to_owned(),
        host_ms: T0,
        r: 0,
        id: "0".to_owned(),
        turn: None,
        notes: Vec::new(),
        cache_is_warm: None,
        recalls: false,
        start: None,
        known_epoch: String::new(),
        agent: String::new(),
    }
}

/// Returns true once in this many times. Zero bytes return false, so that they draw the plain case.
pub fn rarely(u: &mut Unstructured<'_>, times: u8) -> Result<bool> {
    Ok(u.int_in_range(1..=times)? == times)
}

/// Draws a duration of a policy, mostly of the size that people configure.
pub fn duration(u: &mut Unstructured<'_>, least: Duration) -> Result<Duration> {
    let ms = match u.int_in_range(0..=3)? {
        0 => Duration::from_secs(u.int_in_range(0..=60)?),
        1 => Duration::from_millis(u.int_in_range(0..=3000)?),
        2 => Duration::from_secs(60 * u.int_in_range::<u64>(0..=1000)?),
        _ => Duration::from_millis(u.int_in_range(0..=LONGEST.as_millis() as u64)?),
    };
    Ok(ms.max(least).min(LONGEST))
}

fn backoff(u: &mut Unstructured<'_>) -> Result<Backoff> {
    let base = duration(u, Duration::from_millis(1))?;
    let max = duration(u, base)?;
    Ok(Backoff { base, factor: u.int_in_range(1000..=100_000)?, max })
}

fn quotas(u: &mut Unstructured<'_>) -> Result<Vec<Quota>> {
    let count = u.int_in_range(0..=2)?;
    (0..count)
        .map(|_| Ok(Quota { limit: u.int_in_range(1..=4)?, per: duration(u, Duration::from_millis(1))? }))
        .collect()
}

fn class(u: &mut Unstructured<'_>, quotas: Vec<Quota>) -> Result<ClassPolicy> {
    let min_interval = duration(u, Duration::ZERO)?;
    let burst = match u.int_in_range(0..=3)? {
        0 => None,
        // The configuration allows one attempt only together with a minimum interval.
        n => Some(Burst {
            limit: u.int_in_range(if min_interval.is_zero() { 2 } else { 1 }..=3 + n)?,
            window: duration(u, Duration::from_millis(1))?,
        }),
    };
    let cooldown =
        Cooldown { backoff: backoff(u)?, jitter: u.int_in_range(0..=1000)?, calm: duration(u, Duration::ZERO)? };
    Ok(ClassPolicy { min_interval, burst, window_limits: false, cooldown, quotas })
}

/// Draws a policy within the bounds of the configuration.
pub fn policy(u: &mut Unstructured<'_>) -> Result<Policy> {
    let own = quotas(u)?;
    let (stop, compact) = (class(u, own)?, class(u, Vec::new())?);
    Ok(Policy {
        stop,
        compact,
        api_error: backoff(u)?,
        fleet_quotas: quotas(u)?,
        hold_after_strikes: u.int_in_range(0..=5)?,
        spread: Spread { step: duration(u, Duration::ZERO)?, cold: duration(u, Duration::ZERO)? },
        // They apply to measured turns, to persons, to usage windows and to queues, and none of these is drawn. A cadence applies to paced requests.
        idle: None,
        quiet: Duration::ZERO,
        pace: None,
        work: WorkPolicy::default(),
        cadence: Cadence::default(),
    })
}

fn rest(u: &mut Unstructured<'_>) -> Result<RestRequest> {
    let lasting = if rarely(u, 3)? { None } else { Some(duration(u, Duration::ZERO)?) };
    let topic = (*u.choose(&["", "the build"])?).to_owned();
    Ok(RestRequest { kind: *u.choose(&RestKind::ALL)?, lasting, topic })
}

fn failure(u: &mut Unstructured<'_>) -> Result<Failure> {
    let class = *u.choose(&[FailureClass::Passing, FailureClass::Request, FailureClass::Person])?;
    let reset = match u.int_in_range(0..=3)? {
        0 => Some(Reset::At(u.arbitrary()?)),
        1 => Some(Reset::After(Duration::from_millis(u.arbitrary()?))),
        _ => None,
    };
    let of_key = reset.is_some() && u.arbitrary()?;
    let model = (*u.choose(&["", "opus"])?).to_owned();
    Ok(Failure { class, reset, of_key, model, too_long: u.arbitrary()?, cure: "log in".to_owned() })
}

/// Draws any event; `fence` is one that may be the session's.
pub fn event(u: &mut Unstructured<'_>, fence: i64) -> Result<Event> {
    let fence = if rarely(u, 4)? { u.arbitrary()? } else { fence };
    Ok(match u.int_in_range(0..=15)? {
        0..=3 => Event::Stop { rest: if rarely(u, 3)? { Some(rest(u)?) } else { None } },
        4..=5 => Event::Ask { fence, renew: u.arbitrary()? },
        6 => Event::StopFailure(failure(u)?),
        7 => Event::PreCompactAuto,
        8 => Event::PersonPrompt,
        9 => Event::ClientPrompt { of_admission: u.arbitrary()? },
        10 => Event::SessionStart { label: "a:b".to_owned() },
        11 => Event::SessionEnd,
        12 => Event::NeedsYou,
        13 => Event::Wake {
            note: (*u.choose(&["", "the build is green"])?).to_owned(),
            spread: u.arbitrary()?,
            signal: u.choose(&[None, Some("ping"), Some("infra")])?.map(str::to_owned),
            depth: 0,
        },
        14 if u.arbitrary()? => Event::Release { fleet: u.arbitrary()?, at_once: u.arbitrary()? },
        14 => Event::Hold(HoldRequest {
            fleet: u.arbitrary()?,
            by: (*u.choose(&["ann@host", "api", "willy"])?).to_owned(),
            reason: "why".to_owned(),
            lasting: if u.arbitrary()? { Some(Duration::from_millis(u.arbitrary()?)) } else { None },
            at_once: u.arbitrary()?,
            replace: u.arbitrary()?,
        }),
        _ => Event::Expired { fence },
    })
}

/// Draws any step at about `now`.
pub fn any_step(u: &mut Unstructured<'_>, fence: i64, now: i64) -> Result<Step> {
    let event = event(u, fence)?;
    let host_ms = if rarely(u, 8)? { u.arbitrary()? } else { now };
    let late = if rarely(u, 8)? { Some(Duration::from_millis(u.arbitrary()?)) } else { None };
    Ok(Step {
        paced: u.arbitrary()?,
        pid: u.arbitrary::<Option<u32>>()?.map(Process::numbered),
        client: if rarely(u, 4)? { Some(Process::numbered(u.int_in_range(1..=2)?)) } else { None },
        claim: *u.choose(&[Claim::Take, Claim::Yield, Claim::Beside])?,
        late,
        host_ms,
        r: u.int_in_range(0..=R_RANGE)?,
        id: u.int_in_range(0..=3u8)?.to_string(),
        wake_on: if rarely(u, 8)? { Some(vec!["infra".to_owned()]) } else { None },
        known_epoch: ["", "", "", "another"][u.int_in_range(0..=3usize)?].to_owned(),
        ..step(event)
    })
}
