//! The paths of a fleet's files in its folder.
//!
//! Scopes and sessions are spread over 256 folders by a hash of the name, so that no folder grows with the whole past.

use crate::policy::limits::Ms;
use crate::policy::work::entry::List;

/// The fleet's own file.
pub const FLEET: &str = "fleet.json";

/// The folder of the scopes' folders.
pub const SCOPES: &str = "scopes";

/// The folder of the sessions' folders.
pub const SESSIONS: &str = "sessions";

/// Returns the path of the file of a scope.
#[must_use]
pub fn scope(name: &str) -> String {
    format!("{}/{name}.json", scope_folder(name))
}

/// Returns the path of the file of a session.
#[must_use]
pub fn session(id: &str) -> String {
    format!("{}/{id}.json", session_folder(id))
}

/// The folder of what is known by the ids of entries of work.
pub const WORK_RECORDS: &str = "work-ids";

/// The folder of the work queues.
pub const WORK: &str = "work";

/// The folder of the texts of the agents' rests.
pub const SLEEPING: &str = "sleeping";

/// Returns the path of the text of an agent's rest.
#[must_use]
pub fn sleeping(agent: &str) -> String {
    format!("{SLEEPING}/{agent}")
}

/// Returns the path of the document of an agent's work queue.
#[must_use]
pub fn queue(agent: &str) -> String {
    format!("{WORK}/{agent}/queue.json")
}

/// Returns the path of the folder of a queue's list.
#[must_use]
pub fn entries(agent: &str, list: List) -> String {
    format!("{WORK}/{agent}/{}", list.code())
}

/// Returns the path of an entry of a list. Entries with the same time are distinguished by their ids.
#[must_use]
pub fn entry(agent: &str, list: List, place: Ms, id: &str) -> String {
    let folder = entries(agent, list);
    match list {
        List::High | List::Normal | List::Low => format!("{folder}/{place:020}.json"),
        List::Later | List::Dead => format!("{folder}/{place:020}-{id}.json"),
    }
}

/// Returns the path of the file of what is known by the id of an entry of work.
#[must_use]
pub fn work_record(id: &str) -> String {
    format!("{}/{id}.json", work_records(part(id)))
}

/// Returns the path of one of the folders of these files.
#[must_use]
pub fn work_records(part: u8) -> String {
    format!("{WORK_RECORDS}/{part:02x}")
}

/// Returns the path of the folder of a scope's file.
#[must_use]
pub fn scope_folder(name: &str) -> String {
    format!("{SCOPES}/{:02x}", part(name))
}

/// Returns the path of the folder of a session's file.
#[must_use]
pub fn session_folder(id: &str) -> String {
    format!("{SESSIONS}/{:02x}", part(id))
}

/// Returns the FNV-1a hash of a name, folded to a byte.
fn part(name: &str) -> u8 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_le_bytes().into_iter().fold(0, |folded, byte| folded ^ byte)
}
