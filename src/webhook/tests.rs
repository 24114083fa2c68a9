//! The guard and one attempt, against resolvers that lie and a port that must stay untouched.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    control::{DueDelivery, Verdict, WebhookSecret},
    model::{
        EventId, IntegrationId, WebhookId,
        webhook::{TargetError, TargetRules},
    },
    webhook::guard::Refused,
};

/// Answers each question with the next list; the last one for ever.
struct Script(Vec<&'static [&'static str]>, AtomicUsize);

impl Script {
    fn new(answers: Vec<&'static [&'static str]>) -> Arc<Self> {
        Arc::new(Self(answers, AtomicUsize::new(0)))
    }

    fn asked(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

impl Resolve for Script {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let index = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
            let ips = self.0[index].iter().map(|text| text.parse::<IpAddr>().map_err(io::Error::other));
            ips.collect()
        })
    }
}

fn config() -> Config {
    let table: toml::Table = include_str!("../../config/default.toml").parse().unwrap();
    Config { connect_timeout_ms: 2_000, timeout_ms: 3_000, ..table["webhook"].clone().try_into().unwrap() }
}

fn guard(rules: TargetRules, own: Vec<SocketAddr>, script: &Arc<Script>) -> Guard {
    Guard::new(rules, own, Arc::clone(script) as _, Duration::from_secs(1))
}

fn due(url: &str) -> DueDelivery {
    DueDelivery {
        seq: 1,
        event_id: EventId::generate(),
        webhook_id: WebhookId::generate(),
        integration_id: IntegrationId::generate(),
        url: url.to_owned(),
        secret: Some(WebhookSecret::assumed([7; 32])),
        body: "{}".to_owned(),
        failures: 0,
        is_replay: false,
    }
}

// S311: one bad address among good ones refuses the name; so does one written as IPv6.
#[tokio::test]
async fn a_name_is_judged_by_everything_that_it_resolves_to() {
    for (answers, expected) in [
        (&["8.8.8.8"][..], None),
        (&["8.8.8.8", "2606:4700::1111"], None),
        (&["10.0.0.1"], Some(TargetError::Address)),
        (&["8.8.8.8", "10.0.0.1"], Some(TargetError::Address)),
        (&["::ffff:127.0.0.1"], Some(TargetError::Address)),
        (&["::1"], Some(TargetError::Address)),
        (&["169.254.169.254"], Some(TargetError::Address)),
        (&["fe80::1"], Some(TargetError::Address)),
        // A name without an address is saved: it may get one.
        (&[], None),
    ] {
        let script = Script::new(vec![answers]);
        let judged = guard(config().rules(), vec![], &script).check("https://receiver.example.com/").await;
        assert_eq!(judged.err(), expected, "{answers:?}");
        assert_eq!(script.asked(), 1);
    }
}

// S311: a name that shows a good address when it is saved and a bad one when it is connected to is not connected to.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_refused_at_the_connection() {
    let script = Script::new(vec![&["8.8.8.8"], &["127.0.0.1"]]);
    let guard = guard(config().rules(), vec![], &script);
    assert!(guard.check("https://rebind.example.com/").await.is_ok());
    let refused = guard.admit("https://rebind.example.com/").await.err();
    assert_eq!(refused, Some(Refused::Target(TargetError::Address)));
    // What is connected to is what was judged: nobody asks again.
    let script = Script::new(vec![&["8.8.8.8"], &["127.0.0.1"]]);
    let guard = self::guard(config().rules(), vec![], &script);
    let (_, addresses) = guard.admit("https://rebind.example.com/").await.unwrap();
    assert_eq!((addresses, script.asked()), (vec!["8.8.8.8:443".parse().unwrap()], 1));
}

#[tokio::test]
async fn addresses_are_judged_without_a_resolver_and_our_own_ports_are_refused() {
    let script = Script::new(vec![&["8.8.8.8"]]);
    let rules = TargetRules { allow_private: true, ..TargetRules::default() };
    let own = vec!["127.0.0.1:8081".parse().unwrap(), "0.0.0.0:8080".parse().unwrap()];
    let guard = guard(rules, own, &script);
    for (url, expected) in [
        ("http://127.0.0.1:8081/", Some(TargetError::Itself)),
        ("http://[::1]:8081/", Some(TargetError::Itself)),
        ("http://[::ffff:127.0.0.1]:8081/", Some(TargetError::Itself)),
        ("http://127.0.0.1:8080/", Some(TargetError::Itself)),
        ("http://127.5.5.5:8080/", Some(TargetError::Itself)),
        ("http://127.0.0.1:8082/", None),
        ("http://10.9.8.7:8081/", None),
        ("http://169.254.169.254/", Some(TargetError::Address)),
    ] {
        assert_eq!(guard.check(url).await.err(), expected, "{url}");
    }
    assert_eq!(script.asked(), 0);
}

