//! Broken variants of the store. Each breaks one property that the oracle must notice.
//!
//! Most change the text of the scripts or the messages. The machine's own actions have a switch for them, in
//! builds of unit tests alone.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use super::database::Reply;
use super::dispatchers;
use super::message::{self, Message};
use super::network;
use super::plan::{Plan, secs};
use super::world::{SECOND, World};
use crate::policy::decision::State;
use crate::policy::limits::Policy;
use crate::policy::request::{Event, Step};
use crate::store::outbox::SHIP;
use crate::store::server::commit::COMMIT;

/// One broken property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// No version is checked.
    NoVersionCheck,
    /// The conditions of a refusal are not checked, and it writes.
    UncheckedRefusal,
    /// The fleet's quota is checked, and an admission is not added.
    QuotaNotAdded,
    /// A document of a scope expires before its hold.
    ShortLifetime,
    /// A document of a session expires while its engine waits.
    ForgottenSession,
    /// A commit is acknowledged before it is written.
    EarlyAcknowledgement,
    /// An admission that is retried with its id is counted again.
    RetryCounted,
    /// The head of a wait queue is never passed.
    HeadNotPassed,
    /// A decision may be older than the clock allows.
    OneSidedTime,
    /// A journal entry is shipped again.
    ShippedTwice,
    /// The minimum interval does not begin at a failover.
    NoIntervalAtFailover,
    /// The minimum interval does not begin at a failback.
    NoIntervalAtFailback,
    /// A release that was decided in the server's place is lost at the failback.
    ReleaseForgotten,
    /// A document of another store epoch is used as the base of both stores.
    BaseOfAnotherEpoch,
    /// A time of one clock is copied unchanged to a store with another clock.
    MergeByClocks,
    /// The agents' configuration has no quiet minute.
    NoQuietMinute,
    /// An idle rest is longer than the configured maximum.
    LongIdleRest,
    /// A turn that was of use counts as an empty one.
    UsefulTurnIdle,
    /// The cooldown of an API error is shorter than configured.
    ShortApiCooldown,
    /// The reports of usage windows are not read.
    WindowsNotRead,
    /// A wake-up with any signal wakes every session.
    EverySignalWakes,
    /// A claim does not check the version of its queue.
    ClaimUnversioned,
    /// An entry that is claimed stays in its list.
    ClaimedStaysListed,
    /// An old claim acknowledges the entry of a newer one.
    OldClaimEnds,
    /// An entry that is given back stays in hand.
    GivenBackStaysInHand,
    /// An entry is taken from a client that runs.
    RunningClientTakenFrom,
    /// The end of a session loses its entry.
    EndLosesEntry,
    /// The age of an entry does not count.
    AgingIgnored,
    /// A delayed entry is claimed at once.
    DelayIgnored,
    /// With an unknown queue a session continues without the entry that it requires.
    RequiredIgnored,
    /// A retry of an admission claims a second entry.
    RetryClaimsAgain,
    /// A start token is not used up by the first prompt.
    TokenUsedTwice,
    /// The claim of a dispatcher that is gone is counted, and does not end.
    ClaimOfGoneDispatcherKept,
    /// A dispatcher starts more sessions than the route allows.
    MostSessionsUnchecked,
    /// A client is started by an admission that is not committed.
    StartWithoutCommit,
    /// The claim of a client that no machine sees does not end with its lease.
    SilentClaimKept,
}

thread_local! {
    static BROKEN: Cell<Option<Variant>> = const { Cell::new(None) };
}

/// Breaks this from now on.
pub(super) fn set(variant: Option<Variant>) {
    BROKEN.set(variant);
}

/// Returns whether this is broken.
pub(crate) fn is_broken(variant: Variant) -> bool {
    BROKEN.get() == Some(variant)
}

/// Changes the limits that the agents' programs know, where the variant does.
pub(super) fn loosen(policy: &mut Policy) {
    match BROKEN.get() {
        Some(Variant::NoQuietMinute) => policy.quiet = Duration::ZERO,
        Some(Variant::LongIdleRest) => {
            if let Some(idle) = &mut policy.idle {
                (idle.growth.base, idle.growth.max) = (idle.growth.max * 2, idle.growth.max * 2);
            }
        }
        Some(Variant::ShortApiCooldown) => {
            (policy.api_error.base, policy.api_error.max) = (Duration::ZERO, Duration::ZERO);
        }
        Some(Variant::WindowsNotRead) => policy.pace = None,
        _ => {}
    }
}

