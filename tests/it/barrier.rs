//! A suspend, revoke or regenerate that has returned is a barrier.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::json;

use crate::support::{Facility, Integration, batch, now_s};

/// Sixteen writers that post one reading after the other until told to stop. Gives how many were accepted by
/// requests that started after the barrier.
async fn accepted_after(facility: Arc<Facility>, sender: Integration, cut: impl AsyncFnOnce(&Facility)) -> usize {
    let (stop, down) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let late = Arc::new(AtomicUsize::new(0));
    let early = Arc::new(AtomicUsize::new(0));
    let mut writers = Vec::new();
    for writer in 0..16 {
        let (facility, sender) = (facility.clone(), sender.clone());
        let (stop, down, late, early) = (stop.clone(), down.clone(), late.clone(), early.clone());
        #[allow(clippy::disallowed_methods)]
        writers.push(tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                n += 1;
                let after = down.load(Ordering::SeqCst);
                let answer = facility.ingest(&sender, &batch("s", 1, now_s() - writer * 1_000 - n)).await;
                if answer.status == 200 {
                    if after { &late } else { &early }.fetch_add(1, Ordering::SeqCst);
                }
            }
        }));
    }
    while early.load(Ordering::SeqCst) < 200 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    cut(&facility).await;
    down.store(true, Ordering::SeqCst);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("no panic");
    }
    late.load(Ordering::SeqCst)
}

async fn facility() -> (Arc<Facility>, Integration) {
    let facility = Facility::with(&[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "1000000")]).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    facility.limit(&sender, 10_000).await;
    (Arc::new(facility), sender)
}

// S112, S113, S115: no request that starts after the answer is accepted, under load and with a warm cache.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspend_that_has_returned_lets_nothing_through() {
    let (facility, sender) = facility().await;
    let path = format!("/admin/v1/integrations/{}/suspend", sender.id);
    let late = accepted_after(facility.clone(), sender.clone(), async |facility: &Facility| {
        let answer = facility.post(&path, json!({"reason": "drill"})).await.expect(200);
        assert!(answer.json["cut"]["requests"].is_u64(), "{}", answer.text);
    })
    .await;
    assert_eq!(late, 0);
    assert_eq!(facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(401).code(), "unauthorized");
}

// S140, S170
#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_that_has_returned_lets_nothing_through() {
    let (facility, sender) = facility().await;
    let path = format!("/admin/v1/integrations/{}/revoke", sender.id);
    let late = accepted_after(facility.clone(), sender.clone(), async |facility: &Facility| {
        facility.post(&path, json!({})).await.expect(200);
    })
    .await;
    assert_eq!(late, 0);
}

// S201, S202: the old key is dead the moment the new one is shown; the new one works with the same token.
#[tokio::test(flavor = "multi_thread")]
async fn a_regenerate_that_has_returned_lets_only_the_new_key_through() {
    let (facility, sender) = facility().await;
    let path = format!("/admin/v1/integrations/{}/api-key", sender.id);
    let key = Arc::new(std::sync::Mutex::new(String::new()));
    let shown = key.clone();
    let late = accepted_after(facility.clone(), sender.clone(), async move |facility: &Facility| {
        let answer = facility.post(&path, json!({"cause": "routine_rotation"})).await.expect(200);
        *shown.lock().unwrap() = answer.json["api_key"].as_str().unwrap().to_owned();
    })
    .await;
    assert_eq!(late, 0);
    let renewed = Integration { api_key: key.lock().unwrap().clone(), ..sender };
    facility.ingest(&renewed, &batch("s", 1, now_s())).await.expect(200);
}

// S121, S125, S126, S130–S133: reactivation needs another administrator and gives a new key; the old stays dead.
#[tokio::test]
async fn after_reactivation_by_another_only_the_new_credentials_work() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let path = |action: &str| format!("/admin/v1/integrations/{}/{action}", sender.id);
    facility.post(&path("suspend"), json!({"reason": "drill"})).await.expect(200);
    let own = facility.post(&path("reactivate"), json!({})).await.expect(403);
    assert_eq!(own.code(), "self_reactivation");
    let answer = facility.post_as_bob(&path("reactivate"), json!({})).await.expect(200);
    let renewed = facility.credentials(sender.id.clone(), &answer).await;
    facility.ingest(&renewed, &batch("s", 1, now_s())).await.expect(200);
    facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(401);
}
