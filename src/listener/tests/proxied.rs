//! PROXY headers at the socket.

use super::*;

fn port_behind(trusted: &str) -> (Config, Port) {
    let config = Config {
        proxy_protocol_from: vec![trusted.parse().unwrap()],
        proxy_header_timeout_ms: 200,
        connections_per_address_max: 1,
        ..config()
    };
    (config, Port { proxy_protocol: true, ..Port::plain("test") })
}

fn header(command: u8, client: [u8; 4]) -> Vec<u8> {
    let [a, b, c, d] = client;
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, 0x11, 0, 12, a, b, c, d, 10, 0, 0, 1, 0x1f, 0x90, 0, 80]].concat()
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_client() {
    let (config, port) = port_behind("127.0.0.0/8");
    let port = TestPort::start(config, port).await;
    let mut held = Vec::new();
    for (command, address, expected) in
        [(1, [203, 0, 113, 7], "203.0.113.7"), (1, [203, 0, 113, 8], "203.0.113.8"), (0, [203, 0, 113, 9], "127.0.0.1")]
    {
        let mut client = port.connect().await;
        client.write_all(&header(command, address)).await.unwrap();
        send(&mut client, GET).await;
        assert!(answer(&mut client).await.ends_with(expected), "{expected}");
        held.push(client);
    }
    // Counted by the client's address, not by the proxy's.
    let mut again = port.connect().await;
    again.write_all(&header(1, [203, 0, 113, 7])).await.unwrap();
    assert_eq!(end(&mut again).await, "");
    assert_eq!(port.refused("address_max"), 1.0);
}

#[tokio::test]
async fn anybody_else_is_closed() {
    let (config, port) = port_behind("192.0.2.0/24");
    let port = TestPort::start(config, port).await;
    let mut client = port.connect().await;
    let _sent = client.write_all(&header(1, [203, 0, 113, 7])).await;
    assert_eq!(end(&mut client).await, "");
    assert_eq!(port.refused("proxy_untrusted"), 1.0);
}

#[tokio::test]
async fn a_missing_malformed_or_late_header_is_closed() {
    let (config, port) = port_behind("127.0.0.1/32");
    let port = TestPort::start(config, port).await;
    for (count, bytes) in
        [GET.as_bytes(), b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"\r\n\r\n", b""].into_iter().enumerate()
    {
        let mut client = port.connect().await;
        client.write_all(bytes).await.unwrap();
        assert_eq!(end(&mut client).await, "", "{bytes:?}");
        until("it is counted", || port.refused("proxy_header") == (count + 1) as f64).await;
    }
}

// Where no header is expected, one is just broken HTTP: nobody can claim an address.
#[tokio::test]
async fn an_unexpected_header_is_not_believed() {
    let port = TestPort::plain(config()).await;
    let mut client = port.connect().await;
    client.write_all(&header(1, [203, 0, 113, 7])).await.unwrap();
    let _sent = client.write_all(GET.as_bytes()).await;
    assert!(end(&mut client).await.starts_with("HTTP/1.1 400"));
}
