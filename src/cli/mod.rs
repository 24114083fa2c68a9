//! The command line: what each subcommand takes, how its answer is printed, and how the process ends.
//!
//! The commands in `local` work in this process, on a configuration and a data directory.

mod local;

use std::process::ExitCode;

use clap::Parser;

/// Takes sensor readings from a grower's facility into a time-series store, durably and exactly once.
#[derive(Debug, Parser)]
#[command(name = "sensorgate", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: local::Command,
}

/// Does what the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    local::run(Arguments::parse().command)
}

/// Writes the answer to the command that was given.
#[allow(clippy::print_stdout, reason = "the answer to the command that was given")]
fn print(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr, reason = "the last word of a program that could not do its work")]
fn complain(error: &anyhow::Error) {
    eprintln!("sensorgate: {error:#}");
}
