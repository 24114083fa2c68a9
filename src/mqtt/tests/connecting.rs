//! CONNECT: what is accepted, what is refused, and with which code of which version.

use rumqttc::mqttbytes::v4;

use super::*;

/// Bytes of a CONNECT of 3.1.1 or 5 with these flags and this rest behind the keep-alive.
fn raw(level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let body = [&[0, 4][..], b"MQTT", &[level, flags, 0, 60], rest].concat();
    [&[0x10, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// What a server says to these bytes until it closes.
async fn answer(bench: &Bench, bytes: &[u8]) -> Vec<u8> {
    let (mut stream, served) = bench.open(1 << 16);
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("it closes").unwrap();
    drop(stream);
    served.await.unwrap();
    said
}

async fn refused_v5(bench: &Bench, packet: v5::Packet) -> (u8, String) {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, None).unwrap();
    let said = answer(bench, &bytes).await;
    let body = &said[if said[1] < 0x80 { 2 } else { 3 }..];
    assert_eq!((said[0], body[0]), (0x20, 0), "a CONNACK without a session: {said:02x?}");
    (body[1], String::from_utf8_lossy(&body[2..]).into_owned())
}

// api.md §2: the codes of both versions for each denial; one generic 401 for everything that does not open.
#[tokio::test]
async fn denials_have_the_codes_of_both_versions() {
    let bench = Bench::new();
    for (name, five, three, code) in [
        ("", 0x86, 4, "missing_credential"),
        ("expired", 0x86, 4, "token_expired"),
        ("unknown", 0x86, 4, "unauthorized"),
        ("elsewhere", 0x87, 5, "ip_not_allowed"),
        ("no_scope", 0x87, 5, "insufficient_scope"),
        ("failing", 0x9f, 3, "too_many_failures"),
        ("no_keys", 0x88, 3, "issuer_unavailable"),
        ("full", 0x97, 3, "too_many_sessions"),
        ("flapping", 0x97, 3, "too_many_sessions"),
    ] {
        let (reason, words) = refused_v5(&bench, v5::Packet::Connect(connect("a"), None, login(name))).await;
        assert_eq!(reason, five, "{name}");
        assert!(words.contains(code), "{name}: {words}");
        let mut bytes = BytesMut::new();
        let mut connect = v4::Connect::new("a");
        connect.set_login(name, "token");
        connect.write(&mut bytes).unwrap();
        assert_eq!(answer(&bench, &bytes).await, [0x20, 2, 0, three], "{name}");
    }
    assert_eq!(bench.sessions(), 0);
    let noted = bench.notebook.0.lock();
    assert_eq!(noted[0], ("CONNECT", "connect", 401, Some("missing_credential")));
    assert_eq!(noted.len(), 18);
}

// No anonymous connection, in either version.
#[tokio::test]
async fn nobody_connects_without_credentials() {
    let bench = Bench::new();
    assert_eq!(refused_v5(&bench, v5::Packet::Connect(connect("a"), None, None)).await.0, 0x86);
    assert_eq!(answer(&bench, &raw(4, 2, &text("a"))).await, [0x20, 2, 0, 4]);
}

// MQTT 5 §3.1.2.5, §3.2.2.3.5; 3.1.1 has no code for it: 5.
#[tokio::test]
async fn wills_are_refused() {
    let bench = Bench::new();
    let will = |retain| {
        let qos = rumqttc::v5::mqttbytes::QoS::AtMostOnce;
        Some(v5::LastWill { topic: "t".into(), message: "m".into(), qos, retain, properties: None })
    };
    for (retain, code) in [(false, 0x83), (true, 0x9a)] {
        let packet = v5::Packet::Connect(connect("a"), will(retain), login("key"));
        assert_eq!(refused_v5(&bench, packet).await.0, code);
    }
    let rest = [text("a"), text("t"), text("m"), text("key"), text("token")].concat();
    assert_eq!(answer(&bench, &raw(4, 0b1100_0110, &rest)).await, [0x20, 2, 0, 5]);
}

#[tokio::test]
async fn enhanced_authentication_is_refused() {
    let bench = Bench::new();
    let method = v5::ConnectProperties { authentication_method: Some("SCRAM".into()), ..no_properties() };
    let connect = v5::Connect { properties: Some(method), ..connect("a") };
    assert_eq!(refused_v5(&bench, v5::Packet::Connect(connect, None, login("key"))).await.0, 0x8c);
}

fn no_properties() -> v5::ConnectProperties {
    v5::ConnectProperties {
        session_expiry_interval: None,
        receive_maximum: None,
        max_packet_size: None,
        topic_alias_max: None,
        request_response_info: None,
        request_problem_info: None,
        user_properties: Vec::new(),
        authentication_method: None,
        authentication_data: None,
    }
}

// 3.1.1 §3.1.2.2, MQTT 5 §3.1.2.1
#[tokio::test]
async fn other_versions_are_told_so_and_other_protocols_nothing() {
    let bench = Bench::new();
    assert_eq!(answer(&bench, &raw(3, 2, &text("a"))).await, [0x20, 2, 0, 1]);
    assert_eq!(answer(&bench, &raw(6, 2, &text("a"))).await[..4], [0x20, 3, 0, 0x84]);
    let mqtt_31 = [&[0x10, 15, 0, 6][..], b"MQIsdp", &[3, 2, 0, 60, 0, 1, b'a']].concat();
    assert_eq!(answer(&bench, &mqtt_31).await, [0x20, 2, 0, 1]);
    for other in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x00\xc8\x01", &[0x10, 4, 0, 2, b'M', b'Q'], &[0; 64]] {
        assert_eq!(answer(&bench, other).await, [0_u8; 0], "{other:?}");
    }
}

// MQTT 5 §3.1: the first packet is a CONNECT; §4.13: 3.1.1 closes what is malformed, 5 says so.
#[tokio::test]
async fn what_is_no_good_connect_ends_the_connection() {
    let bench = Bench::new();
    for first in
        [vec![0xc0, 0], vec![0xe0, 0], vec![0x30, 5, 0, 1, b'a', b'x', b'y'], vec![0xf0, 0], vec![0x20, 2, 0, 0]]
    {
        assert_eq!(answer(&bench, &first).await, [0_u8; 0], "{first:?}");
    }
    let rest = [text("a"), text("key"), text("token")].concat();
    assert_eq!(answer(&bench, &raw(4, 0b1100_0011, &rest)).await, [0_u8; 0], "reserved flag");
    assert_eq!(answer(&bench, &raw(5, 0b1100_0011, &rest)).await[3], 0x81, "reserved flag");
    assert_eq!(answer(&bench, &raw(4, 0b1100_0010, &text("a"))).await, [0_u8; 0], "credentials announced and absent");
    assert_eq!(answer(&bench, &[0x10, 0xff, 0xff, 0xff, 0xff, 1]).await, [0_u8; 0], "a length without end");
    let not_utf8 = [&[0, 1, 0xff][..], &text("key"), &text("token")].concat();
    assert_eq!(answer(&bench, &raw(4, 0b1100_0010, &not_utf8)).await, [0_u8; 0]);
}

// Before a CONNECT was accepted much less is read.
#[tokio::test]
async fn a_large_connect_is_not_read() {
    let bench = Bench::new();
    let (mut stream, served) = bench.open(64);
    stream.write_all(&[0x10, 0xff, 0xff, 0xff, 0x7f]).await.unwrap();
    timeout(PATIENCE, served).await.expect("closed at its header").unwrap();
}

// 3.1.1 §3.1.3.1: an empty client id needs a clean session; MQTT 5 §3.2.2.3.7: we give one.
#[tokio::test]
async fn an_empty_client_id_gets_one_from_us() {
    let bench = Bench::new();
    let login_bytes = [text("key"), text("token")].concat();
    let nameless = [text(""), login_bytes].concat();
    assert_eq!(answer(&bench, &raw(4, 0b1100_0000, &nameless)).await, [0x20, 2, 0, 2]);
    for clean_start in [true, false] {
        let mut client = Five::over(bench.open(1 << 16));
        client.send(v5::Packet::Connect(v5::Connect { clean_start, ..connect("") }, None, login("key"))).await;
        let v5::Packet::ConnAck(ack) = client.next().await else { panic!("a CONNACK") };
        let assigned = ack.properties.expect("properties").assigned_client_identifier.expect("a client id");
        assert_eq!(assigned.len(), 36);
    }
    let (mut stream, _served) = bench.open(1 << 16);
    stream.write_all(&raw(4, 0b1100_0010, &nameless)).await.unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(said, [0x20, 2, 0, 0]);
}

#[tokio::test]
async fn a_client_id_has_a_longest_form_and_no_null() {
    let bench = Bench::new();
    for id in ["x".repeat(257), "a\0b".to_owned()] {
        assert_eq!(refused_v5(&bench, v5::Packet::Connect(connect(&id), None, login("key"))).await.0, 0x85);
    }
    let _longest = bench.five(&"x".repeat(256)).await;
}

// MQTT 5 §3.2.2.3: what is not offered is said; 3.1.1 §3.1.2.4: a wish for a kept session is not granted, and not
// refused either.
#[tokio::test]
async fn the_connack_says_what_is_offered() {
    let bench = Bench::new();
    let mut client = Five::over(bench.open(1 << 16));
    let lasting = v5::ConnectProperties { session_expiry_interval: Some(3_600), ..no_properties() };
    let wish = v5::Connect { keep_alive: 0, clean_start: false, properties: Some(lasting), ..connect("a") };
    client.send(v5::Packet::Connect(wish, None, login("key"))).await;
    let v5::Packet::ConnAck(ack) = client.next().await else { panic!("a CONNACK") };
    assert!(!ack.session_present);
    let offered = ack.properties.expect("properties");
    assert_eq!((offered.session_expiry_interval, offered.receive_max, offered.max_qos), (Some(0), Some(16), Some(1)));
    assert_eq!((offered.retain_available, offered.shared_subscription_available), (Some(0), Some(0)));
    assert_eq!((offered.subscription_identifiers_available, offered.wildcard_subscription_available), (Some(0), None));
    assert_eq!((offered.max_packet_size, offered.topic_alias_max), (Some(1 << 20), None));
    assert_eq!(offered.server_keep_alive, Some(300), "no keep-alive is not granted");
    let rest = [text("b"), text("key"), text("token")].concat();
    let (mut stream, _served) = bench.open(1 << 16);
    stream.write_all(&raw(4, 0b1100_0000, &rest)).await.unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(said, [0x20, 2, 0, 0]);
}

// MQTT 5 §3.1.2.11.4: a client whose packets are too small for us is told so, in a packet that it can take.
#[tokio::test]
async fn a_client_of_tiny_packets_is_refused() {
    let bench = Bench::new();
    let tiny = v5::ConnectProperties { max_packet_size: Some(20), ..no_properties() };
    let connect = v5::Connect { properties: Some(tiny), ..connect("a") };
    let mut bytes = BytesMut::new();
    v5::Packet::Connect(connect, None, login("key")).write(&mut bytes, None).unwrap();
    assert_eq!(answer(&bench, &bytes).await, [0x20, 3, 0, 0x95, 0]);
}

// MQTT 5 §3.1.0: a second CONNECT is a protocol error.
#[tokio::test]
async fn a_second_connect_ends_the_session() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    client.send(v5::Packet::Connect(connect("a"), None, login("key"))).await;
    assert_eq!(client.goodbye().await, v5::DisconnectReasonCode::ProtocolError);
}

