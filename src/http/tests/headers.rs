//! The headers that every answer has.

use super::*;

struct Case {
    name: &'static str,
    key: Option<&'static str>,
    path: &'static str,
    method: reqwest::Method,
    content_type: &'static str,
    body: &'static str,
    status: u16,
    code: Option<&'static str>,
    rate: RateState,
}

const POST: Case = Case {
    name: "ok",
    key: Some("good"),
    path: "/v1/sensors/readings",
    method: reqwest::Method::POST,
    content_type: "application/json",
    body: "good",
    status: 200,
    code: None,
    rate: MEMBER,
};

fn cases() -> Vec<Case> {
    let get = reqwest::Method::GET;
    let refused = |name, body, status, code| Case { name, body, status, code: Some(code), ..POST };
    vec![
        POST,
        Case { name: "partial", body: "partial", status: 207, ..POST },
        Case { name: "all rejected", body: "bad", status: 422, ..POST },
        Case { name: "no key", key: None, status: 401, code: Some("missing_credential"), rate: STRANGER, ..POST },
        Case {
            name: "expired",
            key: Some("expired"),
            status: 401,
            code: Some("token_expired"),
            rate: STRANGER,
            ..POST
        },
        Case { name: "unknown", key: Some("unknown"), status: 401, code: Some("unauthorized"), rate: STRANGER, ..POST },
        Case { name: "ip", key: Some("elsewhere"), status: 403, code: Some("ip_not_allowed"), ..POST },
        Case {
            name: "address",
            key: Some("failing"),
            status: 429,
            code: Some("too_many_failures"),
            rate: STRANGER,
            ..POST
        },
        Case { name: "no path", path: "/v1/nothing", status: 404, code: Some("not_found"), ..POST },
        Case {
            name: "no path, no key",
            key: None,
            path: "/x",
            status: 401,
            code: Some("missing_credential"),
            rate: STRANGER,
            ..POST
        },
        Case { name: "no method", method: get.clone(), status: 405, code: Some("method_not_allowed"), ..POST },
        Case {
            name: "no method, no key",
            key: None,
            method: get.clone(),
            status: 401,
            code: Some("missing_credential"),
            rate: STRANGER,
            ..POST
        },
        Case { name: "page's method", path: "/problems", status: 405, code: Some("method_not_allowed"), ..POST },
        Case { name: "page", key: None, path: "/problems", method: get.clone(), rate: STRANGER, ..POST },
        Case { name: "openapi", key: None, path: "/openapi.json", method: get, rate: STRANGER, ..POST },
        Case { name: "type", content_type: "text/plain", status: 415, code: Some("unsupported_media_type"), ..POST },
        Case {
            name: "query",
            path: "/v1/sensors/readings?validate_only=maybe",
            status: 400,
            code: Some("invalid_parameter"),
            ..POST
        },
        Case {
            name: "auth panics",
            key: Some("panic_in_auth"),
            status: 500,
            code: Some("internal"),
            rate: STRANGER,
            ..POST
        },
        refused("malformed", "refuse malformed_json", 400, "malformed_json"),
        refused("too many", "refuse batch_too_large", 413, "batch_too_large"),
        refused("spool", "refuse spool_full", 503, "spool_full"),
        refused("ingest panics", "panic", 500, "internal"),
        Case { rate: STRANGER, ..refused("cut in flight", "refuse unauthorized", 401, "unauthorized") },
    ]
}

