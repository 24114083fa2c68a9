//! The codec of one connection: `rmqtt-codec` on one side, our own packets on the other. What that crate lets through
//! and the standard does not is refused here.

use std::num::NonZeroU16;

use bytes::BytesMut;
use rmqtt_codec::{
    error::{DecodeError, EncodeError},
    types::{Publish as WirePublish, QoS},
    v3, v5,
};
use tokio_util::codec::{Decoder, Encoder};

use super::{
    encode::{v3_packet, v5_packet},
    ending::Ending,
    packet::{Connect, Out, Packet, Publish, Qos, Subscribe, Unsubscribe, Version, WillRetain},
    topic,
    wire::Head,
};

/// The smallest Maximum Packet Size of a client that we can keep to: our CONNACK has to fit.
const CLIENT_PACKET_BYTES_MIN: u32 = 256;
/// More topic filters in one packet are not answered.
const FILTERS_MAX: usize = 64;

/// Reads and writes the packets of one connection.
#[derive(Debug)]
pub(super) enum Codec {
    V3(v3::Codec),
    V5(v5::Codec),
}

/// Why a first packet is no CONNECT that we can go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotConnect {
    /// Not MQTT, or not a CONNECT: closed without an answer.
    NotMqtt,
    /// A version that we do not speak; the older of our answers or the newer.
    Version(Version),
    /// MQTT of this version, but malformed.
    Malformed(Version),
    /// The client id is empty, and the client wants its session kept under it (3.1.1 §3.1.3.1).
    ClientId,
    /// The client takes no packets of a useful size.
    TinyPackets,
}

/// The first packet: which version, and the CONNECT itself.
pub(super) fn first(head: Head, mut packet: BytesMut) -> Result<(Codec, Connect), NotConnect> {
    let body = &mut packet[head.len()..];
    let [0, 4, b'M', b'Q', b'T', b'T', level, ..] = body else {
        // MQTT 3.1, before it was a standard.
        let is_31 = body.starts_with(b"\0\x06MQIsdp");
        return Err(if is_31 { NotConnect::Version(Version::V3) } else { NotConnect::NotMqtt });
    };
    match *level {
        4 => {
            let mut codec = v3::Codec::default();
            let connect = match codec.decode(&mut packet) {
                Ok(Some((v3::Packet::Connect(connect), _))) if packet.is_empty() => connect,
                Err(DecodeError::InvalidClientId) => return Err(NotConnect::ClientId),
                _ => return Err(NotConnect::Malformed(Version::V3)),
            };
            Ok((Codec::V3(codec), Connect::from(*connect)))
        }
        5 => {
            // Every session is a clean one, so an empty client id is fine either way; the codec has its own mind.
            let clean_start = body.get_mut(7).ok_or(NotConnect::Malformed(Version::V5))?;
            *clean_start |= 0b10;
            let mut codec = v5::Codec::default();
            let connect = match codec.decode(&mut packet) {
                Ok(Some((v5::Packet::Connect(connect), _))) if packet.is_empty() => connect,
                _ => return Err(NotConnect::Malformed(Version::V5)),
            };
            if let Some(bytes) = connect.max_packet_size {
                if bytes.get() < CLIENT_PACKET_BYTES_MIN {
                    return Err(NotConnect::TinyPackets);
                }
                codec.set_max_outbound_size(bytes.get());
            }
            Ok((Codec::V5(codec), Connect::from(*connect)))
        }
        0..=3 => Err(NotConnect::Version(Version::V3)),
        6.. => Err(NotConnect::Version(Version::V5)),
    }
}

impl From<v3::Connect> for Connect {
    fn from(connect: v3::Connect) -> Self {
        Self {
            client_id: Box::from(&*connect.client_id),
            username: connect.username.map(|name| Box::from(&*name)),
            password: connect.password,
            keep_alive_s: connect.keep_alive,
            will: connect.last_will.map(|will| WillRetain(will.retain)),
            has_auth_method: false,
            receive_maximum: u16::MAX,
        }
    }
}

impl From<v5::Connect> for Connect {
    fn from(connect: v5::Connect) -> Self {
        Self {
            client_id: Box::from(&*connect.client_id),
            username: connect.username.map(|name| Box::from(&*name)),
            password: connect.password,
            keep_alive_s: connect.keep_alive,
            will: connect.last_will.map(|will| WillRetain(will.retain)),
            has_auth_method: connect.auth_method.is_some() || connect.auth_data.is_some(),
            receive_maximum: connect.receive_max.map_or(u16::MAX, NonZeroU16::get),
        }
    }
}

impl Codec {
    /// A codec that has seen no CONNECT, for the refusal of one.
    pub(super) fn of(version: Version) -> Self {
        match version {
            Version::V3 => Self::V3(v3::Codec::default()),
            Version::V5 => Self::V5(v5::Codec::default()),
        }
    }

    pub(super) const fn version(&self) -> Version {
        match self {
            Self::V3(_) => Version::V3,
            Self::V5(_) => Version::V5,
        }
    }

    /// A whole packet that came after the CONNECT.
    ///
    /// # Errors
    /// How the connection has to end.
    pub(super) fn decode(&mut self, head: Head, mut packet: BytesMut) -> Result<Packet, Ending> {
        let decoded = match self {
            Self::V3(codec) => of_v3(codec.decode(&mut packet).map_err(|error| refused(&error))?),
            Self::V5(codec) => of_v5(codec.decode(&mut packet).map_err(|error| refused(&error))?),
        }?;
        let is_bare = matches!(decoded, Packet::Ping) || (self.version() == Version::V3 && is_disconnect(&decoded));
        if !packet.is_empty() || (is_bare && head.remaining() != 0) {
            return Err(Ending::Malformed);
        }
        Ok(decoded)
    }

