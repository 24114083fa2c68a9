//! `sensorgate bootstrap`

use anyhow::Result;
use clap::Args;

use super::{Common, Output, print, runtime};
use crate::config::Config;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    /// Name of the organisation.
    #[arg(long)]
    organisation: String,
    /// E-mail address of an administrator; give it twice, for two people.
    #[arg(long = "admin", value_name = "EMAIL", required = true)]
    admins: Vec<String>,
    /// Form of the answer on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(arguments: &Arguments, config: &Config) -> Result<()> {
    runtime()?.block_on(bootstrap(arguments, config))
}

async fn bootstrap(arguments: &Arguments, config: &Config) -> Result<()> {
    let [first, second] = arguments.admins.as_slice() else {
        anyhow::bail!("give --admin twice: an integration needs one administrator to ask and another to approve");
    };
    let organisation = &arguments.organisation;
    let made = crate::app::bootstrap(config, organisation, [("", first), ("", second)]).await?;
    if arguments.output == Output::Json {
        let admins: Vec<_> = made
            .admins
            .iter()
            .map(|(email, password)| serde_json::json!({"email": email, "one_time_password": password}))
            .collect();
        print(&serde_json::json!({"organisation_id": made.organisation_id, "admins": admins}).to_string());
        return Ok(());
    }
    print(&format!("Organisation {organisation} ({}) has two administrators.", made.organisation_id));
    print("Their one-time passwords are shown here once; each has to be changed at the first sign-in:");
    for (email, password) in &made.admins {
        print(&format!("  {email}  {password}"));
    }
    Ok(())
}
