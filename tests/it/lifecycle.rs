//! The life of an integration at the socket: each cell of the table, what a cut cuts, crashes, the policy on sensitive
//! scopes, grants that end, the hand-over sheet, and broken glass.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Facility,
    facility::{send, sign_in},
    now_s,
    server::sensorgate,
};

const STATUSES: [&str; 5] = ["requested", "approved", "active", "suspended", "revoked"];

fn at(id: &str, rest: &str) -> String {
    format!("/admin/v1/integrations/{id}{rest}")
}

/// An integration of this status, requested, and last suspended, by Alice.
async fn in_status(facility: &Facility, status: &str) -> Value {
    let id = facility.requested(&["sensors:write"]).await;
    let steps: &[(&str, bool)] = match status {
        "requested" => &[],
        "approved" => &[("/approve", false)],
        "active" => &[("/approve", false), ("/activate", true)],
        "suspended" => &[("/approve", false), ("/activate", true), ("/suspend", true)],
        _ => &[("/revoke", true)],
    };
    for (step, is_alice) in steps {
        let who = if *is_alice { &facility.alice } else { &facility.bob };
        let body = if *step == "/suspend" { json!({"reason": "A test"}) } else { json!({}) };
        facility.admin(who, Method::POST, &at(&id, step), Some(body)).await.expect(200);
    }
    let now = facility.get(&at(&id, "")).await.expect(200).json;
    assert_eq!(now["status"], status);
    now
}

/// The call of an action.
async fn act(facility: &Facility, who: &str, id: &str, action: &str, if_match: Option<&str>) -> Answer {
    let (method, rest, body) = match action {
        "update" => (Method::PATCH, String::new(), json!({"rate_limit_rpm": 61})),
        "suspend" => (Method::POST, "/suspend".to_owned(), json!({"reason": "A test"})),
        "regenerate" => (Method::POST, "/api-key".to_owned(), json!({})),
        _ => (Method::POST, format!("/{action}"), json!({})),
    };
    let mut call = facility.client.request(method, format!("{}{}", facility.server.admin_url, at(id, &rest)));
    if let Some(tag) = if_match {
        call = call.header("If-Match", tag);
    }
    send(call.bearer_auth(who).json(&body)).await
}

fn leads_to(action: &str, from: &str) -> Option<&'static str> {
    let to = |to: &str| STATUSES.into_iter().find(|status| *status == to);
    match (action, from) {
        (_, "revoked") => None,
        ("update", from) => to(from),
        ("approve", "requested") => to("approved"),
        ("activate", "approved") | ("reactivate", "suspended") | ("regenerate", "active") => to("active"),
        ("suspend", "active") | ("regenerate", "suspended") => to("suspended"),
        ("revoke", _) => to("revoked"),
        _ => None,
    }
}

// S149, S071, S080, S102, S103, S107, S129, S137, S138: all 35 cells; the state before the person before the version.
#[tokio::test]
async fn the_table_of_states_and_actions_holds_at_the_socket() {
    let facility = Facility::new().await;
    for status in STATUSES {
        for action in ["approve", "activate", "update", "suspend", "reactivate", "regenerate", "revoke"] {
            let before = in_status(&facility, status).await;
            let id = before["id"].as_str().expect("an id").to_owned();
            let cell = format!("{action} in {status}");
            match leads_to(action, status) {
                None => {
                    for who in [&facility.alice, &facility.bob] {
                        let answer = act(&facility, who, &id, action, Some("\"999\"")).await;
                        assert_eq!((answer.status, answer.code()), (409, "invalid_state"), "{cell}: {}", answer.text);
                    }
                    assert_eq!(facility.get(&at(&id, "")).await.json, before, "{cell} changed something");
                }
                Some(to) => {
                    let forbidden = match action {
                        "approve" => Some("self_approval"),
                        "reactivate" => Some("self_reactivation"),
                        _ => None,
                    };
                    if let Some(code) = forbidden {
                        let answer = act(&facility, &facility.alice, &id, action, Some("\"999\"")).await;
                        assert_eq!((answer.status, answer.code()), (403, code), "{cell}: {}", answer.text);
                    }
                    let answer = act(&facility, &facility.bob, &id, action, Some("\"999\"")).await;
                    assert_eq!((answer.status, answer.code()), (412, "version_conflict"), "{cell}: {}", answer.text);
                    assert_eq!(facility.get(&at(&id, "")).await.json, before, "{cell} changed something");
                    let tag = format!("\"{}\"", before["version"]);
                    let answer = act(&facility, &facility.bob, &id, action, Some(&tag)).await.expect(200);
                    assert_eq!(facility.get(&at(&id, "")).await.json["status"], to, "{cell}");
                    let shows_key = answer.text.contains("grq_live_") && answer.text.contains("api_key\"");
                    assert_eq!(shows_key, ["activate", "reactivate", "regenerate"].contains(&action), "{cell}");
                }
            }
            if status != "revoked" {
                act(&facility, &facility.bob, &id, "revoke", None).await;
            }
        }
    }
}

