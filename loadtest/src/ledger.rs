//! What was promised: one byte a batch, from which every expected reading follows.

use std::sync::Arc;

use serde::Serialize;

use crate::plan::Plan;

const ACKED: [u8; 2] = [1, 2];
const MAYBE: [u8; 2] = [4, 8];

/// What became of the batches of one integration, by number.
#[derive(Debug, Default, Clone)]
pub struct Book {
    states: Vec<u8>,
}

/// What must be found of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// It must not be there: never sent, refused, or broken.
    Absent,
    /// It must be there, with the value of one of the revisions that are marked.
    Present([bool; 2]),
    /// The answer was never seen: absent, or there with the value of one of the revisions.
    Maybe([bool; 2]),
}

impl Book {
    /// Opens the next batch and gives its number.
    pub fn open(&mut self) -> u64 {
        self.states.push(0);
        self.states.len() as u64 - 1
    }

    /// Number of batches opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.states.len() as u64
    }

    /// Whether nothing was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The server acked this revision: earlier revisions are gone.
    pub fn ack(&mut self, batch: u64, revision: u8) {
        let state = &mut self.states[batch as usize];
        let revision = usize::from(revision);
        *state = (*state & !(ACKED[0] | ACKED[1] | MAYBE[revision])) | ACKED[revision];
    }

    /// No answer was seen: this revision may be there or not.
    pub fn unknown(&mut self, batch: u64, revision: u8) {
        let state = &mut self.states[batch as usize];
        // A resend of what is acked already cannot change anything.
        if *state & ACKED[usize::from(revision)] == 0 {
            *state |= MAYBE[usize::from(revision)];
        }
    }

    /// Whether the batch is acked in some revision.
    #[must_use]
    pub fn is_acked(&self, batch: u64) -> bool {
        self.states[batch as usize] & (ACKED[0] | ACKED[1]) != 0
    }

    /// What must be found of the readings of `batch`; those never opened must be absent.
    #[must_use]
    pub fn expectation(&self, batch: u64) -> Expectation {
        let state = self.states.get(batch as usize).copied().unwrap_or(0);
        let revisions = [0, 1].map(|revision| state & (ACKED[revision] | MAYBE[revision]) != 0);
        if state & (ACKED[0] | ACKED[1]) != 0 {
            Expectation::Present(revisions)
        } else if state != 0 {
            Expectation::Maybe(revisions)
        } else {
            Expectation::Absent
        }
    }
}

/// All books, with the plan that says what they mean.
#[derive(Debug)]
pub struct Ledger {
    /// The workload.
    pub plan: Arc<Plan>,
    /// By integration.
    pub books: Vec<Book>,
}

/// A reading as the server gives it back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Microseconds since 1970.
    pub timestamp_us: i64,
    /// Its value.
    pub value: f64,
}

/// The ledger against what was read back.
#[derive(Debug, Default, Clone, Serialize, PartialEq, Eq)]
pub struct Verdict {
    /// Series that were read back.
    pub series: u64,
    /// Readings that had to be there and were, with the right value, once.
    pub right: u64,
    /// Acked, but not there.
    pub lost: u64,
    /// There more than once.
    pub doubled: u64,
    /// There with a value that was not the last one acked.
    pub wrong_value: u64,
    /// There although never acked, refused, or broken.
    pub unexpected: u64,
    /// Not in order of time.
    pub disordered: u64,
    /// Outcome never seen, and there.
    pub unknown_present: u64,
    /// Outcome never seen, and not there.
    pub unknown_absent: u64,
    /// On no timestamp of ours: somebody else's reading.
    pub foreign: u64,
    /// The first few faults, for people.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether the promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.wrong_value + self.unexpected + self.disordered == 0
    }

    /// Adds another verdict.
    pub fn add(&mut self, other: Self) {
        self.series += other.series;
        self.right += other.right;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.wrong_value += other.wrong_value;
        self.unexpected += other.unexpected;
        self.disordered += other.disordered;
        self.unknown_present += other.unknown_present;
        self.unknown_absent += other.unknown_absent;
        self.foreign += other.foreign;
        self.examples.extend(other.examples);
        self.examples.truncate(20);
    }

    fn example(&mut self, what: &str, place: &str, timestamp_us: i64) {
        if self.examples.len() < 20 {
            let at = jiff::Timestamp::from_microsecond(timestamp_us).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            self.examples.push(format!("{what}: {place} at {at}"));
        }
    }
}

