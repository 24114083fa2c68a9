//! Filters, pages, exports, sums; and that organisations see their own only.

use reqwest::Method;
use serde_json::{Value, json};

use super::{entries, explained, patient};
use crate::support::{
    Facility, batch,
    facility::{send, sign_in},
    now_s,
};

// S290, S292, S293, S294: the filters of api.md §6, each of them.
#[tokio::test(flavor = "multi_thread")]
async fn filters_find_exactly_what_they_say() {
    let facility = patient().await;
    let (sender, other) = (facility.busy_sender().await, facility.active(&["equipment:read"]).await);
    for n in 0..3 {
        facility.ingest(&sender, &batch("s", 1, now_s() - n)).await.expect(200);
    }
    facility.ingest_raw(&sender, "nonsense").await.expect(400);
    facility.ingest(&other, &batch("s", 1, now_s())).await.expect(403);
    let named = facility.request(&sender, Method::POST, "/v1/sensors/readings").header("x-request-id", "mine-7");
    let named = send(named.json(&batch("s", 1, now_s() - 50))).await.expect(200);
    let all = format!("integration_id={}", sender.id);
    let hour = now_s() / 3_600 % 24;
    let (next, elsewhere) = (hour + 1, (hour + 5) % 24);
    let id = named.header("x-request-id").unwrap();
    for (query, expected) in [
        (all.clone(), 5),
        (format!("integration_id={}", other.id), 1),
        (format!("{all}&status=400"), 1),
        (format!("{all}&status=2xx"), 4),
        (format!("{all}&code=malformed_json"), 1),
        (format!("{all}&cause=malformed_json"), 1),
        (format!("{all}&ip=127.0.0.0/8"), 5),
        (format!("{all}&ip=10.0.0.0/8"), 0),
        (format!("{all}&scope=sensors:write"), 5),
        (format!("{all}&scope=equipment:read"), 0),
        (format!("{all}&transport=mqtt"), 0),
        (format!("{all}&transport=http"), 5),
        (format!("{all}&from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z"), 0),
        (format!("{all}&from=2020-01-01T00:00:00Z"), 5),
        (format!("{all}&hour_from={elsewhere}&hour_to={}", (elsewhere + 1).min(24)), 0),
        (format!("request_id={id}"), 1),
        (format!("{all}&client_request_id=mine-7"), 1),
    ] {
        assert_eq!(entries(&facility, &query).await.len(), expected, "{query}");
    }
    // Only where the hour has not just ended.
    if now_s() / 3_600 % 24 == hour {
        assert_eq!(entries(&facility, &format!("{all}&hour_from={hour}&hour_to={next}")).await.len(), 5);
    }
    assert_eq!(entries(&facility, &format!("{all}&client_request_id=mine-7")).await[0]["request_id"], id);
    for bad in ["status=abc", "ip=nowhere", "scope=all", "hour_from=25", "limit=201", "cursor=x", "colour=green"] {
        facility.get(&format!("/admin/v1/request-log?{bad}")).await.expect(400);
    }
}

