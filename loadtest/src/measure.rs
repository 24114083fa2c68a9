//! What the generator counts: latencies, outcomes, and a line per second.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One second of a run.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub struct Second {
    /// Readings acked.
    pub acked: u64,
    /// Requests answered, whatever the answer.
    pub answered: u64,
    /// Requests refused (429, 503).
    pub refused: u64,
    /// Requests whose outcome was never seen.
    pub unknown: u64,
    /// Slowest acked request, in microseconds.
    pub slowest_us: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Acked, with so many readings accepted and rejected.
    Acked {
        /// Readings accepted.
        accepted: u32,
        /// Readings rejected.
        rejected: u32,
    },
    /// Refused for now: 429 or 503.
    Refused,
    /// Refused for good: another 4xx.
    Failed,
    /// No answer, or a 5xx that says nothing.
    Unknown,
}

/// Counts of one generator thread; they add up.
#[derive(Debug, Clone)]
pub struct Tally {
    /// From the intended time to the ack, all attempts included. Microseconds. Measured window only.
    pub response: Histogram<u64>,
    /// From the send to its answer, a single attempt. Microseconds. Measured window only.
    pub service: Histogram<u64>,
    /// How late a request was sent although a connection was free. Microseconds. Open loop only.
    pub lateness: Histogram<u64>,
    /// Readings acked in the measured window.
    pub acked: u64,
    /// Requests acked in the measured window.
    pub acked_requests: u64,
    /// Readings rejected in the measured window.
    pub rejected: u64,
    /// Readings acked in the whole run.
    pub acked_in_all: u64,
    /// Requests sent in the measured window.
    pub requests: u64,
    /// Body bytes sent in the measured window.
    pub body_bytes: u64,
    /// Answers by status and code, failures by kind; whole run.
    pub outcomes: BTreeMap<String, u64>,
    /// Answers whose counts did not fit the batch; whole run.
    pub miscounted: u64,
    /// The first few of them, for people.
    pub examples: Vec<String>,
    /// A line per second since the start of the load.
    pub seconds: Vec<Second>,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are sound");
        Self {
            response: histogram(),
            service: histogram(),
            lateness: histogram(),
            acked: 0,
            acked_requests: 0,
            rejected: 0,
            acked_in_all: 0,
            requests: 0,
            body_bytes: 0,
            outcomes: BTreeMap::new(),
            miscounted: 0,
            examples: Vec::new(),
            seconds: Vec::new(),
        }
    }
}

/// The end of one request, to be counted.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// How it ended.
    pub end: End,
    /// Status and code, or the kind of failure.
    pub label: &'a str,
    /// Since the start of the load, when the answer came.
    pub at: Duration,
    /// Whether `at` lies in the measured window.
    pub measured: bool,
    /// From the send to the answer.
    pub service: Duration,
    /// From the intended time to the answer.
    pub response: Duration,
    /// Size of the body.
    pub body_bytes: usize,
}

impl Tally {
    /// Counts one request.
    pub fn count(&mut self, sample: &Sample<'_>) {
        if let Some(count) = self.outcomes.get_mut(sample.label) {
            *count += 1;
        } else {
            self.outcomes.insert(sample.label.to_owned(), 1);
        }
        let response_us = as_us(sample.response);
        if sample.measured {
            self.requests += 1;
            self.body_bytes += sample.body_bytes as u64;
            if let End::Acked { accepted, rejected } = sample.end {
                self.acked += u64::from(accepted);
                self.acked_requests += 1;
                self.rejected += u64::from(rejected);
                self.response.saturating_record(response_us);
                self.service.saturating_record(as_us(sample.service));
            }
        }
        let index = sample.at.as_secs() as usize;
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        let second = &mut self.seconds[index];
        match sample.end {
            End::Acked { accepted, .. } => {
                self.acked_in_all += u64::from(accepted);
                second.acked += u64::from(accepted);
                second.slowest_us = second.slowest_us.max(response_us);
            }
            End::Refused => second.refused += 1,
            End::Unknown => second.unknown += 1,
            End::Failed => (),
        }
        if sample.end != End::Unknown {
            second.answered += 1;
        }
    }

    /// Notes an answer whose counts did not fit.
    pub fn miscount(&mut self, what: String) {
        self.miscounted += 1;
        if self.examples.len() < 10 {
            self.examples.push(what);
        }
    }

    /// Adds another thread's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.lateness, &other.lateness),
        ] {
            mine.add(theirs).expect("both have the same bounds");
        }
        self.acked += other.acked;
        self.acked_requests += other.acked_requests;
        self.rejected += other.rejected;
        self.acked_in_all += other.acked_in_all;
        self.requests += other.requests;
        self.body_bytes += other.body_bytes;
        self.miscounted += other.miscounted;
        self.examples.extend(other.examples.iter().cloned());
        self.examples.truncate(10);
        for (label, count) in &other.outcomes {
            *self.outcomes.entry(label.clone()).or_default() += count;
        }
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize(other.seconds.len(), Second::default());
        }
        for (mine, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.acked += theirs.acked;
            mine.answered += theirs.answered;
            mine.refused += theirs.refused;
            mine.unknown += theirs.unknown;
            mine.slowest_us = mine.slowest_us.max(theirs.slowest_us);
        }
    }
}

/// The quantiles that the report shows, in microseconds.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the quantiles")]
pub struct Quantiles {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl Quantiles {
    /// Of a histogram of microseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        }
    }
}

/// Whole microseconds of `duration`.
#[must_use]
pub fn as_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(end: End, at_ms: u64, response_us: u64, measured: bool) -> Sample<'static> {
        Sample {
            end,
            label: "200",
            at: Duration::from_millis(at_ms),
            measured,
            service: Duration::from_micros(response_us),
            response: Duration::from_micros(response_us),
            body_bytes: 10,
        }
    }

    #[test]
    fn two_threads_add_up_to_what_one_would_have_counted() {
        let samples: Vec<_> = (0..2_000u64)
            .map(|i| {
                let end = match i % 4 {
                    0 => End::Refused,
                    1 => End::Unknown,
                    _ => End::Acked { accepted: 5, rejected: 1 },
                };
                sample(end, i * 3, i * 7 + 1, i > 300)
            })
            .collect();
        let (mut one, mut a, mut b) = (Tally::default(), Tally::default(), Tally::default());
        for (i, sample) in samples.iter().enumerate() {
            one.count(sample);
            if i % 3 == 0 { a.count(sample) } else { b.count(sample) }
        }
        a.add(&b);
        assert_eq!(Quantiles::of(&a.response), Quantiles::of(&one.response));
        assert_eq!(a.seconds, one.seconds);
        assert_eq!(a.outcomes, one.outcomes);
        assert_eq!((a.acked, a.rejected, a.requests), (one.acked, one.rejected, one.requests));
        assert_eq!((a.acked_in_all, a.body_bytes), (one.acked_in_all, one.body_bytes));
        assert_eq!(a.acked_in_all, 5_000);
    }

    #[test]
    fn what_lies_outside_the_window_is_in_the_seconds_only() {
        let mut tally = Tally::default();
        tally.count(&sample(End::Acked { accepted: 5, rejected: 0 }, 1_500, 900, false));
        assert_eq!((tally.acked, tally.acked_in_all, tally.response.len()), (0, 5, 0));
        assert_eq!(tally.seconds[1], Second { acked: 5, answered: 1, slowest_us: 900, ..Second::default() });
    }
}
