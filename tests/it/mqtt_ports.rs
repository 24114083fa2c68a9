//! The ports of MQTT: TLS with renewal, WebSocket with its sub-protocol, PROXY headers, the stop of the service.

use std::{path::Path, sync::Arc};

use reqwest::Method;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::support::{Facility, Integration, batch, five::Five, now_s};

/// A new certificate in `dir`, in DER.
fn certify(dir: &Path) -> CertificateDer<'static> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    CertificateDer::from_pem_slice(certified.cert.pem().as_bytes()).unwrap()
}

async fn tls(address: &str, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"mqtt".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, TcpStream::connect(address).await?).await
}

async fn sender(facility: &Facility) -> Integration {
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    sender
}

#[tokio::test]
async fn mqtt_over_tls_takes_a_renewed_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let first = certify(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let facility = Facility::with(&[
        ("SENSORGATE__MQTT__TLS_ADDRESS", "127.0.0.1:0"),
        ("SENSORGATE__MQTT__TLS__CERTIFICATE_FILE", &file("cert.pem")),
        ("SENSORGATE__MQTT__TLS__PRIVATE_KEY_FILE", &file("key.pem")),
        ("SENSORGATE__MQTT__TLS__RELOAD_S", "1"),
    ])
    .await;
    let sender = sender(&facility).await;
    let address = facility.server.url("mqtts_url").trim_start_matches("mqtts://").to_owned();
    let mut old = Five::over(tls(&address, &first).await.unwrap(), &sender, "a").await.unwrap();
    assert_eq!(old.exchange(1, &batch("s", 3, now_s()).to_string()).await, 0);
    let second = certify(dir.path());
    let renewed = loop {
        match tls(&address, &second).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    };
    let mut new = Five::over(renewed, &sender, "b").await.unwrap();
    assert_eq!(new.exchange(1, &batch("s", 3, now_s()).to_string()).await, 0);
    old.ping().await;
}

/// The upgrade with this sub-protocol; the rest of the connection, or the status of the refusal.
async fn upgrade(address: &str, protocol: Option<&str>) -> Result<tokio_tungstenite::WebSocketStream<TcpStream>, u16> {
    let mut request = format!("ws://{address}/mqtt").into_client_request().unwrap();
    if let Some(protocol) = protocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((stream, answer)) => {
            assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "mqtt");
            Ok(stream)
        }
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// Carries bytes to and fro between a client and a WebSocket, so many bytes a frame.
fn carry(mut socket: tokio_tungstenite::WebSocketStream<TcpStream>, frame_bytes: usize) -> tokio::io::DuplexStream {
    use futures_util::{SinkExt, StreamExt};
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(async move {
        let mut bytes = vec![0; frame_bytes];
        loop {
            tokio::select! {
                read = theirs.read(&mut bytes) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(count) => socket.send(Message::Binary(bytes[..count].to_vec().into())).await.unwrap(),
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => theirs.write_all(&bytes).await.unwrap(),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
            }
        }
    });
    ours
}

// MQTT 5 §6: binary frames, cut as one likes; the sub-protocol `mqtt`, and none without it.
#[tokio::test]
async fn mqtt_inside_websocket_needs_its_sub_protocol() {
    let facility = Facility::with(&[("SENSORGATE__MQTT__WEBSOCKET_ADDRESS", "127.0.0.1:0")]).await;
    let sender = sender(&facility).await;
    let address = facility.server.url("mqtt_ws_url").trim_start_matches("ws://").to_owned();
    for (protocol, frame_bytes) in [("mqtt", 65_536), ("mqttv3.1, mqtt", 7)] {
        let stream = carry(upgrade(&address, Some(protocol)).await.unwrap(), frame_bytes);
        let mut client = Five::over(stream, &sender, protocol).await.unwrap();
        assert_eq!(client.exchange(1, &batch("s", 500, now_s()).to_string()).await, 0);
        client.ping().await;
    }
    assert_eq!(facility.stored(&sender, "s", "temperature", 500).await.len(), 500);
    for protocol in [None, Some("mqttv3.1"), Some("MQTT"), Some("xmqtt")] {
        assert_eq!(upgrade(&address, protocol).await.err(), Some(400), "{protocol:?}");
    }
    let plain = facility.client.get(format!("http://{address}/mqtt")).send().await.unwrap();
    assert_eq!(plain.status(), 400);
}

