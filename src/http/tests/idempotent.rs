//! Idempotency keys at the socket.

use super::*;

// api.md §1
#[tokio::test]
async fn a_replay_is_the_same_answer_with_a_request_id_of_its_own() {
    let edge = TestEdge::start().await;
    for body in ["good", "partial", "bad"] {
        let send = || async { edge.post(body).header("idempotency-key", format!("k-{body}")).send().await.unwrap() };
        let (first, second) = (send().await, send().await);
        assert_eq!(first.status(), second.status());
        assert!(!first.headers().contains_key("idempotency-replayed"));
        assert_eq!(second.headers()["idempotency-replayed"], "true");
        for name in ["x-readings-accepted", "x-readings-rejected", "content-type"] {
            assert_eq!(first.headers()[name], second.headers()[name], "{name}");
        }
        let own_id = second.headers()["x-request-id"].to_str().unwrap().to_owned();
        let (mut first, mut second) = (json(first).await, json(second).await);
        assert_eq!(second["request_id"], own_id);
        assert_ne!(first["request_id"].take(), second["request_id"].take());
        assert_eq!(first, second);
    }
    assert_eq!(edge.intake.taken.lock().len(), 3, "each was submitted once");
    assert_eq!(edge.door.admitted.load(Ordering::Relaxed), 6, "a replay costs a request of the window");
}

#[tokio::test]
async fn another_body_or_a_validation_is_another_request() {
    let edge = TestEdge::start().await;
    let send = |body: &'static str, query: &'static str| {
        let url = edge.url(&format!("/v1/sensors/readings{query}"));
        let request = edge.client.post(url).header("x-api-key", "good").header("content-type", "application/json");
        async move { request.header("idempotency-key", "k").body(body).send().await.unwrap() }
    };
    assert_eq!(send("good", "").await.status(), 200);
    for (body, query) in [("other", ""), ("good", "?validate_only=true")] {
        let response = send(body, query).await;
        assert_eq!(response.status(), 422);
        assert_eq!(json(response).await["code"], "idempotency_key_reused");
    }
}

#[tokio::test]
async fn a_key_still_running_is_409_and_a_refused_one_is_free_again() {
    let edge = TestEdge::start().await;
    let send = |body: &'static str| edge.post(body).header("idempotency-key", "k").send();
    assert_eq!(send("refuse spool_full").await.unwrap().status(), 503);
    let first = crate::telemetry::task::spawn("first", send("wait"));
    until("the first is running", || edge.intake.waiting.load(Ordering::Acquire) == 1).await;
    let second = send("wait").await.unwrap();
    assert_eq!(second.status(), 409);
    assert_eq!(json(second).await["code"], "idempotency_in_progress");
    edge.intake.turns.0.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(send("wait").await.unwrap().headers()["idempotency-replayed"], "true");
}

#[tokio::test]
async fn the_body_is_compared_as_inflated() {
    let edge = TestEdge::start().await;
    let packed = zstd::stream::encode_all(&b"good"[..], 3).unwrap();
    let plain = edge.post("good").header("idempotency-key", "k").send().await.unwrap();
    assert_eq!(plain.status(), 200);
    let request = edge.post(packed).header("content-encoding", "zstd").header("idempotency-key", "k");
    assert_eq!(request.send().await.unwrap().headers()["idempotency-replayed"], "true");
}

#[tokio::test]
async fn an_invalid_key_is_refused() {
    let edge = TestEdge::start().await;
    for request in [
        edge.post("good").header("idempotency-key", ""),
        edge.post("good").header("idempotency-key", "x".repeat(256)),
        edge.post("good").header("idempotency-key", "a").header("idempotency-key", "b"),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(json(response).await["code"], "idempotency_key_invalid");
    }
    assert!(edge.intake.taken.lock().is_empty());
}

// design.md: an HTTP client that hangs up does not stop its append, and its retry finds the answer.
#[tokio::test]
async fn a_caller_that_hangs_up_finds_its_answer_later() {
    let edge = TestEdge::start().await;
    let first = crate::telemetry::task::spawn("first", edge.post("wait").header("idempotency-key", "k").send());
    until("the first is running", || edge.intake.waiting.load(Ordering::Acquire) == 1).await;
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    // Whether the server has noticed yet makes no difference to what follows.
    edge.intake.turns.0.add_permits(1);
    until("the append is done", || edge.intake.taken.lock().len() == 1).await;
    let mut status = 409;
    while status == 409 {
        let retry = edge.post("wait").header("idempotency-key", "k").send().await.unwrap();
        status = retry.status().as_u16();
        assert!(status == 409 || retry.headers().contains_key("idempotency-replayed"));
    }
    assert_eq!((status, edge.intake.taken.lock().len()), (200, 1));
}
