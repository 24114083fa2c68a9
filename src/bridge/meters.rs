//! What is counted here. Batches themselves are counted by `ingest`.

use metrics::{Counter, Gauge, Histogram};
use tokio::time::Instant;

use crate::telemetry::metrics::{
    BRIDGE_ACK_SECONDS, BRIDGE_CONNECTED, BRIDGE_CONNECTIONS_TOTAL, BRIDGE_IN_FLIGHT, BRIDGE_MESSAGES_TOTAL,
    BRIDGE_REFUSALS_TOTAL, BRIDGE_RESENT_TOTAL, BRIDGE_RESULTS_TOTAL,
};

/// Handles, found once.
pub(super) struct Meters {
    /// 1 while messages are taken.
    pub(super) connected: Gauge,
    /// Connections that took messages.
    pub(super) connections: Counter,
    /// Messages that await their acknowledgement.
    pub(super) in_flight: Gauge,
    /// Judged, and answered with a result.
    pub(super) judged: Counter,
    /// Refused as a whole, for good.
    pub(super) refused: Counter,
    /// Not acknowledged, because it can be stored later.
    pub(super) released: Counter,
    /// QoS 0 only: dropped, because nobody would send it again.
    pub(super) dropped: Counter,
    /// Messages that the broker had sent before.
    pub(super) resent: Counter,
    /// Results handed to the broker.
    pub(super) results_sent: Counter,
    /// Results given up.
    pub(super) results_dropped: Counter,
    ack_seconds: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        let message = |outcome: &'static str| metrics::counter!(BRIDGE_MESSAGES_TOTAL, "outcome" => outcome);
        let result = |outcome: &'static str| metrics::counter!(BRIDGE_RESULTS_TOTAL, "outcome" => outcome);
        Self {
            connected: metrics::gauge!(BRIDGE_CONNECTED),
            connections: metrics::counter!(BRIDGE_CONNECTIONS_TOTAL),
            in_flight: metrics::gauge!(BRIDGE_IN_FLIGHT),
            judged: message("judged"),
            refused: message("refused"),
            released: message("released"),
            dropped: message("dropped"),
            resent: metrics::counter!(BRIDGE_RESENT_TOTAL),
            results_sent: result("sent"),
            results_dropped: result("dropped"),
            ack_seconds: metrics::histogram!(BRIDGE_ACK_SECONDS),
        }
    }

    /// A refusal by its exact cause, which is a word of a closed set.
    pub(super) fn refusal(&self, cause: &'static str) {
        self.refused.increment(1);
        metrics::counter!(BRIDGE_REFUSALS_TOTAL, "cause" => cause).increment(1);
    }

    /// An acknowledgement of a message that came at `arrived`.
    pub(super) fn acknowledged(&self, arrived: Instant) {
        self.ack_seconds.record(arrived.elapsed().as_secs_f64());
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}
