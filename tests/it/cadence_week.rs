//! A simulated week of an agent under each ready profile, by the policy's own steps: the shares of its time, and the picture of a
//! day in docs/profiles.svg.
//!
//! `tests/profiles_picture.sh` writes the picture; the test compares it.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use frosty::config::profile::{Profile, READY};
use frosty::policy::cadence::{DREAMS_A_DAY, TurnKind};
use frosty::policy::calendar::Zone;
use frosty::policy::decision::{self, State};
use frosty::policy::limits::{Ms, Policy};
use frosty::policy::request::{Event, RestRequest, Step};
use frosty::policy::rest::RestKind;
use frosty::policy::turn::{Turn, Worth};
use frosty::policy::verdict::Outcome;

use crate::support::step;

const MINUTE: Ms = 60_000;
const HOUR: Ms = 60 * MINUTE;
const DAY: Ms = 24 * HOUR;
/// Monday, 4 January 2027, 00:00 UTC.
const MONDAY: Ms = 1_799_020_800_000;
/// The path of the picture, from the root of the repository.
const PICTURE: &str = "docs/profiles.svg";

/// A linear congruential generator, so that a week with the same seed is the same each time.
struct Chance(u64);

impl Chance {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// The length of a turn in milliseconds: lognormal, with a median of a minute.
    fn turn(&mut self) -> f64 {
        let normal = (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos();
        60_000.0 * (0.8 * normal).exp()
    }
}

/// A turn of the week.
#[derive(Debug, Clone, Copy)]
struct Past {
    kind: TurnKind,
    worth: Worth,
    begin: Ms,
    end: Ms,
}

/// Returns the turns of a week. Tasks come by chance, more of them by day than by night, each with work for some turns.
fn week(profile: &str, seed: u64) -> Vec<Past> {
    let mut policy = Policy::default();
    let mut profile = Profile::ready(profile).expect("a ready profile");
    profile.cadence.calendar.zone = Zone::default();
    profile.shape(&mut policy);
    let (mut chance, mut state, mut past) = (Chance(seed), State::default(), Vec::new());
    let (mut now, mut next_task, mut left) = (MONDAY, MONDAY + 7 * HOUR, 0);
    let mut ended: Option<Turn> = None;
    let mut rest = None;
    while now < MONDAY + 7 * DAY {
        let mut event = Event::Stop { rest: rest.take() };
        let decided = loop {
            let turn = ended.take().map(Box::new);
            let decided = decision::step(&policy, &mut state, &sent(event, turn, now), now);
            if decided.outcome == Outcome::Admit {
                break decided;
            }
            now += Ms::try_from(decided.retry_after.expect("a time ends it").as_millis()).expect("a length");
            event = Event::Ask { fence: state.session.fence.unwrap_or(0), renew: false };
        };
        while next_task <= now {
            left += 4 + (chance.share() * 14.0) as u32;
            let is_day = (7..22).contains(&(next_task.rem_euclid(DAY) / HOUR));
            next_task += ((if is_day { 0.5 } else { 1.5 } + 3.0 * chance.share()) * HOUR as f64) as Ms;
        }
        let kind = decided.turn_kind;
        let works = kind.is_work() && left > 0;
        left -= u32::from(works);
        let length = if works { chance.turn() } else { 15_000.0 } as Ms;
        let calls = if works { vec![(chance.share() * 1e18) as u64] } else { Vec::new() };
        let tools = u32::from(works);
        let turn = Turn { seen: true, tools, units: tools, calls, tokens_out: 40, ..Turn::default() };
        let worth = if works { Worth::Worked } else { Worth::Empty };
        past.push(Past { kind, worth, begin: now, end: now + length });
        now += length;
        // Now and then the agent itself asks for a later time.
        let asks = kind.is_work() && !works && chance.share() < 0.1;
        rest = asks.then(|| RestRequest {
            kind: RestKind::Rest,
            lasting: Some(Duration::from_secs(2400)),
            topic: String::new(),
        });
        ended = Some(turn);
    }
    past
}

/// Returns a step of the agent's waiting engine, whose prompt cache is warm.
fn sent(event: Event, turn: Option<Box<Turn>>, now: Ms) -> Step {
    Step { paced: true, host_ms: now, id: now.to_string(), turn, cache_is_warm: Some(true), ..step(event) }
}

/// The shares of a week's time, in thousandths: work, looks, reflections, dreams, and rest.
fn shares(past: &[Past]) -> [i64; 5] {
    let time = |wanted: &dyn Fn(&&Past) -> bool| past.iter().filter(wanted).map(|one| one.end - one.begin).sum::<Ms>();
    let parts = [
        time(&|one| one.kind.is_work() && one.worth == Worth::Worked),
        time(&|one| one.kind.is_work() && one.worth != Worth::Worked),
        time(&|one| one.kind.is_reflection()),
        time(&|one| one.kind == TurnKind::Dream),
    ]
    .map(|ms| ms * 1000 / (7 * DAY));
    [parts[0], parts[1], parts[2], parts[3], 1000 - parts.iter().sum::<i64>()]
}

#[test]
fn each_profile_has_a_week_of_its_own() {
    for (name, _) in READY {
        let past = week(name, 7);
        let count = |wanted: &dyn Fn(&&Past) -> bool| past.iter().filter(wanted).count();
        let dreams: Vec<Ms> = past.iter().filter(|one| one.kind == TurnKind::Dream).map(|one| one.begin).collect();
        let [work, looks, reflection, dream, rest] = shares(&past).map(|share| share as f64 / 10.0);
        println!(
            "{name}: {} turns, {} reflections, {} dreams; time: work {work:.1} %, looks {looks:.1} %, reflection {reflection:.1} %, dreams {dream:.1} %, rest {rest:.1} %",
            past.len(),
            count(&|one| one.kind.is_reflection()),
            dreams.len()
        );
        assert!(dreams.len() * 10 <= past.len(), "{name}");
        for from in &dreams {
            let day = dreams.iter().filter(|at| (0..DAY).contains(&(**at - from))).count();
            assert!(day <= DREAMS_A_DAY, "{name}: {day}");
        }
    }
}

/// The colours of a picture's marks, for a light and a dark page alike.
fn colour(one: &Past) -> &'static str {
    match one.kind {
        TurnKind::Dream => "#8250df",
        kind if kind.is_reflection() => "#d4862b",
        _ if one.worth == Worth::Worked => "#2f81f7",
        _ => "#8b949e",
    }
}

