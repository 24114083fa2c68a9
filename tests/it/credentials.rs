//! Two credentials on every request: each layer by itself, every route, every connection.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Answer, Facility, Integration, batch, facility::send, now_s};

const READINGS: &str = "/v1/sensors/readings";
const PATIENT: &[(&str, &str)] = &[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "100000")];
/// As long as a key and of its form, but nobody's.
const NOBODYS: &str = "grq_live_0000000000000000000000000000000000000000000000000";

/// An active integration that may send, with the sensor `s` and an allowlist that it is on.
async fn guarded(facility: &Facility) -> Integration {
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    change(facility, &sender, Method::PUT, "/ip-allowlist", json!({"enabled": true, "entries": ["127.0.0.0/8"]})).await;
    sender
}

async fn change(facility: &Facility, integration: &Integration, method: Method, path: &str, body: Value) -> Answer {
    let path = format!("/admin/v1/integrations/{}{path}", integration.id);
    facility.admin(&facility.alice, method, &path, Some(body)).await.expect(200)
}

// S174: the layers are independent: with all others in order, each one of the seven blocks the call by itself, and
// nothing of it is stored.
#[tokio::test]
async fn each_of_the_seven_layers_blocks_by_itself() {
    let facility = Facility::with(PATIENT).await;
    let other = facility.active(&["sensors:write"]).await;
    for (layer, status, code) in [
        ("key", 401, "unauthorized"),
        ("token", 401, "token_invalid"),
        ("binding", 401, "unauthorized"),
        ("status", 401, "unauthorized"),
        ("address", 403, "ip_not_allowed"),
        ("rate", 429, "rate_limited"),
        ("scope", 403, "insufficient_scope"),
    ] {
        let mut sender = guarded(&facility).await;
        let good = sender.clone();
        facility.ingest(&sender, &batch("s", 1, now_s() - 10)).await.expect(200);
        match layer {
            "key" => sender.api_key = NOBODYS.to_owned(),
            "token" => sender.token.insert(sender.token.len() - 10, 'x'),
            "binding" => sender.token.clone_from(&other.token),
            "status" => {
                change(&facility, &good, Method::POST, "/suspend", json!({"reason": "a drill"})).await;
            }
            "address" => {
                let elsewhere = json!({"enabled": true, "entries": ["203.0.113.0/24"]});
                change(&facility, &good, Method::PUT, "/ip-allowlist", elsewhere).await;
            }
            "rate" => facility.limit(&good, 1).await,
            _ => {
                change(&facility, &good, Method::PATCH, "", json!({"scopes": ["inventory:read"]})).await;
            }
        }
        let refused = facility.ingest(&sender, &batch("s", 3, now_s())).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{layer}: {}", refused.text);
        let stored = facility.stored(&good, "s", "temperature", 1).await;
        assert_eq!(stored.len(), 1, "{layer}: nothing but what passed before");
        // The organisation has 20 places.
        change(&facility, &good, Method::POST, "/revoke", json!({})).await;
    }
}

/// The calls of the document at `url`: method, path with its parameters filled in, whether it needs credentials.
async fn calls(client: &Client, url: &str) -> Vec<(Method, String, bool)> {
    let document = send(client.get(format!("{url}/openapi.json"))).await.expect(200).json;
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{code}", "not_found").replace("{id}", "01976f00-0000-7000-8000-000000000000");
        let path = path.replace(['{', '}'], "");
        for (method, call) in item.as_object().expect("calls") {
            let is_open = call["security"].as_array().is_none_or(|ways| ways.contains(&json!({})));
            calls.push((method.to_uppercase().parse().expect("a method"), path.clone(), !is_open));
        }
    }
    calls
}

