//! Webhooks at the socket: a subscriber that is not ours takes what the real binary sends.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Facility, Integration, batch,
    facility::send,
    now_s,
    receiver::{Receiver, Reply},
};

/// Targets on this machine are allowed, and nobody waits for minutes.
const NEAR: &[(&str, &str)] = &[
    ("SENSORGATE__WEBHOOK__ALLOW_PRIVATE_TARGETS", "true"),
    ("SENSORGATE__WEBHOOK__RETRY_AFTER_S", "[1, 1]"),
    ("SENSORGATE__WEBHOOK__POLL_MS", "50"),
    ("SENSORGATE__WEBHOOK__NOTICE_MS", "200"),
    ("SENSORGATE__WEBHOOK__TIMEOUT_MS", "2000"),
];

fn of(integration: &Integration) -> String {
    format!("/admin/v1/integrations/{}/webhooks", integration.id)
}

/// Subscribes as Alice.
async fn subscribe(facility: &Facility, integration: &Integration, url: &str, events: &[&str]) -> Answer {
    facility.post(&of(integration), json!({"url": url, "events": events})).await
}

fn id(answer: &Answer) -> String {
    answer.json["id"].as_str().expect("an id").to_owned()
}

async fn deliveries(facility: &Facility, integration: &Integration, webhook: &str) -> Vec<Value> {
    let path = format!("{}/{webhook}/deliveries", of(integration));
    facility.get(&path).await.expect(200).json["items"].as_array().expect("items").clone()
}

