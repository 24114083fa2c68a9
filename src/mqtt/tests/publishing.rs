//! PUBLISH, SUBSCRIBE and what comes of them (`api.md` §2).

use super::*;

fn v5_qos(qos: u8) -> rumqttc::v5::mqttbytes::QoS {
    rumqttc::v5::mqttbytes::qos(qos).unwrap()
}

async fn result(client: &mut Five) -> (String, serde_json::Value, v5::PublishProperties) {
    match client.next().await {
        v5::Packet::Publish(result) => {
            let topic = String::from_utf8(result.topic.to_vec()).unwrap();
            (topic, serde_json::from_slice(&result.payload).unwrap(), result.properties.unwrap())
        }
        other => panic!("{other:?}"),
    }
}

// api.md §2: the table of reasons.
#[tokio::test]
async fn each_outcome_has_its_reason() {
    use v5::PubAckReason as Reason;
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    for (body, reason) in [
        ("ok", Reason::Success),
        ("partial", Reason::Success),
        ("rejected", Reason::PayloadFormatInvalid),
        ("malformed", Reason::PayloadFormatInvalid),
        ("large", Reason::PayloadFormatInvalid),
    ] {
        client.send(bench.publish(9, body)).await;
        assert_eq!(client.ack().await, (9, reason), "{body}");
    }
    let noted = bench.notebook.0.lock();
    let statuses: Vec<_> = noted.iter().map(|(_, _, status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 207, 422, 400, 413]);
    assert_eq!(noted[4], ("PUBLISH", "readings", 400, Some("malformed_json")));
}

// MQTT 5 §3.1.2.11.7: reasons in words, unless the client does not want them.
#[tokio::test]
async fn reasons_are_told_in_words_to_who_wants_them() {
    let bench = Bench::new();
    for (wish, has_words) in [(&[][..], true), (&[0x17, 1], true), (&[0x17, 0], false)] {
        let mut client = Five::over(bench.open(1 << 16));
        let head = [&[0, 4][..], b"MQTT", &[5, 0b1100_0010, 0, 60, wish.len() as u8], wish].concat();
        let body = [&head[..], &[0, 1, b'a', 0, 3], b"key", &[0, 1, b't']].concat();
        client.send_bytes(&[&[0x10, body.len() as u8][..], &body].concat()).await;
        assert!(matches!(client.next().await, v5::Packet::ConnAck(_)));
        client.send(bench.publish(1, "malformed")).await;
        let v5::Packet::PubAck(ack) = client.next().await else { panic!("a PUBACK") };
        let words = ack.properties.and_then(|properties| properties.reason_string);
        assert_eq!(words.is_some_and(|words| words.starts_with("malformed_json: ")), has_words);
    }
}

// api.md §2: the result is the HTTP body, on the own topic, in the order of the acknowledgements; at QoS 0 as well.
#[tokio::test]
async fn results_go_to_who_subscribed() {
    let bench = Bench::new();
    let (mut sender, mut reader) = (bench.five("sender").await, bench.five("reader").await);
    sender.subscribe(&bench.results(), 1).await;
    reader.subscribe(&format!("{}/#", bench.results()), 2).await;
    sender.send(bench.publish(1, "ok")).await;
    assert_eq!(sender.ack().await, (1, v5::PubAckReason::Success));
    for client in [&mut sender, &mut reader] {
        let (topic, body, properties) = result(client).await;
        assert_eq!((topic, &body["accepted"]), (bench.results(), &serde_json::json!(1)));
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    }
    sender.send(bench.publish(0, "malformed")).await;
    let (_, body, properties) = result(&mut sender).await;
    assert_eq!((&body["code"], &body["status"]), (&"malformed_json".into(), &400.into()));
    assert_eq!(properties.content_type.as_deref(), Some("application/problem+json"));
}

// A gateway that publishes at QoS 0 and leaves at once is answered all the same, to who listens.
#[tokio::test]
async fn the_result_of_who_left_goes_to_the_others() {
    let bench = Bench::new();
    let mut reader = bench.five("reader").await;
    reader.subscribe(&bench.results(), 0).await;
    let mut sender = bench.five("sender").await;
    sender.send(bench.publish(0, "wait x")).await;
    sender.send_bytes(&[0xe0, 0]).await;
    bench.intake.end("wait x", Ok(stored())).await;
    assert_eq!(result(&mut reader).await.1["accepted"], 1);
    assert!(sender.receive().await.is_none());
}

