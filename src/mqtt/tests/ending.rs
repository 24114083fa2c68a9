//! How sessions end: by administrators, by another connection, by time, by silence, by the end of the service.

use rumqttc::mqttbytes::v4;

use super::*;

// S113: suspended, regenerated, no longer in the allowlist, scope lost: the session is closed, with its reason, before
// the change returns, and counted.
#[tokio::test]
async fn a_change_that_shuts_a_session_out_ends_it_before_it_returns() {
    use v5::DisconnectReasonCode as Code;
    let elsewhere = vec!["10.0.0.0/8".parse().unwrap()];
    for (what, change, code) in [
        (
            "suspended",
            &(|facts| IntegrationFacts { status: Status::Suspended, key_generation: 0, ..facts }) as &dyn Fn(_) -> _,
            Code::AdministrativeAction,
        ),
        ("regenerated", &|facts| IntegrationFacts { key_generation: 2, ..facts }, Code::AdministrativeAction),
        (
            "allowlist",
            &|facts| IntegrationFacts { allowlist: Some(elsewhere.clone().into()), ..facts },
            Code::AdministrativeAction,
        ),
        ("scope", &|facts| IntegrationFacts { scopes: Default::default(), ..facts }, Code::NotAuthorized),
    ] {
        let bench = Bench::new();
        let mut clients = [bench.five("a").await, bench.five("b").await];
        for client in &mut clients {
            client.send(bench.publish(1, "wait")).await;
        }
        bench.until_seen(2).await;
        let cut = bench.change(change(active(bench.id))).await;
        assert_eq!((cut.sessions, bench.sessions()), (2, 0), "{what}");
        for client in &mut clients {
            assert_eq!(client.goodbye().await, code, "{what}: nothing was acknowledged");
        }
    }
}

// S113: who does not read delays an administrator no longer than the last words may take.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_delays_no_suspend() {
    let bench = Bench::new();
    let mut deaf = Five::over(bench.open(256));
    deaf.send(v5::Packet::Connect(connect("deaf"), None, login("key"))).await;
    assert!(matches!(deaf.next().await, v5::Packet::ConnAck(_)));
    deaf.subscribe(&bench.results(), 0).await;
    let mut sender = bench.five("sender").await;
    for id in 1..=50 {
        sender.send(bench.publish(id, "ok")).await;
        sender.ack().await;
    }
    let begun = tokio::time::Instant::now();
    let facts = IntegrationFacts { status: Status::Suspended, key_generation: 0, ..active(bench.id) };
    assert_eq!(bench.change(facts).await.sessions, 2);
    assert!(begun.elapsed() <= Duration::from_millis(250), "{:?}", begun.elapsed());
}

// A batch that was refused behind the gate gets no acknowledgement, and the reason that the change gives.
#[tokio::test]
async fn a_batch_that_was_cut_off_is_not_acknowledged() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    client.subscribe(&bench.results(), 0).await;
    client.send(bench.publish(1, "cut")).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::AdministrativeAction);
}

// MQTT 5 §3.1.4: a second connection with the same client id ends the first.
#[tokio::test]
async fn a_client_id_is_taken_over() {
    let bench = Bench::new();
    let (mut first, mut other) = (bench.five("a").await, bench.five("b").await);
    let mut second = bench.five("a").await;
    assert_eq!(first.goodbye().await, v5::DisconnectReasonCode::SessionTakenOver);
    for client in [&mut second, &mut other] {
        client.send(v5::Packet::PingReq(v5::PingReq)).await;
        assert!(matches!(client.next().await, v5::Packet::PingResp(_)));
    }
    assert_eq!(bench.sessions(), 2);
}

