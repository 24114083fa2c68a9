//! Both OpenAPI documents, held against the running service by a tool that is not ours: schemathesis sends what they allow and
//! what they forbid to every call, and judges every answer. What is narrowed stands in the fixture's `*.toml`, with its reason.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Facility, batch, facility::send, now_s, skip};

/// Where `cargo xtask test` puts schemathesis and the validator of OpenAPI documents.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/xtask/schemathesis/bin");
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/schemathesis");

/// Whether the programs are there; says so if not.
fn is_fetched() -> bool {
    let there = Path::new(PROGRAMS).join("schemathesis").is_file();
    if !there {
        skip("the Python package schemathesis is not there; cargo xtask test fetches it");
    }
    there
}

/// Rounds a call in each phase: few in the gate, as many as `CONTRACT_EXAMPLES` says when somebody has time.
fn examples() -> String {
    #[allow(clippy::disallowed_methods, reason = "of the test, not of the service")]
    std::env::var("CONTRACT_EXAMPLES").unwrap_or_else(|_| "8".to_owned())
}

fn seed() -> String {
    #[allow(clippy::disallowed_methods, reason = "of the test, not of the service")]
    std::env::var("CONTRACT_SEED").unwrap_or_else(|_| "1".to_owned())
}

/// A run against the document at `url`; how often each call was answered with which status.
fn run(name: &str, url: &str, variables: &[(&str, &str)]) -> BTreeMap<String, BTreeMap<String, u64>> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let outcomes = folder.path().join("outcomes.json");
    let output = Command::new(Path::new(PROGRAMS).join("schemathesis"))
        .args(["--config-file", &format!("{name}.toml"), "run", &format!("{url}/openapi.json")])
        .args(["--seed", &seed(), "--max-examples", &examples(), "--warnings", "off"])
        .current_dir(FIXTURE)
        .env("OUTCOMES", &outcomes)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.path())
        .envs(variables.iter().copied())
        .output()
        .expect("schemathesis starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = fs::read_to_string(outcomes).expect("the outcomes of the run");
    serde_json::from_str(&text).expect("JSON")
}

/// Calls that never succeeded: a run that is refused everywhere proves nothing.
fn without_success(outcomes: &BTreeMap<String, BTreeMap<String, u64>>) -> Vec<&str> {
    let succeeded = |statuses: &BTreeMap<String, u64>| statuses.keys().any(|status| status.starts_with('2'));
    outcomes.iter().filter(|(_, statuses)| !succeeded(statuses)).map(|(call, _)| call.as_str()).collect()
}