// MQTT 5 §4.10: response topic and correlation data.
#[tokio::test]
async fn a_response_topic_is_honoured_if_it_is_our_own() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    let own = format!("{}/a", bench.results());
    client.subscribe(&own, 1).await;
    let mut publish = v5::Publish::new(bench.readings(), v5_qos(1), "ok", None);
    publish.pkid = 1;
    let properties = |topic: &str| v5::PublishProperties {
        response_topic: Some(topic.to_owned()),
        correlation_data: Some("c".into()),
        ..v5::PublishProperties::default()
    };
    publish.properties = Some(properties(&own));
    client.send(v5::Packet::Publish(publish.clone())).await;
    assert_eq!(client.ack().await, (1, v5::PubAckReason::Success));
    let (topic, _, told) = result(&mut client).await;
    assert_eq!((topic, told.correlation_data.as_deref()), (own, Some(&b"c"[..])));
    for foreign in ["reply/to/me".to_owned(), bench.readings(), format!("{}x", bench.results())] {
        publish.properties = Some(properties(&foreign));
        client.send(v5::Packet::Publish(publish.clone())).await;
        assert_eq!(client.ack().await, (1, v5::PubAckReason::NotAuthorized), "{foreign}");
    }
    assert_eq!(bench.seen(), ["ok"]);
}

// api.md §2: a foreign topic is refused with 0x87 on version 5 at QoS 1, otherwise by a close.
#[tokio::test]
async fn a_foreign_topic_is_refused() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    for topic in [bench.results(), "x".to_owned(), topic::readings(IntegrationId::generate()), "$SYS/x".to_owned()] {
        client.send(publish(&topic, 3, "ok")).await;
        assert_eq!(client.ack().await, (3, v5::PubAckReason::NotAuthorized), "{topic}");
    }
    client.send(publish("x", 0, "ok")).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::NotAuthorized);
    assert!(bench.seen().is_empty());
}

// MQTT 5 §3.3: what is not supported, or not allowed, is refused by its header, before its body is read.
#[tokio::test]
async fn what_is_not_supported_ends_the_session_with_its_reason() {
    use v5::DisconnectReasonCode as Code;
    let bench = Bench::new();
    let topic = bench.readings();
    let body = [&(topic.len() as u16).to_be_bytes()[..], topic.as_bytes(), &[0, 1, 0], b"ok"].concat();
    let packet = |first: u8| [&[first, u8::try_from(body.len()).unwrap()][..], &body].concat();
    for (what, bytes, code) in [
        ("QoS 2", packet(0x34)[..2].to_vec(), Code::QoSNotSupported),
        ("QoS 3", packet(0x36)[..2].to_vec(), Code::MalformedPacket),
        ("retain", packet(0x33)[..2].to_vec(), Code::RetainNotSupported),
        ("a resend at QoS 0", packet(0x38)[..2].to_vec(), Code::MalformedPacket),
        ("too large", vec![0x32, 0x80, 0x80, 0x80, 0x01], Code::PacketTooLarge),
        ("a large SUBSCRIBE", vec![0x82, 0x80, 0x80, 0x80, 0x01], Code::PacketTooLarge),
        ("a length without end", vec![0x32, 0xff, 0xff, 0xff, 0xff], Code::MalformedPacket),
        ("PUBREL", vec![0x62, 2, 0, 1], Code::ProtocolError),
        ("a packet of servers", vec![0xd0, 0], Code::ProtocolError),
        ("AUTH", vec![0xf0, 0], Code::ProtocolError),
        ("PINGREQ with a body", vec![0xc0, 1, 0], Code::MalformedPacket),
        ("no topic", vec![0x32, 5, 0, 0, 0, 1, 0], Code::TopicNameInvalid),
        ("a wildcard", vec![0x32, 6, 0, 1, b'#', 0, 1, 0], Code::TopicNameInvalid),
        ("a null", vec![0x32, 6, 0, 1, 0, 0, 1, 0], Code::TopicNameInvalid),
        ("no UTF-8", vec![0x32, 6, 0, 1, 0xff, 0, 1, 0], Code::MalformedPacket),
        ("packet id 0", vec![0x32, 6, 0, 1, b'a', 0, 0, 0], Code::MalformedPacket),
        ("a topic alias", vec![0x32, 9, 0, 1, b'a', 0, 1, 3, 0x23, 0, 1], Code::TopicAliasInvalid),
        ("a subscription id", vec![0x32, 8, 0, 1, b'a', 0, 1, 2, 0x0b, 1], Code::ProtocolError),
        (
            "a subscription id",
            vec![0x82, 9, 0, 1, 2, 0x0b, 1, 0, 1, b'a', 0],
            Code::SubscriptionIdentifiersNotSupported,
        ),
        ("no filter", vec![0x82, 3, 0, 1, 0], Code::MalformedPacket),
    ] {
        let mut client = bench.five("a").await;
        client.send_bytes(&bytes).await;
        assert_eq!(client.goodbye().await, code, "{what}");
    }
    assert!(bench.seen().is_empty());
    assert_eq!(bench.sessions(), 0);
}

