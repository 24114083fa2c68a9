//! A facility: one organisation with two administrators, integrations, equipment, and the calls of each.

use reqwest::{Client, Method, header::HeaderMap};
use serde_json::{Value, json};

use super::Server;

/// A server with one organisation, whose two administrators have signed in.
pub struct Facility {
    pub server: Server,
    pub client: Client,
    pub alice: String,
    pub bob: String,
    pub passwords: [String; 2],
}

/// An Active integration with everything it needs to call.
#[derive(Clone, Debug)]
pub struct Integration {
    pub id: String,
    pub client_id: String,
    pub client_secret: String,
    pub api_key: String,
    pub token: String,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub json: Value,
    pub text: String,
}

impl Answer {
    /// The value of a header, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The same answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The problem's code.
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or("")
    }
}

/// Sends a request that is expected to be answered, whatever the status.
pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a whole answer");
    Answer { status, headers, json: serde_json::from_str(&text).unwrap_or(Value::Null), text }
}

impl Facility {
    /// A fresh facility with the default configuration.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A fresh facility whose configuration differs in these variables.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let mut server = Server::prepare(variables);
        let admins = server.bootstrap("Greenhouse", ["alice@example.org", "bob@example.org"]);
        server.launch("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
        // No connection is kept: a server that was killed leaves dead ones behind, and a POST is not sent twice by itself.
        let client = Client::builder().pool_max_idle_per_host(0).build().expect("a client");
        let passwords = ["correct horse battery alice".to_owned(), "correct horse battery bob".to_owned()];
        let mut tokens = Vec::new();
        for ((email, one_time), password) in admins.iter().zip(&passwords) {
            tokens.push(first_sign_in(&client, &server.admin_url, email, one_time, password).await);
        }
        let [alice, bob] = tokens.try_into().expect("two administrators");
        Self { server, client, alice, bob, passwords }
    }

