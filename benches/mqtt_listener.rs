//! What the MQTT listener alone costs: CPU of its threads a publish, over loopback, with real credentials and windows and
//! an intake that drops the batch. Criterion measures wall time, which says little here, so this counts for itself.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Instant,
};

use bytes::BytesMut;
use rumqttc::{
    mqttbytes::{QoS, v4},
    v5::mqttbytes::{QoS as QoS5, v5},
};
use sensorgate::{
    auth::{
        Authenticator, Principal, Registry,
        jwks::InProcess,
        jwt::{IssuerConfig, TrustedIssuer, Verifier},
    },
    config::Config,
    ingest::{BatchResult, Budget, Refused, Submission},
    issuer::Issuer,
    journal::LogJournal,
    listener::Port,
    model::{
        ApiKey, ClientKey, IntegrationFacts, IntegrationId, KeyFact, OrganisationId, Scope, integration::RPM_MAX, topic,
    },
    mqtt::{Answering, Args, Edge, Framing, Intake},
    telemetry::health::Health,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const SESSIONS: usize = 16;
const IN_FLIGHT: usize = 8;
/// Publishes of a session: fewer than its integration may send in a minute.
const PUBLISHES: usize = RPM_MAX as usize * 9 / 10;
const PAYLOAD_BYTES: usize = 50_000;
/// Name of the threads whose CPU counts.
const SERVER: &str = "listener";

/// Says that everything was stored, and drops it.
#[derive(Debug)]
struct Dropped;

impl Intake for Dropped {
    fn submit(self: Arc<Self>, _: Arc<Principal>, _: Submission) -> Answering<'static, Result<BatchResult, Refused>> {
        Box::pin(async { Ok(BatchResult { received: 500, accepted: 500, ..BatchResult::default() }) })
    }
}

/// An integration that may connect.
struct Caller {
    topic: String,
    key: String,
    token: String,
}

/// The door as the service has it, with one integration for each session.
fn door(config: &Config, keys: &std::path::Path) -> (Arc<Authenticator>, Vec<Caller>) {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let issuer = Arc::new(Issuer::open(keys, &config.issuer, None, now_us).expect("an issuer"));
    let source = Arc::clone(&issuer);
    let source = Arc::new(InProcess::new(move || source.jwks()));
    let embedded = IssuerConfig::embedded(issuer.name(), issuer.audience());
    let trusted = vec![TrustedIssuer::in_process(embedded, source)];
    let verifier = Verifier::new(&config.auth.tokens, trusted, None, Health::default()).expect("a verifier");
    verifier.start(&CancellationToken::new());
    let registry = Arc::new(Registry::new(config.auth.cached_keys_max));
    let organisation_id = OrganisationId::generate();
    let mut callers = Vec::new();
    for number in 0..SESSIONS {
        let (id, client_id) = (IntegrationId::generate(), format!("gateway-{number}"));
        let key = ApiKey::generate_with(getrandom::fill).expect("random bytes");
        let scopes = [Scope::SensorsWrite].into_iter().collect();
        registry.apply_integration(IntegrationFacts {
            organisation_id,
            rpm: RPM_MAX,
            client: Some(ClientKey { issuer: issuer.name().to_owned(), client_id: client_id.clone() }),
            ..IntegrationFacts::assumed(id, scopes)
        });
        registry.apply_keys([KeyFact { hash: key.hash(), integration_id: id, generation: 1 }]);
        let token = issuer.sign(&client_id, scopes, now_us).expect("signed").access_token;
        callers.push(Caller { topic: topic::readings(id), key: key.expose().to_owned(), token });
    }
    (Arc::new(Authenticator::new(registry, Arc::new(verifier), &config.auth)), callers)
}

/// The bytes of one session: CONNECT, and a publish whose packet id stands at the place given.
fn packets(caller: &Caller, is_v5: bool) -> (BytesMut, BytesMut, usize) {
    let (mut hello, mut publish) = (BytesMut::new(), BytesMut::new());
    let payload = vec![b' '; PAYLOAD_BYTES];
    if is_v5 {
        let connect =
            v5::Connect { keep_alive: 60, client_id: "bench".to_owned(), clean_start: true, properties: None };
        let login = v5::Login::new(&caller.key, &caller.token);
        connect.write(&None, &Some(login), &mut hello).expect("a CONNECT");
        let mut packet = v5::Publish::new(&caller.topic, QoS5::AtLeastOnce, payload, None);
        packet.pkid = 1;
        packet.write(&mut publish).expect("a PUBLISH");
    } else {
        let mut connect = v4::Connect::new("bench");
        connect.set_login(&caller.key, &caller.token);
        connect.write(&mut hello).expect("a CONNECT");
        let mut packet = v4::Publish::new(&caller.topic, QoS::AtLeastOnce, payload);
        packet.pkid = 1;
        packet.write(&mut publish).expect("a PUBLISH");
    }
    // Behind the fixed header and the topic with its length.
    let packet_id_at = 4 + 2 + caller.topic.len();
    assert_eq!(publish[packet_id_at..packet_id_at + 2], [0, 1]);
    (hello, publish, packet_id_at)
}