// S190, api.md §2: a session ends with its token, with 0xA0; rumqttc does not know that code, so it is read raw.
#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token() {
    let bench = Bench::new();
    *bench.door.expires_s.lock() = u64::try_from(jiff::Timestamp::now().as_second()).unwrap() + 30;
    let mut client = bench.five("a").await;
    let begun = tokio::time::Instant::now();
    let mut said = Vec::new();
    client.stream.read_to_end(&mut said).await.unwrap();
    assert_eq!((said[0], said[2]), (0xe0, 0xa0), "{said:02x?}");
    assert!((28..=30).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

// A token without a sensible end is one that ends late.
#[tokio::test]
async fn a_token_that_never_ends_opens_a_session() {
    let bench = Bench::new();
    *bench.door.expires_s.lock() = u64::MAX;
    let _client = bench.five("a").await;
    assert_eq!(bench.sessions(), 1);
}

// A token past its end, which the leeway for clocks still lets in, opens no session.
#[tokio::test]
async fn a_token_past_its_end_opens_no_session() {
    let bench = Bench::new();
    *bench.door.expires_s.lock() = u64::try_from(jiff::Timestamp::now().as_second()).unwrap() - 5;
    let mut client = Five::over(bench.open(1 << 16));
    client.send(v5::Packet::Connect(connect("a"), None, login("key"))).await;
    let v5::Packet::ConnAck(ack) = client.next().await else { panic!("a CONNACK") };
    assert_eq!(ack.code, v5::ConnectReturnCode::BadUserNamePassword);
    assert!(client.receive().await.is_none());
    assert_eq!(bench.sessions(), 0);
}

// MQTT 5 §3.1.2.10: nothing for one and a half times the keep-alive; a ping is enough to stay.
#[tokio::test(start_paused = true)]
async fn silence_ends_a_session() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(80)).await;
        client.send(v5::Packet::PingReq(v5::PingReq)).await;
        assert!(matches!(client.next().await, v5::Packet::PingResp(_)));
    }
    tokio::time::sleep(Duration::from_secs(89)).await;
    assert_eq!(bench.sessions(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::KeepAliveTimeout);
    assert_eq!(begun.elapsed().as_secs(), 3 * 80 + 91);
}

// A client that is not read, because its publishes are not stored yet, is not silent: its pings lie unread.
#[tokio::test(start_paused = true)]
async fn who_is_not_read_is_not_silent() {
    let bench = Bench::with(Config { receive_maximum: 8, ..config() });
    let (mut stream, served) = bench.open(1 << 16);
    let mut bytes = BytesMut::new();
    let mut connect = v4::Connect::new("three");
    connect.set_login("key", "token");
    connect.keep_alive = 10;
    connect.write(&mut bytes).unwrap();
    for id in 1..=8 {
        let mut publish = v4::Publish::new(bench.readings(), rumqttc::QoS::AtLeastOnce, format!("wait {id}"));
        publish.pkid = id;
        publish.write(&mut bytes).unwrap();
    }
    stream.write_all(&bytes).await.unwrap();
    bench.until_seen(8).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!served.is_finished(), "3.1.1 is not read while eight are under way");
    for id in 1..=8 {
        bench.intake.end(&format!("wait {id}"), Ok(stored())).await;
    }
    let mut said = vec![0; 4 + 8 * 4];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(said[4..8], [0x40, 2, 0, 1]);
    let begun = tokio::time::Instant::now();
    assert_eq!(stream.read(&mut said).await.unwrap(), 0);
    assert_eq!(begun.elapsed().as_secs(), 15, "from then on it is");
}