// S079, S088, S106, S122, S136, S146: who requested or approved may do each other step alone; declining is revoking.
#[tokio::test]
async fn one_person_is_enough_for_all_but_two_steps() {
    let facility = Facility::new().await;
    for (one, other) in [(&facility.alice, &facility.bob), (&facility.bob, &facility.alice)] {
        let id = in_status(&facility, "approved").await["id"].as_str().expect("an id").to_owned();
        let step = async |who: &String, step: &str, body: Value, status: &str| {
            let answer = facility.admin(who, Method::POST, &at(&id, step), Some(body)).await.expect(200);
            assert_eq!(answer.json["status"], status, "{step}: {}", answer.text);
        };
        step(one, "/activate", json!({}), "active").await;
        step(one, "/suspend", json!({"reason": "Odd traffic"}), "suspended").await;
        step(other, "/reactivate", json!({"reason": "It was a test"}), "active").await;
        step(one, "/revoke", json!({}), "revoked").await;
        let told = history(&facility, &id).await;
        assert!(told.iter().any(|entry| entry["reason"] == "It was a test"), "{told:?}");
    }
    let id = facility.requested(&[]).await;
    let declined = facility.post(&at(&id, "/revoke"), json!({"reason": "Not needed"})).await.expect(200);
    assert_eq!((&declined.json["status"], &declined.json["approved_by"]), (&json!("revoked"), &Value::Null));
}

// S004, S003: what integrations call with opens nothing, and nothing opens nothing.
#[tokio::test]
async fn machines_never_are_administrators() {
    let facility = Facility::new().await;
    let machine = facility.active(&["sensors:write", "webhooks:manage"]).await;
    for token in [machine.token.as_str(), machine.api_key.as_str(), machine.client_secret.as_str(), ""] {
        for path in ["/admin/v1/integrations", "/admin/v1/users", "/admin/v1/audit-log", "/admin/v1/me"] {
            let call = facility.client.get(format!("{}{path}", facility.server.admin_url)).bearer_auth(token);
            let answer = send(call.header("X-API-Key", &machine.api_key)).await;
            assert_eq!((answer.status, answer.code()), (401, "not_signed_in"), "{path}: {}", answer.text);
        }
    }
}

async fn history(facility: &Facility, id: &str) -> Vec<Value> {
    let page = facility.get(&at(id, "/history?limit=200")).await.expect(200);
    page.json["items"].as_array().expect("entries").clone()
}

// S113, S115, S140: what a suspension, a regeneration and a revocation cut stands in the answer and in the audit log.
#[tokio::test]
async fn what_was_cut_is_answered_and_written_down() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    let id = &sender.id;
    for (step, body) in [
        ("/api-key", json!({})),
        ("/suspend", json!({"reason": "A test"})),
        ("/api-key", json!({})),
        ("/revoke", json!({})),
    ] {
        let answer = facility.post(&at(id, step), body).await.expect(200);
        let entries = history(&facility, id).await;
        let request_id = answer.header("x-request-id").expect("an id");
        let of_call: Vec<&Value> = entries.iter().filter(|entry| entry["request_id"] == request_id).collect();
        if answer.json["staged"] == true {
            assert_eq!(of_call.len(), 1, "a staged key cuts nobody: {of_call:?}");
            continue;
        }
        assert_eq!(of_call.len(), 2, "{step}: {entries:#?}");
        assert_eq!((&of_call[1]["action"], &of_call[1]["actor"]), (&json!("integration_cut"), &Value::Null));
        assert_eq!(of_call[1]["after"], answer.json["cut"], "{step}");
    }
    assert_eq!(facility.get("/admin/v1/audit-log/verify").await.json["ok"], true);
}

/// A number below `below`, of a walk that is the same each time.
fn draw(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from((*state >> 33) % below as u64).expect("small")
}

