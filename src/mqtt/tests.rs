//! Connections over an in-memory stream, with stand-ins for auth and ingest behind them. The packets of the client
//! are rumqttc's, so that codec is held against codec.

mod any_bytes;
mod connecting;
mod ending;
mod order;
mod publishing;
mod round_trips;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::Mutex;
use rumqttc::v5::mqttbytes::v5;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Answering, Args, Config, Door, Edge, Intake, connection};
use crate::{
    auth::{
        Call, Cause, Credential, Denial, Integration, NotOpened, Principal, RateState, Registry, Session,
        SessionRequest, sync::Sync,
    },
    control::{Change, ChangeListener, Cut},
    ingest::{BatchResult, Budget, Refused, Submission},
    journal::{Journal, Record},
    model::{IntegrationFacts, IntegrationId, ProblemCode, Scope, ScopeSet, Status, topic},
    telemetry::task,
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Long enough for anything that happens at all, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const RATE: RateState = RateState { limit: 60, remaining: 1, reset_s: 0 };

fn config() -> Config {
    let file: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
    let config: Config = file["mqtt"].clone().try_into().unwrap();
    config.check().unwrap();
    config
}

/// Believes the user name: it is the name of what is to happen.
#[derive(Debug)]
struct NameDoor {
    integration: Arc<Integration>,
    /// When the tokens end, Unix seconds.
    expires_s: Mutex<u64>,
    /// How many publishes are still refused as over the limit.
    over_limit: AtomicU32,
}

impl Door for NameDoor {
    fn client_addr(&self, peer: IpAddr, _: &http::HeaderMap) -> IpAddr {
        peer
    }

    fn open_session<'a>(
        &'a self,
        credential: &'a Credential<'a>,
        call: &'a Call,
        request: &'a SessionRequest<'a>,
    ) -> Answering<'a, Result<Session, NotOpened>> {
        let denied = |problem, cause| {
            let (retry_after_s, detail, integration_id) = (None, None, None);
            Err(NotOpened::Denied(Denial {
                problem,
                cause,
                rate: RATE,
                retry_after_s,
                detail,
                integration_id,
                key_generation: None,
            }))
        };
        let opened = match credential.api_key {
            "" => denied(ProblemCode::MissingCredential, Cause::MissingCredential),
            "expired" => denied(ProblemCode::TokenExpired, Cause::Token("token_expired")),
            "unknown" => denied(ProblemCode::Unauthorized, Cause::KeyUnknown),
            "elsewhere" => denied(ProblemCode::IpNotAllowed, Cause::IpNotAllowed),
            "no_scope" => denied(ProblemCode::InsufficientScope, Cause::InsufficientScope),
            "failing" => denied(ProblemCode::TooManyFailures, Cause::TooManyFailures),
            "no_keys" => denied(ProblemCode::IssuerUnavailable, Cause::Token("token_keys_unavailable")),
            "full" => Err(NotOpened::Full),
            "flapping" => Err(NotOpened::TooOften),
            _ => {
                let mut session = Session::assumed(Arc::clone(&self.integration), call.addr, request);
                session.token_expires_s = *self.expires_s.lock();
                Ok(session)
            }
        };
        Box::pin(std::future::ready(opened))
    }

    fn admit(&self, _: &Principal, now_us: i64) -> Result<RateState, Denial> {
        let left = self.over_limit.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Ok(RATE);
        }
        let reset_s = u64::try_from(now_us / 1_000_000).unwrap() + 60;
        Err(Denial {
            problem: ProblemCode::RateLimited,
            cause: Cause::RateLimited,
            rate: RateState { reset_s, ..RATE },
            retry_after_s: Some(60),
            detail: None,
            integration_id: None,
            key_generation: None,
        })
    }
}

type Submitted = Result<BatchResult, Refused>;

/// Takes every batch in; the body says what becomes of it, and `wait` that the test says it.
#[derive(Debug, Default)]
struct BodyIntake {
    seen: Mutex<Vec<String>>,
    waiting: Mutex<Vec<(String, oneshot::Sender<Submitted>)>>,
    /// How many batches are still refused as not to be stored now.
    full: AtomicU32,
}

fn stored() -> BatchResult {
    BatchResult { received: 1, accepted: 1, ..BatchResult::default() }
}

