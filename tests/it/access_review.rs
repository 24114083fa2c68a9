//! The quarterly access review, by API.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Facility, batch, now_s};

const REVIEWS: &str = "/admin/v1/access-reviews";
const QUESTIONS: [&str; 6] = ["in_use", "scopes", "credentials", "rate_limits", "ip_allowlist", "contacts"];

fn time(s: i64) -> String {
    jiff::Timestamp::from_second(s).unwrap().to_string()
}

fn at<'a>(list: &'a Value, field: &str, value: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|one| one[field] == value).unwrap_or_else(|| panic!("no {value} in {list}"))
}

/// The report in an answer, byte for byte.
fn report_bytes(text: &str) -> &str {
    let begin = text.find("\"report\":").expect("a report") + "\"report\":".len();
    &text[begin..text.len() - 1]
}

async fn actions(facility: &Facility, action: &str) -> usize {
    let found = facility.get(&format!("/admin/v1/audit-log?action={action}")).await.expect(200);
    found.json["items"].as_array().unwrap().len()
}

// S031, S056, S253, S315, S316, S317, S318, S319, S320, S321, S322, S323: two quarters, traffic, answers, sign-off,
// three files; the same after a restart. S324: the next date.
#[tokio::test]
async fn quarterly_review_by_api() {
    let mut facility = Facility::new().await;
    let sender = facility.active(&["sensors:write", "crm:read"]).await;
    facility.sensor(&sender, "s").await;
    for second in 0..3 {
        facility.ingest(&sender, &batch("s", 1, now_s() - second)).await.expect(200);
    }
    let contact = json!({"name": "=cmd()", "email": "eve@example.org"});
    let hostile = json!({"contacts": [contact], "description": "<script>alert(1)</script>"});
    let path = format!("/admin/v1/integrations/{}", sender.id);
    facility.admin(&facility.alice, Method::PATCH, &path, Some(hostile)).await.expect(200);
    facility.post(&format!("{path}/suspend"), json!({"reason": "drill"})).await.expect(200);
    let reactivated = facility.post_as_bob(&format!("{path}/reactivate"), json!({})).await.expect(200);
    let secret = reactivated.json["credentials"]["api_key"].as_str().unwrap().to_owned();

    // A quarter of which nothing is known, then the one that ends now.
    let (early, begin, end) = (time(now_s() - 180 * 86_400), time(now_s() - 90 * 86_400), time(now_s() + 1));
    let backwards = facility.post(REVIEWS, json!({"from": begin, "to": early})).await.expect(422);
    assert_eq!(backwards.json["errors"][0]["field"], "to", "{}", backwards.text);
    let before = facility.post(REVIEWS, json!({"from": early, "to": begin})).await.expect(201);
    let idle = &before.json["report"]["integrations"][0];
    assert_eq!((&idle["usage"]["requests"], &idle["usage"]["unused"]), (&json!(0), &json!(true)));
    let future = json!({"from": begin, "to": time(now_s() + 3_600)});
    facility.post(REVIEWS, future).await.expect(422);
    tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while time(now_s()) <= end {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the quarter ends");
    let review = facility.post(REVIEWS, json!({"from": begin, "to": end})).await.expect(201);
    let report = &review.json["report"];
    let one = at(&report["integrations"], "id", &sender.id);
    assert_eq!(one["usage"]["readings_accepted"], 3, "{one}");
    assert_eq!(one["sensitive"], json!(["PII"]));
    assert_eq!(one["description"], "<script>alert(1)</script>");
    let (used, unused) = (at(&one["scopes"], "scope", "sensors:write"), at(&one["scopes"], "scope", "crm:read"));
    assert_eq!((&used["unused"], &unused["unused"]), (&json!(false), &json!(true)));
    assert_eq!(one["credential"]["key_prefix"], secret[..16]);
    assert!(one["credential"]["last_rotated_at"].is_string() && one["credential"]["age_days"] == 0, "{one}");
    assert!(one["limits"]["peak_rpm"].as_u64().unwrap() >= 1 && one["limits"]["rate_limit_rpm"] == 60, "{one}");
    assert_eq!((&one["allowlist"]["enabled"], &one["allowlist"]["count"]), (&json!(false), &json!(0)));
    assert_eq!(one["allowlist"]["seen"][0]["address"], "127.0.0.1");
    assert_eq!((&one["owner"]["email"], &one["owner"]["active"]), (&json!("alice@example.org"), &json!(true)));
    for (action, first, second) in [("approve", "alice", "bob"), ("reactivate", "alice", "bob")] {
        let event = at(&report["events"], "action", &format!("integration_{action}"));
        assert_eq!(event["first_of_two"]["email"], format!("{first}@example.org"), "{event}");
        assert_eq!(event["actor"]["email"], format!("{second}@example.org"), "{event}");
    }
    assert_eq!(report["administrators"].as_array().unwrap().len(), 2);
    for hidden in [&secret, &sender.client_secret, &sender.api_key] {
        assert!(!review.text.contains(hidden.as_str()), "a secret is in the report");
    }
    let sha256 = review.json["report_sha256"].as_str().unwrap().to_owned();
    assert_eq!(hex::encode(Sha256::digest(report_bytes(&review.text))), sha256);

    let path = format!("{REVIEWS}/{}", review.json["id"].as_str().unwrap());
    facility.post(&format!("{path}/sign-off"), json!({})).await.expect(409);
    let blank = json!({"answers": [{"question": "scopes", "ok": false}]});
    facility.post(&format!("{path}/answers"), blank).await.expect(422);
    let answers: Vec<Value> = QUESTIONS.map(|question| json!({"question": question, "ok": true})).to_vec();
    facility.post(&format!("{path}/answers"), json!({"answers": answers})).await.expect(200);
    let finding = json!({"question": "scopes", "integration_id": sender.id, "ok": false, "note": "=take crm away"});
    facility.post(&format!("{path}/answers"), json!({"answers": [finding]})).await.expect(200);
    let signed = facility.post_as_bob(&format!("{path}/sign-off"), json!({})).await.expect(200);
    assert!(signed.json["signed_by"].is_string() && signed.json["overdue"] == false, "{}", signed.text);
    facility.post(&format!("{path}/sign-off"), json!({})).await.expect(409);
    facility.post(&format!("{path}/answers"), json!({"answers": answers})).await.expect(409);

    let mut files = Vec::new();
    for format in ["json", "csv", "html"] {
        files.push(facility.get(&format!("{path}?format={format}")).await.expect(200));
    }
    assert!(files[0].text.contains(report_bytes(&review.text)));
    assert!(files[1].text.lines().all(|line| !line.starts_with(['=', '+', '@'])), "{}", files[1].text);
    assert!(!files[1].text.contains(",=") && files[1].text.contains("no allowlist"), "{}", files[1].text);
    assert!(files[2].text.contains("&lt;script&gt;") && !files[2].text.contains("<script"), "{}", files[2].text);
    assert!(files[2].header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    for (action, count) in [("generate", 2), ("answer", 2), ("sign", 1), ("export", 3)] {
        assert_eq!(actions(&facility, &format!("access_review_{action}")).await, count, "{action}");
    }
    let generated = facility.get("/admin/v1/audit-log?action=access_review_generate").await.expect(200);
    assert_eq!(generated.json["items"][1]["after"]["report_sha256"], sha256);

    assert!(facility.server.terminate().success());
    facility.server.restart();
    for (format, was) in ["json", "csv", "html"].iter().zip(&files) {
        let again = facility.get(&format!("{path}?format={format}")).await.expect(200);
        assert_eq!(again.text, was.text, "{format}");
    }
    let database = rusqlite::Connection::open(facility.server.data.join("control.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    for tampering in [
        "UPDATE access_reviews SET answers = '{}', version = version + 1 WHERE signed_by IS NOT NULL",
        "UPDATE access_reviews SET signed_at_us = 1, version = version + 1 WHERE signed_by IS NOT NULL",
        "UPDATE access_reviews SET report = '{}', version = version + 1 WHERE signed_by IS NULL",
        "DELETE FROM access_reviews",
    ] {
        assert!(database.execute(tampering, []).is_err(), "{tampering}");
    }
    let list = facility.get(REVIEWS).await.expect(200);
    assert_eq!(list.json["items"].as_array().unwrap().len(), 2);
    assert_eq!(list.json["overdue"], false, "{}", list.text);
}

// S325: nobody without the permission learns anything, and the attempt is written down.
#[tokio::test]
async fn a_review_needs_the_permission() {
    let facility = Facility::new().await;
    let made = facility.post("/admin/v1/users", json!({"email": "dave@example.org", "name": "Dave"})).await.expect(201);
    let one_time = made.json["one_time_password"].as_str().unwrap();
    let (base, password) = (&facility.server.admin_url, "correct horse battery dave");
    let token = crate::support::facility::first_sign_in(&facility.client, base, "dave@example.org", one_time, password);
    let token = token.await;
    let body = json!({"from": time(now_s() - 86_400), "to": time(now_s())});
    let refused = facility.admin(&token, Method::POST, REVIEWS, Some(body)).await.expect(403);
    assert_eq!(refused.code(), "permission_denied");
    facility.admin(&token, Method::GET, REVIEWS, None).await.expect(403);
    assert!(actions(&facility, "admin_call_refused").await >= 1);
}
