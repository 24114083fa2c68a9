//! Faults under MQTT: kill -9 under mixed load, lost acknowledgements, no room, and what users of others' brokers report.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    mqtt_clients::facility,
    support::{
        Facility, Integration, batch,
        mqtt::{Connect, Gateway, Library, PATIENCE, VERSIONS},
        now_s,
        wire::{self, DISCONNECT, PUBACK, Wire},
    },
};

/// Refuses every batch for now, as a full disk does.
const NO_ROOM: (&str, &str) = ("SENSORGATE__SPOOL__FREE_DISK_BYTES_MIN", "1125899906842624");

/// Asserts that each of the ten seconds up to the last one of each acknowledged batch is stored, and nothing twice. What
/// was stored without an acknowledgement may be there, too.
async fn stored_once(facility: &Facility, sender: &Integration, acked: &[i64]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stored = facility.stored(sender, "s", "temperature", acked.len() * 10).await;
        assert!(stored.windows(2).all(|pair| pair[0].0 < pair[1].0), "a reading stands twice");
        let times: HashSet<i64> = stored.iter().map(|(at, _)| *at).collect();
        let lost = acked.iter().flat_map(|last| last - 9..=*last).filter(|at| !times.contains(at)).count();
        if lost == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{lost} acked readings are lost");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Publishes `count` batches of ten, eight in flight, until the connection breaks; the last second of each acknowledged
/// one.
async fn publish_until_it_breaks(mut wire: Wire, topic: Vec<u8>, first_s: i64, count: u16) -> Vec<i64> {
    let (mut acked, mut next, mut waiting) = (Vec::new(), 0_u16, 0);
    loop {
        while waiting < 8 && next < count {
            next += 1;
            let payload = batch("s", 10, first_s + i64::from(next) * 10).to_string();
            wire.send(&wire::publish(wire.version, &topic, next, payload.as_bytes())).await;
            waiting += 1;
        }
        match wire.packet().await {
            Some(ack) if ack.kind() == PUBACK && ack.reason() == 0 => {
                acked.push(first_s + i64::from(ack.id()) * 10);
                waiting -= 1;
                if acked.len() == usize::from(count) {
                    return acked;
                }
            }
            Some(packet) if packet.kind() == DISCONNECT => return acked,
            Some(other) => panic!("{other:?}"),
            None => return acked,
        }
    }
}

/// Posts batches of ten until the connection breaks; the last second of each one that was answered 200.
async fn post_until_it_breaks(facility: Arc<Facility>, sender: Integration, first_s: i64) -> Vec<i64> {
    let mut acked = Vec::new();
    for n in 1..=399 {
        let last_s = first_s + n * 10;
        let request = facility.request(&sender, Method::POST, "/v1/sensors/readings");
        match request.json(&batch("s", 10, last_s)).send().await {
            Ok(answer) if answer.status() == 200 => acked.push(last_s),
            Ok(answer) if answer.status() == 503 => {}
            Ok(answer) => panic!("{}", answer.status()),
            Err(_) => break,
        }
    }
    acked
}

// The promise of api.md §2 under kill -9, HTTP and MQTT at once: every reading with a PUBACK is there once.
#[tokio::test(flavor = "multi_thread")]
async fn kills_under_mixed_load_lose_and_double_nothing() {
    let (facility, sender) = facility(&[]).await;
    let (first_s, mut facility) = (now_s() - 200_000, Arc::new(facility));
    let topic = format!("grq/v1/{}/readings", sender.id).into_bytes();
    let (mut over_mqtt, mut over_http) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let (mut publishers, mut posters) = (Vec::new(), Vec::new());
        for n in 0..4_i64 {
            let version = VERSIONS[n as usize % 2];
            let wire = Wire::open(&facility.server, version, &sender, &format!("writer-{n}")).await;
            let base_s = first_s + (round * 8 + n) * 4_000;
            #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
            publishers.push(tokio::spawn(publish_until_it_breaks(wire, topic.clone(), base_s, 399)));
            let base_s = base_s + 4 * 4_000;
            #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
            posters.push(tokio::spawn(post_until_it_breaks(facility.clone(), sender.clone(), base_s)));
        }
        tokio::time::sleep(Duration::from_millis(200 + 100 * round as u64)).await;
        let id = facility.server.id();
        assert!(std::process::Command::new("kill").args(["-9", &id.to_string()]).status().unwrap().success());
        for publisher in publishers {
            over_mqtt.extend(publisher.await.expect("no panic"));
        }
        for poster in posters {
            over_http.extend(poster.await.expect("no panic"));
        }
        let whole = Arc::get_mut(&mut facility).expect("nobody else uses it any more");
        whole.server.kill_9();
        whole.server.restart();
    }
    let counts = (over_mqtt.len(), over_http.len());
    assert!(counts.0 > 20 && counts.1 > 20, "the kills came too early to prove anything: {counts:?}");
    stored_once(&facility, &sender, &[over_mqtt, over_http].concat()).await;
}

