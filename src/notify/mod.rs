//! Notifications of a hold, a resume, and a session that needs a person.
//!
//! `notification` is the message. `detached` starts `frosty announce`, which sends it, so that a hook does not
//! wait for the delivery.

pub mod detached;
pub mod lost_engines;
pub mod notification;

pub use notification::{Kind, Notification};
