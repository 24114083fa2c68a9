//! A group of readings in the order in which the chunks want them: by series, then time, of one key the last.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::super::Point;
use crate::model::Reading;

/// Sorted readings. Spans are ascending by series; the points of a span are strictly ascending by time.
#[derive(Debug, Default, Clone)]
pub(super) struct Group {
    pub(super) spans: Vec<Span>,
    pub(super) points: Vec<Point>,
    /// Readings left out since a later one has the same key.
    pub(super) replaced: u64,
}

/// The readings of one series.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// Packed number.
    pub(super) series: u64,
    /// Where its points stand in the group.
    pub(super) range: Range<usize>,
}

impl Group {
    /// Readings in it.
    pub(super) fn len(&self) -> usize {
        self.spans.iter().map(|span| span.range.len()).sum()
    }

    /// The points of one series; empty where it has none.
    pub(super) fn of(&self, series: u64) -> &[Point] {
        match self.spans.binary_search_by_key(&series, |span| span.series) {
            Ok(index) => &self.points[self.spans[index].range.clone()],
            Err(_) => &[],
        }
    }

    /// Appends what it holds to `readings`.
    pub(super) fn append_to(&self, readings: &mut Vec<Reading>) {
        readings.reserve(self.len());
        for span in &self.spans {
            let series = crate::model::SeriesId::from_u64(span.series);
            readings.extend(self.points[span.range.clone()].iter().map(|point| Reading {
                series,
                timestamp_us: point.timestamp_us,
                value: point.value,
                quality: point.quality,
            }));
        }
    }
}

/// Sorts groups; keeps its tables from one group to the next.
///
/// Not a comparison sort: readings are first dealt out to their series by counting (two passes in order of arrival,
/// about 15 ns a reading), and within a series they nearly always are in order of time already.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    /// Series → place in `counts`, in order of first appearance.
    places: FxHashMap<u64, u32>,
    /// Place of each reading's series.
    place_of: Vec<u32>,
    counts: Vec<usize>,
}

impl Sorter {
    /// Sorts `readings`, which stand in the order of the spool.
    pub(super) fn sort(&mut self, readings: &[Reading]) -> Group {
        self.places.clear();
        self.place_of.clear();
        self.counts.clear();
        for reading in readings {
            let next = self.counts.len() as u32;
            let place = *self.places.entry(reading.series.as_u64()).or_insert(next);
            if place == next {
                self.counts.push(0);
            }
            self.counts[place as usize] += 1;
            self.place_of.push(place);
        }
        let mut order: Vec<(u64, u32)> = self.places.iter().map(|(&series, &place)| (series, place)).collect();
        order.sort_unstable();
        let mut group = Group { spans: Vec::with_capacity(order.len()), ..Group::default() };
        let mut start = 0;
        for (series, place) in order {
            let end = start + self.counts[place as usize];
            group.spans.push(Span { series, range: start..end });
            // From here on: where the next reading of this series goes.
            self.counts[place as usize] = start;
            start = end;
        }
        group.points.resize(readings.len(), Point { timestamp_us: 0, value: 0.0, quality: Default::default() });
        for (reading, &place) in readings.iter().zip(&self.place_of) {
            let slot = &mut self.counts[place as usize];
            group.points[*slot] =
                Point { timestamp_us: reading.timestamp_us, value: reading.value, quality: reading.quality };
            *slot += 1;
        }
        for span in &mut group.spans {
            let kept = order_by_time(&mut group.points[span.range.clone()]);
            group.replaced += (span.range.len() - kept) as u64;
            span.range.end = span.range.start + kept;
        }
        group
    }
}

/// Brings `points` into strictly ascending order of time, of equal times keeping the last, and gives how many remain,
/// at the front.
fn order_by_time(points: &mut [Point]) -> usize {
    if points.is_sorted_by(|a, b| a.timestamp_us < b.timestamp_us) {
        return points.len();
    }
    // Stable: of equal times the later arrival stays behind.
    points.sort_by_key(|point| point.timestamp_us);
    let mut kept = 0;
    for index in 0..points.len() {
        if kept > 0 && points[kept - 1].timestamp_us == points[index].timestamp_us {
            points[kept - 1] = points[index];
        } else {
            points[kept] = points[index];
            kept += 1;
        }
    }
    kept
}

/// Merges two strictly ascending lists; of one timestamp the point of `newer` stands.
pub(super) fn merge(older: &[Point], newer: &[Point]) -> Vec<Point> {
    let mut merged = Vec::with_capacity(older.len() + newer.len());
    let mut rest = older;
    for point in newer {
        let earlier = rest.partition_point(|old| old.timestamp_us < point.timestamp_us);
        merged.extend_from_slice(&rest[..earlier]);
        rest = &rest[earlier..];
        if rest.first().is_some_and(|old| old.timestamp_us == point.timestamp_us) {
            rest = &rest[1..];
        }
        merged.push(*point);
    }
    merged.extend_from_slice(rest);
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{Quality, SeriesId},
        store::testing::{quality, value},
    };

    type Map = BTreeMap<(u64, i64), (f64, Quality)>;

    fn rows() -> impl Strategy<Value = Vec<(u64, i64, f64, Quality)>> {
        prop::collection::vec((0u64..5, -20i64..20, value(), quality()), 0..200)
    }

    fn values() -> impl Strategy<Value = BTreeMap<i64, f64>> {
        prop::collection::btree_map(-50i64..50, value(), 0..60)
    }

    fn points(values: &BTreeMap<i64, f64>) -> Vec<Point> {
        let point = |(&timestamp_us, &value)| Point { timestamp_us, value, quality: Quality::Good };
        values.iter().map(point).collect()
    }

    proptest! {
        // Of one key the reading that came last stands.
        #[test]
        fn sorted_is_what_a_map_would_hold(rows in rows()) {
            let readings: Vec<Reading> = rows
                .into_iter()
                .map(|(series, timestamp_us, value, quality)| Reading {
                    series: SeriesId::from_u64(series << 20),
                    timestamp_us,
                    value,
                    quality,
                })
                .collect();
            let entry = |r: &Reading| ((r.series.as_u64(), r.timestamp_us), (r.value, r.quality));
            let map: Map = readings.iter().map(entry).collect();
            let group = Sorter::default().sort(&readings);
            prop_assert_eq!(group.len(), map.len());
            prop_assert_eq!(group.replaced as usize, readings.len() - map.len());
            let mut back = Vec::new();
            group.append_to(&mut back);
            prop_assert_eq!(back.iter().map(entry).collect::<Vec<_>>(), map.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn merged_is_what_a_map_would_hold(older in values(), newer in values()) {
            let merged = merge(&points(&older), &points(&newer));
            let mut map = older;
            map.extend(newer);
            prop_assert_eq!(merged, points(&map));
        }
    }
}
