use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, response::Redirect, routing::get};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::{auth::jwt::tests::config, telemetry::task};

/// Serves `router` on this machine, and tells its address with a slash at the end.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}/", listener.local_addr().expect("bound"));
    task::spawn("test_issuer", async move { axum::serve(listener, router).await.expect("served") });
    base
}

fn remote(issuer: &str, jwks_url: Option<&str>) -> Remote {
    let keys = jwks_config();
    Remote::new(http_client(&keys).expect("a client"), issuer, jwks_url).expect("a source")
}

fn jwks_config() -> Config {
    Config { fetch_timeout_ms: 300, ..config().keys }
}

#[test]
fn keys_come_over_https_or_from_this_machine() {
    let good = [
        "https://tenant.auth0.com/",
        "https://tenant.auth0.com:8443/a/b",
        "http://localhost:8080/",
        "http://127.0.0.1/jwks",
        "http://127.9.9.9/jwks",
        "http://[::1]:1/jwks",
        "http://[::ffff:127.0.0.1]/jwks",
    ];
    for url in good {
        assert!(safe_url(url).is_ok(), "{url}");
    }
    let bad = [
        "",
        "tenant.auth0.com",
        "http://tenant.auth0.com/",
        "http://127.0.0.1.evil.test/",
        "http://localhost.evil.test/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://user@tenant.auth0.com/",
        "https://user:password@tenant.auth0.com/",
        "https://tenant.auth0.com/#fragment",
    ];
    for url in bad {
        assert!(safe_url(url).is_err(), "{url}");
    }
}

#[tokio::test]
async fn discovery_leads_to_the_keys_of_the_very_issuer() {
    #[derive(Clone)]
    struct Told(Arc<parking_lot::Mutex<(String, String)>>);
    let told = Told(Arc::default());
    let router = Router::new()
        .route(
            "/.well-known/openid-configuration",
            get(|State(told): State<Told>| async move {
                let (issuer, jwks_uri) = told.0.lock().clone();
                Json(json!({"issuer": issuer, "jwks_uri": jwks_uri}))
            }),
        )
        .route("/keys", get(|| async { "the keys" }))
        .with_state(told.clone());
    let base = serve(router).await;
    let fetch = async |issuer: &str, jwks_uri: &str| {
        *told.0.lock() = (issuer.to_owned(), jwks_uri.to_owned());
        remote(&base, None).fetch().await
    };
    assert_eq!(fetch(&base, &format!("{base}keys")).await.expect("the keys"), "the keys");
    let other = fetch("https://evil.test/", &format!("{base}keys")).await;
    assert!(matches!(other, Err(Error::DiscoveryIssuer { found }) if found == "https://evil.test/"));
    let without_slash = fetch(base.trim_end_matches('/'), &format!("{base}keys")).await;
    assert!(matches!(without_slash, Err(Error::DiscoveryIssuer { .. })));
    let plain = fetch(&base, "http://evil.test/keys").await;
    assert!(matches!(plain, Err(Error::UnsafeUrl { .. })));
}

#[tokio::test]
async fn redirects_errors_and_endless_answers_are_not_followed() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = hits.clone();
    let router = Router::new()
        .route("/moved", get(|| async { Redirect::temporary("/target") }))
        .route(
            "/target",
            get(move || async move {
                counted.fetch_add(1, Ordering::SeqCst);
                "the keys"
            }),
        )
        .route("/broken", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "{}") }))
        .route("/large", get(|| async { " ".repeat(BODY_BYTES_MAX + 1) }))
        .route("/full", get(|| async { " ".repeat(BODY_BYTES_MAX) }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(60)).await }));
    let base = serve(router).await;
    let fetch = async |path: &str| remote(&base, Some(&format!("{base}{path}"))).fetch().await;
    assert!(matches!(fetch("moved").await, Err(Error::Status { status: 307 })));
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    assert!(matches!(fetch("broken").await, Err(Error::Status { status: 500 })));
    assert!(matches!(fetch("missing").await, Err(Error::Status { status: 404 })));
    assert!(matches!(fetch("large").await, Err(Error::TooLarge)));
    assert_eq!(fetch("full").await.expect("just fits").len(), BODY_BYTES_MAX);
    assert!(matches!(fetch("slow").await, Err(Error::Fetch { .. })));
    let nobody = remote(&base, Some("http://127.0.0.1:1/")).fetch().await;
    assert!(matches!(nobody, Err(Error::Fetch { .. })));
}
