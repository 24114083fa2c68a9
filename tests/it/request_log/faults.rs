//! Load, kills, and a log that cannot be written: readings never notice, and nothing is missing unnoticed.

use std::{collections::HashSet, fs, sync::Arc};

use serde_json::json;

use super::{entries, explained, patient};
use crate::support::{
    Facility, batch,
    facility::send,
    gateway::{Gateway, readings},
    now_s,
};

/// The value of a metric, over all its labels.
async fn metric(facility: &Facility, name: &str) -> u64 {
    let text = send(facility.client.get(format!("{}/metrics", facility.server.admin_url))).await.text;
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0) as u64;
    text.lines().filter(|line| line.starts_with(name)).map(value).sum()
}

// S299: no request is missing under load: as many in the log as were answered, or drops counted. Here none is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_every_request_is_in_the_log() {
    let facility = Arc::new(patient().await);
    let sender = facility.busy_sender().await;
    let client = reqwest::Client::new();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (facility, sender, client) = (Arc::clone(&facility), sender.clone(), client.clone());
            #[allow(clippy::disallowed_methods, reason = "a test's own task")]
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for n in 0..150 {
                    let token = if n % 10 == 3 { "not.a.token" } else { &sender.token };
                    let request = client
                        .post(format!("{}/v1/sensors/readings", facility.server.http_url))
                        .header("x-api-key", &sender.api_key)
                        .bearer_auth(token);
                    let answer = send(request.json(&batch("s", 1, now_s() - task * 1_000 - n))).await;
                    ids.push((answer.header("x-request-id").expect("an id").to_owned(), answer.status));
                }
                ids
            })
        })
        .collect();
    let mut served = HashSet::new();
    for task in tasks {
        served.extend(task.await.expect("no panic"));
    }
    let found = entries(&facility, &format!("integration_id={}&limit=200", sender.id)).await;
    let logged: HashSet<_> = found
        .iter()
        .map(|entry| (entry["request_id"].as_str().unwrap().to_owned(), entry["status"].as_u64().unwrap() as u16))
        .collect();
    assert_eq!(found.len(), logged.len(), "none is there twice");
    assert_eq!(logged, served);
    assert_eq!(metric(&facility, "sensorgate_request_log_dropped_total").await, 0);
}

// S299: where the queue is too small for the load, what is missing is counted, to the last one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_is_counted() {
    let small = [
        ("SENSORGATE__REQUEST_LOG__QUEUE_BYTES_MAX", "65536"),
        ("SENSORGATE__REQUEST_LOG__FLUSH_MS", "1500"),
        ("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "10000"),
    ];
    let facility = Facility::with(&small).await;
    let sender = facility.busy_sender().await;
    let name = "sensorgate_request_log_dropped_total";
    let mut served = 0;
    while metric(&facility, name).await == 0 {
        let client = reqwest::Client::new();
        let burst = (0..16).map(|_| {
            let (facility, sender, client) = (&facility, &sender, client.clone());
            async move {
                for _ in 0..100 {
                    let url = format!("{}/v1/nothing", facility.server.http_url);
                    let request = client.get(url).header("x-api-key", &sender.api_key).bearer_auth("x.y.z");
                    send(request).await.expect(401);
                }
            }
        });
        futures_util::future::join_all(burst).await;
        served += 1_600;
        assert!(served < 100_000, "the queue never filled");
    }
    let logged = entries(&facility, &format!("integration_id={}&limit=200", sender.id)).await.len() as u64;
    assert_eq!(logged + metric(&facility, name).await, served);
}

// A kill loses at most what was answered within the last second, and breaks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_the_last_second_at_most() {
    let mut facility = patient().await;
    let sender = facility.busy_sender().await;
    let mut written = Vec::new();
    for round in 0..3 {
        let answer = facility.ingest(&sender, &batch("s", 1, now_s() - round)).await.expect(200);
        written.push(answer.header("x-request-id").unwrap().to_owned());
        // A question makes sure that what was answered before it is written.
        explained(&facility, &written[written.len() - 1]).await;
        for n in 0..20 {
            facility.ingest(&sender, &batch("s", 5, now_s() - round * 100 - n)).await.expect(200);
        }
        facility.server.kill_9();
        facility.server.restart();
        for id in &written {
            assert_eq!(explained(&facility, id).await["stored"]["accepted"], 1);
        }
    }
    let found = entries(&facility, &format!("integration_id={}", sender.id)).await;
    assert!((3..=63).contains(&found.len()), "{}", found.len());
}