impl BodyIntake {
    /// Ends the batch `body`, which has to have come.
    async fn end(&self, body: &str, with: Submitted) {
        let sender = loop {
            let place = self.waiting.lock().iter().position(|(waiting, _)| waiting == body);
            match place {
                Some(place) => break self.waiting.lock().remove(place).1,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let _unheard = sender.send(with);
    }
}

impl Intake for BodyIntake {
    fn submit(self: Arc<Self>, _: Arc<Principal>, submission: Submission) -> Answering<'static, Submitted> {
        let body = String::from_utf8_lossy(&submission.body).into_owned();
        self.seen.lock().push(body.clone());
        let left = self.full.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Box::pin(std::future::ready(Err(Refused::new(ProblemCode::SpoolFull).retry_after(2))));
        }
        if body.starts_with("wait") {
            let (sender, answer) = oneshot::channel();
            self.waiting.lock().push((body, sender));
            return Box::pin(async move { answer.await.unwrap() });
        }
        Box::pin(std::future::ready(match body.as_str() {
            "rejected" => Ok(BatchResult { received: 1, rejected: 1, ..BatchResult::default() }),
            "partial" => Ok(BatchResult { received: 2, accepted: 1, rejected: 1, ..BatchResult::default() }),
            "malformed" => Err(Refused::new(ProblemCode::MalformedJson)),
            "large" => Err(Refused::new(ProblemCode::BatchTooLarge)),
            "cut" => Err(Refused::new(ProblemCode::Unauthorized)),
            "poisoned" => Err(Refused::new(ProblemCode::StorageUnavailable)),
            _ => Ok(stored()),
        }))
    }
}

#[derive(Debug, Default)]
struct Notebook(Mutex<Vec<Noted>>);

/// Method, route, status and code of a record.
type Noted = (&'static str, &'static str, u16, Option<&'static str>);

impl Journal for Notebook {
    fn record(&self, record: &Record<'_>) {
        let method = if record.method == "CONNECT" { "CONNECT" } else { "PUBLISH" };
        assert_eq!(record.transport, "mqtt");
        self.0.lock().push((method, record.route, record.status, record.code));
    }
}

/// An edge with one integration.
struct Bench {
    edge: Arc<Edge>,
    door: Arc<NameDoor>,
    intake: Arc<BodyIntake>,
    notebook: Arc<Notebook>,
    budget: Budget,
    id: IntegrationId,
    administrators: Sync,
    shutdown: CancellationToken,
}

fn active(id: IntegrationId) -> IntegrationFacts {
    IntegrationFacts::assumed(id, ScopeSet::EMPTY.with(Scope::SensorsWrite))
}

impl Bench {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let id = IntegrationId::generate();
        let registry = Arc::new(Registry::new(10));
        let integration = registry.apply_integration(active(id));
        let door = Arc::new(NameDoor {
            integration,
            expires_s: Mutex::new(u64::from(u32::MAX)),
            over_limit: AtomicU32::new(0),
        });
        let (intake, notebook) = (Arc::new(BodyIntake::default()), Arc::new(Notebook::default()));
        let budget = Budget::new(16 << 20, 1);
        let edge = Edge::new(Args {
            config,
            door: Arc::clone(&door) as _,
            intake: Arc::clone(&intake) as _,
            budget: budget.clone(),
            journal: Arc::clone(&notebook) as _,
            public_url: String::new(),
        });
        let administrators = Sync::new(registry);
        Self { edge, door, intake, notebook, budget, id, administrators, shutdown: CancellationToken::new() }
    }

    /// An administrator's change, as it comes from the control plane: returns when what it shuts out is closed.
    async fn change(&self, facts: IntegrationFacts) -> Cut {
        timeout(PATIENCE, self.administrators.apply(Change::Integration(facts))).await.expect("the change returns")
    }

    /// A connection whose stream holds `bytes` in each direction.
    fn open(&self, bytes: usize) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(bytes);
        let (edge, shutdown) = (Arc::clone(&self.edge), self.shutdown.clone());
        let served = task::spawn("a connection", async move {
            connection::serve(&edge, server, HERE, &shutdown).await;
        });
        (client, served)
    }

    /// A client of version 5 that is connected as `client_id`.
    async fn five(&self, client_id: &str) -> Five {
        let mut five = Five::over(self.open(1 << 20));
        five.send(v5::Packet::Connect(connect(client_id), None, login("key"))).await;
        match five.next().await {
            v5::Packet::ConnAck(ack) if ack.code == v5::ConnectReturnCode::Success => five,
            other => panic!("{other:?}"),
        }
    }

    fn readings(&self) -> String {
        topic::readings(self.id)
    }

    fn results(&self) -> String {
        topic::results(self.id)
    }

    fn publish(&self, packet_id: u16, body: &str) -> v5::Packet {
        publish(&self.readings(), packet_id, body)
    }

    fn sessions(&self) -> usize {
        self.door.integration.sessions_open()
    }

    fn seen(&self) -> Vec<String> {
        self.intake.seen.lock().clone()
    }

    /// Waits until so many batches have come.
    async fn until_seen(&self, count: usize) {
        let seen = async {
            while self.intake.seen.lock().len() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, seen).await.expect("the batches come");
    }
}

