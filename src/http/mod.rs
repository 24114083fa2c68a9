//! The integration API over HTTP: protocol on one side, a submission on the other.
//!
//! This room owns what is HTTP about a batch: the order of checks, reading and inflating a body within its limits,
//! idempotency keys, the headers that every answer has, problem bodies and the pages behind them. It knows neither
//! how callers are told apart (auth) nor what makes a reading good (ingest), and it never touches a socket itself
//! (listener).

mod body;
mod capacity;
mod config;
mod content;
mod edge;
mod exchange;
mod finish;
mod idempotency;
mod inflate;
mod instruments;
mod openapi;
mod pages;
mod readings;
mod refusal;
mod reply;
mod resource;
mod seam;
mod surface;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use edge::{Args, Edge};
pub use idempotency::Idempotency;
pub use openapi::openapi;
pub use seam::Door;
pub use surface::{OpenRoutes, Resource, Surface};

use std::path::PathBuf;

/// What can fail before the port is open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of kept answers cannot be made.
    #[error("open the file of kept answers {path}")]
    Idempotency {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// The system gives us no thread.
    #[error("start the thread that writes kept answers")]
    Thread {
        /// Why not.
        source: std::io::Error,
    },
}
