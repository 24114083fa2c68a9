//! The section `[quarantine]`.

use serde::Deserialize;

/// How much is kept of what integrations were refused, where they keep it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rejected readings of all integrations together, at most.
    pub rejected_rows_max: u64,
    /// Rejected readings of one integration, at most.
    pub rejected_rows_per_integration_max: u64,
    /// Bytes of one rejected reading as it was sent, at most.
    pub rejected_entry_bytes_max: usize,
    /// Days after which a rejected reading is forgotten.
    pub rejected_keep_days: u32,
    /// Batches that wait to be written, at most.
    pub queue_batches_max: usize,
    /// Bytes of the batches that wait to be written, at most.
    pub queue_bytes_max: usize,
}

impl Config {
    /// Whether the values are in range and fit one another.
    ///
    /// # Errors
    /// Names the key, its value and the range.
    pub fn check(&self) -> Result<(), String> {
        let ranges: [(&str, u64, u64, u64); 6] = [
            ("rejected_rows_max", self.rejected_rows_max, 1, 100_000_000),
            ("rejected_rows_per_integration_max", self.rejected_rows_per_integration_max, 1, self.rejected_rows_max),
            ("rejected_entry_bytes_max", self.rejected_entry_bytes_max as u64, 256, 1 << 20),
            ("rejected_keep_days", self.rejected_keep_days.into(), 1, 3_650),
            ("queue_batches_max", self.queue_batches_max as u64, 1, 100_000),
            ("queue_bytes_max", self.queue_bytes_max as u64, 1 << 20, 1 << 31),
        ];
        for (key, value, low, high) in ranges {
            if value < low || value > high {
                return Err(format!("quarantine.{key} = {value}: must be {low} to {high}"));
            }
        }
        Ok(())
    }
}
