//! `sensorgate serve`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::{Common, Listeners, runtime};
use crate::{
    app::App,
    config::{self, Config},
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    listeners: Listeners,
    /// Write the addresses in use to this file as JSON once all listeners are open.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn config(&self) -> Result<Config, config::Error> {
        let mut config = self.common.load()?;
        self.listeners.apply_to(&mut config);
        Ok(config)
    }
}

pub(super) fn run(arguments: &Arguments, config: &Config) -> Result<()> {
    runtime()?.block_on(serve(config, arguments.ready_file.as_deref()))
}

async fn serve(config: &Config, ready_file: Option<&Path>) -> Result<()> {
    let app = App::start(config).await?;
    if let Some(path) = ready_file {
        app.write_ready_file(path)?;
    }
    app.warn_without_administrators().await?;
    app.warn_of_broken_glass().await?;
    app.run_until_signal().await
}
