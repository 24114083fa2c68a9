//! One CONNECT or PUBLISH from its arrival to its answer, as the journal and the metrics see it.

use std::{net::IpAddr, sync::Arc, time::Instant};

use crate::{
    auth::RateState,
    ingest::Transport,
    journal::{Journal, Record, STATUS_HUNG_UP},
    model::{IntegrationId, RequestId},
};

/// What is known of it while it is worked on. Dropped without an answer, it is recorded as hung up.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request_id: RequestId,
    pub(super) integration_id: Option<IntegrationId>,
    pub(super) rate: Option<RateState>,
    addr: IpAddr,
    method: &'static str,
    route: &'static str,
    body_bytes: usize,
    started: Instant,
    is_over: bool,
    journal: Arc<dyn Journal>,
}

/// How it came out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// As over HTTP.
    pub(super) status: u16,
    pub(super) code: Option<&'static str>,
    pub(super) cause: Option<&'static str>,
    pub(super) readings: Option<(u32, u32)>,
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
            rate: None,
            addr,
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
    pub(super) fn end(mut self, answer: Answer) {
        self.record(answer);
    }

    fn record(&mut self, answer: Answer) {
        self.is_over = true;
        self.journal.record(&Record {
            transport: Transport::Mqtt.as_str(),
            request_id: self.request_id,
            client_request_id: None,
            integration_id: self.integration_id,
            addr: self.addr,
            method: self.method,
            route: self.route,
            status: answer.status,
            code: answer.code,
            cause: answer.cause,
            latency: self.started.elapsed(),
            body_bytes: self.body_bytes,
            readings: answer.readings,
            rate: self.rate,
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over {
            self.record(Answer { status: STATUS_HUNG_UP, code: None, cause: None, readings: None });
        }
    }
}
