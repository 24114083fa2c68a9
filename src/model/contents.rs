//! What a stored batch holds, in as few bytes as it can be said: for the question which request brought a reading.
//!
//! A small batch is listed reading by reading. A large one is told by its span of time, its metrics and its equipment:
//! then the answer may be *perhaps*, never a wrong *no*.
//!
//! Layout: a tag, then numbers of 7 bits a byte (signed ones zigzag). Tag 1: count, then series and time of each as the
//! step from the one before. Tag 2: earliest time, span, distinct readings (0: not known), a bit for each metric number
//! (0: not known), lowest equipment number, and a bit for each equipment number from there. Tag 3: the same with the
//! equipment numbers listed, where they lie too far apart for bits.

use super::{
    Reading, SeriesId,
    varint::{Bytes, put, put_signed},
};

/// Readings up to which a batch is listed one by one.
const LISTED_MAX: usize = 16;
/// Width of the equipment numbers that are told by bits.
const BITS_MAX: u32 = 4_096;

/// The contents of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents(Box<[u8]>);

/// Whether a batch holds a reading of a series within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// Certainly not.
    No,
    /// It has the equipment and the metric, and its span meets the time.
    Perhaps,
    /// Certainly.
    Yes,
}

impl Contents {
    /// The contents of `readings`, of which `duplicates` have the key of an earlier one.
    #[must_use]
    pub fn of(readings: &[Reading], duplicates: u32) -> Self {
        let mut out = Vec::with_capacity(64);
        if readings.len() <= LISTED_MAX {
            list(readings, &mut out)
        } else {
            summarise(readings, duplicates, &mut out)
        }
        Self(out.into_boxed_slice())
    }

    /// As it is kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From what was kept; nothing is checked before it is asked.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Earliest and latest time of its readings; none where there is no reading, or the bytes mean nothing.
    #[must_use]
    pub fn span(&self) -> Option<(i64, i64)> {
        match self.read()? {
            Read::Listed(listed) => {
                let times = listed.iter().map(|(_, time)| *time);
                Some((times.clone().min()?, times.max()?))
            }
            Read::Summary(summary) => Some((summary.min_us, summary.max_us)),
        }
    }

    /// Whether it holds a reading of `series` with `from_us` ≤ time < `to_us`.
    #[must_use]
    pub fn holds(&self, series: SeriesId, from_us: i64, to_us: i64) -> Holds {
        match self.read() {
            None => Holds::Perhaps,
            Some(Read::Listed(listed)) => {
                let is_it = |(one, time): &(SeriesId, i64)| *one == series && (from_us..to_us).contains(time);
                if listed.iter().any(is_it) { Holds::Yes } else { Holds::No }
            }
            Some(Read::Summary(summary)) => summary.holds(series, from_us, to_us),
        }
    }

    fn read(&self) -> Option<Read> {
        let mut bytes = Bytes(&self.0);
        match bytes.byte()? {
            1 => {
                let count = usize::try_from(bytes.number()?).ok()?;
                let (mut series, mut time) = (0_i64, 0_i64);
                let mut listed = Vec::new();
                for _ in 0..count {
                    series = series.wrapping_add(bytes.signed()?);
                    time = time.wrapping_add(bytes.signed()?);
                    listed.push((SeriesId::from_u64(series as u64), time));
                }
                Some(Read::Listed(listed))
            }
            tag @ (2 | 3) => Summary::read(tag, &mut bytes).map(Read::Summary),
            _ => None,
        }
    }
}

enum Read {
    Listed(Vec<(SeriesId, i64)>),
    Summary(Summary),
}

struct Summary {
    min_us: i64,
    max_us: i64,
    distinct: u64,
    metrics: u64,
    equipment: Vec<u32>,
}

impl Summary {
    fn read(tag: u8, bytes: &mut Bytes<'_>) -> Option<Self> {
        let min_us = bytes.signed()?;
        let max_us = min_us.wrapping_add(bytes.number()? as i64);
        let (distinct, metrics) = (bytes.number()?, bytes.number()?);
        let mut equipment = Vec::new();
        if tag == 2 {
            let base = u32::try_from(bytes.number()?).ok()?;
            let count = usize::try_from(bytes.number()?).ok()?;
            for (place, byte) in bytes.take(count)?.iter().enumerate() {
                let set = (0..8).filter(|bit| byte & (1 << bit) != 0);
                equipment.extend(set.map(|bit| base.wrapping_add(place as u32 * 8 + bit)));
            }
        } else {
            let mut number = 0_u32;
            for _ in 0..bytes.number()? {
                number = number.wrapping_add(u32::try_from(bytes.number()?).ok()?);
                equipment.push(number);
            }
        }
        Some(Self { min_us, max_us, distinct, metrics, equipment })
    }

    fn holds(&self, series: SeriesId, from_us: i64, to_us: i64) -> Holds {
        let metric = series.metric().0;
        let has_metric = self.metrics == 0 || (metric < 64 && self.metrics & (1 << metric) != 0);
        let meets = self.min_us < to_us && self.max_us >= from_us;
        if !has_metric || !meets || !self.equipment.contains(&series.equipment().0) {
            return Holds::No;
        }
        // Every one of its series has a reading at its one time; or it has one series, and lies within the time.
        let series_count = self.equipment.len() as u64 * u64::from(self.metrics.count_ones());
        let is_grid = self.min_us == self.max_us && self.distinct == series_count;
        let is_within = self.min_us >= from_us && self.max_us < to_us;
        if is_within && self.distinct > 0 && (is_grid || series_count == 1) { Holds::Yes } else { Holds::Perhaps }
    }
}

