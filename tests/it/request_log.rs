//! The API log at the socket: every request, over every transport, found again and explained (§19 of the statements).

mod faults;
mod finding;
mod trace;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Facility, Integration, batch,
    facility::send,
    mqtt::{Connect, Gateway, Library, VERSIONS},
    now_s,
};

/// A facility whose strangers are not shut out.
pub(super) async fn patient() -> Facility {
    Facility::with(&[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "10000")]).await
}

/// The entries that a query finds, all pages, newest first.
pub(super) async fn entries(facility: &Facility, query: &str) -> Vec<Value> {
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = facility.get(&format!("/admin/v1/request-log?{query}{cursor}")).await.expect(200);
        entries.extend(page.json["items"].as_array().expect("items").iter().cloned());
        match page.json["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
    }
}

/// The explanation of a request.
pub(super) async fn explained(facility: &Facility, request_id: &str) -> Value {
    facility.get(&format!("/admin/v1/request-log/{request_id}")).await.expect(200).json
}

/// The check that refused it.
fn failed(explanation: &Value) -> Vec<&str> {
    let checks = explanation["checks"].as_array().expect("checks");
    let name = |check: &Value| check["name"].as_str().expect("a name").to_owned();
    assert!(checks.iter().map(name).collect::<std::collections::HashSet<_>>().len() == checks.len());
    checks.iter().filter(|check| check["verdict"] == "failed").filter_map(|check| check["name"].as_str()).collect()
}

/// A call with these headers and nothing else.
async fn bare(facility: &Facility, headers: &[(&str, &str)]) -> crate::support::Answer {
    let mut request = facility.client.post(format!("{}/v1/sensors/readings", facility.server.http_url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request.json(&batch("s", 1, now_s()))).await
}

// S295, S296, S297: every answer's id leads to its entry, with what was answered; and to the server's own log.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_found_by_its_id() {
    let facility = Facility::with(&[("SENSORGATE__TELEMETRY__LOG_FILTER", "debug")]).await;
    let sender = facility.busy_sender().await;
    let partial = json!({"readings": [
        {"external_id": "s", "metric": "temperature", "value": 20.5, "timestamp": now_s()},
        {"external_id": "s", "metric": "humidity", "value": 141, "timestamp": now_s()},
    ]});
    let good = facility.ingest(&sender, &batch("s", 3, now_s() - 100)).await.expect(200);
    let mixed = facility.ingest(&sender, &partial).await.expect(207);
    let broken = facility.ingest_raw(&sender, "nonsense").await.expect(400);
    let rejected = facility.ingest(&sender, &json!({"readings": [{"external_id": "nobody"}]})).await.expect(422);
    let unknown = send(facility.request(&sender, Method::GET, "/v1/nothing")).await.expect(404);
    for answer in [&good, &mixed, &broken, &rejected, &unknown] {
        let id = answer.header("x-request-id").expect("an id").to_owned();
        let entry = explained(&facility, &id).await;
        assert_eq!(entry["status"], answer.status, "{entry}");
        assert_eq!(entry["integration_id"], sender.id.as_str());
        assert_eq!(entry["ip"], "127.0.0.1");
        assert_eq!(entry["key_prefix"], &sender.api_key[..16]);
        for name in ["received", "accepted", "duplicates", "rejected"] {
            let expected = if answer.json[name].is_u64() { answer.json[name].clone() } else { Value::Null };
            assert_eq!(entry[name], expected, "{name}: {entry}");
        }
        if answer.status >= 400 && answer.status != 422 {
            assert_eq!((&entry["code"], &entry["message"]), (&answer.json["code"], &answer.json["detail"]));
            assert_eq!(answer.json["request_id"], id.as_str());
            assert_eq!(failed(&entry).len(), 1, "{entry}");
        }
        assert!(facility.server.log().contains(&id), "S296: the server's log has {id}");
    }
    let entry = explained(&facility, good.header("x-request-id").unwrap()).await;
    assert_eq!((&entry["scope"], &entry["scope_outcome"]), (&json!("sensors:write"), &json!("granted")));
    assert_eq!(entry["stored"]["accepted"], 3);
    let entry = explained(&facility, mixed.header("x-request-id").unwrap()).await;
    let refused = &entry["rejected_entries"][0];
    assert_eq!((&refused["index"], &refused["code"]), (&json!(1), &json!("value_out_of_range")));
    assert_eq!((&refused["external_id"], &refused["metric"]), (&json!("s"), &json!("humidity")));
}

