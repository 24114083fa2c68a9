//! The IP allowlist at the socket.

use reqwest::Method;
use serde_json::json;

use crate::support::{Facility, batch, now_s};

// S238, S244–S246, S250, S252: only listed networks pass, a spoofed header does not help, and a change holds at once.
#[tokio::test]
async fn only_listed_networks_pass_and_headers_do_not_help() {
    let facility = Facility::new().await;
    let (sender, other) = (facility.active(&["sensors:write"]).await, facility.active(&["sensors:write"]).await);
    facility.sensor(&sender, "s").await;
    facility.sensor(&other, "s").await;
    let path = format!("/admin/v1/integrations/{}/ip-allowlist", sender.id);
    let set = |body| facility.admin(&facility.alice, Method::PUT, &path, Some(body));
    set(json!({"enabled": true, "entries": ["203.0.113.0/24"]})).await.expect(200);
    let body = batch("s", 1, now_s());
    let refused = facility.ingest(&sender, &body).await.expect(403);
    assert_eq!(refused.code(), "ip_not_allowed");
    assert!(!refused.text.contains("203.0.113"), "the list is not revealed: {}", refused.text);
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("60"), "an IP refusal costs nothing");
    let spoofed = facility
        .request(&sender, Method::POST, "/v1/sensors/readings")
        .header("X-Forwarded-For", "203.0.113.7")
        .json(&body);
    crate::support::facility::send(spoofed).await.expect(403);
    facility.ingest(&other, &body).await.expect(200);
    set(json!({"enabled": true, "entries": ["203.0.113.0/24", "127.0.0.0/8"]})).await.expect(200);
    facility.ingest(&sender, &body).await.expect(200);
    set(json!({"enabled": false, "entries": []})).await.expect(200);
    facility.ingest(&sender, &body).await.expect(200);
}

// S242, S243, S247, S249: what is refused at the save changes nothing.
#[tokio::test]
async fn a_bad_list_is_refused_whole() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    let path = format!("/admin/v1/integrations/{}/ip-allowlist", sender.id);
    let put = |entries: Vec<String>| {
        facility.admin(&facility.alice, Method::PUT, &path, Some(json!({"enabled": true, "entries": entries})))
    };
    let fifty: Vec<String> = (0..50).map(|n| format!("10.0.{n}.0/24")).collect();
    put(fifty.clone()).await.expect(200);
    let mut more = fifty.clone();
    more.push("10.1.0.0/24".to_owned());
    for bad in [
        more,
        vec![],
        vec!["10.0.0.1".into()],
        vec!["example.org".into()],
        vec!["10.0.0.0/33".into()],
        vec!["10.0.0.0/8/8".into()],
    ] {
        assert_eq!(put(bad.clone()).await.expect(422).code(), "validation_failed", "{bad:?}");
    }
    assert_eq!(facility.get(&path).await.expect(200).json["entries"].as_array().map(Vec::len), Some(50));
}

// S250: behind a trusted proxy the right-most untrusted hop counts.
#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let facility = Facility::with(&[("SENSORGATE__AUTH__TRUSTED_PROXIES", "[\"127.0.0.0/8\"]")]).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let path = format!("/admin/v1/integrations/{}/ip-allowlist", sender.id);
    let list = json!({"enabled": true, "entries": ["203.0.113.7/32"]});
    facility.admin(&facility.alice, Method::PUT, &path, Some(list)).await.expect(200);
    for (hops, status) in [("203.0.113.7", 200), ("203.0.113.7, 198.51.100.1", 403), ("198.51.100.1, 203.0.113.7", 200)]
    {
        let request = facility
            .request(&sender, Method::POST, "/v1/sensors/readings")
            .header("X-Forwarded-For", hops)
            .json(&batch("s", 1, now_s()));
        crate::support::facility::send(request).await.expect(status);
    }
}

// S237, S239: without an allowlist any address may call, and key, token and scope are judged as ever.
#[tokio::test]
async fn without_an_allowlist_the_other_layers_stand() {
    let facility = Facility::new().await;
    let (sender, other) = (facility.active(&["sensors:write"]).await, facility.active(&["inventory:read"]).await);
    facility.sensor(&sender, "s").await;
    let path = format!("/admin/v1/integrations/{}/ip-allowlist", sender.id);
    assert_eq!(facility.get(&path).await.expect(200).json["enabled"], false);
    let body = batch("s", 1, now_s());
    facility.ingest(&sender, &body).await.expect(200);
    assert_eq!(facility.ingest(&other, &body).await.expect(403).code(), "insufficient_scope");
    let mut mixed = sender.clone();
    mixed.token.clone_from(&other.token);
    facility.ingest(&mixed, &body).await.expect(401);
    mixed = sender.clone();
    mixed.api_key.clone_from(&other.api_key);
    facility.ingest(&mixed, &body).await.expect(401);
}

// S250: no header of a caller that is no trusted proxy says where it comes from.
#[tokio::test]
async fn no_header_stands_in_for_an_address() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let path = format!("/admin/v1/integrations/{}/ip-allowlist", sender.id);
    let list = json!({"enabled": true, "entries": ["203.0.113.7/32"]});
    facility.admin(&facility.alice, Method::PUT, &path, Some(list)).await.expect(200);
    for (name, value) in [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-For", "203.0.113.7, 127.0.0.1"),
        ("Forwarded", "for=203.0.113.7"),
        ("Forwarded", "for=\"[::ffff:203.0.113.7]:443\""),
        ("X-Real-IP", "203.0.113.7"),
        ("X-Client-IP", "203.0.113.7"),
        ("True-Client-IP", "203.0.113.7"),
        ("CF-Connecting-IP", "203.0.113.7"),
        ("X-Original-Forwarded-For", "203.0.113.7"),
    ] {
        let request = facility.request(&sender, Method::POST, "/v1/sensors/readings").header(name, value);
        let answer = crate::support::facility::send(request.json(&batch("s", 1, now_s()))).await;
        assert_eq!((answer.status, answer.code()), (403, "ip_not_allowed"), "{name}: {value}");
    }
}
