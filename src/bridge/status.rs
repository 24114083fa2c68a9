//! What the operator is told about the connection: in the log, on `/readyz` and in the metrics.

use std::{sync::Arc, time::Duration};

use super::{broker::Broker, error::LinkError, meters::Meters};
use crate::telemetry::health::Health;

/// The name under which `/readyz` says what is wrong.
const COMPONENT: &str = "bridge";

/// The state of the connection that takes messages.
#[derive(Debug)]
pub(super) struct Status {
    broker: Arc<Broker>,
    health: Health,
    meters: Arc<Meters>,
}

impl Status {
    /// Not connected yet.
    pub(super) fn new(broker: Arc<Broker>, health: Health, meters: Arc<Meters>) -> Self {
        health.set(COMPONENT, Err(format!("not connected to the broker {broker} yet")));
        Self { broker, health, meters }
    }

    /// The broker has agreed to everything.
    pub(super) fn taking(&self, client_id: &str, filter: &str, is_resumed: bool) {
        self.health.set(COMPONENT, Ok(()));
        self.meters.connected.set(1.0);
        self.meters.connections.increment(1);
        tracing::info!(broker = %self.broker, client_id, filter, is_resumed, "Taking messages from the broker.");
    }

    /// There is no connection; the next attempt is made after `pause`.
    pub(super) fn lost(&self, error: &LinkError, pause: Duration) {
        let broker = &self.broker;
        self.health.set(COMPONENT, Err(format!("no messages from the broker {broker}: {}", error.with_causes())));
        self.meters.connected.set(0.0);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let error = error as &dyn std::error::Error;
        tracing::warn!(%broker, error, pause_ms, "No messages from the broker; trying again.");
    }

    /// Stopped by the operator.
    pub(super) fn stopped(&self) {
        self.meters.connected.set(0.0);
    }
}
