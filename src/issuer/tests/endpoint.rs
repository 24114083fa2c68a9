//! The three paths as a client sees them.

use std::sync::{Arc, LazyLock};

use axum::{Router, body::Body, http::Request, response::Response};
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::issuer::{DirectoryError, LookingUp};

const SECRET: &str = "grq_cs_secret:with+signs%";
const FORM: &str = "application/x-www-form-urlencoded";

/// Knows one client, and breaks on demand.
struct OneClient;

impl ClientDirectory for OneClient {
    fn authenticate<'a>(&'a self, client_id: &'a str, client_secret: &'a str) -> LookingUp<'a> {
        Box::pin(async move {
            if client_id == "broken" {
                return Err(DirectoryError::from("database is locked"));
            }
            let scopes =
                [Scope::parse("sensors:write"), Scope::parse("equipment:read")].into_iter().flatten().collect();
            Ok((client_id == "client-1" && client_secret == SECRET)
                .then(|| Client { client_id: client_id.to_owned(), scopes }))
        })
    }
}

/// One key for all tests of this file.
static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    drop(open(&dir.path().join("keys")));
    dir
});

fn paths(config: &Config) -> Router {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let issuer = Issuer::open(&KEYS.path().join("keys"), config, Some("http://127.0.0.1:9/"), now_us);
    let address_of: AddressOf = Arc::new(|parts| parts.headers.get("x-test-address")?.to_str().ok()?.parse().ok());
    router(Arc::new(issuer.expect("an issuer")), Arc::new(OneClient), address_of)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Self { status: parts.status, headers: parts.headers, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

async fn post(paths: &Router, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let request =
        headers.iter().fold(Request::post(TOKEN_PATH), |request, (name, value)| request.header(*name, *value));
    let response = paths.clone().oneshot(request.body(body.into()).expect("a request")).await.expect("infallible");
    Answer::of(response).await
}

async fn get(paths: &Router, path: &str) -> Answer {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    Answer::of(paths.clone().oneshot(request).await.expect("infallible")).await
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn form(more: &str) -> String {
    format!("grant_type=client_credentials&client_id=client-1&client_secret={}{more}", encoded(SECRET))
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

#[allow(clippy::needless_pass_by_value, reason = "a literal at every call")]
fn json_request(more: Value) -> String {
    let mut body = json!({"grant_type": "client_credentials", "client_id": "client-1", "client_secret": SECRET});
    let more = more.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(more);
    body.to_string()
}

// S182
#[tokio::test]
async fn a_token_is_had_by_json_by_form_and_by_basic() {
    let paths = paths(&config());
    let credentials = basic("client-1", SECRET);
    let answers = [
        post(&paths, &[("content-type", "application/json")], json_request(json!({}))).await,
        post(&paths, &[("content-type", "application/json; charset=utf-8")], json_request(json!({"more": [1]}))).await,
        post(&paths, &[("content-type", FORM)], form("")).await,
        post(
            &paths,
            &[("content-type", FORM)],
            form("&audience=https%3A%2F%2Fsensorgate.test%2Fapi&unknown=1&unknown=2"),
        )
        .await,
        post(&paths, &[("content-type", FORM), ("authorization", &credentials)], "grant_type=client_credentials").await,
        post(
            &paths,
            &[("content-type", FORM), ("authorization", &credentials.replace("Basic", "bASIC"))],
            "grant_type=client_credentials&client_id=client-1",
        )
        .await,
    ];
    for (case, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, StatusCode::OK, "case {case}: {}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("pragma"), "no-cache");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["expires_in"], 3_600);
        assert_eq!(answer.body.get("refresh_token"), None);
        let (_, claims) = parts(answer.body["access_token"].as_str().expect("a token"));
        assert_eq!(claims["azp"], "client-1");
        assert_eq!(claims["scope"], answer.body["scope"]);
    }
}

#[tokio::test]
async fn a_client_can_ask_for_less_and_not_for_more() {
    let paths = paths(&config());
    let ask = async |scope: &str| {
        post(&paths, &[("content-type", "application/json")], json_request(json!({"scope": scope}))).await
    };
    assert_eq!(ask("sensors:write").await.body["scope"], "sensors:write");
    assert_eq!(ask("").await.body["scope"].as_str().expect("a text").split(' ').count(), 2);
    for scope in ["sensors:write webhooks:manage", "no:such", "SENSORS:WRITE"] {
        let answer = ask(scope).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_scope")),
            "{scope}"
        );
    }
}

/// Name, headers, body; status and code.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, String, u16, &'a str);

// RFC 6749 §5.2
#[tokio::test]
async fn every_refusal_has_its_code() {
    let paths = paths(&config());
    let good = basic("client-1", SECRET);
    let (json_type, form_type) = (("content-type", "application/json"), ("content-type", FORM));
    let cases: Vec<Case<'_>> = vec![
        ("no type", vec![], form(""), 400, "invalid_request"),
        ("another type", vec![("content-type", "text/plain")], form(""), 400, "invalid_request"),
        ("not JSON", vec![json_type], form(""), 400, "invalid_request"),
        ("a list", vec![json_type], "[]".into(), 400, "invalid_request"),
        (
            "a secret twice",
            vec![json_type],
            r#"{"client_secret":"a","client_secret":"b"}"#.into(),
            400,
            "invalid_request",
        ),
        ("an id that is a number", vec![json_type], json_request(json!({"client_id": 1})), 400, "invalid_request"),
        ("no grant type", vec![form_type], "client_id=client-1".into(), 400, "invalid_request"),
        ("no id", vec![json_type], json_request(json!({"client_id": null})), 401, "invalid_client"),
        ("no secret", vec![json_type], json_request(json!({"client_secret": null})), 401, "invalid_client"),
        ("a parameter twice", vec![form_type], form("&client_id=client-1"), 400, "invalid_request"),
        ("another audience", vec![form_type], form("&audience=x"), 400, "invalid_request"),
        ("secrets in both places", vec![form_type, ("authorization", &good)], form(""), 400, "invalid_request"),
        (
            "another id in the body",
            vec![form_type, ("authorization", &good)],
            "grant_type=client_credentials&client_id=client-2".into(),
            400,
            "invalid_request",
        ),
        (
            "two headers",
            vec![form_type, ("authorization", &good), ("authorization", &good)],
            "grant_type=client_credentials".into(),
            400,
            "invalid_request",
        ),
        (
            "another grant",
            vec![form_type],
            form("").replace("client_credentials", "password"),
            400,
            "unsupported_grant_type",
        ),
        ("an unknown client", vec![json_type], json_request(json!({"client_id": "nobody"})), 401, "invalid_client"),
        ("a wrong secret", vec![json_type], json_request(json!({"client_secret": "x"})), 401, "invalid_client"),
        ("an empty secret", vec![json_type], json_request(json!({"client_secret": ""})), 401, "invalid_client"),
        (
            "an id without end",
            vec![json_type],
            json_request(json!({"client_id": "c".repeat(257)})),
            401,
            "invalid_client",
        ),
        ("an id with a line end", vec![json_type], json_request(json!({"client_id": "a\nb"})), 401, "invalid_client"),
        ("too large", vec![json_type], json_request(json!({"audience": "a".repeat(5_000)})), 413, "invalid_request"),
        (
            "a broken directory",
            vec![json_type],
            json_request(json!({"client_id": "broken"})),
            503,
            "temporarily_unavailable",
        ),
    ];
    for (name, headers, body, status, code) in cases {
        let answer = post(&paths, &headers, body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (status, &json!(code)), "{name}");
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
        assert_eq!(answer.header("www-authenticate").is_empty(), answer.status != 401, "{name}");
        assert!(answer.body["error_description"].is_string(), "{name}");
        assert!(!answer.body.to_string().contains("database"), "no internal word: {name}");
        assert_eq!(answer.header("retry-after").is_empty(), status != 503, "{name}");
    }
}

#[tokio::test]
async fn who_fails_by_basic_is_answered_in_kind() {
    let paths = paths(&config());
    let wrong = basic("client-1", "wrong");
    let headers = [
        wrong.as_str(),
        "Basic",
        "Basic !!!",
        "Basic bm8gY29sb24=",
        "Basic /////w==",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    ];
    for header in headers {
        let answer =
            post(&paths, &[("content-type", FORM), ("authorization", header)], "grant_type=client_credentials").await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (StatusCode::UNAUTHORIZED, &json!("invalid_client")),
            "{header}"
        );
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"sensorgate\"", "{header}");
    }
}

