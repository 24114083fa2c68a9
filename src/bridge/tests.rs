//! The bridge at the broker's side: a scripted broker in front of it, stand-ins for auth and ingest behind it.

mod script;
mod verdicts;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use mqtt_client::{DisconnectReasonCode, Packet, QoS, SubscribeReasonCode, UnsubAck, UnsubAckReason};
use parking_lot::Mutex;
use script::{ScriptedBroker, publish};
use tempfile::TempDir;
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Args, Bridge, Config, Door};
use crate::{
    auth::{Call, Cause, Credential, Denial, Integration, Principal, RateState},
    ingest::{BatchResult, Budget, Intake, Refused, Submission},
    journal::LogJournal,
    model::{IntegrationFacts, IntegrationId, ProblemCode, Scope, ScopeSet, topic},
    telemetry::{health::Health, task},
};

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn config() -> Config {
    let file: toml::Table = toml::from_str(include_str!("../../config/default.toml")).unwrap();
    let config: Config = file["bridge"].clone().try_into().unwrap();
    config.check().unwrap();
    config
}

/// Believes the API key: it is the name of what is to happen.
#[derive(Debug)]
struct KeyDoor {
    integration: Arc<Integration>,
    /// Unix second at which the window opens again; until then it is full.
    full_until_s: AtomicU64,
    /// For senders that take their time.
    patience: Semaphore,
    /// Senders that asked to be let in.
    asked: AtomicU64,
}

impl Door for KeyDoor {
    async fn authenticate(&self, credential: &Credential<'_>, call: &Call) -> Result<Principal, Denial> {
        let denial = |problem, cause, integration_id| {
            let rate = RateState { limit: 60, remaining: 0, reset_s: 0 };
            Err(Denial {
                problem,
                cause,
                rate,
                retry_after_s: None,
                detail: None,
                integration_id,
                key_generation: None,
            })
        };
        let id = Some(self.integration.facts().id);
        self.asked.fetch_add(1, Ordering::Relaxed);
        match credential.api_key {
            "unknown" => denial(ProblemCode::Unauthorized, Cause::KeyUnknown, None),
            "suspended" => denial(ProblemCode::Unauthorized, Cause::IntegrationNotActive, id),
            "elsewhere" => denial(ProblemCode::IpNotAllowed, Cause::IpNotAllowed, id),
            "slow" => {
                self.patience.acquire().await.unwrap().forget();
                Ok(Principal::assumed(self.integration.clone(), call.addr))
            }
            "no_issuer" => denial(ProblemCode::IssuerUnavailable, Cause::Token("keys_unavailable"), None),
            _ => Ok(Principal::assumed(self.integration.clone(), call.addr)),
        }
    }

    fn admit(&self, principal: &Principal, scope: Scope, now_us: i64) -> Result<RateState, Denial> {
        assert_eq!(scope, Scope::SensorsWrite);
        let reset_s = self.full_until_s.load(Ordering::Relaxed);
        let rate = RateState { limit: 60, remaining: 0, reset_s };
        if now_us / 1_000_000 >= reset_s as i64 {
            return Ok(rate);
        }
        let (problem, cause) = (ProblemCode::RateLimited, Cause::RateLimited);
        let integration_id = Some(principal.facts.id);
        Err(Denial { problem, cause, rate, retry_after_s: Some(1), detail: None, integration_id, key_generation: None })
    }
}

/// Does what the body says.
#[derive(Debug)]
struct WordIntake {
    is_full: AtomicBool,
    /// How many more are refused for now when they are handed in.
    refusals: AtomicU64,
    /// Bodies made durable, in order.
    stored: Mutex<Vec<String>>,
    /// Bodies that wait for a turn.
    waiting: Mutex<Vec<String>>,
    turns: Semaphore,
}