fn list(readings: &[Reading], out: &mut Vec<u8>) {
    out.push(1);
    put(readings.len() as u64, out);
    let (mut series, mut time) = (0_i64, 0_i64);
    for reading in readings {
        let this = reading.series.as_u64() as i64;
        put_signed(this.wrapping_sub(series), out);
        put_signed(reading.timestamp_us.wrapping_sub(time), out);
        (series, time) = (this, reading.timestamp_us);
    }
}

fn summarise(readings: &[Reading], duplicates: u32, out: &mut Vec<u8>) {
    let (mut min_us, mut max_us) = (i64::MAX, i64::MIN);
    let (mut lowest, mut highest) = (u32::MAX, 0);
    let (mut metrics, mut is_far) = (0_u64, false);
    for reading in readings {
        min_us = min_us.min(reading.timestamp_us);
        max_us = max_us.max(reading.timestamp_us);
        let (equipment, metric) = (reading.series.equipment().0, reading.series.metric().0);
        lowest = lowest.min(equipment);
        highest = highest.max(equipment);
        metrics |= 1_u64.wrapping_shl(u32::from(metric));
        is_far |= metric >= 64;
    }
    let width = highest - lowest;
    out.push(if width < BITS_MAX { 2 } else { 3 });
    put_signed(min_us, out);
    put(max_us.wrapping_sub(min_us) as u64, out);
    put(if duplicates == 0 { readings.len() as u64 } else { 0 }, out);
    put(if is_far { 0 } else { metrics }, out);
    if width < BITS_MAX {
        let mut bits = [0_u8; BITS_MAX as usize / 8];
        for reading in readings {
            let place = reading.series.equipment().0 - lowest;
            bits[(place / 8) as usize] |= 1 << (place % 8);
        }
        let bytes = (width / 8 + 1) as usize;
        put(u64::from(lowest), out);
        put(bytes as u64, out);
        out.extend_from_slice(&bits[..bytes]);
    } else {
        let mut numbers: Vec<u32> = readings.iter().map(|reading| reading.series.equipment().0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        put(numbers.len() as u64, out);
        let mut before = 0;
        for number in numbers {
            put(u64::from(number - before), out);
            before = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{EquipmentNumber, MetricNumber, Quality};

    fn reading(equipment: u32, metric: u16, timestamp_us: i64) -> Reading {
        let series = SeriesId::new(EquipmentNumber(equipment), MetricNumber(metric));
        Reading { series, timestamp_us, value: 1.0, quality: Quality::Good }
    }

    fn any_reading() -> impl Strategy<Value = Reading> {
        let equipment = prop_oneof![1_000..1_100_u32, any::<u32>()];
        (equipment, prop_oneof![0..5_u16, any::<u16>()], -1_000..1_000_i64).prop_map(|(e, m, t)| reading(e, m, t))
    }

    proptest! {
        // A reading that is in a batch is never denied, and one that is told for certain is in it.
        #[test]
        fn nothing_is_denied_and_nothing_certain_is_wrong(
            readings in prop::collection::vec(any_reading(), 1..60),
            probe in any_reading(),
            width in 1..50_i64,
        ) {
            let mut seen = std::collections::HashSet::new();
            let doubled = readings.iter().filter(|r| !seen.insert((r.series, r.timestamp_us))).count();
            let kept = Contents::of(&readings, doubled as u32);
            let contents = Contents::from_bytes(kept.as_bytes());
            for one in &readings {
                prop_assert_ne!(contents.holds(one.series, one.timestamp_us, one.timestamp_us + 1), Holds::No);
            }
            let (from, to) = (probe.timestamp_us, probe.timestamp_us + width);
            let truth = readings.iter().any(|r| r.series == probe.series && (from..to).contains(&r.timestamp_us));
            let said = contents.holds(probe.series, from, to);
            prop_assert!(said == Holds::Perhaps || (said == Holds::Yes) == truth);
            let times = readings.iter().map(|r| r.timestamp_us);
            prop_assert_eq!(contents.span(), Some((times.clone().min().unwrap(), times.max().unwrap())));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let contents = Contents::from_bytes(&bytes);
            let _ = (contents.span(), contents.holds(SeriesId::from_u64(7), 0, 1));
        }
    }

    #[test]
    fn what_is_certain_is_said_so() {
        let one = Contents::of(&[reading(7, 1, 1_000)], 0);
        let series = |e, m| SeriesId::new(EquipmentNumber(e), MetricNumber(m));
        assert_eq!(one.holds(series(7, 1), 1_000, 1_001), Holds::Yes);
        assert_eq!(one.holds(series(7, 2), 1_000, 1_001), Holds::No);
        let grid: Vec<_> = (0..60).map(|n| reading(100 + n / 3, (n % 3) as u16, 5)).collect();
        assert_eq!(Contents::of(&grid, 0).holds(series(105, 2), 5, 6), Holds::Yes);
        assert_eq!(Contents::of(&grid, 1).holds(series(105, 2), 5, 6), Holds::Perhaps);
        assert_eq!(Contents::of(&grid, 0).holds(series(120, 2), 5, 6), Holds::No);
        let row: Vec<_> = (0..500).map(|n| reading(100, 1, n)).collect();
        assert_eq!(Contents::of(&row, 0).holds(series(100, 1), 250, 251), Holds::Perhaps);
        assert_eq!(Contents::of(&row, 0).holds(series(100, 1), 0, 500), Holds::Yes);
    }
}
