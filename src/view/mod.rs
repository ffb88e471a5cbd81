//! Reads a fleet for people: sessions, the journal, and verdicts in words. No Stop event uses it.

pub mod explain;
pub mod forecast;
pub mod journal;
pub mod schedule;
pub mod sessions;
pub mod survey;
pub mod turns;
pub mod usage;
pub mod work;
pub mod wrap;
