//! The OpenAPI document of the integration API, apart from the code that answers it.
#![allow(dead_code, reason = "the functions and types here are read by utoipa's macros alone")]

use serde_json::{Value, json};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::edge::READINGS_PATH;
use crate::model::{
    self, EntryCode, FieldProblem, ProblemCode,
    openapi::{Call, Header, Part, REPLAYED, REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, complete, one_of},
};

/// The document of everything that the integration port answers, served at `/openapi.json`: of this room, and of
/// the rooms behind its gate.
#[must_use]
pub fn openapi(parts: impl IntoIterator<Item = Part>) -> Value {
    let (mut document, mut api) = (Api::openapi(), api());
    for part in parts {
        document.merge(part.document);
        api.own_refusals.extend(part.own_refusals);
        api.properties.extend(part.properties);
        api.parameters.extend(part.parameters);
        api.schemas.extend(part.schemas);
        api.own_headers.extend(part.own_headers);
    }
    let derived = serde_json::to_value(document).expect("a document of texts can be written as JSON");
    let mut document = complete(derived, &api);
    document["components"]["securitySchemes"] = json!({
        "client": {"type": "http", "scheme": "basic", "description": "Client id and secret, at the token end point alone."},
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "From the token end point; lasts an hour at most."},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Shown once, at activation."},
    });
    document
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "sensorgate: integration API",
        description = "Every call under `/v1` needs both credentials: `Authorization: Bearer <jwt>` and \
            `X-API-Key: grq_live_…`. Every answer has a request id and the state of the caller's rate limit.",
        version = env!("CARGO_PKG_VERSION"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem)),
    paths(
        send_readings, token, discovery, jwks, openapi_document, asyncapi_document, problems, problem
    ),
    servers((url = "/", description = "The integration API's port.")),
    tags(
        (name = "sensors", description = "Sending readings."),
        (name = "documents", description = "What explains the interface. Without credentials."),
        (name = "tokens", description = "The embedded token issuer. Absent where an external one is configured."),
    ),
)]
struct Api;

/// A batch; a bare array of readings is taken as well.
#[derive(ToSchema)]
struct Batch {
    #[schema(min_items = 1, max_items = 500)]
    readings: Vec<Reading>,
}

/// One reading. Exactly one of `equipment_id` and `external_id` names its equipment.
#[derive(ToSchema)]
struct Reading {
    /// The sender's own name for the entry.
    #[schema(nullable = false)]
    id: Option<String>,
    /// Our id of the equipment.
    #[schema(nullable = false)]
    equipment_id: Option<uuid::Uuid>,
    /// The sender's own id of the equipment, within the integration.
    #[schema(nullable = false)]
    external_id: Option<String>,
    /// `temperature`, `humidity`, `co2`, or another of the configuration.
    metric: String,
    value: f64,
    /// Must fit the metric; other units of the same quantity are converted.
    #[schema(nullable = false)]
    unit: Option<String>,
    /// RFC 3339, or a number since 1970 in seconds, milliseconds, microseconds or nanoseconds by its size. Absent: the
    /// time of receipt.
    #[schema(value_type = Timestamp, nullable = false, required = false)]
    timestamp: Option<String>,
    /// `good` unless given.
    #[schema(value_type = Quality, nullable = false, required = false)]
    quality: Option<String>,
}

#[derive(ToSchema)]
#[serde(untagged)]
enum Timestamp {
    Text(String),
    Number(f64),
}

#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum Quality {
    Good,
    Uncertain,
    Bad,
}

/// What became of a batch. What is accepted is durable.
#[derive(ToSchema)]
struct BatchResult {
    request_id: uuid::Uuid,
    /// `accepted + rejected`
    received: u32,
    accepted: u32,
    /// Of those accepted: equipment, metric and timestamp had been accepted before, as far as known at once.
    duplicates: u32,
    rejected: u32,
    /// The rejected entries, by index.
    errors: Vec<EntryError>,
}

