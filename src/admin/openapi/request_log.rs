//! The API log.

use serde_json::json;
use utoipa::IntoParams;

use crate::{
    admin::{
        page::List,
        reading_trace::TraceView,
        request_log::{
            sums::{AddressView, CountView, HourView},
            view::{EntryView, ExplainedView},
        },
    },
    model::{
        ProblemCode, Scope,
        openapi::{OwnRefusals, Refinement, one_of},
    },
    rest::openapi::Paging,
};

/// What the calls are refused for besides what all are.
pub(super) const OWN_REFUSALS: [OwnRefusals; 6] = {
    use ProblemCode as P;
    [
        ("GET /admin/v1/request-log", &[P::NotFound, P::StorageUnavailable, P::Overloaded]),
        ("GET /admin/v1/request-log/{id}", &[P::StorageUnavailable]),
        ("GET /admin/v1/request-log/counts", &[P::NotFound, P::StorageUnavailable]),
        ("GET /admin/v1/request-log/hours", &[P::NotFound, P::StorageUnavailable]),
        ("GET /admin/v1/request-log/addresses", &[P::NotFound, P::StorageUnavailable]),
        ("GET /admin/v1/readings/trace", &[P::NotFound, P::StorageUnavailable]),
    ]
};

/// What parameters can be.
pub(super) fn parameters() -> Vec<Refinement> {
    const LIST: &str = "/admin/v1/request-log";
    let time = || json!({"format": "date-time"});
    let mut parameters = vec![
        (LIST, "status", json!({"pattern": "^([1-5][0-9][0-9]|[1-5]xx)$"})),
        (LIST, "scope", one_of(Scope::ALL.map(Scope::as_str))),
        (LIST, "transport", one_of(["http", "mqtt"])),
        (LIST, "format", one_of(["json", "ndjson", "csv"])),
        (LIST, "ip", json!({"examples": ["203.0.113.0/24"]})),
        ("/admin/v1/request-log/counts", "step", one_of(["1m", "5m", "15m", "1h", "6h", "1d"])),
        ("/admin/v1/readings/trace", "timestamp", time()),
    ];
    for path in [
        LIST,
        "/admin/v1/request-log/counts",
        "/admin/v1/request-log/hours",
        "/admin/v1/request-log/addresses",
        "/admin/v1/readings/trace",
    ] {
        parameters.extend([(path, "from", time()), (path, "to", time())]);
    }
    parameters
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    integration_id: Option<uuid::Uuid>,
    request_id: Option<uuid::Uuid>,
    /// The caller's own `X-Request-Id`.
    client_request_id: Option<String>,
    /// A status, or a class: `4xx`.
    status: Option<String>,
    code: Option<String>,
    /// The exact cause.
    cause: Option<String>,
    /// An address or a network.
    ip: Option<String>,
    /// The scope that was needed.
    scope: Option<String>,
    /// Inclusive; RFC 3339.
    from: Option<String>,
    /// Exclusive; RFC 3339.
    to: Option<String>,
    /// Hour of the day, UTC, inclusive. Later than `hour_to`: over midnight.
    #[param(minimum = 0, maximum = 24)]
    hour_from: Option<u8>,
    /// Hour of the day, UTC, exclusive.
    #[param(minimum = 0, maximum = 24)]
    hour_to: Option<u8>,
    /// `http` or `mqtt`.
    transport: Option<String>,
    /// `json` (in pages), `ndjson` or `csv` (whole).
    format: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    integration_id: Option<uuid::Uuid>,
    /// Inclusive; RFC 3339. A day before `to` unless given.
    from: Option<String>,
    /// Exclusive; RFC 3339. Now unless given.
    to: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Step {
    /// Whole minutes that make up an hour, or whole hours: `1m`, `5m`, `1h`, `1d`. An hour unless given.
    step: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Addresses {
    integration_id: uuid::Uuid,
    /// Only those seen for the first time in the period, or only the others.
    new: Option<bool>,
    /// Inclusive; RFC 3339. A day before `to` unless given.
    from: Option<String>,
    /// Exclusive; RFC 3339. Now unless given.
    to: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Trace {
    /// The equipment, or `integration_id` and `external_id`.
    equipment_id: Option<uuid::Uuid>,
    integration_id: Option<uuid::Uuid>,
    external_id: Option<String>,
    /// All metrics unless given.
    metric: Option<String>,
    /// The reading's own time, RFC 3339; or `from` and `to`.
    timestamp: Option<String>,
    /// Inclusive; RFC 3339.
    from: Option<String>,
    /// Exclusive; RFC 3339.
    to: Option<String>,
}

/// List requests of the integration API, newest first. An entry shows as soon as its request is answered.
#[utoipa::path(get, path = "/admin/v1/request-log", tag = "request-log", params(Filter, Paging),
    responses((status = 200, description = "A page; with `format` all of it.", content(
        (List<EntryView> = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/csv"),
    ))))]
pub(super) fn index() {}

/// Explain one request: every check in its order, and what can be done.
#[utoipa::path(get, path = "/admin/v1/request-log/{id}", tag = "request-log",
    params(("id" = uuid::Uuid, Path, description = "The request id.")),
    responses((status = 200, description = "The request.", body = ExplainedView)))]
pub(super) fn show() {}

/// Count requests over time: the steps with any, earliest first.
#[utoipa::path(get, path = "/admin/v1/request-log/counts", tag = "request-log", params(Period, Step),
    responses((status = 200, description = "The steps.", body = List<CountView>)))]
pub(super) fn counts() {}

/// Count requests by the hour of the day (UTC).
#[utoipa::path(get, path = "/admin/v1/request-log/hours", tag = "request-log", params(Period),
    responses((status = 200, description = "The 24 hours.", body = List<HourView>)))]
pub(super) fn hours() {}

/// List the addresses that an integration's requests came from, the most frequent first.
#[utoipa::path(get, path = "/admin/v1/request-log/addresses", tag = "request-log", params(Addresses),
    responses((status = 200, description = "The addresses.", body = List<AddressView>)))]
pub(super) fn addresses() {}

/// Where is my reading? Whether it was refused, quarantined, waits, is stored or was replaced, and by which request.
#[utoipa::path(get, path = "/admin/v1/readings/trace", tag = "request-log", params(Trace),
    responses((status = 200, description = "What is known of it.", body = TraceView)))]
pub(super) fn trace() {}
