//! Hostile bytes on the MQTT port: the connection ends cleanly, and nobody else notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    mqtt_clients::facility,
    support::{
        Facility, Integration, batch,
        mqtt::{Gateway, Library},
        now_s,
        wire::{self, CONNACK, PUBACK, Packet, Wire},
    },
};

/// How long a well-behaved client may wait for an acknowledgement while others misbehave.
const NOTICEABLE: Duration = Duration::from_secs(3);

/// Another integration's client, which goes on with its work all the while.
struct Bystander {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    work: JoinHandle<()>,
}

impl Bystander {
    async fn start(facility: &Facility) -> Self {
        let integration = facility.busy_sender().await;
        let mut gateway = Gateway::open(Library::Rumqttc, 5, &facility.server, &integration, "bystander").await;
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), rounds.clone());
        #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
        let work = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                let n = counted.fetch_add(1, Ordering::SeqCst);
                let sent = Instant::now();
                let (reason, result) = gateway.exchange(&batch("s", 1, now_s() - n as i64)).await;
                assert_eq!((reason, &result.json()["accepted"]), (0, &json!(1)));
                assert!(sent.elapsed() < NOTICEABLE, "{:?}", sent.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { stop, rounds, work }
    }

    /// It was served all the while, on its one connection.
    async fn noticed_nothing(self) {
        let seen = self.rounds.load(Ordering::SeqCst);
        while self.rounds.load(Ordering::SeqCst) < seen + 3 && !self.work.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.stop.store(true, Ordering::SeqCst);
        self.work.await.expect("the well-behaved client noticed something");
    }
}

