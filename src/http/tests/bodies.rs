//! Bodies that are large, late, packed or broken, from clients that write their own bytes.

use std::io::Write;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::*;

fn head(extra: &str) -> String {
    format!(
        "POST /v1/sensors/readings HTTP/1.1\r\nHost: x\r\nX-API-Key: good\r\nContent-Type: application/json\r\n{extra}\r\n"
    )
}

async fn connect(edge: &TestEdge) -> TcpStream {
    TcpStream::connect(edge.addr).await.unwrap()
}

/// Reads until `end` has come or the connection ends.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&bytes).contains(end) {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("an answer in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn exchange(edge: &TestEdge, text: &str) -> String {
    let mut stream = connect(edge).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    read_to(&mut stream, "}").await
}

#[tokio::test]
async fn packed_bodies_are_unpacked() {
    let edge = TestEdge::start().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"partial").unwrap();
    let zstd = zstd::stream::encode_all(&b"partial"[..], 3).unwrap();
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd), ("identity", b"partial".to_vec())] {
        let response = edge.post(body).header("content-encoding", encoding).send().await.unwrap();
        assert_eq!(response.status(), 207, "{encoding}");
    }
    let response = edge.post("partial").header("content-encoding", "gzip").send().await.unwrap();
    assert_eq!(json(response).await["code"], "malformed_encoding");
    let response = edge.post("partial").header("content-encoding", "br").send().await.unwrap();
    assert_eq!(response.headers()["accept-encoding"], "gzip, zstd, identity");
}

// S "Bad input": bombs are 413, inline and off the connections' threads alike.
#[tokio::test]
async fn bombs_are_refused() {
    let edge = TestEdge::start().await;
    let zeros = vec![0; 100 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&zeros).unwrap();
    let zstd = zstd::stream::encode_all(&zeros[..], 3).unwrap();
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd)] {
        let response = edge.post(body).header("content-encoding", encoding).send().await.unwrap();
        assert_eq!(json(response).await["code"], "body_too_large", "{encoding}");
    }
    assert!(edge.intake.taken.lock().is_empty());
}

