//! Our own packets as `rmqtt-codec` has them, for both versions.

use rmqtt_codec::{
    types::{Publish as WirePublish, QoS},
    v3,
    v5::{self, PublishAckReason, PublishProperties, SubscribeAckReason},
};

use super::packet::{Ack, Granted, Out, Qos, Refuse, Welcome};

const fn wire_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

/// The packet as 3.1.1 has it; none where it has none.
pub(super) fn v3_packet(out: &Out<'_>) -> Option<v3::Packet> {
    Some(match out {
        Out::Welcome(_) => v3::Packet::ConnectAck(v3::ConnectAck {
            return_code: v3::ConnectAckReason::ConnectionAccepted,
            session_present: false,
        }),
        Out::Refuse(refuse, _) => {
            v3::Packet::ConnectAck(v3::ConnectAck { return_code: refuse.v3(), session_present: false })
        }
        Out::PublishAck(packet_id, ..) => v3::Packet::PublishAck { packet_id: *packet_id },
        Out::SubscribeAck(packet_id, granted) => {
            let status = granted.iter().map(|granted| match granted {
                Granted::Qos(qos) => v3::SubscribeReturnCode::Success(wire_qos(*qos)),
                Granted::NotAuthorized | Granted::Invalid | Granted::Shared | Granted::Quota => {
                    v3::SubscribeReturnCode::Failure
                }
            });
            v3::Packet::SubscribeAck { packet_id: *packet_id, status: status.collect() }
        }
        Out::UnsubscribeAck(packet_id, _) => v3::Packet::UnsubscribeAck { packet_id: *packet_id },
        Out::Pong => v3::Packet::PingResponse,
        Out::Disconnect(_) => return None,
        Out::Result(message, qos, packet_id) => v3::Packet::Publish(Box::new(WirePublish {
            dup: false,
            retain: false,
            qos: wire_qos(*qos),
            topic: message.topic.as_ref().into(),
            packet_id: *packet_id,
            payload: message.payload.clone(),
            properties: None,
        })),
    })
}

pub(super) fn v5_packet(out: Out<'_>) -> v5::Packet {
    match out {
        Out::Welcome(welcome) => v5_welcome(&welcome),
        Out::Refuse(refuse, words) => v5::Packet::ConnectAck(Box::new(v5::ConnectAck {
            reason_code: refuse.v5(),
            reason_string: (!words.is_empty()).then(|| words.into()),
            ..v5::ConnectAck::default()
        })),
        Out::PublishAck(packet_id, ack, words) => v5::Packet::PublishAck(v5::PublishAck {
            packet_id,
            reason_code: ack.v5(),
            reason_string: words.map(Into::into),
            ..v5::PublishAck::default()
        }),
        Out::SubscribeAck(packet_id, granted) => {
            let status = granted.iter().map(|granted| granted.v5()).collect();
            v5::Packet::SubscribeAck(v5::SubscribeAck {
                packet_id,
                properties: Vec::new(),
                reason_string: None,
                status,
            })
        }
        Out::UnsubscribeAck(packet_id, existed) => {
            let status = existed.iter().map(|existed| match existed {
                true => v5::UnsubscribeAckReason::Success,
                false => v5::UnsubscribeAckReason::NoSubscriptionExisted,
            });
            let (properties, status) = (Vec::new(), status.collect());
            v5::Packet::UnsubscribeAck(v5::UnsubscribeAck { packet_id, properties, reason_string: None, status })
        }
        Out::Pong => v5::Packet::PingResponse,
        Out::Disconnect(ending) => v5::Packet::Disconnect(v5::Disconnect {
            reason_code: ending.reason().unwrap_or(v5::DisconnectReasonCode::NormalDisconnection),
            reason_string: (!ending.words().is_empty()).then(|| ending.words().into()),
            ..v5::Disconnect::default()
        }),
        Out::Result(message, qos, packet_id) => v5::Packet::Publish(Box::new(WirePublish {
            dup: false,
            retain: false,
            qos: wire_qos(qos),
            topic: message.topic.as_ref().into(),
            packet_id,
            payload: message.payload.clone(),
            properties: Some(PublishProperties {
                correlation_data: message.correlation.clone(),
                content_type: Some(message.content_type.into()),
                is_utf8_payload: true,
                ..PublishProperties::default()
            }),
        })),
    }
}

/// What version 5 is told about us: clean sessions, QoS 0 and 1, nothing retained, no aliases.
fn v5_welcome(welcome: &Welcome<'_>) -> v5::Packet {
    v5::Packet::ConnectAck(Box::new(v5::ConnectAck {
        session_expiry_interval_secs: Some(0),
        receive_max: welcome.receive_maximum,
        max_qos: QoS::AtLeastOnce,
        retain_available: false,
        max_packet_size: Some(welcome.packet_bytes_max),
        assigned_client_id: welcome.assigned_client_id.map(Into::into),
        topic_alias_max: 0,
        wildcard_subscription_available: true,
        subscription_identifiers_available: false,
        shared_subscription_available: false,
        server_keepalive_sec: welcome.server_keep_alive_s,
        ..v5::ConnectAck::default()
    }))
}

impl Ack {
    pub(super) const fn v5(self) -> PublishAckReason {
        match self {
            Self::Success => PublishAckReason::Success,
            Self::PayloadInvalid => PublishAckReason::PayloadFormatInvalid,
            Self::QuotaExceeded => PublishAckReason::QuotaExceeded,
            Self::NotAuthorized => PublishAckReason::NotAuthorized,
        }
    }
}

impl Granted {
    pub(super) const fn v5(self) -> SubscribeAckReason {
        match self {
            Self::Qos(Qos::AtMostOnce) => SubscribeAckReason::GrantedQos0,
            Self::Qos(Qos::AtLeastOnce) => SubscribeAckReason::GrantedQos1,
            Self::NotAuthorized => SubscribeAckReason::NotAuthorized,
            Self::Invalid => SubscribeAckReason::TopicFilterInvalid,
            Self::Shared => SubscribeAckReason::SharedSubscriptionNotSupported,
            Self::Quota => SubscribeAckReason::QuotaExceeded,
        }
    }
}

impl Refuse {
    pub(super) const fn v3(self) -> v3::ConnectAckReason {
        use v3::ConnectAckReason as Code;
        match self {
            Self::Version => Code::UnacceptableProtocolVersion,
            Self::ClientId => Code::IdentifierRejected,
            Self::Credentials => Code::BadUserNameOrPassword,
            Self::Quota | Self::ConnectionRate | Self::Unavailable => Code::ServiceUnavailable,
            Self::Malformed
            | Self::NotAuthorized
            | Self::AuthMethod
            | Self::Will
            | Self::WillRetain
            | Self::PacketTooLarge => Code::NotAuthorized,
        }
    }

    pub(super) const fn v5(self) -> v5::ConnectAckReason {
        use v5::ConnectAckReason as Code;
        match self {
            Self::Version => Code::UnsupportedProtocolVersion,
            Self::Malformed => Code::MalformedPacket,
            Self::ClientId => Code::ClientIdentifierNotValid,
            Self::Credentials => Code::BadUserNameOrPassword,
            Self::NotAuthorized => Code::NotAuthorized,
            Self::AuthMethod => Code::BadAuthenticationMethod,
            Self::Will => Code::ImplementationSpecificError,
            Self::WillRetain => Code::RetainNotSupported,
            Self::PacketTooLarge => Code::PacketTooLarge,
            Self::Quota => Code::QuotaExceeded,
            Self::ConnectionRate => Code::ConnectionRateExceeded,
            Self::Unavailable => Code::ServerUnavailable,
        }
    }
}
