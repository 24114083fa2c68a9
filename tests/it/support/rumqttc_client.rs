//! rumqttc under the same control as the other client libraries.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::mqtt::{Connect, Event, Message};

/// A client whose connection is driven by a task of its own; dropped, it is gone.
pub enum Hand {
    V4(rumqttc::AsyncClient, tokio::task::JoinHandle<()>),
    V5(rumqttc::v5::AsyncClient, tokio::task::JoinHandle<()>),
}

impl Drop for Hand {
    fn drop(&mut self) {
        match self {
            Self::V4(_, driver) | Self::V5(_, driver) => driver.abort(),
        }
    }
}

/// Largest packet, in bytes: rumqttc's own default is smaller than a batch.
const PACKET_BYTES_MAX: usize = 4 << 20;
/// Commands that may wait.
const COMMANDS_MAX: usize = 1_000;

/// Starts a client; its CONNECT goes out at once.
pub fn start(connect: &Connect, tell: Sender<Event>) -> Hand {
    let keep_alive = Duration::from_secs(connect.keep_alive_s.into());
    if connect.version == 4 {
        let mut options = rumqttc::MqttOptions::new(&connect.client_id, &connect.host, connect.port);
        options.set_keep_alive(keep_alive).set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if let (Some(user), Some(password)) = (&connect.username, &connect.password) {
            options.set_credentials(user, password);
        }
        if let Some(topic) = &connect.will_topic {
            options.set_last_will(rumqttc::LastWill::new(topic, "gone", rumqttc::QoS::AtLeastOnce, false));
        }
        let (client, events) = rumqttc::AsyncClient::new(options, COMMANDS_MAX);
        #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
        Hand::V4(client, tokio::spawn(drive_v4(events, tell)))
    } else {
        let mut options = rumqttc::v5::MqttOptions::new(&connect.client_id, &connect.host, connect.port);
        options.set_keep_alive(keep_alive).set_max_packet_size(Some(PACKET_BYTES_MAX as u32));
        if let (Some(user), Some(password)) = (&connect.username, &connect.password) {
            options.set_credentials(user, password);
        }
        if let Some(topic) = &connect.will_topic {
            let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
            options.set_last_will(v5::LastWill::new(topic, "gone", qos, false, None));
        }
        let (client, events) = rumqttc::v5::AsyncClient::new(options, COMMANDS_MAX);
        #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
        Hand::V5(client, tokio::spawn(drive_v5(events, tell)))
    }
}

impl Hand {
    /// Carries out a command (see `tests/fixtures/mqtt-clients`).
    pub fn command(&self, command: &Value) {
        let text = |name: &str| command[name].as_str().map(str::to_owned);
        let qos = command["qos"].as_u64().unwrap_or(1) as u8;
        match command["do"].as_str().expect("a command") {
            "subscribe" => self.subscribe(text("topic").expect("a topic"), qos),
            "publish" => self.publish(
                text("topic").expect("a topic"),
                text("payload").expect("a payload"),
                (qos, command["retain"] == true),
                (text("response_topic"), text("correlation")),
            ),
            "disconnect" => match self {
                Self::V4(client, _) => client.try_disconnect().expect("room for a command"),
                Self::V5(client, _) => client.try_disconnect().expect("room for a command"),
            },
            _ => {}
        }
    }

    fn subscribe(&self, topic: String, qos: u8) {
        match self {
            Self::V4(client, _) => client.try_subscribe(topic, rumqttc::qos(qos).expect("a QoS")).expect("room"),
            Self::V5(client, _) => client.try_subscribe(topic, qos_v5(qos)).expect("room"),
        }
    }

    fn publish(
        &self,
        topic: String,
        payload: String,
        (qos, retain): (u8, bool),
        (response_topic, correlation): (Option<String>, Option<String>),
    ) {
        match self {
            Self::V4(client, _) => {
                client.try_publish(topic, rumqttc::qos(qos).expect("a QoS"), retain, payload).expect("room");
            }
            Self::V5(client, _) => {
                let properties = v5::PublishProperties {
                    response_topic,
                    correlation_data: correlation.map(Into::into),
                    ..v5::PublishProperties::default()
                };
                let sent = client.try_publish_with_properties(topic, qos_v5(qos), retain, payload, properties);
                sent.expect("room");
            }
        }
    }
}

fn qos_v5(qos: u8) -> rumqttc::v5::mqttbytes::QoS {
    rumqttc::v5::mqttbytes::qos(qos).expect("a QoS")
}