// S218, S295: request id and all three rate headers on every status; problem bodies with the same id; 401 shows the
// strangers' figures; Retry-After exactly on 429 and 503, WWW-Authenticate exactly on 401.
#[tokio::test]
async fn every_answer_has_its_headers() {
    let edge = TestEdge::start().await;
    for case in cases() {
        let mut request = edge
            .client
            .request(case.method.clone(), edge.url(case.path))
            .header("content-type", case.content_type)
            .body(case.body);
        if let Some(key) = case.key {
            request = request.header("x-api-key", key).header("authorization", "Bearer secret-token");
        }
        let response = request.send().await.unwrap();
        let name = case.name;
        assert_eq!(response.status().as_u16(), case.status, "{name}");
        let header = |header: &str| response.headers().get(header).map(|value| value.to_str().unwrap().to_owned());
        let id = header("x-request-id").unwrap();
        assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7, "{name}");
        let figures = ["limit", "remaining", "reset"].map(|figure| header(&format!("x-ratelimit-{figure}")).unwrap());
        let RateState { limit, remaining, reset_s } = case.rate;
        assert_eq!(figures, [limit.to_string(), remaining.to_string(), reset_s.to_string()], "{name}");
        assert_eq!(header("retry-after").is_some(), matches!(case.status, 429 | 503), "{name}");
        assert_eq!(header("www-authenticate").is_some(), case.status == 401, "{name}");
        let record = edge.last_record();
        assert_eq!((record.request_id.to_string(), record.status), (id.clone(), case.status), "{name}");
        let Some(code) = case.code else { continue };
        assert_eq!(header("content-type").unwrap(), "application/problem+json", "{name}");
        let text = response.text().await.unwrap();
        assert!(!text.contains("secret-token"), "{name}: {text}");
        let body: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["code"], code, "{name}");
        assert_eq!(body["request_id"], id, "{name}");
        assert_eq!(body["status"], case.status, "{name}");
        assert_eq!(body["type"], format!("/problems/{code}"), "{name}");
    }
}

// S218: over HTTP/2 as well, where each stream is a task of its own.
#[tokio::test]
async fn http2_answers_have_them_too() {
    let edge = TestEdge::start().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for (body, status) in [("good", 200), ("panic", 500), ("refuse overloaded", 503)] {
        let response = client
            .post(edge.url("/v1/sensors/readings"))
            .header("x-api-key", "good")
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        for name in ["x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
            assert!(response.headers().contains_key(name), "{status} {name}");
        }
    }
}

#[tokio::test]
async fn a_batchs_answer_counts_its_readings() {
    let edge = TestEdge::start().await;
    for (body, accepted, rejected) in [("good", "2", "0"), ("partial", "1", "1"), ("bad", "0", "2")] {
        let response = edge.post(body).send().await.unwrap();
        assert_eq!(response.headers()["x-readings-accepted"], accepted);
        assert_eq!(response.headers()["x-readings-rejected"], rejected);
        assert_eq!(response.headers()["content-type"], "application/json");
        let id = response.headers()["x-request-id"].clone();
        let json = json(response).await;
        assert_eq!(json["request_id"], id.to_str().unwrap());
        assert_eq!(json["errors"].as_array().unwrap().len().to_string(), rejected);
        let readings = edge.last_record().readings.unwrap();
        assert_eq!(
            (readings.accepted.to_string(), readings.rejected.to_string()),
            (accepted.to_owned(), rejected.to_owned())
        );
    }
}

// S250: the address of the record is the peer's, whatever it claims, unless the peer is a proxy we trust.
#[tokio::test]
async fn a_forwarded_address_is_believed_from_trusted_proxies_only() {
    for (trusted, expected) in [(&[][..], "127.0.0.1"), (&["127.0.0.0/8"], "198.51.100.7")] {
        let edge = TestEdge::with(config(), Surface::default(), trusted).await;
        edge.post("good").header("x-forwarded-for", "10.9.9.9, 198.51.100.7").send().await.unwrap();
        assert_eq!(edge.last_record().addr.to_string(), expected);
    }
}

// S295: the caller's own request id is kept, and ours is answered.
#[tokio::test]
async fn a_callers_own_request_id_is_kept_beside_ours() {
    let edge = TestEdge::start().await;
    let response = edge.post("good").header("x-request-id", "job-17").send().await.unwrap();
    assert_ne!(response.headers()["x-request-id"], "job-17");
    assert_eq!(edge.last_record().client_request_id.as_deref(), Some("job-17"));
    edge.post("good").header("x-request-id", "no good").send().await.unwrap();
    assert_eq!(edge.last_record().client_request_id, None);
}

// api.md §3: the exact cause stands in the record and not in the answer.
#[tokio::test]
async fn the_exact_cause_is_for_the_record_only() {
    let edge = TestEdge::start().await;
    let request = edge.client.post(edge.url("/v1/sensors/readings")).header("x-api-key", "unknown");
    let response = request.send().await.unwrap();
    assert!(!response.text().await.unwrap().contains("key_unknown"));
    assert_eq!(edge.last_record().cause, Some("key_unknown"));
}
