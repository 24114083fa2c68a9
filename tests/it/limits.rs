//! The minute window, the daily quota and their headers.

use reqwest::Method;
use serde_json::json;

use crate::support::{Facility, batch, now_s};

fn number(answer: &crate::support::Answer, name: &str) -> i64 {
    answer.header(name).unwrap_or_else(|| panic!("{name}")).parse().unwrap_or_else(|_| panic!("{name} is a number"))
}

// S215, S217–S223, S329: 60 pass, the 61st is 429 until Reset; the headers count down.
#[tokio::test]
async fn sixty_a_minute_and_not_one_more() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let body = batch("s", 1, now_s());
    let first = facility.ingest(&sender, &body).await.expect(200);
    let reset = number(&first, "x-ratelimit-reset");
    assert_eq!((number(&first, "x-ratelimit-limit"), number(&first, "x-ratelimit-remaining")), (60, 59));
    assert!(reset > now_s() && reset <= now_s() + 61, "{reset}");
    for left in (0..59).rev() {
        let answer = facility.ingest(&sender, &body).await.expect(200);
        assert_eq!((number(&answer, "x-ratelimit-remaining"), number(&answer, "x-ratelimit-reset")), (left, reset));
    }
    let refused = facility.ingest(&sender, &body).await.expect(429);
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!((number(&refused, "x-ratelimit-remaining"), number(&refused, "x-ratelimit-reset")), (0, reset));
    let wait = number(&refused, "retry-after");
    assert!((1..=60).contains(&wait), "{wait}");
    // S224: another integration is not affected.
    let other = facility.active(&["sensors:write"]).await;
    facility.sensor(&other, "s").await;
    facility.ingest(&other, &body).await.expect(200);
    // S227: a raised limit holds from the next request and keeps the count.
    let path = format!("/admin/v1/integrations/{}", sender.id);
    facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"rate_limit_rpm": 62}))).await.expect(200);
    let answer = facility.ingest(&sender, &body).await.expect(200);
    assert_eq!((number(&answer, "x-ratelimit-limit"), number(&answer, "x-ratelimit-remaining")), (62, 1));
    // S222: who sleeps until Reset succeeds.
    facility.ingest(&sender, &body).await.expect(200);
    facility.ingest(&sender, &body).await.expect(429);
    let now_us = jiff::Timestamp::now().as_microsecond();
    tokio::time::sleep(std::time::Duration::from_micros((reset * 1_000_000 - now_us).max(0) as u64)).await;
    facility.ingest(&sender, &body).await.expect(200);
}

// S225: exact under 64 connections.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_limit_passes_over_64_connections() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let path = format!("/admin/v1/integrations/{}", sender.id);
    facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"rate_limit_rpm": 500}))).await.expect(200);
    let facility = std::sync::Arc::new(facility);
    let body = batch("s", 1, now_s());
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (facility, sender, body) = (facility.clone(), sender.clone(), body.clone());
            #[allow(clippy::disallowed_methods)]
            tokio::spawn(async move {
                let mut passed = 0;
                for _ in 0..12 {
                    passed += usize::from(facility.ingest(&sender, &body).await.status == 200);
                }
                passed
            })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += task.await.expect("no panic");
    }
    assert_eq!(passed, 500);
}

// S232, S234: the daily quota has its own code, points at midnight, and survives a kill and a restart.
#[tokio::test]
async fn the_daily_quota_survives_a_restart() {
    let mut facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let path = format!("/admin/v1/integrations/{}", sender.id);
    facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"daily_quota": 5}))).await.expect(200);
    let body = batch("s", 1, now_s());
    for _ in 0..5 {
        facility.ingest(&sender, &body).await.expect(200);
    }
    assert!(facility.server.terminate().success());
    facility.server.restart();
    let refused = facility.ingest(&sender, &body).await.expect(429);
    assert_eq!(refused.code(), "daily_quota_exceeded");
    let midnight = (now_s() / 86_400 + 1) * 86_400;
    assert_eq!(number(&refused, "x-ratelimit-reset"), midnight);
    assert_eq!(number(&refused, "x-ratelimit-remaining"), 0);
    assert!((number(&refused, "retry-after") - (midnight - now_s())).abs() <= 2);
}