// 3.1.1: a resend on the same connection, while the first one is under way, is answered once.
#[tokio::test]
async fn a_resend_of_3_1_1_is_answered_once() {
    let bench = Bench::new();
    let (mut stream, _served) = bench.open(1 << 16);
    let mut bytes = BytesMut::new();
    let mut connect = v4::Connect::new("three");
    connect.set_login("key", "token");
    connect.write(&mut bytes).unwrap();
    let mut publish = v4::Publish::new(bench.readings(), rumqttc::QoS::AtLeastOnce, "wait");
    publish.pkid = 1;
    publish.write(&mut bytes).unwrap();
    publish.dup = true;
    publish.write(&mut bytes).unwrap();
    v4::PingReq.write(&mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut said = [0; 6];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(said, [0x20, 2, 0, 0, 0xd0, 0]);
    bench.intake.end("wait", Ok(stored())).await;
    let mut said = [0; 4];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(said, [0x40, 2, 0, 1]);
    assert_eq!(bench.seen(), ["wait"]);
}

// 3.1.1 knows no reasons: what is refused for ever is acknowledged and told; what may not be is a close.
#[tokio::test]
async fn refusals_of_3_1_1_are_acknowledged_and_told() {
    let bench = Bench::new();
    let (mut stream, served) = bench.open(1 << 16);
    let mut bytes = BytesMut::new();
    let mut connect = v4::Connect::new("three");
    connect.set_login("key", "token");
    connect.write(&mut bytes).unwrap();
    let mut subscribe = v4::Subscribe::new(bench.results(), rumqttc::QoS::AtMostOnce);
    subscribe.pkid = 3;
    subscribe.write(&mut bytes).unwrap();
    let mut publish = v4::Publish::new(bench.readings(), rumqttc::QoS::AtLeastOnce, "malformed");
    publish.pkid = 1;
    publish.write(&mut bytes).unwrap();
    let mut foreign = v4::Publish::new("elsewhere", rumqttc::QoS::AtLeastOnce, "ok");
    foreign.pkid = 2;
    foreign.write(&mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut said = BytesMut::new();
    while stream.read_buf(&mut said).await.unwrap() > 0 {}
    drop(stream);
    served.await.unwrap();
    let mut packets = Vec::new();
    while !said.is_empty() {
        packets.push(rumqttc::Packet::read(&mut said, 1 << 20).unwrap());
    }
    assert_eq!(packets.len(), 4, "{packets:?}");
    assert!(matches!(&packets[2], rumqttc::Packet::PubAck(ack) if ack.pkid == 1));
    assert!(matches!(&packets[3], rumqttc::Packet::Publish(told) if told.payload.starts_with(b"{\"type\"")));
}

// Stop order: nothing new, what is under way is acknowledged, then 0x8B.
#[tokio::test]
async fn a_stop_finishes_acknowledgements_and_says_goodbye() {
    let bench = Bench::new();
    let (mut busy, mut idle) = (bench.five("busy").await, bench.five("idle").await);
    busy.send(bench.publish(1, "wait")).await;
    bench.until_seen(1).await;
    bench.shutdown.cancel();
    assert_eq!(idle.goodbye().await, v5::DisconnectReasonCode::ServerShuttingDown);
    bench.intake.end("wait", Ok(stored())).await;
    assert_eq!(busy.ack().await, (1, v5::PubAckReason::Success));
    assert_eq!(busy.goodbye().await, v5::DisconnectReasonCode::ServerShuttingDown);
}

// What is held is not held against a stop.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_what_is_held() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    bench.intake.full.store(1_000, Ordering::SeqCst);
    client.send(bench.publish(1, "ok")).await;
    bench.until_seen(1).await;
    let begun = tokio::time::Instant::now();
    bench.shutdown.cancel();
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::ServerShuttingDown);
    assert_eq!(begun.elapsed().as_secs(), 0);
}

// A packet that does not end is not waited for for ever.
#[tokio::test(start_paused = true)]
async fn an_endless_packet_ends_the_session() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    client.send_bytes(&[0x32, 100]).await;
    let begun = tokio::time::Instant::now();
    let dribble = async {
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if client.stream.write_all(&[0]).await.is_err() {
                break;
            }
        }
    };
    dribble.await;
    assert!((30..=32).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(bench.sessions(), 0);
    assert_eq!(bench.budget.available(), 16 << 20, "its room is given back");
}

// Who takes nothing of what is sent is closed after a while, however alive it seems.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_closed() {
    let bench = Bench::new();
    let mut deaf = Five::over(bench.open(64));
    deaf.send(v5::Packet::Connect(connect("deaf"), None, login("key"))).await;
    assert!(matches!(deaf.next().await, v5::Packet::ConnAck(_)));
    let begun = tokio::time::Instant::now();
    while begun.elapsed().as_secs() < 40 && deaf.stream.write_all(&[0xc0, 0]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((30..40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(bench.sessions(), 0);
}

// Who is still sending what is refused sees why, instead of a reset connection.
#[tokio::test]
async fn last_words_arrive_at_who_is_still_sending() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    client.send_bytes(&[&[0x32, 0x80, 0x80, 0x80, 0x01][..], &[0; 500_000]].concat()).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::PacketTooLarge);
}

// An idle session is its task and little else.
#[tokio::test]
async fn an_idle_session_is_small() {
    let bench = Bench::new();
    let (_client, server) = duplex(64);
    let served = connection::serve(&bench.edge, server, HERE, &bench.shutdown);
    let bytes = std::mem::size_of_val(&served);
    assert!(bytes < 2_048, "{bytes} bytes");
}
