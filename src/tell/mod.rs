//! The journal in words: an entry on one line, and a verdict with its rule, its numbers, and what comes next.

pub mod line;