/// One rejected entry.
#[derive(ToSchema)]
struct EntryError {
    /// Its place in the batch, from 0.
    index: u32,
    /// The sender's own name for it.
    #[schema(nullable = false)]
    id: Option<String>,
    code: String,
    #[schema(nullable = false)]
    field: Option<String>,
    message: String,
    /// Whether the same entry can succeed later without being changed.
    retryable: bool,
}

/// The body of every refusal (RFC 9457).
#[derive(ToSchema)]
struct Problem {
    /// Leads to a page about the code.
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// Stable; programs go by it.
    code: String,
    request_id: uuid::Uuid,
    /// The fields that were refused, with 422.
    #[schema(nullable = false)]
    errors: Option<Vec<FieldProblem>>,
}

/// Client id and secret come here, or by HTTP Basic; not both ways.
#[derive(ToSchema)]
struct TokenRequest {
    /// `client_credentials`
    grant_type: String,
    #[schema(nullable = false)]
    client_id: Option<String>,
    #[schema(format = Password, nullable = false)]
    client_secret: Option<String>,
    #[schema(nullable = false)]
    audience: Option<String>,
    /// Grants, separated by spaces; all that the integration has unless given.
    #[schema(nullable = false)]
    scope: Option<String>,
}

#[derive(ToSchema)]
struct TokenResponse {
    access_token: String,
    /// `Bearer`
    token_type: String,
    /// Seconds.
    expires_in: u64,
    scope: String,
}

/// RFC 6749 §5.2.
#[derive(ToSchema)]
struct TokenError {
    error: String,
    error_description: String,
}

/// OpenID Connect Discovery 1.0, as far as client credentials need it.
#[derive(ToSchema)]
struct Discovery {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    grant_types_supported: Vec<String>,
    response_types_supported: Vec<String>,
    subject_types_supported: Vec<String>,
    id_token_signing_alg_values_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Vec<String>,
    scopes_supported: Vec<String>,
}

/// RFC 7517 §5.
#[derive(ToSchema)]
struct KeySet {
    keys: Vec<Key>,
}

/// An RSA key (RFC 7518 §6.3.1).
#[derive(ToSchema)]
struct Key {
    kty: String,
    r#use: String,
    alg: String,
    kid: String,
    n: String,
    e: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct Options {
    /// The same answer, nothing stored.
    validate_only: Option<bool>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Headers {
    /// 1 to 255 printable ASCII characters: the same key and body get the same answer for 24 hours.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
    /// `gzip` or `zstd`.
    #[param(rename = "Content-Encoding")]
    content_encoding: Option<String>,
}

/// Send up to 500 readings. Needs `sensors:write`.
///
/// Each reading is judged on its own: the good ones are stored, the others are listed. After the answer what is
/// accepted is on disk. Sending a batch again is harmless.
#[utoipa::path(post, path = "/v1/sensors/readings", tag = "sensors", params(Options, Headers),
    security(("token" = [], "api_key" = [])), request_body = Batch,
    responses(
        (status = 200, description = "None rejected.", body = BatchResult),
        (status = 207, description = "Some rejected.", body = BatchResult),
        (status = 422, description = "All rejected, nothing stored.", body = BatchResult),
    ))]
fn send_readings() {}

/// Get a token for client id and secret, by HTTP Basic or in the body.
#[utoipa::path(post, path = "/oauth/token", tag = "tokens", security((), ("client" = [])),
    request_body(content(
        (TokenRequest = "application/x-www-form-urlencoded"),
        (TokenRequest = "application/json"),
    )),
    responses(
        (status = 200, description = "The token.", body = TokenResponse),
        (status = 400, description = "The request has not the right form.", body = TokenError),
        (status = 401, description = "No client, unknown client, wrong secret, or not active.", body = TokenError),
        (status = 413, description = "Too large.", body = TokenError),
        (status = 429, description = "Too often from this address or for this client.", body = TokenError),
        (status = 503, description = "No token can be issued right now.", body = TokenError),
    ))]
fn token() {}

/// How the issuer describes itself (OpenID Connect Discovery 1.0).
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "tokens", security(()),
    responses((status = 200, description = "The description.", body = Discovery)))]
fn discovery() {}

/// The keys that tokens are signed with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "tokens", security(()),
    responses((status = 200, description = "The keys.", body = KeySet)))]
