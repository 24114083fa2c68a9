//! Two credentials on every request.

use reqwest::Method;
use serde_json::json;

use crate::support::{Facility, batch, facility::send, now_s};

// S160–S164, S166, S168: failing any one layer blocks the call, and the answer tells no more than it must.
#[tokio::test]
async fn each_single_fault_is_401() {
    let facility = Facility::with(&[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "10000")]).await;
    let sender = facility.active(&["sensors:write"]).await;
    let other = facility.active(&["sensors:write"]).await;
    let url = format!("{}/v1/sensors/readings", facility.server.http_url);
    let (key, token) = (sender.api_key.as_str(), format!("Bearer {}", sender.token));
    let tampered = format!("{}x", token);
    let unknown = "grq_live_0000000000000000000000000000000000000000000000000";
    type Headers<'a> = Vec<(&'a str, &'a str)>;
    let cases: Vec<(&str, Headers<'_>, &str)> = vec![
        ("neither", vec![], "missing_credential"),
        ("key alone", vec![("x-api-key", key)], "missing_credential"),
        ("token alone", vec![("authorization", &token)], "missing_credential"),
        ("basic", vec![("x-api-key", key), ("authorization", "Basic abc")], "missing_credential"),
        ("two keys", vec![("x-api-key", key), ("x-api-key", key), ("authorization", &token)], "missing_credential"),
        ("tampered token", vec![("x-api-key", key), ("authorization", &tampered)], "token_invalid"),
        ("unknown key", vec![("x-api-key", unknown), ("authorization", &token)], "unauthorized"),
        ("other's key", vec![("x-api-key", &other.api_key), ("authorization", &token)], "unauthorized"),
    ];
    for (name, headers, code) in cases {
        let request = headers.iter().fold(facility.client.post(&url), |r, (n, v)| r.header(*n, *v));
        let answer = send(request.json(&batch("s", 1, now_s()))).await;
        assert_eq!((answer.status, answer.code()), (401, code), "{name}: {}", answer.text);
        assert!(answer.header("www-authenticate").is_some_and(|v| v.starts_with("Bearer")), "{name}");
        for header in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id"] {
            assert!(answer.header(header).is_some(), "{name}: {header}");
        }
        assert!(!answer.text.contains(key) && !answer.text.contains("grq_live_0"), "{name}: {}", answer.text);
    }
    let log = facility.server.log();
    for cause in ["credential_mismatch", "missing_credential"] {
        assert!(log.contains(cause), "the log names {cause}");
    }
    for secret in [&sender.api_key, &sender.token, &sender.client_secret, &other.api_key] {
        assert!(!log.contains(secret.as_str()), "no credential in the log");
    }
}

// S164: a key anywhere else than in its header is no key.
#[tokio::test]
async fn credentials_in_the_query_or_a_cookie_are_none() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    let base = format!("{}/v1/sensors/readings", facility.server.http_url);
    let url = format!("{base}?api_key={}&access_token={}", sender.api_key, sender.token);
    let cookie = format!("x-api-key={}; authorization={}", sender.api_key, sender.token);
    send(facility.client.post(url).header("cookie", cookie).json(&json!([]))).await.expect(401);
}

// S060, S061, S270: without the scope 403, and nothing is stored; S095: the next call sees the new scopes.
#[tokio::test]
async fn the_scope_is_needed_and_a_change_holds_from_the_next_call() {
    let facility = Facility::new().await;
    let sender = facility.active(&["inventory:read"]).await;
    facility.sensor(&sender, "s").await;
    let answer = facility.ingest(&sender, &batch("s", 3, now_s())).await.expect(403);
    assert_eq!(answer.code(), "insufficient_scope");
    assert!(answer.json["detail"].as_str().unwrap().contains("sensors:write"));
    let path = format!("/admin/v1/integrations/{}", sender.id);
    for round in 0..5 {
        let grant = json!({"scopes": ["sensors:write"]});
        facility.admin(&facility.alice, Method::PATCH, &path, Some(grant)).await.expect(200);
        facility.ingest(&sender, &batch("s", 3, now_s() - round)).await.expect(200);
        let none = json!({"scopes": []});
        facility.admin(&facility.alice, Method::PATCH, &path, Some(none)).await.expect(200);
        facility.ingest(&sender, &batch("s", 3, now_s())).await.expect(403);
    }
}

// api.md §3: unknown path and method: 401 without credentials, 404 and 405 with them.
#[tokio::test]
async fn unknown_paths_and_methods_are_judged_after_the_credentials() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    let url = |path: &str| format!("{}{path}", facility.server.http_url);
    send(facility.client.get(url("/v1/nothing"))).await.expect(401);
    send(facility.client.get(url("/v1/sensors/readings"))).await.expect(401);
    let unknown = send(facility.request(&sender, Method::GET, "/v1/nothing")).await.expect(404);
    assert_eq!(unknown.code(), "not_found");
    let method = send(facility.request(&sender, Method::DELETE, "/v1/sensors/readings")).await.expect(405);
    assert_eq!(method.header("allow"), Some("POST"));
    assert!(method.header("x-ratelimit-remaining").is_some());
}