impl Intake for WordIntake {
    fn ready(&self) -> Result<(), Refused> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(Refused::new(ProblemCode::SpoolFull).because("spool_full").retry_after(2)),
            false => Ok(()),
        }
    }

    async fn submit(&self, _: &Principal, submission: Submission) -> Result<BatchResult, Refused> {
        let body = String::from_utf8(submission.body.to_vec()).unwrap();
        if self.refusals.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(Refused::new(ProblemCode::Overloaded).because("spool_queue_full"));
        }
        if body.starts_with("wait") {
            self.waiting.lock().push(body.clone());
            self.turns.acquire().await.unwrap().forget();
        }
        assert!(body != "panic", "ingest fell over");
        if body == "malformed" {
            return Err(Refused::new(ProblemCode::MalformedJson));
        }
        self.stored.lock().push(body);
        Ok(BatchResult { received: 1, accepted: 1, ..BatchResult::default() })
    }
}

/// A running bridge, and the scripted broker that it talks to.
struct Node {
    broker: ScriptedBroker,
    integration: Arc<Integration>,
    door: Arc<KeyDoor>,
    intake: Arc<WordIntake>,
    health: Health,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    _data_dir: TempDir,
}

impl Node {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let broker = ScriptedBroker::listen().await;
        let mut config = Config {
            url: broker.url(),
            reconnect_ms_min: 10,
            reconnect_ms_max: 50,
            retry_ms: 10,
            hold_ms: 100,
            ..config()
        };
        change(&mut config);
        config.check().unwrap();
        let data_dir = tempfile::tempdir().unwrap();
        let integration = Arc::new(Integration::new(facts()));
        let door = Arc::new(KeyDoor {
            integration: integration.clone(),
            full_until_s: AtomicU64::new(0),
            patience: Semaphore::new(0),
            asked: AtomicU64::new(0),
        });
        let intake = Arc::new(WordIntake {
            is_full: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
            stored: Mutex::default(),
            waiting: Mutex::default(),
            turns: Semaphore::new(0),
        });
        let (health, shutdown) = (Health::default(), CancellationToken::new());
        let args = Args {
            config,
            door: door.clone(),
            intake: intake.clone(),
            budget: Budget::new(8 << 20, 2),
            journal: Arc::new(LogJournal),
            health: health.clone(),
            public_url: "https://api.example/".to_owned(),
        };
        let bridge = Bridge::new(args, data_dir.path()).unwrap();
        let running = task::spawn("test bridge", bridge.run(shutdown.clone()));
        Self { broker, integration, door, intake, health, shutdown, running, _data_dir: data_dir }
    }

    fn id(&self) -> IntegrationId {
        self.integration.facts().id
    }

    fn topic(&self) -> String {
        topic::readings(self.id())
    }

    async fn wait_for_complaint(&self, word: &str) {
        until(word, || self.health.complaints().iter().any(|(_, reason)| reason.contains(word))).await;
    }

    async fn stop(self) -> ScriptedBroker {
        self.shutdown.cancel();
        timeout(PATIENCE, self.running).await.expect("it stops in time").unwrap();
        self.broker
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
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

// api.md §2 (cluster mode): a shared subscription, a session that the broker keeps, and limits that bound our memory.
#[tokio::test]
async fn a_node_introduces_itself_the_same_way_every_time() {
    let mut node = Node::start().await;
    let mut known = None;
    for is_resumed in [false, true] {
        let (connect, mut peer) = node.broker.accept(is_resumed).await;
        let properties = connect.properties.expect("properties");
        assert!(!connect.clean_start && connect.keep_alive == 15);
        assert_eq!(properties.session_expiry_interval, Some(604_800));
        assert_eq!(properties.receive_maximum, Some(64));
        assert_eq!(properties.max_packet_size, Some(2 << 20));
        assert_eq!(known.get_or_insert(connect.client_id.clone()), &connect.client_id);
        // Also on a session that the broker has kept: it may be that of another configuration.
        let filter = peer.grant(SubscribeReasonCode::Success(QoS::AtLeastOnce)).await;
        assert_eq!(filter, "$share/sensorgate/grq/v1/+/readings");
        until("ready", || node.health.complaints().is_empty()).await;
    }
    node.stop().await;
}

// For brokers that hand an absent node's messages to the others at once.
#[tokio::test]
async fn a_node_may_start_anew_with_every_connection() {
    let mut node = Node::with(|config| (config.clean_start, config.session_expiry_s) = (true, 0)).await;
    let (connect, mut peer) = node.broker.accept(false).await;
    assert!(connect.clean_start);
    assert_eq!(connect.properties.and_then(|properties| properties.session_expiry_interval), Some(0));
    peer.grant(SubscribeReasonCode::Success(QoS::AtLeastOnce)).await;
    peer.send(publish(1, &node.topic(), "good", "a")).await;
    assert_eq!(peer.acknowledged().await, 1);
    node.stop().await;
}

// MQTT 5, 4.6: however fast each was stored.
#[tokio::test]
async fn acknowledgements_keep_the_order_of_arrival() {
    let mut node = Node::start().await;
    let mut peer = node.broker.join().await;
    for (packet_id, body) in [(1, "wait"), (2, "b"), (3, "c")] {
        peer.send(publish(packet_id, &node.topic(), "good", body)).await;
    }
    until("the later ones are stored", || node.intake.stored.lock().len() == 2).await;
    node.intake.turns.add_permits(1);
    for packet_id in 1..=3 {
        assert_eq!(peer.acknowledged().await, packet_id);
    }
    node.stop().await;
}

// S268: of two values for one key the later one wins. Batches are begun in the order in which they came, though the
// first takes longer to be let in, or cannot be taken at once.
#[tokio::test]
async fn batches_are_begun_in_the_order_of_arrival() {
    let mut node = Node::with(|config| config.hold_ms = 60_000).await;
    let mut peer = node.broker.join().await;
    for (packet_id, api_key, body) in [(1, "slow", "a"), (2, "unknown", "?"), (3, "good", "b"), (4, "good", "c")] {
        peer.send(publish(packet_id, &node.topic(), api_key, body)).await;
    }
    until("all have asked", || node.door.asked.load(Ordering::Relaxed) == 4).await;
    node.intake.refusals.store(2, Ordering::Relaxed);
    node.door.patience.add_permits(1);
    for packet_id in 1..=4 {
        assert_eq!(peer.acknowledged().await, packet_id);
    }
    assert_eq!(*node.intake.stored.lock(), ["a", "b", "c"]);
    node.stop().await;
}

// An acknowledgement is never sent on a later connection than its message's: there the packet id is another message's.
#[tokio::test]
async fn an_acknowledgement_dies_with_its_connection() {
    let mut node = Node::start().await;
    let mut first = node.broker.join().await;
    first.send(publish(1, &node.topic(), "good", "wait")).await;
    until("it is being stored", || node.intake.waiting.lock().len() == 1).await;
    drop(first);
    let mut second = node.broker.join().await;
    node.intake.turns.add_permits(1);
    until("it is stored", || node.intake.stored.lock().len() == 1).await;
    second.send(publish(9, &node.topic(), "good", "x")).await;
    assert_eq!(second.acknowledged().await, 9, "not 1");
    node.stop().await;
}

// api.md §2: what cannot be stored now is never acknowledged; after a while the connection is given up.
#[tokio::test]
async fn what_can_be_stored_later_is_held_and_then_released() {
    let mut node = Node::start().await;
    node.intake.is_full.store(true, Ordering::Relaxed);
    let mut first = node.broker.join().await;
    first.send(publish(1, &node.topic(), "good", "a")).await;
    match first.receive().await {
        Some(Packet::Disconnect(disconnect)) => {
            assert_eq!(disconnect.reason_code, DisconnectReasonCode::NormalDisconnection);
            assert_eq!(disconnect.properties, None, "the session and what is queued in it stay");
        }
        other => panic!("{other:?}"),
    }
    node.wait_for_complaint("spool_full").await;
    node.intake.is_full.store(false, Ordering::Relaxed);
    let mut second = node.broker.join().await;
    second.send(publish(1, &node.topic(), "good", "a")).await;
    assert_eq!(second.acknowledged().await, 1);
    assert_eq!(*node.intake.stored.lock(), ["a"]);
    node.stop().await;
}

// The same without a loss of the connection, where it becomes possible in time.
#[tokio::test]
async fn what_can_be_stored_soon_is_stored_without_a_new_connection() {
    let mut node = Node::with(|config| config.hold_ms = 60_000).await;
    node.intake.is_full.store(true, Ordering::Relaxed);
    let mut peer = node.broker.join().await;
    peer.send(publish(1, &node.topic(), "good", "a")).await;
    assert!(timeout(Duration::from_millis(100), peer.receive()).await.is_err(), "neither acknowledged nor given up");
    node.intake.is_full.store(false, Ordering::Relaxed);
    assert_eq!(peer.acknowledged().await, 1);
    node.stop().await;
}

// Stopping: nothing new is taken, what is durable is acknowledged, the session stays.
#[tokio::test]
async fn a_stop_acknowledges_what_is_being_stored() {
    let mut node = Node::start().await;
    let mut peer = node.broker.join().await;
    peer.send(publish(1, &node.topic(), "good", "wait")).await;
    until("it is being stored", || node.intake.waiting.lock().len() == 1).await;
    node.shutdown.cancel();
    node.intake.turns.add_permits(1);
    assert_eq!(peer.acknowledged().await, 1);
    match peer.receive().await {
        Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.properties, None),
        other => panic!("{other:?}"),
    }
    drop(peer);
    node.stop().await;
}