#[tokio::test]
async fn floods_are_answered_429_by_address_and_by_client() {
    let few = Config { address_requests_per_minute: 3, ..config() };
    let by_address = paths(&few);
    let from = async |address: &str, body: String| {
        post(&by_address, &[("content-type", "application/json"), ("x-test-address", address)], body).await
    };
    for _ in 0..3 {
        let guess = from("203.0.113.1", json_request(json!({"client_secret": "guess"}))).await;
        assert_eq!(guess.status, StatusCode::UNAUTHORIZED);
    }
    let refused = from("203.0.113.1", json_request(json!({}))).await;
    assert_eq!((refused.status, &refused.body["error"]), (StatusCode::TOO_MANY_REQUESTS, &json!("too_many_requests")));
    let wait_s: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait_s));
    assert_eq!(from("203.0.113.2", json_request(json!({}))).await.status, StatusCode::OK, "others go on");

    let by_client = paths(&Config { client_tokens_per_minute: 2, ..config() });
    let ask = async |body| post(&by_client, &[("content-type", "application/json")], body).await.status;
    for _ in 0..5 {
        // Whoever only knows the id cannot use up the client's tokens.
        assert_eq!(ask(json_request(json!({"client_secret": "guess"}))).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ask(json_request(json!({}))).await, StatusCode::OK);
    assert_eq!(ask(json_request(json!({}))).await, StatusCode::OK);
    assert_eq!(ask(json_request(json!({}))).await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn discovery_leads_to_the_keys() {
    let paths = paths(&config());
    let described = get(&paths, DISCOVERY_PATH).await;
    assert_eq!(described.header("content-type"), "application/json");
    assert_eq!(described.body["issuer"], "https://sensorgate.test/");
    assert_eq!(described.body["token_endpoint"], "http://127.0.0.1:9/oauth/token");
    assert_eq!(described.body["jwks_uri"], "http://127.0.0.1:9/.well-known/jwks.json");
    assert_eq!(described.body["grant_types_supported"], json!(["client_credentials"]));
    let keys = get(&paths, JWKS_PATH).await;
    assert_eq!(keys.header("cache-control"), "public, max-age=300");
    assert_eq!(keys.header("content-type"), "application/json");
    assert_eq!(keys.body["keys"][0]["kty"], "RSA");
    assert_eq!(get(&paths, TOKEN_PATH).await.status, StatusCode::METHOD_NOT_ALLOWED);
}
