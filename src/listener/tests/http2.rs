//! HTTP/2, frame by frame where no client would send such frames.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'x'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The last frame type and its payload's error code, if it is a GOAWAY, of what the server sent until it closed.
async fn goaway_of(client: &mut TcpStream) -> Option<u32> {
    let mut bytes = Vec::new();
    let _end = timeout(PATIENCE, client.read_to_end(&mut bytes)).await.expect("the connection ends");
    let (mut rest, mut code) = (&bytes[..], None);
    while let Some((head, after)) = rest.split_first_chunk::<9>() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, next)) = after.split_at_checked(length) else { break };
        if head[3] == 7 && payload.len() >= 8 {
            code = Some(u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]));
        }
        rest = next;
    }
    code
}

async fn attack(port: &TestPort, frames: Vec<u8>) -> Option<u32> {
    let mut client = port.connect().await;
    client.write_all(PREFACE).await.unwrap();
    client.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    // The server ends it half-way.
    let _sent = client.write_all(&frames).await;
    goaway_of(&mut client).await
}

// Rapid reset (CVE-2023-44487): the connection ends, others are served as before.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let port = TestPort::plain(config()).await;
    let mut frames = Vec::new();
    for stream in (1..20_000).step_by(2) {
        frames.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_ROOT));
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let code = attack(&port, frames).await;
    assert!(matches!(code, None | Some(11)), "ENHANCE_YOUR_CALM, or cut before it could be said: {code:?}");
    assert!(is_served(&mut port.connect().await).await);
    until("it is gone", || port.open() <= 1.0).await;
}

// CONTINUATION flood (CVE-2024-27316): a header without an end is not collected for ever.
#[tokio::test]
async fn an_endless_header_ends_the_connection() {
    let port = TestPort::plain(config()).await;
    let mut frames = frame(HEADERS, END_STREAM, 1, GET_ROOT);
    let field = [&[0x40, 1, b'a', 0x7f, 0x81, 0x3f][..], &[b'b'; 8_000]].concat();
    for _ in 0..2_000 {
        frames.extend(frame(CONTINUATION, 0, 1, &field));
    }
    attack(&port, frames).await;
    assert!(is_served(&mut port.connect().await).await);
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_so() {
    let port = TestPort::plain(config()).await;
    assert_eq!(attack(&port, frame(HEADERS, END_STREAM | END_HEADERS, 2, GET_ROOT)).await, Some(1), "an even stream");
    assert!(
        attack(&port, frame(SETTINGS, 0, 0, &[0; 5])).await.is_some_and(|code| code != 0),
        "settings of an odd size"
    );
}

#[tokio::test]
async fn a_large_header_list_is_431() {
    let port = TestPort::plain(config()).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let request = client.get(format!("http://{}/", port.addr)).header("x-long", "y".repeat(20_000));
    assert_eq!(request.send().await.unwrap().status(), 431);
}

#[tokio::test]
async fn shutdown_finishes_streams_in_flight() {
    let mut port = TestPort::plain(config()).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let request = client.get(format!("http://{}/wait", port.addr)).send();
    let answer = crate::telemetry::task::spawn("request", request);
    port.waiting.recv().await.unwrap();
    port.shutdown.cancel();
    port.gate.send(()).await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    timeout(PATIENCE, port.ended).await.expect("the port ends").unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_ended() {
    let port = TestPort::plain(Config { idle_timeout_ms: 60, park_after_ms: 20, ..config() }).await;
    let mut client = port.connect().await;
    client.write_all(PREFACE).await.unwrap();
    client.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    // It ignores the GOAWAY, and is closed nevertheless.
    assert_eq!(goaway_of(&mut client).await, Some(0));
}
