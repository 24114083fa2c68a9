//! Every call of the administrators' API is reachable from the command line (S021): the commands are run against a
//! service that notes what it is asked, and the notes are held against the API's own description.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::Request, http::StatusCode, response::IntoResponse};
use serde_json::{Value, json};

use crate::support::cli::Cli;

const ID: &str = "01900000-0000-7000-8000-000000000001";

/// Each call, and a command that makes it.
const COMMANDS: &[(&str, &[&str])] = &[
    ("POST /admin/v1/login", &["login", "alice@example.org", "--password-stdin"]),
    ("GET /admin/v1/me", &["whoami"]),
    ("POST /admin/v1/password", &["password", "--password-stdin"]),
    ("GET /admin/v1/users", &["users", "list"]),
    ("POST /admin/v1/users", &["users", "create", "dave@example.org", "--grant"]),
    ("GET /admin/v1/users/{id}", &["users", "show", ID]),
    ("PATCH /admin/v1/users/{id}", &["users", "update", ID, "--name", "Dave"]),
    ("PATCH /admin/v1/users/{id}", &["users", "grant", ID]),
    ("PATCH /admin/v1/users/{id}", &["users", "remove", ID, "--yes"]),
    ("PATCH /admin/v1/users/{id}", &["users", "deactivate", ID, "--yes"]),
    ("PATCH /admin/v1/users/{id}", &["users", "activate", ID]),
    ("POST /admin/v1/users/{id}/confirm", &["users", "confirm", ID, "--yes"]),
    ("POST /admin/v1/users/{id}/password-reset", &["users", "reset-password", ID, "--yes"]),
    ("GET /admin/v1/vendors", &["vendors"]),
    ("GET /admin/v1/scopes", &["scopes"]),
    ("GET /admin/v1/taxonomies/equipment-types", &["equipment-types"]),
    ("GET /admin/v1/integrations", &["integrations", "list", "--status", "active", "--search", "x"]),
    ("GET /admin/v1/integrations", &["integrations", "pending"]),
    (
        "POST /admin/v1/integrations",
        &["integrations", "create", "--vendor", "SAP", "--name", "n", "--description", "d", "--scopes", "orders:read"],
    ),
    ("GET /admin/v1/integrations/{id}", &["integrations", "show", ID]),
    ("PATCH /admin/v1/integrations/{id}", &["integrations", "update", ID, "--add-scope", "orders:read"]),
    ("POST /admin/v1/integrations/{id}/approve", &["integrations", "approve", ID, "--yes"]),
    ("POST /admin/v1/integrations/{id}/activate", &["integrations", "activate", ID]),
    ("POST /admin/v1/integrations/{id}/suspend", &["integrations", "suspend", ID, "--yes", "--reason", "r"]),
    ("POST /admin/v1/integrations/{id}/reactivate", &["integrations", "reactivate", ID, "--yes", "--keep-staged"]),
    ("POST /admin/v1/integrations/{id}/revoke", &["integrations", "revoke", ID, "--yes"]),
    ("POST /admin/v1/integrations/{id}/api-key", &["integrations", "regenerate-key", ID, "--yes"]),
    ("POST /admin/v1/integrations/{id}/scopes/confirm", &["integrations", "scopes", "confirm", ID, "--yes"]),
    ("POST /admin/v1/integrations/{id}/scopes/decline", &["integrations", "scopes", "decline", ID]),
    ("GET /admin/v1/integrations/{id}/handover", &["integrations", "handover", ID]),
    ("GET /admin/v1/integrations/{id}/ip-allowlist", &["integrations", "allowlist", "show", ID]),
    ("PUT /admin/v1/integrations/{id}/ip-allowlist", &["integrations", "allowlist", "set", ID, "10.0.0.1/32"]),
    ("PUT /admin/v1/integrations/{id}/ip-allowlist", &["integrations", "allowlist", "add", ID, "10.0.0.1/32"]),
    ("PUT /admin/v1/integrations/{id}/ip-allowlist", &["integrations", "allowlist", "remove", ID, "10.0.0.1/32"]),
    ("PUT /admin/v1/integrations/{id}/ip-allowlist", &["integrations", "allowlist", "enable", ID]),
    ("PUT /admin/v1/integrations/{id}/ip-allowlist", &["integrations", "allowlist", "disable", ID, "--yes"]),
    (
        "POST /admin/v1/integrations/{id}/grants",
        &["integrations", "grant", "limit", ID, "--rpm", "5", "--until", "24h", "--reason", "r"],
    ),
    (
        "POST /admin/v1/integrations/{id}/grants",
        &["integrations", "grant", "backfill", ID, "--window-start", "90d", "--until", "24h", "--reason", "r"],
    ),
    ("DELETE /admin/v1/integrations/{id}/grants", &["integrations", "grant", "end", ID, "--kind", "backfill"]),
    ("GET /admin/v1/integrations/{id}", &["integrations", "contacts", "list", ID]),
    (
        "PATCH /admin/v1/integrations/{id}",
        &["integrations", "contacts", "add", ID, "carla@example.org", "--name", "Carla"],
    ),
    ("PATCH /admin/v1/integrations/{id}", &["integrations", "contacts", "remove", ID, "a@example.org"]),
    ("PATCH /admin/v1/integrations/{id}", &["integrations", "contacts", "confirm", ID]),
    ("GET /admin/v1/integrations/{id}/history", &["integrations", "history", ID]),
    ("GET /admin/v1/audit-log", &["audit", "list", "--from", "7d"]),
    ("GET /admin/v1/audit-log/verify", &["audit", "verify"]),
    ("GET /admin/v1/audit-log/export", &["audit", "export", "--format", "csv", "--from", "7d"]),
    ("GET /admin/v1/audit-log/checkpoints", &["audit", "checkpoints"]),
    ("GET /admin/v1/access-reviews", &["review", "list"]),
    ("POST /admin/v1/access-reviews", &["review", "create", "--from", "90d", "--to", "1d"]),
    ("GET /admin/v1/access-reviews/{id}", &["review", "show", ID]),
    ("POST /admin/v1/access-reviews/{id}/answers", &["review", "answer", ID, "in_use"]),
    ("POST /admin/v1/access-reviews/{id}/sign-off", &["review", "sign-off", ID, "--yes"]),
    ("GET /admin/v1/equipment", &["equipment", "list", "--kind", "sensor", "--integration", ID]),
    ("POST /admin/v1/equipment", &["equipment", "create", "--integration", ID, "--kind", "sensor", "--name", "n"]),
    ("POST /admin/v1/equipment/bulk", &["equipment", "bulk", "--file", "-"]),
    ("GET /admin/v1/equipment/{id}", &["equipment", "show", ID]),
    ("PATCH /admin/v1/equipment/{id}", &["equipment", "update", ID, "--name", "n"]),
    ("PATCH /admin/v1/equipment/{id}", &["equipment", "return", ID]),
    ("POST /admin/v1/equipment/{id}/retire", &["equipment", "retire", ID, "--yes"]),
    ("GET /admin/v1/readings", &["readings", "range", ID, "--metric", "co2", "--from", "24h", "--resolution", "1h"]),
    ("GET /admin/v1/readings", &["readings", "export", ID, "--metric", "co2", "--format", "parquet"]),
    ("GET /admin/v1/readings/latest", &["readings", "latest", "--integration", ID]),
    ("GET /admin/v1/readings/trace", &["readings", "trace", ID, "--metric", "co2", "--at", "2026-01-05T10:00:00Z"]),
    ("GET /admin/v1/request-log", &["logs", "list", "--status", "4xx", "--hours", "22-6", "--ip", "10.0.0.0/8"]),
    ("GET /admin/v1/request-log", &["logs", "export", "--integration", ID, "--from", "24h", "--format", "ndjson"]),
    ("GET /admin/v1/request-log/{id}", &["logs", "show", ID]),
    ("GET /admin/v1/request-log/counts", &["logs", "counts", "--step", "1h"]),
    ("GET /admin/v1/request-log/hours", &["logs", "hours"]),
    ("GET /admin/v1/request-log/addresses", &["logs", "addresses", "--integration", ID, "--new"]),
    ("GET /admin/v1/equipment/export", &["equipment", "export", "--kind", "sensor"]),
    ("POST /admin/v1/equipment/import", &["equipment", "import", "--file", "-", "--dry-run"]),
    ("GET /admin/v1/rooms", &["equipment", "rooms"]),
    ("GET /admin/v1/quarantine", &["quarantine", "list", "--kind", "refused", "--from", "7d"]),
    ("GET /admin/v1/quarantine/{id}", &["quarantine", "show", "refused-1"]),
    ("POST /admin/v1/quarantine/replay", &["quarantine", "replay", "--integration", ID]),
    ("POST /admin/v1/quarantine/discard", &["quarantine", "discard", "refused-1", "--reason", "r", "--yes"]),
    ("GET /admin/v1/integrations/{id}/webhooks", &["webhooks", "list", ID]),
    (
        "POST /admin/v1/integrations/{id}/webhooks",
        &["webhooks", "create", ID, "--target", "https://partner.example", "--events", "key.regenerated"],
    ),
    ("GET /admin/v1/integrations/{id}/webhooks/{wid}", &["webhooks", "show", ID, ID]),
    ("PATCH /admin/v1/integrations/{id}/webhooks/{wid}", &["webhooks", "update", ID, ID, "--enabled", "true"]),
    ("DELETE /admin/v1/integrations/{id}/webhooks/{wid}", &["webhooks", "delete", ID, ID, "--yes"]),
    ("POST /admin/v1/integrations/{id}/webhooks/{wid}/secret", &["webhooks", "secret", ID, ID, "--yes"]),
    ("POST /admin/v1/integrations/{id}/webhooks/{wid}/test", &["webhooks", "test", ID, ID]),
    ("DELETE /admin/v1/integrations/{id}/webhooks/{wid}/queue", &["webhooks", "discard", ID, ID, "--yes"]),
    ("GET /admin/v1/integrations/{id}/webhooks/{wid}/deliveries", &["webhooks", "deliveries", ID, ID]),
    ("POST /admin/v1/integrations/{id}/webhooks/{wid}/deliveries/{did}/replay", &["webhooks", "replay", ID, ID, ID]),
    ("POST /admin/v1/logout", &["logout"]),
];

