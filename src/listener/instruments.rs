//! A port's metrics, with handles made once.

use metrics::{Counter, Gauge, counter, gauge};

use crate::telemetry::metrics as names;

/// Why a connection ended before it was served.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// The port holds its maximum.
    ConnectionsMax,
    /// The address holds its maximum.
    AddressMax,
    /// The port expects PROXY headers, and this peer is not a proxy we trust.
    ProxyUntrusted,
    /// The PROXY header is malformed, missing or late.
    ProxyHeader,
    /// The TLS handshake failed.
    Handshake,
    /// The TLS handshake was not done in time.
    HandshakeTimeout,
    /// Nothing came in the time allowed for the first byte.
    Silent,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::ConnectionsMax,
        Self::AddressMax,
        Self::ProxyUntrusted,
        Self::ProxyHeader,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::Silent,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionsMax => "connections_max",
            Self::AddressMax => "address_max",
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::ProxyHeader => "proxy_header",
            Self::Handshake => "handshake",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Silent => "silent",
        }
    }
}

/// The handles of one port.
#[derive(Clone)]
pub(super) struct Instruments {
    pub(super) open: Gauge,
    pub(super) parked: Gauge,
    pub(super) accepted: Counter,
    pub(super) accept_errors: Counter,
    pub(super) requests_in_flight: Gauge,
    refused: [Counter; Refusal::ALL.len()],
}

impl Instruments {
    pub(super) fn new(port: &'static str) -> Self {
        Self {
            open: gauge!(names::LISTENER_CONNECTIONS_OPEN, "port" => port),
            parked: gauge!(names::LISTENER_CONNECTIONS_PARKED, "port" => port),
            accepted: counter!(names::LISTENER_CONNECTIONS_TOTAL, "port" => port),
            accept_errors: counter!(names::LISTENER_ACCEPT_ERRORS_TOTAL, "port" => port),
            requests_in_flight: gauge!(names::LISTENER_REQUESTS_IN_FLIGHT, "port" => port),
            refused: Refusal::ALL.map(|reason| {
                counter!(names::LISTENER_CONNECTIONS_REFUSED_TOTAL, "port" => port, "reason" => reason.as_str())
            }),
        }
    }

    pub(super) fn refuse(&self, reason: Refusal) {
        self.refused[reason as usize].increment(1);
    }
}

/// Counts something up while it lives.
pub(super) struct Present(Gauge);

impl Present {
    pub(super) fn count(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
