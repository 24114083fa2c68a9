//! `sensorgate demo`

use anyhow::Result;
use clap::Args;

use super::{Common, Listeners, runtime};
use crate::{
    config::{self, Config},
    demo,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    listeners: Listeners,
    /// End after the summary instead of serving on.
    #[arg(long)]
    once: bool,
}

impl Arguments {
    pub(super) fn config(&self) -> Result<Config, config::Error> {
        let mut config = self.common.load()?;
        let listeners = &self.listeners;
        listeners.apply_to(&mut config);
        let named = [listeners.http, listeners.mqtt, listeners.admin].map(|address| address.is_some());
        demo::avoid_taken_ports(&mut config, named);
        Ok(config)
    }
}

pub(super) fn run(arguments: &Arguments, config: Config) -> Result<()> {
    runtime()?.block_on(demo::run(config, arguments.once))
}