/// Looks like everything that a command may expect.
fn answer() -> Value {
    let one = json!({
        "id": ID, "name": "n", "email": "a@example.org", "status": "active", "version": 1, "requested_by": "somebody",
        "contacts": [{"name": "A", "email": "a@example.org"}], "scopes": [], "timestamp": "2026-01-05T10:00:00Z",
    });
    let mut whole = one.clone();
    let more = json!({
        "items": [one], "next_cursor": null, "access_token": "t", "expires_in": 3600, "enabled": true, "entries": [],
        "ok": true, "received": 1, "accepted": 1, "rejected": 0,
    });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    whole
}

/// A service that notes method and path of every call. Gives its address, and the notes.
async fn note_taker() -> (String, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let noted = notes.clone();
    let note = move |request: Request| {
        noted.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        async { (StatusCode::OK, [("ETag", "\"1\"")], axum::Json(answer())).into_response() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[allow(clippy::disallowed_methods, reason = "a test's own server")]
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(note)).await });
    (url, notes)
}

fn is_call(noted: &str, call: &str) -> bool {
    let (noted, call): (Vec<&str>, Vec<&str>) = (noted.split('/').collect(), call.split('/').collect());
    noted.len() == call.len() && noted.iter().zip(&call).all(|(got, want)| got == want || want.starts_with('{'))
}