/// A network between client and server that can lose what the server says.
struct Network {
    address: std::net::SocketAddr,
    deaf: Arc<AtomicBool>,
    work: JoinHandle<()>,
}

impl Network {
    async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (deaf, server) = (Arc::new(AtomicBool::new(false)), server.to_owned());
        let loses = deaf.clone();
        #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
        let work = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let server = TcpStream::connect(&server).await.expect("the server");
                #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
                tokio::spawn(carry(client, server, loses.clone()));
            }
        });
        Self { address, deaf, work }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Carries bytes both ways. Once `deaf`, the server's next words are lost and the connection is cut.
async fn carry(client: TcpStream, server: TcpStream, deaf: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = async {
        let mut words = [0; 4096];
        while let Ok(n @ 1..) = from_server.read(&mut words).await {
            if deaf.load(Ordering::SeqCst) || to_client.write_all(&words[..n]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { _ = there => {}, () = back => {} }
}

// The server has the batch, the PUBACK is lost, the gateway sends it again after its reconnect: stored once.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_acknowledgement_and_the_resend_store_once() {
    let (facility, sender) = facility(&[]).await;
    let network = Network::to(facility.server.mqtt_authority()).await;
    let url = format!("mqtt://{}", network.address);
    let last_s = now_s() - 1_000;
    let mut stored = 0;
    for library in Library::available() {
        for version in VERSIONS {
            stored += 10;
            let payload = batch("s", 10, last_s - stored);
            let connect = Connect::to(&url, version, &sender, "gateway");
            let mut gateway = Gateway::start(library, &connect, &sender).await;
            assert_eq!(gateway.connack().await, 0);
            network.deaf.store(true, Ordering::SeqCst);
            gateway.send(&payload).await;
            gateway.ended().await;
            network.deaf.store(false, Ordering::SeqCst);
            assert!(!gateway.has_puback());
            let times = facility.stored(&sender, "s", "temperature", stored as usize).await;
            assert_eq!(times.len(), stored as usize, "{library:?} {version}: the server had it");
            let mut again = Gateway::accepted(library, &connect, &sender).await;
            let (reason, result) = again.exchange(&payload).await;
            assert_eq!((reason, &result.json()["duplicates"]), (0, &json!(10)), "{library:?} {version}");
        }
    }
    let times = facility.stored(&sender, "s", "temperature", stored as usize).await;
    assert_eq!(times.len(), stored as usize);
}

// api.md §2: a transient refusal is never acked in either version: it is held, and after a while the connection is
// closed (v5 0x89). What was held is stored once when it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn without_room_nothing_is_acknowledged_and_the_connection_is_closed() {
    let (mut facility, sender) = facility(&[NO_ROOM, ("SENSORGATE__MQTT__HOLD_MS", "800")]).await;
    facility.server.expect_error("free disk");
    let payload = batch("s", 10, now_s());
    let topic = format!("grq/v1/{}/readings", sender.id).into_bytes();
    for (version, reason) in [(4, None), (5, Some(0x89))] {
        let mut wire = Wire::open(&facility.server, version, &sender, "raw").await;
        let sent = Instant::now();
        wire.send(&wire::publish(version, &topic, 7, payload.to_string().as_bytes())).await;
        wire.send(&wire::PING).await;
        let rest = wire.rest().await;
        assert!(rest.iter().all(|packet| packet.kind() != PUBACK), "{rest:?}");
        assert!(rest.iter().any(|packet| packet.kind() == wire::PINGRESP), "it lives while it is held: {rest:?}");
        let told = rest.last().filter(|packet| packet.kind() == DISCONNECT).map(wire::Packet::reason);
        assert_eq!(told, reason);
        assert!((700..5_000).contains(&sent.elapsed().as_millis()), "{:?}", sent.elapsed());
    }
    for library in Library::available() {
        let mut gateway = Gateway::open(library, 5, &facility.server, &sender, "gateway").await;
        gateway.send(&payload).await;
        assert_eq!(gateway.ended().await, Some(0x89), "{library:?}");
        assert!(!gateway.has_puback(), "{library:?}");
    }
    facility.server.kill_9();
    facility.server.set(NO_ROOM.0, "0");
    facility.server.restart();
    let mut gateway = Gateway::open(Library::Rumqttc, 5, &facility.server, &sender, "gateway").await;
    let (reason, result) = gateway.exchange(&payload).await;
    assert_eq!((reason, &result.json()["duplicates"]), (0, &json!(0)), "nothing had been stored");
    assert_eq!(facility.stored(&sender, "s", "temperature", 10).await.len(), 10);
}

// eclipse-mosquitto/mosquitto#3687: a PUBACK of success, and the message is dropped because a queue is full. Here the
// queue before the disk holds a single batch, and 12 gateways fill it: whatever is acknowledged is there.
#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_3687_no_success_puback_before_a_drop() {
    let variables = [("SENSORGATE__SPOOL__QUEUE_RECORDS_MAX", "1"), ("SENSORGATE__MQTT__HOLD_MS", "100")];
    let (facility, sender) = facility(&variables).await;
    let facility = Arc::new(facility);
    let first_s = now_s() - 100_000;
    let mut writers = Vec::new();
    for n in 0..12_i64 {
        let (facility, sender) = (facility.clone(), sender.clone());
        #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
        writers.push(tokio::spawn(async move {
            let topic = format!("grq/v1/{}/readings", sender.id).into_bytes();
            let (mut acked, mut cut) = (Vec::new(), 0);
            // Each connection that is cut for lack of room goes on with the batches after those it had in flight.
            for attempt in 0..3 {
                let version = VERSIONS[n as usize % 2];
                let wire = Wire::open(&facility.server, version, &sender, &format!("writer-{n}")).await;
                let there = publish_until_it_breaks(wire, topic.clone(), first_s + (n * 4 + attempt) * 1_000, 20).await;
                cut += usize::from(there.len() < 20);
                acked.extend(there);
            }
            (acked, cut)
        }));
    }
    let (mut acked, mut cut) = (Vec::new(), 0);
    for writer in writers {
        let (there, times) = writer.await.expect("no panic");
        acked.extend(there);
        cut += times;
    }
    assert!(acked.len() > 30 && cut > 0, "{} acknowledged, {cut} connections cut", acked.len());
    stored_once(&facility, &sender, &acked).await;
}