/// So that nothing but the documents is on trial.
const UNLIMITED: &[(&str, &str)] = &[
    ("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "10000000"),
    ("SENSORGATE__ISSUER__ADDRESS_REQUESTS_PER_MINUTE", "10000000"),
    ("SENSORGATE__ISSUER__CLIENT_TOKENS_PER_MINUTE", "10000000"),
    ("SENSORGATE__ADMIN__ADDRESS_FAILURES_PER_MINUTE", "1000000"),
    // Names that are made up are looked up, and have no address.
    ("SENSORGATE__WEBHOOK__CONNECT_TIMEOUT_MS", "200"),
];

fn validated(document: &Value) -> Output {
    let mut python = Command::new(Path::new(PROGRAMS).join("python3"))
        .arg("validate.py")
        .current_dir(FIXTURE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    python.stdin.take().expect("a pipe").write_all(document.to_string().as_bytes()).expect("python reads");
    python.wait_with_output().expect("python ends")
}

// S214: the documents are served, for anybody, and are OpenAPI 3.1 by its official schema; their examples fit them.
#[tokio::test]
async fn the_documents_are_valid_and_their_examples_fit() {
    if !is_fetched() {
        return;
    }
    let facility = Facility::new().await;
    for url in [&facility.server.http_url, &facility.server.admin_url] {
        let document = send(facility.client.get(format!("{url}/openapi.json"))).await.expect(200).json;
        let output = validated(&document);
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
        let mut broken = document;
        broken["paths"]["/nowhere"] = json!({"get": {"responses": 7}});
        assert!(!validated(&broken).status.success(), "the check itself can fail");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_integration_api_does_what_its_document_says() {
    if !is_fetched() {
        return;
    }
    let facility = Facility::with(UNLIMITED).await;
    let scopes = ["sensors:write", "equipment:read", "equipment:write", "taxonomies:read", "webhooks:manage"];
    let sender = facility.active(&scopes).await;
    facility.limit(&sender, 10_000).await;
    // The sensor of the document's examples.
    facility.sensor(&sender, "AA:BB:01").await;
    let variables = [("TOKEN", sender.token.as_str()), ("API_KEY", sender.api_key.as_str())];
    let outcomes = run("integration", &facility.server.http_url, &variables);
    let none: [&str; 1] = ["POST /oauth/token"];
    assert_eq!(without_success(&outcomes), none, "clients that are made up get no token: {outcomes:#?}");
}

/// An administrator's session besides the facility's own.
async fn signed_in(facility: &Facility, email: &str, password: &str) -> String {
    let body = json!({"email": email, "password": password});
    let url = format!("{}/admin/v1/login", facility.server.admin_url);
    let answer = send(facility.client.post(url).json(&body)).await.expect(200);
    answer.json["access_token"].as_str().expect("a token").to_owned()
}

/// Objects in the states that the calls of an integration's life begin from.
async fn objects(facility: &Facility) -> Value {
    let path = |id: &str, step: &str| format!("/admin/v1/integrations/{id}{step}");
    let as_bob = async |method, path: &str, body| facility.admin(&facility.bob, method, path, Some(body)).await;
    let me = as_bob(Method::GET, "/admin/v1/me", Value::Null).await.json["id"].clone();
    let wanted = json!({"vendor": "Custom", "name": "n", "description": "d", "owner_id": me});
    let requested = as_bob(Method::POST, "/admin/v1/integrations", wanted).await.expect(201);
    let approved = facility.requested(&[]).await;
    facility.post_as_bob(&path(&approved, "/approve"), json!({})).await.expect(200);
    let suspended = facility.active(&[]).await.id;
    facility.post_as_bob(&path(&suspended, "/suspend"), json!({"reason": "a drill"})).await.expect(200);
    let newcomer =
        json!({"email": "new@example.org", "name": "New", "permissions": ["administration_integrations_access"]});
    let newcomer = as_bob(Method::POST, "/admin/v1/users", newcomer).await.expect(201).json;
    let one_time = newcomer["one_time_password"].as_str().unwrap();
    let session = signed_in(facility, "new@example.org", one_time).await;
    let change = json!({"current_password": one_time, "new_password": "correct horse battery new"});
    facility.admin(&session, Method::POST, "/admin/v1/password", Some(change)).await.expect(204);
    let of = |step: &str| format!("POST /admin/v1/integrations/{{id}}/{step}");
    json!({
        "POST /admin/v1/users/{id}/confirm": [newcomer["id"]],
        of("grants"): [facility.active(&[]).await.id],
        of("approve"): [requested.json["id"]],
        of("activate"): [approved],
        of("reactivate"): [suspended],
        of("suspend"): [facility.active(&[]).await.id],
        of("revoke"): [facility.active(&[]).await.id],
        "GET /admin/v1/access-reviews/{id}": [review(facility, false).await],
        "POST /admin/v1/access-reviews/{id}/answers": [review(facility, false).await],
        "POST /admin/v1/access-reviews/{id}/sign-off": [review(facility, true).await],
    })
}

/// A review, with all questions answered or none.
async fn review(facility: &Facility, is_answered: bool) -> Value {
    let period = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"});
    let id = facility.post("/admin/v1/access-reviews", period).await.expect(201).json["id"].clone();
    if is_answered {
        let questions = ["in_use", "scopes", "credentials", "rate_limits", "ip_allowlist", "contacts"];
        let answers = questions.map(|question| json!({"question": question, "ok": true}));
        let path = format!("/admin/v1/access-reviews/{}/answers", id.as_str().unwrap());
        facility.post(&path, json!({"answers": answers})).await.expect(200);
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_api_does_what_its_document_says() {
    if !is_fetched() {
        return;
    }
    let facility = Facility::with(UNLIMITED).await;
    let sender = facility.active(&["sensors:write"]).await;
    let sensor = facility.sensor(&sender, "s").await;
    let users = facility.get("/admin/v1/users").await.expect(200);
    let own: Vec<&str> =
        users.json["items"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect();
    let spare =
        facility.post("/admin/v1/users", json!({"email": "spare@example.org", "name": "Spare"})).await.expect(201);
    let other = signed_in(&facility, "alice@example.org", &facility.passwords[0]).await;
    let mut objects = objects(&facility).await;
    let sent = facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    objects["GET /admin/v1/request-log/{id}"] = json!([sent.json["request_id"]]);
    let objects = objects.to_string();
    let login = json!({"email": "bob@example.org", "password": facility.passwords[1]}).to_string();
    let variables = [
        ("TOKEN", facility.alice.as_str()),
        ("OTHER_TOKEN", other.as_str()),
        ("OWN_USERS", &own.join(",")),
        ("SPARE_USER", spare.json["id"].as_str().unwrap()),
        ("OBJECTS", &objects),
        ("INTEGRATION", &sender.id),
        ("SPARE_INTEGRATION", &facility.active(&[]).await.id),
        ("EQUIPMENT", &sensor),
        ("LOGIN", &login),
    ];
    let outcomes = run("admin", &facility.server.admin_url, &variables);
    facility.get("/admin/v1/me").await.expect(200);
    // Nothing is in quarantine, scopes wait only under a policy, and a password that is made up is not the current one.
    let none = [
        "GET /admin/v1/quarantine/{id}",
        "POST /admin/v1/integrations/{id}/scopes/confirm",
        "POST /admin/v1/integrations/{id}/scopes/decline",
        "POST /admin/v1/password",
    ];
    assert_eq!(without_success(&outcomes), none, "{outcomes:#?}");
}
