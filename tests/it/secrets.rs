//! What is shown once, and kept nowhere.

use std::{fs, path::Path};

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Facility, batch, facility::send, now_s};

/// Files of `folder` and below that contain one of `needles`.
fn holding(folder: &Path, needles: &[&[u8]]) -> Vec<String> {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok).filter(|entry| entry.path().is_file());
    let contains = |bytes: &[u8]| needles.iter().any(|needle| bytes.windows(needle.len()).any(|part| part == *needle));
    files
        .filter(|entry| fs::read(entry.path()).is_ok_and(|bytes| contains(&bytes)))
        .map(|entry| entry.path().display().to_string())
        .collect()
}

fn is_uncached(answer: &Answer) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{}", answer.text);
}

// S084, S085, S193, S194, S195, S196, S197, S207: a key is shown by activation, regeneration and reactivation, once, and
// never kept by a cache; a second later the detail shows its prefix; the files have its SHA-256 and nothing of itself;
// any holder of the permission may regenerate it, alone.
#[tokio::test]
async fn a_key_is_shown_once_and_its_digest_is_all_that_is_kept() {
    let facility = Facility::new().await;
    let id = facility.requested(&["sensors:write"]).await;
    let path = format!("/admin/v1/integrations/{id}");
    let approved = facility.post_as_bob(&format!("{path}/approve"), json!({})).await.expect(200);
    assert!(!approved.text.contains("grq_live_"));
    let activated = facility.post(&format!("{path}/activate"), json!({})).await.expect(200);
    let by_bob = facility.post_as_bob(&format!("{path}/api-key"), json!({"cause": "staff left"})).await.expect(200);
    let by_alice = facility.post(&format!("{path}/api-key"), json!({})).await.expect(200);
    facility.post(&format!("{path}/suspend"), json!({"reason": "a drill"})).await.expect(200);
    let reactivated = facility.post_as_bob(&format!("{path}/reactivate"), json!({})).await.expect(200);
    let mut secrets = Vec::new();
    for answer in [&activated, &by_bob, &by_alice, &reactivated] {
        is_uncached(answer);
        let place = if answer.json["credentials"].is_object() { &answer.json["credentials"] } else { &answer.json };
        let key = place["api_key"].as_str().expect("the whole key");
        assert_eq!(place["key_prefix"], key[..16]);
        secrets.push(key.to_owned());
        secrets.extend(place["client_secret"].as_str().map(str::to_owned));
    }
    let shown = facility.get(&path).await.expect(200);
    assert_eq!(shown.json["key_prefix"], reactivated.json["credentials"]["key_prefix"]);
    // Everything that can be read, in every form, tells none of them.
    for path in
        [&path, &format!("{path}/history"), "/admin/v1/integrations", "/admin/v1/audit-log?limit=200", "/metrics"]
    {
        let text = facility.get(path).await.expect(200).text;
        assert!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "{path}");
    }
    let data = facility.server.data.clone();
    let needles: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_bytes()).collect();
    assert_eq!(holding(&data, &needles), Vec::<String>::new());
    assert!(!secrets.iter().any(|secret| facility.server.log().contains(secret.as_str())));
    let live = reactivated.json["credentials"]["api_key"].as_str().expect("a key");
    assert!(
        !holding(&data, &[digest(&SHA256, live.as_bytes()).as_ref()]).is_empty(),
        "its digest is what a key is known by"
    );
}

// S212: with everything logged that can be, at most the prefix of a key stands in the log.
#[tokio::test]
async fn no_credential_in_the_log_however_much_is_logged() {
    let facility = Facility::with(&[("SENSORGATE__TELEMETRY__LOG_FILTER", "trace")]).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    facility.ingest(&sender, &batch("s", 2, now_s())).await.expect(200);
    let mut wrong = sender.clone();
    wrong.token.insert(wrong.token.len() - 10, 'x');
    facility.ingest(&wrong, &batch("s", 2, now_s())).await.expect(401);
    let query = format!("/v1/sensors/readings?api_key={}", sender.api_key);
    send(facility.request(&sender, Method::POST, &query).json(&batch("s", 1, now_s()))).await.expect(200);
    let again = json!({"email": "alice@example.org", "password": "wrong horse battery staple"});
    send(facility.client.post(format!("{}/admin/v1/login", facility.server.admin_url)).json(&again)).await.expect(401);
    let log = facility.server.log();
    let secrets = [&sender.api_key, &sender.token, &sender.client_secret, &wrong.token, &facility.alice];
    let passwords = [facility.passwords[0].as_str(), "wrong horse battery staple"];
    for secret in secrets.into_iter().map(String::as_str).chain(passwords) {
        assert!(!log.contains(secret), "{}…", &secret[..9]);
    }
    assert!(log.contains(" TRACE ") || log.contains(" DEBUG "), "there is a log to look at");
}

// S208, A2: of two regenerations at once one key is live, and it is the one that was shown last.
#[tokio::test]
async fn two_regenerations_leave_one_key() {
    let facility = Facility::new().await;
    let sender = facility.busy_sender().await;
    let path = format!("/admin/v1/integrations/{}/api-key", sender.id);
    let none = json!({});
    let (one, two) = tokio::join!(facility.post(&path, none.clone()), facility.post_as_bob(&path, none));
    let key = |answer: &Value| answer["api_key"].as_str().expect("a key").to_owned();
    let mut live = 0;
    for key in [key(&one.expect(200).json), key(&two.expect(200).json), sender.api_key.clone()] {
        let mut pair = sender.clone();
        pair.api_key = key;
        live += usize::from(facility.ingest(&pair, &batch("s", 1, now_s())).await.status == 200);
    }
    assert_eq!(live, 1);
}
