//! The packets of both versions through one face.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{self, v4};
use rumqttc::v5::mqttbytes::{self as mqttbytes5, v5};

use super::{Client, Gateway};
use crate::profile::Version;

/// The largest packet that is taken from a server. Results of 500 refused entries are far below it.
const PACKET_BYTES_MAX: u32 = 16 << 20;
/// How long a client may say nothing, in seconds. Longer than any run in which it would be silent.
pub(super) const KEEP_ALIVE_S: u16 = 600;

/// Why an acknowledgement came, as MQTT 5 has it (§3.4.2.1).
pub type Reason = v5::PubAckReason;

/// What came from the server.
#[derive(Debug)]
pub enum Incoming {
    /// CONNACK.
    Connected {
        /// The code's name, unless it is a success.
        refusal: Option<String>,
        /// Publishes that the server takes without having acknowledged one (3.1.1 knows no such bound).
        receive_max: u16,
        /// Seconds of silence that the server grants, where it grants less than was asked for.
        keep_alive_s: u16,
    },
    /// PUBACK.
    Acked {
        /// Of which publish.
        packet_id: u16,
        /// `None` over 3.1.1.
        reason: Option<Reason>,
    },
    /// SUBACK.
    Subscribed {
        /// Whether it was granted.
        is_granted: bool,
    },
    /// PUBLISH.
    Message {
        /// Over 5: its Correlation Data.
        correlation: Option<Bytes>,
        /// Its packet id, where it wants a PUBACK.
        packet_id: Option<u16>,
        /// Its payload.
        payload: Bytes,
    },
    /// DISCONNECT, with the reason's name.
    Ended(String),
    /// Something that asks for nothing.
    Other,
}

/// Bytes that are no packet, or a packet that a server may not send.
#[derive(Debug)]
pub struct Malformed(pub String);

/// CONNECT of a clean session, with the credentials as user name and password.
pub fn connect(client: &Client, gateway: &Gateway, out: &mut BytesMut) {
    let login = gateway.credentials.as_ref();
    let written = match client.version {
        Version::V311 => {
            let mut connect = v4::Connect::new(&client.id);
            connect.keep_alive = KEEP_ALIVE_S;
            connect.login = login.map(|login| v4::Login::new(&login.api_key, &login.token));
            connect.write(out).map_err(|error| error.to_string())
        }
        Version::V5 => {
            let connect = v5::Connect {
                keep_alive: KEEP_ALIVE_S,
                client_id: client.id.clone(),
                clean_start: true,
                properties: None,
            };
            let login = login.map(|login| v5::Login::new(&login.api_key, &login.token));
            connect.write(&None, &login, out).map_err(|error| error.to_string())
        }
    };
    written.expect("credentials are shorter than a packet may be");
}

/// CONNECT over 3.1.1 of a session that the server keeps when its client leaves.
pub fn connect_stored(client_id: &str, out: &mut BytesMut) {
    let mut connect = v4::Connect::new(client_id);
    connect.keep_alive = KEEP_ALIVE_S;
    connect.clean_session = false;
    connect.write(out).expect("it is short");
}

/// SUBSCRIBE to one topic with QoS 1.
pub fn subscribe(version: Version, topic: &str, packet_id: u16, out: &mut BytesMut) {
    let written = match version {
        Version::V311 => {
            let mut subscribe = v4::Subscribe::new(topic, mqttbytes::QoS::AtLeastOnce);
            subscribe.pkid = packet_id;
            subscribe.write(out).map_err(|error| error.to_string())
        }
        Version::V5 => {
            let mut subscribe = v5::Subscribe::new(v5::Filter::new(topic, mqttbytes5::QoS::AtLeastOnce), None);
            subscribe.pkid = packet_id;
            subscribe.write(out).map_err(|error| error.to_string())
        }
    };
    written.expect("a topic is shorter than a packet may be");
}

/// How a publish asks for its result.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Comes back with the result: over 5 as Correlation Data, over 3.1.1 as the payload's `batch_id`.
    pub ticket: String,
    /// Over 5: the Response Topic.
    pub response_topic: String,
}

/// PUBLISH with QoS 1.
pub fn publish(version: Version, topic: &str, packet_id: u16, payload: Bytes, wish: Option<Wish>, out: &mut BytesMut) {
    let written = match version {
        Version::V311 => {
            let payload = match wish {
                Some(wish) => with_batch_id(&payload, &wish.ticket),
                None => payload,
            };
            let mut publish = v4::Publish::from_bytes(topic, mqttbytes::QoS::AtLeastOnce, payload);
            publish.pkid = packet_id;
            publish.write(out).map_err(|error| error.to_string())
        }
        Version::V5 => {
            let properties = wish.map(|wish| v5::PublishProperties {
                response_topic: Some(wish.response_topic),
                correlation_data: Some(Bytes::from(wish.ticket)),
                ..v5::PublishProperties::default()
            });
            let mut publish = v5::Publish::new(topic, mqttbytes5::QoS::AtLeastOnce, payload, properties);
            publish.pkid = packet_id;
            publish.write(out).map_err(|error| error.to_string())
        }
    };
    written.expect("a batch is shorter than a packet may be");
}

/// PUBACK.
pub fn acknowledge(version: Version, packet_id: u16, out: &mut BytesMut) {
    let written = match version {
        Version::V311 => v4::PubAck::new(packet_id).write(out).map_err(|error| error.to_string()),
        Version::V5 => v5::PubAck::new(packet_id, None).write(out).map_err(|error| error.to_string()),
    };
    written.expect("it has four bytes");
}