// MQTT 5 §3.3.4: more than the Receive Maximum ends the session, by the header of one too many.
#[tokio::test]
async fn more_than_the_receive_maximum_is_noticed() {
    let bench = Bench::with(Config { receive_maximum: 8, ..config() });
    let mut client = bench.five("a").await;
    for id in 1..=8 {
        client.send(bench.publish(id, "wait")).await;
    }
    bench.until_seen(8).await;
    client.send_bytes(&[0x32, 100]).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::ReceiveMaximumExceeded);
}

// MQTT 5 §2.2.1: a packet id is not used again before it is acknowledged.
#[tokio::test]
async fn a_packet_id_in_use_ends_the_session() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    client.send(bench.publish(5, "wait")).await;
    client.send(bench.publish(5, "ok")).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::ProtocolError);
    assert_eq!(bench.seen(), ["wait"]);
}

// api.md §2: subscribe to the own results and below, nothing else; MQTT 5 §3.9.3.
#[tokio::test]
async fn each_filter_has_its_answer() {
    use v5::SubscribeReasonCode as Reason;
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    let own = bench.results();
    let other = topic::results(IntegrationId::generate());
    let filters = [
        (own.clone(), Reason::Success(v5_qos(1))),
        (format!("{own}/+/x"), Reason::Success(v5_qos(1))),
        ("#".to_owned(), Reason::NotAuthorized),
        ("grq/v1/+/results".to_owned(), Reason::NotAuthorized),
        (other, Reason::NotAuthorized),
        (bench.readings(), Reason::NotAuthorized),
        ("$SYS/#".to_owned(), Reason::NotAuthorized),
        (format!("$share/g/{own}"), Reason::SharedSubscriptionsNotSupported),
        (format!("{own}/#/x"), Reason::TopicFilterInvalid),
    ];
    let asked = filters.iter().map(|(filter, _)| v5::Filter::new(filter, v5_qos(2))).collect();
    client.send(v5::Packet::Subscribe(v5::Subscribe { pkid: 3, filters: asked, properties: None })).await;
    let v5::Packet::SubAck(ack) = client.next().await else { panic!("a SUBACK") };
    assert_eq!(ack.return_codes, filters.iter().map(|(_, reason)| *reason).collect::<Vec<_>>());
    let gone = vec![own, "x".to_owned()];
    client.send(v5::Packet::Unsubscribe(v5::Unsubscribe { pkid: 4, filters: gone, properties: None })).await;
    let v5::Packet::UnsubAck(ack) = client.next().await else { panic!("an UNSUBACK") };
    assert_eq!(ack.reasons, [v5::UnsubAckReason::Success, v5::UnsubAckReason::NoSubscriptionExisted]);
    client.send(bench.publish(1, "ok")).await;
    client.ack().await;
    client.send(v5::Packet::PingReq(v5::PingReq)).await;
    assert!(matches!(client.next().await, v5::Packet::PingResp(_)), "no result after the UNSUBSCRIBE");
}

