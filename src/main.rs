//! Arguments, configuration, logging, exit codes.

use std::process::ExitCode;

use clap::Parser;
use sensorgate::cli::{self, Arguments};

/// Bad arguments or a bad configuration (sysexits' EX_USAGE): nothing was started.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match arguments.config() {
        Ok(config) => config,
        Err(error) => {
            complain(&error.into());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match cli::run(arguments, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "the last word of a program that could not do its work")]
fn complain(error: &anyhow::Error) {
    eprintln!("sensorgate: {error:#}");
}