// S294: each entry's time has its zone; pages are stable while others are added.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_stable() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    let mut ids = Vec::new();
    for n in 0..25 {
        let answer = facility.ingest(&sender, &batch("s", 1, now_s() - n)).await.expect(200);
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    ids.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/v1/request-log?integration_id={}&limit=7{cursor}", sender.id);
        let page = facility.get(&path).await.expect(200);
        for entry in page.json["items"].as_array().unwrap() {
            assert!(entry["at"].as_str().unwrap().ends_with('Z'));
            seen.push(entry["request_id"].as_str().unwrap().to_owned());
        }
        facility.ingest(&sender, &batch("s", 1, now_s() - 100)).await.expect(200);
        match page.json["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
}

// S295: the ids of a filtered log as NDJSON and CSV; no cell is a formula.
#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_log_is_exported() {
    let facility = patient().await;
    let sender = facility.busy_sender().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let request = facility.request(&sender, Method::POST, "/v1/sensors/readings").header("x-request-id", "=1+1");
        let answer = send(request.json(&batch("s", 1, now_s() - n))).await.expect(200);
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    facility.ingest_raw(&sender, "nonsense").await.expect(400);
    ids.reverse();
    let path = format!("/admin/v1/request-log?integration_id={}&status=200", sender.id);
    let ndjson = facility.get(&format!("{path}&format=ndjson")).await.expect(200);
    assert_eq!(ndjson.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = ndjson.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    let csv = facility.get(&format!("{path}&format=csv")).await.expect(200);
    let rows: Vec<&str> = csv.text.lines().collect();
    assert!(rows[0].starts_with("request_id,client_request_id,at,"), "{}", rows[0]);
    assert_eq!(rows[1..].iter().map(|row| &row[..36]).collect::<Vec<_>>(), ids);
    assert!(rows[1..].iter().all(|row| row.contains(",'=1+1,")), "{}", csv.text);
    facility.get(&format!("{path}&format=csv&limit=3")).await.expect(400);
}

// S292, S320: addresses with their first time; S294: the hours of the day.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_hours_are_summed() {
    let facility = Facility::with(&[("SENSORGATE__AUTH__TRUSTED_PROXIES", "[\"127.0.0.1/32\"]")]).await;
    let sender = facility.busy_sender().await;
    let from = |addr: &'static str| {
        let request = facility.request(&sender, Method::POST, "/v1/sensors/readings");
        send(request.header("x-forwarded-for", addr).json(&batch("s", 1, now_s())))
    };
    for _ in 0..3 {
        from("203.0.113.5").await.expect(200);
    }
    from("2001:db8::9").await.expect(200);
    let path = |more: &str| format!("/admin/v1/request-log/addresses?integration_id={}{more}", sender.id);
    let seen = facility.get(&path("")).await.expect(200);
    let view = |item: &Value| (item["ip"].as_str().unwrap().to_owned(), item["requests"].as_u64(), item["new"] == true);
    let seen: Vec<_> = seen.json["items"].as_array().unwrap().iter().map(view).collect();
    assert_eq!(seen, [("203.0.113.5".to_owned(), Some(3), true), ("2001:db8::9".to_owned(), Some(1), true)]);
    let later = jiff::Timestamp::now() + std::time::Duration::from_secs(1);
    let known = facility.get(&path(&format!("&from={later}&to=2100-01-01T00:00:00Z&new=true"))).await.expect(200);
    assert_eq!(known.json["items"], json!([]), "they were seen before");
    facility.get("/admin/v1/request-log/addresses").await.expect(400);
    let hours = facility.get(&format!("/admin/v1/request-log/hours?integration_id={}", sender.id)).await.expect(200);
    let hours = hours.json["items"].as_array().unwrap().clone();
    assert_eq!(hours.len(), 24);
    assert_eq!(hours.iter().filter_map(|hour| hour["requests"].as_u64()).sum::<u64>(), 4);
}

