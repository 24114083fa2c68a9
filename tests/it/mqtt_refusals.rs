//! What is refused over MQTT, and how each library sees it: topics, QoS 2, retain, wills, credentials, take-over.

use serde_json::json;

use crate::{
    mqtt_clients::facility,
    support::{
        Facility, Integration, batch,
        mqtt::{Connect, Gateway, Library, Publish, VERSIONS},
        now_s,
        wire::{self, PUBACK, SUBACK, Wire},
    },
};

fn refused_topics(own: &Integration, other: &Integration) -> [String; 8] {
    [
        format!("grq/v1/{}/readings", other.id),
        format!("grq/v1/{}/results", own.id),
        format!("grq/v1/{}/readings/", own.id),
        format!("grq/v1/{}/readings", own.id.to_uppercase()),
        format!("/grq/v1/{}/readings", own.id),
        format!("$SYS/grq/v1/{}/readings", own.id),
        "é/readings".to_owned(),
        "readings".to_owned(),
    ]
}

// api.md §2: a forbidden PUBLISH: PUBACK 0x87 (v5, QoS 1), otherwise a close. Nothing is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_publish_to_any_other_topic_is_refused() {
    let (facility, sender) = facility(&[]).await;
    let other = facility.busy_sender().await;
    let payload = batch("s", 1, now_s()).to_string();
    for library in Library::available() {
        let mut gateway = Gateway::open(library, 5, &facility.server, &sender, "gateway").await;
        for topic in refused_topics(&sender, &other) {
            let publish = Publish { topic: topic.clone(), payload: payload.clone(), qos: 1, ..Publish::default() };
            gateway.publish(&publish).await;
            assert_eq!(gateway.puback().await, 0x87, "{library:?}: {topic}");
        }
        let topic = refused_topics(&sender, &other)[0].clone();
        gateway.publish(&Publish { topic, payload: payload.clone(), ..Publish::default() }).await;
        assert_eq!(gateway.ended().await, Some(0x87), "{library:?} at QoS 0");
    }
    for topic in refused_topics(&sender, &other) {
        let mut gateway = Gateway::open(Library::Rumqttc, 4, &facility.server, &sender, "gateway").await;
        gateway.publish(&Publish { topic, payload: payload.clone(), qos: 1, ..Publish::default() }).await;
        assert_eq!(gateway.ended().await, None);
        assert!(!gateway.has_puback(), "3.1.1 has no negative PUBACK, and a positive one would be a lie");
    }
    for integration in [&sender, &other] {
        assert!(facility.stored(integration, "s", "temperature", 0).await.is_empty());
    }
}

// api.md §2: SUBSCRIBE only to the own results and below; anything else: SUBACK 0x87 (v5), 0x80 (3.1.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_to_anything_but_the_own_results_is_refused() {
    let (facility, sender) = facility(&[]).await;
    let other = facility.busy_sender().await;
    for library in Library::available() {
        for (version, refusal) in [(4, 0x80), (5, 0x87)] {
            let mut gateway = Gateway::open(library, version, &facility.server, &sender, "gateway").await;
            for filter in [
                "#".to_owned(),
                "+/v1/#".to_owned(),
                "grq/#".to_owned(),
                "$SYS/#".to_owned(),
                format!("grq/v1/{}/#", sender.id),
                format!("grq/v1/{}/readings", sender.id),
                format!("grq/v1/{}/results", other.id),
                format!("grq/v1/{}/results/#", other.id),
            ] {
                assert_eq!(gateway.subscribe(&filter).await, refusal, "{library:?} {version}: {filter}");
            }
            for good in ["", "/#", "/house-1", "/+/x"] {
                let filter = format!("{}{good}", gateway.results);
                assert_eq!(gateway.subscribe(&filter).await, 1, "{library:?} {version}: {filter}");
            }
        }
    }
}

/// One packet on a fresh session, at the socket: libraries refuse to send some of these. Gives the reason of the
/// DISCONNECT that ended it.
async fn after(facility: &Facility, sender: &Integration, version: u8, bytes: &[u8]) -> Option<u8> {
    let mut wire = Wire::open(&facility.server, version, sender, "raw").await;
    wire.send(bytes).await;
    let rest = wire.rest().await;
    assert!(rest.iter().all(|packet| packet.kind() != PUBACK), "{rest:?}");
    rest.last().map(wire::Packet::reason)
}

