//! What any store must do: one suite, run for each. A store is given as a function that opens it in a directory, the
//! same one again after it was dropped.
//!
//! The suite plays delivery: it keeps what a spool would, releases what the store says is durable, and after a restart
//! sends again what lies behind [`Store::delivered`].

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    Bucket, DOWNSAMPLE_BUCKETS_MAX, Maintenance, Point, RANGE_POINTS_MAX, Store,
    testing::{quality, value},
};
use crate::model::{EquipmentNumber, MetricNumber, Quality, Reading, SeriesId};

/// Opens the store under test.
pub(super) type Open<'a> = &'a dyn Fn(&Path) -> Box<dyn Store>;

/// Every part of the contract as a test of its own, for the store that `$open` opens.
macro_rules! contract_tests {
    ($open:expr) => {
        contract_tests!(@each $open,
            a_group_is_stored_once_however_often_it_comes, of_one_key_the_last_in_the_spool_wins,
            an_empty_group_moves_the_position, from_is_inclusive_and_to_is_exclusive,
            pages_have_no_gap_and_no_double, latest_goes_by_timestamp_and_not_by_arrival,
            buckets_are_what_a_naive_sum_gives, long_answers_are_cut_and_can_be_continued,
            what_is_flushed_survives, any_history_reads_like_a_map);
    };
    (@each $open:expr, $($name:ident),*) => {
        $(#[test] fn $name() { crate::store::contract::$name(&$open); })*
    };
}
pub(super) use contract_tests;

/// 2026-01-05T10:00:00Z.
const T0: i64 = 1_767_607_200_000_000;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

fn series(number: u32) -> SeriesId {
    SeriesId::new(EquipmentNumber(number), MetricNumber(1))
}

fn reading(number: u32, timestamp_us: i64, value: f64) -> Reading {
    Reading { series: series(number), timestamp_us, value, quality: Quality::Good }
}

fn everything(store: &dyn Store, series: SeriesId, page: usize) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    loop {
        let after_us = points.last().map(|point| point.timestamp_us);
        let next = store.range(series, i64::MIN, i64::MAX, after_us, page).expect("readable");
        assert!(next.len() <= page);
        if next.is_empty() {
            return points;
        }
        points.extend(next);
    }
}

fn values(points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.value).collect()
}

fn settle(store: &dyn Store, now_us: i64) {
    while store.maintain(now_us).expect("maintainable") == Maintenance::More {}
}

fn with(open: Open<'_>, test: impl FnOnce(&dyn Store)) {
    let dir = tempfile::tempdir().expect("a directory");
    test(open(dir.path()).as_ref());
}

pub(super) fn a_group_is_stored_once_however_often_it_comes(open: Open<'_>) {
    with(open, |store| {
        assert_eq!(store.delivered().expect("readable"), None);
        let first = vec![reading(1, T0, 1.0), reading(1, T0 + SECOND, 2.0)];
        assert_eq!(store.write(&mut first.clone(), 10).expect("written").taken, 2);
        let second = vec![reading(1, T0, 3.0)];
        assert_eq!(store.write(&mut second.clone(), 20).expect("written").taken, 1);
        // The answer to the first was lost: it comes again, behind what replaced a part of it.
        assert_eq!(store.write(&mut first.clone(), 10).expect("ignored").taken, 0);
        assert_eq!(store.write(&mut second.clone(), 20).expect("ignored").taken, 0);
        assert_eq!(values(&everything(store, series(1), 100)), [3.0, 2.0]);
        assert_eq!(store.flush().expect("flushed"), Some(20));
    });
}

pub(super) fn of_one_key_the_last_in_the_spool_wins(open: Open<'_>) {
    with(open, |store| {
        let mut group = vec![reading(1, T0, 1.0), reading(2, T0, 9.0), reading(1, T0, 2.0)];
        let summary = store.write(&mut group, 1).expect("written");
        assert_eq!((summary.taken, summary.replaced), (2, 1));
        assert_eq!(values(&everything(store, series(1), 100)), [2.0]);
        // Neither a larger value nor a better quality wins, but the later one.
        let worse = Reading { quality: Quality::Bad, ..reading(1, T0, 0.5) };
        store.write(&mut vec![worse], 2).expect("written");
        store.flush().expect("flushed");
        let stored = Point { timestamp_us: T0, value: 0.5, quality: Quality::Bad };
        assert_eq!(everything(store, series(1), 100), [stored]);
        assert_eq!(values(&everything(store, series(2), 100)), [9.0]);
    });
}