fn jwks() {}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "documents", security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
fn openapi_document() {}

/// The same interface over MQTT. Absent where MQTT is not served.
#[utoipa::path(get, path = "/asyncapi.json", tag = "documents", security(()),
    responses((status = 200, description = "AsyncAPI 3.", body = Object)))]
fn asyncapi_document() {}

/// All error codes, for people.
#[utoipa::path(get, path = "/problems", tag = "documents", security(()),
    responses((status = 200, description = "A page.", content_type = "text/html", body = String)))]
fn problems() {}

/// One error code, for people: what it means, why, what to do. The `type` of every problem leads here.
#[utoipa::path(get, path = "/problems/{code}", tag = "documents", security(()),
    params(("code" = String, Path, description = "The code.")),
    responses((status = 200, description = "A page.", content_type = "text/html", body = String)))]
fn problem() {}

/// Everything that the derived document lacks.
fn api() -> model::openapi::Api {
    let codes = ProblemCode::ALL.iter().map(|problem| problem.code());
    let codes = codes.chain(EntryCode::ALL.iter().map(|code| code.as_str()));
    model::openapi::Api {
        headers: vec![REQUEST_ID, LIMIT, REMAINING, RESET],
        refusals,
        own_refusals: OWN_REFUSALS.to_vec(),
        properties: vec![
            ("Problem", "code", one_of(ProblemCode::ALL.iter().map(|problem| problem.code()))),
            ("EntryError", "code", one_of(EntryCode::ALL.iter().map(|code| code.as_str()))),
            ("Reading", "id", json!({"minLength": 1, "maxLength": 128})),
            ("Reading", "external_id", json!({"minLength": 1, "maxLength": 128})),
            ("Reading", "metric", json!({"minLength": 1, "examples": ["temperature"]})),
            ("TokenError", "error", one_of(TOKEN_ERRORS)),
            ("TokenRequest", "grant_type", one_of(["client_credentials"])),
            ("TokenResponse", "token_type", one_of(["Bearer"])),
        ],
        parameters: vec![
            ("/problems/{code}", "code", one_of(codes)),
            (READINGS_PATH, "Content-Encoding", one_of(["gzip", "zstd", "identity"])),
            (READINGS_PATH, "Idempotency-Key", json!({"pattern": "^[ -~]+$"})),
        ],
        schemas: schemas(),
        lenient: &["Batch", "Reading", "TokenRequest"],
        own_headers: own_headers(),
    }
}

fn schemas() -> Vec<(&'static str, Value)> {
    let reading = json!({"id": "a1", "external_id": "AA:BB:01", "metric": "temperature", "value": 24.6, "unit": "C"});
    let wrong = json!({"id": "a2", "external_id": "AA:BB:01", "metric": "humidity", "value": 141, "unit": "%"});
    let result = json!({
        "request_id": "0197f2b4-6c1e-7d3a-9b52-3f8e1c6a7d90", "received": 2, "accepted": 1, "duplicates": 0, "rejected": 1,
        "errors": [{"index": 1, "id": "a2", "code": "value_out_of_range", "field": "value", "message": "humidity must be 0–100 %, got 141", "retryable": false}],
    });
    vec![
        ("Batch", json!({"examples": [{"readings": [reading]}, {"readings": [reading, wrong]}]})),
        (
            "Reading",
            json!({"examples": [reading], "oneOf": [{"required": ["equipment_id"]}, {"required": ["external_id"]}]}),
        ),
        ("BatchResult", json!({"examples": [result]})),
        (
            "TokenRequest",
            json!({"examples": [{"grant_type": "client_credentials", "client_id": "grq_client_4f9a", "client_secret": "grq_secret_…"}]}),
        ),
        (
            "TokenResponse",
            json!({"examples": [{"access_token": "eyJhbGciOi…", "token_type": "Bearer", "expires_in": 3600, "scope": "sensors:write"}]}),
        ),
    ]
}

