//! A store that does as it is told.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::{Mutex, MutexGuard};

use crate::{
    model::{Reading, SeriesId},
    store::{Bucket, Error, Point, Store, WriteSummary},
};

#[derive(Default)]
pub(crate) struct FakeStore {
    state: Mutex<State>,
    gate: Mutex<()>,
}

#[derive(Default)]
struct State {
    readings: BTreeMap<(SeriesId, i64), f64>,
    held: Vec<Reading>,
    taken: Option<u64>,
    delivered: Option<u64>,
    knows_position: bool,
    holds: bool,
    broken: bool,
    faults: VecDeque<Error>,
    refuses: Option<fn(&Reading) -> bool>,
    seen: usize,
}

impl FakeStore {
    pub(crate) fn set_knows_position(&self, knows: bool) {
        self.state.lock().knows_position = knows;
    }

    pub(crate) fn set_holds(&self, holds: bool) {
        self.state.lock().holds = holds;
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        self.state.lock().broken = broken;
    }

    pub(crate) fn set_delivered(&self, position: u64) {
        let mut state = self.state.lock();
        (state.delivered, state.taken) = (Some(position), Some(position));
    }

    pub(crate) fn forget_held(&self) {
        let mut state = self.state.lock();
        state.held.clear();
        state.taken = state.delivered;
    }

    pub(crate) fn fail_next(&self, error: Error) {
        self.state.lock().faults.push_back(error);
    }

    pub(crate) fn refuse(&self, refuses: fn(&Reading) -> bool) {
        self.state.lock().refuses = Some(refuses);
    }

    /// Writes hang until the guard is dropped.
    pub(crate) fn close_gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock()
    }

    /// The values of what is stored, in order.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<_> = self.state.lock().readings.values().map(|value| *value as u32).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Readings taken in, also those that were there already.
    pub(crate) fn seen(&self) -> usize {
        self.state.lock().seen
    }
}

impl Store for FakeStore {
    fn delivered(&self) -> Result<Option<u64>, Error> {
        let state = self.state.lock();
        Ok(state.delivered.filter(|_| state.knows_position))
    }

    fn write(&self, readings: &mut Vec<Reading>, upto: u64) -> Result<WriteSummary, Error> {
        drop(self.gate.lock());
        let mut state = self.state.lock();
        if let Some(fault) = state.faults.pop_front() {
            // The contract allows any order now.
            readings.reverse();
            return Err(fault);
        }
        if state.broken {
            readings.sort_by(|a, b| b.value.total_cmp(&a.value));
            return Err(Error::Transient { operation: "write", source: "broken".into() });
        }
        if state.taken.is_some_and(|taken| upto <= taken) {
            return Ok(WriteSummary { delivered: state.delivered, ..WriteSummary::default() });
        }
        if let Some(refuses) = state.refuses {
            let indices: Vec<_> = (0..readings.len()).filter(|index| refuses(&readings[*index])).collect();
            if !indices.is_empty() {
                return Err(Error::Refused { indices, reason: "not here".to_owned() });
            }
        }
        state.seen += readings.len();
        state.taken = Some(upto);
        state.held.append(readings);
        if !state.holds {
            state.settle();
        }
        Ok(WriteSummary { delivered: state.delivered, ..WriteSummary::default() })
    }

    fn flush(&self) -> Result<Option<u64>, Error> {
        let mut state = self.state.lock();
        if state.broken {
            return Err(Error::Transient { operation: "flush", source: "broken".into() });
        }
        state.settle();
        Ok(state.delivered)
    }

    fn range(&self, _: SeriesId, _: i64, _: i64, _: Option<i64>, _: usize) -> Result<Vec<Point>, Error> {
        Ok(Vec::new())
    }

    fn downsample(&self, _: SeriesId, _: i64, _: i64, _: i64) -> Result<Vec<Bucket>, Error> {
        Ok(Vec::new())
    }

    fn latest(&self, series: &[SeriesId]) -> Result<Vec<Option<Point>>, Error> {
        Ok(vec![None; series.len()])
    }
}

impl State {
    fn settle(&mut self) {
        for reading in self.held.drain(..) {
            self.readings.insert((reading.series, reading.timestamp_us), reading.value);
        }
        self.delivered = self.taken;
    }
}
