//! The packets that a client may send, and the ones that it is sent, without regard to the protocol's version.

use std::num::NonZeroU16;

use bytes::Bytes;

use super::{audience::Message, ending::Ending};

/// The protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Version {
    /// 3.1.1: no reasons, no properties.
    V3,
    /// 5.
    V5,
}

/// Quality of service. QoS 2 is refused where it is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Qos {
    /// At most once: no acknowledgement.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// What a client sent after its CONNECT.
#[derive(Debug)]
pub(super) enum Packet {
    Publish(Box<Publish>),
    /// It has a result.
    PublishAck(NonZeroU16),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Ping,
    Disconnect,
}

/// A PUBLISH that the standard allows and we support: a topic without wildcards, QoS 0 or 1, not retained.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) topic: Box<str>,
    /// Given exactly at QoS 1.
    pub(super) packet_id: Option<NonZeroU16>,
    pub(super) is_resend: bool,
    pub(super) response_topic: Option<Box<str>>,
    pub(super) correlation: Option<Bytes>,
    pub(super) payload: Bytes,
}

/// A SUBSCRIBE: filters with the highest QoS wished for.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) packet_id: NonZeroU16,
    pub(super) filters: Vec<(Box<str>, Qos)>,
    pub(super) has_identifier: bool,
}

/// An UNSUBSCRIBE.
#[derive(Debug)]
pub(super) struct Unsubscribe {
    pub(super) packet_id: NonZeroU16,
    pub(super) filters: Vec<Box<str>>,
}

/// The CONNECT, either version.
pub(super) struct Connect {
    pub(super) client_id: Box<str>,
    pub(super) username: Option<Box<str>>,
    pub(super) password: Option<Bytes>,
    /// Seconds; 0 is none.
    pub(super) keep_alive_s: u16,
    /// Whether it has a will, and whether that is to be retained.
    pub(super) will: Option<WillRetain>,
    pub(super) has_auth_method: bool,
    /// How many unacknowledged results the client takes.
    pub(super) receive_maximum: u16,
}

/// Whether a will is to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WillRetain(pub(super) bool);

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// The answer to one filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    Qos(Qos),
    NotAuthorized,
    Invalid,
    Shared,
    Quota,
}

/// What a client is sent.
#[derive(Debug)]
pub(super) enum Out<'a> {
    /// The CONNECT is accepted.
    Welcome(Welcome<'a>),
    /// The CONNECT is refused, with words for version 5.
    Refuse(Refuse, String),
    PublishAck(NonZeroU16, Ack, Option<String>),
    SubscribeAck(NonZeroU16, &'a [Granted]),
    /// For each filter, whether it was subscribed to.
    UnsubscribeAck(NonZeroU16, &'a [bool]),
    Pong,
    /// Version 5 only.
    Disconnect(Ending),
    Result(&'a Message, Qos, Option<NonZeroU16>),
}

/// What a CONNACK tells version 5 about us.
#[derive(Debug)]
pub(super) struct Welcome<'a> {
    pub(super) assigned_client_id: Option<&'a str>,
    pub(super) server_keep_alive_s: Option<u16>,
    pub(super) receive_maximum: NonZeroU16,
    pub(super) packet_bytes_max: u32,
}

/// The reason in a PUBACK of version 5 (`api.md` §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ack {
    /// Stored, wholly or in part.
    Success,
    /// Malformed, all rejected, or too many readings.
    PayloadInvalid,
    /// Rate limit or daily quota.
    QuotaExceeded,
    /// A foreign topic, or the scope was lost.
    NotAuthorized,
}

impl Ack {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Success, Self::PayloadInvalid, Self::QuotaExceeded, Self::NotAuthorized];
}

impl Granted {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Qos(Qos::AtMostOnce),
        Self::Qos(Qos::AtLeastOnce),
        Self::NotAuthorized,
        Self::Invalid,
        Self::Shared,
        Self::Quota,
    ];
}

/// Why a CONNECT is refused, in the words of both versions (MQTT 5 §3.2.2.2, 3.1.1 §3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Refuse {
    Version,
    Malformed,
    ClientId,
    Credentials,
    NotAuthorized,
    AuthMethod,
    Will,
    WillRetain,
    PacketTooLarge,
    Quota,
    ConnectionRate,
    Unavailable,
}

impl Refuse {
    /// All of them.
    pub(super) const ALL: [Self; 12] = [
        Self::Version,
        Self::Malformed,
        Self::ClientId,
        Self::Credentials,
        Self::NotAuthorized,
        Self::AuthMethod,
        Self::Will,
        Self::WillRetain,
        Self::PacketTooLarge,
        Self::Quota,
        Self::ConnectionRate,
        Self::Unavailable,
    ];
}
