//! What becomes of single messages, and what their senders are told.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use mqtt_client::PublishProperties;

use super::{
    Node,
    script::{publish, publish_with},
    until,
};
use crate::model::{IntegrationId, topic};

/// Sends `body` with this key; the problem's code on the results topic.
async fn told(node: &mut Node, api_key: &str, topic: &str, body: &str) -> String {
    let mut peer = node.broker.join().await;
    peer.send(publish(7, topic, api_key, body)).await;
    assert_eq!(peer.acknowledged().await, 7, "refused for good, so the broker need not keep it");
    let (topic, document, properties) = node.broker.result().await;
    assert_eq!(topic, topic::results(node.id()));
    assert_eq!(properties.content_type.as_deref(), Some("application/problem+json"));
    let code = document["code"].as_str().expect("a code").to_owned();
    assert_eq!(document["type"], format!("https://api.example/problems/{code}"));
    assert!(document["request_id"].is_string() && document.get("batch_id").is_none());
    code
}

// api.md §2: the result is the HTTP body; Response Topic and Correlation Data are honoured.
#[tokio::test]
async fn a_result_goes_where_its_sender_asked() {
    let mut node = Node::start().await;
    let mut peer = node.broker.join().await;
    let below = format!("{}/gateway-1", topic::results(node.id()));
    let foreign = topic::results(IntegrationId::generate());
    for (packet_id, asked, expected) in [(1, &below, &below), (2, &foreign, &topic::results(node.id()))] {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let properties = PublishProperties {
            user_properties: vec![pair("api_key", "good"), pair("authorization", "Bearer token")],
            response_topic: Some(asked.clone()),
            correlation_data: Some(Bytes::from_static(b"\x00\xff")),
            ..PublishProperties::default()
        };
        peer.send(publish_with(packet_id, &node.topic(), properties, "a")).await;
        assert_eq!(peer.acknowledged().await, packet_id);
        let (topic, body, properties) = node.broker.result().await;
        assert_eq!((&topic, &body["accepted"]), (expected, &1.into()));
        assert_eq!(properties.correlation_data.as_deref(), Some(&b"\x00\xff"[..]));
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    }
    node.stop().await;
}

// api.md §2 and §3: refused for good, acknowledged, and told to who proved both credentials.
#[tokio::test]
async fn a_proven_sender_is_told_why() {
    let foreign = topic::readings(IntegrationId::generate());
    for (api_key, topic, body, code) in [
        ("good", None, "malformed", "malformed_json"),
        ("good", Some(foreign.as_str()), "a", "not_found"),
        ("good", Some("grq/v1/x/readings"), "a", "not_found"),
        ("elsewhere", None, "a", "ip_not_allowed"),
    ] {
        let mut node = Node::start().await;
        let topic = topic.map_or_else(|| node.topic(), str::to_owned);
        assert_eq!(told(&mut node, api_key, &topic, body).await, code);
        assert!(node.intake.stored.lock().is_empty());
        node.stop().await;
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_told() {
    let mut node = Node::with(|config| config.body_bytes_max = 1_024).await;
    let topic = node.topic();
    assert_eq!(told(&mut node, "good", &topic, &"x".repeat(1_025)).await, "body_too_large");
    node.stop().await;
}

// A stranger's mistakes are nobody's business: acknowledged, counted, logged, told to no topic.
#[tokio::test]
async fn who_proved_nothing_is_told_nothing() {
    let mut node = Node::start().await;
    let mut peer = node.broker.join().await;
    let topic = node.topic();
    peer.send(publish(1, &topic, "unknown", "a")).await;
    peer.send(publish(2, &topic, "suspended", "a")).await;
    peer.send(publish_with(3, &topic, PublishProperties::default(), "a")).await;
    peer.send(publish(4, &topic, "good", "b")).await;
    for packet_id in 1..=4 {
        assert_eq!(peer.acknowledged().await, packet_id);
    }
    let (_, body, _) = node.broker.result().await;
    assert_eq!(body["accepted"], 1, "the only result is that of the good one");
    let mut broker = node.stop().await;
    assert!(!broker.has_result());
}

// api.md §2: over the limit, slow first. A wait is made only where it ends in time, because all others wait with it.
#[tokio::test]
async fn a_full_window_is_waited_for_if_that_helps() {
    let mut node = Node::start().await;
    let now_s = u64::try_from(jiff::Timestamp::now().as_second()).expect("after 1970");
    node.door.full_until_s.store(now_s + 1, Ordering::Relaxed);
    let mut peer = node.broker.join().await;
    peer.send(publish(1, &node.topic(), "good", "a")).await;
    assert_eq!(peer.acknowledged().await, 1);
    let (_, body, _) = node.broker.result().await;
    assert_eq!(body["accepted"], 1);
    node.door.full_until_s.store(now_s + 60, Ordering::Relaxed);
    peer.send(publish(2, &node.topic(), "good", "a")).await;
    assert_eq!(peer.acknowledged().await, 2);
    let (_, document, _) = node.broker.result().await;
    assert_eq!(document["code"], "rate_limited");
    assert_eq!(*node.intake.stored.lock(), ["a"]);
    node.stop().await;
}

// The issuer's trouble is not the sender's: held like any other trouble of ours.
#[tokio::test]
async fn a_token_that_cannot_be_judged_now_is_not_acknowledged() {
    let mut node = Node::start().await;
    let mut peer = node.broker.join().await;
    peer.send(publish(1, &node.topic(), "no_issuer", "a")).await;
    assert!(matches!(peer.receive().await, Some(mqtt_client::Packet::Disconnect(_))));
    node.wait_for_complaint("keys_unavailable").await;
    node.stop().await;
}

// One message that makes us fall over must not come back for ever and stop all others.
#[tokio::test]
async fn a_panic_costs_one_message() {
    let mut node = Node::start().await;
    let mut peer = node.broker.join().await;
    for (packet_id, body) in [(1, "a"), (2, "panic"), (3, "b")] {
        peer.send(publish(packet_id, &node.topic(), "good", body)).await;
    }
    for packet_id in 1..=3 {
        assert_eq!(peer.acknowledged().await, packet_id);
    }
    node.stop().await;
}

// QoS 0 has no acknowledgement: stored if it can be, dropped if too many wait.
#[tokio::test]
async fn messages_without_an_acknowledgement_are_bounded() {
    let mut node = Node::with(|config| config.receive_maximum = 2).await;
    let mut peer = node.broker.join().await;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let properties = PublishProperties {
        user_properties: vec![pair("api_key", "good"), pair("authorization", "Bearer token")],
        ..PublishProperties::default()
    };
    for _ in 0..50 {
        peer.send(publish_with(0, &node.topic(), properties.clone(), "wait")).await;
    }
    // Taken after all of them, and not held up by any.
    peer.send(publish(1, &node.topic(), "good", "a")).await;
    assert_eq!(peer.acknowledged().await, 1);
    assert!(node.intake.waiting.lock().len() <= 2, "two at once");
    node.intake.turns.add_permits(50);
    until("they are stored", || node.intake.stored.lock().len() >= 2).await;
    node.stop().await;
}
