//! One record for each request of the integration API, whichever way it came in, however it ended.
//!
//! Both edges and the bridge write here, and none of them knows where records go.

use std::{fmt, net::IpAddr, time::Duration};

use crate::{
    auth::RateState,
    model::{IntegrationId, RequestId},
};

/// The status in a record of a request whose caller hung up before it was answered; never on the wire.
pub const STATUS_HUNG_UP: u16 = 499;

/// The route of what comes from the broker of cluster mode.
pub const BRIDGE_ROUTE: &str = "bridge";

/// What is known of one request once it is over. Nothing in it is a credential, nor comes from a body or a query.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// `http` or `mqtt`.
    pub transport: &'static str,
    /// Our name for it.
    pub request_id: RequestId,
    /// The caller's own name for it, where it sent a sane one.
    pub client_request_id: Option<&'a str>,
    /// Whose it was, where that is known.
    pub integration_id: Option<IntegrationId>,
    /// The true address of the caller.
    pub addr: IpAddr,
    /// The method; over MQTT the packet: `CONNECT` or `PUBLISH`.
    pub method: &'a str,
    /// The route, from a closed set; never the path or topic as sent.
    pub route: &'static str,
    /// The status answered, or [`STATUS_HUNG_UP`]. Over MQTT the one that the same request would have got over HTTP.
    pub status: u16,
    /// The problem's code, where it was refused.
    pub code: Option<&'static str>,
    /// The exact cause of a refusal.
    pub cause: Option<&'static str>,
    /// From the request's header to the answer's.
    pub latency: Duration,
    /// Bytes of the body as sent.
    pub body_bytes: usize,
    /// Readings accepted and rejected.
    pub readings: Option<(u32, u32)>,
    /// What the rate headers said; none where nobody read them any more, and over MQTT where nothing was charged.
    pub rate: Option<RateState>,
}

/// Where records go.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Keeps one record. Called on the request's own path: it must not block.
    fn record(&self, record: &Record<'_>);
}

/// Records as log lines: refused callers at `info`, because the exact cause is found nowhere else, the rest at
/// `debug`. A caller that fails again and again is shut out by its address, which bounds the lines; the bridge, whose
/// senders share one, bounds them itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogJournal;

impl Journal for LogJournal {
    fn record(&self, record: &Record<'_>) {
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    transport = record.transport,
                    request_id = %record.request_id,
                    client_request_id = record.client_request_id,
                    integration_id = record.integration_id.map(tracing::field::display),
                    addr = %record.addr,
                    method = %record.method,
                    route = record.route,
                    status = record.status,
                    code = record.code,
                    cause = record.cause,
                    latency_us = u64::try_from(record.latency.as_micros()).unwrap_or(u64::MAX),
                    body_bytes = record.body_bytes,
                    accepted = record.readings.map(|(accepted, _)| accepted),
                    rejected = record.readings.map(|(_, rejected)| rejected),
                    "request"
                )
            };
        }
        // Behind a broker nobody but a listener on the results topic hears of a refusal.
        let is_unheard = record.route == BRIDGE_ROUTE && record.code.is_some();
        match record.status {
            401 | 403 | 500..=599 => log!(info),
            _ if is_unheard => log!(info),
            _ => log!(debug),
        }
    }
}