const fn figure(name: &'static str, meaning: &'static str) -> Header {
    Header { name, meaning, schema: r#"{"type":"integer","minimum":0}"#, is_certain: true }
}

const LIMIT: Header = figure("X-RateLimit-Limit", "Requests a window.");
const REMAINING: Header = figure("X-RateLimit-Remaining", "Requests left in this window.");
const RESET: Header = figure("X-RateLimit-Reset", "Unix second at which the window ends.");

const TOKEN_ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "unsupported_grant_type",
    "invalid_scope",
    "too_many_requests",
    "temporarily_unavailable",
];

fn own_headers() -> Vec<(&'static str, &'static str, Header)> {
    const CALL: &str = "POST /v1/sensors/readings";
    let accepted = figure("X-Readings-Accepted", "Readings accepted.");
    let rejected = figure("X-Readings-Rejected", "Readings rejected.");
    // A 422 may also be a refusal of the whole request, which counts nothing.
    let of = |status| {
        let count = |header| Header { is_certain: status != "422", ..header };
        [count(accepted), count(rejected), REPLAYED].map(|header| (CALL, status, header))
    };
    let token = ["429", "503"].map(|status| ("POST /oauth/token", status, RETRY_AFTER));
    let refused = [("POST /oauth/token", "401", WWW_AUTHENTICATE)];
    ["200", "207", "422"].into_iter().flat_map(of).chain(token).chain(refused).collect()
}

/// What a call is refused for because of what it is.
fn refusals(call: &Call<'_>) -> Vec<ProblemCode> {
    use ProblemCode as P;
    if call.tag() == "documents" {
        // An unknown page is an unknown path: 401 without credentials, 404 with them.
        return if call.has_parameter("path") { vec![P::MissingCredential, P::NotFound] } else { Vec::new() };
    }
    let mut codes = vec![P::Internal];
    if !call.is_open() {
        codes.extend([P::MissingCredential, P::TokenExpired, P::TokenInvalid, P::Unauthorized]);
        codes.extend([P::IpNotAllowed, P::InsufficientScope]);
        codes.extend([P::RateLimited, P::DailyQuotaExceeded, P::TooManyFailures]);
        codes.extend([P::IssuerUnavailable, P::Overloaded]);
    }
    if call.has_body() {
        codes.extend([P::MalformedEncoding, P::RequestTimeout, P::BodyTooLarge, P::UnsupportedEncoding]);
        if !call.is_open() {
            codes.extend([P::MalformedJson, P::UnsupportedMediaType]);
            if call.path != READINGS_PATH {
                codes.push(P::ValidationFailed);
            }
        }
    }
    if !call.is_open() && call.has_parameter("query") {
        codes.push(P::InvalidParameter);
    }
    if call.has_parameter("path") {
        codes.push(P::NotFound);
    }
    if call.takes_version() {
        codes.extend([P::VersionConflict, P::InvalidParameter]);
    }
    if call.takes_idempotency_key() {
        codes.extend([P::IdempotencyKeyInvalid, P::IdempotencyKeyReused, P::IdempotencyInProgress]);
    }
    codes
}

/// What single calls are refused for besides.
const OWN_REFUSALS: &[(&str, &[ProblemCode])] = {
    use ProblemCode as P;
    &[(
        "POST /v1/sensors/readings",
        &[
            P::ReadingsMissing,
            P::ReadingsDuplicated,
            P::EmptyBatch,
            P::BatchTooLarge,
            P::SpoolFull,
            P::StorageUnavailable,
            P::ShuttingDown,
        ],
    )]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_every_code_and_asks_for_both_credentials() {
        let document = openapi([]);
        assert_eq!(document["openapi"], "3.1.0");
        let schemas = &document["components"]["schemas"];
        let codes = |schema: &str| schemas[schema]["properties"]["code"]["enum"].as_array().unwrap().len();
        assert_eq!((codes("Problem"), codes("EntryError")), (ProblemCode::ALL.len(), EntryCode::ALL.iter().count()));
        let both = &document["paths"]["/v1/sensors/readings"]["post"]["security"][0];
        assert!(both["token"].is_array() && both["api_key"].is_array(), "{both}");
        let text = document.to_string();
        for rest in text.split("\"#/components/schemas/").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(schemas.get(name).is_some(), "{name} is referred to and not there");
        }
    }
}
