//! The incident drill of the security article, by API (S313); afterwards every file is searched for what was secret.

use std::{fs, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Facility, Integration, batch, now_s, receiver::Receiver};

const NEAR: &[(&str, &str)] = &[
    ("SENSORGATE__WEBHOOK__ALLOW_PRIVATE_TARGETS", "true"),
    ("SENSORGATE__WEBHOOK__POLL_MS", "50"),
    ("SENSORGATE__TELEMETRY__LOG_FILTER", "debug"),
];

async fn send_batch(facility: &Facility, sender: &Integration) -> (u16, String) {
    let answer = facility.ingest(sender, &batch("AA:BB:01", 3, now_s())).await;
    (answer.status, answer.header("X-Request-Id").expect("a request id").to_owned())
}

/// The answer of `path` once it is as wanted.
async fn until(facility: &Facility, path: &str, is_there: impl Fn(&Answer) -> bool) -> Answer {
    for _ in 0..200 {
        let answer = facility.get(path).await.expect(200);
        if is_there(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not seen: {}", facility.get(path).await.text)
}

/// Files below the data directory, and the server's log, that hold one of `secrets`.
fn holding(facility: &Facility, secrets: &[String]) -> Vec<String> {
    let files = walkdir::WalkDir::new(&facility.server.data).into_iter().map(|entry| entry.expect("a readable folder"));
    let holds = |bytes: &[u8]| secrets.iter().any(|s| bytes.windows(s.len()).any(|part| part == s.as_bytes()));
    let mut found: Vec<String> = files
        .filter(|entry| entry.file_type().is_file() && fs::read(entry.path()).is_ok_and(|bytes| holds(&bytes)))
        .map(|entry| entry.path().display().to_string())
        .collect();
    found.extend(holds(facility.server.log().as_bytes()).then(|| "the server's log".to_owned()));
    found
}

// S313, S314, S085, S128, S204, S290, S291, S292, S293, S295, S303, S304, S306, S308: the six steps, then the files.
#[tokio::test(flavor = "multi_thread")]
async fn the_incident_drill_runs_by_api() {
    let facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "AA:BB:01").await;
    let receiver = Receiver::start().await;
    let path = format!("/admin/v1/integrations/{}", sender.id);
    let events = json!({"url": receiver.url(), "events": ["equipment.created"]});
    let hook = facility.post(&format!("{path}/webhooks"), events).await.expect(201);
    let wid = hook.json["id"].as_str().expect("an id").to_owned();
    let old_secret = hook.json["secret"].as_str().expect("a secret").to_owned();
    facility.sensor(&sender, "AA:BB:02").await;
    receiver.wait_for(1).await;
    let (status, good) = send_batch(&facility, &sender).await;
    assert_eq!(status, 200);
    let (status, foreign) = {
        let answer =
            facility.ingest(&Integration { api_key: "grq_live_no".into(), ..sender.clone() }, &json!([])).await;
        (answer.status, answer.header("X-Request-Id").expect("a request id").to_owned())
    };
    assert_eq!(status, 401);

    // 1. Suspend at once, with the reason.
    let reason = "Calls from an unknown address";
    let suspended = facility.post(&format!("{path}/suspend"), json!({"reason": reason})).await.expect(200);
    assert_eq!(suspended.json["status"], "suspended");
    let (status, bad) = send_batch(&facility, &sender).await;
    assert_eq!(status, 401);

    // 2. The requests of the integration: volumes, addresses, scopes, hours.
    let logs = format!("/admin/v1/request-log?integration_id={}", sender.id);
    let seen = until(&facility, &logs, |seen| seen.text.contains(&bad) && seen.text.contains(&good)).await;
    let items = seen.json["items"].as_array().expect("items");
    let entry = |id: &str| items.iter().find(|entry| entry["request_id"] == id).cloned().expect("its entry");
    assert_eq!(entry(&bad)["cause"], "integration_not_active", "{}", seen.text);
    assert_eq!((&entry(&good)["status"], &entry(&good)["scope"]), (&json!(200), &json!("sensors:write")));
    assert!(!items.iter().any(|entry| entry["request_id"] == foreign), "a stranger's request is nobody's");
    let explained = facility.get(&format!("/admin/v1/request-log/{bad}")).await.expect(200);
    let checks = explained.json["checks"].as_array().expect("checks");
    assert!(checks.iter().any(|check| check["verdict"] == "failed"), "{}", explained.text);
    let hour_ago = jiff::Timestamp::from_second(now_s() - 3_600).expect("a time");
    for call in ["counts", "addresses", "hours"] {
        let about = format!("/admin/v1/request-log/{call}?integration_id={}&from={hour_ago}", sender.id);
        let told = facility.get(&about).await.expect(200);
        assert!(!told.json["items"].as_array().expect("items").is_empty(), "{call}: {}", told.text);
    }

    // 3. The delivery log of the subscription: nothing went elsewhere.
    let deliveries = facility.get(&format!("{path}/webhooks/{wid}/deliveries")).await.expect(200);
    for delivery in deliveries.json["items"].as_array().expect("deliveries") {
        for attempt in delivery["attempts"].as_array().expect("attempts") {
            assert_eq!((&attempt["target"], &attempt["address"]), (&json!(receiver.url()), &json!("127.0.0.1")));
        }
    }

    // 4. A new key and a new signing secret, apart from each other; neither works before the reactivation.
    let key = facility.post(&format!("{path}/api-key"), json!({"cause": "suspected compromise"})).await.expect(200);
    let new_key = key.json["api_key"].as_str().expect("a key").to_owned();
    let renewed = Integration { api_key: new_key.clone(), ..sender.clone() };
    assert_eq!(send_batch(&facility, &renewed).await.0, 401);
    let secret = facility.post(&format!("{path}/webhooks/{wid}/secret"), json!({})).await.expect(200);
    let new_secret = secret.json["secret"].as_str().expect("a secret").to_owned();
    assert_ne!(old_secret, new_secret);

    // 5. The request ids, for the support team; and the server's own log has them too.
    let exported = facility.get(&format!("{logs}&format=csv")).await.expect(200);
    assert!(exported.text.contains(&good) && exported.text.contains(&bad), "{}", exported.text);
    assert!(facility.server.log().contains(&bad));

    // 6. Somebody else reactivates; the key that was handed out works, the old one never again.
    let keep = json!({"credentials": "keep_staged"});
    let alone = facility.post(&format!("{path}/reactivate"), keep.clone()).await.expect(403);
    assert_eq!(alone.code(), "self_reactivation");
    let back = facility.post_as_bob(&format!("{path}/reactivate"), keep).await.expect(200);
    assert_eq!(back.json["status"], "active");
    let token = facility.token(&sender.client_id, &sender.client_secret).await;
    let renewed = Integration { token, ..renewed };
    assert_eq!(send_batch(&facility, &renewed).await.0, 200);
    let superseded = Integration { api_key: sender.api_key.clone(), ..renewed.clone() };
    assert_eq!(send_batch(&facility, &superseded).await.0, 401);
    facility.sensor(&sender, "AA:BB:03").await;
    let came = receiver.wait_for(2).await;
    assert_eq!(came.last().expect("a delivery").json()["data"]["equipment"][0]["external_id"], "AA:BB:03");

    // It stands in the history, the log is whole, and no file holds what was secret.
    let history = facility.get(&format!("{path}/history?limit=200")).await.expect(200);
    let reasons: Vec<&Value> =
        history.json["items"].as_array().expect("items").iter().map(|one| &one["reason"]).collect();
    assert!(reasons.iter().any(|given| **given == reason), "{}", history.text);
    assert_eq!(facility.get("/admin/v1/audit-log/verify").await.expect(200).json["ok"], true);
    let mut secrets = vec![sender.api_key, sender.client_secret, new_key, old_secret, new_secret];
    secrets.extend([sender.token, renewed.token, facility.alice.clone(), facility.bob.clone()]);
    secrets.extend(facility.passwords.clone());
    let bare: Vec<String> = secrets.iter().filter_map(|s| s.strip_prefix("whsec_").map(str::to_owned)).collect();
    secrets.extend(bare);
    assert_eq!(holding(&facility, &secrets), Vec::<String>::new());
    let probe = facility.admin(&facility.alice, Method::GET, &path, None).await.expect(200);
    let prefix = probe.json["key_prefix"].as_str().expect("a prefix").to_owned();
    assert!(!holding(&facility, &[prefix]).is_empty(), "the search finds what is there");
}
