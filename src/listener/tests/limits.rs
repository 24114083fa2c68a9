//! How many, how large, how old.

use super::*;

#[tokio::test]
async fn a_full_port_refuses_at_once_and_takes_the_next_when_one_leaves() {
    for (config, reason) in [
        (Config { connections_max: 2, ..config() }, "connections_max"),
        (Config { connections_per_address_max: 2, ..config() }, "address_max"),
    ] {
        let port = TestPort::plain(config).await;
        let mut first = port.connect().await;
        let mut second = port.connect().await;
        assert!(is_served(&mut first).await && is_served(&mut second).await);
        assert_eq!(end(&mut port.connect().await).await, "");
        assert_eq!(port.refused(reason), 1.0, "{reason}");
        drop(first);
        until("its place is free", || port.open() == 1.0).await;
        let mut third = port.connect().await;
        assert!(is_served(&mut third).await && is_served(&mut second).await);
    }
}

#[tokio::test]
async fn what_is_too_large_in_a_header_is_a_clear_4xx() {
    let port = TestPort::plain(config()).await;
    let head = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let many: String = (0..80).map(|number| format!("X-{number}: y\r\n")).collect();
    for (text, status) in [
        (head("/", &format!("X-Long: {}\r\n", "y".repeat(20_000))), "431"),
        (head("/", &many), "431"),
        (head(&format!("/{}", "y".repeat(20_000)), ""), "431"),
        (head("/ with spaces", ""), "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n".to_owned(), "400"),
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
        (format!("{}\r\n\r\n", "y".repeat(20_000)), "4"),
    ] {
        let mut client = port.connect().await;
        // The server may answer and close before everything is sent.
        let _sent = client.write_all(text.as_bytes()).await;
        let answer = end(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{:.40}: {answer:?}", text);
    }
    assert!(is_served(&mut port.connect().await).await, "nobody else is harmed");
}

#[tokio::test]
async fn an_old_connection_ends_between_two_requests() {
    let port = TestPort::plain(Config { connection_age_max_s: 1, park_after_ms: 20, ..config() }).await;
    let mut client = port.connect().await;
    assert!(is_served(&mut client).await);
    assert_eq!(end(&mut client).await, "");
    let mut busy = port.connect().await;
    let mut text = String::new();
    while !text.contains("connection: close") {
        send(&mut busy, GET).await;
        text = answer(&mut busy).await;
        assert!(text.starts_with("HTTP/1.1 200") || text.is_empty(), "{text}");
        if text.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(end(&mut busy).await, "");
}

#[tokio::test]
async fn a_client_that_closes_its_side_gets_its_answer() {
    let mut port = TestPort::plain(config()).await;
    let mut client = port.connect().await;
    send(&mut client, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.shutdown().await.unwrap();
    port.waiting.recv().await.unwrap();
    port.gate.send(()).await.unwrap();
    assert!(end(&mut client).await.starts_with("HTTP/1.1 200"));
}

// A connection whose next request has begun to arrive is not parked, and pipelined requests are all answered.
#[tokio::test]
async fn requests_in_parts_and_in_one_piece_are_served_around_parking() {
    let port = TestPort::plain(Config { park_after_ms: 20, ..config() }).await;
    let mut client = port.connect().await;
    assert!(is_served(&mut client).await);
    let (begin, rest) = GET.split_at(7);
    send(&mut client, begin).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    send(&mut client, rest).await;
    assert!(answer(&mut client).await.starts_with("HTTP/1.1 200"));
    until("it is parked", || port.metric("sensorgate_listener_connections_parked") == 1.0).await;
    send(&mut client, &format!("{GET}{}", GET.replace("Host: x", "Host: x\r\nConnection: close"))).await;
    assert_eq!(end(&mut client).await.matches("HTTP/1.1 200").count(), 2);
}
