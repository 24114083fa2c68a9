//! MQTT as any client library meets it (`api.md` §2), with rumqttc in both versions.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5 as five;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Facility, Integration, batch, now_s};

const PATIENCE: Duration = Duration::from_secs(20);

fn port(facility: &Facility) -> u16 {
    facility.server.mqtt_url.rsplit(':').next().unwrap().parse().unwrap()
}

fn topic(sender: &Integration, name: &str) -> String {
    format!("grq/v1/{}/{name}", sender.id)
}

async fn sender(facility: &Facility) -> Integration {
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    sender
}

/// A client of 3.1.1 that is connected.
async fn v4(facility: &Facility, sender: &Integration, id: &str) -> (rumqttc::AsyncClient, rumqttc::EventLoop) {
    let mut options = rumqttc::MqttOptions::new(id, "127.0.0.1", port(facility));
    options.set_credentials(&sender.api_key, &sender.token).set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 16);
    let connected = timeout(PATIENCE, events.poll()).await.unwrap();
    assert!(matches!(connected, Ok(rumqttc::Event::Incoming(rumqttc::Packet::ConnAck(_)))), "{connected:?}");
    (client, events)
}

/// A client of version 5 that is connected.
async fn v5(
    facility: &Facility,
    sender: &Integration,
    id: &str,
) -> (rumqttc::v5::AsyncClient, rumqttc::v5::EventLoop, five::ConnAck) {
    let mut options = rumqttc::v5::MqttOptions::new(id, "127.0.0.1", port(facility));
    options.set_credentials(&sender.api_key, &sender.token);
    let (client, mut events) = rumqttc::v5::AsyncClient::new(options, 16);
    match timeout(PATIENCE, events.poll()).await.unwrap() {
        Ok(rumqttc::v5::Event::Incoming(five::Packet::ConnAck(ack))) => (client, events, ack),
        other => panic!("{other:?}"),
    }
}

async fn incoming(events: &mut rumqttc::EventLoop) -> rumqttc::Packet {
    loop {
        match timeout(PATIENCE, events.poll()).await.expect("a packet in time") {
            Ok(rumqttc::Event::Incoming(packet)) => return packet,
            Ok(rumqttc::Event::Outgoing(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn incoming_v5(events: &mut rumqttc::v5::EventLoop) -> five::Packet {
    loop {
        match timeout(PATIENCE, events.poll()).await.expect("a packet in time") {
            Ok(rumqttc::v5::Event::Incoming(packet)) => return packet,
            Ok(rumqttc::v5::Event::Outgoing(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

// api.md §2: acknowledged means durable, and the result says what became of it.
#[tokio::test]
async fn a_batch_over_3_1_1_is_acknowledged_answered_and_stored() {
    let facility = Facility::new().await;
    let sender = sender(&facility).await;
    let (client, mut events) = v4(&facility, &sender, "gateway").await;
    client.subscribe(topic(&sender, "results"), rumqttc::QoS::AtLeastOnce).await.unwrap();
    match incoming(&mut events).await {
        rumqttc::Packet::SubAck(ack) => {
            assert_eq!(ack.return_codes, [rumqttc::SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)]);
        }
        other => panic!("{other:?}"),
    }
    let mut body = batch("s", 10, now_s());
    body["batch_id"] = json!("b-1");
    client.publish(topic(&sender, "readings"), rumqttc::QoS::AtLeastOnce, false, body.to_string()).await.unwrap();
    assert!(matches!(incoming(&mut events).await, rumqttc::Packet::PubAck(_)));
    match incoming(&mut events).await {
        rumqttc::Packet::Publish(result) => {
            assert_eq!(
                (result.topic.as_str(), result.qos),
                (topic(&sender, "results").as_str(), rumqttc::QoS::AtLeastOnce)
            );
            let result: Value = serde_json::from_slice(&result.payload).unwrap();
            assert_eq!((&result["accepted"], &result["batch_id"]), (&json!(10), &json!("b-1")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(facility.stored(&sender, "s", "temperature", 10).await.len(), 10);
}

// api.md §2: what version 5 is told at CONNECT, the reasons of a PUBACK, response topic and correlation data.
#[tokio::test]
async fn a_batch_over_5_is_acknowledged_with_its_reason() {
    let facility = Facility::new().await;
    let sender = sender(&facility).await;
    let (client, mut events, welcome) = v5(&facility, &sender, "gateway").await;
    let properties = welcome.properties.expect("properties");
    assert_eq!(
        (properties.session_expiry_interval, properties.receive_max, properties.max_qos, properties.retain_available),
        (Some(0), Some(16), Some(1), Some(0))
    );
    assert!(properties.max_packet_size.is_some_and(|bytes| bytes >= 262_144));
    let answers = format!("{}/gateway", topic(&sender, "results"));
    client.subscribe(&answers, five_qos(1)).await.unwrap();
    assert!(matches!(incoming_v5(&mut events).await, five::Packet::SubAck(_)));
    let with = five::PublishProperties {
        response_topic: Some(answers.clone()),
        correlation_data: Some("c-1".into()),
        ..Default::default()
    };
    for (payload, reason, code) in [
        (batch("s", 3, now_s()).to_string(), five::PubAckReason::Success, None),
        (batch("unknown", 1, now_s()).to_string(), five::PubAckReason::PayloadFormatInvalid, None),
        ("{".to_owned(), five::PubAckReason::PayloadFormatInvalid, Some("malformed_json")),
    ] {
        let topic = topic(&sender, "readings");
        client.publish_with_properties(topic, five_qos(1), false, payload, with.clone()).await.unwrap();
        match incoming_v5(&mut events).await {
            five::Packet::PubAck(ack) => assert_eq!(ack.reason, reason),
            other => panic!("{other:?}"),
        }
        match incoming_v5(&mut events).await {
            five::Packet::Publish(result) => {
                assert_eq!(result.topic, answers);
                assert_eq!(result.properties.unwrap().correlation_data.as_deref(), Some(&b"c-1"[..]));
                let result: Value = serde_json::from_slice(&result.payload).unwrap();
                assert_eq!(result["code"].as_str(), code, "{result}");
            }
            other => panic!("{other:?}"),
        }
    }
    client.publish(topic(&sender, "elsewhere"), five_qos(1), false, "{}").await.unwrap();
    match incoming_v5(&mut events).await {
        five::Packet::PubAck(ack) => assert_eq!(ack.reason, five::PubAckReason::NotAuthorized),
        other => panic!("{other:?}"),
    }
    assert_eq!(facility.stored(&sender, "s", "temperature", 3).await.len(), 3);
}

fn five_qos(qos: u8) -> rumqttc::v5::mqttbytes::QoS {
    rumqttc::v5::mqttbytes::qos(qos).unwrap()
}
