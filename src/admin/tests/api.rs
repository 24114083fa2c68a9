//! The port of the API as the tests call it.

use std::sync::Arc;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::memory_store::MemoryStore;
use crate::{
    admin::{Admin, Config, Delivered, Parts, router},
    control::{Control, FirstAdministrator, Issuers},
    listener::{self, Port},
    model::{EquipmentKind, Metric, MetricNumber, MetricTable, Reading, RequestId, SeriesId},
    request_log::RequestLog,
    telemetry::{health::Health, task},
};

pub(super) const PASSWORD: &str = "a long password of one's own";

/// Everything is in the store.
struct NothingWaits;

impl Delivered for NothingWaits {
    fn written(&self) -> u64 {
        u64::MAX
    }

    fn quarantined(&self, _: &[SeriesId], _: i64, _: i64) -> Result<Vec<(RequestId, Reading, String)>, String> {
        Ok(Vec::new())
    }
}

pub(super) struct Api {
    pub(super) base: String,
    pub(super) client: Client,
    pub(super) control: Control,
    pub(super) store: Arc<MemoryStore>,
    pub(super) health: Health,
    /// Tokens of the first organisation's two administrators.
    pub(super) ann: String,
    pub(super) bob: String,
    pub(super) dir: tempfile::TempDir,
    _serving: DropGuard,
}

/// What came back, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
    pub(super) json: Value,
}

impl Answer {
    pub(super) fn code(&self) -> (u16, &str) {
        (self.status, self.json["code"].as_str().unwrap_or(""))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The refused fields.
    pub(super) fn fields(&self) -> Vec<&str> {
        assert_eq!(self.code(), (422, "validation_failed"), "{}", self.text);
        self.json["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect()
    }

    pub(super) fn id(&self) -> String {
        assert!(self.status < 300, "{} {}", self.status, self.text);
        self.json["id"].as_str().unwrap().to_owned()
    }
}

fn section<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let table: toml::Table = include_str!("../../../config/default.toml").parse().unwrap();
    table[name].clone().try_into().unwrap()
}

fn metrics() -> MetricTable {
    let metric = |number, name: &str, unit: &str| Metric {
        number: MetricNumber(number),
        name: name.to_owned(),
        unit: unit.to_owned(),
        units: vec![],
        min: -100.0,
        max: 5_000.0,
        kinds: EquipmentKind::ALL.to_vec(),
    };
    MetricTable::new(vec![metric(1, "temperature", "C"), metric(2, "humidity", "%"), metric(3, "co2", "ppm")])
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut control_config: crate::control::Config = section("control");
        // As little as argon2id takes: these tests are not about its cost.
        (control_config.password_memory_kib, control_config.password_passes) = (8, 1);
        let issuers = Issuers { embedded: Some("https://issuer.test/".to_owned()), external: vec![] };
        let control = Control::open(dir.path(), &control_config, issuers).unwrap();
        let (store, health) = (Arc::new(MemoryStore::default()), Health::default());
        let mut config = section("admin");
        change(&mut config);
        let parts = Parts {
            config,
            control: control.clone(),
            store: Arc::clone(&store) as _,
            metrics: Arc::new(metrics()),
            delivered: Arc::new(NothingWaits),
            request_log: RequestLog::start(dir.path(), &section("request_log"), Health::default()).unwrap(),
            quarantine: crate::quarantine::tests::Bench::new(dir.path()).desk,
            guard: Arc::new(crate::webhook::Guard::assumed()),
            health: health.clone(),
            render_metrics: Arc::new(|| "sensorgate_up 1\n".to_owned()),
            problems_url: "https://docs.test".to_owned(),
            endpoints: crate::admin::Endpoints::default(),
        };
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", tcp.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let service = router(Admin::new(parts));
        let port = Port::plain("admin");
        task::spawn("admin", listener::serve(tcp, section("listener"), port, service, shutdown.clone()));
        let mut api = Self {
            base,
            client: Client::new(),
            control,
            store,
            health,
            ann: String::new(),
            bob: String::new(),
            dir,
            _serving: shutdown.drop_guard(),
        };
        [api.ann, api.bob] = api.organisation("Westland", ["ann@example.test", "bob@example.test"]).await;
        api
    }

    /// Makes an organisation; gives the tokens of its administrators, who have passwords of their own.
    pub(super) async fn organisation(&self, name: &str, emails: [&str; 2]) -> [String; 2] {
        let people = emails.map(|email| FirstAdministrator { email: email.to_owned(), name: email.to_owned() });
        let (_, [first, second]) = self.control.bootstrap(name, people).await.unwrap();
        let first = self.settle(&first.email, first.one_time_password.expose()).await;
        [first, self.settle(&second.email, second.one_time_password.expose()).await]
    }

    /// Replaces a one-time password; gives the token.
    pub(super) async fn settle(&self, email: &str, one_time: &str) -> String {
        let token = self.login(email, one_time).await.json["access_token"].as_str().unwrap().to_owned();
        let body = json!({ "current_password": one_time, "new_password": PASSWORD });
        assert_eq!(self.post("/admin/v1/password", &token, body).await.status, 204);
        token
    }

    pub(super) async fn login(&self, email: &str, password: &str) -> Answer {
        self.post("/admin/v1/login", "", json!({ "email": email, "password": password })).await
    }

    /// A call that is not sent yet.
    pub(super) fn call(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer { status, headers, text, json };
        uuid::Uuid::parse_str(answer.header("x-request-id")).expect("every answer has a request id");
        if StatusCode::from_u16(status).is_ok_and(|s| s.is_client_error() || s.is_server_error())
            && answer.header("content-type") == "application/problem+json"
        {
            assert_eq!(answer.json["request_id"], answer.header("x-request-id"));
            assert_eq!(answer.json["status"], status);
        }
        answer
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(self.call(Method::GET, path, token)).await
    }

    pub(super) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(self.call(Method::POST, path, token).json(&body)).await
    }

    pub(super) async fn patch(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(self.call(Method::PATCH, path, token).json(&body)).await
    }

    pub(super) async fn put(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(self.call(Method::PUT, path, token).json(&body)).await
    }

    /// A request for an integration that can be approved, by `token`.
    pub(super) async fn request_integration(&self, token: &str) -> Answer {
        let owner = self.get("/admin/v1/me", token).await.id();
        let body = json!({
            "vendor": "Custom", "name": "Climate computer", "description": "Sends the climate of house 2",
            "owner_id": owner, "scopes": ["sensors:write", "equipment:read"],
        });
        let answer = self.post("/admin/v1/integrations", token, body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer
    }

    /// An active integration, requested by ann and approved by bob; gives its path and the answer to its activation.
    pub(super) async fn active_integration(&self) -> (String, Answer) {
        let path = format!("/admin/v1/integrations/{}", self.request_integration(&self.ann).await.id());
        assert_eq!(self.post(&format!("{path}/approve"), &self.bob, json!({})).await.status, 200);
        let activated = self.post(&format!("{path}/activate"), &self.bob, json!({})).await;
        assert_eq!(activated.status, 200, "{}", activated.text);
        (path, activated)
    }

    /// All pages of a list.
    pub(super) async fn pages(&self, path: &str, token: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{cursor}"), token).await;
            assert_eq!(page.status, 200, "{}", page.text);
            items.extend(page.json["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page.json["next_cursor"].as_str() else { return items };
            cursor = format!("{}cursor={next}", if path.contains('?') { "&" } else { "?" });
        }
    }
}
