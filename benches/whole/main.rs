//! The parts.
fn main() {}