pub(super) fn an_empty_group_moves_the_position(open: Open<'_>) {
    with(open, |store| {
        store.write(&mut Vec::new(), 5).expect("written");
        assert_eq!(store.flush().expect("flushed"), Some(5));
        assert_eq!(store.delivered().expect("readable"), Some(5));
    });
}

pub(super) fn from_is_inclusive_and_to_is_exclusive(open: Open<'_>) {
    with(open, |store| {
        let mut group: Vec<_> = (0..5).map(|i| reading(1, T0 + i, i as f64)).collect();
        store.write(&mut group, 1).expect("written");
        let range = |from, to, after| values(&store.range(series(1), from, to, after, 100).expect("readable"));
        assert_eq!(range(T0 + 1, T0 + 3, None), [1.0, 2.0]);
        assert_eq!(range(T0 + 1, T0 + 5, Some(T0 + 2)), [3.0, 4.0]);
        assert_eq!(range(T0 + 3, T0 + 5, Some(T0)), [3.0, 4.0], "a cursor before the range does not widen it");
        assert!(range(T0 + 3, T0 + 3, None).is_empty() && range(T0 + 3, T0, None).is_empty());
        assert!(range(T0, T0 + 5, Some(i64::MAX)).is_empty());
        assert!(store.range(series(1), T0, T0 + 5, None, 0).expect("readable").is_empty());
        assert!(store.range(series(2), i64::MIN, i64::MAX, None, 9).expect("readable").is_empty());
    });
}

pub(super) fn pages_have_no_gap_and_no_double(open: Open<'_>) {
    with(open, |store| {
        // Several hours, in an order that no sender keeps.
        let all: Vec<_> = (0..3_000).map(|i| reading(1, T0 + i * 7 * SECOND, i as f64)).collect();
        for (group, part) in (1..).zip(all.chunks(1_000).rev()) {
            store.write(&mut part.iter().rev().copied().collect(), group).expect("written");
        }
        let expected: Vec<f64> = all.iter().map(|reading| reading.value).collect();
        for page in [1, 7, 999, 1_000, 10_000] {
            assert_eq!(values(&everything(store, series(1), page)), expected, "pages of {page}");
        }
    });
}

pub(super) fn latest_goes_by_timestamp_and_not_by_arrival(open: Open<'_>) {
    with(open, |store| {
        store.write(&mut vec![reading(1, T0 + DAY, 1.0), reading(2, T0, 2.0)], 1).expect("written");
        store.flush().expect("flushed");
        // History comes later, and so does a correction of the newest.
        let mut backfill: Vec<_> = (0..1_000).map(|i| reading(1, T0 - i * 60 * SECOND, 7.0)).collect();
        backfill.push(reading(2, T0, 3.0));
        store.write(&mut backfill, 2).expect("written");
        let latest = |store: &dyn Store| {
            let points = store.latest(&[series(2), series(9), series(1), series(2)]).expect("readable");
            points.into_iter().map(|point| point.map(|point| (point.timestamp_us, point.value))).collect::<Vec<_>>()
        };
        let expected = [Some((T0, 3.0)), None, Some((T0 + DAY, 1.0)), Some((T0, 3.0))];
        assert_eq!(latest(store), expected);
        store.flush().expect("flushed");
        assert_eq!(latest(store), expected);
        settle(store, T0 + 30 * DAY);
        assert_eq!(latest(store), expected);
        store.write(&mut vec![reading(2, T0 - SECOND, 4.0)], 3).expect("written");
        assert_eq!(latest(store), expected);
    });
}

fn naive_buckets(points: &[Point], resolution_us: i64) -> Vec<Bucket> {
    let mut groups: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for point in points.iter().filter(|point| point.quality != Quality::Bad) {
        groups.entry(point.timestamp_us.div_euclid(resolution_us)).or_default().push(point.value);
    }
    let fold = |values: &[f64], pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick).expect("not empty");
    let bucket = |(step, values): (i64, Vec<f64>)| Bucket {
        start_us: step * resolution_us,
        count: values.len() as u64,
        min: fold(&values, f64::min),
        max: fold(&values, f64::max),
        mean: values.iter().copied().reduce(|sum, value| sum + value).expect("not empty") / values.len() as f64,
        first: values[0],
        last: *values.last().expect("not empty"),
    };
    groups.into_iter().map(bucket).collect()
}