/// Draws the Tuesday of each profile: a mark for each turn, and nothing for a rest.
fn picture() -> String {
    const LEFT: i64 = 96;
    const WIDTH: i64 = 864;
    const ROW: i64 = 44;
    let rows = i64::try_from(READY.len()).expect("few");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#6e7781\">\n<title>A day of each profile</title>\n",
        LEFT + WIDTH + 16,
        ROW * rows + 60
    );
    let x = |ms: Ms| LEFT as f64 + ms as f64 * WIDTH as f64 / DAY as f64;
    for hour in (0..=24).step_by(3) {
        let at = x(hour * HOUR);
        let _ = writeln!(svg, "<path d=\"M{at:.1} 8V{}\" stroke=\"#d0d7de\"/>", ROW * rows + 4);
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{hour:02}</text>", ROW * rows + 20);
    }
    for (row, (name, _)) in (0..).zip(READY) {
        let top = 10 + row * ROW;
        let _ = writeln!(svg, "<text x=\"4\" y=\"{}\" font-size=\"14\">{name}</text>", top + 20);
        let day = MONDAY + DAY;
        for one in week(name, 7).iter().filter(|one| (0..DAY).contains(&(one.begin - day))) {
            let length = (x(one.end) - x(one.begin)).max(0.8);
            let (up, high) = if one.kind.is_work() { (6, 22) } else { (0, 34) };
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{}\" width=\"{length:.1}\" height=\"{high}\" fill=\"{}\"/>",
                x(one.begin - day),
                top + up,
                colour(one)
            );
        }
    }
    let legend = [
        ("#2f81f7", "work"),
        ("#8b949e", "a look with nothing to do"),
        ("#d4862b", "reflection"),
        ("#8250df", "dream"),
    ];
    for (n, (fill, words)) in (0..).zip(legend) {
        let (at, y) = (LEFT + n * 190, ROW * rows + 36);
        let _ = writeln!(svg, "<rect x=\"{at}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{fill}\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{words}</text>", at + 18, y + 10);
    }
    svg + "</svg>\n"
}

#[test]
fn the_picture_is_that_of_the_policy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
    #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
    let renews = std::env::var_os("FROSTY_PICTURE").is_some();
    if renews {
        std::fs::write(&path, picture()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == picture(), "{PICTURE} is of another policy; renew it: tests/profiles_picture.sh");
}