// api.md §2 and MQTT 5 §3.2.2.3: what the CONNACK says is not supported ends the session when it is used.
#[tokio::test(flavor = "multi_thread")]
async fn qos_2_and_retained_publishes_end_the_session() {
    let (facility, sender) = facility(&[]).await;
    let topic = format!("grq/v1/{}/readings", sender.id).into_bytes();
    let payload = batch("s", 1, now_s()).to_string().into_bytes();
    for (first, reason) in [(0x34, 0x9b), (0x33, 0x9a), (0x31, 0x9a)] {
        for (version, reason) in [(5, Some(reason)), (4, None)] {
            let bytes = wire::publish_with(version, first, &topic, 7, &payload);
            assert_eq!(after(&facility, &sender, version, &bytes).await, reason, "{first:x} {version}");
        }
    }
    let mut gateway = Gateway::open(Library::Rumqttc, 5, &facility.server, &sender, "gateway").await;
    let topic = gateway.readings.clone();
    gateway.publish(&Publish { topic, payload: "{}".to_owned(), qos: 1, retain: true, ..Publish::default() }).await;
    assert_eq!(gateway.ended().await, Some(0x9a));
    assert!(facility.stored(&sender, "s", "temperature", 0).await.is_empty());
}

// api.md §2: clean sessions, receive maximum 8–32, packets of at least 256 KiB, no QoS 2, no retain: all announced.
#[tokio::test(flavor = "multi_thread")]
async fn the_connack_announces_what_is_supported() {
    let (facility, sender) = facility(&[]).await;
    let connect = Connect::to(&facility.server.mqtt_url, 5, &sender, "gateway");
    let mut gateway = Gateway::start(Library::Rumqttc, &connect, &sender).await;
    let (reason, session_present, properties) = gateway.connack_whole().await;
    assert_eq!((reason, session_present), (0, false));
    assert!((8..=32).contains(&properties["ReceiveMaximum"].as_u64().unwrap()), "{properties}");
    assert!(properties["MaximumPacketSize"].as_u64().unwrap() >= 256 * 1024, "{properties}");
    assert_eq!((&properties["MaximumQoS"], &properties["RetainAvailable"]), (&json!(1), &json!(0)), "{properties}");
}

// api.md §2: no will.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_with_a_will_is_refused() {
    let (facility, sender) = facility(&[]).await;
    for library in Library::available() {
        for version in VERSIONS {
            let mut connect = Connect::to(&facility.server.mqtt_url, version, &sender, "gateway");
            connect.will_topic = Some(format!("grq/v1/{}/readings", sender.id));
            let mut gateway = Gateway::start(library, &connect, &sender).await;
            assert_ne!(gateway.connack().await, 0, "{library:?} {version}");
            gateway.ended().await;
        }
    }
}

// S176, A20: CONNECT goes through the same pipeline as HTTP: no anonymous connection, both credentials, one pair.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_pair_of_credentials_connects() {
    let (facility, sender) = facility(&[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "10000")]).await;
    let other = facility.busy_sender().await;
    let reader = facility.active(&["equipment:read"]).await;
    let good = |version| Connect::to(&facility.server.mqtt_url, version, &sender, "gateway");
    let some = |text: &str| Some(text.to_owned());
    for (what, username, password, libraries) in [
        ("nothing", None, None, Library::available()),
        ("no token", some(&sender.api_key), some(""), vec![Library::Rumqttc]),
        ("no key", some(""), some(&sender.token), vec![Library::Rumqttc]),
        ("not a token", some(&sender.api_key), some("not.a.token"), Library::available()),
        ("not a key", some("grq_live_nothing"), some(&sender.token), vec![Library::Rumqttc]),
        ("another's token", some(&sender.api_key), some(&other.token), vec![Library::Rumqttc]),
        ("another's key", some(&other.api_key), some(&sender.token), vec![Library::Rumqttc]),
        ("the wrong way round", some(&sender.token), some(&sender.api_key), vec![Library::Rumqttc]),
        ("Bearer before it", some(&sender.api_key), Some(format!("Bearer {}", sender.token)), vec![Library::Rumqttc]),
    ] {
        for library in libraries {
            for version in VERSIONS {
                let (username, password) = (username.clone(), password.clone());
                let connect = Connect { username, password, ..good(version) };
                let mut gateway = Gateway::start(library, &connect, &sender).await;
                let reason = gateway.connack().await;
                assert_eq!(reason, if version == 5 { 0x86 } else { 4 }, "{library:?} {version}: {what}");
                gateway.ended().await;
            }
        }
    }
    // Without sensors:write: 0x87 and 5.
    for version in VERSIONS {
        let connect = Connect::to(&facility.server.mqtt_url, version, &reader, "gateway");
        let mut gateway = Gateway::start(Library::Rumqttc, &connect, &reader).await;
        assert_eq!(gateway.connack().await, if version == 5 { 0x87 } else { 5 });
    }
    // None of it cost the integration anything.
    let answer = facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("9999"));
}

