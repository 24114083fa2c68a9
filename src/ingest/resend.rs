//! A memory of the batches that were made durable of late, so that one sent again is counted as duplicates at once.
//!
//! Only the count depends on it: that a reading is stored once is the store's promise, by its natural key. So it may
//! forget, and it does not survive a restart.

use std::{
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use rustc_hash::FxHasher;

use crate::model::{IntegrationId, Reading};

/// Hashes of whole batches, each in the one slot that it can have; a later batch of the same slot takes its place.
#[derive(Debug)]
pub(super) struct Resends {
    slots: Box<[AtomicU64]>,
}

/// The keys of a batch (series and timestamp of each reading, in order) of one integration. Values are no part of it:
/// a duplicate is one whatever its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchKey(u64);

impl BatchKey {
    /// The key of `readings`, which this integration sent.
    #[must_use]
    pub(super) fn new(integration_id: IntegrationId, readings: &[Reading]) -> Self {
        let mut hasher = FxHasher::default();
        integration_id.hash(&mut hasher);
        hasher.write_usize(readings.len());
        for reading in readings {
            hasher.write_u64(reading.series.as_u64());
            hasher.write_i64(reading.timestamp_us);
        }
        // 0 stands for an empty slot.
        Self(hasher.finish().max(1))
    }
}

impl Resends {
    /// A memory of `batches`, a power of two.
    #[must_use]
    pub(super) fn new(batches: usize) -> Self {
        Self { slots: (0..batches).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether a batch with this key was made durable, as far as it is remembered.
    #[must_use]
    pub(super) fn contains(&self, key: BatchKey) -> bool {
        self.slot(key).load(Ordering::Relaxed) == key.0
    }

    /// A batch with this key is durable now.
    pub(super) fn insert(&self, key: BatchKey) {
        self.slot(key).store(key.0, Ordering::Relaxed);
    }

    fn slot(&self, key: BatchKey) -> &AtomicU64 {
        &self.slots[key.0 as usize % self.slots.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Quality, SeriesId};

    fn readings(values: &[(u64, i64, f64)]) -> Vec<Reading> {
        let reading = |&(series, timestamp_us, value)| Reading {
            series: SeriesId::from_u64(series),
            timestamp_us,
            value,
            quality: Quality::Good,
        };
        values.iter().map(reading).collect()
    }

    // S268, S269: the same keys of the same integration, whatever the values.
    #[test]
    fn a_batch_is_known_by_its_keys_and_its_sender() {
        let (memory, sender) = (Resends::new(1_024), IntegrationId::generate());
        let key = |sender, values| BatchKey::new(sender, &readings(values));
        memory.insert(key(sender, &[(1, 2, 3.0), (4, 5, 6.0)]));
        assert!(memory.contains(key(sender, &[(1, 2, 3.0), (4, 5, 7.0)])));
        assert!(!memory.contains(key(IntegrationId::generate(), &[(1, 2, 3.0), (4, 5, 6.0)])));
        for other in [&[(1, 2, 3.0)][..], &[(1, 2, 3.0), (4, 6, 6.0)], &[(4, 5, 6.0), (1, 2, 3.0)]] {
            assert!(!memory.contains(key(sender, other)), "{other:?}");
        }
    }
}