// S159, S173, S175: every call of the document but the documents and the token issuer asks for both credentials, in
// every group of end points: either one alone opens none, and with both the scope decides, by name.
#[tokio::test]
async fn every_call_asks_for_both_credentials() {
    let facility = Facility::with(PATIENT).await;
    let (url, client) = (&facility.server.http_url, &facility.client);
    let nobody = facility.active(&["inventory:read"]).await;
    facility.limit(&nobody, 10_000).await;
    let mut open = Vec::new();
    let mut groups = std::collections::BTreeSet::new();
    for (method, path, is_guarded) in calls(client, url).await {
        if !is_guarded {
            open.push(path);
            continue;
        }
        groups.insert(path.split('/').nth(2).expect("a group").to_owned());
        let call = || client.request(method.clone(), format!("{url}{path}")).json(&json!({}));
        let (key, token) = (&nobody.api_key, &nobody.token);
        for (what, request) in [
            ("neither", call()),
            ("the key alone", call().header("X-API-Key", key)),
            ("the token alone", call().bearer_auth(token)),
            ("a key of nobody's", call().bearer_auth(token).header("X-API-Key", NOBODYS)),
        ] {
            assert_eq!(send(request).await.status, 401, "{method} {path} with {what}");
        }
        let both = send(call().bearer_auth(token).header("X-API-Key", key)).await;
        if path != "/v1/limits" {
            // Its limits are for every integration to know.
            assert_eq!((both.status, both.code()), (403, "insufficient_scope"), "{method} {path}: {}", both.text);
            assert!(both.json["detail"].as_str().is_some_and(|detail| detail.contains(':')), "{}", both.text);
        }
    }
    open.retain(|path| !path.starts_with("/problems"));
    let expected = [
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
        "/asyncapi.json",
        "/oauth/token",
        "/openapi.json",
    ];
    assert_eq!(open, expected, "nothing else is outside");
    assert!(groups.contains("sensors") && groups.contains("equipment") && groups.contains("taxonomies"), "{groups:?}");
    // What is not in the document is not there: 401 to strangers, 404 to others.
    for path in ["/v1", "/v1/readings", "/v1/orders", "/v1/crm", "/admin/v1/me", "/metrics", "/livez", "/"] {
        assert_eq!(send(client.get(format!("{url}{path}"))).await.status, 401, "{path}");
        assert_eq!(send(facility.request(&nobody, Method::GET, path)).await.status, 404, "{path}");
    }
}

// S004: credentials of an integration open no call of the administrators' API, whatever its scopes.
#[tokio::test]
async fn integrations_are_never_administrators() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write", "equipment:write", "webhooks:manage"]).await;
    let url = &facility.server.admin_url;
    for (method, path, is_guarded) in calls(&facility.client, url).await {
        let call = || facility.client.request(method.clone(), format!("{url}{path}")).json(&json!({}));
        for token in [&sender.token, &sender.api_key] {
            let request = call().bearer_auth(token).header("X-API-Key", &sender.api_key);
            let answer = send(request).await;
            assert!(!is_guarded || answer.status == 401, "{method} {path}: {}", answer.text);
        }
    }
}

/// One exchange over an open HTTP/1.1 connection: status and the whole answer.
async fn exchange(stream: &mut TcpStream, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.expect("an answer");
        text.extend_from_slice(&chunk[..count]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        let whole = so_far.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            body.len() >= length.parse().expect("a number")
        });
        if whole {
            return (so_far[9..12].parse().expect("a status"), so_far);
        }
        assert_ne!(count, 0, "the answer ends early: {so_far}");
    }
}

fn request_text(body: &str, headers: &str) -> String {
    let length = body.len();
    format!(
        "POST {READINGS} HTTP/1.1\r\nHost: sensorgate\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         {headers}\r\n{body}"
    )
}

async fn connect(facility: &Facility) -> TcpStream {
    let address = facility.server.http_url.strip_prefix("http://").expect("plain HTTP");
    TcpStream::connect(address.trim_end_matches('/')).await.expect("the port is open")
}

// S165: a connection that was let in once is not let in for ever: each request over it shows both again.
#[tokio::test]
async fn a_connection_that_is_kept_open_is_nobodys() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let body = batch("s", 1, now_s()).to_string();
    let (key, token) =
        (format!("X-API-Key: {}\r\n", sender.api_key), format!("Authorization: Bearer {}\r\n", sender.token));
    let mut kept = connect(&facility).await;
    for (headers, status) in [
        (format!("{key}{token}"), 200),
        (String::new(), 401),
        (key.clone(), 401),
        (token.clone(), 401),
        (format!("{token}{key}"), 200),
    ] {
        let (answered, text) = exchange(&mut kept, &request_text(&body, &headers)).await;
        assert_eq!(answered, status, "{text}");
    }
    let http2 = Client::builder().http2_prior_knowledge().build().expect("a client");
    for (with_key, with_token, status) in
        [(true, true, 200), (false, false, 401), (true, false, 401), (true, true, 200)]
    {
        let mut request = http2.post(format!("{}{READINGS}", facility.server.http_url)).body(body.clone());
        request = request.header("Content-Type", "application/json");
        if with_key {
            request = request.header("X-API-Key", &sender.api_key);
        }
        if with_token {
            request = request.bearer_auth(&sender.token);
        }
        send(request).await.expect(status);
    }
}

// S171: who is not let in is told so before the body is read, or even sent.
#[tokio::test]
async fn the_refusal_comes_before_the_body() {
    let facility = Facility::new().await;
    let mut stream = connect(&facility).await;
    let head = format!(
        "POST {READINGS} HTTP/1.1\r\nHost: sensorgate\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\
         X-API-Key: {NOBODYS}\r\nAuthorization: Bearer a.b.c\r\n\r\n"
    );
    let (status, text) = exchange(&mut stream, &head).await;
    assert_eq!(status, 401, "{text}");
    assert!(text.contains("token_invalid"), "{text}");
}