// api.md §2: client ids are scoped by integration: a second CONNECT with the same one takes over.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_client_id_takes_over_within_its_integration_only() {
    let (facility, sender) = facility(&[]).await;
    let other = facility.busy_sender().await;
    for library in Library::available() {
        let mut stranger = Gateway::open(library, 5, &facility.server, &other, "gateway").await;
        for (version, reason) in [(5, Some(0x8e)), (4, None)] {
            let mut first = Gateway::open(library, version, &facility.server, &sender, "gateway").await;
            let mut second = Gateway::open(library, version, &facility.server, &sender, "gateway").await;
            assert_eq!(first.ended().await, reason, "{library:?} {version}");
            assert_eq!(second.exchange(&batch("s", 1, now_s())).await.0, 0);
        }
        assert_eq!(stranger.exchange(&batch("s", 1, now_s())).await.0, 0);
    }
}

// MQTT 5 §4.9: more publishes than the Receive Maximum end the session; what was not acknowledged is not stored twice
// when it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn more_in_flight_than_announced_ends_the_session() {
    let hold = [("SENSORGATE__SPOOL__FREE_DISK_BYTES_MIN", "1125899906842624")];
    let (mut facility, sender) = facility(&hold).await;
    facility.server.expect_error("free disk");
    let topic = format!("grq/v1/{}/readings", sender.id).into_bytes();
    for (version, reason) in [(5, Some(0x93))] {
        let mut wire = Wire::open(&facility.server, version, &sender, "raw").await;
        for id in 1..=33 {
            let payload = batch("s", 1, now_s() - i64::from(id)).to_string();
            wire.send(&wire::publish(version, &topic, id, payload.as_bytes())).await;
        }
        assert_eq!(wire.ended().await, reason);
    }
}

// MQTT 3.1.1 §4.6, api.md §2: acknowledged in the order of arrival, whatever each batch costs.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_come_in_the_order_of_arrival() {
    let (facility, sender) = facility(&[]).await;
    let topic = format!("grq/v1/{}/readings", sender.id).into_bytes();
    for version in VERSIONS {
        let mut wire = Wire::open(&facility.server, version, &sender, "raw").await;
        for round in 0..20_u16 {
            let ids: Vec<u16> = (1..=8).map(|n| 60_000 - round * 8 - n).collect();
            let mut bytes = Vec::new();
            for (n, id) in ids.iter().enumerate() {
                // Large and good, small and good, refused at once: each takes another time.
                let payload = match n % 4 {
                    0 => batch("s", 500, now_s() - i64::from(round) * 1_000).to_string(),
                    1 => batch("s", 1, now_s()).to_string(),
                    2 => "nonsense".to_owned(),
                    _ => json!({"readings": [7]}).to_string(),
                };
                bytes.extend(wire::publish(version, &topic, *id, payload.as_bytes()));
            }
            wire.send(&bytes).await;
            for id in ids {
                let ack = wire.packet().await.expect("a PUBACK");
                assert_eq!((ack.kind(), ack.id()), (PUBACK, id), "version {version}");
            }
        }
    }
}

// MQTT 5 §3.8.4: one reason for each filter, in their order.
#[tokio::test(flavor = "multi_thread")]
async fn each_filter_of_a_subscribe_is_answered() {
    let (facility, sender) = facility(&[]).await;
    let own = format!("grq/v1/{}/results", sender.id);
    for (version, refused, shared) in [(4, 0x80, 0x80), (5, 0x87, 0x9e)] {
        let mut wire = Wire::open(&facility.server, version, &sender, "raw").await;
        let mut body = vec![0, 9];
        if version == 5 {
            body.push(0);
        }
        let group = format!("$share/group/{own}");
        for (filter, qos) in [(own.as_str(), 2), ("#", 1), (&format!("{own}/a"), 0), (&group, 1)] {
            body.extend(wire::field(filter.as_bytes()));
            body.push(qos);
        }
        wire.send(&wire::packet(0x82, &body)).await;
        let answer = wire.packet().await.expect("a SUBACK");
        assert_eq!((answer.kind(), answer.id()), (SUBACK, 9));
        let reasons = &answer.body[if version == 5 { 3 } else { 2 }..];
        assert_eq!(reasons, [1, refused, 0, shared], "version {version}");
    }
}

// MQTT 5 §3.3.4, §3.8.4: what the CONNACK does not offer, or says is not available, ends the session when it is used.
#[tokio::test(flavor = "multi_thread")]
async fn topic_aliases_and_subscription_identifiers_end_the_session() {
    let (facility, sender) = facility(&[]).await;
    let topic = format!("grq/v1/{}/readings", sender.id);
    let alias = [&wire::field(topic.as_bytes())[..], &[0, 7, 3, 0x23, 0, 1], b"{}"].concat();
    let own = wire::field(format!("grq/v1/{}/results", sender.id).as_bytes());
    let identifier = [&[0, 7, 2, 0x0b, 1][..], &own, &[1]].concat();
    for (bytes, reason) in [(wire::packet(0x32, &alias), 0x94), (wire::packet(0x82, &identifier), 0xa1)] {
        assert_eq!(after(&facility, &sender, 5, &bytes).await, Some(reason));
    }
}
