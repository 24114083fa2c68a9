//! A store that is a map: the contract of `store::Store` in its plainest form.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    model::{Quality, Reading, SeriesId},
    store::{Bucket, Error, Point, Store, WriteSummary},
};

#[derive(Default)]
pub(super) struct MemoryStore {
    pub(super) readings: Mutex<BTreeMap<(u64, i64), Reading>>,
    pub(super) is_down: AtomicBool,
}

impl MemoryStore {
    pub(super) fn put(&self, series: SeriesId, timestamp_us: i64, value: f64, quality: Quality) {
        let reading = Reading { series, timestamp_us, value, quality };
        self.readings.lock().unwrap().insert((series.as_u64(), timestamp_us), reading);
    }

    fn points(&self, series: SeriesId, from_us: i64, to_us: i64) -> Result<Vec<Point>, Error> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(Error::Transient { operation: "read", source: "switched off".into() });
        }
        let readings = self.readings.lock().unwrap();
        let range = readings.range((series.as_u64(), i64::MIN)..=(series.as_u64(), i64::MAX));
        let points = range.map(|(_, r)| Point { timestamp_us: r.timestamp_us, value: r.value, quality: r.quality });
        Ok(points.filter(|p| (from_us..to_us).contains(&p.timestamp_us)).collect())
    }
}

impl Store for MemoryStore {
    fn delivered(&self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn write(&self, _: &mut Vec<Reading>, _: u64) -> Result<WriteSummary, Error> {
        unreachable!("these tests put readings in directly")
    }

    fn range(
        &self,
        series: SeriesId,
        from: i64,
        to: i64,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Point>, Error> {
        let points = self.points(series, from, to)?;
        Ok(points.into_iter().filter(|p| after.is_none_or(|after| p.timestamp_us > after)).take(limit).collect())
    }

    fn downsample(&self, series: SeriesId, from: i64, to: i64, step: i64) -> Result<Vec<Bucket>, Error> {
        let mut groups: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for point in self.points(series, from, to)?.into_iter().filter(|p| p.quality != Quality::Bad) {
            groups.entry(point.timestamp_us.div_euclid(step) * step).or_default().push(point.value);
        }
        let bucket = |(start_us, values): (i64, Vec<f64>)| Bucket {
            start_us,
            count: values.len() as u64,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean: values.iter().sum::<f64>() / values.len() as f64,
            first: values[0],
            last: values[values.len() - 1],
        };
        Ok(groups.into_iter().map(bucket).collect())
    }

    fn latest(&self, series: &[SeriesId]) -> Result<Vec<Option<Point>>, Error> {
        series.iter().map(|series| Ok(self.points(*series, i64::MIN, i64::MAX)?.pop())).collect()
    }
}
