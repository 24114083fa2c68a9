//! The OpenAPI document of the administrators' API: one file per noun, apart from the handlers, so that neither
//! drowns the other. `tests/document.rs` holds it against the router.
#![allow(dead_code, reason = "the functions and request types here are read by utoipa's macros alone")]

mod access_reviews;
mod audit;
mod catalogue;
mod equipment;
mod integrations;
mod probes;
mod quarantine;
mod readings;
mod request_log;
mod session;
mod shared;
mod users;
mod webhooks;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::problem::ProblemBody;
use crate::{
    model::openapi::complete,
    rest::{
        openapi::{Paging, Version},
        openapi_webhook,
    },
};

/// The document of everything that the administrators' port answers.
#[must_use]
pub fn document() -> Value {
    let derived = serde_json::to_value(Api::openapi()).expect("a document of texts can be written as JSON");
    let mut document = complete(derived, &shared::api());
    document["webhooks"] = openapi_webhook::events();
    document["components"]["securitySchemes"] = json!({
        "session": {"type": "http", "scheme": "bearer", "description": "The access_token of a sign-in."},
    });
    document
}

/// `GET /openapi.json`
pub(super) async fn serve() -> Response {
    static JSON: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], JSON.clone()).into_response()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "sensorgate: administrators' API",
        description = "On a port of its own (`admin.address`), with sessions of its own: credentials of integrations \
            open nothing here. Every call but the sign-in and the probes needs `Authorization: Bearer <access_token>`, \
            and the permission `administration_integrations_access` unless it says otherwise. Times are RFC 3339 in \
            UTC. Lists come in pages: `next_cursor` is the `cursor` of the next call. Changes take `If-Match` with the \
            `ETag` that was read, and are refused with 412 when the object has changed since.",
        version = env!("CARGO_PKG_VERSION"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody<'static>)),
    paths(
        session::login, session::logout, session::me, session::change_password,
        users::index, users::create, users::show, users::update, users::confirm, users::reset_password,
        catalogue::vendors, catalogue::scopes, catalogue::equipment_types,
        integrations::index, integrations::create, integrations::show, integrations::update, integrations::approve,
        integrations::activate, integrations::suspend, integrations::reactivate, integrations::revoke,
        integrations::regenerate_key, integrations::show_allowlist, integrations::replace_allowlist,
        integrations::confirm_scopes, integrations::decline_scopes, integrations::handover,
        integrations::grant, integrations::end_grants, integrations::history,
        equipment::index, equipment::create, equipment::bulk, equipment::show, equipment::update, equipment::retire,
        equipment::export, equipment::import, equipment::rooms,
        webhooks::index, webhooks::create, webhooks::show, webhooks::update, webhooks::remove,
        webhooks::regenerate_secret, webhooks::test, webhooks::discard, webhooks::deliveries, webhooks::replay,
        readings::index, readings::latest,
        request_log::index, request_log::show, request_log::counts, request_log::hours, request_log::addresses,
        request_log::trace,
        quarantine::index, quarantine::show, quarantine::replay, quarantine::discard,
        access_reviews::index, access_reviews::create, access_reviews::show, access_reviews::answer,
        access_reviews::sign,
        audit::index, audit::verify, audit::checkpoints, audit::export,
        probes::livez, probes::readyz, probes::metrics, probes::openapi,
    ),
    security(("session" = [])),
    servers((url = "/", description = "The administrators' port.")),
    tags(
        (name = "session", description = "Signing in and out, oneself, one's password."),
        (name = "users", description = "Members of the organisation, and dual control of administrators."),
        (name = "integrations", description = "Their life from request to revocation, credentials, limits, allowlist."),
        (name = "webhooks", description = "Who is told of what, and what became of it."),
        (name = "equipment", description = "What readings are of."),
        (name = "readings", description = "Reading back."),
        (name = "request-log", description = "Every request of the integration API, why it was answered as it was, and where a \
            reading is."),
        (name = "quarantine", description = "Readings that did not get into the store."),
        (name = "access-reviews", description = "The quarterly review: report, answers, sign-off."),
        (name = "audit", description = "Who did what, and the proof that the log is whole."),
        (name = "catalogue", description = "What there is to choose from."),
        (name = "probes", description = "For machines that watch the process. Without credentials."),
    ),
)]
struct Api;