// S151, S152: a walk over actions and people in which the process is killed again and again: what was answered stands,
// what was refused changed nothing, and the audit log is whole.
#[tokio::test]
async fn what_was_answered_stands_after_each_kill() {
    let mut facility = Facility::new().await;
    let id = facility.requested(&["sensors:write"]).await;
    let actions = ["approve", "activate", "suspend", "reactivate", "regenerate", "update", "suspend", "reactivate"];
    let mut seed = 20_260_105;
    let mut expected = facility.get(&at(&id, "")).await.json;
    for step in 0..60 {
        let who = if draw(&mut seed, 2) == 0 { facility.alice.clone() } else { facility.bob.clone() };
        let action = actions[draw(&mut seed, actions.len())];
        let answer = act(&facility, &who, &id, action, None).await;
        if step % 10 == 9 {
            facility.server.kill_9();
            facility.server.restart();
        }
        let now = facility.get(&at(&id, "")).await.expect(200).json;
        if answer.status == 200 {
            let to = leads_to(action, expected["status"].as_str().expect("a status"));
            assert_eq!(now["status"].as_str(), to, "{action}: {}", answer.text);
        } else {
            assert!([403, 409].contains(&answer.status), "{action}: {}", answer.text);
            assert_eq!(now, expected, "{action}");
        }
        if now["status"] == "active" {
            assert_ne!(now["approved_by"], now["requested_by"]);
            assert!(now["reactivated_by"].is_null() || now["reactivated_by"] != now["suspended_by"]);
        }
        expected = now;
    }
    assert_eq!(facility.get("/admin/v1/audit-log/verify").await.json["ok"], true);
}

// S054, S055, S064, S093, S095, A11: the policy at the socket.
#[tokio::test]
async fn sensitive_scopes_wait_where_the_configuration_says_so() {
    let facility = Facility::with(&[
        ("SENSORGATE__CONTROL__SENSITIVE_SCOPES_NEED_TWO", "true"),
        ("SENSORGATE__CONTROL__JUSTIFICATION_REQUIRED", "true"),
    ])
    .await;
    let id = facility.active(&["sensors:write"]).await.id;
    let wish = json!({"scopes": ["sensors:write", "orders:read", "crm:read"]});
    let answer = facility.admin(&facility.alice, Method::PATCH, &at(&id, ""), Some(wish.clone())).await.expect(422);
    assert_eq!(answer.json["errors"][0]["field"], "justification", "{}", answer.text);
    let mut reasoned = wish;
    reasoned["justification"] = json!("Customers are written to");
    let asked = facility.admin(&facility.alice, Method::PATCH, &at(&id, ""), Some(reasoned)).await.expect(200).json;
    assert_eq!(asked["scopes"], json!(["sensors:write", "orders:read"]));
    assert_eq!(
        (&asked["scopes_pending"], &asked["approved_scopes"]),
        (&json!(["crm:read"]), &json!(["sensors:write"]))
    );
    let answer = facility.post(&at(&id, "/scopes/confirm"), json!({})).await;
    assert_eq!((answer.status, answer.code()), (403, "self_confirmation"), "{}", answer.text);
    let done = facility.post_as_bob(&at(&id, "/scopes/confirm"), json!({})).await.expect(200).json;
    assert_eq!(done["scopes"], json!(["sensors:write", "orders:read", "crm:read"]));
    assert!(done["scopes_pending"].is_null());
    facility.post_as_bob(&at(&id, "/scopes/decline"), json!({})).await.expect(409);
    let told = history(&facility, &id).await;
    assert_eq!(told.iter().filter(|entry| entry["action"] == "scopes_widened").count(), 2);
    assert!(told.iter().any(|entry| entry["action"] == "integration_scopes_confirm_refused"));
}

// A25: a grant ends by itself, and the audit log tells it as the server's doing.
#[tokio::test]
async fn a_grant_ends_by_itself() {
    let facility = Facility::new().await;
    let id = facility.active(&["sensors:write"]).await.id;
    let until = jiff::Timestamp::from_second(now_s() + 2).expect("a time").to_string();
    let grant = json!({"rpm": 600, "until": until, "reason": "Harvest"});
    facility.post(&at(&id, "/grants"), grant).await.expect(200);
    assert_eq!(facility.get(&at(&id, "")).await.json["temporary_limit"]["rpm"], 600);
    let mut entries = Vec::new();
    for _ in 0..200 {
        entries = history(&facility, &id).await;
        if entries.iter().any(|entry| entry["action"] == "integration_grant_expire") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let told = entries.last().expect("an entry");
    assert_eq!((&told["action"], &told["actor"]), (&json!("integration_grant_expire"), &Value::Null), "{entries:#?}");
    assert!(facility.get(&at(&id, "")).await.json["temporary_limit"].is_null());
}

// S065, S213, S214: the sheet has the seven items and no secret, in each form.
#[tokio::test]
async fn the_hand_over_sheet_has_all_items_and_no_secret() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    let sheet = facility.get(&at(&sender.id, "/handover")).await.expect(200);
    let items: Vec<&str> =
        sheet.json["items"].as_array().expect("items").iter().filter_map(|item| item["item"].as_str()).collect();
    let wanted =
        ["api_key", "client_id", "client_secret", "domain", "docs_url", "granted_scopes", "webhook_signing_secret"];
    assert_eq!(items, wanted);
    let shared: Vec<bool> =
        sheet.json["items"].as_array().expect("items").iter().filter_map(|item| item["share"].as_bool()).collect();
    assert_eq!(shared, [true, true, true, true, true, true, false], "no webhooks, no signing secret");
    for format in ["json", "html", "text"] {
        let sheet = facility.get(&at(&sender.id, &format!("/handover?format={format}"))).await.expect(200);
        for secret in [&sender.api_key, &sender.client_secret, &sender.token] {
            assert!(!sheet.text.contains(secret.as_str()), "{format}");
        }
        for told in
            [&sender.client_id, &sender.api_key[..16], &facility.server.audience, &format!("grq/v1/{}", sender.id)]
        {
            assert!(sheet.text.contains(told), "{format} lacks {told}: {}", sheet.text);
        }
    }
    let docs = sheet.json["items"][4]["value"].as_str().expect("a URL").to_owned();
    let docs = send(facility.client.get(docs)).await.expect(200);
    assert!(docs.json["openapi"].is_string(), "the API documentation is there, for everybody");
    facility.get(&at(&sender.id, "/handover?format=pdf")).await.expect(400);
}

