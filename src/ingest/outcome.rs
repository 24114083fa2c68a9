//! The one place where submissions are counted: one outcome each.

use metrics::Counter;

use super::{BatchResult, Refused, Transport, parse::Reader};
use crate::{
    model::EntryCode,
    telemetry::metrics::{
        INGEST_BODY_BYTES_TOTAL, INGEST_PARSE_TOTAL, INGEST_READINGS_ACCEPTED_TOTAL, INGEST_READINGS_DUPLICATE_TOTAL,
        INGEST_READINGS_REJECTED_TOTAL, SUBMISSIONS_TOTAL,
    },
};

/// Counters, found once: looking one up by name costs more than counting.
pub(super) struct Meters {
    transports: [PerTransport; 2],
    readers: [Counter; 3],
    rejected: [Counter; EntryCode::ALL.len()],
}

struct PerTransport {
    ok: Counter,
    partial: Counter,
    rejected: Counter,
    validated: Counter,
    bytes: Counter,
    accepted: Counter,
    duplicates: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            transports: Transport::ALL.map(PerTransport::new),
            readers: Reader::ALL.map(|reader| metrics::counter!(INGEST_PARSE_TOTAL, "reader" => reader.as_str())),
            rejected: EntryCode::ALL
                .map(|code| metrics::counter!(INGEST_READINGS_REJECTED_TOTAL, "code" => code.as_str())),
        }
    }

    pub(super) fn body(&self, transport: Transport, bytes: usize) {
        self.transports[transport as usize].bytes.increment(bytes as u64);
    }

    pub(super) fn read_by(&self, reader: Reader) {
        self.readers[reader as usize].increment(1);
    }

    /// A batch that was judged and, unless it was to be validated only, stored.
    pub(super) fn judged(&self, transport: Transport, validate_only: bool, result: &BatchResult) {
        let meters = &self.transports[transport as usize];
        if validate_only {
            return meters.validated.increment(1);
        }
        match result.status() {
            200 => meters.ok.increment(1),
            207 => meters.partial.increment(1),
            _ => meters.rejected.increment(1),
        }
        meters.accepted.increment(result.accepted.into());
        if result.duplicates > 0 {
            meters.duplicates.increment(result.duplicates.into());
        }
        for error in &result.errors {
            if let Some(place) = EntryCode::ALL.iter().position(|code| *code == error.code) {
                self.rejected[place].increment(1);
            }
        }
    }

    pub(super) fn refused(&self, transport: Transport, refused: &Refused) {
        let labels = [("transport", transport.as_str()), ("outcome", refused.problem.code())];
        metrics::counter!(SUBMISSIONS_TOTAL, &labels).increment(1);
    }
}

impl PerTransport {
    fn new(transport: Transport) -> Self {
        let name = transport.as_str();
        let outcome =
            |outcome: &'static str| metrics::counter!(SUBMISSIONS_TOTAL, "transport" => name, "outcome" => outcome);
        Self {
            ok: outcome("ok"),
            partial: outcome("partial"),
            rejected: outcome("rejected"),
            validated: outcome("validated"),
            bytes: metrics::counter!(INGEST_BODY_BYTES_TOTAL, "transport" => name),
            accepted: metrics::counter!(INGEST_READINGS_ACCEPTED_TOTAL, "transport" => name),
            duplicates: metrics::counter!(INGEST_READINGS_DUPLICATE_TOTAL, "transport" => name),
        }
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}
