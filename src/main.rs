//! Arguments, configuration, logging, exit codes.

fn main() {}