// A broker that knows no receive maximum is not read while too much waits; nothing is lost by it.
#[tokio::test]
async fn more_than_the_receive_maximum_waits_in_the_socket() {
    let mut node = Node::with(|config| config.receive_maximum = 2).await;
    let mut peer = node.broker.join().await;
    for packet_id in 1..=40 {
        peer.send(publish(packet_id, &node.topic(), "good", "wait")).await;
    }
    until("two are being stored", || node.intake.waiting.lock().len() == 2).await;
    assert!(timeout(Duration::from_millis(50), peer.receive()).await.is_err());
    assert_eq!(node.intake.waiting.lock().len(), 2);
    node.intake.turns.add_permits(40);
    for packet_id in 1..=40 {
        assert_eq!(peer.acknowledged().await, packet_id);
    }
    node.stop().await;
}

// /readyz names the reason, and no try is the last one.
#[tokio::test]
async fn a_refusal_of_the_broker_is_named() {
    let mut node = Node::start().await;
    let (_, mut peer) = node.broker.accept(false).await;
    peer.grant(SubscribeReasonCode::SharedSubscriptionsNotSupported).await;
    node.wait_for_complaint("SharedSubscriptionsNotSupported").await;
    let mut peer = node.broker.join().await;
    until("ready", || node.health.complaints().is_empty()).await;
    peer.end(DisconnectReasonCode::SessionTakenOver).await;
    node.wait_for_complaint("bridge.client_id").await;
    let mut peer = node.broker.join().await;
    peer.end(DisconnectReasonCode::ServerShuttingDown).await;
    node.wait_for_complaint("ServerShuttingDown").await;
    node.stop().await;
}

// A node that leaves takes what is queued for it, and is no longer in the group.
#[tokio::test]
async fn a_leaving_node_unsubscribes_and_goes_on() {
    let mut node = Node::with(|config| config.leaving = true).await;
    let (_, mut peer) = node.broker.accept(true).await;
    match peer.receive().await {
        Some(Packet::Unsubscribe(packet)) => {
            assert_eq!(packet.filters, ["$share/sensorgate/grq/v1/+/readings"]);
            let answer = UnsubAck { pkid: packet.pkid, reasons: vec![UnsubAckReason::Success], properties: None };
            peer.send(Packet::UnsubAck(answer)).await;
        }
        other => panic!("{other:?}"),
    }
    peer.send(publish(1, &node.topic(), "good", "queued")).await;
    assert_eq!(peer.acknowledged().await, 1);
    node.stop().await;
}
