//! What did not get into the store, between delivery, ingest and the administrators.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::{
    auth::Registry,
    config::Config,
    delivery::{Quarantine, QuarantineListener},
    ingest::Ingest,
    quarantine::{Desk, Parts, Rejections},
    spool::Writer,
};

/// The files of the quarantine, open.
pub(super) struct Held {
    pub(super) refused: Arc<Quarantine>,
    rejected: Rejections,
}

impl Held {
    /// Opens them; `listener` is told of what the store refuses.
    pub(super) fn open(config: &Config, listener: Arc<dyn QuarantineListener>) -> Result<Self> {
        let refused = Quarantine::open(&config.data_dir.join("quarantine.db"), config.delivery.quarantine_rows_max)
            .context("the quarantine")?
            .told_to(listener);
        let rejected = Rejections::open(&config.data_dir, &config.quarantine).context("the quarantine")?;
        Ok(Self { refused: Arc::new(refused), rejected })
    }

    /// The way in, handing over what integrations keep of what is rejected.
    pub(super) fn kept_of(&self, ingest: Ingest, config: &Config) -> Result<Ingest> {
        let sink = self.rejected.sink(&config.quarantine).context("the quarantine")?;
        Ok(ingest.with_rejected_sink(sink))
    }

    /// Where administrators look at it.
    pub(super) fn desk(self, registry: &Arc<Registry>, intake: &Arc<Ingest>, writer: Writer) -> Desk {
        let Self { refused, rejected } = self;
        Desk::new(Parts { refused, rejected, registry: Arc::clone(registry), intake: Arc::clone(intake), writer })
    }
}
