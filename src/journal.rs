//! One record for each request of the integration API, whichever way it came in, however it ended.
//!
//! Both edges and the bridge write here, and none of them knows where records go.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    auth::RateState,
    model::{Contents, IntegrationId, RejectedEntry, RequestId, Scope},
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
    /// When it came, microseconds since the Unix epoch.
    pub at_us: i64,
    /// Whose it was: also where the key is superseded, the token is refused or the integration is not Active (S298).
    pub integration_id: Option<IntegrationId>,
    /// Which of the integration's keys it came with, where that is known.
    pub key_generation: Option<u64>,
    /// The true address of the caller.
    pub addr: IpAddr,
    /// The method; over MQTT the packet: `CONNECT` or `PUBLISH`.
    pub method: &'a str,
    /// The route, from a closed set; never the path or topic as sent.
    pub route: &'static str,
    /// The scope that the call needs, if any (S293).
    pub scope: Option<Scope>,
    /// Whether it was granted; none where the request did not get that far.
    pub granted: Option<bool>,
    /// The status answered, or [`STATUS_HUNG_UP`]. Over MQTT the one that the same request would have got over HTTP.
    pub status: u16,
    /// The problem's code, where it was refused.
    pub code: Option<&'static str>,
    /// The exact cause of a refusal.
    pub cause: Option<&'static str>,
    /// The sentence that the caller was told with a refusal (S297).
    pub message: Option<&'a str>,
    /// From the request's header to the answer's.
    pub latency: Duration,
    /// Bytes of the body as sent.
    pub body_bytes: usize,
    /// What became of the readings.
    pub readings: Option<Counts>,
    /// The first of the refused entries.
    pub rejected: &'a [RejectedEntry],
    /// What the rate headers said; none where nobody read them any more, and over MQTT where nothing was charged.
    pub rate: Option<RateState>,
}

/// What became of the readings of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries that came: `accepted + rejected`.
    pub received: u32,
    /// Entries stored, or with `validate_only` those that would have been.
    pub accepted: u32,
    /// Accepted ones whose key an earlier one had, as far as known at once.
    pub duplicates: u32,
    /// Entries refused.
    pub rejected: u32,
}

/// A batch that is durable, whatever became of its request afterwards.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The request that brought it.
    pub request_id: RequestId,
    /// Whose it is.
    pub integration_id: IntegrationId,
    /// When it came, microseconds since the Unix epoch.
    pub received_at_us: i64,
    /// Its position in the spool: of one key the reading at the higher position wins.
    pub position: u64,
    /// Readings in it.
    pub accepted: u32,
    /// Which.
    pub contents: &'a Contents,
}

/// Where records go.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Keeps one record. Called on the request's own path: it must not block.
    fn record(&self, record: &Record<'_>);

    /// Keeps one record of which no line is to be written: there are too many of its kind. Likewise.
    fn record_quietly(&self, record: &Record<'_>) {
        let _ = record;
    }

    /// Keeps what a stored batch holds. Likewise.
    fn stored(&self, stored: &Stored<'_>) {
        let _ = stored;
    }
}

/// Two journals, one beside the other.
#[derive(Debug)]
pub struct Both(pub Arc<dyn Journal>, pub Arc<dyn Journal>);

impl Journal for Both {
    fn record(&self, record: &Record<'_>) {
        self.0.record(record);
        self.1.record(record);
    }

    fn record_quietly(&self, record: &Record<'_>) {
        self.0.record_quietly(record);
        self.1.record_quietly(record);
    }

    fn stored(&self, stored: &Stored<'_>) {
        self.0.stored(stored);
        self.1.stored(stored);
    }
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
                    accepted = record.readings.map(|counts| counts.accepted),
                    rejected = record.readings.map(|counts| counts.rejected),
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
