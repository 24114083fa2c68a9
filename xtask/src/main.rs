//! The project's own tasks. `cargo xtask test` is everything that has to be green before a change lands.

mod packages;
mod steps;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything: formatting, lints, unit tests, black-box tests, documentation, house rules, dependencies.
    Test {
        /// Only the steps whose name contains this word.
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> ExitCode {
    let Task::Test { only } = Arguments::parse().task;
    steps::run(only.as_deref())
}
