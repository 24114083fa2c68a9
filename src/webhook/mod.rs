//! Sending events to subscribers: at least once, signed, never where they must not go, and never in anybody's way.
//!
//! The queue is the control plane's. One task takes what is due, a bounded number of attempts run beside each other,
//! and each is written down with what became of it (S304). Addresses are judged when a target is saved and again at
//! every connection, on the very address that is connected to (S311). What happens on the path of a batch comes in by
//! [`Notices`], which only counts in memory.

mod config;
mod connect;
mod flight;
mod guard;
mod notices;
mod send;
mod signature;
#[cfg(test)]
mod tests;
mod worker;

use std::{path::PathBuf, sync::Arc};

pub use self::{
    config::Config,
    flight::Flights,
    guard::{Guard, Resolve, Resolving, SystemResolver},
    notices::{Notices, QuotaFigures},
    signature::{Signature, sign},
    worker::Worker,
};

/// Why sending cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificates of `webhook.ca_file` cannot be read.
    #[error("the certificates of webhook.ca_file = {path} cannot be read")]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificates cannot be used.
    #[error("TLS for webhooks cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Sends what is due; made once.
#[derive(Debug, Clone)]
pub struct Sender {
    guard: Arc<Guard>,
    tls: Arc<rustls::ClientConfig>,
    config: Arc<Config>,
}

impl Sender {
    /// Sends by `guard`'s rules.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(config: Config, guard: Arc<Guard>) -> Result<Self, Error> {
        let tls = connect::tls(&config)?;
        Ok(Self { guard, tls, config: Arc::new(config) })
    }
}
