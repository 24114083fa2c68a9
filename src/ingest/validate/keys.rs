//! Which keys (series and timestamp) a batch has had already.

use crate::model::Reading;

/// A set of the readings of one batch by their key. Emptying it costs nothing, and it never grows: it has twice as many
/// slots as a batch has readings.
///
/// A sender who chooses timestamps that collide makes its own batch walk; half the square of 500 steps is the most.
#[derive(Debug)]
pub struct Keys {
    slots: Box<[Slot]>,
    round: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The round in which it was filled; another one: empty.
    round: u32,
    /// Place of the reading in the batch.
    place: u32,
}

impl Keys {
    /// A set for batches of up to `readings_max` readings.
    #[must_use]
    pub fn new(readings_max: usize) -> Self {
        Self { slots: vec![Slot::default(); (readings_max * 2).next_power_of_two()].into(), round: 1 }
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.slots.fill(Slot::default());
            self.round = 1;
        }
    }

    /// Adds `reading`, which is about to follow `readings`. Whether its key was there already.
    #[inline]
    pub fn insert(&mut self, readings: &[Reading], reading: &Reading) -> bool {
        let mask = self.slots.len() - 1;
        let mut at = hash(reading) as usize & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.round != self.round {
                *slot = Slot { round: self.round, place: readings.len() as u32 };
                return false;
            }
            let earlier = readings.get(slot.place as usize);
            if earlier.is_some_and(|r| r.series == reading.series && r.timestamp_us == reading.timestamp_us) {
                return true;
            }
            at = (at + 1) & mask;
        }
    }
}

/// Spreads a key: the high half of a product depends on all bits of both factors.
#[inline]
fn hash(reading: &Reading) -> u64 {
    let product = u128::from(reading.series.as_u64() ^ 0x9e37_79b9_7f4a_7c15)
        * u128::from(reading.timestamp_us as u64 ^ 0xd1b5_4a32_d192_ed03);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Quality, SeriesId};

    fn reading(series: u64, timestamp_us: i64) -> Reading {
        Reading { series: SeriesId::from_u64(series), timestamp_us, value: 0.0, quality: Quality::Good }
    }

    proptest! {
        // S268: as a plain set says.
        #[test]
        fn it_knows_what_a_set_knows(
            rounds in prop::collection::vec(prop::collection::vec((0u64..4, 0i64..40), 0..120), 1..4),
        ) {
            let mut keys = Keys::new(120);
            for round in rounds {
                keys.clear();
                let (mut readings, mut set) = (Vec::new(), std::collections::HashSet::new());
                for (series, timestamp_us) in round {
                    let reading = reading(series, timestamp_us);
                    prop_assert_eq!(keys.insert(&readings, &reading), !set.insert((series, timestamp_us)));
                    readings.push(reading);
                }
            }
        }
    }

    #[test]
    fn rounds_may_overflow() {
        let mut keys = Keys::new(4);
        keys.round = u32::MAX;
        assert!(!keys.insert(&[], &reading(1, 1)));
        keys.clear();
        assert!(!keys.insert(&[], &reading(1, 1)));
        assert!(keys.insert(&[reading(1, 1)], &reading(1, 1)));
    }
}
