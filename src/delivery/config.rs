//! The section `[delivery]`.

use serde::Deserialize;

/// Delays and limits of delivery.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a reading waits for others before the group is written, in milliseconds.
    pub delay_ms_max: u64,
    /// Readings in a group, at most.
    pub group_readings_max: usize,
    /// Pause before the first repetition of a write that the store could not take, in milliseconds.
    pub retry_ms_min: u64,
    /// Longest pause between two repetitions, in milliseconds.
    pub retry_ms_max: u64,
    /// Seconds without success after which the service says that it is not ready.
    pub complain_after_s: u64,
    /// Readings and records in quarantine above which delivery stands still.
    pub quarantine_rows_max: u64,
}

impl Config {
    /// Whether the values are in range and fit one another.
    ///
    /// # Errors
    /// Names the key, its value and the range.
    pub fn check(&self) -> Result<(), String> {
        range("delivery.delay_ms_max", self.delay_ms_max, 1, 60_000)?;
        range("delivery.group_readings_max", self.group_readings_max as u64, 1000, 10_000_000)?;
        range("delivery.retry_ms_min", self.retry_ms_min, 1, 60_000)?;
        range("delivery.retry_ms_max", self.retry_ms_max, self.retry_ms_min, 600_000)?;
        range("delivery.complain_after_s", self.complain_after_s, 0, 86_400)?;
        range("delivery.quarantine_rows_max", self.quarantine_rows_max, 1, 1 << 40)
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
        let sound = Config {
            delay_ms_max: 500,
            group_readings_max: 1_000_000,
            retry_ms_min: 50,
            retry_ms_max: 5000,
            complain_after_s: 10,
            quarantine_rows_max: 1_000_000,
        };
        assert_eq!(sound.check(), Ok(()));
        let crossed = Config { retry_ms_max: 49, ..sound };
        assert_eq!(crossed.check().unwrap_err(), "delivery.retry_ms_max = 49: must be 50 to 600000");
    }
}
