//! MQTT's receipts, by three client libraries that are not ours, in both versions: what each batch is answered.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Facility, Integration, batch,
    facility::send,
    mqtt::{Gateway, Library, Publish, VERSIONS},
    now_s,
};

/// A facility with an integration that may send as often as it likes, and its sensor `s`.
pub(super) async fn facility(variables: &[(&str, &str)]) -> (Facility, Integration) {
    let facility = Facility::with(variables).await;
    let sender = facility.busy_sender().await;
    (facility, sender)
}

fn without_request_id(mut body: Value) -> Value {
    body.as_object_mut().expect("an object").remove("request_id").expect("a request id");
    body
}

/// The batches of the table, whose good readings stand at `at_s` and the seconds after it: name, payload, PUBACK's reason
/// in version 5.
fn table(at_s: i64) -> Vec<(&'static str, String, u8)> {
    let reading =
        |n: i64, value: f64| json!({"external_id": "s", "metric": "humidity", "value": value, "timestamp": at_s + n});
    let many: Vec<Value> = (0..501).map(|n| reading(n, 50.0)).collect();
    vec![
        ("good", json!({"readings": [reading(0, 50.0)], "batch_id": "b-1"}).to_string(), 0x00),
        ("bare array", json!([reading(1, 50.0)]).to_string(), 0x00),
        ("partial", json!({"readings": [reading(2, 50.0), reading(3, 141.0), 7]}).to_string(), 0x00),
        ("all rejected", json!({"readings": [reading(4, 141.0)]}).to_string(), 0x99),
        ("more than 500", json!({"readings": many}).to_string(), 0x99),
        ("malformed", r#"{"readings":[NaN]}"#.to_owned(), 0x99),
        ("empty", r#"{"readings":[]}"#.to_owned(), 0x99),
        ("nothing", String::new(), 0x99),
    ]
}

/// What HTTP answers to the same payload, when it is only judged.
async fn over_http(facility: &Facility, sender: &Integration, payload: &str) -> Value {
    let request = facility.request(sender, Method::POST, "/v1/sensors/readings?validate_only=true");
    send(request.header("Content-Type", "application/json").body(payload.to_owned())).await.json
}

// api.md §2: 0x00 stored (partial too), 0x99 malformed, all rejected or more than 500; on 3.1.1 a permanent refusal is
// acked and reported; the result is the HTTP body, with the payload's batch_id.
#[tokio::test(flavor = "multi_thread")]
async fn every_library_gets_the_receipts_of_the_table() {
    let (facility, sender) = facility(&[]).await;
    let (mut at_s, mut count) = (now_s() - 10_000, 0);
    for library in Library::available() {
        for version in VERSIONS {
            at_s += 1_000;
            let mut gateway = Gateway::open(library, version, &facility.server, &sender, "gateway").await;
            for (name, payload, reason) in table(at_s) {
                let what = format!("{library:?} {version}: {name}");
                let mut expected = over_http(&facility, &sender, &payload).await;
                gateway.send_raw(&payload).await;
                assert_eq!(gateway.puback().await, if version == 5 { reason } else { 0 }, "{what}");
                let message = gateway.message().await;
                assert_eq!((message.topic.as_str(), message.retain), (gateway.results.as_str(), false), "{what}");
                if name == "good" {
                    expected["batch_id"] = json!("b-1");
                }
                assert_eq!(without_request_id(message.json()), without_request_id(expected), "{what}");
            }
            // Still there, and at QoS 0 told on `results` only.
            let payload = json!({"readings": [{"external_id": "s", "metric": "co2", "value": 400, "timestamp": at_s}]});
            let topic = gateway.readings.clone();
            gateway.publish(&Publish { topic, payload: payload.to_string(), ..Publish::default() }).await;
            assert_eq!(gateway.message().await.json()["accepted"], 1, "{library:?} {version}");
            assert!(!gateway.has_puback());
            count += 1;
            assert_eq!(facility.stored(&sender, "s", "co2", count).await.last(), Some(&(at_s, 400.0)));
        }
    }
    assert_eq!(facility.stored(&sender, "s", "humidity", 3 * count).await.len(), 3 * count);
}

// api.md §2: on v5 Response Topic (own results topic or below it) and Correlation Data are honoured.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_topic_and_correlation_data_come_back() {
    let (facility, sender) = facility(&[]).await;
    let other = facility.busy_sender().await;
    for library in Library::available() {
        let mut gateway = Gateway::open(library, 5, &facility.server, &sender, "gateway").await;
        let mut stranger = Gateway::open(library, 5, &facility.server, &other, "gateway").await;
        let mut publish = Publish {
            topic: gateway.readings.clone(),
            payload: batch("s", 1, now_s()).to_string(),
            qos: 1,
            ..Publish::default()
        };
        for (response, correlation) in [
            (Some(format!("{}/house-1", gateway.results)), Some("batch 7")),
            (Some(format!("{}/house-1/é", gateway.results)), None),
            (Some(gateway.results.clone()), Some("ü")),
            (None, Some("8")),
        ] {
            publish.response_topic.clone_from(&response);
            publish.correlation = correlation.map(str::to_owned);
            gateway.publish(&publish).await;
            assert_eq!(gateway.puback().await, 0);
            let message = gateway.message().await;
            assert_eq!(message.topic, response.unwrap_or(gateway.results.clone()), "{library:?}");
            assert_eq!(message.correlation(), correlation, "{library:?}");
            assert_eq!(message.json()["accepted"], 1);
        }
        // A foreign topic is never published to.
        publish.response_topic = Some(stranger.results.clone());
        gateway.publish(&publish).await;
        assert_eq!(gateway.puback().await, 0x87, "{library:?}");
        stranger.send(&batch("s", 1, now_s() - 77)).await;
        stranger.puback().await;
        let message = stranger.message().await;
        assert_eq!(message.correlation(), None, "{library:?}: {message:?}");
    }
}

// A result that is larger than what may wait for a client (mqtt.unsent_bytes_max) holds up nothing once it is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_does_not_hold_up_the_next_batch() {
    let (facility, sender) = facility(&[]).await;
    let nobody = json!({"external_id": "nobody", "metric": "temperature", "value": 1, "id": "a name of the entry"});
    let rejected = json!({"readings": vec![nobody; 500]});
    for version in VERSIONS {
        let mut gateway = Gateway::open(Library::Rumqttc, version, &facility.server, &sender, "gateway").await;
        let started = Instant::now();
        for n in 0..5 {
            let (_, result) = gateway.exchange(&rejected).await;
            assert!(result.payload.len() > 65_536, "{} bytes", result.payload.len());
            assert_eq!(gateway.exchange(&batch("s", 1, now_s() - n)).await.0, 0);
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