fn described_calls() -> Vec<String> {
    let document: Value = serde_json::from_str(&sensorgate::app::admin_openapi_json()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let methods = |(path, item): (&String, &Value)| -> Vec<String> {
        let methods = ["get", "post", "put", "patch", "delete"].into_iter().filter(|method| item[method].is_object());
        methods.map(|method| format!("{} {path}", method.to_uppercase())).collect()
    };
    paths.iter().filter(|(path, _)| path.starts_with("/admin/v1/")).flat_map(methods).collect()
}

// S021: nothing can be done over the API alone.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_reachable_from_a_command() {
    let (url, notes) = note_taker().await;
    let cli = Cli::new(&url);
    for (call, words) in COMMANDS {
        notes.lock().unwrap().clear();
        cli.piped(words, "[\"some password\",\n\"another password\"]\n").expect(0);
        let made = notes.lock().unwrap().clone();
        assert!(made.iter().any(|noted| is_call(noted, call)), "{words:?} made {made:?}, not {call}");
    }
    let calls = described_calls();
    assert!(calls.len() > 30, "{calls:?}");
    let missing: Vec<_> = calls.iter().filter(|call| !COMMANDS.iter().any(|(known, _)| known == call)).collect();
    assert!(missing.is_empty(), "calls that no command makes: {missing:#?}");
}