// S326, S298, S124, S203: for each cause of a 401 the log has another exact cause, attributed where the key is or was
// known, while the caller is told the same of all that concern the key. S293, S061, S328: 403s, with what was observed.
#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_exact_cause_and_its_integration() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    let reader = facility.active(&["equipment:read"]).await;
    let other = facility.active(&["sensors:write"]).await;
    let bearer = format!("Bearer {}", sender.token);
    let path = |integration: &Integration, action: &str| format!("/admin/v1/integrations/{}/{action}", integration.id);
    let ids = |answer: &crate::support::Answer| answer.header("x-request-id").expect("an id").to_owned();

    let mut cases = Vec::new();
    let missing = bare(&facility, &[("x-api-key", &sender.api_key)]).await.expect(401);
    cases.push((ids(&missing), "missing_credential", Some(&sender), "credentials_present"));
    let crossed = bare(&facility, &[("x-api-key", &other.api_key), ("authorization", &bearer)]).await.expect(401);
    cases.push((ids(&crossed), "credential_mismatch", Some(&other), "client_binding"));
    let garbled = bare(&facility, &[("x-api-key", "grq_live_x"), ("authorization", &bearer)]).await.expect(401);
    cases.push((ids(&garbled), "key_malformed", None, "api_key"));
    let denied = facility.ingest(&reader, &batch("s", 1, now_s())).await.expect(403);
    cases.push((ids(&denied), "insufficient_scope", Some(&reader), "scope"));
    let list = json!({"enabled": true, "entries": ["10.0.0.0/8"]});
    facility.admin(&facility.alice, Method::PUT, &path(&other, "ip-allowlist"), Some(list)).await.expect(200);
    let foreign = facility.ingest(&other, &batch("s", 1, now_s())).await.expect(403);
    cases.push((ids(&foreign), "ip_not_allowed", Some(&other), "ip_allowlist"));
    facility.post(&path(&sender, "api-key"), json!({})).await.expect(200);
    let superseded = facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(401);
    cases.push((ids(&superseded), "key_superseded", Some(&sender), "key_generation"));
    facility.post(&path(&reader, "suspend"), json!({"reason": "a drill"})).await.expect(200);
    let suspended = facility.ingest(&reader, &batch("s", 1, now_s())).await.expect(401);
    cases.push((ids(&suspended), "integration_not_active", Some(&reader), "integration_status"));

    for (id, cause, integration, check) in &cases {
        let entry = explained(&facility, id).await;
        assert_eq!(entry["cause"], *cause, "{entry}");
        let owner = integration.map(|integration| integration.id.as_str());
        assert_eq!(entry["integration_id"].as_str(), owner, "{cause}");
        let prefix = integration.map(|integration| &integration.api_key[..16]);
        assert_eq!(entry["key_prefix"].as_str(), prefix, "{cause}");
        assert_eq!(failed(&entry), [*check], "{cause}");
        assert!(!entry["advice"].as_array().unwrap().is_empty(), "{cause}");
    }
    // The caller learns nothing of it (S326).
    for answer in [&crossed, &garbled, &superseded, &suspended] {
        assert_eq!(answer.code(), "unauthorized");
        assert_eq!(answer.json["detail"], crossed.json["detail"]);
    }
    // S293: which scopes were tried without being granted; S061: a scope 403 has no side effect, and is in the log.
    let denied = entries(&facility, &format!("integration_id={}&scope=sensors:write&status=403", reader.id)).await;
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0]["scope_outcome"], "denied");
    // S328: the observed address, for the allowlist.
    let entry = explained(&facility, &ids(&foreign)).await;
    let check = entry["checks"].as_array().unwrap().iter().find(|check| check["name"] == "ip_allowlist").unwrap();
    assert!(check["detail"].as_str().unwrap().contains("127.0.0.1"), "{check}");
    // S145, S118, S301: nothing is deleted by suspension or revocation.
    let before = entries(&facility, &format!("integration_id={}", reader.id)).await;
    facility.post(&path(&reader, "revoke"), json!({})).await.expect(200);
    assert_eq!(entries(&facility, &format!("integration_id={}", reader.id)).await, before);
}