// 3.1.1 §3.1.4: packets may follow the CONNECT at once.
#[tokio::test]
async fn a_publish_may_come_with_the_connect() {
    let bench = Bench::new();
    let mut client = Five::over(bench.open(1 << 16));
    let mut bytes = BytesMut::new();
    v5::Packet::Connect(connect("a"), None, login("key")).write(&mut bytes, None).unwrap();
    bench.publish(1, "ok").write(&mut bytes, None).unwrap();
    client.send_bytes(&bytes).await;
    assert!(matches!(client.next().await, v5::Packet::ConnAck(_)));
    assert_eq!(client.ack().await, (1, v5::PubAckReason::Success));
}

// Who is silent, or dribbles, is closed in time, and takes nobody's place.
#[tokio::test(start_paused = true)]
async fn a_connect_has_its_time() {
    let bench = Bench::with(Config { connecting_max: 1, ..config() });
    let (_silent, silent) = bench.open(64);
    let (mut dribbling, dribbled) = bench.open(64);
    dribbling.write_all(&[0x10, 30, 0]).await.unwrap();
    tokio::task::yield_now().await;
    let mut waiting = Five::over(bench.open(1 << 16));
    waiting.send(v5::Packet::Connect(connect("a"), None, login("key"))).await;
    tokio::time::sleep(Duration::from_millis(9_999)).await;
    assert!(!silent.is_finished() && !dribbled.is_finished());
    tokio::time::sleep(Duration::from_millis(2)).await;
    silent.await.unwrap();
    dribbled.await.unwrap();
}

// One place only, held by who dribbles: the next one waits for it within its own time.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_gets_it() {
    let bench = Bench::with(Config { connecting_max: 1, ..config() });
    let (mut dribbling, _dribbled) = bench.open(64);
    dribbling.write_all(&[0x10, 30, 0]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let _client = bench.five("a").await;
    assert_eq!(bench.sessions(), 1);
}
