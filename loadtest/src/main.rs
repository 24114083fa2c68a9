//! The load generator. Under construction.
fn main() {}
