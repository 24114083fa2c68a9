//! Section `[store]` of the configuration.

use std::time::Duration;

use serde::Deserialize;

/// Which store, and how it behaves. Every key is explained in `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where readings stay.
    pub kind: Kind,
    /// Directory of the embedded store, below the data directory.
    pub directory: String,
    /// Page cache of the writing connection, in MiB.
    pub cache_mb: u32,
    /// Connections that read at the same time.
    pub readers: u32,
    /// How long one call waits for a free reading connection, in milliseconds.
    pub reader_timeout_ms: u64,
    /// Readings held in memory, at most, before they are written to the store's file.
    pub hold_readings_max: usize,
    /// How long readings are held in memory, at most, in milliseconds.
    pub hold_ms: u64,
    /// Hours after the end of a UTC day until its readings are re-encoded.
    pub close_after_h: u32,
    /// Days that readings are kept; 0: for ever.
    pub retention_days: u32,
    /// Length of the write-ahead log at which the writer itself makes a checkpoint, in MiB.
    pub wal_mb_max: u32,
    /// Pause between two looks for maintenance work, in milliseconds.
    pub maintenance_interval_ms: u64,
}

/// The stores there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One SQLite file of this process.
    Embedded,
}

impl Config {
    /// # Errors
    /// Names the key that is out of range, and its value.
    pub fn check(&self) -> Result<(), String> {
        let within = |key: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(format!("store.{key} = {value}: must be {min} to {max}"))
            }
        };
        let plain = std::path::Path::new(&self.directory)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if self.directory.is_empty() || !plain {
            return Err(format!("store.directory = {:?}: must be a name below the data directory", self.directory));
        }
        within("cache_mb", self.cache_mb.into(), 1, 65_536)?;
        within("readers", self.readers.into(), 1, 64)?;
        within("reader_timeout_ms", self.reader_timeout_ms, 1, 600_000)?;
        within("hold_readings_max", self.hold_readings_max as u64, 0, 10_000_000)?;
        within("hold_ms", self.hold_ms, 0, 3_600_000)?;
        within("close_after_h", self.close_after_h.into(), 0, 8_760)?;
        within("retention_days", self.retention_days.into(), 0, 36_500)?;
        within("wal_mb_max", self.wal_mb_max.into(), 1, 65_536)?;
        within("maintenance_interval_ms", self.maintenance_interval_ms, 10, 600_000)
    }

    pub(super) const fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms)
    }

    /// Pause between two looks for maintenance work.
    #[must_use]
    pub const fn maintenance_interval(&self) -> Duration {
        Duration::from_millis(self.maintenance_interval_ms)
    }
}