// S311, at the socket: a name that leads to a port on this machine opens no connection to it.
#[tokio::test]
async fn a_refused_target_sees_no_connection() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let script = Script::new(vec![&["127.0.0.1"]]);
    let config = Config { ports: vec![port], ..config() };
    let rules = config.rules();
    let sender = Sender::new(config, Arc::new(guard(rules.clone(), vec![], &script))).unwrap();
    let report = sender.attempt(&due(&format!("https://rebind.example.com:{port}/x?y"))).await;
    assert_eq!((report.error, report.status), (Some("address_refused"), None));
    assert_eq!(report.target, format!("https://rebind.example.com:{port}/x"));
    assert!(matches!(report.verdict, Verdict::Retry { .. }));
    // The same where it is allowed does connect: the test can fail.
    let near = TargetRules { allow_private: true, ..rules };
    let config = Config { allow_private_targets: true, ..self::config() };
    let sender = Sender::new(config, Arc::new(guard(near, vec![], &script))).unwrap();
    let url = format!("http://rebind.example.com:{port}/x?y");
    let due = due(&url);
    let (report, accepted) = tokio::join!(sender.attempt(&due), async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut head = vec![0; 4_096];
        let length = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8(head[..length].to_vec()).unwrap()
    });
    assert_eq!((report.error, report.status, report.verdict), (None, Some(204), Verdict::Delivered));
    assert_eq!(report.address, Some("127.0.0.1".parse().unwrap()));
    assert!(accepted.starts_with("POST /x?y HTTP/1.1\r\n"), "{accepted}");
    assert!(accepted.to_lowercase().contains(&format!("\r\nhost: rebind.example.com:{port}\r\n")), "{accepted}");
}

// S311: https proves who is there; a certificate that nobody vouches for ends the attempt before anything is sent.
#[tokio::test]
async fn a_target_must_prove_who_it_is() {
    let key = rcgen::generate_simple_self_signed(vec!["receiver.example.com".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, key.cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let script = Script::new(vec![&["127.0.0.1"]]);
    for (ca_file, host, expected) in [
        (ca.clone(), "receiver.example.com", None),
        (ca.clone(), "other.example.com", Some("tls_failed")),
        (PathBuf::new(), "receiver.example.com", Some("tls_failed")),
    ] {
        let config = Config { allow_private_targets: true, ca_file, ..config() };
        let sender = Sender::new(config.clone(), Arc::new(guard(config.rules(), vec![], &script))).unwrap();
        let url = format!("https://{host}:{port}/");
        let due = due(&url);
        let (report, served) = tokio::join!(sender.attempt(&due), async {
            let (stream, _) = tcp.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { return false };
            let mut head = vec![0; 4_096];
            if !stream.read(&mut head).await.is_ok_and(|length| length > 0) {
                return false;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            true
        });
        assert_eq!((report.error, served), (expected, expected.is_none()), "{host}");
    }
}

#[tokio::test]
async fn an_attempt_is_bounded_in_time_and_in_what_it_reads() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", tcp.local_addr().unwrap());
    let config = Config {
        allow_private_targets: true,
        timeout_ms: 300,
        response_bytes_max: 1_000,
        response_kept_bytes: 10,
        ..config()
    };
    let script = Script::new(vec![&[]]);
    let sender = Sender::new(config.clone(), Arc::new(guard(config.rules(), vec![], &script))).unwrap();
    let silent = due(&url);
    let (report, _stream) = tokio::join!(sender.attempt(&silent), tcp.accept());
    assert_eq!((report.error, report.status), (Some("timeout"), None));
    assert!(report.address.is_some());
    // A body without end after a good status is no failure, and is not read on.
    let (report, _stream) = tokio::join!(sender.attempt(&silent), async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut head = vec![0; 4_096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n").await.unwrap();
        stream.write_all(&[b'x'; 2_000]).await.unwrap();
        stream
    });
    assert_eq!((report.error, report.verdict), (None, Verdict::Delivered));
    assert_eq!(report.response.as_deref(), Some("xxxxxxxxxx"));
    // Nonsense is an answer, too.
    let (report, ()) = tokio::join!(sender.attempt(&silent), async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    });
    assert_eq!((report.error, report.status), (Some("broken"), None));
}

// S310: the schedule as it is configured, then the end; a replay has one attempt.
#[tokio::test]
async fn retries_follow_the_schedule() {
    let script = Script::new(vec![&[]]);
    let config = config();
    let sender = Sender::new(config.clone(), Arc::new(guard(config.rules(), vec![], &script))).unwrap();
    for (failures, pause_s) in config.retry_after_s.iter().enumerate() {
        let due = DueDelivery { failures: u32::try_from(failures).unwrap(), ..due("https://gone.example.com/") };
        let report = sender.attempt(&due).await;
        let Verdict::Retry { at_us } = report.verdict else { panic!("{report:?}") };
        let pause_us = at_us - report.at_us;
        let least_us = i64::try_from(*pause_s).unwrap() * 1_000_000;
        assert!((least_us..=least_us / 10 * 11 + 2_000_000).contains(&pause_us), "{failures}: {pause_us}");
    }
    let last = DueDelivery { failures: 7, ..due("https://gone.example.com/") };
    assert_eq!(sender.attempt(&last).await.verdict, Verdict::Dead);
    let replay = DueDelivery { is_replay: true, ..due("https://gone.example.com/") };
    assert_eq!(sender.attempt(&replay).await.verdict, Verdict::Dead);
    let sealed = DueDelivery { secret: None, ..due("https://gone.example.com/") };
    assert_eq!(sender.attempt(&sealed).await.error, Some("secret_unreadable"));
}

// Standard Webhooks 1.0 and A45, reckoned by Python's hmac.
#[test]
fn signatures_are_those_of_the_specifications() {
    let id: EventId = "0197f2b4-6c1e-7d3a-9b52-3f8e1c6a7d90".parse().unwrap();
    let signature = sign(&WebhookSecret::assumed([7; 32]), id, 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signature.standard, "v1,km/O3cEHOhRHmqF3BvDT1B8EMfa7gnmJ5r6L8oKDkpw=");
    assert_eq!(signature.plain, "sha256=d757b284a3a23b6698ea8c4c828745ab59f4233bd4bfee4298691481628b2b91");
}
