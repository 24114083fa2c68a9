//! The window that HTTP and MQTT share, and the end of a token.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;

use crate::{
    mqtt_clients::facility,
    support::{
        Facility, Integration, batch,
        issuer::{self, Issuer},
        mqtt::{Gateway, Library, VERSIONS},
        now_s,
        wire::{self, PUBACK, Wire},
    },
};

/// The pace of a client that is over the limit (api.md §2: at most 2 s), with room for a slow machine.
const SLOWED: std::ops::Range<u128> = 800..4_000;

// api.md §2, §4: one PUBLISH is one request in the one window; over it slow first, then 0x97; 3.1.1 and QoS 0 are told on
// `results`; a raised limit holds from the next request and keeps the count.
#[tokio::test(flavor = "multi_thread")]
async fn http_and_mqtt_share_one_window() {
    let (facility, sender) = facility(&[]).await;
    facility.limit(&sender, 20).await;
    let mut five = Gateway::open(Library::Rumqttc, 5, &facility.server, &sender, "five").await;
    let body = batch("s", 1, now_s());
    for n in 0..10 {
        let answer = facility.ingest(&sender, &body).await.expect(200);
        // Neither CONNECT nor SUBSCRIBE has cost anything.
        assert_eq!(answer.header("x-ratelimit-remaining"), Some((19 - 2 * n).to_string().as_str()));
        assert_eq!(five.exchange(&body).await.0, 0);
    }
    assert_eq!(facility.ingest(&sender, &body).await.expect(429).code(), "rate_limited");
    let sent = Instant::now();
    let (reason, result) = five.exchange(&body).await;
    assert_eq!((reason, &result.json()["code"]), (0x97, &json!("rate_limited")));
    assert!(SLOWED.contains(&sent.elapsed().as_millis()), "{:?}", sent.elapsed());
    let mut four = Gateway::open(Library::Rumqttc, 4, &facility.server, &sender, "four").await;
    let (_, result) = four.exchange(&body).await;
    assert_eq!(result.json()["code"], "rate_limited");
    assert_eq!(result.json()["status"], 429);
    // Nothing but the publishes was held up: the session answers, and so does everybody else.
    let mut wire = Wire::open(&facility.server, 5, &sender, "wire").await;
    let topic = five.readings.clone().into_bytes();
    wire.send(&[wire::publish_with(5, 0x30, &topic, 0, body.to_string().as_bytes()), wire::PING.to_vec()].concat())
        .await;
    let answer = wire.packet().await.expect("a PINGRESP");
    assert_eq!(answer.kind(), wire::PINGRESP);
    facility.limit(&sender, 22).await;
    let answer = facility.ingest(&sender, &body).await.expect(200);
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("1"));
    assert_eq!(five.exchange(&body).await.0, 0);
    assert_eq!(facility.ingest(&sender, &body).await.expect(429).code(), "rate_limited");
}

// api.md §4: the daily quota counts publishes, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_daily_quota_is_shared_as_well() {
    let (facility, sender) = facility(&[]).await;
    let path = format!("/admin/v1/integrations/{}", sender.id);
    facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"daily_quota": 2}))).await.expect(200);
    let mut gateway = Gateway::open(Library::Rumqttc, 5, &facility.server, &sender, "gateway").await;
    let body = batch("s", 1, now_s());
    assert_eq!(gateway.exchange(&body).await.0, 0);
    facility.ingest(&sender, &body).await.expect(200);
    let (reason, result) = gateway.exchange(&body).await;
    assert_eq!((reason, &result.json()["code"]), (0x97, &json!("daily_quota_exceeded")));
    assert_eq!(facility.ingest(&sender, &body).await.expect(429).code(), "daily_quota_exceeded");
}

/// An integration whose tokens come from the test's own issuer.
async fn with_short_tokens(facility: &Facility, issuer: &Issuer) -> Integration {
    let me = facility.get("/admin/v1/me").await.expect(200);
    let body = json!({
        "vendor": "Custom", "name": "Gateway", "description": "Its tokens end soon.", "owner_id": me.json["id"],
        "scopes": ["sensors:write"], "client_id": issuer::CLIENT, "client_issuer": issuer.url,
    });
    let id = facility.post("/admin/v1/integrations", body).await.expect(201).json["id"].as_str().unwrap().to_owned();
    facility.post_as_bob(&format!("/admin/v1/integrations/{id}/approve"), json!({})).await.expect(200);
    let activated = facility.post(&format!("/admin/v1/integrations/{id}/activate"), json!({})).await.expect(200);
    let api_key = activated.json["credentials"]["api_key"].as_str().unwrap().to_owned();
    let integration = Integration {
        id,
        client_id: issuer::CLIENT.to_owned(),
        client_secret: String::new(),
        api_key,
        token: String::new(),
    };
    facility.sensor(&integration, "s").await;
    integration
}

// api.md §2: a session ends at its JWT's `exp`, on v5 with 0xA0; the same token does not connect again.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_token() {
    let issuer = Issuer::start().await;
    let facility = Facility::with(&[
        ("SENSORGATE__AUTH__ISSUERS", &issuer.setting()),
        ("SENSORGATE__AUTH__TOKENS__LEEWAY_S", "0"),
    ])
    .await;
    let mut sender = with_short_tokens(&facility, &issuer).await;
    for (version, reason) in [(4, None), (5, Some(0xa0))] {
        let expires_s = now_s() + 3;
        sender.token = issuer.token(expires_s);
        let mut wire = Wire::open(&facility.server, version, &sender, "wire").await;
        let topic = format!("grq/v1/{}/readings", sender.id).into_bytes();
        wire.send(&wire::publish(version, &topic, 1, batch("s", 1, now_s()).to_string().as_bytes())).await;
        let ack = wire.packet().await.expect("a PUBACK");
        assert_eq!((ack.kind(), ack.reason()), (PUBACK, 0));
        assert_eq!(wire.ended().await, reason);
        let late_ms = jiff::Timestamp::now().as_millisecond() - expires_s * 1_000;
        assert!((0..1_000).contains(&late_ms), "it ended {late_ms} ms after its token");
        let mut again = Wire::raw(&facility.server, version).await;
        again.send(&wire::connect(version, "wire", &sender.api_key, &sender.token)).await;
        assert_ne!(again.packet().await.expect("a CONNACK").reason(), 0);
    }
    // With a fresh token a gateway goes on.
    sender.token = issuer.token(now_s() + 600);
    for library in Library::available() {
        for version in VERSIONS {
            let mut gateway = Gateway::open(library, version, &facility.server, &sender, "wire").await;
            assert_eq!(gateway.exchange(&batch("s", 1, now_s())).await.0, 0, "{library:?} {version}");
        }
    }
}
