//! What the calls have in common, and what Rust's types do not say of them.

use serde_json::{Value, json};

use super::request_log;
use crate::{
    control::{PERMISSION, VENDORS, integration::SuspendCategory, review::QUESTIONS},
    model::{
        EquipmentKind, ProblemCode, Scope, Status,
        openapi::{Api, Call, ETAG, Header, LOCATION, REQUEST_ID, Refinement, line, one_of, prose},
    },
    rest::{
        openapi::{equipment_fields, if_match},
        openapi_webhook,
    },
};

/// Everything that the derived document lacks.
pub(super) fn api() -> Api {
    let mut properties = answers();
    properties.extend(requests());
    properties.extend(openapi_webhook::properties());
    properties.extend(["NewEquipment", "EquipmentPatch", "EquipmentUpsert"].into_iter().flat_map(equipment_fields));
    Api {
        headers: vec![REQUEST_ID, CACHE_CONTROL],
        refusals,
        own_refusals: [OWN_REFUSALS, &request_log::OWN_REFUSALS].concat(),
        properties,
        parameters: [parameters(), request_log::parameters()].concat(),
        schemas: schemas().into_iter().chain(openapi_webhook::schemas()).collect(),
        lenient: &[],
        own_headers: own_headers(),
    }
}

const CACHE_CONTROL: Header = Header {
    name: "Cache-Control",
    meaning: "Nothing of this API is kept by caches.",
    schema: r#"{"type":"string","const":"no-store"}"#,
    is_certain: true,
};

/// What a call is refused for because of what it is.
fn refusals(call: &Call<'_>) -> Vec<ProblemCode> {
    use ProblemCode as P;
    if call.tag() == "probes" {
        return Vec::new();
    }
    let mut codes = vec![P::Internal];
    if !call.is_open() {
        codes.push(P::NotSignedIn);
        if call.tag() != "session" {
            codes.push(P::PasswordChangeRequired);
        }
        if !["session", "catalogue"].contains(&call.tag()) {
            codes.push(P::PermissionDenied);
        }
    }
    if call.has_body() {
        codes.extend([P::MalformedJson, P::RequestTimeout, P::BodyTooLarge, P::UnsupportedMediaType]);
        codes.push(P::ValidationFailed);
    }
    if call.has_parameter("query") || call.takes_version() {
        codes.push(P::InvalidParameter);
    }
    if call.has_parameter("path") {
        codes.push(P::NotFound);
    }
    if call.takes_version() {
        codes.push(P::VersionConflict);
    }
    codes
}

