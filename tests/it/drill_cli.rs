//! The incident drill of the security article, from the command line alone (S313): suspend, look, take new credentials,
//! hand over request ids, and come back by somebody else's hand.

use std::path::Path;

use serde_json::Value;

use crate::support::{Facility, Integration, batch, cli::Cli, now_s};

const NAME: &str = "Climate computer";

/// Sends one batch with these credentials; the status, and the request id of the answer.
async fn send_batch(facility: &Facility, sender: &Integration) -> (u16, String) {
    let answer = facility.ingest(sender, &batch("AA:BB:01", 3, now_s())).await;
    (answer.status, answer.header("X-Request-Id").expect("a request id").to_owned())
}

/// The credentials in the lines of a card, with a token made from them.
async fn with_secret(facility: &Facility, sender: &Integration, key: &str, client_secret: &str) -> Integration {
    let token = facility.token(&sender.client_id, client_secret).await;
    let (api_key, client_secret) = (key.to_owned(), client_secret.to_owned());
    Integration { token, api_key, client_secret, ..sender.clone() }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("the export")
}

// S313, S314, S128, S290, S295, S298, S326: the drill of the security article.
#[tokio::test(flavor = "multi_thread")]
async fn the_incident_drill_runs_from_the_command_line() {
    let facility = Facility::with(&[("SENSORGATE__WEBHOOK__ALLOW_PRIVATE_TARGETS", "true")]).await;
    let [alice, bob] = Cli::of(&facility);
    let sender = facility.active(&["sensors:write"]).await;
    // Nobody listens there: the delivery log has to say so.
    let hook = "http://127.0.0.1:1/hook";
    let subscribed = alice.ok(&["webhooks", "create", NAME, "--target", hook, "--events", "integration.suspended"]);
    let old_secret = subscribed.line("secret").to_owned();
    alice.ok(&["webhooks", "test", NAME, hook]);
    let attempted = |answer: &Value| answer["items"][0]["attempts"].as_array().is_some_and(|all| !all.is_empty());
    alice.until(&["webhooks", "deliveries", NAME, hook], attempted);
    facility.sensor(&sender, "AA:BB:01").await;
    let (status, good) = send_batch(&facility, &sender).await;
    assert_eq!(status, 200);

    // 1. Suspend at once, with the reason.
    let reason = "Calls from an unknown address";
    let words = ["integrations", "suspend", NAME, "--category", "security_concern", "--reason", reason, "--yes"];
    assert_eq!(alice.json(&words)["status"], "suspended");
    let (status, bad) = send_batch(&facility, &sender).await;
    assert_eq!(status, 401);

    // 2. Look at the integration's requests: both are there, the refused one with its exact cause.
    let list = ["logs", "list", "--integration", NAME, "--from", "1h"];
    let seen = alice.until(&list, |answer| answer["items"].as_array().is_some_and(|items| items.len() >= 2));
    let find = |id: &str| seen["items"].as_array().unwrap().iter().find(|entry| entry["request_id"] == id).cloned();
    let refused = find(&bad).expect("the refused request, attributed to the integration");
    assert_eq!(refused["cause"], "integration_not_active", "{refused}");
    assert_eq!(find(&good).expect("the good request")["status"], 200);
    let explained = alice.ok(&["logs", "show", &bad]);
    assert!(explained.out.contains('✗') && explained.out.contains("What you can do"), "{explained:?}");
    let addresses = alice.ok(&["logs", "addresses", "--integration", NAME, "--from", "1h"]);
    assert!(addresses.out.contains("127.0.0.1"), "{addresses:?}");

    // 3. The delivery log says where payloads went.
    let deliveries = alice.json(&["webhooks", "deliveries", NAME, hook]).to_string();
    assert!(deliveries.contains(hook) && deliveries.contains("127.0.0.1"), "{deliveries}");

    // 4. New credentials while nobody can use them: a signing secret, and a staged key.
    let secret = alice.ok(&["webhooks", "secret", NAME, hook, "--yes"]);
    assert!(secret.line("secret").starts_with("whsec_") && secret.line("secret") != old_secret, "another one");
    assert!(!secret.err.contains(secret.line("secret")), "on standard output alone");
    let regenerated = alice.ok(&["integrations", "regenerate-key", NAME, "--reason", "Incident", "--yes"]);
    let new_key = regenerated.line("api_key").to_owned();
    let staged = Integration { api_key: new_key.clone(), ..sender.clone() };
    assert_eq!(send_batch(&facility, &staged).await.0, 401, "a staged key is dead until the reactivation");

    // 5. The request ids, for the support team.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("requests.csv");
    let file = file.to_str().expect("UTF-8");
    alice.ok(&["logs", "export", "--integration", NAME, "--from", "1h", "--file", file]);
    let exported = read(folder.path(), "requests.csv");
    assert!(exported.contains(&good) && exported.contains(&bad), "{exported}");
    assert!(!exported.contains(&sender.api_key) && !exported.contains(&new_key), "no secret leaves with them");

    // 6. Somebody else reactivates, with the key that was handed out.
    let alone = alice.run(&["integrations", "reactivate", NAME, "--keep-staged", "--yes"]).expect(1);
    assert!(alone.err.contains("self_reactivation"), "{alone:?}");
    let back = bob.ok(&["integrations", "reactivate", NAME, "--keep-staged", "--yes"]);
    assert!(!back.out.contains("grq_live_") || back.line("key_prefix").len() < new_key.len(), "shown once: {back:?}");
    let renewed = with_secret(&facility, &sender, &new_key, &sender.client_secret).await;
    assert_eq!(send_batch(&facility, &renewed).await.0, 200, "the new key works");
    assert_eq!(send_batch(&facility, &Integration { api_key: sender.api_key.clone(), ..renewed }).await.0, 401);

    // It stands in the history, by whom and why, and the log is whole.
    let history = bob.json(&["integrations", "history", NAME]);
    let actions: Vec<&Value> = history["items"].as_array().unwrap().iter().map(|entry| &entry["reason"]).collect();
    assert!(actions.iter().any(|given| *given == reason), "{history}");
    assert_eq!(bob.json(&["audit", "verify"])["ok"], true);
}