pub(super) fn buckets_are_what_a_naive_sum_gives(open: Open<'_>) {
    with(open, |store| {
        let mut group = Vec::new();
        for i in 0..2_000 {
            let quality = [Quality::Good, Quality::Good, Quality::Uncertain, Quality::Bad][i % 4];
            let at = T0 - 5_000 * SECOND + (i * i % 9_973) as i64 * SECOND;
            group.push(Reading { quality, ..reading(1, at, (i % 83) as f64 / 10.0) });
        }
        // A bucket of bad readings only does not exist.
        group.push(Reading { quality: Quality::Bad, ..reading(1, T0 + DAY, 1.0) });
        // Before the epoch, buckets are aligned to it as well.
        group.push(reading(1, -1, 4.0));
        store.write(&mut group, 1).expect("written");
        for (from, to) in [(i64::MIN, i64::MAX), (T0 - 1_234 * SECOND, T0 + 17 * SECOND)] {
            let points = everything(store, series(1), 10_000);
            let within: Vec<_> = points.into_iter().filter(|p| (from..to).contains(&p.timestamp_us)).collect();
            for resolution_us in [SECOND, 7 * SECOND, 60 * SECOND, 3_600 * SECOND, DAY] {
                let buckets = store.downsample(series(1), from, to, resolution_us).expect("readable");
                assert_eq!(buckets, naive_buckets(&within, resolution_us), "resolution {resolution_us}");
            }
        }
        assert_eq!(store.downsample(series(1), -9, 0, 0).expect("readable").len(), 1, "0 counts as 1 µs");
    });
}

pub(super) fn long_answers_are_cut_and_can_be_continued(open: Open<'_>) {
    with(open, |store| {
        let count = RANGE_POINTS_MAX + 5;
        store.write(&mut (0..count).map(|i| reading(1, T0 + i as i64 * SECOND, 1.0)).collect(), 1).expect("written");
        let page = store.range(series(1), i64::MIN, i64::MAX, None, usize::MAX).expect("readable");
        assert_eq!(page.len(), RANGE_POINTS_MAX);
        assert_eq!(everything(store, series(1), RANGE_POINTS_MAX).len(), count);
        let buckets = store.downsample(series(1), i64::MIN, i64::MAX, SECOND).expect("readable");
        assert_eq!(buckets.len(), DOWNSAMPLE_BUCKETS_MAX);
        let next_us = buckets.last().map_or(0, |bucket| bucket.start_us + SECOND);
        assert_eq!(store.downsample(series(1), next_us, i64::MAX, SECOND).expect("readable").len(), 5);
        let mut seen = 0;
        let visited = store.scan(series(1), i64::MIN, i64::MAX, &mut |page| {
            seen += page.len();
            ControlFlow::Continue(())
        });
        visited.expect("readable");
        assert_eq!(seen, count);
    });
}

pub(super) fn what_is_flushed_survives(open: Open<'_>) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    store.write(&mut vec![reading(1, T0, 1.0)], 7).expect("written");
    assert_eq!(store.flush().expect("flushed"), Some(7));
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.delivered().expect("readable"), Some(7));
    assert_eq!(values(&everything(store.as_ref(), series(1), 100)), [1.0]);
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Reading>),
    /// The last group comes again.
    Repeat,
    Flush,
    /// The process ends, without a flush; a new one goes on from what is delivered.
    Restart,
    /// Time passes, and maintenance with it.
    Maintain(i64),
    Check {
        page: usize,
        from_us: i64,
        length_us: i64,
        resolution_us: i64,
    },
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => (0i64..2_000).prop_map(|i| T0 + i * 30 * SECOND),
        4 => (0i64..3_600).prop_map(|i| T0 + i * SECOND),
        3 => (0i64..5 * DAY).prop_map(|us| T0 - DAY + us),
        1 => prop_oneof![Just(i64::MIN), Just(-1), Just(0), Just(i64::MAX - 1)],
    ]
}

fn group() -> impl Strategy<Value = Vec<Reading>> {
    let any = prop::collection::vec((1u32..4, timestamp(), value(), quality()), 0..40).prop_map(|rows| {
        rows.into_iter()
            .map(|(number, timestamp_us, value, quality)| Reading { quality, ..reading(number, timestamp_us, value) })
            .collect::<Vec<_>>()
    });
    // A sensor that keeps its cadence fills whole chunks.
    let steady = (1u32..4, 0i64..5_000, 1usize..600, value()).prop_map(|(number, at, count, value)| {
        (0..count).map(|i| reading(number, T0 + (at + i as i64) * 10 * SECOND, value + (i % 9) as f64)).collect()
    });
    prop_oneof![2 => any, 1 => steady]
}