#[tokio::test]
async fn subscriptions_have_a_limit() {
    let bench = Bench::with(Config { subscriptions_max: 2, ..config() });
    let mut client = bench.five("a").await;
    let filters = ["a", "b", "a", "c"].map(|name| v5::Filter::new(format!("{}/{name}", bench.results()), v5_qos(0)));
    let packet = v5::Subscribe { pkid: 3, filters: filters.into(), properties: None };
    client.send(v5::Packet::Subscribe(packet)).await;
    let v5::Packet::SubAck(ack) = client.next().await else { panic!("a SUBACK") };
    let granted = v5::SubscribeReasonCode::Success(v5_qos(0));
    assert_eq!(ack.return_codes[..3], [granted; 3]);
    assert_eq!(ack.return_codes[3], v5::SubscribeReasonCode::QuotaExceeded);
    let many = vec![v5::Filter::new("a", v5_qos(0)); 65];
    client.send(v5::Packet::Subscribe(v5::Subscribe { pkid: 4, filters: many, properties: None })).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::QuotaExceeded);
}

// A subscriber that does not read loses results; nobody's acknowledgement waits for it.
#[tokio::test]
async fn a_slow_subscriber_delays_nobody() {
    let bench = Bench::with(Config { results_queue_max: 2, ..config() });
    let mut slow = Five::over(bench.open(256));
    slow.send(v5::Packet::Connect(connect("slow"), None, login("key"))).await;
    assert!(matches!(slow.next().await, v5::Packet::ConnAck(_)));
    slow.subscribe(&bench.results(), 1).await;
    let mut sender = bench.five("sender").await;
    for id in 1..=200 {
        sender.send(bench.publish(id, "ok")).await;
        assert_eq!(sender.ack().await, (id, v5::PubAckReason::Success));
    }
    let (topic, ..) = result(&mut slow).await;
    assert_eq!(topic, bench.results());
}

// MQTT 5 §3.1.2.11.3: no more unacknowledged results than the client takes.
#[tokio::test]
async fn results_keep_to_the_clients_receive_maximum() {
    let bench = Bench::new();
    let mut client = Five::over(bench.open(1 << 16));
    let one = [0x21, 0, 1];
    let body =
        [&[0, 4][..], b"MQTT", &[5, 0b1100_0010, 0, 60, 3], &one, &[0, 1, b'a', 0, 3], b"key", &[0, 1, b't']].concat();
    client.send_bytes(&[&[0x10, body.len() as u8][..], &body].concat()).await;
    assert!(matches!(client.next().await, v5::Packet::ConnAck(_)));
    client.subscribe(&bench.results(), 1).await;
    let mut sender = bench.five("sender").await;
    for id in 1..=3 {
        sender.send(bench.publish(id, "ok")).await;
        sender.ack().await;
    }
    for _ in 0..3 {
        let v5::Packet::Publish(result) = client.next().await else { panic!("a result") };
        client.send(v5::Packet::PingReq(v5::PingReq)).await;
        assert!(
            matches!(client.next().await, v5::Packet::PingResp(_)),
            "no second one before the first is acknowledged"
        );
        client.send(v5::Packet::PubAck(v5::PubAck::new(result.pkid, None))).await;
    }
}

// MQTT 5 §3.1.2.11.4: what is larger than the client takes is not sent, and counts as sent.
#[tokio::test]
async fn results_keep_to_the_clients_maximum_packet_size() {
    let bench = Bench::new();
    let mut client = Five::over(bench.open(1 << 16));
    let size = [0x27, 0, 0, 1, 4];
    let body =
        [&[0, 4][..], b"MQTT", &[5, 0b1100_0010, 0, 60, 5], &size, &[0, 1, b'a', 0, 3], b"key", &[0, 1, b't']].concat();
    client.send_bytes(&[&[0x10, body.len() as u8][..], &body].concat()).await;
    assert!(matches!(client.next().await, v5::Packet::ConnAck(_)));
    client.subscribe(&bench.results(), 1).await;
    for id in 1..=40 {
        client.send(bench.publish(id, "malformed")).await;
        assert_eq!(client.ack().await, (id, v5::PubAckReason::PayloadFormatInvalid));
    }
}