/// Publishes with [`IN_FLIGHT`] unacknowledged; every PUBACK has to come, in order.
fn drive(addr: SocketAddr, caller: &Caller, is_v5: bool) {
    let (hello, mut publish, packet_id_at) = packets(caller, is_v5);
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    stream.write_all(&hello).expect("sent");
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a CONNACK");
    let mut connack = vec![0; usize::from(head[1])];
    stream.read_exact(&mut connack).expect("a whole CONNACK");
    assert_eq!((head[0], connack[1]), (0x20, 0), "the session is open");
    let mut acks = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut acked = 0;
    for number in 0..PUBLISHES {
        if number - acked == IN_FLIGHT {
            acked += 1;
            await_ack(&mut acks, acked);
        }
        publish[packet_id_at..packet_id_at + 2].copy_from_slice(&(number as u16 + 1).to_be_bytes());
        stream.write_all(&publish).expect("sent");
    }
    while acked < PUBLISHES {
        acked += 1;
        await_ack(&mut acks, acked);
    }
}

fn await_ack(acks: &mut impl Read, packet_id: usize) {
    let mut ack = [0; 4];
    acks.read_exact(&mut ack).expect("a PUBACK");
    // Version 5 may name reason and properties, or leave both away.
    let mut reason = vec![0; usize::from(ack[1]) - 2];
    acks.read_exact(&mut reason).expect("a whole PUBACK");
    let [high, low] = (packet_id as u16).to_be_bytes();
    assert_eq!([ack[0], ack[2], ack[3]], [0x40, high, low], "in the order of the publishes");
    assert!(reason.iter().all(|byte| *byte == 0), "a success: {reason:?}");
}

/// CPU of the server's threads so far, in nanoseconds.
fn server_cpu_ns() -> u64 {
    let threads =
        std::fs::read_dir("/proc/self/task").expect("a Linux").filter_map(Result::ok).map(|entry| entry.path());
    let text = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    threads
        .filter(|thread| text(thread.join("comm")).trim() == SERVER)
        .filter_map(|thread| text(thread.join("schedstat")).split(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = Config::load(None, []).expect("the defaults");
    config.mqtt.connects_per_minute = 60_000_000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(SERVER)
        .enable_all()
        .build()
        .expect("a runtime");
    let inside = runtime.enter();
    for is_v5 in [false, true] {
        let (door, callers) = door(&config, &dir.path().join(if is_v5 { "5" } else { "3" }));
        let edge = Edge::new(Args {
            config: config.mqtt.clone(),
            door,
            intake: Arc::new(Dropped),
            budget: Budget::new(config.ingest.in_flight_bytes_max, 1),
            journal: Arc::new(LogJournal),
            public_url: String::new(),
        });
        let tcp = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let addr = tcp.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let serving = edge.serve(tcp, config.listener.clone(), Port::plain("mqtt"), Framing::Plain, shutdown.clone());
        let serving = runtime.spawn(serving);
        let (before_ns, started) = (server_cpu_ns(), Instant::now());
        thread::scope(|scope| {
            for caller in &callers {
                scope.spawn(move || drive(addr, caller, is_v5));
            }
        });
        let (cpu_ns, took) = (server_cpu_ns() - before_ns, started.elapsed());
        shutdown.cancel();
        runtime.block_on(serving).expect("a clean end");
        let publishes = SESSIONS * PUBLISHES;
        print(&format!(
            "version {}: {:.1} µs CPU a publish of {PAYLOAD_BYTES} bytes, {:.0} publishes/s",
            if is_v5 { "5" } else { "3.1.1" },
            cpu_ns as f64 / 1e3 / publishes as f64,
            publishes as f64 / took.as_secs_f64()
        ));
    }
    drop(inside);
}

#[allow(clippy::print_stdout, reason = "the figure is what it is run for")]
fn print(line: &str) {
    println!("{line}");
}