/// Connections that the server has open, with its listeners.
fn sockets(facility: &Facility) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", facility.server.id())).expect("its open files");
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Its resident memory in KiB.
fn memory_kib(facility: &Facility) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", facility.server.id())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// Waits until no more connections are open than before.
async fn connections_come_back(facility: &Facility, before: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while sockets(facility) > before {
        assert!(Instant::now() < deadline, "{} sockets are open, {before} before", sockets(facility));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn hostile(variables: &[(&str, &str)]) -> (Facility, Integration, Bystander) {
    let often =
        [("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "1000000"), ("SENSORGATE__MQTT__CONNECTS_PER_MINUTE", "1000000")];
    let variables = [&often[..], variables].concat();
    let (facility, sender) = facility(&variables).await;
    let bystander = Bystander::start(&facility).await;
    (facility, sender, bystander)
}

fn connect_of(version: u8, sender: &Integration) -> Vec<u8> {
    wire::connect(version, "raw", &sender.api_key, &sender.token)
}

/// Packets that end a session, with the reason that version 5 is told: name, packet, reason.
fn faults(version: u8, own: &[u8]) -> Vec<(&'static str, Vec<u8>, u8)> {
    let publish = |topic: &[u8]| wire::publish(version, topic, 7, b"{}");
    vec![
        ("a topic that is not UTF-8", publish(b"grq/\xff\xfe/readings"), 0x81),
        ("a topic with half a surrogate pair", publish(b"grq/\xed\xa0\x80"), 0x81),
        ("a topic with U+0000", publish(b"grq/\0/readings"), 0x81),
        ("a topic with a wildcard", publish(b"grq/v1/+/readings"), 0x90),
        ("no topic", publish(b""), 0x90),
        ("a packet identifier of 0", wire::publish(version, own, 0, b"{}"), 0x82),
        ("QoS 3", wire::publish_with(version, 0x36, own, 7, b"{}"), 0x81),
        ("a topic longer than the packet", wire::packet(0x32, &[0xff, 0xff, b'a']), 0x81),
        ("a PUBLISH of nothing", wire::packet(0x32, &[]), 0x81),
        ("a length of five bytes", vec![0x32, 0x80, 0x80, 0x80, 0x80, 0x01], 0x81),
        ("a length of endless bytes", vec![0xff; 64], 0x81),
        ("a length over the limit", vec![0x32, 0xff, 0xff, 0xff, 0x7f], 0x95),
        ("packet type 0", wire::packet(0x00, &[]), 0x81),
        ("a second CONNECT", wire::connect(version, "raw", "a", "b"), 0x82),
        ("a CONNACK", wire::packet(0x20, &[0, 0]), 0x82),
        ("a SUBACK", wire::packet(0x90, &[0, 1, 0]), 0x82),
        ("a PINGRESP", wire::packet(0xd0, &[]), 0x82),
        (
            "SUBSCRIBE with wrong flags",
            {
                let mut p = wire::subscribe(version, b"a", 1);
                p[0] = 0x80;
                p
            },
            0x81,
        ),
        ("SUBSCRIBE without a filter", wire::packet(0x82, if version == 5 { &[0, 1, 0] } else { &[0, 1] }), 0x82),
        ("SUBSCRIBE to no UTF-8", wire::subscribe(version, b"\xff", 1), 0x81),
        ("PINGREQ with a body", wire::packet(0xc0, &[1, 2, 3]), 0x81),
        ("an UNSUBSCRIBE of nothing", wire::packet(0xa2, &[]), 0x81),
    ]
}

// The connection ends with the reason of the standard, and nothing of it is stored or acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn broken_packets_end_their_own_session_only() {
    let (facility, sender, bystander) = hostile(&[]).await;
    let own = format!("grq/v1/{}/readings", sender.id).into_bytes();
    for version in [4, 5] {
        for (what, bytes, reason) in faults(version, &own) {
            let mut wire = Wire::open(&facility.server, version, &sender, "raw").await;
            wire.send(&bytes).await;
            let rest = wire.rest().await;
            assert!(rest.iter().all(|packet| packet.kind() != PUBACK), "{version}: {what}: {rest:?}");
            if version == 5 {
                let told = rest.last().map(Packet::reason);
                // Malformed or a protocol error: a matter of taste in some cases, and so is a topic that is no text.
                let fits =
                    told.is_some_and(|told| told == reason || [0x81, 0x82, 0x90].contains(&told) && reason < 0x90);
                assert!(fits, "{what}: {told:x?} in place of {reason:x}");
            } else {
                assert!(rest.is_empty(), "{what}: {rest:?}");
            }
        }
    }
    bystander.noticed_nothing().await;
}

// Nothing but a CONNECT may come first; what comes with it is judged after it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_before_the_connect_is_answered() {
    let (facility, sender, bystander) = hostile(&[("SENSORGATE__MQTT__CONNECT_TIMEOUT_MS", "1000")]).await;
    let own = format!("grq/v1/{}/readings", sender.id).into_bytes();
    let last_s = now_s();
    for version in [4, 5] {
        let payload = batch("s", 1, last_s - i64::from(version)).to_string();
        let publish = wire::publish(version, &own, 7, payload.as_bytes());
        for (what, bytes) in [
            ("PUBLISH", publish.clone()),
            ("SUBSCRIBE", wire::subscribe(version, b"a", 1)),
            ("PINGREQ", wire::PING.to_vec()),
            ("DISCONNECT", wire::packet(0xe0, &[])),
            ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            ("TLS", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
            ("MQTT 3.1", {
                let mut body = wire::field(b"MQIsdp");
                body.extend([3, 2, 0, 30]);
                body.extend(wire::field(b"a"));
                wire::packet(0x10, &body)
            }),
            ("MQTT 6", {
                let mut body = wire::field(b"MQTT");
                body.extend([6, 2, 0, 30, 0]);
                body.extend(wire::field(b"a"));
                wire::packet(0x10, &body)
            }),
            ("another protocol", {
                let mut body = wire::field(b"MQTQ");
                body.extend([version, 2, 0, 30]);
                wire::packet(0x10, &body)
            }),
            ("the reserved flag", {
                let mut p = connect_of(version, &sender);
                let at = p.windows(4).position(|w| w == b"MQTT").unwrap() + 5;
                p[at] |= 1;
                p
            }),
            ("a length over the limit", vec![0x10, 0xff, 0xff, 0xff, 0x7f]),
            ("a length of five bytes", vec![0x10, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ] {
            let mut wire = Wire::raw(&facility.server, version).await;
            wire.send(&bytes).await;
            let rest = wire.rest().await;
            let is_refusal = |packet: &Packet| packet.kind() == CONNACK && packet.reason() != 0;
            assert!(rest.iter().all(is_refusal), "{version}: {what}: {rest:?}");
        }
        // In one piece with a good CONNECT (MQTT 3.1.1 §3.1.4 allows it), it is served after the CONNACK.
        let mut wire = Wire::raw(&facility.server, version).await;
        wire.send(&[connect_of(version, &sender), publish.clone()].concat()).await;
        let (first, second) = (wire.packet().await.unwrap(), wire.packet().await.unwrap());
        assert_eq!((first.kind(), first.reason(), second.kind(), second.reason()), (CONNACK, 0, PUBACK, 0));
        // With a bad one, never.
        let mut wire = Wire::raw(&facility.server, version).await;
        let bad = wire::connect(version, "raw", &sender.api_key, "not.a.token");
        wire.send(&[bad, publish].concat()).await;
        let rest = wire.rest().await;
        assert!(rest.iter().all(|packet| packet.kind() == CONNACK && packet.reason() != 0), "{rest:?}");
    }
    assert_eq!(facility.stored(&sender, "s", "temperature", 2).await.len(), 2);
    bystander.noticed_nothing().await;
}

// A packet identifier that is still in use: either answer is right, as long as each batch is stored once and the count
// of acknowledgements is that of the publishes.
#[tokio::test(flavor = "multi_thread")]
async fn a_packet_identifier_that_comes_twice_harms_nobody() {
    let (facility, sender, bystander) = hostile(&[]).await;
    let own = format!("grq/v1/{}/readings", sender.id).into_bytes();
    for version in [4, 5] {
        let mut wire = Wire::open(&facility.server, version, &sender, "raw").await;
        let last_s = now_s() - i64::from(version) * 10;
        let one = |n: i64, first| {
            let payload = batch("s", 1, last_s - n).to_string();
            wire::publish_with(version, first, &own, 7, payload.as_bytes())
        };
        wire.send(&[one(0, 0x32), one(1, 0x32), one(1, 0x3a)].concat()).await;
        wire.send(&wire::packet(0xe0, &[])).await;
        let rest = wire.rest().await;
        let acks = rest.iter().filter(|packet| packet.kind() == PUBACK).count();
        let stored = facility.stored(&sender, "s", "temperature", 0).await;
        assert!(acks <= 3 && rest.iter().all(|packet| packet.kind() != PUBACK || packet.id() == 7), "{rest:?}");
        assert!(stored.windows(2).all(|pair| pair[0].0 < pair[1].0), "{stored:?}");
    }
    bystander.noticed_nothing().await;
}

// Silent connections, silent and endless packets: each ends by itself, before and after the CONNECT.
#[tokio::test(flavor = "multi_thread")]
async fn the_silent_and_the_endless_are_shown_out() {
    let (facility, sender, bystander) =
        hostile(&[("SENSORGATE__MQTT__CONNECT_TIMEOUT_MS", "700"), ("SENSORGATE__MQTT__PACKET_TIMEOUT_MS", "700")])
            .await;
    let before = sockets(&facility);
    let own = format!("grq/v1/{}/readings", sender.id).into_bytes();
    let large = wire::publish(5, &own, 7, &vec![b' '; 200_000]);
    let mut connections = Vec::new();
    for n in 0..40 {
        let mut silent = Wire::raw(&facility.server, 5).await;
        let connect = connect_of(5, &sender);
        // Nothing; one byte; half a CONNECT.
        silent.send(&connect[..[0, 1, connect.len() / 2][n % 3]]).await;
        connections.push(silent);
    }
    for n in 0..6 {
        let mut half = Wire::open(&facility.server, 5, &sender, &format!("half-{n}")).await;
        half.send(&large[..[5, 40, 100_000][n % 3]]).await;
        connections.push(half);
    }
    // A header that does not end is silence: one and a half times the keep-alive.
    for n in 0..6 {
        let mut quiet = Wire::raw(&facility.server, 5).await;
        quiet.send(&wire::connect_for(5, 1, &format!("quiet-{n}"), &sender.api_key, &sender.token)).await;
        assert_eq!(quiet.packet().await.map(|packet| packet.kind()), Some(CONNACK));
        quiet.send(&large[..[0, 1, 3][n % 3]]).await;
        connections.push(quiet);
    }
    // One byte now and then: a packet that never ends.
    let mut dripping = Wire::open(&facility.server, 5, &sender, "dripping").await;
    let started = Instant::now();
    for byte in &large {
        if dripping.packet_within(Duration::from_millis(50)).await.is_ok() {
            break;
        }
        dripping.send(&[*byte]).await;
        assert!(started.elapsed() < Duration::from_secs(10), "a packet of one byte every 50 ms is read for ever");
    }
    for mut connection in connections {
        connection.rest().await;
    }
    drop(dripping);
    connections_come_back(&facility, before).await;
    bystander.noticed_nothing().await;
}

// A client that does not read its results: it is shut out alone, and its batches are stored all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_harms_only_itself() {
    let (facility, sender, bystander) = hostile(&[("SENSORGATE__MQTT__UNSENT_TIMEOUT_MS", "700")]).await;
    let before = sockets(&facility);
    let own = format!("grq/v1/{}/readings", sender.id).into_bytes();
    let mut deaf = Wire::open(&facility.server, 5, &sender, "deaf").await;
    let mut subscribe = wire::subscribe(5, format!("grq/v1/{}/results", sender.id).as_bytes(), 1);
    // At QoS 0: at QoS 1 it would be sent no more than it leaves unacknowledged.
    *subscribe.last_mut().expect("the QoS") = 0;
    deaf.send(&subscribe).await;
    let rejected = json!({"readings": vec![json!({"external_id": "nobody", "id": "x".repeat(60)}); 500]}).to_string();
    let publish = wire::publish_with(5, 0x30, &own, 0, rejected.as_bytes());
    let started = Instant::now();
    // Until the server has had enough: the write fails, or nobody reads it any more.
    while started.elapsed() < Duration::from_secs(30) {
        match timeout(Duration::from_secs(5), deaf.stream.write_all(&publish)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) => panic!("the server neither reads nor closes"),
        }
    }
    drop(deaf);
    connections_come_back(&facility, before).await;
    bystander.noticed_nothing().await;
}

/// A small generator of numbers that are the same in every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// A good packet made worse: bits flipped, bytes cut, inserted or repeated.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match self.below(5) {
                _ if bytes.is_empty() => return,
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes.truncate(at),
                3 => drop(bytes.splice(at..at, self.bytes(3))),
                _ => bytes.extend_from_within(at..),
            }
        }
    }
}

