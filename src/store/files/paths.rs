//! The paths of a fleet's files in its folder.
//!
//! Scopes and sessions are spread over 256 folders by a hash of the name, so that no folder grows with the whole past.

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
