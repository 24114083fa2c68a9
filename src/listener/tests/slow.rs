//! Clients that say nothing, say it slowly, or do not listen.

use super::*;

/// Sends one byte of `text` after the other until the connection ends; returns what came back.
async fn trickle(stream: TcpStream, text: String) -> String {
    let (mut reader, mut writer) = stream.into_split();
    let writing = crate::telemetry::task::spawn("trickle", async move {
        for byte in text.bytes().cycle() {
            if writer.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let answer = end(&mut reader).await;
    timeout(PATIENCE, writing).await.expect("writing fails once the server is gone").unwrap();
    answer
}

#[tokio::test]
async fn a_silent_connection_ends() {
    let port = TestPort::plain(Config { first_byte_timeout_ms: 50, ..config() }).await;
    assert_eq!(end(&mut port.connect().await).await, "");
    until("it is counted", || port.refused("silent") == 1.0).await;
}

// Slowloris: the time for a header is a total, also for a connection that has been parked in between.
#[tokio::test]
async fn a_header_that_trickles_ends() {
    let port = TestPort::plain(Config { header_timeout_ms: 200, park_after_ms: 20, ..config() }).await;
    let endless = "GET / HTTP/1.1\r\nHost: x\r\nX-Never: ending".to_owned();
    trickle(port.connect().await, endless.clone()).await;
    let mut served = port.connect().await;
    assert!(is_served(&mut served).await);
    until("it is parked", || port.metric("sensorgate_listener_connections_parked") == 1.0).await;
    trickle(served, endless).await;
    until("both are gone", || port.open() == 0.0).await;
}

#[tokio::test]
async fn a_preface_that_trickles_ends() {
    let port = TestPort::plain(Config { first_byte_timeout_ms: 100, ..config() }).await;
    let mut client = port.connect().await;
    send(&mut client, "PRI * HTTP").await;
    assert_eq!(end(&mut client).await, "");
}

#[tokio::test]
async fn an_idle_connection_ends() {
    let port = TestPort::plain(Config { idle_timeout_ms: 100, park_after_ms: 20, ..config() }).await;
    let mut client = port.connect().await;
    assert!(is_served(&mut client).await);
    assert_eq!(end(&mut client).await, "");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let port = TestPort::plain(Config { idle_timeout_ms: 100, park_after_ms: 20, ..config() }).await;
    let mut client = port.connect().await;
    send(&mut client, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    until("it is cut", || port.open() == 0.0 && port.metric("sensorgate_listener_connections_total") == 1.0).await;
    drop(client);
}

// Many slow ones at once: others are served as before.
#[tokio::test]
async fn the_slow_do_not_slow_others() {
    let port = TestPort::plain(config()).await;
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut client = port.connect().await;
        if number % 2 == 0 {
            send(&mut client, "GET / HT").await;
        }
        slow.push(client);
    }
    for _ in 0..20 {
        assert!(is_served(&mut port.connect().await).await);
    }
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end_in_time() {
    let mut port = TestPort::plain(Config { shutdown_grace_ms: 100, ..config() }).await;
    let mut silent = port.connect().await;
    let mut stuck = port.connect().await;
    send(&mut stuck, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    port.waiting.recv().await.unwrap();
    port.shutdown.cancel();
    assert_eq!(end(&mut silent).await, "");
    assert_eq!(end(&mut stuck).await, "");
    timeout(PATIENCE, port.ended).await.expect("the port ends").unwrap();
}
