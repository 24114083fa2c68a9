//! Why a connection ends, and what its client is told: a DISCONNECT with a reason on version 5, a close on 3.1.1.

use rmqtt_codec::v5::DisconnectReasonCode as Code;

use crate::auth::SessionEnd;

/// Why a connection ends. A metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    /// The client said DISCONNECT.
    Left,
    /// The connection is closed or broken.
    Gone,
    /// Bytes that are no packet, or no packet of this place.
    Malformed,
    /// A packet that may not come here, or not like this.
    Protocol,
    /// A topic with a wildcard, or none.
    TopicInvalid,
    /// A topic alias, though none was offered.
    TopicAlias,
    /// More than `mqtt.packet_bytes_max`.
    TooLarge,
    /// More unacknowledged publishes than announced.
    ReceiveMaximum,
    /// A retained publish.
    Retain,
    /// QoS 2.
    Qos,
    /// A publish to a foreign topic that cannot be refused by itself.
    Forbidden,
    /// A packet with more topic filters than can be answered.
    Quota,
    /// A subscription identifier, though none was offered.
    SubscriptionId,
    /// Nothing came for one and a half times the keep-alive, or for the idle time-out.
    Silent,
    /// A packet took too long, or the client does not read.
    Slow,
    /// Another connection came with the same client id.
    TakenOver,
    /// Suspended, revoked, regenerated, or no longer in the allowlist.
    AccessChanged,
    /// The scope `sensors:write` was taken away.
    ScopeLost,
    /// The token's end.
    TokenExpired,
    /// A batch could not be stored for too long.
    CannotStore,
    /// The service stops.
    ShuttingDown,
}

impl Ending {
    /// All of them.
    pub(super) const ALL: [Self; 21] = [
        Self::Left,
        Self::Gone,
        Self::Malformed,
        Self::Protocol,
        Self::TopicInvalid,
        Self::TopicAlias,
        Self::TooLarge,
        Self::ReceiveMaximum,
        Self::Retain,
        Self::Qos,
        Self::Forbidden,
        Self::Quota,
        Self::SubscriptionId,
        Self::Silent,
        Self::Slow,
        Self::TakenOver,
        Self::AccessChanged,
        Self::ScopeLost,
        Self::TokenExpired,
        Self::CannotStore,
        Self::ShuttingDown,
    ];

    /// The label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Gone => "gone",
            Self::Malformed => "malformed",
            Self::Protocol => "protocol",
            Self::TopicInvalid => "topic_invalid",
            Self::TopicAlias => "topic_alias",
            Self::TooLarge => "too_large",
            Self::ReceiveMaximum => "receive_maximum",
            Self::Retain => "retain",
            Self::Qos => "qos",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::SubscriptionId => "subscription_id",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::TakenOver => "taken_over",
            Self::AccessChanged => "access_changed",
            Self::ScopeLost => "scope_lost",
            Self::TokenExpired => "token_expired",
            Self::CannotStore => "cannot_store",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// What version 5 is told (MQTT 5 §3.14.2.1, `api.md` §2); nothing to who left.
    pub(super) const fn reason(self) -> Option<Code> {
        Some(match self {
            Self::Left | Self::Gone => return None,
            Self::Malformed => Code::MalformedPacket,
            Self::Protocol => Code::ProtocolError,
            Self::TopicInvalid => Code::TopicNameInvalid,
            Self::TopicAlias => Code::TopicAliasInvalid,
            Self::TooLarge => Code::PacketTooLarge,
            Self::ReceiveMaximum => Code::ReceiveMaximumExceeded,
            Self::Retain => Code::RetainNotSupported,
            Self::Qos => Code::QosNotSupported,
            Self::Forbidden | Self::ScopeLost => Code::NotAuthorized,
            Self::Quota => Code::QuotaExceeded,
            Self::SubscriptionId => Code::SubscriptionIdentifiersNotSupported,
            Self::Silent => Code::KeepAliveTimeout,
            Self::Slow => Code::UnspecifiedError,
            Self::TakenOver => Code::SessionTakenOver,
            Self::AccessChanged => Code::AdministrativeAction,
            Self::TokenExpired => Code::MaximumConnectTime,
            Self::CannotStore => Code::ServerBusy,
            Self::ShuttingDown => Code::ServerShuttingDown,
        })
    }

    /// The same for people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Left | Self::Gone => "",
            Self::Malformed => "The packet cannot be read.",
            Self::Protocol => "The packet may not come here.",
            Self::TopicInvalid => "The topic is empty or has a wildcard.",
            Self::TopicAlias => "Topic aliases are not offered: Topic Alias Maximum is 0.",
            Self::TooLarge => "The packet is larger than the Maximum Packet Size: split the batch.",
            Self::ReceiveMaximum => "More publishes are unacknowledged than the Receive Maximum allows.",
            Self::Retain => "Retained messages are not supported.",
            Self::Qos => "QoS 2 is not supported: batches are stored once at QoS 1 as well.",
            Self::Forbidden => "Publish to grq/v1/{integration_id}/readings only.",
            Self::Quota => "Too many topic filters in one packet.",
            Self::SubscriptionId => "Subscription identifiers are not supported.",
            Self::Silent => "Nothing came within one and a half times the keep-alive.",
            Self::Slow => "A packet took too long to arrive, or what was sent is not read.",
            Self::TakenOver => "Another connection uses this client id.",
            Self::AccessChanged => "The integration's access was changed by an administrator.",
            Self::ScopeLost => "The integration lost the scope sensors:write.",
            Self::TokenExpired => "The token has expired: connect again with a new one.",
            Self::CannotStore => "Batches cannot be stored now: connect again later and send what is unacknowledged.",
            Self::ShuttingDown => "The service is stopping: connect again.",
        }
    }
}

impl From<SessionEnd> for Ending {
    fn from(end: SessionEnd) -> Self {
        match end {
            SessionEnd::AccessChanged => Self::AccessChanged,
            SessionEnd::ScopeLost => Self::ScopeLost,
            SessionEnd::TakenOver => Self::TakenOver,
        }
    }
}
