//! The no-op: the cost of any process of the same target.

fn main() {}
