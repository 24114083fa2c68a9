//! The API log: which requests there were, and why each was answered as it was (S290–S299, S326, S328).
//!
//! An administrator sees the requests of the own organisation's integrations. A request that nobody can be named for is
//! listed where the installation has one organisation only; where there are several it is found by its id alone, which
//! only its caller was told.

pub(super) mod export;
pub(super) mod filter;
pub(super) mod sums;
pub(super) mod view;

use std::collections::HashMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use self::{
    filter::{read_filter, seen_by},
    view::{EntryView, ExplainedView},
};
use super::{Admin, caller::Administrator, page::List, parameters::Parameters, path::Id, problem::Problem};
use crate::{
    control::page::{PAGE_DEFAULT, PAGE_MAX},
    model::{IntegrationId, ProblemCode, RequestId},
    request_log::{Entry, Error, Filter, explain},
};

/// Keeps the cursors of this list out of others.
const CURSOR: &str = "request-log:";
/// Seconds after which a question that the log could not answer is worth repeating.
const RETRY_AFTER_S: u64 = 5;

/// `GET /admin/v1/request-log`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let wanted = read_filter(&mut parameters)?;
    let format = parameters.read("format", "json, ndjson or csv", export::Format::parse)?.flatten();
    let limit = parameters.read("limit", "a whole number from 1 to 200", |text| {
        text.parse().ok().filter(|limit| (1..=PAGE_MAX as usize).contains(limit))
    })?;
    let cursor = parameters.read("cursor", "one that this list gave out", read_cursor)?;
    parameters.finish()?;
    let filter = seen_by(&admin, actor.organisation_id, wanted).await?;
    if let Some(format) = format {
        if limit.is_some() || cursor.is_some() {
            return Err(Problem::parameter("NDJSON and CSV come whole: limit and cursor are for JSON."));
        }
        return export::stream(&admin, filter, format).await;
    }
    let found = admin.request_log.search(filter, cursor, limit.unwrap_or(PAGE_DEFAULT as usize)).await?;
    let prefixes = prefixes(&admin, &found.entries).await?;
    let items = found.entries.iter().map(|entry| EntryView::new(entry, &prefixes)).collect::<Vec<_>>();
    let next_cursor = found.next_before.map(write_cursor);
    Ok(Json(List { items, next_cursor }).into_response())
}

/// `GET /admin/v1/request-log/{request_id}`
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(request_id): Id<RequestId>,
    parameters: Parameters,
) -> Result<Json<ExplainedView>, Problem> {
    parameters.finish()?;
    let wanted = Filter { request_id: Some(request_id), ..Filter::default() };
    let filter =
        seen_by(&admin, actor.organisation_id, filter::Wanted { filter: wanted, integration_id: None }).await?;
    let found = admin.request_log.find(filter).await?;
    let (entry, batch) = found.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    let prefixes = prefixes(&admin, std::slice::from_ref(&entry)).await?;
    let explanation = explain(&entry, batch.as_ref());
    Ok(Json(ExplainedView::new(EntryView::new(&entry, &prefixes), explanation, batch.as_ref())))
}

type Prefixes = HashMap<(IntegrationId, u64), String>;

/// The shown beginnings of the keys that `entries` came with.
async fn prefixes(admin: &Admin, entries: &[Entry]) -> Result<Prefixes, Problem> {
    let mut keys: Vec<_> =
        entries.iter().filter_map(|entry| Some((entry.integration_id?, entry.key_generation?))).collect();
    keys.sort_unstable();
    keys.dedup();
    Ok(admin.control.key_prefixes(keys).await?)
}

fn read_cursor(text: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(u64::from_be_bytes(bytes.strip_prefix(CURSOR.as_bytes())?.try_into().ok()?))
}

fn write_cursor(seq: u64) -> String {
    URL_SAFE_NO_PAD.encode([CURSOR.as_bytes(), &seq.to_be_bytes()].concat())
}

/// The log cannot be read: said here, once, and answered without its words.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        tracing::warn!(error = &error as &dyn std::error::Error, "the API log cannot be read");
        let unavailable =
            Self::new(ProblemCode::StorageUnavailable).with_detail("The API log cannot be read now; see /readyz.");
        Self { retry_after_s: Some(RETRY_AFTER_S), ..unavailable }
    }
}
