//! kill -9, restart, SIGTERM: nothing acked is lost, nothing is stored twice.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{sync::RwLock, task::JoinHandle};

use crate::support::{Facility, Integration, batch, now_s};

async fn facility() -> (Facility, Integration) {
    let facility = Facility::new().await;
    let sender = facility.busy_sender().await;
    (facility, sender)
}

// S262, S269: after the answer, kill -9 and a restart the readings are there, once.
#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let (mut facility, sender) = facility().await;
    let last_s = now_s();
    for round in 0..5 {
        facility.ingest(&sender, &batch("s", 500, last_s - round * 500)).await.expect(200);
        facility.server.kill_9();
        facility.server.restart();
        facility.ingest(&sender, &batch("s", 500, last_s - round * 500)).await.expect(200);
    }
    let stored = facility.stored(&sender, "s", "temperature", 2_500).await;
    assert_eq!(stored.len(), 2_500);
    assert!(stored.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
}

/// Eight writers of `batches` batches each, from `first_s` on. Each ends when it is not answered any more or with the
/// `last` status, and gives the seconds of the newest readings that were acked. Another status than 200 is a failure.
fn writers(
    facility: &Arc<RwLock<Facility>>,
    sender: &Integration,
    batches: i64,
    first_s: i64,
    last: Option<StatusCode>,
) -> Vec<JoinHandle<Vec<i64>>> {
    let writer = |writer: i64| {
        let (facility, sender) = (facility.clone(), sender.clone());
        async move {
            let mut acked = Vec::new();
            for n in 0..batches {
                let last_s = first_s + (writer * batches + n) * 10 + 9;
                let facility = facility.read().await;
                let request = facility.request(&sender, Method::POST, "/v1/sensors/readings");
                match request.json(&batch("s", 10, last_s)).send().await {
                    Ok(answer) if answer.status() == 200 => acked.push(last_s),
                    Ok(answer) if Some(answer.status()) == last => break,
                    Ok(answer) => panic!("{}", answer.status()),
                    Err(_) => break,
                }
            }
            acked
        }
    };
    #[allow(clippy::disallowed_methods, reason = "a test's own task")]
    (0..8).map(|number| tokio::spawn(writer(number))).collect()
}

// S262: killed at random under load: every acked reading is there once; of the others none is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_and_double_nothing() {
    let (facility, sender) = facility().await;
    let (first_s, facility) = (now_s() - 100_000, Arc::new(RwLock::new(facility)));
    let mut acked: Vec<i64> = Vec::new();
    for round in 0..3 {
        let writers = writers(&facility, &sender, 400, first_s + round * 8 * 4_000, None);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let id = facility.read().await.server.id();
        assert!(std::process::Command::new("kill").args(["-9", &id.to_string()]).status().unwrap().success());
        for writer in writers {
            acked.extend(writer.await.expect("no panic"));
        }
        let mut facility = facility.write().await;
        facility.server.kill_9();
        facility.server.restart();
    }
    let facility = facility.read().await;
    assert!(acked.len() > 20, "the kills came too early to prove anything: {}", acked.len());
    let stored = facility.stored(&sender, "s", "temperature", acked.len() * 10).await;
    assert!(stored.windows(2).all(|pair| pair[0].0 < pair[1].0), "a reading stands twice");
    let times: std::collections::HashSet<i64> = stored.iter().map(|(at, _)| *at).collect();
    let lost: Vec<i64> = acked.iter().flat_map(|last| last - 9..=*last).filter(|at| !times.contains(at)).collect();
    assert!(lost.is_empty(), "{} acked readings are lost", lost.len());
}

// H11: SIGTERM under load: what was answered is there after the next start, and the exit is clean.
#[tokio::test(flavor = "multi_thread")]
async fn a_termination_under_load_loses_nothing() {
    let (facility, sender) = facility().await;
    let (first_s, facility) = (now_s() - 100_000, Arc::new(RwLock::new(facility)));
    let writers = writers(&facility, &sender, 1_000, first_s, Some(StatusCode::SERVICE_UNAVAILABLE));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    facility.read().await.server.signal("TERM");
    let mut acked: Vec<i64> = Vec::new();
    for writer in writers {
        acked.extend(writer.await.expect("no panic"));
    }
    let mut facility = facility.write().await;
    assert!(facility.server.ended().success(), "one SIGTERM is enough; a second one would hurry it");
    facility.server.restart();
    assert!(acked.len() > 20, "{}", acked.len());
    let stored = facility.stored(&sender, "s", "temperature", acked.len() * 10).await;
    let times: std::collections::HashSet<i64> = stored.iter().map(|(at, _)| *at).collect();
    assert!(acked.iter().flat_map(|last| last - 9..=*last).all(|at| times.contains(&at)), "an acked reading is lost");
}

// H11: SIGTERM finishes what is in flight and ends with success.
#[tokio::test]
async fn a_termination_is_graceful() {
    let (mut facility, sender) = facility().await;
    facility.ingest(&sender, &batch("s", 500, now_s())).await.expect(200);
    assert!(facility.server.terminate().success());
    facility.server.restart();
    assert_eq!(facility.stored(&sender, "s", "temperature", 500).await.len(), 500);
}

// S152: an acknowledged transition survives kill -9.
#[tokio::test]
async fn an_acknowledged_suspend_survives_a_kill() {
    let (mut facility, sender) = facility().await;
    let path = format!("/admin/v1/integrations/{}/suspend", sender.id);
    facility.post(&path, json!({"reason": "drill"})).await.expect(200);
    facility.server.kill_9();
    facility.server.restart();
    facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(401);
}