// A log that cannot be written from the start: readings are taken, the service is ready, and says what is degraded.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_work_stops_nothing() {
    let mut facility = patient().await;
    let sender = facility.busy_sender().await;
    facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    facility.server.terminate();
    for suffix in ["", "-wal", "-shm"] {
        let _absent = fs::remove_file(facility.server.data.join(format!("request-log.db{suffix}")));
    }
    fs::create_dir(facility.server.data.join("request-log.db")).unwrap();
    facility.server.restart();
    for n in 0..20 {
        facility.ingest(&sender, &batch("s", 5, now_s() - n)).await.expect(200);
    }
    let answer = facility.get("/admin/v1/request-log").await.expect(503);
    assert_eq!(answer.code(), "storage_unavailable");
    let ready = send(facility.client.get(format!("{}/readyz", facility.server.admin_url))).await.expect(200);
    assert_eq!(ready.json["degraded"][0]["component"], "request_log", "{}", ready.text);
    assert!(metric(&facility, "sensorgate_request_log_write_failures_total").await > 0);
    assert!(facility.server.log().contains("The API log cannot be written"));
    // Once it can be written, what was answered meanwhile is in it.
    fs::remove_dir(facility.server.data.join("request-log.db")).unwrap();
    assert_eq!(entries(&facility, &format!("integration_id={}", sender.id)).await.len(), 20);
}

// A file that is none is set aside, loudly, and a new one begins; nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_log_is_set_aside() {
    let mut facility = patient().await;
    facility.server.expect_error("The API log was broken");
    let sender = facility.busy_sender().await;
    facility.server.terminate();
    for suffix in ["-wal", "-shm"] {
        let _absent = fs::remove_file(facility.server.data.join(format!("request-log.db{suffix}")));
    }
    fs::write(facility.server.data.join("request-log.db"), vec![b'x'; 20_000]).unwrap();
    facility.server.restart();
    facility.ingest(&sender, &batch("s", 5, now_s())).await.expect(200);
    assert_eq!(entries(&facility, &format!("integration_id={}", sender.id)).await.len(), 1);
    assert_eq!(metric(&facility, "sensorgate_request_log_files_broken_total").await, 1);
}

// Switched off, nothing is logged, and what is there stays readable.
#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_still_answers() {
    let mut facility = patient().await;
    let sender = facility.busy_sender().await;
    facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    facility.server.terminate();
    facility.server.set("SENSORGATE__REQUEST_LOG__ENABLED", "false");
    facility.server.restart();
    facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    assert_eq!(entries(&facility, &format!("integration_id={}", sender.id)).await.len(), 1);
}

// S300: a message that a broker passes on is logged in the same form: attributed, with its counts and its cause.
#[tokio::test(flavor = "multi_thread")]
async fn cluster_mode_is_logged_in_the_same_form() {
    let Some(broker) = crate::support::broker::Mosquitto::start() else { return };
    let variables = [
        ("SENSORGATE__BRIDGE__ENABLED", "true"),
        ("SENSORGATE__BRIDGE__URL", &broker.url()),
        ("SENSORGATE__BRIDGE__RECONNECT_MS_MIN", "20"),
    ];
    let facility = Facility::with(&variables).await;
    let sender = facility.busy_sender().await;
    while send(facility.client.get(format!("{}/readyz", facility.server.admin_url))).await.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut gateway = Gateway::connect(broker.port, "gateway", None).await;
    gateway.send(&sender, &batch("s", 3, now_s())).await;
    let mut stale = sender.clone();
    stale.token = "not.a.token".to_owned();
    let properties = crate::support::gateway::credentials(&stale);
    gateway.publish(&readings(&sender), &json!({"readings": []}), properties).await;
    gateway.wait_for_acks(2).await;
    let query = format!("integration_id={}", sender.id);
    let found = loop {
        let found = entries(&facility, &query).await;
        if found.len() >= 2 {
            break found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let good = found.iter().find(|entry| entry["status"] == 200).expect("the good one");
    assert_eq!((&good["route"], &good["accepted"]), (&json!("bridge"), &json!(3)));
    let bad = found.iter().find(|entry| entry["status"] == 401).expect("the refused one");
    assert_eq!((&bad["transport"], &bad["key_prefix"]), (&json!("mqtt"), &json!(&sender.api_key[..16])));
    let explanation = explained(&facility, bad["request_id"].as_str().unwrap()).await;
    let failed = explanation["checks"].as_array().unwrap().iter().find(|check| check["verdict"] == "failed");
    assert_eq!(failed.map(|check| check["name"].clone()), Some(json!("token")));
}
