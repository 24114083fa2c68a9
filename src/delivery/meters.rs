//! Delivery's figures, with handles that cost no look-up.

use metrics::{Counter, Gauge, Histogram};

use crate::telemetry::metrics as names;

pub(super) struct Meters {
    pub(super) backlog_seconds: Gauge,
    pub(super) readings: Counter,
    pub(super) groups: Counter,
    pub(super) write_seconds: Histogram,
    pub(super) retries: Counter,
    pub(super) quarantined: Counter,
    pub(super) quarantine_rows: Gauge,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            backlog_seconds: metrics::gauge!(names::DELIVERY_BACKLOG_SECONDS),
            readings: metrics::counter!(names::DELIVERY_READINGS_TOTAL),
            groups: metrics::counter!(names::DELIVERY_GROUPS_TOTAL),
            write_seconds: metrics::histogram!(names::DELIVERY_WRITE_SECONDS),
            retries: metrics::counter!(names::DELIVERY_RETRIES_TOTAL),
            quarantined: metrics::counter!(names::DELIVERY_QUARANTINED_TOTAL),
            quarantine_rows: metrics::gauge!(names::DELIVERY_QUARANTINE_ROWS),
        }
    }
}
