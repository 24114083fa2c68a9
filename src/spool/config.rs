//! The section `[spool]`.

use serde::Deserialize;

/// Limits and habits of the spool.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Size of a segment file, set aside in one piece when it is made.
    pub segment_bytes: u64,
    /// Drained segment files kept for reuse: writing over a file costs half of growing one.
    pub spare_segments: usize,
    /// Undelivered and unsynced bytes above which appends are refused as [`Full`](super::AppendError::Full).
    pub bytes_max: u64,
    /// Free space of the file system below which appends are refused as [`DiskFull`](super::AppendError::DiskFull).
    pub free_disk_bytes_min: u64,
    /// Appends that wait for the disk at once.
    pub queue_records_max: usize,
    /// Bytes that wait for the disk at once.
    pub queue_bytes_max: usize,
    /// Bytes written between two syncs.
    pub group_bytes_max: usize,
    /// Bytes of synced records kept in memory for the reader, so that it need not read them from disk.
    pub tail_bytes_max: usize,
    /// Seconds for which a drained segment is kept, so that one can go back to it.
    pub drained_keep_s: u64,
    /// Whether an append waits for the disk. `false` loses acknowledged readings in a power cut: only for measuring.
    pub sync: bool,
}

const MIB: u64 = 1 << 20;

impl Config {
    /// Whether the values are in range and fit one another.
    ///
    /// # Errors
    /// Names the key, its value and the range.
    pub fn check(&self) -> Result<(), String> {
        range("spool.segment_bytes", self.segment_bytes, 4 * MIB, 256 * MIB)?;
        if !self.segment_bytes.is_multiple_of(4096) {
            return Err(format!("spool.segment_bytes = {}: must be a multiple of 4096", self.segment_bytes));
        }
        range("spool.spare_segments", self.spare_segments as u64, 0, 64)?;
        range("spool.bytes_max", self.bytes_max, 4 * self.segment_bytes, 1 << 50)?;
        range("spool.free_disk_bytes_min", self.free_disk_bytes_min, 0, 1 << 50)?;
        range("spool.queue_records_max", self.queue_records_max as u64, 1, 1 << 20)?;
        range("spool.queue_bytes_max", self.queue_bytes_max as u64, 4 * MIB, 4096 * MIB)?;
        range("spool.group_bytes_max", self.group_bytes_max as u64, MIB, self.segment_bytes)?;
        range("spool.tail_bytes_max", self.tail_bytes_max as u64, 0, 16_384 * MIB)?;
        range("spool.drained_keep_s", self.drained_keep_s, 0, 31 * 86_400)
    }
}

fn range(key: &str, value: u64, min: u64, max: u64) -> Result<(), String> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(format!("{key} = {value}: must be {min} to {max}")) }
}

#[cfg(test)]
mod tests {
    use super::Config;

    fn sound() -> Config {
        Config {
            segment_bytes: 64 << 20,
            spare_segments: 2,
            bytes_max: 10 << 30,
            free_disk_bytes_min: 256 << 20,
            queue_records_max: 8192,
            queue_bytes_max: 64 << 20,
            group_bytes_max: 8 << 20,
            tail_bytes_max: 64 << 20,
            drained_keep_s: 0,
            sync: true,
        }
    }

    #[test]
    fn a_refusal_names_key_and_value() {
        assert_eq!(sound().check(), Ok(()));
        let small = Config { segment_bytes: 4096, ..sound() };
        assert_eq!(small.check().unwrap_err(), "spool.segment_bytes = 4096: must be 4194304 to 268435456");
        let odd = Config { segment_bytes: (64 << 20) + 1, ..sound() };
        assert!(odd.check().unwrap_err().contains("multiple of 4096"));
        let tight = Config { bytes_max: 64 << 20, ..sound() };
        assert!(tight.check().unwrap_err().starts_with("spool.bytes_max = 67108864"));
    }
}
