//! Where is my reading?

use serde_json::{Value, json};

use super::patient;
use crate::support::{Facility, Integration, batch, now_s};

async fn trace(facility: &Facility, sender: &Integration, query: &str) -> Value {
    let path = format!("/admin/v1/readings/trace?integration_id={}&external_id=s&{query}", sender.id);
    facility.get(&path).await.expect(200).json
}

fn at(second: i64) -> String {
    jiff::Timestamp::from_second(second).expect("a time").to_string()
}

fn reading(metric: &str, value: f64, second: i64) -> Value {
    json!({"external_id": "s", "metric": metric, "value": value, "timestamp": second})
}

// Stored, refused, replaced, never seen: each said so, with the requests, and certain where that can be known.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_found_wherever_it_went() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    let begin = now_s() - 3_600;
    let send = async |readings: Value| {
        let answer = facility.ingest(&sender, &json!({ "readings": readings })).await;
        answer.header("x-request-id").expect("an id").to_owned()
    };
    let first = send(json!([reading("temperature", 20.0, begin)])).await;
    let refused = send(json!([reading("temperature", 9_999.0, begin + 1), reading("humidity", 50.0, begin)])).await;
    let second = send(json!([reading("temperature", 21.0, begin)])).await;
    // The last of the three batches is in the store once its value has replaced the first one's.
    for _ in 0..100 {
        if facility.stored(&sender, "s", "temperature", 1).await == [(begin, 21.0)] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let found = trace(&facility, &sender, &format!("metric=temperature&timestamp={}", at(begin))).await;
    assert_eq!(found["outcome"], "stored", "{found}");
    assert_eq!(found["stored"][0]["value"], 21.0);
    let accepted: Vec<_> = found["accepted_in"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["request_id"].clone(), one["state"].clone(), one["certain"].clone(), one["replaced_by"].clone())
        })
        .collect();
    let replaced = (json!(first), json!("replaced"), json!(true), json!(second));
    assert_eq!(accepted, [replaced, (json!(second), json!("stored"), json!(true), Value::Null)]);

    let found = trace(&facility, &sender, &format!("metric=temperature&timestamp={}", at(begin + 1))).await;
    assert_eq!(found["outcome"], "refused", "{found}");
    let refusal = &found["refused_in"][0];
    assert_eq!((&refusal["request_id"], &refusal["code"]), (&json!(refused), &json!("value_out_of_range")));
    assert_eq!((&refusal["index"], &refusal["certain"]), (&json!(0), &json!(true)));

    let found = trace(&facility, &sender, &format!("metric=co2&timestamp={}", at(begin))).await;
    assert_eq!((&found["outcome"], &found["complete"]), (&json!("not_seen"), &json!(true)), "{found}");

    // All metrics, over a time.
    let found = trace(&facility, &sender, &format!("from={}&to={}", at(begin), at(begin + 2))).await;
    assert_eq!(found["stored"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(found["accepted_in"].as_array().unwrap().len(), 3, "{found}");
}

// A large batch is known by its span and its equipment: what may be is said to be no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_called_candidates() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    let end = now_s();
    let answer = facility.ingest(&sender, &batch("s", 500, end)).await.expect(200);
    facility.stored(&sender, "s", "temperature", 500).await;
    let found = trace(&facility, &sender, &format!("metric=temperature&timestamp={}", at(end - 250))).await;
    assert_eq!(found["outcome"], "stored");
    let accepted = &found["accepted_in"][0];
    assert_eq!(accepted["request_id"], answer.header("x-request-id").unwrap());
    assert_eq!((&accepted["certain"], &accepted["state"]), (&json!(false), &json!("stored")));
    let whole =
        trace(&facility, &sender, &format!("metric=temperature&from={}&to={}", at(end - 499), at(end + 1))).await;
    assert_eq!(whole["accepted_in"][0]["certain"], true, "{whole}");
    let before = trace(&facility, &sender, &format!("metric=temperature&timestamp={}", at(end - 600))).await;
    assert_eq!((&before["outcome"], &before["accepted_in"]), (&json!("not_seen"), &json!([])));
}

// Requests refused as a whole may have held it: they are named, and nothing more is claimed.
#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_are_named() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    facility.limit(&sender, 1).await;
    facility.ingest(&sender, &batch("s", 1, now_s() - 50)).await.expect(200);
    let refused = facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(429);
    let query = format!("metric=temperature&from={}&to={}", at(now_s() - 5), at(now_s() + 5));
    let found = trace(&facility, &sender, &query).await;
    assert_eq!(found["outcome"], "perhaps_refused", "{found}");
    assert_eq!(found["refused_requests"][0]["request_id"], refused.header("x-request-id").unwrap());
    assert_eq!(found["refused_requests"][0]["cause"], "rate_limited");
}

// What is durable and not in the store yet is said to wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_waits_is_said_to_wait() {
    // Delivery takes a minute to gather a group, so that there is something to see.
    let facility = Facility::with(&[("SENSORGATE__DELIVERY__DELAY_MS_MAX", "60000")]).await;
    let sender = facility.busy_sender().await;
    let second = now_s() - 60;
    facility.ingest(&sender, &json!([reading("temperature", 20.0, second)])).await.expect(200);
    let found = trace(&facility, &sender, &format!("metric=temperature&timestamp={}", at(second))).await;
    assert_eq!(found["outcome"], "waiting_in_spool", "{found}");
    assert_eq!(found["accepted_in"][0]["state"], "waiting_in_spool");
}

// Another organisation's or nobody's equipment is not found, and a time must be given.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_names_equipment_and_time() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    let path = format!("/admin/v1/readings/trace?integration_id={}", sender.id);
    let time = at(now_s());
    for (query, status) in [
        (format!("&external_id=nobody&timestamp={time}"), 404),
        ("&external_id=s".to_owned(), 400),
        (format!("&external_id=s&from={time}"), 400),
        (format!("&external_id=s&timestamp={time}&metric=nothing"), 400),
        ("&external_id=s&from=2026-01-01T00:00:00Z&to=2026-06-01T00:00:00Z".to_owned(), 400),
    ] {
        facility.get(&format!("{path}{query}")).await.expect(status);
    }
}