/// PINGREQ, the same in both versions.
pub fn ping(out: &mut BytesMut) {
    out.extend_from_slice(&[0xC0, 0x00]);
}

/// The payload with a `batch_id` as its first field.
fn with_batch_id(payload: &Bytes, ticket: &str) -> Bytes {
    let mut changed = Vec::with_capacity(payload.len() + ticket.len() + 16);
    changed.extend_from_slice(b"{\"batch_id\":\"");
    changed.extend_from_slice(ticket.as_bytes());
    changed.extend_from_slice(b"\",");
    changed.extend_from_slice(payload.strip_prefix(b"{").unwrap_or(payload));
    Bytes::from(changed)
}

/// The next packet of `inbox`, or `None` until it is whole.
///
/// # Errors
///
/// [`Malformed`]; the connection is of no use then.
pub fn read(version: Version, inbox: &mut BytesMut) -> Result<Option<Incoming>, Malformed> {
    match version {
        Version::V311 => match v4::Packet::read(inbox, PACKET_BYTES_MAX as usize) {
            Ok(packet) => incoming_311(packet).map(Some),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(Malformed(error.to_string())),
        },
        Version::V5 => match v5::Packet::read(inbox, Some(PACKET_BYTES_MAX)) {
            Ok(packet) => incoming_5(packet).map(Some),
            Err(mqttbytes5::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(Malformed(error.to_string())),
        },
    }
}

fn incoming_311(packet: v4::Packet) -> Result<Incoming, Malformed> {
    Ok(match packet {
        v4::Packet::ConnAck(ack) => {
            let refusal = (ack.code != v4::ConnectReturnCode::Success).then(|| format!("{:?}", ack.code));
            Incoming::Connected { refusal, receive_max: u16::MAX, keep_alive_s: KEEP_ALIVE_S }
        }
        v4::Packet::PubAck(ack) => Incoming::Acked { packet_id: ack.pkid, reason: None },
        v4::Packet::SubAck(ack) => Incoming::Subscribed {
            is_granted: ack.return_codes.iter().all(|code| matches!(code, v4::SubscribeReasonCode::Success(_))),
        },
        v4::Packet::Publish(publish) => Incoming::Message {
            correlation: None,
            packet_id: (publish.qos == mqttbytes::QoS::AtLeastOnce).then_some(publish.pkid),
            payload: publish.payload,
        },
        v4::Packet::PingResp => Incoming::Other,
        other => return Err(Malformed(format!("a server sends no {other:?}"))),
    })
}

fn incoming_5(packet: v5::Packet) -> Result<Incoming, Malformed> {
    Ok(match packet {
        v5::Packet::ConnAck(ack) => {
            let refusal = (ack.code != v5::ConnectReturnCode::Success).then(|| format!("{:?}", ack.code));
            let properties = ack.properties.as_ref();
            Incoming::Connected {
                refusal,
                receive_max: properties.and_then(|properties| properties.receive_max).unwrap_or(u16::MAX),
                keep_alive_s: properties.and_then(|properties| properties.server_keep_alive).unwrap_or(KEEP_ALIVE_S),
            }
        }
        v5::Packet::PubAck(ack) => Incoming::Acked { packet_id: ack.pkid, reason: Some(ack.reason) },
        v5::Packet::SubAck(ack) => Incoming::Subscribed {
            is_granted: ack.return_codes.iter().all(|code| matches!(code, v5::SubscribeReasonCode::Success(_))),
        },
        v5::Packet::Publish(publish) => Incoming::Message {
            correlation: publish.properties.and_then(|properties| properties.correlation_data),
            packet_id: (publish.qos == mqttbytes5::QoS::AtLeastOnce).then_some(publish.pkid),
            payload: publish.payload,
        },
        v5::Packet::Disconnect(disconnect) => Incoming::Ended(format!("{:?}", disconnect.reason_code)),
        v5::Packet::PingResp(_) => Incoming::Other,
        other => return Err(Malformed(format!("a server sends no {other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_id_is_put_in_front_and_the_rest_stays() {
        let payload = Bytes::from_static(br#"{"readings":[{"value":1}]}"#);
        let changed: serde_json::Value = serde_json::from_slice(&with_batch_id(&payload, "s7-12")).unwrap();
        assert_eq!(changed, serde_json::json!({"batch_id": "s7-12", "readings": [{"value": 1}]}));
    }

    #[test]
    fn a_packet_is_read_once_it_is_whole() {
        for (version, whole) in [(Version::V311, &[0x40, 2, 0, 9][..]), (Version::V5, &[0x40, 3, 0, 9, 0x97][..])] {
            let mut inbox = BytesMut::new();
            for byte in &whole[..whole.len() - 1] {
                inbox.extend_from_slice(&[*byte]);
                assert!(read(version, &mut inbox).unwrap().is_none());
            }
            inbox.extend_from_slice(&whole[whole.len() - 1..]);
            let Some(Incoming::Acked { packet_id: 9, reason }) = read(version, &mut inbox).unwrap() else { panic!() };
            assert_eq!(reason, (version == Version::V5).then_some(Reason::QuotaExceeded));
            assert!(inbox.is_empty());
        }
    }

    #[test]
    fn what_a_server_may_not_send_ends_the_connection() {
        // PINGREQ, and a PUBACK with a reason that no PUBACK has.
        for (version, bytes) in [(Version::V311, &[0xC0, 0][..]), (Version::V5, &[0x40, 3, 0, 9, 0x8E][..])] {
            assert!(read(version, &mut BytesMut::from(bytes)).is_err(), "{version:?}");
        }
    }
}