// S160 with A27: a stolen key alone cannot use up the window of its owner.
#[tokio::test]
async fn refused_credentials_cost_the_integration_nothing() {
    let facility = Facility::with(&[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "10000")]).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let url = format!("{}/v1/sensors/readings", facility.server.http_url);
    for _ in 0..100 {
        let request = facility.client.post(&url).header("X-API-Key", &sender.api_key).bearer_auth("not.a.token");
        crate::support::facility::send(request).await.expect(401);
    }
    let answer = facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    assert_eq!(number(&answer, "x-ratelimit-remaining"), 59);
}

// api.md §3: who fails too often is answered 429 before anything is checked; everybody else is served.
#[tokio::test]
async fn an_address_that_keeps_failing_is_shut_out() {
    let facility = Facility::with(&[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "5")]).await;
    let url = format!("{}/v1/sensors/readings", facility.server.http_url);
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(crate::support::facility::send(facility.client.post(&url)).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 429, 429]);
}

// S230, S231, A26, A27: a batch of 500 is one request; neither a new key nor a suspension and its end give a fresh window.
#[tokio::test]
async fn requests_are_counted_and_nothing_else_resets_them() {
    let facility = Facility::new().await;
    let mut sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let remaining = |answer: &crate::support::Answer| number(answer, "x-ratelimit-remaining");
    let first = facility.ingest(&sender, &batch("s", 500, now_s())).await.expect(200);
    assert_eq!((remaining(&first), number(&first, "x-ratelimit-limit")), (59, 60));
    let reset = number(&first, "x-ratelimit-reset");
    let path = |step: &str| format!("/admin/v1/integrations/{}{step}", sender.id);
    let (key, suspend, reactivate) = (path("/api-key"), path("/suspend"), path("/reactivate"));
    let regenerated = facility.post(&key, json!({"cause": "routine rotation"})).await.expect(200);
    sender.api_key = regenerated.json["api_key"].as_str().unwrap().to_owned();
    let second = facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    assert_eq!((remaining(&second), number(&second, "x-ratelimit-reset")), (58, reset));
    facility.post(&suspend, json!({"reason": "a drill"})).await.expect(200);
    let reactivated = facility.post_as_bob(&reactivate, json!({})).await.expect(200);
    let sender = facility.credentials(sender.id.clone(), &reactivated).await;
    let third = facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    assert_eq!((remaining(&third), number(&third, "x-ratelimit-reset")), (57, reset), "within one minute");
}

// S226: an integration that calls at many times its limit is refused, and no other notices: each of its calls is
// answered and stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_runaway_integration_is_its_own_trouble() {
    let facility = std::sync::Arc::new(Facility::new().await);
    let runaway = facility.active(&["sensors:write"]).await;
    facility.sensor(&runaway, "s").await;
    let other = facility.busy_sender().await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (facility, runaway) = (facility.clone(), runaway.clone());
            #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
            tokio::spawn(async move {
                let mut refused = 0;
                for _ in 0..40 {
                    let answer = facility.ingest(&runaway, &batch("s", 1, now_s())).await;
                    assert!([200, 429].contains(&answer.status), "{}", answer.text);
                    refused += usize::from(answer.status == 429);
                }
                refused
            })
        })
        .collect();
    let first_s = now_s() - 1_000;
    for n in 0..100 {
        facility.ingest(&other, &batch("s", 1, first_s + n)).await.expect(200);
    }
    let mut refused = 0;
    for task in tasks {
        refused += task.await.expect("no panic");
    }
    assert!(refused >= 16 * 40 - 120, "at most two windows pass: {refused}");
    assert_eq!(facility.stored(&other, "s", "temperature", 100).await.len(), 100);
}
