//! Our packets read by rumqttc's codec, and rumqttc's read by ours.

use std::num::NonZeroU16;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use rumqttc::mqttbytes::v4;

use super::{
    super::{
        codec::Codec,
        packet::{Ack, Granted, Out, Packet, Qos, Version},
        wire::Head,
    },
    *,
};

fn codec(version: Version) -> Codec {
    Codec::of(version)
}

fn written(version: Version, out: Out<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    codec(version).encode(out, &mut bytes).unwrap();
    bytes
}

fn decoded(version: Version, bytes: BytesMut) -> Packet {
    let head = Head::parse(&bytes).unwrap().expect("a whole header");
    assert_eq!(head.total(), bytes.len());
    codec(version).decode(head, bytes).unwrap()
}

fn name() -> impl Strategy<Value = String> {
    "[a-zé/]{1,60}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // MQTT 5 §3.3, 3.1.1 §3.3: a publish comes out as it went in.
    #[test]
    fn publishes_of_clients_are_read_as_they_are(
        topic in name(),
        payload in vec(any::<u8>(), 0..20_000),
        id in any::<u16>(),
        dup in any::<bool>(),
        response_topic in proptest::option::of(name()),
        correlation in proptest::option::of(vec(any::<u8>(), 0..50)),
    ) {
        let mut bytes = BytesMut::new();
        let qos = if id == 0 { rumqttc::QoS::AtMostOnce } else { rumqttc::QoS::AtLeastOnce };
        let mut three = v4::Publish::new(topic.clone(), qos, payload.clone());
        (three.pkid, three.dup) = (id, dup && id > 0);
        three.write(&mut bytes).unwrap();
        let Packet::Publish(read) = decoded(Version::V3, bytes.split()) else { panic!("a PUBLISH") };
        prop_assert_eq!((&*read.topic, read.packet_id, read.is_resend), (&*topic, NonZeroU16::new(id), three.dup));
        prop_assert_eq!(&read.payload, &payload);

        let v5::Packet::Publish(mut five) = publish(&topic, id, "") else { unreachable!() };
        (five.payload, five.dup) = (payload.clone().into(), dup && id > 0);
        five.properties = Some(v5::PublishProperties {
            response_topic: response_topic.clone(),
            correlation_data: correlation.clone().map(Bytes::from),
            user_properties: vec![("k".into(), "v".into())],
            ..v5::PublishProperties::default()
        });
        v5::Packet::Publish(five).write(&mut bytes, None).unwrap();
        let Packet::Publish(read) = decoded(Version::V5, bytes) else { panic!("a PUBLISH") };
        prop_assert_eq!((&*read.topic, read.packet_id, read.is_resend), (&*topic, NonZeroU16::new(id), dup && id > 0));
        prop_assert_eq!(read.response_topic.as_deref(), response_topic.as_deref());
        prop_assert_eq!((read.correlation.as_deref(), &read.payload[..]), (correlation.as_deref(), &payload[..]));
    }

    // What we send is read by another codec as it was meant.
    #[test]
    fn results_are_read_as_they_are(
        below in name(),
        payload in vec(any::<u8>(), 0..20_000),
        correlation in proptest::option::of(vec(any::<u8>(), 0..50)),
        id in any::<u16>(),
    ) {
        let bench_config = config();
        let audience = super::super::audience::Audiences::default().of(IntegrationId::generate(), &bench_config);
        let topic = format!("{}/{below}", audience.topics.results());
        let body = (payload.clone(), "application/json");
        let message = audience.message(topic.as_str().into(), body, correlation.clone().map(Bytes::from)).expect("room");
        let id = NonZeroU16::new(id);
        let qos = if id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let mut bytes = written(Version::V3, Out::Result(&message, qos, id));
        match rumqttc::Packet::read(&mut bytes, 1 << 20).unwrap() {
            rumqttc::Packet::Publish(read) => {
                prop_assert_eq!((read.topic, read.pkid), (topic.clone(), id.map_or(0, NonZeroU16::get)));
                prop_assert_eq!(&read.payload, &payload);
            }
            other => panic!("{other:?}"),
        }
        let mut bytes = written(Version::V5, Out::Result(&message, qos, id));
        match v5::Packet::read(&mut bytes, None).unwrap() {
            v5::Packet::Publish(read) => {
                prop_assert_eq!((&read.topic, read.pkid), (&Bytes::from(topic), id.map_or(0, NonZeroU16::get)));
                prop_assert_eq!(&read.payload, &payload);
                let properties = read.properties.expect("properties");
                prop_assert_eq!(properties.correlation_data.as_deref(), correlation.as_deref());
                prop_assert_eq!(properties.content_type.as_deref(), Some("application/json"));
            }
            other => panic!("{other:?}"),
        }
    }
}

// MQTT 5 §3.4, §3.9, §3.11, §3.14; 3.1.1 has fewer words for the same.
#[test]
fn answers_are_read_as_they_are() {
    let id = NonZeroU16::new(7).unwrap();
    for (ack, reason) in [
        (Ack::Success, v5::PubAckReason::Success),
        (Ack::PayloadInvalid, v5::PubAckReason::PayloadFormatInvalid),
        (Ack::QuotaExceeded, v5::PubAckReason::QuotaExceeded),
        (Ack::NotAuthorized, v5::PubAckReason::NotAuthorized),
    ] {
        let mut bytes = written(Version::V5, Out::PublishAck(id, ack, None));
        let v5::Packet::PubAck(read) = v5::Packet::read(&mut bytes, None).unwrap() else { panic!("a PUBACK") };
        assert_eq!((read.pkid, read.reason), (7, reason));
        assert_eq!(written(Version::V3, Out::PublishAck(id, ack, None))[..], [0x40, 2, 0, 7]);
    }
    let granted =
        [Granted::Qos(Qos::AtMostOnce), Granted::Qos(Qos::AtLeastOnce), Granted::NotAuthorized, Granted::Quota];
    assert_eq!(written(Version::V3, Out::SubscribeAck(id, &granted))[..], [0x90, 6, 0, 7, 0, 1, 0x80, 0x80]);
    assert_eq!(written(Version::V5, Out::SubscribeAck(id, &granted))[..], [0x90, 7, 0, 7, 0, 0, 1, 0x87, 0x97]);
    assert_eq!(written(Version::V3, Out::UnsubscribeAck(id, &[true, false]))[..], [0xb0, 2, 0, 7]);
    assert_eq!(written(Version::V5, Out::UnsubscribeAck(id, &[true, false]))[..], [0xb0, 5, 0, 7, 0, 0, 0x11]);
    for version in [Version::V3, Version::V5] {
        assert_eq!(written(version, Out::Pong)[..], [0xd0, 0]);
    }
}