// thingsboard/tbmq#320: messages are skipped after offline time. Here a gateway that was away sends what it has, and all
// of it is there: no session is promised that would not be kept.
#[tokio::test(flavor = "multi_thread")]
async fn tbmq_320_nothing_is_skipped_after_offline_time() {
    if !Library::Paho.is_available() {
        return;
    }
    let (mut facility, sender) = facility(&[]).await;
    let first_s = now_s() - 10_000;
    // On version 5 paho sends more than the Receive Maximum after a reconnect, which the standard forbids; there the
    // example in Python has its own ledger, and `examples.rs` proves the same.
    let connect = Connect { reconnects: true, ..Connect::to(&facility.server.mqtt_url, 4, &sender, "gateway") };
    let mut gateway = Gateway::start(Library::Paho, &connect, &sender).await;
    assert!(!gateway.connack_whole().await.1);
    // The service is away twice while the gateway goes on; paho connects and sends again by itself.
    for n in 0..300 {
        match n {
            100 | 200 => facility.server.kill_9(),
            150 | 250 => {
                facility.server.restart();
                assert!(!gateway.connack_whole().await.1, "no session is present");
            }
            _ => {}
        }
        gateway.send(&batch("s", 10, first_s + n * 10 + 9)).await;
    }
    for _ in 0..300 {
        assert_eq!(gateway.puback().await, 0);
    }
    let acked: Vec<i64> = (0..300).map(|n| first_s + n * 10 + 9).collect();
    stored_once(&facility, &sender, &acked).await;
}

// emqx/emqx#1350: a revoked user's connection lives on. Here none does: each has ended before the administrator is answered.
#[tokio::test(flavor = "multi_thread")]
async fn emqx_1350_a_revoked_integration_has_no_living_connection() {
    let (facility, victim) = facility(&[]).await;
    let other = facility.busy_sender().await;
    let mut neighbour = Gateway::open(Library::Rumqttc, 5, &facility.server, &other, "gateway-0").await;
    let mut gateways = Vec::new();
    for library in Library::available() {
        for version in VERSIONS {
            let name = format!("gateway-{}", gateways.len());
            gateways.push((library, version, Gateway::open(library, version, &facility.server, &victim, &name).await));
        }
    }
    let mut wires = Vec::new();
    for n in 0..20 {
        wires.push(Wire::open(&facility.server, VERSIONS[n % 2], &victim, &format!("wire-{n}")).await);
    }
    let answer = facility.post(&format!("/admin/v1/integrations/{}/revoke", victim.id), json!({})).await.expect(200);
    let answered = Instant::now();
    assert_eq!(answer.json["cut"]["sessions"], gateways.len() + wires.len(), "{}", answer.text);
    // Closed by then: nothing is waited for any more.
    for mut wire in wires {
        let version = wire.version;
        assert_eq!(wire.ended().await, (version == 5).then_some(0x98));
    }
    for (library, version, mut gateway) in gateways {
        assert_eq!(gateway.ended().await, (version == 5).then_some(0x98), "{library:?} {version}");
        assert!(answered.elapsed() < Duration::from_secs(3));
        let connect = Connect::to(&facility.server.mqtt_url, version, &victim, "gateway");
        let mut again = Gateway::start(library, &connect, &victim).await;
        assert_ne!(again.connack().await, 0, "{library:?} {version}");
    }
    assert_eq!(neighbour.exchange(&batch("s", 1, now_s())).await.0, 0);
}
