//! One CONNECT or PUBLISH from its arrival to its answer, as the journal and the metrics see it.

use std::{net::IpAddr, sync::Arc, time::Instant};

use crate::{
    auth::{Cause, RateState},
    ingest::Transport,
    journal::{Counts, Journal, Record, STATUS_HUNG_UP},
    model::{IntegrationId, RejectedEntry, RequestId, Scope},
};

/// What is known of it while it is worked on. Dropped without an answer, it is recorded as hung up.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request_id: RequestId,
    pub(super) integration_id: Option<IntegrationId>,
    pub(super) key_generation: Option<u64>,
    /// Whether `sensors:write` was granted; none before that was judged.
    pub(super) granted: Option<bool>,
    pub(super) rate: Option<RateState>,
    addr: IpAddr,
    at_us: i64,
    method: &'static str,
    route: &'static str,
    body_bytes: usize,
    started: Instant,
    is_over: bool,
    journal: Arc<dyn Journal>,
}

/// How it came out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer<'a> {
    /// As over HTTP.
    pub(super) status: u16,
    pub(super) code: Option<&'static str>,
    pub(super) cause: Option<&'static str>,
    /// What the sender was told with a refusal.
    pub(super) message: Option<&'a str>,
    pub(super) readings: Option<Counts>,
    pub(super) rejected: &'a [RejectedEntry],
}

impl Exchange {
    pub(super) fn connect(journal: &Arc<dyn Journal>, addr: IpAddr) -> Self {
        Self::begin(journal, addr, "CONNECT", "connect", 0)
    }

    pub(super) fn publish(journal: &Arc<dyn Journal>, addr: IpAddr, body_bytes: usize) -> Self {
        Self::begin(journal, addr, "PUBLISH", "readings", body_bytes)
    }

    fn begin(
        journal: &Arc<dyn Journal>,
        addr: IpAddr,
        method: &'static str,
        route: &'static str,
        body_bytes: usize,
    ) -> Self {
        Self {
            request_id: RequestId::generate(),
            integration_id: None,
            key_generation: None,
            granted: None,
            rate: None,
            addr,
            at_us: jiff::Timestamp::now().as_microsecond(),
            method,
            route,
            body_bytes,
            started: Instant::now(),
            is_over: false,
            journal: Arc::clone(journal),
        }
    }

    /// Since it arrived.
    pub(super) fn age_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// It is answered, or will never be.
    pub(super) fn end(mut self, answer: Answer<'_>) {
        self.record(answer);
    }

    fn record(&mut self, answer: Answer<'_>) {
        self.is_over = true;
        let is_denied = answer.cause == Some(Cause::InsufficientScope.as_str());
        self.journal.record(&Record {
            transport: Transport::Mqtt.as_str(),
            request_id: self.request_id,
            client_request_id: None,
            at_us: self.at_us,
            integration_id: self.integration_id,
            key_generation: self.key_generation,
            addr: self.addr,
            method: self.method,
            route: self.route,
            scope: Some(Scope::SensorsWrite),
            granted: if is_denied { Some(false) } else { self.granted },
            status: answer.status,
            code: answer.code,
            cause: answer.cause,
            message: answer.message,
            latency: self.started.elapsed(),
            body_bytes: self.body_bytes,
            readings: answer.readings,
            rejected: answer.rejected,
            rate: self.rate,
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over {
            self.record(Answer { status: STATUS_HUNG_UP, ..Answer::default() });
        }
    }
}