fn connect(client_id: &str) -> v5::Connect {
    v5::Connect { keep_alive: 60, client_id: client_id.to_owned(), clean_start: true, properties: None }
}

#[allow(clippy::unnecessary_wraps, reason = "as the packet takes it")]
fn login(name: &str) -> Option<v5::Login> {
    Some(v5::Login { username: name.to_owned(), password: "token".to_owned() })
}

/// A PUBLISH at QoS 1, or at QoS 0 with packet id 0.
fn publish(topic: &str, packet_id: u16, body: &str) -> v5::Packet {
    let qos = rumqttc::v5::mqttbytes::qos(u8::from(packet_id > 0)).unwrap();
    let mut publish = v5::Publish::new(topic, qos, body.to_owned(), None);
    publish.pkid = packet_id;
    v5::Packet::Publish(publish)
}

/// A client of version 5.
struct Five {
    stream: DuplexStream,
    served: JoinHandle<()>,
    read: BytesMut,
}

impl Five {
    fn over((stream, served): (DuplexStream, JoinHandle<()>)) -> Self {
        Self { stream, served, read: BytesMut::new() }
    }

    async fn send(&mut self, packet: v5::Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.send_bytes(&bytes).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("taken in time").unwrap();
    }

    /// The next packet, or nothing at the end.
    async fn receive(&mut self) -> Option<v5::Packet> {
        loop {
            match v5::Packet::read(&mut self.read, None) {
                Ok(packet) => return Some(packet),
                Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error:?}: {:02x?}", &self.read[..]),
            }
            if timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("in time").unwrap_or(0) == 0 {
                assert!(self.read.is_empty(), "half a packet: {:02x?}", &self.read[..]);
                return None;
            }
        }
    }

    async fn next(&mut self) -> v5::Packet {
        self.receive().await.expect("a packet")
    }

    /// The next packet, which acknowledges a publish.
    async fn ack(&mut self) -> (u16, v5::PubAckReason) {
        match self.next().await {
            v5::Packet::PubAck(ack) => (ack.pkid, ack.reason),
            other => panic!("{other:?}"),
        }
    }

    /// The next packet, which says goodbye, and that nothing comes behind it.
    async fn goodbye(&mut self) -> v5::DisconnectReasonCode {
        let reason = match self.next().await {
            v5::Packet::Disconnect(goodbye) => goodbye.reason_code,
            other => panic!("{other:?}"),
        };
        assert!(self.receive().await.is_none(), "closed behind the DISCONNECT");
        self.stream.shutdown().await.unwrap();
        timeout(PATIENCE, &mut self.served).await.expect("served to its end").unwrap();
        reason
    }

    /// Subscribes, and is granted it.
    async fn subscribe(&mut self, filter: &str, qos: u8) {
        let filter = v5::Filter::new(filter, rumqttc::v5::mqttbytes::qos(qos).unwrap());
        self.send(v5::Packet::Subscribe(v5::Subscribe { pkid: 7, filters: vec![filter], properties: None })).await;
        match self.next().await {
            v5::Packet::SubAck(ack) => {
                let granted = v5::SubscribeReasonCode::Success(rumqttc::v5::mqttbytes::qos(qos.min(1)).unwrap());
                assert_eq!((ack.pkid, ack.return_codes), (7, vec![granted]));
            }
            other => panic!("{other:?}"),
        }
    }
}