// api.md §3: what the headers decide is answered before the body is asked for.
#[tokio::test]
async fn expect_100_continue_is_refused_early_and_otherwise_granted() {
    let edge = TestEdge::start().await;
    for (extra, status) in
        [("Content-Length: 99999999\r\n", "413"), ("Content-Length: 5\r\nContent-Encoding: br\r\n", "415")]
    {
        let answer = exchange(&edge, &head(&format!("{extra}Expect: 100-continue\r\n"))).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    let unknown = head("Content-Length: 5\r\nExpect: 100-continue\r\n").replace("good", "unknown");
    assert!(exchange(&edge, &unknown).await.starts_with("HTTP/1.1 401"));
    let mut stream = connect(&edge).await;
    stream.write_all(head("Content-Length: 4\r\nExpect: 100-continue\r\n").as_bytes()).await.unwrap();
    assert!(read_to(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    stream.write_all(b"good").await.unwrap();
    assert!(read_to(&mut stream, "}").await.starts_with("HTTP/1.1 200"));
}

// A body that never ends is 408 in all, however steadily it trickles.
#[tokio::test]
async fn a_body_that_trickles_is_timed_out() {
    let edge = TestEdge::with(Config { body_timeout_ms: 300, ..config() }, Surface::default(), &[]).await;
    let stream = connect(&edge).await;
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(head("Content-Length: 1000\r\n").as_bytes()).await.unwrap();
    let trickle = crate::telemetry::task::spawn("trickle", async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut bytes = Vec::new();
    // A reset behind the answer is fine: the client was still sending.
    let _end = timeout(PATIENCE, reader.read_to_end(&mut bytes)).await.expect("the connection ends");
    let answer = String::from_utf8_lossy(&bytes);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
    timeout(PATIENCE, trickle).await.expect("the trickle ends").unwrap();
}

#[tokio::test]
async fn a_too_large_body_without_a_length_is_stopped() {
    let edge = TestEdge::with(Config { body_bytes_max: 2_000, ..config() }, Surface::default(), &[]).await;
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1_000));
    let body = format!("{}{chunk}{chunk}{chunk}0\r\n\r\n", head("Transfer-Encoding: chunked\r\n"));
    let answer = exchange(&edge, &body).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
    let fits = format!("{}{chunk}{chunk}0\r\n\r\n", head("Transfer-Encoding: chunked\r\n"));
    assert!(exchange(&edge, &fits).await.starts_with("HTTP/1.1 200"));
}

// A client that is still sending its too large body sees the answer, not a reset.
#[tokio::test]
async fn the_answer_to_a_body_in_flight_arrives() {
    let edge = TestEdge::start().await;
    let mut stream = connect(&edge).await;
    let body = format!("{}{}", head("Content-Length: 2000000\r\n"), "x".repeat(900_000));
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = read_to(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn broken_bodies_are_a_400_and_harm_nobody() {
    let edge = TestEdge::start().await;
    for body in ["zz\r\nxx\r\n", "4\r\ngoodgood\r\n0\r\n\r\n", "ffffffffffffffffff\r\n", "-4\r\ngood\r\n0\r\n\r\n"] {
        let answer = exchange(&edge, &format!("{}{body}", head("Transfer-Encoding: chunked\r\n"))).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{body:?}: {answer}");
    }
    let mut stream = connect(&edge).await;
    stream.write_all(format!("{}only part", head("Content-Length: 100\r\n")).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_to(&mut stream, "}").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(edge.intake.taken.lock().is_empty());
    assert_eq!(edge.post("good").send().await.unwrap().status(), 200);
}

// Transfer-Encoding wins over Content-Length (RFC 9112 §6.3), and differing lengths are no request at all.
#[tokio::test]
async fn conflicting_lengths_do_not_smuggle() {
    let edge = TestEdge::start().await;
    for head in [head("Content-Length: 4\r\nContent-Length: 5\r\n"), head("Content-Length: +4\r\n")] {
        assert!(exchange(&edge, &format!("{head}good")).await.is_empty_or_400());
    }
    assert!(exchange(&edge, &format!("{}good", head("Transfer-Encoding: gzip\r\n"))).await.is_empty_or_400());
    let both = head("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n");
    assert!(exchange(&edge, &format!("{both}7\r\npartial\r\n0\r\n\r\n")).await.starts_with("HTTP/1.1 207"));
    assert_eq!(*edge.intake.taken.lock(), ["partial"]);
}

trait Broken {
    fn is_empty_or_400(&self) -> bool;
}

impl Broken for String {
    fn is_empty_or_400(&self) -> bool {
        self.is_empty() || self.starts_with("HTTP/1.1 400")
    }
}

// Each request is recorded once, and one whose caller left as hung up; what it sent is stored all the same. Over
// HTTP/1.1 the server does not look for the hang-up: the request just ends.
#[tokio::test]
async fn a_caller_that_hangs_up_is_recorded_and_its_batch_stored() {
    for (client, status) in [
        (reqwest::Client::builder().http2_prior_knowledge(), crate::journal::STATUS_HUNG_UP),
        (reqwest::Client::builder().http1_only(), 200),
    ] {
        let edge = TestEdge::start().await;
        let client = client.no_proxy().build().unwrap();
        let request = client.post(edge.url("/v1/sensors/readings")).header("x-api-key", "good");
        let request = request.header("content-type", "application/json").body("wait");
        let sent = crate::telemetry::task::spawn("request", request.send());
        until("it is being worked on", || edge.intake.waiting.load(Ordering::Acquire) == 1).await;
        sent.abort();
        if status != 200 {
            until("it is recorded", || !edge.notebook.0.lock().is_empty()).await;
        }
        assert!(edge.intake.taken.lock().is_empty());
        edge.intake.turns.0.add_permits(1);
        until("the append is done", || edge.intake.taken.lock().len() == 1).await;
        until("it is recorded", || !edge.notebook.0.lock().is_empty()).await;
        assert_eq!(edge.last_record().status, status);
    }
}
