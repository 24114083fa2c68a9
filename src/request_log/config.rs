//! The section `[request_log]`.

use serde::Deserialize;

/// Limits and habits of the API log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether requests are kept. What is there already stays readable either way.
    pub enabled: bool,
    /// Bytes of entries that wait to be written; beyond it entries are dropped and counted.
    pub queue_bytes_max: usize,
    /// How often the entries that wait are written, in milliseconds. A kill loses as much.
    pub flush_ms: u64,
    /// Days that single requests are kept.
    pub raw_days: u32,
    /// Bytes of the file above which the oldest requests go before their time.
    pub bytes_max: u64,
    /// Days that the hourly sums are kept: at least 13 months (A41).
    pub rollup_days: u32,
    /// Requests of nobody in particular that are kept a minute; the rest is counted.
    pub unattributed_per_minute: u32,
    /// Addresses remembered for each integration.
    pub addresses_max: u32,
    /// Questions answered at once.
    pub readers: usize,
}

impl Config {
    /// Whether the values are in range.
    ///
    /// # Errors
    /// Names the key, its value and the range.
    pub fn check(&self) -> Result<(), String> {
        range("request_log.queue_bytes_max", self.queue_bytes_max as u64, 65_536, 1 << 30)?;
        range("request_log.flush_ms", self.flush_ms, 10, 1_500)?;
        range("request_log.raw_days", self.raw_days.into(), 1, 36_500)?;
        range("request_log.bytes_max", self.bytes_max, 1 << 20, 1 << 50)?;
        range("request_log.rollup_days", self.rollup_days.into(), 396, 36_500)?;
        range("request_log.unattributed_per_minute", self.unattributed_per_minute.into(), 0, 1_000_000)?;
        range("request_log.addresses_max", self.addresses_max.into(), 1, 1_000_000)?;
        range("request_log.readers", self.readers as u64, 1, 64)
    }
}

fn range(key: &str, value: u64, min: u64, max: u64) -> Result<(), String> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(format!("{key} = {value}: must be {min} to {max}")) }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn a_refusal_names_key_and_value() {
        let file: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
        let sound: Config = file["request_log"].clone().try_into().unwrap();
        assert_eq!(sound.check(), Ok(()));
        // A41: the sums of a quarter must still be there when the year after is reviewed.
        let short = Config { rollup_days: 90, ..sound };
        assert_eq!(short.check().unwrap_err(), "request_log.rollup_days = 90: must be 396 to 36500");
    }
}