    /// Writes a packet of ours, whole or not at all.
    pub(super) fn encode(&mut self, out: Out<'_>, to: &mut BytesMut) -> Result<(), EncodeError> {
        let before = to.len();
        let encoded = match self {
            Self::V3(codec) => v3_packet(&out).map_or(Ok(()), |packet| codec.encode(packet, to)),
            Self::V5(codec) => codec.encode(v5_packet(out), to),
        };
        if encoded.is_err() {
            to.truncate(before);
        }
        encoded
    }
}

fn is_disconnect(packet: &Packet) -> bool {
    matches!(packet, Packet::Disconnect)
}

fn refused(error: &DecodeError) -> Ending {
    match error {
        DecodeError::UnsupportedPacketType => Ending::Protocol,
        DecodeError::InvalidTopicName => Ending::TopicInvalid,
        _ => Ending::Malformed,
    }
}

fn of_v3(decoded: Option<(v3::Packet, u32)>) -> Result<Packet, Ending> {
    match decoded.ok_or(Ending::Malformed)?.0 {
        v3::Packet::Publish(packet) => publish(*packet),
        v3::Packet::PublishAck { packet_id } => Ok(Packet::PublishAck(packet_id)),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            let filters = topic_filters.into_iter().map(|(filter, qos)| (Box::from(&*filter), granted(qos)));
            Ok(Packet::Subscribe(Subscribe { packet_id, filters: few(filters)?, has_identifier: false }))
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            let filters = few(topic_filters.into_iter().map(|filter| Box::from(&*filter)))?;
            Ok(Packet::Unsubscribe(Unsubscribe { packet_id, filters }))
        }
        v3::Packet::PingRequest => Ok(Packet::Ping),
        v3::Packet::Disconnect => Ok(Packet::Disconnect),
        v3::Packet::Connect(_)
        | v3::Packet::ConnectAck(_)
        | v3::Packet::PublishReceived { .. }
        | v3::Packet::PublishRelease { .. }
        | v3::Packet::PublishComplete { .. }
        | v3::Packet::SubscribeAck { .. }
        | v3::Packet::UnsubscribeAck { .. }
        | v3::Packet::PingResponse => Err(Ending::Protocol),
    }
}

fn of_v5(decoded: Option<(v5::Packet, u32)>) -> Result<Packet, Ending> {
    match decoded.ok_or(Ending::Malformed)?.0 {
        v5::Packet::Publish(packet) => publish(*packet),
        v5::Packet::PublishAck(ack) => Ok(Packet::PublishAck(ack.packet_id)),
        v5::Packet::Subscribe(packet) => {
            let filters = packet.topic_filters.into_iter().map(|(filter, o)| (Box::from(&*filter), granted(o.qos)));
            let (packet_id, has_identifier) = (packet.packet_id, packet.id.is_some());
            Ok(Packet::Subscribe(Subscribe { packet_id, filters: few(filters)?, has_identifier }))
        }
        v5::Packet::Unsubscribe(packet) => {
            let filters = few(packet.topic_filters.into_iter().map(|filter| Box::from(&*filter)))?;
            Ok(Packet::Unsubscribe(Unsubscribe { packet_id: packet.packet_id, filters }))
        }
        v5::Packet::PingRequest => Ok(Packet::Ping),
        v5::Packet::Disconnect(_) => Ok(Packet::Disconnect),
        v5::Packet::Connect(_)
        | v5::Packet::ConnectAck(_)
        | v5::Packet::PublishReceived(_)
        | v5::Packet::PublishRelease(_)
        | v5::Packet::PublishComplete(_)
        | v5::Packet::SubscribeAck(_)
        | v5::Packet::UnsubscribeAck(_)
        | v5::Packet::PingResponse
        | v5::Packet::Auth(_) => Err(Ending::Protocol),
    }
}

/// The items, if there are not too many to be answered.
fn few<T>(items: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>, Ending> {
    if items.len() > FILTERS_MAX { Err(Ending::Quota) } else { Ok(items.collect()) }
}

/// The QoS that is granted to who wishes for `qos`.
const fn granted(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Qos::AtLeastOnce,
    }
}

/// A PUBLISH, if it is one that we support (MQTT 5 §3.3).
fn publish(packet: WirePublish) -> Result<Packet, Ending> {
    match packet.qos {
        QoS::ExactlyOnce => return Err(Ending::Qos),
        QoS::AtMostOnce if packet.dup => return Err(Ending::Malformed),
        QoS::AtMostOnce | QoS::AtLeastOnce => {}
    }
    if packet.retain {
        return Err(Ending::Retain);
    }
    let properties = packet.properties.unwrap_or_default();
    if properties.topic_alias.is_some() {
        return Err(Ending::TopicAlias);
    }
    if !properties.subscription_ids.is_empty() {
        return Err(Ending::Protocol);
    }
    let response_topic = properties.response_topic.map(|topic| Box::<str>::from(&*topic));
    if !topic::is_topic(&packet.topic) || response_topic.as_deref().is_some_and(|topic| !topic::is_topic(topic)) {
        return Err(Ending::TopicInvalid);
    }
    Ok(Packet::Publish(Box::new(Publish {
        topic: Box::from(&*packet.topic),
        packet_id: packet.packet_id,
        is_resend: packet.dup,
        response_topic,
        correlation: properties.correlation_data,
        payload: packet.payload,
    })))
}