// S298, S008: requests that nobody can be named for are listed where there is one organisation only; where there are
// two, neither lists them, each finds them by their id alone, and neither sees anything of the other.
#[tokio::test(flavor = "multi_thread")]
async fn organisations_see_their_own_only() {
    let mut facility = patient().await;
    let sender = facility.busy_sender().await;
    facility.ingest(&sender, &batch("s", 1, now_s())).await.expect(200);
    let stranger = send(facility.client.post(format!("{}/v1/sensors/readings", facility.server.http_url))).await;
    let stranger = stranger.expect(401).header("x-request-id").unwrap().to_owned();
    assert!(entries(&facility, "status=401").await.iter().any(|entry| entry["request_id"] == stranger.as_str()));

    facility.server.terminate();
    let made = facility.server.bootstrap("Rival", ["carol@example.net", "dave@example.net"]);
    facility.server.restart();
    let (alice, password) = ("alice@example.org", facility.passwords[0].clone());
    facility.alice = sign_in(&facility.client, &facility.server.admin_url, alice, &password).await;
    let (email, one_time) = &made[0];
    let first = sign_in(&facility.client, &facility.server.admin_url, email, one_time).await;
    let change = json!({"current_password": one_time, "new_password": "another long password of carol"});
    facility.admin(&first, Method::POST, "/admin/v1/password", Some(change)).await.expect(204);
    let carol = sign_in(&facility.client, &facility.server.admin_url, email, "another long password of carol").await;
    let seen = |token: String, path: String| {
        let facility = &facility;
        async move { facility.admin(&token, Method::GET, &path, None).await }
    };
    let list = seen(carol.clone(), "/admin/v1/request-log".to_owned()).await.expect(200);
    assert_eq!(list.json["items"], json!([]));
    let own = seen(carol.clone(), format!("/admin/v1/request-log?integration_id={}", sender.id)).await;
    assert_eq!(own.status, 404);
    let request =
        entries(&facility, &format!("integration_id={}&status=200", sender.id)).await[0]["request_id"].clone();
    let path = format!("/admin/v1/request-log/{}", request.as_str().unwrap());
    assert_eq!(seen(carol.clone(), path).await.status, 404, "another's request does not exist");
    assert!(entries(&facility, "status=401").await.is_empty(), "nobody's is listed for nobody");
    assert_eq!(explained(&facility, &stranger).await["cause"], "missing_credential");
    assert_eq!(seen(carol, format!("/admin/v1/request-log/{stranger}")).await.status, 200);
}

// S300: nothing secret is in the log: not in its files, and not in what it tells.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_the_log() {
    let mut facility = patient().await;
    let sender = facility.busy_sender().await;
    let url = "/v1/sensors/readings?validate_only=false&secret=QUERYWORD";
    send(facility.request(&sender, Method::POST, url).json(&batch("s", 2, now_s()))).await.expect(200);
    let body =
        json!({"readings": [{"external_id": sender.api_key, "metric": "BODYWORD", "value": 7}], "note": "NOTEWORD"});
    facility.ingest(&sender, &body).await.expect(422);
    facility.ingest_raw(&sender, "{\"RAWWORD\": ").await.expect(400);
    for header in [sender.api_key.as_str(), sender.token.as_str()] {
        let request = facility.request(&sender, Method::POST, "/v1/sensors/readings").header("x-request-id", header);
        send(request.json(&batch("s", 1, now_s()))).await.expect(200);
    }
    let wrong = facility.client.post(format!("{}/v1/sensors/readings", facility.server.http_url));
    send(wrong.header("x-api-key", &sender.token).bearer_auth(&sender.api_key)).await.expect(401);
    let told = facility.get("/admin/v1/request-log?format=ndjson").await.expect(200).text;
    assert!(told.lines().count() >= 6);
    facility.server.terminate();
    let mut files = vec![told.into_bytes()];
    for file in std::fs::read_dir(&facility.server.data).unwrap().filter_map(Result::ok) {
        if file.file_name().to_string_lossy().starts_with("request-log") {
            files.push(std::fs::read(file.path()).unwrap());
        }
    }
    assert!(files.len() >= 2);
    let secrets = [&sender.api_key[16..], &sender.token, &sender.client_secret, "QUERYWORD", "NOTEWORD", "RAWWORD"];
    for bytes in &files {
        for secret in secrets {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is in the log");
        }
    }
}

// S327: what an integration that is stuck in Requested waits for is told: an approver who is not the requester.
#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_request_says_what_is_missing() {
    let facility = Facility::new().await;
    let id = facility.requested(&["sensors:write"]).await;
    let shown = facility.get(&format!("/admin/v1/integrations/{id}")).await.expect(200);
    assert_eq!((&shown.json["status"], &shown.json["eligible_approvers"]), (&json!("requested"), &json!(1)));
    assert_eq!(shown.json["approver_available"], true);
}