// S172: whether a key exists is not to be told from the answer: unknown, near a known one, superseded, of a suspended
// integration, of another client.
#[tokio::test]
async fn all_keys_that_do_not_open_are_alike() {
    let facility = Facility::with(PATIENT).await;
    let sender = facility.active(&["sensors:write"]).await;
    let suspended = facility.active(&["sensors:write"]).await;
    let other = facility.active(&["sensors:write"]).await;
    let near = format!("{}{}", &sender.api_key[..16], &NOBODYS[16..]);
    let fresh = change(&facility, &sender, Method::POST, "/api-key", json!({"cause": "drill"})).await;
    change(&facility, &suspended, Method::POST, "/suspend", json!({"reason": "a drill"})).await;
    let mut answers = Vec::new();
    for (what, key, token) in [
        ("unknown", NOBODYS, &sender.token),
        ("near", &near, &sender.token),
        ("superseded", &sender.api_key, &sender.token),
        ("suspended", &suspended.api_key, &suspended.token),
        ("mismatched", fresh.json["api_key"].as_str().expect("a key"), &other.token),
    ] {
        let pair = Integration { api_key: key.to_owned(), token: token.clone(), ..sender.clone() };
        let mut answer = facility.ingest(&pair, &batch("s", 1, now_s())).await.expect(401);
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        let (limit, challenge) = (answer.header("x-ratelimit-limit"), answer.header("www-authenticate"));
        let shape = format!("{names:?} {limit:?} {challenge:?}");
        answer.json.as_object_mut().expect("a problem").remove("request_id");
        answers.push((what, answer.json, shape));
    }
    for (what, body, shape) in &answers[1..] {
        assert_eq!((body, shape), (&answers[0].1, &answers[0].2), "{what}");
    }
}

// S163, S164, S166: the scheme's and the headers' names in any case; another scheme, another place, an empty, doubled or
// endless value never; and no value stands in the log.
#[tokio::test]
async fn the_form_of_the_two_headers() {
    let facility = Facility::with(PATIENT).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let (key, token) = (sender.api_key.as_str(), sender.token.as_str());
    let endless = "a".repeat(9_000);
    let body = batch("s", 1, now_s()).to_string();
    for (what, headers, status) in [
        ("lower case", format!("x-api-key: {key}\r\nauthorization: bearer {token}\r\n"), 200),
        ("upper case", format!("X-API-KEY: {key}\r\nAUTHORIZATION: BEARER {token}\r\n"), 200),
        ("basic", format!("X-API-Key: {key}\r\nAuthorization: Basic {token}\r\n"), 401),
        ("no scheme", format!("X-API-Key: {key}\r\nAuthorization: {token}\r\n"), 401),
        ("key as token", format!("X-API-Key: {key}\r\nAuthorization: Bearer {key}\r\n"), 401),
        ("key in Authorization", format!("Authorization: Bearer {token}, {key}\r\n"), 401),
        ("empty key", format!("X-API-Key: \r\nAuthorization: Bearer {token}\r\n"), 401),
        ("empty token", format!("X-API-Key: {key}\r\nAuthorization: Bearer \r\n"), 401),
        ("two keys", format!("X-API-Key: {key}\r\nX-API-Key: {key}\r\nAuthorization: Bearer {token}\r\n"), 401),
        (
            "two tokens",
            format!("X-API-Key: {key}\r\nAuthorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
            401,
        ),
        ("endless key", format!("X-API-Key: {endless}\r\nAuthorization: Bearer {token}\r\n"), 401),
        ("endless token", format!("X-API-Key: {key}\r\nAuthorization: Bearer {endless}\r\n"), 401),
    ] {
        let (answered, text) = exchange(&mut connect(&facility).await, &request_text(&body, &headers)).await;
        assert_eq!(answered, status, "{what}: {text}");
        assert!(!text.contains(key) && !text.contains("panicked"), "{what}: {text}");
    }
    let log = facility.server.log();
    assert!(![key, token, &endless[..100]].iter().any(|secret| log.contains(secret)), "no value in the log");
}

// S167: window, scopes and equipment are those of the integration that the key names.
#[tokio::test]
async fn the_key_names_the_integration() {
    let facility = Facility::new().await;
    let (one, two) = (facility.busy_sender().await, facility.busy_sender().await);
    facility.limit(&two, 77).await;
    facility.ingest(&one, &batch("s", 2, now_s())).await.expect(200);
    let answer = facility.ingest(&two, &batch("s", 3, now_s())).await.expect(200);
    assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), (Some("77"), Some("76")));
    assert_eq!(facility.stored(&one, "s", "temperature", 2).await.len(), 2);
    assert_eq!(facility.stored(&two, "s", "temperature", 3).await.len(), 3);
}
