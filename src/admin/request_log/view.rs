//! How entries of the API log are shown.

use serde::Serialize;
use utoipa::ToSchema;

use super::Prefixes;
use crate::{
    admin::time,
    model::{IntegrationId, RequestId},
    request_log::{Batch, Entry, Explanation, Rejected},
};

/// One request of the integration API.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogEntry)]
pub(in crate::admin) struct EntryView {
    #[schema(value_type = String, format = Uuid)]
    pub(super) request_id: RequestId,
    /// The caller's own `X-Request-Id`.
    pub(super) client_request_id: Option<String>,
    /// When it came.
    pub(super) at: String,
    /// From its header to the answer's, in microseconds.
    pub(super) latency_us: u64,
    /// `http` or `mqtt`.
    pub(super) transport: String,
    /// Null: it came with no key that ever was one.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub(super) integration_id: Option<IntegrationId>,
    /// The beginning of the API key that it came with, also of a former one.
    pub(super) key_prefix: Option<String>,
    /// The caller's true address.
    pub(super) ip: String,
    /// The method; over MQTT `CONNECT` or `PUBLISH`.
    pub(super) method: String,
    /// The route's name.
    pub(super) route: String,
    /// The scope that it needed.
    pub(super) scope: Option<String>,
    /// `granted` or `denied`; null: it was refused before that was judged.
    pub(super) scope_outcome: Option<&'static str>,
    /// The status answered; 499: the caller hung up. Over MQTT the one that HTTP would have answered.
    pub(super) status: u16,
    /// The problem's code, where it was refused.
    pub(super) code: Option<String>,
    /// The exact cause, which the caller is not told.
    pub(super) cause: Option<String>,
    /// The sentence that the caller was told.
    pub(super) message: Option<String>,
    /// Bytes of the body as sent.
    pub(super) body_bytes: u64,
    /// Readings that came.
    pub(super) received: Option<u32>,
    /// Readings accepted.
    pub(super) accepted: Option<u32>,
    /// Accepted ones whose key an earlier one had.
    pub(super) duplicates: Option<u32>,
    /// Readings refused.
    pub(super) rejected: Option<u32>,
    /// The first of the refused readings.
    pub(super) rejected_entries: Vec<RejectedView>,
    /// What the rate headers said.
    pub(super) rate_limit: Option<RateView>,
}

/// A refused reading.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogRejectedEntry)]
pub(in crate::admin) struct RejectedView {
    /// Its place in the batch, from 0.
    index: u32,
    code: String,
    external_id: Option<String>,
    equipment_id: Option<String>,
    metric: Option<String>,
    /// Null where it could not be read.
    timestamp: Option<String>,
}

/// The state of a limit.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogRateLimit)]
pub(in crate::admin) struct RateView {
    limit: u32,
    remaining: u32,
    /// Unix seconds.
    reset: u64,
}

/// One request, explained.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogExplanation)]
pub(in crate::admin) struct ExplainedView {
    #[serde(flatten)]
    entry: EntryView,
    /// What happened, in a sentence.
    summary: String,
    /// Every check in its order.
    checks: Vec<CheckView>,
    /// What an administrator can do; empty where nothing has to be done.
    advice: Vec<&'static str>,
    /// What it stored.
    stored: Option<StoredView>,
}

/// One check of a request.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogCheck)]
pub(in crate::admin) struct CheckView {
    name: &'static str,
    /// `passed`, `failed`, `not_reached` or `not_applicable`.
    verdict: &'static str,
    /// What was observed.
    detail: String,
}

/// What a request stored.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogStored)]
pub(in crate::admin) struct StoredView {
    accepted: u32,
    /// Position in the spool.
    position: u64,
    /// Time of the earliest reading in it.
    earliest: Option<String>,
    /// Of the latest.
    latest: Option<String>,
}

impl EntryView {
    pub(super) fn new(entry: &Entry, prefixes: &Prefixes) -> Self {
        let key = entry.integration_id.zip(entry.key_generation);
        let count = |of: fn(&crate::request_log::Counts) -> u32| entry.counts.as_ref().map(of);
        Self {
            request_id: entry.request_id,
            client_request_id: entry.client_request_id.clone(),
            at: time::format(entry.at_us),
            latency_us: entry.latency_us,
            transport: entry.transport.clone(),
            integration_id: entry.integration_id,
            key_prefix: key.and_then(|key| prefixes.get(&key).cloned()),
            ip: entry.addr.to_string(),
            method: entry.method.clone(),
            route: entry.route.clone(),
            scope: entry.scope.clone(),
            scope_outcome: entry.granted.map(|granted| if granted { "granted" } else { "denied" }),
            status: entry.status,
            code: entry.code.clone(),
            cause: entry.cause.clone(),
            message: entry.message.clone(),
            body_bytes: entry.body_bytes,
            received: count(|counts| counts.received),
            accepted: count(|counts| counts.accepted),
            duplicates: count(|counts| counts.duplicates),
            rejected: count(|counts| counts.rejected),
            rejected_entries: entry.rejected.iter().map(RejectedView::from).collect(),
            rate_limit: entry.rate.map(|(limit, remaining, reset)| RateView { limit, remaining, reset }),
        }
    }
}

impl From<&Rejected> for RejectedView {
    fn from(rejected: &Rejected) -> Self {
        Self {
            index: rejected.index,
            code: rejected.code.clone(),
            external_id: rejected.external_id.clone(),
            equipment_id: rejected.equipment_id.clone(),
            metric: rejected.metric.clone(),
            timestamp: time::format_some(rejected.timestamp_us),
        }
    }
}

impl ExplainedView {
    pub(super) fn new(entry: EntryView, explanation: Explanation, batch: Option<&Batch>) -> Self {
        let Explanation { checks, summary, advice } = explanation;
        let checks = checks.into_iter().map(|check| CheckView {
            name: check.name,
            verdict: check.verdict.as_str(),
            detail: check.detail,
        });
        let stored = batch.map(|batch| {
            let (earliest, latest) = batch.contents.span().unzip();
            StoredView {
                accepted: batch.accepted,
                position: batch.position,
                earliest: time::format_some(earliest),
                latest: time::format_some(latest),
            }
        });
        Self { entry, summary, checks: checks.collect(), advice, stored }
    }
}
