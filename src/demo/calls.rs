//! Calls to the demo's own server, over its sockets, as any client would make them.

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// An administrator who has signed in.
#[derive(Clone)]
pub(super) struct Admin {
    client: Client,
    base: String,
    token: String,
}

/// Signs in with the one-time password, sets `password`, and signs in again.
pub(super) async fn first_sign_in(base: &str, email: &str, one_time: &str, password: &str) -> Result<Admin> {
    let client = Client::new();
    let token = sign_in(&client, base, email, one_time).await?;
    let admin = Admin { client: client.clone(), base: base.to_owned(), token };
    let body = serde_json::json!({"current_password": one_time, "new_password": password});
    admin.call(Method::POST, "/admin/v1/password", Some(&body)).await?;
    let token = sign_in(&client, base, email, password).await?;
    Ok(Admin { token, ..admin })
}

async fn sign_in(client: &Client, base: &str, email: &str, password: &str) -> Result<String> {
    let body = serde_json::json!({"email": email, "password": password});
    let answer = send(client.post(format!("{base}/admin/v1/login")).json(&body)).await?;
    answer["access_token"].as_str().map(str::to_owned).context("the login answered without access_token")
}

impl Admin {
    /// One call; the answer's JSON, or the problem's sentence as an error.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        send(request).await.with_context(|| format!("{method} {path}"))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }
}

/// A token for the integration from the embedded issuer.
pub(super) async fn token(token_url: &str, client_id: &str, client_secret: &str, audience: &str) -> Result<String> {
    let body = serde_json::json!({
        "grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret, "audience": audience,
    });
    let answer = send(Client::new().post(token_url).json(&body)).await.context("the token end point")?;
    answer["access_token"].as_str().map(str::to_owned).context("the token end point answered without access_token")
}

/// Sends a request whose refusal is an error.
pub(super) async fn send(request: RequestBuilder) -> Result<Value> {
    let response = request.send().await.context("no answer")?;
    let status = response.status();
    let text = response.text().await.context("the answer broke off")?;
    let json: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::Null) };
    if !status.is_success() {
        bail!(
            "answered {status}: {} {}",
            json["code"].as_str().unwrap_or(""),
            json["detail"].as_str().unwrap_or(&text)
        );
    }
    Ok(json)
}
