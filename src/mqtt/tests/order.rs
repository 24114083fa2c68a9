//! Acknowledgements in the order of arrival (`api.md` §2).

use proptest::prelude::*;

use super::*;

fn order(of: usize) -> impl Strategy<Value = Vec<usize>> {
    Just((0..of).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // api.md §2: PUBACK in the order of arrival, in whatever order the batches become durable.
    #[test]
    fn acknowledgements_come_in_the_order_of_arrival(order in (1_usize..=16).prop_flat_map(order)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let mut client = bench.five("a").await;
            for n in 0..order.len() {
                client.send(bench.publish(n as u16 + 1, &format!("wait {n}"))).await;
            }
            bench.until_seen(order.len()).await;
            for n in &order {
                bench.intake.end(&format!("wait {n}"), Ok(stored())).await;
            }
            for n in 0..order.len() {
                assert_eq!(client.ack().await, (n as u16 + 1, v5::PubAckReason::Success));
            }
        });
    }
}

// All are under way at once: the second is durable before the first, and is not acknowledged before it.
#[tokio::test]
async fn nothing_is_acknowledged_before_what_came_earlier() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    client.send(bench.publish(1, "wait 1")).await;
    client.send(bench.publish(2, "ok")).await;
    bench.until_seen(2).await;
    client.send(v5::Packet::PingReq(v5::PingReq)).await;
    assert!(matches!(client.next().await, v5::Packet::PingResp(_)), "a ping does not wait for acknowledgements");
    bench.intake.end("wait 1", Ok(stored())).await;
    assert_eq!((client.ack().await.0, client.ack().await.0), (1, 2));
}

// A publish that is refused at once waits for its turn like any other.
#[tokio::test]
async fn refusals_wait_for_their_turn() {
    let bench = Bench::new();
    let mut client = bench.five("a").await;
    client.send(bench.publish(1, "wait 1")).await;
    client.send(publish("elsewhere", 2, "x")).await;
    client.send(bench.publish(3, "malformed")).await;
    bench.until_seen(2).await;
    bench.intake.end("wait 1", Ok(stored())).await;
    assert_eq!(client.ack().await, (1, v5::PubAckReason::Success));
    assert_eq!(client.ack().await, (2, v5::PubAckReason::NotAuthorized));
    assert_eq!(client.ack().await, (3, v5::PubAckReason::PayloadFormatInvalid));
}