/// Sends it, says that no more comes, and waits until the server closes.
async fn thrown_at(facility: &Facility, bytes: &[u8]) {
    let mut stream = TcpStream::connect(facility.server.mqtt_authority()).await.expect("the port is open");
    // The server may have closed already.
    if stream.write_all(bytes).await.is_ok() {
        stream.shutdown().await.ok();
    }
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection stays open after {bytes:x?}");
}

async fn throw_all(facility: &Arc<Facility>, packets: Vec<Vec<u8>>) {
    let mut throwers = Vec::new();
    for share in packets.chunks(packets.len().div_ceil(8)) {
        let (facility, share) = (facility.clone(), share.to_vec());
        #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
        throwers.push(tokio::spawn(async move {
            for packet in share {
                thrown_at(&facility, &packet).await;
            }
        }));
    }
    for thrower in throwers {
        thrower.await.expect("no panic");
    }
}

// Random and mutated packets, the same in every run, before and after the CONNECT.
#[tokio::test(flavor = "multi_thread")]
async fn random_and_mutated_packets_harm_nobody() {
    let (facility, sender, bystander) = hostile(&[("SENSORGATE__MQTT__CONNECT_TIMEOUT_MS", "5000")]).await;
    let facility = Arc::new(facility);
    let own = format!("grq/v1/{}/readings", sender.id).into_bytes();
    let results = format!("grq/v1/{}/results/#", sender.id).into_bytes();
    let payload = batch("s", 2, now_s()).to_string();
    let mut dice = Dice(0x5eed_6a7e);
    let mut packets = Vec::new();
    for n in 0..3_000 {
        let version = [4, 5][n % 2];
        let connect = wire::connect(version, &format!("raw-{n}"), &sender.api_key, &sender.token);
        let good = [
            connect.clone(),
            wire::publish(version, &own, n as u16, payload.as_bytes()),
            wire::publish_with(version, 0x3d, &own, 3, payload.as_bytes()),
            wire::subscribe(version, &results, 5),
            wire::packet(
                0xa2,
                &[&[0, 1][..], if version == 5 { &[0][..] } else { &[] }, &wire::field(&results)].concat(),
            ),
            wire::packet(0x40, &[0, 1]),
            wire::PING.to_vec(),
            wire::packet(0xe0, &[0, 0]),
            wire::packet(0xf0, &[0, 0]),
        ];
        let before_connect = n % 3 == 0;
        let mut bytes = if n % 5 == 0 {
            let size = dice.below(300);
            dice.bytes(size)
        } else {
            good[dice.below(good.len())].clone()
        };
        if n % 5 != 0 {
            dice.mutate(&mut bytes);
        }
        packets.push(if before_connect { bytes } else { [connect, bytes].concat() });
    }
    let warm_up = packets.split_off(packets.len() - 500);
    let before = sockets(&facility);
    throw_all(&facility, warm_up).await;
    let kib = memory_kib(&facility);
    throw_all(&facility, packets).await;
    connections_come_back(&facility, before).await;
    let grown_kib = memory_kib(&facility).saturating_sub(kib);
    assert!(grown_kib < 32 * 1024, "the memory grew by {grown_kib} KiB");
    bystander.noticed_nothing().await;
}
