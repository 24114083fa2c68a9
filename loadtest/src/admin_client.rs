//! The admin API as a caller sees it: JSON over reqwest, refusals for now are waited out, problems become errors.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An administrator who is signed in.
#[derive(Clone)]
pub struct AdminClient {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl std::fmt::Debug for AdminClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdminClient({})", self.base)
    }
}

/// A client without proxies and without a pool limit.
///
/// # Errors
///
/// When TLS cannot be set up.
pub fn http_client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?)
}

impl AdminClient {
    /// Signs in.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn login(http: &reqwest::Client, base: &str, email: &str, password: &str) -> Result<Self> {
        let body = serde_json::json!({ "email": email, "password": password });
        let anonymous = Self { http: http.clone(), base: base.trim_end_matches('/').to_owned(), token: String::new() };
        let answer: Value = anonymous.post("/admin/v1/login", &body).await.context("sign-in failed")?;
        let token = answer["access_token"].as_str().context("the sign-in has no access_token")?.to_owned();
        Ok(Self { token, ..anonymous })
    }

    /// GET, as JSON.
    ///
    /// # Errors
    ///
    /// When the server refuses or answers in another form.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let bytes = self.get_bytes(path, query).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("GET {path} answered in another form"))
    }

    /// GET, as it is.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn get_bytes(&self, path: &str, query: &[(&str, &str)]) -> Result<bytes::Bytes> {
        self.call(Method::GET, path, query, None).await
    }

    /// POST, as JSON.
    ///
    /// # Errors
    ///
    /// When the server refuses or answers in another form.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let bytes = self.call(Method::POST, path, &[], Some(body)).await?;
        // An answer without a body is null.
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes).with_context(|| format!("POST {path} answered in another form"))
    }

    /// PATCH, as JSON.
    ///
    /// # Errors
    ///
    /// When the server refuses or answers in another form.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let bytes = self.call(Method::PATCH, path, &[], Some(body)).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("PATCH {path} answered in another form"))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<bytes::Bytes> {
        let pairs: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{}", self.base, pairs.join("&"));
        let what = format!("{method} {path}");
        send(&what, || {
            let mut request = self.http.request(method.clone(), &url);
            if !self.token.is_empty() {
                request = request.bearer_auth(&self.token);
            }
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        })
        .await
    }
}

/// Sends what `request` makes, waits out 429 and 503, and gives the body of a 2xx.
///
/// # Errors
///
/// With status and problem of anything else.
pub async fn send(what: &str, request: impl Fn() -> reqwest::RequestBuilder) -> Result<bytes::Bytes> {
    for _ in 0..100 {
        let response = request().send().await.with_context(|| format!("{what} got no answer"))?;
        let status = response.status();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(1).clamp(1, 60))).await;
            continue;
        }
        let body = response.bytes().await.with_context(|| format!("{what}: the answer was cut"))?;
        if status.is_success() {
            return Ok(body);
        }
        bail!("{what}: {status} {}", String::from_utf8_lossy(&body[..body.len().min(600)]));
    }
    bail!("{what}: refused for now, again and again")
}

/// Percent-encodes a query value.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