/// What single calls are refused for besides.
const OWN_REFUSALS: &[(&str, &[ProblemCode])] = {
    use ProblemCode as P;
    &[
        ("POST /admin/v1/login", &[P::LoginFailed, P::TooManyFailures, P::Overloaded]),
        ("POST /admin/v1/password", &[P::TooManyFailures]),
        ("POST /admin/v1/users", &[P::Conflict]),
        ("PATCH /admin/v1/users/{id}", &[P::Conflict, P::InvalidState]),
        ("POST /admin/v1/users/{id}/confirm", &[P::SelfConfirmation, P::InvalidState]),
        ("POST /admin/v1/users/{id}/password-reset", &[P::InvalidState]),
        ("POST /admin/v1/integrations", &[P::Conflict]),
        ("PATCH /admin/v1/integrations/{id}", &[P::Conflict, P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/approve", &[P::SelfApproval, P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/activate", &[P::InvalidState, P::IntegrationLimit, P::Conflict]),
        ("POST /admin/v1/integrations/{id}/suspend", &[P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/reactivate", &[P::SelfReactivation, P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/revoke", &[P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/api-key", &[P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/scopes/confirm", &[P::SelfConfirmation, P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/scopes/decline", &[P::InvalidState]),
        ("PUT /admin/v1/integrations/{id}/ip-allowlist", &[P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/grants", &[P::InvalidState]),
        ("DELETE /admin/v1/integrations/{id}/grants", &[P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/webhooks", &[P::InvalidState, P::WebhookLimit]),
        ("PATCH /admin/v1/integrations/{id}/webhooks/{wid}", &[P::InvalidState]),
        ("DELETE /admin/v1/integrations/{id}/webhooks/{wid}", &[P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/webhooks/{wid}/secret", &[P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/webhooks/{wid}/test", &[P::InvalidState]),
        ("DELETE /admin/v1/integrations/{id}/webhooks/{wid}/queue", &[P::InvalidState]),
        ("POST /admin/v1/integrations/{id}/webhooks/{wid}/deliveries/{did}/replay", &[P::InvalidState]),
        ("POST /admin/v1/equipment", &[P::Conflict, P::EquipmentLimit]),
        ("PATCH /admin/v1/equipment/{id}", &[P::Conflict]),
        ("POST /admin/v1/equipment/bulk", &[P::EmptyBatch, P::BatchTooLarge]),
        ("POST /admin/v1/access-reviews/{id}/answers", &[P::InvalidState]),
        ("POST /admin/v1/access-reviews/{id}/sign-off", &[P::InvalidState]),
        ("GET /admin/v1/equipment/export", &[P::Overloaded]),
        ("GET /admin/v1/audit-log/export", &[P::Overloaded]),
        ("POST /admin/v1/equipment/import", &[P::MalformedCsv, P::EmptyBatch, P::BatchTooLarge]),
        ("GET /admin/v1/quarantine", &[P::NotFound]),
        ("POST /admin/v1/quarantine/replay", &[P::NotFound]),
        ("POST /admin/v1/quarantine/discard", &[P::NotFound]),
        ("GET /admin/v1/readings", &[P::NotFound, P::StorageUnavailable, P::Overloaded]),
        ("GET /admin/v1/readings/latest", &[P::NotFound, P::StorageUnavailable]),
    ]
};

/// Objects that carry a version, and the calls that show them.
fn own_headers() -> Vec<(&'static str, &'static str, Header)> {
    let created = [
        "POST /admin/v1/users",
        "POST /admin/v1/integrations",
        "POST /admin/v1/equipment",
        "POST /admin/v1/integrations/{id}/webhooks",
        "POST /admin/v1/access-reviews",
    ];
    let shown = [
        "GET /admin/v1/users/{id}",
        "PATCH /admin/v1/users/{id}",
        "POST /admin/v1/users/{id}/confirm",
        "POST /admin/v1/users/{id}/password-reset",
        "GET /admin/v1/integrations/{id}",
        "PATCH /admin/v1/integrations/{id}",
        "POST /admin/v1/integrations/{id}/approve",
        "POST /admin/v1/integrations/{id}/activate",
        "POST /admin/v1/integrations/{id}/suspend",
        "POST /admin/v1/integrations/{id}/reactivate",
        "POST /admin/v1/integrations/{id}/revoke",
        "POST /admin/v1/integrations/{id}/api-key",
        "POST /admin/v1/integrations/{id}/scopes/confirm",
        "POST /admin/v1/integrations/{id}/scopes/decline",
        "GET /admin/v1/integrations/{id}/ip-allowlist",
        "PUT /admin/v1/integrations/{id}/ip-allowlist",
        "POST /admin/v1/integrations/{id}/grants",
        "DELETE /admin/v1/integrations/{id}/grants",
        "GET /admin/v1/integrations/{id}/webhooks/{wid}",
        "PATCH /admin/v1/integrations/{id}/webhooks/{wid}",
        "POST /admin/v1/integrations/{id}/webhooks/{wid}/secret",
        "GET /admin/v1/equipment/{id}",
        "PATCH /admin/v1/equipment/{id}",
        "POST /admin/v1/equipment/{id}/retire",
        "POST /admin/v1/access-reviews/{id}/answers",
        "POST /admin/v1/access-reviews/{id}/sign-off",
    ];
    let created = created.into_iter().flat_map(|call| [(call, "201", ETAG), (call, "201", LOCATION)]);
    // A file has none.
    let review = ("GET /admin/v1/access-reviews/{id}", "200", Header { is_certain: false, ..ETAG });
    created.chain(shown.map(|call| (call, "200", ETAG))).chain([review]).collect()
}

fn names(scopes: &[Scope]) -> impl Iterator<Item = &'static str> {
    scopes.iter().map(|scope| scope.as_str())
}

fn kinds() -> Value {
    one_of(EquipmentKind::ALL.map(EquipmentKind::as_str))
}

fn vendors() -> Value {
    one_of(VENDORS.map(|vendor| vendor.name))
}

fn categories() -> Value {
    one_of(SuspendCategory::ALL.map(SuspendCategory::as_str))
}

/// Closed sets of what is answered.
fn answers() -> Vec<Refinement> {
    let scopes = || one_of(names(&Scope::ALL));
    let statuses = || one_of(Status::ALL.map(Status::as_str));
    let permission = || one_of([PERMISSION]);
    vec![
        ("Problem", "code", one_of(ProblemCode::ALL.iter().map(|problem| problem.code()))),
        ("Integration", "status", statuses()),
        ("Integration", "vendor", vendors()),
        ("Integration", "scopes", scopes()),
        ("Integration", "approved_scopes", scopes()),
        ("Integration", "scopes_pending", scopes()),
        ("Handover", "granted_scopes", scopes()),
        ("Integration", "suspend_category", categories()),
        ("IpAllowlist", "entries", json!({"maxItems": 50})),
        ("Equipment", "kind", kinds()),
        ("Equipment", "status", one_of(["active", "retired"])),
        ("User", "permissions", permission()),
        ("User", "permissions_pending", permission()),
        ("Me", "permissions", permission()),
        ("Me", "permissions_pending", permission()),
        ("AccessToken", "token_type", one_of(["Bearer"])),
    ]
}

/// What requests must be beyond their type.
fn requests() -> Vec<Refinement> {
    let permission = || one_of([PERMISSION]);
    let scopes = || one_of(names(&Scope::ALL));
    let email = || json!({"format": "email", "maxLength": 254});
    vec![
        ("NewUser", "email", email()),
        ("NewUser", "name", line(200)),
        ("NewUser", "permissions", permission()),
        ("UserPatch", "email", email()),
        ("UserPatch", "name", line(200)),
        ("UserPatch", "permissions", permission()),
        ("NewIntegration", "vendor", vendors()),
        ("NewIntegration", "name", line(200)),
        ("NewIntegration", "description", prose(4_000)),
        ("NewIntegration", "scopes", scopes()),
        ("NewIntegration", "justification", prose(4_000)),
        ("IntegrationPatch", "name", line(200)),
        ("IntegrationPatch", "description", prose(4_000)),
        ("IntegrationPatch", "scopes", scopes()),
        ("IntegrationPatch", "justification", prose(4_000)),
        ("AccessReviewAnswers", "answers", json!({"minItems": 1})),
        ("AccessReviewAnswer", "question", one_of(QUESTIONS.map(|(name, _)| name))),
        ("AccessReviewAnswer", "note", json!({"maxLength": 2_000})),
        ("ContactInput", "name", line(200)),
        ("ContactInput", "email", email()),
        ("ContactInput", "company", line(200)),
        ("IpAllowlistUpdate", "entries", json!({"pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$"})),
        ("QuarantineFilter", "kind", one_of(["refused", "rejected"])),
        ("QuarantineDiscardSelection", "reason", prose(4_000)),
        ("Suspension", "reason", prose(4_000)),
        ("Suspension", "category", categories()),
        ("Reactivation", "credentials", one_of(["generate", "keep_staged"])),
        ("Grant", "reason", prose(4_000)),
    ]
}

/// Examples, and what holds between the fields of one schema.
fn schemas() -> Vec<(&'static str, Value)> {
    let id = "0197f2b4-6c1e-7d3a-9b52-3f8e1c6a7d90";
    let integration = json!({
        "vendor": "Custom",
        "name": "Climate computer, house 1",
        "description": "Delivers the climate of house 1 every minute.",
        "owner_id": id,
        "scopes": ["sensors:write", "equipment:read"],
        "rate_limit_rpm": 120,
        "contacts": [{"name": "Kim Vos", "email": "kim@partner.example", "company": "Partner"}],
    });
    let sensor = json!({
        "integration_id": id, "kind": "sensor", "type": "climate_sensor", "external_id": "AA:BB:01", "name": "Bench 4",
        "room": "House 1",
    });
    let grant = json!({
        "examples": [{"rpm": 1_000, "until": "2030-01-31T00:00:00Z", "reason": "Migration of 2029."}],
        "anyOf": [
            {"required": ["rpm"], "properties": {"rpm": {"type": "integer"}}},
            {"required": ["window_start"], "properties": {"window_start": {"type": "string"}}},
        ],
    });
    let example = |value: Value| json!({"examples": [value]});
    vec![
        ("Login", example(json!({"email": "kim@example.org", "password": "correct horse battery staple"}))),
        ("NewUser", example(json!({"email": "kim@example.org", "name": "Kim Vos", "permissions": [PERMISSION]}))),
        ("NewIntegration", example(integration)),
        ("IntegrationPatch", example(json!({"scopes": ["sensors:write"], "rate_limit_rpm": 300}))),
        (
            "AccessReviewAnswers",
            example(json!({"answers": [{"question": "in_use", "ok": true, "note": "All three are in use."}]})),
        ),
        ("NewAccessReview", example(json!({"from": "2026-01-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}))),
        ("Suspension", example(json!({"reason": "Odd traffic since noon.", "category": "security_concern"}))),
        ("Reactivation", example(json!({"credentials": "generate"}))),
        ("IpAllowlistUpdate", example(json!({"enabled": true, "entries": ["203.0.113.0/24"]}))),
        ("Grant", grant),
        ("NewEquipment", example(sensor.clone())),
        ("EquipmentUpsert", json!({"anyOf": [{"required": ["id"]}, {"required": ["integration_id", "external_id"]}]})),
        ("EquipmentBulk", example(json!({"equipment": [sensor]}))),
    ]
}

/// What parameters can be.
fn parameters() -> Vec<Refinement> {
    let time = || json!({"format": "date-time"});
    vec![
        if_match(),
        ("*", "from", time()),
        ("*", "to", time()),
        ("/admin/v1/readings", "resolution", json!({"pattern": "^[1-9][0-9]{0,8}[smhd]?$"})),
        ("/admin/v1/readings/trace", "timestamp", time()),
        ("/admin/v1/request-log", "status", json!({"pattern": "^[1-5](xx|[0-9]{2})$"})),
        ("/admin/v1/request-log", "ip", json!({"pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"})),
        ("/admin/v1/request-log", "scope", one_of(names(&Scope::ALL))),
        ("/admin/v1/request-log", "transport", one_of(["http", "mqtt"])),
        ("/admin/v1/request-log", "format", one_of(["json", "ndjson", "csv"])),
        ("/admin/v1/request-log/counts", "step", json!({"pattern": "^(([1-6]|1[025]|20|30)m|[1-9][0-9]?h|[1-9]d)$"})),
        openapi_webhook::states("/admin/v1/integrations/{id}/webhooks/{wid}/deliveries"),
        ("/admin/v1/integrations", "status", one_of(Status::ALL.map(Status::as_str))),
        ("/admin/v1/integrations", "vendor", vendors()),
        ("/admin/v1/integrations", "q", json!({"maxLength": 200})),
        ("/admin/v1/integrations/{id}/grants", "kind", one_of(["temporary_limit", "backfill"])),
        ("/admin/v1/integrations/{id}/handover", "format", one_of(["json", "html", "text"])),
        ("/admin/v1/equipment", "kind", kinds()),
        ("/admin/v1/equipment", "status", one_of(["active", "retired"])),
        ("/admin/v1/equipment/export", "kind", kinds()),
        ("/admin/v1/equipment/export", "status", one_of(["active", "retired"])),
        ("/admin/v1/equipment/export", "format", one_of(["csv"])),
        ("/admin/v1/quarantine", "kind", one_of(["refused", "rejected"])),
        ("/admin/v1/quarantine", "from", time()),
        ("/admin/v1/quarantine", "to", time()),
        ("/admin/v1/audit-log", "order", one_of(["asc", "desc"])),
        ("/admin/v1/audit-log/export", "format", one_of(["ndjson", "csv"])),
        ("/admin/v1/access-reviews/{id}", "format", one_of(["json", "csv", "html"])),
        ("/admin/v1/readings", "format", one_of(["json", "csv"])),
    ]
}
