//! The room's section of the configuration.

use serde::Deserialize;

/// `[control]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a statement waits for another process that holds the database, in milliseconds, 100 … 60,000.
    pub busy_timeout_ms: u64,
    /// Connections that read beside the one that writes, 1 … 64.
    pub read_connections: usize,
}

impl Config {
    /// Whether the values make sense; names the key and the value that does not.
    pub fn check(&self) -> Result<(), String> {
        if !(100..=60_000).contains(&self.busy_timeout_ms) {
            return Err(format!("control.busy_timeout_ms = {}: must be 100 to 60000", self.busy_timeout_ms));
        }
        if !(1..=64).contains(&self.read_connections) {
            return Err(format!("control.read_connections = {}: must be 1 to 64", self.read_connections));
        }
        Ok(())
    }
}