// What is no WebSocket any more, or text, ends that connection and no other.
#[tokio::test]
async fn broken_frames_end_their_connection_only() {
    use futures_util::{SinkExt, StreamExt};
    let facility = Facility::with(&[("SENSORGATE__MQTT__WEBSOCKET_ADDRESS", "127.0.0.1:0")]).await;
    let sender = sender(&facility).await;
    let address = facility.server.url("mqtt_ws_url").trim_start_matches("ws://").to_owned();
    let stream = carry(upgrade(&address, Some("mqtt")).await.unwrap(), 1_000);
    let mut neighbour = Five::over(stream, &sender, "neighbour").await.unwrap();
    let mut text = upgrade(&address, Some("mqtt")).await.unwrap();
    text.send(Message::Text("hello".into())).await.unwrap();
    while let Some(Ok(_)) = text.next().await {}
    let mut raw = upgrade(&address, Some("mqtt")).await.unwrap();
    raw.get_mut().write_all(&[0xff; 64]).await.unwrap();
    let mut rest = Vec::new();
    let _end = raw.get_mut().read_to_end(&mut rest).await;
    neighbour.ping().await;
}

// S250, api.md §2: behind a proxy the allowlist is held against the client that the PROXY header names.
#[tokio::test]
async fn the_allowlist_looks_at_the_address_in_the_proxy_header() {
    let facility = Facility::with(&[
        ("SENSORGATE__MQTT__PROXY_PROTOCOL", "true"),
        ("SENSORGATE__LISTENER__PROXY_PROTOCOL_FROM", "[\"127.0.0.0/8\"]"),
    ])
    .await;
    let sender = sender(&facility).await;
    let path = format!("/admin/v1/integrations/{}/ip-allowlist", sender.id);
    let list = json!({"enabled": true, "entries": ["203.0.113.0/24"]});
    facility.admin(&facility.alice, Method::PUT, &path, Some(list)).await.expect(200);
    let address = facility.server.mqtt_url.trim_start_matches("mqtt://").to_owned();
    for (last, refused) in [([203, 0, 113, 9], None), ([198, 51, 100, 9], Some(0x87))] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let [a, b, c, d] = last;
        let header = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x11, 0, 12, a, b, c, d, 10, 0, 0, 1, 0x1f, 0x90, 0, 80]];
        stream.write_all(&header.concat()).await.unwrap();
        assert_eq!(Five::over(stream, &sender, "a").await.err(), refused);
    }
}

// api.md §2: a packet that is too large is refused by its header (0x95), and who is still sending it sees that.
#[tokio::test]
async fn the_reason_arrives_at_who_is_still_sending() {
    let facility = Facility::new().await;
    let sender = sender(&facility).await;
    let mut client = Five::open(&facility.server, &sender, "a").await;
    client.send_bytes(&[0x32, 0x80, 0x80, 0x80, 0x01]).await;
    client.send_bytes(&vec![0; 800_000]).await;
    assert_eq!(client.end().await, (Vec::new(), Some(0x95)));
}

// H11: SIGTERM: sessions are told (0x8B), what was acknowledged is there after the next start, and clients may come
// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_termination_says_goodbye_to_sessions() {
    let mut facility = Facility::new().await;
    let sender = sender(&facility).await;
    let (mut busy, idle) =
        (Five::open(&facility.server, &sender, "busy").await, Five::open(&facility.server, &sender, "idle").await);
    let body = batch("s", 500, now_s()).to_string();
    busy.publish(1, &body).await;
    facility.server.signal("TERM");
    assert_eq!(idle.end().await, (Vec::new(), Some(0x8b)));
    let (acked, reason) = busy.end().await;
    assert_eq!(reason, Some(0x8b));
    assert!(facility.server.ended().success());
    facility.server.restart();
    let mut again = Five::open(&facility.server, &sender, "busy").await;
    assert_eq!(again.exchange(1, &body).await, 0, "{acked:?}");
    assert_eq!(facility.stored(&sender, "s", "temperature", 500).await.len(), 500);
}