impl Ledger {
    /// An empty ledger for `plan`.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let books = vec![Book::default(); plan.integrations as usize];
        Self { plan, books }
    }

    /// Compares what was read back of the `k`-th series of `integration`.
    #[must_use]
    pub fn compare(&self, integration: u32, k: u64, rows: &[Row]) -> Verdict {
        let plan = &self.plan;
        let book = &self.books[integration as usize];
        let mut verdict = Verdict { series: 1, ..Verdict::default() };
        let (sensor, metric) = plan.series(k);
        let place = format!("{} {}", plan.external_id(integration, sensor), plan.metrics[metric].name);
        if rows.windows(2).any(|pair| pair[0].timestamp_us > pair[1].timestamp_us) {
            verdict.disordered += 1;
            verdict.example("not in order of time", &place, rows[0].timestamp_us);
        }
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| row.timestamp_us);

        let readings = book.len() * u64::from(plan.readings_per_batch);
        let ticks = readings.div_ceil(plan.series_each());
        let mut at = 0;
        for tick in 0..ticks {
            let timestamp_us = plan.start_us + plan.step_us * tick as i64;
            at = verdict.skip_others(plan, &rows, at, timestamp_us, &place);
            let from = at;
            while rows.get(at).is_some_and(|row| row.timestamp_us == timestamp_us) {
                at += 1;
            }
            let q = tick * plan.series_each() + k;
            let broken = plan.reading(integration, q, 0).fault.is_some();
            let expectation = if broken { Expectation::Absent } else { book.expectation(plan.batch_of(q)) };
            let values = [0, 1].map(|revision| plan.reading(integration, q, revision).value());
            verdict.judge(expectation, values, &rows[from..at], &place, timestamp_us);
        }
        verdict.skip_others(plan, &rows, at, i64::MAX, &place);
        verdict
    }
}

impl Verdict {
    /// Passes over the rows before `until_us`: those on our own grid should not be there.
    fn skip_others(&mut self, plan: &Plan, rows: &[Row], mut at: usize, until_us: i64, place: &str) -> usize {
        while let Some(row) = rows.get(at).filter(|row| row.timestamp_us < until_us) {
            if (row.timestamp_us - plan.start_us) % plan.step_us == 0 && row.timestamp_us >= plan.start_us {
                self.unexpected += 1;
                self.example("never sent", place, row.timestamp_us);
            } else {
                self.foreign += 1;
            }
            at += 1;
        }
        at
    }

    fn judge(&mut self, expectation: Expectation, values: [f64; 2], found: &[Row], place: &str, timestamp_us: i64) {
        if found.len() > 1 {
            self.doubled += found.len() as u64 - 1;
            self.example("doubled", place, timestamp_us);
        }
        let fits = |revisions: [bool; 2], row: &Row| {
            (0..2).any(|revision| revisions[revision] && values[revision].to_bits() == row.value.to_bits())
        };
        match (expectation, found.first()) {
            (Expectation::Absent, None) => (),
            (Expectation::Absent, Some(_)) => {
                self.unexpected += 1;
                self.example("not acked, but there", place, timestamp_us);
            }
            (Expectation::Present(_), None) => {
                self.lost += 1;
                self.example("lost", place, timestamp_us);
            }
            (Expectation::Maybe(_), None) => self.unknown_absent += 1,
            (Expectation::Present(revisions), Some(row)) if fits(revisions, row) => self.right += 1,
            (Expectation::Maybe(revisions), Some(row)) if fits(revisions, row) => self.unknown_present += 1,
            (Expectation::Present(_) | Expectation::Maybe(_), Some(row)) => {
                self.wrong_value += 1;
                self.example(
                    &format!("value {} instead of {} or {}", row.value, values[0], values[1]),
                    place,
                    timestamp_us,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
