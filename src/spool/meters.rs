//! The spool's figures, with handles that cost no look-up.

use metrics::{Counter, Gauge, Histogram};

use crate::telemetry::metrics as names;

pub(super) struct Meters {
    pub(super) bytes: Gauge,
    pub(super) backlog_records: Gauge,
    pub(super) free_disk_bytes: Gauge,
    pub(super) appended_records: Counter,
    pub(super) appended_bytes: Counter,
    pub(super) group_records: Histogram,
    pub(super) sync_seconds: Histogram,
    pub(super) poisoned: Gauge,
    pub(super) damages: Counter,
    pub(super) corrupt_files: Gauge,
    pub(super) disk_reads: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            bytes: metrics::gauge!(names::SPOOL_BYTES),
            backlog_records: metrics::gauge!(names::SPOOL_BACKLOG_RECORDS),
            free_disk_bytes: metrics::gauge!(names::SPOOL_FREE_DISK_BYTES),
            appended_records: metrics::counter!(names::SPOOL_APPENDED_RECORDS_TOTAL),
            appended_bytes: metrics::counter!(names::SPOOL_APPENDED_BYTES_TOTAL),
            group_records: metrics::histogram!(names::SPOOL_GROUP_RECORDS),
            sync_seconds: metrics::histogram!(names::SPOOL_SYNC_SECONDS),
            poisoned: metrics::gauge!(names::SPOOL_POISONED),
            damages: metrics::counter!(names::SPOOL_DAMAGES_TOTAL),
            corrupt_files: metrics::gauge!(names::SPOOL_CORRUPT_FILES),
            disk_reads: metrics::counter!(names::SPOOL_DISK_READ_BYTES_TOTAL),
        }
    }
}