/// The newest delivery, once it is in this state.
async fn in_state(facility: &Facility, integration: &Integration, webhook: &str, state: &str) -> Value {
    let mut seen = Vec::new();
    for _ in 0..600 {
        seen = deliveries(facility, integration, webhook).await;
        if seen.first().is_some_and(|newest| newest["state"] == state) {
            return seen[0].clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{state} was awaited: {seen:#?}");
}

async fn admin(facility: &Facility, method: Method, path: &str, body: Value) -> Answer {
    facility.admin(&facility.alice, method, path, Some(body)).await
}

/// A call of the integration itself.
async fn own(facility: &Facility, who: &Integration, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = facility.request(who, method, path);
    send(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

// S303, S304, S307: an event of a change reaches its subscriber, signed, and the log says where it went.
#[tokio::test]
async fn a_change_reaches_its_subscriber() {
    let facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    let receiver = Receiver::start().await;
    let url = format!("{}?token=theirs", receiver.url());
    let made = subscribe(&facility, &sender, &url, &["equipment.created"]).await.expect(201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!(made.header("location"), Some(format!("{}/{}", of(&sender), id(&made)).as_str()));
    let secret = made.json["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    let sensor = facility.sensor(&sender, "s1").await;
    let came = receiver.wait_for(1).await.remove(0);
    assert_eq!((came.path.as_str(), came.event().as_str()), ("/hook?token=theirs", "equipment.created"));
    assert_eq!(came.json()["data"]["equipment"], json!([{"id": sensor, "external_id": "s1"}]));
    assert_eq!(came.json()["data"]["integration_id"], sender.id.as_str());
    assert!(came.json()["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(came.header("content-type"), "application/json");
    assert_eq!(came.header("webhook-timestamp"), came.header("x-webhook-timestamp"));
    let delivery = in_state(&facility, &sender, &id(&made), "delivered").await;
    assert_eq!(delivery["event_id"], came.header("webhook-id"));
    assert!(delivery["request_id"].is_string() && delivery["next_attempt_at"].is_null());
    let attempt = &delivery["attempts"][0];
    assert_eq!((&attempt["attempt"], &attempt["status"], &attempt["error"]), (&json!(1), &json!(200), &Value::Null));
    assert_eq!(attempt["target"], receiver.url(), "without the query");
    assert_eq!((&attempt["address"], &attempt["response"]), (&json!("127.0.0.1"), &json!("taken")));
    assert!(attempt["latency_ms"].is_u64() && attempt["at"].is_string());
}

// S302: with `webhooks:manage` an integration keeps its own subscriptions, without it 403; of others it sees nothing.
#[tokio::test]
async fn an_integration_keeps_its_own_webhooks() {
    let facility = Facility::with(NEAR).await;
    let owner = facility.active(&["webhooks:manage"]).await;
    let without = facility.active(&["sensors:write", "equipment:write"]).await;
    facility.limit(&owner, 1_000).await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url(), "events": ["integration.key_regenerated"], "description": "ours"});
    let made = own(&facility, &owner, Method::POST, "/v1/webhooks", Some(body.clone())).await.expect(201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let path = made.header("location").unwrap().to_owned();
    assert_eq!(path, format!("/v1/webhooks/{}", id(&made)));
    let secret = made.json["secret"].as_str().unwrap().to_owned();
    let list = own(&facility, &owner, Method::GET, "/v1/webhooks", None).await.expect(200);
    assert_eq!((list.json["items"].as_array().unwrap().len(), list.text.contains(&secret)), (1, false));
    let change = json!({"events": ["equipment.created", "equipment.created"], "description": null});
    let changed = own(&facility, &owner, Method::PATCH, &path, Some(change)).await.expect(200);
    assert_eq!((&changed.json["events"], &changed.json["description"]), (&json!(["equipment.created"]), &Value::Null));
    assert_eq!(changed.header("etag"), Some("\"2\""));
    let unmet = facility.request(&owner, Method::DELETE, &path).header("If-Match", "\"1\"");
    send(unmet).await.expect(412);
    let tested = own(&facility, &owner, Method::POST, &format!("{path}/test"), None).await.expect(202);
    assert_eq!(receiver.wait_for(1).await[0].event(), "webhook.test");
    let newest = in_state(&facility, &owner, &id(&made), "delivered").await;
    assert_eq!(newest["id"], tested.json["delivery_id"]);
    let log =
        own(&facility, &owner, Method::GET, &format!("{path}/deliveries?state=delivered"), None).await.expect(200);
    assert_eq!(log.json["items"], json!([newest]));
    let again = own(&facility, &owner, Method::POST, &format!("{path}/secret"), None).await.expect(200);
    assert_ne!(again.json["secret"], secret.as_str());
    own(&facility, &owner, Method::DELETE, &format!("{path}/queue"), None).await.expect(200);
    let stranger = facility.active(&["webhooks:manage"]).await;
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::PATCH, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/secret")),
        (Method::POST, format!("{path}/test")),
        (Method::DELETE, format!("{path}/queue")),
        (Method::GET, format!("{path}/deliveries")),
    ] {
        let answer = own(&facility, &stranger, method.clone(), &path, None).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
        let answer = own(&facility, &without, method.clone(), &path, None).await;
        assert_eq!((answer.status, answer.code()), (403, "insufficient_scope"), "{method} {path}: {}", answer.text);
    }
    own(&facility, &without, Method::POST, "/v1/webhooks", Some(body)).await.expect(403);
    own(&facility, &without, Method::GET, "/v1/webhooks", None).await.expect(403);
    own(&facility, &owner, Method::DELETE, &path, None).await.expect(204);
    own(&facility, &owner, Method::GET, &path, None).await.expect(404);
    own(&facility, &owner, Method::GET, &format!("{path}/deliveries"), None).await.expect(404);
    // S303: who deletes a subscription does not delete its log.
    assert_eq!(deliveries(&facility, &owner, &id(&made)).await.len(), 1);
}

// S307, S084: the secret is shown once, also where a repeated call asks for the same answer, and is in no file.
#[tokio::test]
async fn a_secret_is_shown_once_and_is_in_no_file() {
    let facility = Facility::with(NEAR).await;
    let owner = facility.active(&["webhooks:manage"]).await;
    let body = json!({"url": "https://receiver.example.com/", "events": ["equipment.created"]});
    let keyed = |key: &'static str| {
        facility.request(&owner, Method::POST, "/v1/webhooks").header("Idempotency-Key", key).json(&body)
    };
    let first = send(keyed("once")).await.expect(201);
    let second = send(keyed("once")).await.expect(201);
    assert_ne!(first.json["secret"], second.json["secret"], "an answer with a secret is not kept");
    let regenerate = format!("{}/{}/secret", of(&owner), id(&first));
    let third = facility.post(&regenerate, json!({})).await.expect(200);
    let secrets: Vec<String> =
        [&first, &second, &third].map(|answer| answer.json["secret"].as_str().unwrap().to_owned()).into();
    for path in [of(&owner), format!("{}/{}", of(&owner), id(&first)), "/admin/v1/audit-log".to_owned()] {
        let shown = facility.get(&path).await.expect(200).text;
        assert!(!secrets.iter().any(|secret| shown.contains(secret.as_str())), "{path}");
    }
    // Also the bytes that base64 stands for.
    use base64::{Engine, engine::general_purpose::STANDARD};
    let needles: Vec<Vec<u8>> = secrets
        .iter()
        .flat_map(|secret| {
            let bare = secret.strip_prefix("whsec_").unwrap();
            [bare.as_bytes().to_vec(), STANDARD.decode(bare).unwrap()]
        })
        .collect();
    let mut searched = 0;
    for entry in walkdir::WalkDir::new(&facility.server.data).into_iter().filter_map(Result::ok) {
        if entry.file_type().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = needles.iter().any(|needle| bytes.windows(needle.len()).any(|part| part == needle.as_slice()));
            assert!(!found, "{}", entry.path().display());
            searched += bytes.len();
        }
    }
    assert!(searched > 100_000, "{searched}");
}

// S204, S306: the next delivery is signed with the new secret, and key and secret have nothing to do with one another.
#[tokio::test]
async fn key_and_signing_secret_are_regenerated_apart() {
    let facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let receiver = Receiver::start().await;
    let made = subscribe(&facility, &sender, &receiver.url(), &["integration.key_regenerated"]).await.expect(201);
    let webhook = format!("{}/{}", of(&sender), id(&made));
    let first = made.json["secret"].as_str().unwrap();
    let keyed = format!("/admin/v1/integrations/{}/api-key", sender.id);
    let regenerated = facility.post(&keyed, json!({})).await.expect(200);
    let came = receiver.wait_for(1).await.remove(0);
    assert!(is_signed(&came, first), "the secret is as before");
    assert!(!came.body.contains(regenerated.json["api_key"].as_str().unwrap()));
    assert_eq!(came.json()["data"]["key_prefix"], regenerated.json["key_prefix"]);
    let sender = Integration { api_key: regenerated.json["api_key"].as_str().unwrap().to_owned(), ..sender };
    let issued = facility.get(&webhook).await.expect(200).json["secret_issued_at"].clone();
    let second = facility.post(&format!("{webhook}/secret"), json!({})).await.expect(200);
    assert_ne!(second.json["secret_issued_at"], issued);
    facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    facility.post(&format!("{webhook}/test"), json!({})).await.expect(202);
    let came = receiver.wait_for(2).await.remove(1);
    let second = second.json["secret"].as_str().unwrap();
    assert!(is_signed(&came, second) && !is_signed(&came, first));
}

/// Whether both signatures are right, reckoned by another implementation of HMAC than the service's.
fn is_signed(came: &crate::support::receiver::Received, secret: &str) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, timestamp) = (came.header("webhook-id"), came.header("webhook-timestamp"));
    let standard = STANDARD.encode(hmac_sha256(&key, format!("{id}.{timestamp}.{}", came.body).as_bytes()));
    let plain = hex::encode(hmac_sha256(secret.as_bytes(), format!("{timestamp}.{}", came.body).as_bytes()));
    let right = [
        came.header("webhook-signature") == format!("v1,{standard}"),
        came.header("x-webhook-signature") == format!("sha256={plain}"),
    ];
    assert_eq!(right[0], right[1], "both or none");
    right[0]
}

/// RFC 2104.
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut block = [0_u8; 64];
    match key.len() {
        length @ ..=64 => block[..length].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

// S117–S120, S308: nothing is sent while suspended; what happens is queued, and goes out after the reactivation, by the
// same subscription with the same id and secret. Meanwhile it is all readable.
#[tokio::test]
async fn suspended_is_paused_and_nothing_is_lost() {
    let facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    let receiver = Receiver::start().await;
    let events = ["integration.suspended", "integration.reactivated", "equipment.created"];
    let made = subscribe(&facility, &sender, &receiver.url(), &events).await.expect(201);
    let second = subscribe(&facility, &sender, &receiver.url(), &["equipment.created"]).await.expect(201);
    let before = facility.get(&of(&sender)).await.expect(200).json;
    let path = format!("/admin/v1/integrations/{}", sender.id);
    facility
        .post(&format!("{path}/suspend"), json!({"reason": "odd", "category": "security_concern"}))
        .await
        .expect(200);
    facility.sensor(&sender, "while-suspended").await;
    let mut during = facility.get(&of(&sender)).await.expect(200).json;
    assert_eq!((&during["items"][0]["queued"], &during["items"][1]["queued"]), (&json!(2), &json!(1)));
    for (index, was) in [0, 0].into_iter().enumerate() {
        during["items"][index]["queued"] = json!(was);
    }
    assert_eq!(during, before, "not changed but for what waits");
    let log = deliveries(&facility, &sender, &id(&made)).await;
    assert!(log.iter().all(|one| one["state"] == "pending" && one["attempts"] == json!([])), "{log:#?}");
    // The administrator may throw away what waits.
    let discard = format!("{}/{}/queue", of(&sender), id(&second));
    let gone = facility.admin(&facility.alice, Method::DELETE, &discard, None).await.expect(200);
    assert_eq!(gone.json["discarded"], 1);
    assert_eq!(deliveries(&facility, &sender, &id(&second)).await[0]["state"], "discarded");
    assert_eq!(receiver.received().len(), 0, "nothing has left");
    facility.post_as_bob(&format!("{path}/reactivate"), json!({})).await.expect(200);
    let came = receiver.wait_for(3).await;
    let told: Vec<String> = came.iter().map(|one| one.event()).collect();
    assert_eq!(told, ["integration.suspended", "equipment.created", "integration.reactivated"]);
    assert!(came.iter().all(|one| is_signed(one, made.json["secret"].as_str().unwrap())));
    assert_eq!(came[0].json()["data"]["category"], "security_concern");
    assert!(!came[0].body.contains("odd"), "reasons may name people");
    in_state(&facility, &sender, &id(&made), "delivered").await;
    assert_eq!(receiver.received().len(), 3, "what was discarded stays away");
}

// S120: what is on its way when the suspension comes is broken off before it returns.
#[tokio::test]
async fn a_suspension_breaks_off_what_is_on_its_way() {
    let facility = Facility::with(&[NEAR, &[("SENSORGATE__WEBHOOK__TIMEOUT_MS", "60000")]].concat()).await;
    let sender = facility.active(&["sensors:write"]).await;
    let receiver = Receiver::start().await;
    receiver.reply([Reply::Hang]);
    let made = subscribe(&facility, &sender, &receiver.url(), &["equipment.created"]).await.expect(201);
    facility.sensor(&sender, "s").await;
    let first = receiver.wait_for(1).await.remove(0);
    let path = format!("/admin/v1/integrations/{}", sender.id);
    facility.post(&format!("{path}/suspend"), json!({"reason": "a drill"})).await.expect(200);
    let mut log = Value::Null;
    for _ in 0..200 {
        log = deliveries(&facility, &sender, &id(&made)).await[0].clone();
        if log["attempts_made"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((&log["attempts"][0]["error"], &log["state"]), (&json!("broken_off"), &json!("pending")), "{log:#?}");
    facility.post_as_bob(&format!("{path}/reactivate"), json!({})).await.expect(200);
    let again = receiver.wait_for(2).await.remove(1);
    assert_eq!(first.header("webhook-id"), again.header("webhook-id"), "at least once, by the same id");
}

// A16: revoked is the end: one last word of an integration that was Active, none of one that was suspended.
#[tokio::test]
async fn a_revocation_is_the_last_word() {
    let facility = Facility::with(NEAR).await;
    let (active, suspended) = (facility.active(&[]).await, facility.active(&[]).await);
    let (near, far) = (Receiver::start().await, Receiver::start().await);
    let events = ["integration.suspended", "integration.revoked"];
    let made = subscribe(&facility, &active, &near.url(), &events).await.expect(201);
    let other = subscribe(&facility, &suspended, &far.url(), &events).await.expect(201);
    let step = |who: &Integration, step: &str| format!("/admin/v1/integrations/{}/{step}", who.id);
    facility.post(&step(&suspended, "suspend"), json!({"reason": "a drill"})).await.expect(200);
    facility.post(&step(&suspended, "revoke"), json!({})).await.expect(200);
    facility.post(&step(&active, "revoke"), json!({})).await.expect(200);
    let came = near.wait_for(1).await;
    assert_eq!(
        (came[0].event().as_str(), &came[0].json()["data"]["status"]),
        ("integration.revoked", &json!("revoked"))
    );
    in_state(&facility, &active, &id(&made), "delivered").await;
    let log = deliveries(&facility, &suspended, &id(&other)).await;
    assert_eq!((log.len(), &log[0]["state"]), (1, &json!("discarded")), "{log:#?}");
    assert_eq!(far.received().len(), 0);
    let webhook = format!("{}/{}", of(&active), id(&made));
    for (method, path) in [
        (Method::PATCH, webhook.clone()),
        (Method::POST, format!("{webhook}/secret")),
        (Method::POST, format!("{webhook}/test")),
        (Method::DELETE, webhook.clone()),
        (Method::POST, of(&active)),
    ] {
        let body = json!({"url": near.url(), "events": ["equipment.created"]});
        let body = if path == of(&active) { body } else { json!({}) };
        let answer = admin(&facility, method.clone(), &path, body).await;
        assert_eq!((answer.status, answer.code()), (409, "invalid_state"), "{method} {path}: {}", answer.text);
    }
    facility.get(&webhook).await.expect(200);
}

// S310, S304: a failure is tried again by the schedule, then it is dead; a redirect is a failure and is not followed; a
// replay is a new attempt on the same event.
#[tokio::test]
async fn failures_are_retried_then_dead_then_replayed() {
    let facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let away = Reply::With(307, vec![("location", elsewhere.url())]);
    receiver.reply([Reply::Status(500), away, Reply::Hang]);
    let made = subscribe(&facility, &sender, &receiver.url(), &["equipment.created"]).await.expect(201);
    facility.sensor(&sender, "s").await;
    let dead = in_state(&facility, &sender, &id(&made), "dead").await;
    let attempts = dead["attempts"].as_array().unwrap();
    let of_each: Vec<_> = attempts.iter().map(|one| (one["attempt"].as_u64(), one["error"].as_str())).collect();
    assert_eq!(of_each, [(Some(3), Some("timeout")), (Some(2), Some("redirect")), (Some(1), Some("status"))]);
    assert_eq!((&attempts[1]["status"], &attempts[2]["status"]), (&json!(307), &json!(500)));
    assert_eq!(elsewhere.received().len(), 0, "nobody was redirected");
    let webhook = format!("{}/{}", of(&sender), id(&made));
    let failing = facility.get(&webhook).await.expect(200);
    assert!(failing.json["failing_since"].is_string() && failing.json["enabled"] == true, "{}", failing.text);
    let replay = format!("{webhook}/deliveries/{}/replay", dead["id"].as_str().unwrap());
    // A replay that fails is dead at once.
    receiver.reply([Reply::Status(503)]);
    facility.post(&replay, json!({})).await.expect(202);
    receiver.wait_for(4).await;
    assert_eq!(in_state(&facility, &sender, &id(&made), "dead").await["attempts_made"], 4);
    facility.post(&replay, json!({})).await.expect(202);
    let delivered = in_state(&facility, &sender, &id(&made), "delivered").await;
    assert_eq!((&delivered["attempts_made"], &delivered["attempts"][0]["status"]), (&json!(5), &json!(200)));
    let came = receiver.received();
    assert!(came.iter().all(|one| one.header("webhook-id") == delivered["event_id"] && one.body == came[0].body));
    assert!(facility.get(&webhook).await.expect(200).json["failing_since"].is_null());
    let unknown = format!("{webhook}/deliveries/{}/replay", sender.id);
    assert_eq!(facility.post(&unknown, json!({})).await.status, 404);
}

// S310: Retry-After is honoured, within the configured bound; 410 ends it.
#[tokio::test]
async fn a_target_may_ask_for_time_and_may_say_goodbye() {
    let capped = [NEAR, &[("SENSORGATE__WEBHOOK__RETRY_AFTER_MAX_S", "600")]].concat();
    let facility = Facility::with(&capped).await;
    let sender = facility.active(&["sensors:write"]).await;
    let receiver = Receiver::start().await;
    receiver.reply([Reply::With(429, vec![("retry-after", "999999".to_owned())])]);
    let made = subscribe(&facility, &sender, &receiver.url(), &["equipment.created"]).await.expect(201);
    facility.sensor(&sender, "s").await;
    receiver.wait_for(1).await;
    let waiting = loop {
        let newest = deliveries(&facility, &sender, &id(&made)).await.remove(0);
        if newest["attempts_made"] == 1 {
            break newest;
        }
    };
    let next: jiff::Timestamp = waiting["next_attempt_at"].as_str().unwrap().parse().unwrap();
    let pause_s = next.as_second() - now_s();
    assert!((500..=661).contains(&pause_s), "{pause_s}");
    receiver.reply([Reply::Status(410)]);
    facility.sensor(&sender, "t").await;
    in_state(&facility, &sender, &id(&made), "dead").await;
    let webhook = format!("{}/{}", of(&sender), id(&made));
    let gone = facility.get(&webhook).await.expect(200);
    assert_eq!((&gone.json["enabled"], &gone.json["disabled_cause"]), (&json!(false), &json!("gone")));
    facility.sensor(&sender, "u").await;
    assert_eq!(deliveries(&facility, &sender, &id(&made)).await.len(), 2, "nothing new is queued");
    let on = admin(&facility, Method::PATCH, &webhook, json!({"enabled": true})).await.expect(200);
    assert!(on.json["enabled"] == true && on.json["disabled_cause"].is_null());
}

// S305: a change of the target is loud: old and new stand in the audit log, of the query a hash.
#[tokio::test]
async fn a_changed_target_is_audited() {
    let facility = Facility::with(NEAR).await;
    let owner = facility.active(&["webhooks:manage"]).await;
    let made =
        subscribe(&facility, &owner, "https://a.example.com/x?key=one", &["equipment.created"]).await.expect(201);
    let own_path = format!("/v1/webhooks/{}", id(&made));
    let away = json!({"url": "https://b.example.com/x?key=two"});
    own(&facility, &owner, Method::PATCH, &own_path, Some(away)).await.expect(200);
    let log = facility.get(&format!("/admin/v1/audit-log?target_id={}", id(&made))).await;
    let log = if log.status == 200 { log } else { facility.get("/admin/v1/audit-log").await.expect(200) };
    let entries = log.json["items"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["action"] == "webhook_redirect").expect("it is audited");
    let text = |side: &str| entry[side]["url"].as_str().unwrap().to_owned();
    assert!(text("before").starts_with("https://a.example.com/x?sha256:"), "{entry}");
    assert!(text("after").starts_with("https://b.example.com/x?sha256:"), "{entry}");
    assert!(!log.text.contains("key=one") && !log.text.contains("key=two"));
    for action in ["webhook_create", "webhook_redirect"] {
        assert!(entries.iter().any(|entry| entry["action"] == action), "{action}");
    }
}

// S311: by default only https, to the Internet, and never to ourselves.
#[tokio::test]
async fn a_target_inside_is_refused_when_it_is_saved() {
    let facility = Facility::new().await;
    let owner = facility.active(&["webhooks:manage"]).await;
    facility.limit(&owner, 1_000).await;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:127.0.0.1]/",
        "https://user@example.com/",
        "https://example.com/#top",
        "https://example.com:22/",
        "nonsense",
    ] {
        let body = json!({"url": url, "events": ["equipment.created"]});
        let refused = own(&facility, &owner, Method::POST, "/v1/webhooks", Some(body)).await.expect(422);
        assert_eq!(refused.json["errors"][0]["field"], "url", "{url}: {}", refused.text);
    }
    let wrong = json!({"url": "https://example.com/", "events": ["equipment.created", "no.such"]});
    let refused = facility.post(&of(&owner), wrong).await.expect(422);
    assert_eq!(refused.json["errors"][0]["field"], "events[1]");
    let good = json!({"url": "https://example.com/", "events": ["equipment.created"]});
    for _ in 0..10 {
        facility.post(&of(&owner), good.clone()).await.expect(201);
    }
    let many = facility.post(&of(&owner), good).await;
    assert_eq!((many.status, many.code()), (409, "webhook_limit"), "{}", many.text);
    let near = Facility::with(NEAR).await;
    let owner = near.active(&[]).await;
    for own_port in [&near.server.admin_url, &near.server.http_url] {
        let refused = subscribe(&near, &owner, own_port, &["equipment.created"]).await.expect(422);
        assert!(refused.text.contains("this service itself"), "{}", refused.text);
    }
}

// S311: a target that was saved when the rules were wider is not sent to when they are not any more.
#[tokio::test]
async fn a_target_is_judged_again_when_it_is_sent_to() {
    let mut facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    let receiver = Receiver::start().await;
    let made = subscribe(&facility, &sender, &receiver.url(), &["equipment.created"]).await.expect(201);
    assert!(facility.server.terminate().success());
    facility.server.set("SENSORGATE__WEBHOOK__ALLOW_PRIVATE_TARGETS", "false");
    facility.server.restart();
    facility.sensor(&sender, "s").await;
    let dead = in_state(&facility, &sender, &id(&made), "dead").await;
    assert_eq!(dead["attempts"][0]["error"], "url_refused");
    assert_eq!(receiver.received().len(), 0);
}

// S312: a target that takes connections and never answers costs ingest nothing, and its queue is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_target_never_slows_ingest() {
    let queue = [NEAR, &[("SENSORGATE__CONTROL__WEBHOOK__QUEUE_MAX", "3"), ("SENSORGATE__WEBHOOK__NOTICE_MS", "100")]];
    let facility = Facility::with(&queue.concat()).await;
    let sender = facility.busy_sender().await;
    let receiver = Receiver::start().await;
    receiver.otherwise(Reply::Hang);
    let made = subscribe(&facility, &sender, &receiver.url(), &["readings.rejected"]).await.expect(201);
    let webhook = format!("{}/{}", of(&sender), id(&made));
    let mut accepted = 0;
    let mut mixed = batch("s", 2, now_s());
    mixed["readings"][0]["metric"] = json!("no_such_metric");
    let mut answered = 0;
    // Until the queue has been full for a while: every batch is answered as ever.
    for _ in 0..2_000 {
        answered += 1;
        let answer = facility.ingest(&sender, &mixed).await.expect(207);
        accepted += answer.json["accepted"].as_u64().unwrap();
        let dropped = facility.get("/metrics").await.expect(200).text;
        if dropped.contains("sensorgate_webhook_events_dropped_total{reason=\"queue_full\"}") {
            break;
        }
    }
    assert_eq!(accepted, answered);
    let queued = facility.get(&webhook).await.expect(200).json["queued"].as_u64().unwrap();
    assert!((1..=3).contains(&queued), "{queued}");
    assert!(!facility.stored(&sender, "s", "temperature", 1).await.is_empty(), "the spool is delivered");
    let mut is_empty = false;
    for _ in 0..200 {
        let metrics = facility.get("/metrics").await.expect(200).text;
        is_empty = metrics.contains("sensorgate_delivery_backlog_seconds 0\n");
        if is_empty {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_empty, "nothing waits in the spool");
}

// S312: what happens to readings is summed up; a quota is told of at 80 % and at its end, once each.
#[tokio::test]
async fn refused_readings_and_quotas_are_told_of() {
    let facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let receiver = Receiver::start().await;
    let path = format!("/admin/v1/integrations/{}", sender.id);
    admin(&facility, Method::PATCH, &path, json!({"daily_quota": 5})).await.expect(200);
    let quota = ["quota.nearly_used", "quota.used_up"];
    subscribe(&facility, &sender, &receiver.url(), &["readings.rejected"]).await.expect(201);
    let mut mixed = batch("s", 3, now_s());
    mixed["readings"][0]["metric"] = json!("no_such_metric");
    mixed["readings"][1]["external_id"] = json!("nobody");
    let refused = facility.ingest(&sender, &mixed).await.expect(207);
    let came = receiver.wait_for(1).await.remove(0);
    let data = came.json()["data"].clone();
    assert_eq!(
        (came.event().as_str(), &data["readings"], &data["requests"]),
        ("readings.rejected", &json!(2), &json!(1))
    );
    assert_eq!(data["request_ids"], json!([refused.json["request_id"]]));
    let mut codes: Vec<&str> =
        refused.json["errors"].as_array().unwrap().iter().map(|error| error["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(data["codes"].as_object().unwrap().keys().collect::<Vec<_>>(), codes);
    let quotas = Receiver::start().await;
    subscribe(&facility, &sender, &quotas.url(), &quota).await.expect(201);
    let good = batch("s", 1, now_s());
    for _ in 0..3 {
        facility.ingest(&sender, &good).await.expect(200);
    }
    assert_eq!(quotas.wait_for(1).await[0].event(), "quota.nearly_used");
    facility.ingest(&sender, &good).await.expect(200);
    facility.ingest(&sender, &good).await.expect(429);
    let used_up = quotas.wait_for(2).await.remove(1);
    let data = used_up.json()["data"].clone();
    assert_eq!((used_up.event().as_str(), &data["used"], &data["limit"]), ("quota.used_up", &json!(5), &json!(5)));
    assert_eq!(receiver.received().len(), 1, "each subscription has its own events");
}

// An event that is in the queue when the process is killed is sent after the restart, by the same id.
#[tokio::test]
async fn a_kill_loses_no_event() {
    let mut facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    let receiver = Receiver::start().await;
    receiver.reply([Reply::Hang]);
    let made = subscribe(&facility, &sender, &receiver.url(), &["equipment.created"]).await.expect(201);
    for n in 0..3 {
        facility.sensor(&sender, &format!("s{n}")).await;
    }
    let first = receiver.wait_for(1).await.remove(0);
    facility.server.kill_9();
    facility.server.restart();
    let came = receiver.wait_for(4).await;
    assert_eq!(came[1].header("webhook-id"), first.header("webhook-id"));
    assert!(came.iter().all(|one| is_signed(one, made.json["secret"].as_str().unwrap())));
    in_state(&facility, &sender, &id(&made), "delivered").await;
    let mut ids: Vec<&str> = came.iter().map(|one| one.header("webhook-id")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "in their order, each once but the one that was on its way");
}

const VERIFIERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/standardwebhooks");

/// What the official library in one language says of `came`.
fn verdict(command: &mut std::process::Command, came: &crate::support::receiver::Received, secret: &str) -> String {
    use std::{io::Write, process::Stdio};
    let headers: Value = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name.to_owned(), json!(came.header(name))))
        .into_iter()
        .collect::<serde_json::Map<_, _>>()
        .into();
    let received = json!({"secret": secret, "headers": headers, "body": came.body}).to_string();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the interpreter starts");
    child.stdin.take().expect("a pipe").write_all(received.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

// S307: the official libraries of Standard Webhooks, in Python and in JavaScript, verify what is sent, and nothing else.
#[tokio::test]
async fn the_official_libraries_verify_what_is_sent() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/xtask/standardwebhooks/bin/python3");
    let module = std::path::Path::new(VERIFIERS).join("js/node_modules/standardwebhooks");
    if !std::path::Path::new(python).is_file() || !module.is_dir() {
        crate::support::skip("the packages standardwebhooks are not there; cargo xtask test fetches them");
        return;
    }
    let facility = Facility::with(NEAR).await;
    let sender = facility.active(&["sensors:write"]).await;
    let receiver = Receiver::start().await;
    let made = subscribe(&facility, &sender, &receiver.url(), &["equipment.created"]).await.expect(201);
    let secret = made.json["secret"].as_str().unwrap();
    facility.sensor(&sender, "Bank 7 — ü/\"\\").await;
    let came = receiver.wait_for(1).await.remove(0);
    let other = facility.post(&format!("{}/{}/secret", of(&sender), id(&made)), json!({})).await.expect(200);
    let other = other.json["secret"].as_str().unwrap();
    let mut bent = came.clone();
    bent.body = bent.body.replace("created", "retired");
    for language in ["python", "javascript"] {
        let run = |came, secret| {
            let mut command = match language {
                "python" => std::process::Command::new(python),
                _ => std::process::Command::new("node"),
            };
            let script = if language == "python" { "verify.py" } else { "js/verify.mjs" };
            verdict(command.arg(format!("{VERIFIERS}/{script}")), came, secret)
        };
        assert_eq!(run(&came, secret), "verified", "{language}");
        assert!(run(&came, other).starts_with("refused"), "{language}: the wrong secret");
        assert!(run(&bent, secret).starts_with("refused"), "{language}: another body");
    }
}

// S309: the scope is labelled Administrative, and granting it warns.
#[tokio::test]
async fn the_scope_is_administrative_and_warned_of() {
    let facility = Facility::new().await;
    let scopes = facility.get("/admin/v1/scopes").await.expect(200);
    let category = scopes.json["items"].as_array().unwrap().iter().find(|one| one["category"] == "Webhooks");
    let category = category.unwrap_or_else(|| panic!("{}", scopes.text));
    assert_eq!(category["sensitivity"], "Administrative", "{}", scopes.text);
    let id = facility.requested(&["webhooks:manage"]).await;
    let shown = facility.get(&format!("/admin/v1/integrations/{id}")).await.expect(200);
    let warned = shown.json["warnings"].as_array().unwrap().iter().any(|warning| {
        warning["code"] == "sensitive_scope" && warning["message"].as_str().unwrap().contains("webhooks:manage")
    });
    assert!(warned, "{}", shown.text);
}
