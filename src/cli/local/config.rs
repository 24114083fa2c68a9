//! `sensorgate config …`

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Common, print};
use crate::config;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// Say whether the configuration is good; exit code 64 names the key if not.
    Check,
    /// Print the configuration in force, with every layer applied.
    Print,
}

/// The configuration has been checked by now.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    match arguments.action {
        Action::Check => print("The configuration is good."),
        Action::Print => {
            print(&config::effective(arguments.common.config.as_deref(), config::environment())?.to_string());
        }
    }
    Ok(())
}