// S299, S329: 429s are in the log with the figures that the caller was told, and explained.
#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_limit_are_logged_with_their_figures() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    facility.limit(&sender, 3).await;
    let mut last = None;
    for n in 0..5 {
        let answer = facility.ingest(&sender, &batch("s", 1, now_s())).await;
        assert_eq!(answer.status, if n < 3 { 200 } else { 429 });
        last = Some(answer);
    }
    let last = last.unwrap();
    let entry = explained(&facility, last.header("x-request-id").unwrap()).await;
    assert_eq!((&entry["status"], &entry["cause"]), (&json!(429), &json!("rate_limited")));
    let reset: u64 = last.header("x-ratelimit-reset").expect("S329").parse().unwrap();
    assert_eq!(entry["rate_limit"], json!({"limit": 3, "remaining": 0, "reset": reset}));
    assert_eq!(failed(&entry), ["rate_window"]);
    let counts =
        facility.get(&format!("/admin/v1/request-log/counts?integration_id={}&step=1h", sender.id)).await.expect(200);
    let sum =
        |name: &str| counts.json["items"].as_array().unwrap().iter().filter_map(|c| c[name].as_u64()).sum::<u64>();
    // S236, S291
    assert_eq!((sum("requests"), sum("rate_limited"), sum("refused"), sum("accepted")), (5, 2, 2, 3));
    let minutes =
        facility.get(&format!("/admin/v1/request-log/counts?integration_id={}&step=1m", sender.id)).await.expect(200);
    assert_eq!(minutes.json["items"].as_array().unwrap().iter().filter_map(|c| c["requests"].as_u64()).sum::<u64>(), 5);
}

// S300, S298: MQTT, both versions: CONNECT and PUBLISH, success and refusal, in the same form.
#[tokio::test(flavor = "multi_thread")]
async fn mqtt_is_logged_in_the_same_form() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    for version in VERSIONS {
        let mut gateway = Gateway::open(Library::Rumqttc, version, &facility.server, &sender, "gateway").await;
        gateway.exchange(&batch("s", 4, now_s())).await;
        let mut refused = Connect::to(&facility.server.mqtt_url, version, &sender, "other");
        refused.password = Some("not.a.token".to_owned());
        let mut stranger = Gateway::start(Library::Rumqttc, &refused, &sender).await;
        assert_ne!(stranger.connack().await, 0);
    }
    let found = entries(&facility, &format!("integration_id={}&transport=mqtt", sender.id)).await;
    let kinds: Vec<_> = found
        .iter()
        .rev()
        .map(|entry| (entry["method"].as_str().unwrap(), entry["status"].as_u64().unwrap(), entry["accepted"].as_u64()))
        .collect();
    let one = [("CONNECT", 200, None), ("PUBLISH", 200, Some(4)), ("CONNECT", 401, None)];
    assert_eq!(kinds, [one, one].concat());
    for entry in &found {
        assert_eq!((&entry["ip"], &entry["scope"]), (&json!("127.0.0.1"), &json!("sensors:write")));
        assert_eq!(entry["key_prefix"], &sender.api_key[..16]);
    }
    let publish = found.iter().find(|entry| entry["method"] == "PUBLISH").unwrap();
    let explanation = explained(&facility, publish["request_id"].as_str().unwrap()).await;
    assert_eq!(explanation["stored"]["accepted"], 4);
    assert!(failed(&explanation).is_empty());
}

// S299: a session that is refused for being one too many is a 429 of its integration.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_too_many_is_attributed() {
    let facility = Facility::with(&[("SENSORGATE__MQTT__SESSIONS_PER_INTEGRATION_MAX", "1")]).await;
    let sender = facility.busy_sender().await;
    let _first = Gateway::open(Library::Rumqttc, 5, &facility.server, &sender, "first").await;
    let connect = Connect::to(&facility.server.mqtt_url, 5, &sender, "second");
    let mut second = Gateway::start(Library::Rumqttc, &connect, &sender).await;
    assert_ne!(second.connack().await, 0);
    let found = entries(&facility, &format!("integration_id={}&status=429", sender.id)).await;
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["cause"], &found[0]["method"]), (&json!("sessions_max"), &json!("CONNECT")));
    let explanation = explained(&facility, found[0]["request_id"].as_str().unwrap()).await;
    assert_eq!(failed(&explanation), ["connection_limits"]);
}
