//! The room's metrics, with handles made once.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{
    ending::Ending,
    packet::{Ack, Version},
};
use crate::telemetry::metrics as names;

/// What became of a result for one subscriber.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Sent,
    /// Its queue was full.
    Slow,
    /// The integration's results in memory are too many.
    TooMany,
    /// Beyond its Maximum Packet Size.
    TooLarge,
}

/// Why a connection is not read for a while.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pause {
    Window,
    Room,
}

/// The handles.
pub(super) struct Meters {
    sessions_open: [Gauge; 2],
    publishes: [[Counter; 5]; 2],
    publish_seconds: Histogram,
    pauses: [Counter; 2],
    /// Publishes that cannot be stored for now and are held.
    pub(super) holds: Counter,
    results: [Counter; 4],
}

impl Meters {
    pub(super) fn new() -> Self {
        const ANSWERS: [&str; 5] = ["success", "payload_invalid", "quota_exceeded", "not_authorized", "none"];
        let publishes = |qos: &'static str| {
            ANSWERS.map(|answer| counter!(names::MQTT_PUBLISHES_TOTAL, "qos" => qos, "answer" => answer))
        };
        Self {
            sessions_open: ["3.1.1", "5"].map(|version| gauge!(names::MQTT_SESSIONS_OPEN, "version" => version)),
            publishes: [publishes("0"), publishes("1")],
            publish_seconds: histogram!(names::MQTT_PUBLISH_SECONDS),
            pauses: ["window", "room"].map(|cause| counter!(names::MQTT_PAUSES_TOTAL, "cause" => cause)),
            holds: counter!(names::MQTT_HOLDS_TOTAL),
            results: ["sent", "slow", "too_many", "too_large"]
                .map(|outcome| counter!(names::MQTT_RESULTS_TOTAL, "outcome" => outcome)),
        }
    }

    /// Counts a session as open while the answer lives.
    pub(super) fn session(&self, version: Version) -> Open {
        let gauge = self.sessions_open[version as usize].clone();
        gauge.increment(1.0);
        Open(gauge)
    }

    /// A CONNECT's outcome, from a closed set.
    pub(super) fn connect(&self, outcome: &'static str) {
        counter!(names::MQTT_CONNECTS_TOTAL, "outcome" => outcome).increment(1);
    }

    pub(super) fn ended(&self, ending: Ending) {
        counter!(names::MQTT_SESSIONS_ENDED_TOTAL, "reason" => ending.as_str()).increment(1);
    }

    /// A publish and its acknowledgement, if it gets one.
    pub(super) fn publish(&self, is_at_least_once: bool, ack: Option<Ack>, seconds: f64) {
        let place = match ack {
            Some(Ack::Success) => 0,
            Some(Ack::PayloadInvalid) => 1,
            Some(Ack::QuotaExceeded) => 2,
            Some(Ack::NotAuthorized) => 3,
            None => 4,
        };
        self.publishes[usize::from(is_at_least_once)][place].increment(1);
        self.publish_seconds.record(seconds);
    }

    pub(super) fn pause(&self, pause: Pause) {
        self.pauses[pause as usize].increment(1);
    }

    pub(super) fn result(&self, fate: Fate, count: u64) {
        if count > 0 {
            self.results[fate as usize].increment(count);
        }
    }
}

/// Counts one open session while it lives.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