    /// A call to the admin API with this administrator's token.
    pub async fn admin(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.server.admin_url)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        send(request).await
    }

    /// GET as Alice.
    pub async fn get(&self, path: &str) -> Answer {
        self.admin(&self.alice, Method::GET, path, None).await
    }

    /// POST as Alice.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.admin(&self.alice, Method::POST, path, Some(body)).await
    }

    /// POST as Bob.
    pub async fn post_as_bob(&self, path: &str, body: Value) -> Answer {
        self.admin(&self.bob, Method::POST, path, Some(body)).await
    }

    /// An integration in status Requested, asked for by Alice; its id.
    pub async fn requested(&self, scopes: &[&str]) -> String {
        let me = self.get("/admin/v1/me").await.expect(200);
        let body = json!({
            "vendor": "Custom", "name": "Climate computer", "description": "Delivers the climate of greenhouse 1.",
            "owner_id": me.json["id"], "scopes": scopes,
        });
        let created = self.post("/admin/v1/integrations", body).await.expect(201);
        created.json["id"].as_str().expect("an id").to_owned()
    }

    /// An Active integration with these scopes and a token.
    pub async fn active(&self, scopes: &[&str]) -> Integration {
        let id = self.requested(scopes).await;
        self.post_as_bob(&format!("/admin/v1/integrations/{id}/approve"), json!({})).await.expect(200);
        let activated = self.post(&format!("/admin/v1/integrations/{id}/activate"), json!({})).await.expect(200);
        self.credentials(id, &activated).await
    }

    /// The credentials of an activation or reactivation, with a fresh token.
    pub async fn credentials(&self, id: String, answer: &Answer) -> Integration {
        let text = |name: &str| answer.json["credentials"][name].as_str().expect(name).to_owned();
        let (client_id, client_secret, api_key) = (text("client_id"), text("client_secret"), text("api_key"));
        let token = self.token(&client_id, &client_secret).await;
        Integration { id, client_id, client_secret, api_key, token }
    }

    /// A token from the embedded issuer.
    pub async fn token(&self, client_id: &str, client_secret: &str) -> String {
        let body = json!({
            "grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret,
            "audience": self.server.audience,
        });
        let answer = send(self.client.post(&self.server.token_url).json(&body)).await.expect(200);
        answer.json["access_token"].as_str().expect("a token").to_owned()
    }

    /// Registers a sensor under this external id; its own id.
    pub async fn sensor(&self, integration: &Integration, external_id: &str) -> String {
        let body = json!({
            "integration_id": integration.id, "kind": "sensor", "type": "temperature_sensor",
            "external_id": external_id, "name": external_id,
        });
        let made = self.post("/admin/v1/equipment", body).await.expect(201);
        made.json["id"].as_str().expect("an id").to_owned()
    }

    /// An active integration that may send, with the sensor `s` and the highest limit.
    pub async fn busy_sender(&self) -> Integration {
        let sender = self.active(&["sensors:write"]).await;
        self.sensor(&sender, "s").await;
        self.limit(&sender, 10_000).await;
        sender
    }

    /// Sets an integration's requests a minute.
    pub async fn limit(&self, integration: &Integration, rpm: u32) {
        let path = format!("/admin/v1/integrations/{}", integration.id);
        self.admin(&self.alice, Method::PATCH, &path, Some(json!({"rate_limit_rpm": rpm}))).await.expect(200);
    }

    /// A request to the integration API with both credentials.
    pub fn request(&self, integration: &Integration, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.server.http_url))
            .bearer_auth(&integration.token)
            .header("X-API-Key", &integration.api_key)
    }

    /// Posts a batch.
    pub async fn ingest(&self, integration: &Integration, body: &Value) -> Answer {
        send(self.request(integration, Method::POST, "/v1/sensors/readings").json(body)).await
    }

    /// Posts bytes that need not be JSON.
    pub async fn ingest_raw(&self, integration: &Integration, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(integration, Method::POST, "/v1/sensors/readings");
        send(request.header("Content-Type", "application/json").body(body)).await
    }

    /// All stored readings of a series, oldest first, as `(seconds, value)`, once there are at least `at_least` of
    /// them or the stated delay of the read-back has passed several times over.
    pub async fn stored(
        &self,
        integration: &Integration,
        external_id: &str,
        metric: &str,
        at_least: usize,
    ) -> Vec<(i64, f64)> {
        let path = format!(
            "/admin/v1/readings?integration_id={}&external_id={external_id}&metric={metric}\
             &from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&limit=10000",
            integration.id
        );
        let mut readings = Vec::new();
        for _ in 0..100 {
            readings = self.pages(&path).await;
            if readings.len() >= at_least {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        readings
    }

    async fn pages(&self, path: &str) -> Vec<(i64, f64)> {
        let (mut readings, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{cursor}")).await.expect(200);
            for item in page.json["items"].as_array().expect("items") {
                let at: jiff::Timestamp = item["timestamp"].as_str().expect("a time").parse().expect("RFC 3339");
                readings.push((at.as_second(), item["value"].as_f64().expect("a number")));
            }
            match page.json["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return readings,
            }
        }
    }
}

pub async fn first_sign_in(client: &Client, base: &str, email: &str, one_time: &str, password: &str) -> String {
    let token = sign_in(client, base, email, one_time).await;
    let change = json!({"current_password": one_time, "new_password": password});
    let answer = send(client.post(format!("{base}/admin/v1/password")).bearer_auth(token).json(&change)).await;
    assert!(answer.status < 300, "{}", answer.text);
    sign_in(client, base, email, password).await
}

/// Signs in; the administrator's token.
pub async fn sign_in(client: &Client, base: &str, email: &str, password: &str) -> String {
    let body = json!({"email": email, "password": password});
    let answer = send(client.post(format!("{base}/admin/v1/login")).json(&body)).await.expect(200);
    answer.json["access_token"].as_str().expect("a token").to_owned()
}
