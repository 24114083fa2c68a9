//! The project's own tasks. `cargo xtask test` is everything that has to be green before a change lands.

mod mosquitto;
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
    /// Holds both OpenAPI documents against the running service for as long as somebody has time.
    Contract {
        /// Rounds of each call in each phase.
        #[arg(long, default_value_t = 200)]
        examples: u32,
        /// What the rounds are drawn from.
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
    /// Fetches the programs and packages that the tests talk to.
    Fetch,
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Test { only } => steps::run(only.as_deref()),
        Task::Contract { examples, seed } => steps::contract(examples, seed),
        Task::Fetch => {
            let gaps = packages::missing();
            gaps.iter().for_each(|gap| steps::say(&format!("Not available: {gap}")));
            if gaps.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
