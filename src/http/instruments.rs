//! The counters of the integration API over HTTP.

use metrics::{Counter, Histogram, counter, histogram};

use crate::{
    journal::Record,
    telemetry::metrics::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS_TOTAL},
};

/// The counters; those of the hot route are made once.
pub(super) struct Instruments {
    readings: [(u16, Counter); 3],
    readings_seconds: Histogram,
}

/// The route of batches, as metrics and records name it.
pub(super) const READINGS_ROUTE: &str = "readings";

impl Instruments {
    pub(super) fn new() -> Self {
        Self {
            readings: [200, 207, 422].map(|status| (status, requests(READINGS_ROUTE, status, None))),
            readings_seconds: histogram!(HTTP_REQUEST_SECONDS, "route" => READINGS_ROUTE),
        }
    }

    pub(super) fn count(&self, record: &Record<'_>) {
        if record.route == READINGS_ROUTE {
            self.readings_seconds.record(record.latency);
            let hot = self.readings.iter().find(|(status, _)| *status == record.status && record.code.is_none());
            if let Some((_, counter)) = hot {
                return counter.increment(1);
            }
        } else {
            histogram!(HTTP_REQUEST_SECONDS, "route" => record.route).record(record.latency);
        }
        requests(record.route, record.status, record.code).increment(1);
    }
}

fn requests(route: &'static str, status: u16, code: Option<&'static str>) -> Counter {
    let (status, code) = (status.to_string(), code.unwrap_or("none"));
    counter!(HTTP_REQUESTS_TOTAL, "route" => route, "status" => status, "code" => code)
}
