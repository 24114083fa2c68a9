//! The port as its clients see it, over real sockets.

mod http2;
mod limits;
mod proxied;
mod slow;
mod tls;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Config, Peer, Port, serve};

/// Long enough for anything that happens at all, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn config() -> Config {
    let file: toml::Table = toml::from_str(include_str!("../../config/default.toml")).unwrap();
    let config: Config = file["listener"].clone().try_into().unwrap();
    config.check().unwrap();
    Config { shutdown_grace_ms: 5_000, ..config }
}

/// A port that answers with the caller's address; `/wait` waits for the gate, `/read` reads the body first, `/large`
/// is more than a socket holds.
struct TestPort {
    metrics: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
    addr: SocketAddr,
    /// Says so when a request to `/wait` has arrived.
    waiting: mpsc::Receiver<()>,
    /// Lets one request to `/wait` go on.
    gate: mpsc::Sender<()>,
    shutdown: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
    _stop: DropGuard,
}

impl TestPort {
    async fn start(config: Config, port: Port) -> Self {
        // Each test has a thread, and therefore metrics, of its own; a few bytes are leaked to give them the time.
        let recorder: &'static PrometheusRecorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let _recorder = metrics::set_default_local_recorder(recorder);
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let (arrived, waiting) = mpsc::channel(16);
        let (gate, turn) = mpsc::channel(16);
        let turn = std::sync::Arc::new(tokio::sync::Mutex::new(turn));
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let (arrived, turn) = (arrived.clone(), turn.clone());
            async move {
                let peer = request.extensions().get::<Peer>().unwrap().addr.ip();
                match request.uri().path() {
                    "/wait" => {
                        arrived.send(()).await.unwrap();
                        turn.lock().await.recv().await;
                    }
                    "/read" => drop(request.into_body().collect().await),
                    "/large" => return Ok(Response::new(Full::new(Bytes::from(vec![b'x'; 64 << 20])))),
                    _ => {}
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(peer.to_string()))))
            }
        });
        let shutdown = CancellationToken::new();
        let ended = crate::telemetry::task::spawn("test port", serve(tcp, config, port, service, shutdown.clone()));
        Self {
            metrics: recorder.handle(),
            _recorder,
            addr,
            waiting,
            gate,
            _stop: shutdown.clone().drop_guard(),
            shutdown,
            ended,
        }
    }

    async fn plain(config: Config) -> Self {
        Self::start(config, Port::plain("test")).await
    }

    /// The value of the metric that is printed as `name`, labels besides the port included.
    fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let line = text
            .lines()
            .find_map(|line| line.replace("port=\"test\"", "").replace("{}", "").strip_prefix(name).map(str::to_owned));
        line.map_or(0.0, |value| value.trim().parse().unwrap_or_else(|_| panic!("{name}: {value:?}")))
    }

    fn refused(&self, reason: &str) -> f64 {
        self.metric(&format!("sensorgate_listener_connections_refused_total{{,reason=\"{reason}\"}}"))
    }

    fn open(&self) -> f64 {
        self.metric("sensorgate_listener_connections_open")
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads one answer whose body ends with its Content-Length.
async fn answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let read = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    return text;
                }
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return text;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("an answer")
}

/// Waits until the server has closed the connection; returns what came before.
async fn end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _end = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// A connection is served: it gets an answer.
async fn is_served(stream: &mut TcpStream) -> bool {
    stream.write_all(GET.as_bytes()).await.is_ok() && answer(stream).await.starts_with("HTTP/1.1 200")
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn both_http_versions_are_served_on_a_plain_port() {
    let port = TestPort::plain(config()).await;
    let url = format!("http://{}/", port.addr);
    for client in [reqwest::Client::builder().http1_only(), reqwest::Client::builder().http2_prior_knowledge()] {
        let client = client.no_proxy().build().unwrap();
        for _ in 0..2 {
            assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "127.0.0.1");
        }
    }
}

#[tokio::test]
async fn a_parked_connection_goes_on_with_its_next_byte() {
    let port = TestPort::plain(Config { park_after_ms: 20, ..config() }).await;
    let mut client = port.connect().await;
    for _ in 0..3 {
        send(&mut client, GET).await;
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 200"));
        until("it is parked", || port.metric("sensorgate_listener_connections_parked") == 1.0).await;
    }
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let mut port = TestPort::plain(config()).await;
    let mut idle = port.connect().await;
    send(&mut idle, GET).await;
    answer(&mut idle).await;
    let mut busy = port.connect().await;
    send(&mut busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    port.waiting.recv().await.unwrap();
    port.shutdown.cancel();
    assert_eq!(end(&mut idle).await, "");
    port.gate.send(()).await.unwrap();
    let text = end(&mut busy).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("127.0.0.1"), "{text}");
    timeout(PATIENCE, port.ended).await.expect("the port ends").unwrap();
    assert!(TcpStream::connect(port.addr).await.is_err(), "nobody accepts any more");
}