async fn drive_v4(mut events: rumqttc::EventLoop, tell: Sender<Event>) {
    use rumqttc::{ConnectReturnCode as Code, ConnectionError, Event as Seen, Packet};
    loop {
        let event = match events.poll().await {
            Ok(Seen::Incoming(Packet::ConnAck(ack))) => {
                Event::Connack { reason: 0, session_present: ack.session_present, properties: Value::Null }
            }
            Ok(Seen::Incoming(Packet::SubAck(ack))) => {
                let reason = |code: &rumqttc::SubscribeReasonCode| match code {
                    rumqttc::SubscribeReasonCode::Success(qos) => *qos as u8,
                    rumqttc::SubscribeReasonCode::Failure => 0x80,
                };
                Event::Suback { reasons: ack.return_codes.iter().map(reason).collect() }
            }
            Ok(Seen::Incoming(Packet::PubAck(ack))) => Event::Puback { id: ack.pkid, reason: 0 },
            Ok(Seen::Incoming(Packet::Publish(publish))) => Event::Message(Message {
                topic: publish.topic,
                payload: String::from_utf8(publish.payload.to_vec()).expect("UTF-8"),
                qos: publish.qos as u8,
                retain: publish.retain,
                properties: Value::Null,
            }),
            Ok(_) => continue,
            Err(error) => {
                if let ConnectionError::ConnectionRefused(code) = &error {
                    let reason = match code {
                        Code::BadClientId => 2,
                        Code::ServiceUnavailable => 3,
                        Code::BadUserNamePassword => 4,
                        Code::NotAuthorized => 5,
                        Code::Success | Code::RefusedProtocolVersion => 1,
                    };
                    let refused = Event::Connack { reason, session_present: false, properties: Value::Null };
                    tell.send(refused).await.ok();
                }
                tell.send(Event::Ended { reason: None }).await.ok();
                return;
            }
        };
        if tell.send(event).await.is_err() {
            return;
        }
    }
}

async fn drive_v5(mut events: rumqttc::v5::EventLoop, tell: Sender<Event>) {
    use rumqttc::v5::{ConnectionError, Event as Seen, StateError};
    loop {
        match events.poll().await {
            Ok(Seen::Incoming(packet)) => {
                if let Some(event) = event_of(packet)
                    && tell.send(event).await.is_err()
                {
                    return;
                }
            }
            Ok(Seen::Outgoing(_)) => {}
            Err(error) => {
                let refused = match &error {
                    ConnectionError::ConnectionRefused(code) => Some(code),
                    ConnectionError::MqttState(StateError::ConnFail { reason }) => Some(reason),
                    _ => None,
                };
                if let Some(code) = refused {
                    let reason = connack_reason(*code);
                    tell.send(Event::Connack { reason, session_present: false, properties: Value::Null }).await.ok();
                }
                let reason = match error {
                    ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
                        Some(reason_code as u8)
                    }
                    _ => None,
                };
                tell.send(Event::Ended { reason }).await.ok();
                return;
            }
        }
    }
}

/// What an incoming packet means to a test.
fn event_of(packet: v5::Packet) -> Option<Event> {
    Some(match packet {
        v5::Packet::ConnAck(ack) => {
            let properties = ack.properties.map(|known| {
                json!({
                    "ReceiveMaximum": known.receive_max, "MaximumQoS": known.max_qos,
                    "RetainAvailable": known.retain_available, "MaximumPacketSize": known.max_packet_size,
                })
            });
            Event::Connack {
                reason: connack_reason(ack.code),
                session_present: ack.session_present,
                properties: properties.unwrap_or_default(),
            }
        }
        v5::Packet::SubAck(ack) => {
            let reason = |code: &v5::SubscribeReasonCode| match code {
                v5::SubscribeReasonCode::Success(qos) => *qos as u8,
                v5::SubscribeReasonCode::NotAuthorized => 0x87,
                v5::SubscribeReasonCode::TopicFilterInvalid => 0x8f,
                _ => 0x80,
            };
            Event::Suback { reasons: ack.return_codes.iter().map(reason).collect() }
        }
        v5::Packet::PubAck(ack) => {
            let reason = match ack.reason {
                v5::PubAckReason::Success => 0,
                v5::PubAckReason::NotAuthorized => 0x87,
                v5::PubAckReason::QuotaExceeded => 0x97,
                v5::PubAckReason::PayloadFormatInvalid => 0x99,
                _ => 0x80,
            };
            Event::Puback { id: ack.pkid, reason }
        }
        v5::Packet::Publish(publish) => {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
            let correlation = publish.properties.and_then(|known| known.correlation_data);
            let properties = correlation.map(|data| json!({"CorrelationData": text(&data)}));
            Event::Message(Message {
                topic: text(&publish.topic),
                payload: text(&publish.payload),
                qos: publish.qos as u8,
                retain: publish.retain,
                properties: properties.unwrap_or_default(),
            })
        }
        _ => return None,
    })
}

fn connack_reason(code: v5::ConnectReturnCode) -> u8 {
    use v5::ConnectReturnCode as Code;
    match code {
        Code::Success => 0,
        Code::BadUserNamePassword => 0x86,
        Code::NotAuthorized => 0x87,
        Code::ServerUnavailable => 0x88,
        Code::ServerBusy => 0x89,
        Code::QuotaExceeded => 0x97,
        Code::RetainNotSupported => 0x9a,
        Code::QoSNotSupported => 0x9b,
        Code::ConnectionRateExceeded => 0x9f,
        _ => 0x80,
    }
}
