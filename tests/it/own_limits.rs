//! `GET /v1/limits`: what an integration may, and what is left of it.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Facility, Integration, batch, facility::send, now_s};

async fn limits(facility: &Facility, who: &Integration) -> Answer {
    send(facility.request(who, Method::GET, "/v1/limits")).await
}

/// The figures of the headers.
fn headers(answer: &Answer) -> [u64; 3] {
    ["limit", "remaining", "reset"]
        .map(|name| answer.header(&format!("x-ratelimit-{name}")).expect(name).parse().expect("a number"))
}

/// The figures of the body.
fn window(answer: &Answer) -> [u64; 3] {
    ["limit", "remaining", "reset"].map(|name| answer.json["requests_per_minute"][name].as_u64().expect(name))
}

async fn change(facility: &Facility, who: &Integration, body: serde_json::Value) {
    let path = format!("/admin/v1/integrations/{}", who.id);
    facility.admin(&facility.alice, Method::PATCH, &path, Some(body)).await.expect(200);
}

// S227, S230, S231: one request a call, a batch of 500 is one; body and headers agree; changes and new keys keep counts.
#[tokio::test]
async fn the_figures_are_those_of_the_headers() {
    let facility = Facility::new().await;
    // No scope is needed: one without any use for the registry may ask, too.
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let first = limits(&facility, &sender).await.expect(200);
    assert_eq!(window(&first), headers(&first));
    assert_eq!((window(&first)[0], window(&first)[1]), (60, 59), "asking costs one request, as any call does");
    assert_eq!(first.json["scopes"], json!(["sensors:write"]));
    for name in ["daily_quota", "temporary", "backfill"] {
        assert!(first.json[name].is_null(), "{name}: {}", first.text);
    }
    assert_eq!(first.json["batch"]["readings_max"], 500);
    assert!(first.json["mqtt"]["receive_maximum"].as_u64().is_some_and(|max| (8..=32).contains(&max)));
    facility.ingest(&sender, &batch("s", 500, now_s())).await.expect(200);
    assert_eq!(window(&limits(&facility, &sender).await.expect(200))[1], 57, "500 readings are one request");

    change(&facility, &sender, json!({"rate_limit_rpm": 100, "daily_quota": 50})).await;
    let changed = limits(&facility, &sender).await.expect(200);
    assert_eq!((window(&changed), window(&changed)[..2].to_vec()), (headers(&changed), vec![100, 96]));
    let quota = &changed.json["daily_quota"];
    assert_eq!((&quota["limit"], &quota["used"], &quota["remaining"]), (&json!(50), &json!(4), &json!(46)));
    assert_eq!(quota["reset"].as_i64().unwrap(), (now_s() / 86_400 + 1) * 86_400);

    let path = format!("/admin/v1/integrations/{}/api-key", sender.id);
    let renewed = facility.post(&path, json!({})).await.expect(200);
    let api_key = renewed.json["api_key"].as_str().unwrap().to_owned();
    let sender = Integration { api_key, ..sender };
    let after = limits(&facility, &sender).await.expect(200);
    assert_eq!((window(&after)[1], &after.json["daily_quota"]["used"]), (95, &json!(5)), "a new key is no new window");
    let path = |action: &str| format!("/admin/v1/integrations/{}/{action}", sender.id);
    facility.post(&path("suspend"), json!({"reason": "drill"})).await.expect(200);
    limits(&facility, &sender).await.expect(401);
    let answer = facility.post_as_bob(&path("reactivate"), json!({})).await.expect(200);
    let sender = facility.credentials(sender.id.clone(), &answer).await;
    let after = limits(&facility, &sender).await.expect(200);
    assert_eq!((window(&after)[1], &after.json["daily_quota"]["used"]), (94, &json!(6)), "nor a reactivation");

    change(&facility, &sender, json!({"rate_limit_rpm": 5})).await;
    let refused = limits(&facility, &sender).await.expect(429);
    assert_eq!((refused.code(), headers(&refused)[..2].to_vec()), ("rate_limited", vec![5, 0]));
}

// S228: what is granted for a while shows while it is in force, with the window that batches are judged by.
#[tokio::test]
async fn grants_show_while_they_last() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let time = |s: i64| jiff::Timestamp::from_second(s).unwrap().to_string();
    let (start, until) = (time(now_s() - 30 * 86_400), time(now_s() + 3_600));
    let old = batch("s", 1, now_s() - 20 * 86_400);
    facility.ingest(&sender, &old).await.expect(422);
    let grant = json!({"rpm": 600, "window_start": start, "until": until, "reason": "history"});
    let path = format!("/admin/v1/integrations/{}/grants", sender.id);
    facility.post(&path, grant).await;
    let granted = limits(&facility, &sender).await.expect(200);
    assert_eq!(granted.json["temporary"], json!({"rpm": 600, "until": until}), "{}", granted.text);
    assert_eq!(granted.json["backfill"], json!({"window_start": start, "until": until}));
    assert_eq!(granted.json["batch"]["timestamp_window"]["from"], start.as_str());
    assert_eq!((window(&granted)[0], window(&granted)), (600, headers(&granted)));
    facility.ingest(&sender, &old).await.expect(200);
    facility.admin(&facility.alice, Method::DELETE, &path, None).await;
    let ended = limits(&facility, &sender).await.expect(200);
    assert!(ended.json["temporary"].is_null() && ended.json["backfill"].is_null(), "{}", ended.text);
    assert_eq!(window(&ended)[0], 60);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        send(facility.request(&sender, method, "/v1/limits")).await.expect(405);
    }
}
