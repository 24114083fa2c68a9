//! `sensorgate asyncapi`

use clap::Args;

use super::Common;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
}