/// Returns whether a variant breaks a property of work.
pub(super) fn is_of_work(variant: Variant) -> bool {
    variant >= Variant::ClaimUnversioned
}

/// Returns whether a variant breaks a property of dispatchers.
pub(super) fn is_of_dispatchers(variant: Variant) -> bool {
    variant >= Variant::TokenUsedTwice
}

/// Draws more of the faults without which a variant seldom does harm.
pub(super) fn provoke(variant: Variant, plan: &mut Plan) {
    if variant == Variant::OneSidedTime {
        // A request that is on its way for more than a second, while files take its place.
        (plan.rates.lost, plan.rates.held_back, plan.calms_at) = (40, 1000, 9 * SECOND);
        plan.policy.fleet_quotas.clear();
        plan.policy.stop.quotas.clear();
        plan.policy.quiet = Duration::ZERO;
        plan.policy.stop.min_interval = secs(1);
        for session in &mut plan.sessions {
            (session.scope, session.is_done) = (session.host, false);
        }
        plan.scopes = plan.hosts;
    }
    if variant == Variant::SilentClaimKept {
        (plan.hosts, plan.policy.work.lease) = (2, secs(5));
        dispatchers::leaves(plan);
    }
    // A client that loses its entry to another session, before a new client resumes its own.
    if let Some(work) = plan.work.as_mut().filter(|_| variant == Variant::OldClaimEnds) {
        work.share_and_restart(plan.calms_at / 2);
    }
}

/// Changes what a step was loaded with, where the variant does.
pub(crate) fn loaded(state: &mut State, step: &Step) {
    let Some(variant) = BROKEN.get() else { return };
    let State { session, work, .. } = state;
    match (variant, work) {
        (Variant::OldClaimEnds, Some(work)) => {
            if let Some(claimed) = &mut session.work {
                let newer = work.queue.hand.iter().find(|in_hand| in_hand.entry.id == claimed.id);
                claimed.claim = newer.map_or(claimed.claim, |in_hand| in_hand.claim);
            }
        }
        (Variant::AgingIgnored, Some(work)) => {
            work.heads.iter_mut().flatten().for_each(|head| head.after = [u64::MAX; 2]);
        }
        (Variant::TokenUsedTwice, Some(work)) => {
            let Event::StartPrompt { token } = &step.event else { return };
            let is_used = work.queue.hand.iter().all(|in_hand| in_hand.start != *token);
            if let Some(in_hand) = work.queue.hand.first_mut().filter(|in_hand| is_used && in_hand.start.is_empty()) {
                in_hand.start.clone_from(token);
            }
        }
        (Variant::ClaimOfGoneDispatcherKept, Some(work)) => {
            let starts =
                |claim| work.queue.hand.iter().any(|in_hand| in_hand.claim == claim && !in_hand.start.is_empty());
            work.seen.retain(|(claim, _)| !starts(*claim));
        }
        (Variant::SilentClaimKept, Some(work)) => work.queue.hand.iter_mut().for_each(|in_hand| in_hand.overdue = None),
        (Variant::DelayIgnored, Some(work)) => work.later.iter_mut().for_each(|entry| entry.at = 0),
        (Variant::RequiredIgnored, None) => session.woken = true,
        (Variant::RetryClaimsAgain, Some(_))
            if session.admitted.as_ref().is_some_and(|admitted| admitted.id == step.id) =>
        {
            (session.admitted, session.work) = (None, None);
        }
        _ => {}
    }
}

