//! One request from its header to its end, as far as all routes share it.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Instant};

use http::{HeaderMap, Method, Response, header::HeaderName};

use super::{
    instruments::Instruments,
    refusal::Refusal,
    reply::{ReplyBody, X_REQUEST_ID, stamp},
};
use crate::{
    auth::{Cause, RateState},
    ingest::Transport,
    journal::{Counts, Journal, Record, STATUS_HUNG_UP},
    model::{IntegrationId, RejectedEntry, RequestId, Scope, rejected_entry::looks_secret},
};

/// Longest request id of a caller's own that is kept, in bytes.
const CLIENT_REQUEST_ID_BYTES_MAX: usize = 128;

/// What is known of a request while it is being worked on. Dropped without an answer, it is recorded as hung up.
pub(super) struct Exchange {
    pub(super) request_id: RequestId,
    pub(super) addr: IpAddr,
    pub(super) now_us: i64,
    pub(super) route: &'static str,
    pub(super) integration_id: Option<IntegrationId>,
    pub(super) key_generation: Option<u64>,
    /// The scope that the call needs, and whether it was granted.
    pub(super) scope: Option<Scope>,
    pub(super) granted: Option<bool>,
    /// The figures of the integration's window once it is charged; until then those for strangers are shown.
    pub(super) rate: Option<RateState>,
    pub(super) body_bytes: usize,
    pub(super) readings: Option<Counts>,
    pub(super) rejected: Vec<RejectedEntry>,
    client_request_id: Option<Box<str>>,
    method: Method,
    started: Instant,
    is_over: bool,
    instruments: Arc<Instruments>,
    journal: Arc<dyn Journal>,
}

/// The route of everything that is none.
pub(super) const UNKNOWN_ROUTE: &str = "unknown";

impl Exchange {
    pub(super) fn begin(
        method: &Method,
        headers: &HeaderMap,
        addr: IpAddr,
        instruments: &Arc<Instruments>,
        journal: &Arc<dyn Journal>,
    ) -> Self {
        Self {
            request_id: RequestId::generate(),
            addr,
            now_us: jiff::Timestamp::now().as_microsecond(),
            route: UNKNOWN_ROUTE,
            integration_id: None,
            key_generation: None,
            scope: None,
            granted: None,
            rate: None,
            body_bytes: 0,
            readings: None,
            rejected: Vec::new(),
            client_request_id: client_request_id(headers, &X_REQUEST_ID),
            method: method.clone(),
            started: Instant::now(),
            is_over: false,
            instruments: Arc::clone(instruments),
            journal: Arc::clone(journal),
        }
    }

    /// Ends it: the answer gets the headers that all have, and a record is kept. `anonymous` gives the figures for
    /// strangers, which every 401 shows as well (A23).
    pub(super) fn end(
        mut self,
        outcome: Result<Response<ReplyBody>, Refusal>,
        public_url: &str,
        anonymous: impl FnOnce() -> RateState,
    ) -> Response<ReplyBody> {
        let (mut response, refusal) = match outcome {
            Ok(response) => (response, None),
            Err(refusal) => (refusal.response(public_url, self.request_id), Some(refusal)),
        };
        if let Some(refusal) = &refusal {
            self.integration_id = self.integration_id.or(refusal.integration_id);
            self.key_generation = self.key_generation.or(refusal.key_generation);
            if refusal.cause == Cause::InsufficientScope.as_str() {
                self.granted = Some(false);
            }
            self.rate = if refusal.problem.status() == 401 { None } else { refusal.rate.or(self.rate) };
        }
        let rate = *self.rate.get_or_insert_with(anonymous);
        stamp(response.headers_mut(), self.request_id, rate);
        self.record(response.status().as_u16(), refusal.as_ref());
        response
    }

    fn record(&mut self, status: u16, refusal: Option<&Refusal>) {
        self.is_over = true;
        let message = refusal.map(|refusal| match &refusal.detail {
            Some(Cow::Owned(detail)) => detail.as_str(),
            Some(Cow::Borrowed(detail)) => detail,
            None => refusal.problem.remedy(),
        });
        let record = Record {
            transport: Transport::Http.as_str(),
            request_id: self.request_id,
            client_request_id: self.client_request_id.as_deref(),
            at_us: self.now_us,
            integration_id: self.integration_id,
            key_generation: self.key_generation,
            addr: self.addr,
            method: self.method.as_str(),
            route: self.route,
            scope: self.scope,
            granted: self.granted,
            status,
            code: refusal.map(|refusal| refusal.problem.code()),
            cause: refusal.map(|refusal| refusal.cause),
            message,
            latency: self.started.elapsed(),
            body_bytes: self.body_bytes,
            readings: self.readings,
            rejected: &self.rejected,
            rate: self.rate,
        };
        self.instruments.count(&record);
        self.journal.record(&record);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over {
            self.record(STATUS_HUNG_UP, None);
        }
    }
}

/// The caller's own id of the request, if it can stand in a log as it is.
fn client_request_id(headers: &HeaderMap, name: &HeaderName) -> Option<Box<str>> {
    let text = headers.get(name)?.to_str().ok()?;
    let is_sane = (1..=CLIENT_REQUEST_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
        && !looks_secret(text);
    is_sane.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    // S295: a caller's own id is kept where it is harmless.
    #[test]
    fn a_callers_id_is_kept_if_sane() {
        let check = |value: &str| {
            let headers = HeaderMap::from_iter([(X_REQUEST_ID, value.parse().unwrap())]);
            client_request_id(&headers, &X_REQUEST_ID).as_deref() == Some(value)
        };
        assert!(check("0197c0de-7000-7abc-8def-0123456789ab") && check("a") && check(&"x".repeat(128)));
        // S300: a credential in the wrong header does not get into the log.
        for odd in ["grq_live_0123", "grq_cs_1", "eyJhbGciOiJFUzI1NiJ9.e30.x"] {
            assert!(!check(odd), "{odd}");
        }
        for odd in ["", "a b", "a\tb", "<script>", "a\"b", "é", &"x".repeat(129)] {
            assert!(!check(odd), "{odd}");
        }
    }
}
