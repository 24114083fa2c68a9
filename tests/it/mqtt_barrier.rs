//! A change that shuts a session out ends it before the administrator is answered (S113, `api.md` §2), and nothing of
//! it is acknowledged or stored afterwards.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Facility, Integration, batch, five::Five, now_s};

const ADMINISTRATIVE_ACTION: u8 = 0x98;
const NOT_AUTHORIZED: u8 = 0x87;
const BAD_CREDENTIALS: u8 = 0x86;

async fn facility() -> (Facility, Integration, Integration) {
    let facility = Facility::with(&[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "1000000")]).await;
    let (one, other) = (facility.busy_sender().await, facility.busy_sender().await);
    (facility, one, other)
}

/// An administrator's change of an integration, and what it ends sessions with.
struct Change {
    method: Method,
    path: &'static str,
    body: Value,
    reason: u8,
    /// The code of a reconnect.
    refused: u8,
}

fn changes() -> [Change; 5] {
    let change = |method, path, body, reason, refused| Change { method, path, body, reason, refused };
    let reason = json!({"reason": "drill"});
    let elsewhere = json!({"enabled": true, "entries": ["192.0.2.0/24"]});
    [
        change(Method::POST, "/suspend", reason.clone(), ADMINISTRATIVE_ACTION, BAD_CREDENTIALS),
        change(Method::POST, "/revoke", reason, ADMINISTRATIVE_ACTION, BAD_CREDENTIALS),
        change(Method::POST, "/api-key", json!({"cause": "drill"}), ADMINISTRATIVE_ACTION, BAD_CREDENTIALS),
        change(Method::PATCH, "", json!({"scopes": ["equipment:read"]}), NOT_AUTHORIZED, NOT_AUTHORIZED),
        change(Method::PUT, "/ip-allowlist", elsewhere, ADMINISTRATIVE_ACTION, NOT_AUTHORIZED),
    ]
}

async fn apply(facility: &Facility, sender: &Integration, change: &Change) -> Answer {
    let path = format!("/admin/v1/integrations/{}{}", sender.id, change.path);
    facility.admin(&facility.alice, change.method.clone(), &path, Some(change.body.clone())).await.expect(200)
}

// S097, S114, S140, S209, S251: whatever shuts an integration out shuts its sessions out, too.
// S113, emqx's revoked user whose connection lives on: idle sessions are over when the call returns, and counted; a
// reconnect is refused; the other integration notices nothing.
#[tokio::test(flavor = "multi_thread")]
async fn each_change_ends_live_sessions_before_it_returns() {
    for change in changes() {
        let (facility, one, other) = facility().await;
        let mut sessions = Vec::new();
        for n in 0..20 {
            sessions.push(Five::open(&facility.server, &one, &format!("gateway-{n}")).await);
        }
        let mut untouched = Five::open(&facility.server, &other, "gateway-0").await;
        let answer = apply(&facility, &one, &change).await;
        if ["/suspend", "/revoke"].contains(&change.path) {
            assert_eq!(answer.json["cut"]["sessions"], 20, "{}", answer.text);
        }
        let returned = Instant::now();
        for session in sessions {
            assert_eq!(session.end().await, (Vec::new(), Some(change.reason)), "{}", change.path);
        }
        assert!(returned.elapsed() < Duration::from_secs(1), "they were over already");
        let again = Five::try_open(&facility.server, &one, "gateway-0").await;
        assert_eq!(again.err(), Some(change.refused), "{}", change.path);
        untouched.ping().await;
        let body = batch("s", 1, now_s()).to_string();
        assert_eq!(untouched.exchange(1, &body).await, 0);
    }
}

// S112, S113, S115: under load and in the middle of it, nothing is acknowledged after the call has returned, and
// everything that was is stored.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_a_suspend_that_has_returned_lets_nothing_through() {
    let (facility, one, _) = facility().await;
    let down = Arc::new(AtomicBool::new(false));
    let mut senders = Vec::new();
    for n in 0..8_u16 {
        let mut session = Five::open(&facility.server, &one, &format!("gateway-{n}")).await;
        let down = Arc::clone(&down);
        #[allow(clippy::disallowed_methods)]
        senders.push(tokio::spawn(async move {
            let first_s = now_s() - 400_000 + i64::from(n) * 20_000;
            let (mut acked, mut late) = (0_u16, 0);
            for id in 1..=5_000 {
                let body = batch("s", 1, first_s + i64::from(id)).to_string();
                let after = down.load(Ordering::SeqCst);
                match session.try_exchange(id, &body).await {
                    Some(_) if after => late += 1,
                    Some(reason) => {
                        assert_eq!(reason, 0);
                        acked = id;
                    }
                    None => break,
                }
            }
            (first_s, acked, late)
        }));
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let path = format!("/admin/v1/integrations/{}/suspend", one.id);
    let answer = facility.post(&path, json!({"reason": "drill"})).await.expect(200);
    down.store(true, Ordering::SeqCst);
    assert_eq!(answer.json["cut"]["sessions"], 8, "{}", answer.text);
    let mut acknowledged = Vec::new();
    for sender in senders {
        let (first_s, acked, late) = sender.await.expect("no panic");
        assert_eq!(late, 0);
        assert!(acked > 0);
        acknowledged.extend((1..=i64::from(acked)).map(|id| first_s + id));
    }
    let stored = facility.stored(&one, "s", "temperature", acknowledged.len()).await;
    let times: HashSet<i64> = stored.iter().map(|(at, _)| *at).collect();
    assert!(acknowledged.iter().all(|at| times.contains(at)), "an acknowledged reading is lost");
    // What was stored and not acknowledged any more was stored before: at most one batch of each session.
    let most = acknowledged.len() + 8;
    assert!(stored.len() <= most, "{} acknowledged, {} stored", acknowledged.len(), stored.len());
}
