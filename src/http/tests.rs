//! The integration API at the socket, with stand-ins for auth and ingest behind it.

mod bodies;
mod headers;
mod idempotent;
mod routes;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Args, Config, Door, Edge, Idempotency, Surface};
use crate::{
    auth::{Call, Cause, ClientAddr, Denial, Integration, Principal, RateState},
    ingest::{BatchResult, Budget, Intake, Refused, Submission},
    journal::{Counts, Journal, Record},
    listener::{self, Port},
    model::{EntryCode, IntegrationFacts, IntegrationId, ProblemCode, RequestId, Scope, ScopeSet},
};

const PATIENCE: Duration = Duration::from_secs(20);
const STRANGER: RateState = RateState { limit: 30, remaining: 29, reset_s: 2_000_000_000 };
const MEMBER: RateState = RateState { limit: 60, remaining: 41, reset_s: 1_900_000_000 };

pub(super) fn config() -> Config {
    let file: toml::Table = toml::from_str(include_str!("../../config/default.toml")).unwrap();
    let config: Config = file["http"].clone().try_into().unwrap();
    config.check().unwrap();
    config
}

fn listener_config() -> listener::Config {
    let file: toml::Table = toml::from_str(include_str!("../../config/default.toml")).unwrap();
    file["listener"].clone().try_into().unwrap()
}

/// Believes the API key: it is the name of what is to happen.
struct KeyDoor {
    integration: Arc<Integration>,
    clients: ClientAddr,
    admitted: AtomicUsize,
}

fn denial(problem: ProblemCode, cause: Cause, rate: RateState) -> Denial {
    let retry_after_s = (problem.status() == 429).then_some(7);
    Denial { problem, cause, rate, retry_after_s, detail: None, integration_id: None, key_generation: None }
}

impl Door for KeyDoor {
    fn client_addr(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.clients.resolve(peer, headers)
    }

    fn anonymous_rate(&self, _: IpAddr, _: i64) -> RateState {
        STRANGER
    }

    async fn authenticate(&self, headers: &HeaderMap, call: &Call) -> Result<Principal, Denial> {
        match headers.get("x-api-key").map(|key| key.to_str().unwrap()) {
            None => Err(denial(ProblemCode::MissingCredential, Cause::MissingCredential, STRANGER)),
            Some("expired") => Err(denial(ProblemCode::TokenExpired, Cause::Token("token_expired"), STRANGER)),
            Some("unknown") => Err(denial(ProblemCode::Unauthorized, Cause::KeyUnknown, STRANGER)),
            Some("failing") => Err(denial(ProblemCode::TooManyFailures, Cause::TooManyFailures, STRANGER)),
            Some("elsewhere") => Err(denial(ProblemCode::IpNotAllowed, Cause::IpNotAllowed, MEMBER)),
            Some("panic_in_auth") => panic!("auth fell over"),
            Some(_) => Ok(Principal::assumed(self.integration.clone(), call.addr)),
        }
    }

    fn admit(&self, principal: &Principal, scope: Option<Scope>, _: i64) -> Result<RateState, Denial> {
        self.admitted.fetch_add(1, Ordering::Relaxed);
        match scope {
            Some(Scope::SensorsWrite | Scope::EquipmentRead) | None => {}
            Some(_) => return Err(denial(ProblemCode::InsufficientScope, Cause::InsufficientScope, MEMBER)),
        }
        let _ = principal;
        Ok(MEMBER)
    }
}

/// Does what the body says.
#[derive(Default)]
struct WordIntake {
    is_full: AtomicBool,
    /// Bodies taken in, in order.
    taken: Mutex<Vec<String>>,
    /// Submissions that waited for a turn, and those that were done after it.
    waiting: AtomicUsize,
    turns: Turns,
}

struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Intake for WordIntake {
    fn ready(&self) -> Result<(), Refused> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(Refused::new(ProblemCode::SpoolFull).retry_after(9)),
            false => Ok(()),
        }
    }

    async fn submit(&self, _: &Principal, submission: Submission) -> Result<BatchResult, Refused> {
        let text = String::from_utf8_lossy(&submission.body).into_owned();
        if text.contains("wait") {
            self.waiting.fetch_add(1, Ordering::Release);
            self.turns.0.acquire().await.unwrap().forget();
        }
        self.taken.lock().push(text.clone());
        if let Some(code) = text.strip_prefix("refuse ") {
            let problem = *ProblemCode::ALL.iter().find(|problem| problem.code() == code).unwrap();
            return Err(Refused::new(problem));
        }
        assert!(text != "panic", "ingest fell over");
        let rejected = match text.as_str() {
            "partial" => 1,
            "bad" => 2,
            _ => 0,
        };
        let error = crate::ingest::EntryError {
            index: 0,
            id: None,
            code: EntryCode::ValueMissing,
            field: Some("value"),
            message: "no value".to_owned(),
            retryable: false,
        };
        Ok(BatchResult {
            received: 2,
            accepted: 2 - rejected,
            rejected,
            errors: vec![error; rejected as usize],
            ..BatchResult::default()
        })
    }
}

/// What a record said.
#[derive(Debug, Clone)]
struct Kept {
    request_id: RequestId,
    client_request_id: Option<String>,
    addr: IpAddr,
    route: &'static str,
    status: u16,
    cause: Option<&'static str>,
    readings: Option<Counts>,
}

#[derive(Debug, Default)]
struct Notebook(Mutex<Vec<Kept>>);

impl Journal for Notebook {
    fn record(&self, record: &Record<'_>) {
        self.0.lock().push(Kept {
            request_id: record.request_id,
            client_request_id: record.client_request_id.map(str::to_owned),
            addr: record.addr,
            route: record.route,
            status: record.status,
            cause: record.cause,
            readings: record.readings,
        });
    }
}

/// The edge on a port of its own.
struct TestEdge {
    addr: SocketAddr,
    intake: Arc<WordIntake>,
    door: Arc<KeyDoor>,
    notebook: Arc<Notebook>,
    client: reqwest::Client,
    _stop: DropGuard,
}

impl TestEdge {
    async fn start() -> Self {
        Self::with(config(), Surface::default(), &[]).await
    }

    async fn with(config: Config, surface: Surface, trusted: &[&str]) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let (intake, notebook) = (Arc::new(WordIntake::default()), Arc::new(Notebook::default()));
        let door = Arc::new(KeyDoor {
            integration: Arc::new(Integration::new(facts())),
            clients: ClientAddr::new(trusted.iter().map(|net| net.parse().unwrap()).collect()),
            admitted: AtomicUsize::new(0),
        });
        let idempotency = Arc::new(Idempotency::in_memory(&config));
        let edge = Edge::new(Args {
            config,
            door: door.clone(),
            intake: intake.clone(),
            budget: Budget::new(8 << 20, 2),
            surface,
            idempotency,
            journal: notebook.clone(),
        });
        let shutdown = CancellationToken::new();
        let port = Port::plain("test");
        crate::telemetry::task::spawn("test edge", edge.serve(tcp, listener_config(), port, shutdown.clone()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { addr, intake, door, notebook, client, _stop: shutdown.drop_guard() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// A batch from a caller in good standing.
    fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.client
            .post(self.url("/v1/sensors/readings"))
            .header("x-api-key", "good")
            .header("content-type", "application/json")
            .body(body)
    }

    fn last_record(&self) -> Kept {
        self.notebook.0.lock().last().expect("a record").clone()
    }
}

fn facts() -> IntegrationFacts {
    IntegrationFacts::assumed(IntegrationId::generate(), ScopeSet::EMPTY.with(Scope::SensorsWrite))
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

async fn json(response: reqwest::Response) -> serde_json::Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}