/// Returns a script as the variant changes it.
pub(super) fn patched(script: &str) -> Cow<'_, str> {
    let Some(variant) = BROKEN.get() else { return script.into() };
    let (of, from, to) = match variant {
        Variant::NoVersionCheck => (COMMIT, "holds = document and string.sub(document, 1, #a) == a", "holds = true"),
        Variant::UncheckedRefusal => (
            COMMIT,
            "  if not holds then return",
            "  if not holds and string.find(table.concat(ARGV, '|'), 'T|0|', 1, true) then return",
        ),
        Variant::QuotaNotAdded => (
            COMMIT,
            "call('ZADD', key, now_text, b)\n",
            "if not string.find(key, 'admissions:fleet', 1, true) then call('ZADD', key, now_text, b) end\n",
        ),
        Variant::ShortLifetime => (
            COMMIT,
            "if a == '' then call",
            "if string.find(key, ':doc:scope:', 1, true) then a = '3000' end\n    if a == '' then call",
        ),
        Variant::ForgottenSession => (
            COMMIT,
            "if a == '' then call",
            "if string.find(key, ':doc:session:', 1, true) then a = '2000' end\n    if a == '' then call",
        ),
        Variant::RetryCounted => (
            COMMIT,
            "if a == '' then call",
            "b = string.gsub(b, ',\"admitted\":{[^}]*}', '')\n    if a == '' then call",
        ),
        Variant::HeadNotPassed => (
            COMMIT,
            "call('ZADD', key, a, b)",
            "call('ZADD', key, string.find(key, ':queue:next:', 1, true) and '999999999999999' or a, b)",
        ),
        Variant::OneSidedTime => (COMMIT, "holds = since >= 0 and since <= 1000", "holds = since >= 0"),
        Variant::ClaimUnversioned => (
            COMMIT,
            "holds = document and string.sub(document, 1, #a) == a",
            "holds = string.find(key, ':doc:work:', 1, true) or (document and string.sub(document, 1, #a) == a)",
        ),
        Variant::StartWithoutCommit => (
            COMMIT,
            "if last == 0 then return 'ready' end",
            "if last == 0 then return 'ready' end
             if string.find(table.concat(ARGV, '|'), '\"start\":\"', 1, true) then return {'done', '0', ''} end",
        ),
        Variant::ClaimedStaysListed => (
            COMMIT,
            "call('ZADD', key, '-1', a)",
            "if not string.find(key, ':work:normal:', 1, true) then call('ZADD', key, '-1', a) end",
        ),
        Variant::GivenBackStaysInHand => (
            COMMIT,
            "if a == '' then call",
            "if string.find(key, ':doc:work:', 1, true) and string.find(table.concat(ARGV, '|'), ' failed: ', 1, true) then
      a = a
    elseif a == '' then call",
        ),
        Variant::EndLosesEntry => (
            COMMIT,
            "call('ZADD', key, a, b)\n",
            "if not string.find(table.concat(ARGV, '|'), '|SessionEnd|', 1, true) then call('ZADD', key, a, b) end\n",
        ),
        Variant::ShippedTwice => (SHIP, "if ends > reached then", "if true then"),
        _ => return script.into(),
    };
    if script != of {
        return script.into();
    }
    assert!(script.contains(from), "{variant:?} finds nothing to break");
    script.replacen(from, to, 1).into()
}

/// Changes the messages of a process: a newer program's documents have an additional field. Returns whether the
/// message is answered already, as in one variant.
pub(super) fn sends(world: &mut World, connection: usize, message: &mut Message) -> bool {
    if world.is_newer(world.network.process(connection)) {
        message.replace(|command, word| {
            let is_document = word.starts_with(b"{\"version\":") && word.ends_with(b"}");
            (command.starts_with(b"EVAL") && is_document).then(|| with_field(word))
        });
    }
    if !is_broken(Variant::EarlyAcknowledgement) {
        return false;
    }
    let is_commit = |command: &[&[u8]]| command[0].starts_with(b"EVAL") && command[1].len() == 40;
    let commits = (0..message.count()).filter(|nth| is_commit(&message.command(*nth))).count();
    for _ in 0..commits {
        let done = ["done", "0", ""].map(|word| Reply::Bulk(word.into()));
        let mut bytes = Vec::new();
        message::encode(&Reply::Array(done.into()), &mut bytes);
        network::answer(world, connection, bytes);
    }
    commits > 0
}

/// The field of the newer program.
pub(super) const NEWER: &str = "\"mood\":";

/// Returns a document with the field of the newer program.
fn with_field(document: &[u8]) -> Vec<u8> {
    let mut document = document.to_vec();
    if !String::from_utf8_lossy(&document).contains(NEWER) {
        document.pop();
        document.extend(format!(",{NEWER}\"calm\"}}").bytes());
    }
    document
}
