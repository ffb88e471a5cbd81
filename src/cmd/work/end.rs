//! `frosty work done`, `fail`, `retry` and `drop`.

use super::adder;
use super::{IdArgs, WorkError};
use crate::cmd::{Failure, out};
use crate::env::Env;
use crate::hook;
use crate::policy::request::{Event, Step};
use crate::policy::work::RecordState;
use crate::store::fleet_reader::FleetReader;
use crate::store::work::{self, Change, Changed};
use crate::text;

/// What a command does to an entry.
#[derive(Debug)]
pub(super) enum End {
    Done,
    Failed(String),
    Retried,
    Dropped,
}

impl End {
    fn event(&self) -> &'static str {
        match self {
            Self::Done => "WorkDone",
            Self::Failed(_) => "WorkFail",
            Self::Retried => "WorkRetry",
            Self::Dropped => "WorkDrop",
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Self::Done => "is done",
            Self::Failed(_) => "was given back",
            Self::Retried => "waits again",
            Self::Dropped => "was removed",
        }
    }
}

/// Ends an entry, or lets it wait again.
pub(super) fn run(args: IdArgs, end: &End) -> Result<(), Failure> {
    let env = Env::read();
    let config = crate::cmd::config(&env, args.place)?;
    let id = args.id;
    let unknown = || WorkError::Unknown { id: text::line(&id) };
    let mut reader = FleetReader::open_to_change(&config);
    let sessions = reader.sessions()?;
    let (known, _) = work::record(&mut reader, &id)?.ok_or_else(unknown)?;
    let session = adder::find(&env, &config, &sessions);
    let own_claim = session.as_ref().and_then(|adder| adder.work.as_ref());
    let claim = match (&session, end) {
        (None, _) => None,
        (Some(_), End::Done | End::Failed(_)) => {
            let own = own_claim.filter(|own| own.id == id);
            Some(own.ok_or_else(|| WorkError::NotInHand { id: text::line(&id) })?.claim)
        }
        (Some(_), End::Retried) => return Err(WorkError::ByPerson { what: "retry" }.into()),
        (Some(_), End::Dropped) => return Err(WorkError::ByPerson { what: "drop" }.into()),
    };
    let name = session.map(|adder| adder.session).unwrap_or_default();
    let detail = match end {
        End::Failed(why) => why.clone(),
        _ => format!("by {}", crate::cmd::origin::by()),
    };
    let step = Step { detail, ..hook::step_of(String::new(), name, end.event(), Event::Other) };
    let change = Change { agent: &known.agent, id: &id, by: None, step: &step };
    let policy = config.policy.work;
    work::change(&config, &change, |Changed { work, record, now, .. }| {
        let state = record.map(|record| record.state).unwrap_or_default();
        let done = match (end, state) {
            (End::Done, RecordState::InHand) => work.finish(&id, claim, now),
            (End::Done, RecordState::Waiting) => work.finish_picked(now),
            (End::Failed(why), RecordState::InHand) => work.give_back(&id, claim, why, &policy, now),
            (End::Retried, RecordState::Waiting | RecordState::Dead) => work.retry(now),
            (End::Dropped, RecordState::Waiting | RecordState::Dead | RecordState::InHand) => work.drop_entry(&id, now),
            _ => return Err(WorkError::State { id: text::line(&id), state: state.words() }),
        };
        done.map_err(|_| WorkError::State { id: text::line(&id), state: state.words() })
    })??;
    out::say(&format!("{} {}", text::line(&id), end.words()));
    Ok(())
}