// api.md §6: with a single holder left the server's command confirms; not before, and loudly.
#[tokio::test]
async fn the_glass_is_broken_only_where_one_holder_is_left() {
    let mut facility = Facility::new().await;
    let new = json!({
        "email": "carla@example.org", "name": "Carla", "permissions": ["administration_integrations_access"],
    });
    let carla = facility.post("/admin/v1/users", new).await.expect(201).json;
    let confirm = format!("/admin/v1/users/{}/confirm", carla["id"].as_str().expect("an id"));
    let one_time = carla["one_time_password"].as_str().expect("one").to_owned();
    let base = facility.server.admin_url.clone();
    let token = sign_in(&facility.client, &base, "carla@example.org", &one_time).await;
    let change = json!({"current_password": one_time, "new_password": "the password of carla"});
    send(facility.client.post(format!("{base}/admin/v1/password")).bearer_auth(token).json(&change)).await;
    let data = facility.server.data.clone();
    let break_glass = || {
        let mut command = sensorgate();
        command.args(["break-glass", "carla@example.org", "--reason", "Bob has left", "--data-dir"]).arg(&data);
        command.output().expect("it runs")
    };
    let said = |output: std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let refusal = said(break_glass());
    assert!(refusal.contains("data directory"), "while the service runs: {refusal}");
    facility.server.terminate();
    let refusal = said(break_glass());
    assert!(refusal.contains("two holders are left"), "{refusal}");
    facility.server.restart();
    let users = facility.get("/admin/v1/users").await.expect(200).json;
    let bob = users["items"].as_array().expect("users").iter().find(|user| user["email"] == "bob@example.org");
    let path = format!("/admin/v1/users/{}", bob.expect("Bob")["id"].as_str().expect("an id"));
    facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"active": false}))).await.expect(200);
    facility.server.terminate();
    assert!(break_glass().status.success());
    facility.server.restart();
    // The warning follows once the service answers.
    for _ in 0..100 {
        if facility.server.log().contains("breaking the glass") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(facility.server.log().contains("breaking the glass"), "each start warns");
    let carla =
        sign_in(&facility.client, &facility.server.admin_url, "carla@example.org", "the password of carla").await;
    facility.admin(&carla, Method::GET, "/admin/v1/integrations", None).await.expect(200);
    let log = facility.get("/admin/v1/audit-log?action=break_glass").await.expect(200).json;
    assert_eq!((&log["items"][0]["reason"], &log["items"][0]["actor"]), (&json!("Bob has left"), &Value::Null));
    let metric = "sensorgate_control_break_glass_permissions";
    let shows = async |facility: &Facility, count: &str| {
        for _ in 0..100 {
            let metrics = send(facility.client.get(format!("{}/metrics", facility.server.admin_url))).await.text;
            if metrics.lines().any(|line| line == format!("{metric} {count}")) {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        false
    };
    assert!(shows(&facility, "1").await);
    // Who gave the permission does not end the emergency; a third holder does.
    assert_eq!(facility.post(&confirm, json!({})).await.code(), "self_confirmation");
    facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"active": true}))).await.expect(200);
    facility.admin(&carla, Method::POST, &format!("{path}/confirm"), Some(json!({}))).await.expect(200);
    let bob = sign_in(&facility.client, &facility.server.admin_url, "bob@example.org", &facility.passwords[1]).await;
    facility.admin(&bob, Method::POST, &confirm, Some(json!({}))).await.expect(200);
    assert!(shows(&facility, "0").await);
}
