//! `sensorgate break-glass`

use anyhow::Result;
use clap::Args;

use super::{Common, print, runtime};
use crate::config::Config;

#[derive(Debug, Args)]
#[command(after_help = "The service must be stopped. The user must have been given the permission, and have set a \
password of their own. Refused while two holders are left: one of them confirms then.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    /// E-mail address of the user whose permission is confirmed.
    email: String,
    /// Why; it stands in the audit log.
    #[arg(long)]
    reason: String,
}

pub(super) fn run(arguments: &Arguments, config: &Config) -> Result<()> {
    runtime()?.block_on(crate::app::break_glass(config, &arguments.email, &arguments.reason))?;
    print(&format!(
        "{} holds the permission. It stands in the audit log, and is warned of at each start until another holder \
         confirms it.",
        arguments.email
    ));
    Ok(())
}