fn step() -> impl Strategy<Value = Step> {
    let check = (1usize..700, timestamp(), 0i64..2 * DAY, 1i64..7_200 * SECOND)
        .prop_map(|(page, from_us, length_us, resolution_us)| Step::Check { page, from_us, length_us, resolution_us });
    prop_oneof![
        8 => group().prop_map(Step::Write),
        1 => Just(Step::Repeat),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
        2 => (0i64..3 * DAY).prop_map(Step::Maintain),
        3 => check,
    ]
}

/// A store, the spool before it, and the map that it must read like.
struct History<'a> {
    dir: tempfile::TempDir,
    open: Open<'a>,
    store: Option<Box<dyn Store>>,
    spool: Vec<(u64, Vec<Reading>)>,
    position: u64,
    now_us: i64,
    map: BTreeMap<(SeriesId, i64), Point>,
}

impl<'a> History<'a> {
    fn new(open: Open<'a>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Some(open(dir.path()));
        Self { dir, open, store, spool: Vec::new(), position: 0, now_us: T0, map: BTreeMap::new() }
    }

    fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("open")
    }

    fn release(&mut self, delivered: Option<u64>) {
        self.spool.retain(|(position, _)| Some(*position) > delivered);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(readings) => {
                self.position += 10;
                for reading in &readings {
                    let Reading { timestamp_us, value, quality, .. } = *reading;
                    self.map.insert((reading.series, timestamp_us), Point { timestamp_us, value, quality });
                }
                self.spool.push((self.position, readings.clone()));
                let summary = self.store().write(&mut readings.clone(), self.position).expect("written");
                assert_eq!(summary.taken + summary.replaced, readings.len() as u64);
                self.release(summary.delivered);
            }
            Step::Repeat => {
                let Some((position, readings)) = self.spool.last().cloned() else { return };
                assert_eq!(self.store().write(&mut readings.clone(), position).expect("ignored").taken, 0);
            }
            Step::Flush => {
                let delivered = self.store().flush().expect("flushed");
                assert_eq!(delivered, (self.position > 0).then_some(self.position));
                self.release(delivered);
            }
            Step::Restart => {
                self.store = None;
                self.store = Some((self.open)(self.dir.path()));
                let delivered = self.store().delivered().expect("readable");
                self.release(delivered);
                // Delivery joins as it likes: here all that is left becomes one group.
                let mut left: Vec<Reading> = self.spool.iter().flat_map(|(_, readings)| readings.clone()).collect();
                if !self.spool.is_empty() {
                    self.store().write(&mut left, self.position).expect("written");
                }
            }
            Step::Maintain(later_us) => {
                self.now_us += later_us;
                settle(self.store(), self.now_us);
            }
            Step::Check { page, from_us, length_us, resolution_us } => {
                self.check(page, from_us, from_us.saturating_add(length_us), resolution_us);
            }
        }
    }

    fn check(&self, page: usize, from_us: i64, to_us: i64, resolution_us: i64) {
        let all: Vec<_> = (1..4).map(series).collect();
        let latest = self.store().latest(&all).expect("readable");
        for (series, latest) in all.into_iter().zip(latest) {
            let expected: Vec<Point> =
                self.map.range((series, i64::MIN)..).take_while(|((s, _), _)| *s == series).map(|(_, p)| *p).collect();
            assert_eq!(everything(self.store(), series, page), expected);
            assert_eq!(latest, expected.last().copied());
            let within: Vec<Point> =
                expected.into_iter().filter(|p| (from_us..to_us).contains(&p.timestamp_us)).collect();
            let some = self.store().range(series, from_us, to_us, None, page).expect("readable");
            assert_eq!(some, within[..within.len().min(page)]);
            let buckets = self.store().downsample(series, from_us, to_us, resolution_us).expect("readable");
            // Sums of values as large as a float can be are no numbers, and not equal to themselves.
            let text = |buckets: &[Bucket]| format!("{buckets:?}");
            if from_us > 0 {
                assert_eq!(text(&buckets), text(&naive_buckets(&within, resolution_us)));
            }
        }
    }
}

// S257, S260 and the promise of the house: nothing lost, nothing twice, over redelivery, restarts and re-encoding.
pub(super) fn any_history_reads_like_a_map(open: Open<'_>) {
    let mut runner = TestRunner::new(ProptestConfig { cases: 48, ..ProptestConfig::default() });
    let histories = prop::collection::vec(step(), 1..25);
    let run = runner.run(&histories, |steps| {
        let mut history = History::new(open);
        steps.into_iter().for_each(|step| history.take(step));
        history.check(97, T0, T0 + DAY, 60 * SECOND);
        history.take(Step::Restart);
        history.take(Step::Maintain(4 * DAY));
        history.check(1_000, T0 - DAY, T0 + 2 * DAY, 3_600 * SECOND);
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}