// api.md §2: over the limit slow first, then 0x97; QoS 0 is told on results.
#[tokio::test(start_paused = true)]
async fn over_the_limit_it_is_slow_first() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    bench.door.over_limit.store(1, Ordering::SeqCst);
    let begun = tokio::time::Instant::now();
    client.send(bench.publish(1, "ok")).await;
    assert_eq!(client.ack().await, (1, v5::PubAckReason::Success), "the window let it through after a while");
    assert_eq!(begun.elapsed().as_secs(), 2);
    bench.door.over_limit.store(2, Ordering::SeqCst);
    client.send(bench.publish(2, "ok")).await;
    client.send(bench.publish(3, "ok")).await;
    assert_eq!(client.ack().await, (2, v5::PubAckReason::QuotaExceeded));
    assert_eq!(client.ack().await, (3, v5::PubAckReason::Success), "what came behind it has its own chance");
    assert_eq!(begun.elapsed().as_secs(), 4);
    assert_eq!(bench.seen().len(), 2);
    client.subscribe(&bench.results(), 0).await;
    bench.door.over_limit.store(2, Ordering::SeqCst);
    client.send(bench.publish(0, "ok")).await;
    let (_, body, _) = result(&mut client).await;
    assert_eq!((&body["code"], &body["status"]), (&"rate_limited".into(), &429.into()));
}

// api.md §2: what cannot be stored for now is held, is not acknowledged before it is stored, and nothing overtakes it.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_held_and_tried_again() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    bench.intake.full.store(3, Ordering::SeqCst);
    client.send(bench.publish(1, "first")).await;
    client.send(bench.publish(2, "second")).await;
    assert_eq!(client.ack().await, (1, v5::PubAckReason::Success));
    assert_eq!(client.ack().await, (2, v5::PubAckReason::Success));
    assert_eq!(bench.seen(), ["first", "first", "first", "first", "second"]);
}

// api.md §2: after a while the connection is closed (0x89), and nothing of it was acknowledged.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_for_long_ends_the_session_unacknowledged() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    bench.intake.full.store(1_000, Ordering::SeqCst);
    let begun = tokio::time::Instant::now();
    client.send(bench.publish(1, "first")).await;
    client.send(bench.publish(2, "second")).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::ServerBusy);
    assert_eq!(begun.elapsed().as_secs(), 15);
    assert!(!bench.seen().contains(&"second".to_owned()));
}

// The later of two values for one key stays the later one: what was overtaken is not tried again but sent again.
#[tokio::test(start_paused = true)]
async fn what_was_overtaken_is_not_tried_again() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    client.send(bench.publish(1, "wait 1")).await;
    client.send(bench.publish(2, "ok")).await;
    bench.until_seen(2).await;
    bench.intake.end("wait 1", Err(Refused::new(ProblemCode::SpoolFull))).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::ServerBusy);
    assert_eq!(bench.seen(), ["wait 1", "ok"]);
}

// A poisoned spool: never acknowledged, told at QoS 0.
#[tokio::test(start_paused = true)]
async fn at_qos_0_it_is_told_that_a_batch_could_not_be_stored() {
    let bench = Bench::new();
    let mut reader = bench.five("reader").await;
    reader.subscribe(&bench.results(), 0).await;
    let mut client = bench.five("a").await;
    client.send(bench.publish(0, "poisoned")).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::ServerBusy);
    assert_eq!(result(&mut reader).await.1["code"], "storage_unavailable");
}

// Bytes in flight are one budget: a publish that has no room waits unread, and the rest of the session goes on.
#[tokio::test]
async fn a_publish_waits_for_room_in_the_clients_hands() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    let all = bench.budget.take(bench.budget.available()).unwrap();
    client.send(bench.publish(1, "wait 1")).await;
    let mut other = bench.five("b").await;
    other.send(v5::Packet::PingReq(v5::PingReq)).await;
    assert!(matches!(other.next().await, v5::Packet::PingResp(_)));
    assert!(bench.seen().is_empty());
    drop(all);
    bench.until_seen(1).await;
    let held = (16 << 20) - bench.budget.available();
    assert!((60..200).contains(&held), "the packet's bytes are held until it is answered: {held}");
    bench.intake.end("wait 1", Ok(stored())).await;
    assert_eq!(client.ack().await, (1, v5::PubAckReason::Success));
    client.send(v5::Packet::PingReq(v5::PingReq)).await;
    client.next().await;
    assert_eq!(bench.budget.available(), 16 << 20);
}
