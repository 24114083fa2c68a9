//! A subscriber: takes webhooks, keeps what came, and answers as it is told.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, response::IntoResponse};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// One request, whole.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{name}")).to_str().expect("a text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub fn event(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }
}

/// How the next requests are answered.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    With(u16, Vec<(&'static str, String)>),
    /// Never.
    Hang,
}

#[derive(Default)]
struct Kept {
    received: Vec<Received>,
    next: VecDeque<Reply>,
    otherwise: Option<Reply>,
}

/// Stops with its drop.
pub struct Receiver {
    pub addr: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let reply = {
        let mut kept = kept.lock().expect("no panic");
        let body = String::from_utf8(body.to_vec()).expect("UTF-8");
        kept.received.push(Received { path: uri.to_string(), headers, body });
        kept.next.pop_front().or_else(|| kept.otherwise.clone()).unwrap_or(Reply::Status(200))
    };
    let (status, with) = match reply {
        Reply::Status(status) => (status, vec![]),
        Reply::With(status, with) => (status, with),
        Reply::Hang => std::future::pending().await,
    };
    let headers: HeaderMap =
        with.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    (StatusCode::from_u16(status).expect("a status"), headers, "taken")
}

impl Receiver {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    pub async fn start_at(addr: &str) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let tcp = TcpListener::bind(addr).await.expect("a port");
        let addr = tcp.local_addr().expect("an address");
        let app = Router::new().fallback(take).with_state(Arc::clone(&kept));
        #[allow(clippy::disallowed_methods, reason = "of the test, not of the service")]
        let serving = tokio::spawn(async move {
            // axum's own `serve` is not among the features that the service asks for.
            loop {
                let Ok((stream, _)) = tcp.accept().await else { return };
                let service = hyper_util::service::TowerToHyperService::new(app.clone());
                #[allow(clippy::disallowed_methods, reason = "of the test, not of the service")]
                tokio::spawn(async move {
                    let io = hyper_util::rt::TokioIo::new(stream);
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
                });
            }
        });
        Self { addr, kept, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    /// What the next requests are answered with, one each.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.kept.lock().expect("no panic").next.extend(replies);
    }

    /// What all others are answered with.
    pub fn otherwise(&self, reply: Reply) {
        self.kept.lock().expect("no panic").otherwise = Some(reply);
    }

    /// What has come so far.
    pub fn received(&self) -> Vec<Received> {
        self.kept.lock().expect("no panic").received.clone()
    }

    /// What has come, once it is `at_least` so many.
    #[track_caller]
    pub fn wait_for(&self, at_least: usize) -> impl Future<Output = Vec<Received>> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..600 {
                let received = self.received();
                if received.len() >= at_least {
                    return received;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("{caller}: {at_least} were awaited, came: {:#?}", self.received());
        }
    }
}
