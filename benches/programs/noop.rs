//! The no-op: what any process of the same target costs.

fn main() {}
