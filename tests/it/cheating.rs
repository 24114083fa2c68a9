//! Two administrators who try to get around the rule of two with the API, with many calls at once, and with a hand at
//! the SQL prompt. (With the command line: `cheating_cli.rs`.)

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Facility, batch,
    facility::{send, sign_in},
    now_s,
};

const PUPPET: &str = "a password of the puppet";

fn at(id: &str, rest: &str) -> String {
    format!("/admin/v1/integrations/{id}{rest}")
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
}

async fn user_id(facility: &Facility, email: &str) -> String {
    let users = facility.get("/admin/v1/users").await.expect(200).json;
    let users = users["items"].as_array().expect("users");
    let user = users.iter().find(|user| user["email"] == email).expect("the user");
    user["id"].as_str().expect("an id").to_owned()
}

/// Signs in with a one-time password and sets another; the token.
async fn take_over(facility: &Facility, email: &str, one_time: &str) -> String {
    let base = &facility.server.admin_url;
    let token = sign_in(&facility.client, base, email, one_time).await;
    let change = json!({"current_password": one_time, "new_password": PUPPET});
    let answer =
        send(facility.client.post(format!("{base}/admin/v1/password")).bearer_auth(&token).json(&change)).await;
    assert!(answer.status < 300, "{}", answer.text);
    sign_in(&facility.client, base, email, PUPPET).await
}

async fn history(facility: &Facility, id: &str) -> Vec<Value> {
    let page = facility.get(&at(id, "/history?limit=200")).await.expect(200);
    page.json["items"].as_array().expect("entries").clone()
}

/// Reads the history of `id`: every step was open to who took it, and the integration stands where it leads.
async fn assert_legal(facility: &Facility, id: &str) {
    let entries = history(facility, id).await;
    let (mut status, mut requester, mut suspender, mut approved) = ("", Value::Null, Value::Null, false);
    for entry in &entries {
        let actor = &entry["actor"];
        match entry["action"].as_str().expect("an action") {
            "integration_create" => (status, requester) = ("requested", actor.clone()),
            "integration_approve" => {
                assert!(status == "requested" && *actor != requester, "{entries:#?}");
                (status, approved) = ("approved", true);
            }
            "integration_activate" => {
                assert!(status == "approved" && approved, "{entries:#?}");
                status = "active";
            }
            "integration_suspend" => {
                assert!(status == "active" && entry["reason"].is_string(), "{entries:#?}");
                (status, suspender) = ("suspended", actor.clone());
            }
            "integration_reactivate" => {
                assert!(status == "suspended" && *actor != suspender, "{entries:#?}");
                status = "active";
            }
            "integration_revoke" => {
                assert_ne!(status, "revoked", "{entries:#?}");
                status = "revoked";
            }
            _ => {}
        }
    }
    let now = facility.get(&at(id, "")).await.expect(200).json;
    assert_eq!(now["status"], status, "{entries:#?}");
}

// S066, S067, S068, S076, S078: nobody approves their own request: under another address, after an edit by the other,
// with another session, or by having it restored.
#[tokio::test]
async fn nobody_approves_their_own_request() {
    let facility = Facility::new().await;
    let id = facility.requested(&["sensors:write"]).await;
    refused(&facility.post(&at(&id, "/approve"), json!({})).await, 403, "self_approval");
    let said = facility.post(&at(&id, "/approve"), json!({})).await;
    assert!(said.text.contains("different administrator"), "{}", said.text);

    let alice = user_id(&facility, "alice@example.org").await;
    let renamed = json!({"email": "somebody.else@example.org", "name": "Somebody Else"});
    facility
        .admin(&facility.alice, Method::PATCH, &format!("/admin/v1/users/{alice}"), Some(renamed))
        .await
        .expect(200);
    let again =
        sign_in(&facility.client, &facility.server.admin_url, "somebody.else@example.org", &facility.passwords[0]);
    let again = again.await;
    refused(&facility.admin(&again, Method::POST, &at(&id, "/approve"), Some(json!({}))).await, 403, "self_approval");
    // Edited by the other, it is still hers; and fields that she has no business with are refused.
    let edit = Some(json!({"description": "Edited by Bob"}));
    facility.admin(&facility.bob, Method::PATCH, &at(&id, ""), edit).await.expect(200);
    refused(&facility.post(&at(&id, "/approve"), json!({})).await, 403, "self_approval");
    for field in ["requested_by", "approved_by", "status", "vendor", "id"] {
        let forged = Some(json!({field: "x"}));
        let answer = facility.admin(&facility.alice, Method::PATCH, &at(&id, ""), forged).await;
        refused(&answer, 422, "validation_failed");
    }
    let planted = json!({"vendor": "Custom", "name": "n", "description": "d", "owner_id": alice, "status": "active"});
    refused(&facility.post("/admin/v1/integrations", planted).await, 422, "validation_failed");
    for step in ["/activate", "/reactivate", "/api-key", "/suspend"] {
        let answer = facility.post(&at(&id, step), json!({"reason": "x"})).await;
        assert!([409, 422].contains(&answer.status), "{step}: {}", answer.text);
    }
    assert_eq!(facility.get(&at(&id, "")).await.json["status"], "requested");
    // Every refusal because of the person stands in the log.
    let log = history(&facility, &id).await;
    assert_eq!(log.iter().filter(|entry| entry["action"] == "integration_approve_refused").count(), 4);
    facility.post_as_bob(&at(&id, "/approve"), json!({})).await.expect(200);
    assert_legal(&facility, &id).await;
}

// S009, S078, api.md §6: neither a puppet, nor a colleague's reset password, nor a colleague who is let go and taken
// back makes one person two.
#[tokio::test]
async fn nobody_makes_a_second_administrator_of_themselves() {
    let facility = Facility::new().await;
    let id = facility.requested(&["sensors:write"]).await;
    let permission = json!(["administration_integrations_access"]);
    let puppet = json!({"email": "puppet@example.org", "name": "Puppet", "permissions": permission});
    let made = facility.post("/admin/v1/users", puppet).await.expect(201).json;
    assert_eq!(made["permissions"], json!([]));
    let puppet_id = made["id"].as_str().expect("an id").to_owned();
    let puppet = take_over(&facility, "puppet@example.org", made["one_time_password"].as_str().expect("one")).await;
    let confirm = format!("/admin/v1/users/{puppet_id}/confirm");
    refused(&facility.admin(&puppet, Method::POST, &at(&id, "/approve"), None).await, 403, "permission_denied");
    refused(&facility.admin(&puppet, Method::POST, &confirm, None).await, 403, "permission_denied");
    refused(&facility.post(&confirm, json!({})).await, 403, "self_confirmation");
    // Taking it away and giving it again changes nothing.
    for permissions in [json!([]), permission.clone()] {
        let patch = Some(json!({"permissions": permissions}));
        let path = format!("/admin/v1/users/{puppet_id}");
        facility.admin(&facility.alice, Method::PATCH, &path, patch).await.expect(200);
    }
    refused(&facility.post(&confirm, json!({})).await, 403, "self_confirmation");

    // Losing the permission has ended the puppet's session.
    let puppet = sign_in(&facility.client, &facility.server.admin_url, "puppet@example.org", PUPPET).await;

    // Bob's password, reset by Alice: his permission waits, his sessions are over, and she cannot confirm.
    let bob_id = user_id(&facility, "bob@example.org").await;
    let reset = facility.post(&format!("/admin/v1/users/{bob_id}/password-reset"), json!({})).await.expect(200).json;
    assert_eq!(reset["permissions"], json!([]));
    refused(&facility.post_as_bob(&at(&id, "/approve"), json!({})).await, 401, "not_signed_in");
    let as_bob = take_over(&facility, "bob@example.org", reset["one_time_password"].as_str().expect("one")).await;
    for (who, path, code) in [
        (&as_bob, at(&id, "/approve"), "permission_denied"),
        (&as_bob, confirm.clone(), "permission_denied"),
        (&puppet, format!("/admin/v1/users/{bob_id}/confirm"), "permission_denied"),
        (&facility.alice, format!("/admin/v1/users/{bob_id}/confirm"), "self_confirmation"),
    ] {
        refused(&facility.admin(who, Method::POST, &path, None).await, 403, code);
    }
    // Deactivated and taken back he waits as well, and the last holder cannot be removed.
    for active in [false, true] {
        let path = format!("/admin/v1/users/{bob_id}");
        facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"active": active}))).await.expect(200);
    }
    refused(&facility.post(&format!("/admin/v1/users/{bob_id}/confirm"), json!({})).await, 403, "self_confirmation");
    let alice_id = user_id(&facility, "alice@example.org").await;
    let path = format!("/admin/v1/users/{alice_id}");
    for last in [json!({"active": false}), json!({"permissions": []})] {
        let answer = facility.admin(&facility.alice, Method::PATCH, &path, Some(last)).await;
        refused(&answer, 409, "invalid_state");
    }
    refused(&facility.post(&format!("{path}/password-reset"), json!({})).await, 409, "invalid_state");
    assert_eq!(facility.get(&at(&id, "")).await.json["status"], "requested");
}

// S125–S128, S121, S131, S142: who suspended cannot bring it back, by no call; a revoked one lends its credentials to
// nobody.
#[tokio::test]
async fn nobody_reactivates_what_they_suspended_or_revives_what_was_revoked() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let id = &sender.id;
    facility.post(&at(id, "/suspend"), json!({"reason": "A test"})).await.expect(200);
    refused(&facility.post(&at(id, "/reactivate"), json!({})).await, 403, "self_reactivation");
    facility.post(&at(id, "/api-key"), json!({})).await.expect(200);
    refused(
        &facility.post(&at(id, "/reactivate"), json!({"credentials": "keep_staged"})).await,
        403,
        "self_reactivation",
    );
    refused(&facility.post(&at(id, "/activate"), json!({})).await, 409, "invalid_state");
    refused(&facility.post(&at(id, "/suspend"), json!({"reason": "mine"})).await, 409, "invalid_state");
    let patch = Some(json!({"suspended_by": null}));
    refused(&facility.admin(&facility.alice, Method::PATCH, &at(id, ""), patch).await, 422, "validation_failed");
    // Only the latest suspension counts.
    facility.post_as_bob(&at(id, "/reactivate"), json!({})).await.expect(200);
    facility.post_as_bob(&at(id, "/suspend"), json!({"reason": "Another test"})).await.expect(200);
    refused(&facility.post_as_bob(&at(id, "/reactivate"), json!({})).await, 403, "self_reactivation");
    facility.post(&at(id, "/reactivate"), json!({})).await.expect(200);

    facility.post(&at(id, "/revoke"), json!({})).await.expect(200);
    for step in ["/approve", "/activate", "/reactivate", "/api-key", "/revoke"] {
        for who in [&facility.alice, &facility.bob] {
            let answer = facility.admin(who, Method::POST, &at(id, step), Some(json!({}))).await;
            refused(&answer, 409, "invalid_state");
        }
    }
    // A new one that takes its client over does not take its key over.
    let alice = user_id(&facility, "alice@example.org").await;
    let wish = json!({
        "vendor": "Custom", "name": "Climate computer", "description": "d", "owner_id": alice,
        "client_id": sender.client_id,
    });
    let answer = facility.post("/admin/v1/integrations", wish).await;
    assert!(answer.status == 422 || answer.json["id"] != json!(id), "{}", answer.text);
    let refusal = facility.ingest(&sender, &batch("s", 1, now_s())).await;
    refused(&refusal, 401, "unauthorized");
    assert_legal(&facility, id).await;
}

/// All of `calls` at the same time: who, and where to.
async fn at_once(facility: &Facility, calls: Vec<(&String, String, Value)>) -> Vec<Answer> {
    let mut running = tokio::task::JoinSet::new();
    for (who, path, body) in calls {
        let call = facility.client.post(format!("{}{path}", facility.server.admin_url)).bearer_auth(who).json(&body);
        running.spawn(send(call));
    }
    running.join_all().await
}

// S077: of 50 approvals at once one counts, and it is not the requester's.
#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_approvals_at_once_one_counts() {
    let facility = Facility::new().await;
    let id = facility.requested(&["sensors:write"]).await;
    let who = |n: usize| if n.is_multiple_of(2) { &facility.alice } else { &facility.bob };
    let answers = at_once(&facility, (0..50).map(|n| (who(n), at(&id, "/approve"), json!({}))).collect()).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| [200, 403, 409].contains(&answer.status)), "{answers:?}");
    assert_legal(&facility, &id).await;
}

// S073: an approval that carries the version it has read never approves what was put in behind it.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_never_covers_an_edit_that_it_has_not_seen() {
    let facility = Facility::new().await;
    for _ in 0..10 {
        let id = facility.requested(&["sensors:write"]).await;
        let read = facility.get(&at(&id, "")).await.expect(200);
        let tag = read.header("etag").expect("a tag").to_owned();
        let approve = facility.client.post(format!("{}{}", facility.server.admin_url, at(&id, "/approve")));
        let approve = send(approve.bearer_auth(&facility.bob).header("If-Match", tag));
        let edit = Some(json!({"scopes": ["crm:read", "crm:write"]}));
        let path = at(&id, "");
        let edit = facility.admin(&facility.alice, Method::PATCH, &path, edit);
        let (approved, edited) = tokio::join!(approve, edit);
        edited.expect(200);
        let now = facility.get(&at(&id, "")).await.expect(200).json;
        match approved.status {
            // First the approval: the edit is told as one that nobody has approved.
            200 => {
                assert_eq!(now["approved_scopes"], json!(["sensors:write"]));
                assert!(history(&facility, &id).await.iter().any(|entry| entry["action"] == "scopes_widened"));
            }
            _ => {
                refused(&approved, 412, "version_conflict");
                assert_eq!(now["status"], "requested");
            }
        }
        facility.post(&at(&id, "/revoke"), json!({})).await.expect(200);
    }
}

// S148, S128: however suspensions and reactivations fall, the history is legal.
#[tokio::test(flavor = "multi_thread")]
async fn suspensions_and_reactivations_at_once_make_a_legal_history() {
    let facility = Facility::new().await;
    let id = facility.active(&["sensors:write"]).await.id;
    for _ in 0..6 {
        let mut calls = Vec::new();
        for who in [&facility.alice, &facility.bob] {
            calls.push((who, at(&id, "/suspend"), json!({"reason": "a race"})));
            calls.push((who, at(&id, "/reactivate"), json!({})));
            calls.push((who, at(&id, "/api-key"), json!({})));
        }
        let answers = at_once(&facility, calls).await;
        assert!(answers.iter().all(|answer| [200, 403, 409].contains(&answer.status)), "{answers:?}");
    }
    assert_legal(&facility, &id).await;
    let verdict = facility.get("/admin/v1/audit-log/verify").await.expect(200).json;
    assert_eq!(verdict["ok"], true);
}

// S153, S154, S156: the last of the 20 places is given once.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_activations_for_the_last_place_one_counts() {
    let facility = Facility::new().await;
    let first = facility.active(&["sensors:write"]).await.id;
    for _ in 0..18 {
        facility.active(&["sensors:write"]).await;
    }
    facility.post(&at(&first, "/suspend"), json!({"reason": "It still counts"})).await.expect(200);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let id = facility.requested(&["sensors:write"]).await;
        facility.post_as_bob(&at(&id, "/approve"), json!({})).await.expect(200);
        waiting.push(id);
    }
    let who = [&facility.alice, &facility.bob];
    let calls = waiting.iter().zip(who).map(|(id, who)| (who, at(id, "/activate"), json!({}))).collect();
    let answers = at_once(&facility, calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    let loser = answers.iter().find(|answer| answer.status != 200).expect("one that found no place");
    refused(loser, 409, "integration_limit");
    assert!(loser.text.contains("revoke") && loser.text.contains("suspended"), "{}", loser.text);
    let list = facility.get("/admin/v1/integrations").await.expect(200).json;
    assert_eq!((&list["used"], &list["limit"]), (&json!(20), &json!(20)));
}

// S128, S141, S151: the same tried with a hand at the SQL prompt, while the service runs.
#[tokio::test]
async fn the_database_refuses_what_the_service_refuses() {
    let facility = Facility::new().await;
    let active = facility.active(&["sensors:write"]).await.id;
    let suspended = facility.active(&["sensors:write"]).await.id;
    facility.post(&at(&suspended, "/suspend"), json!({"reason": "A test"})).await.expect(200);
    let requested = facility.requested(&["sensors:write"]).await;
    let revoked = facility.requested(&["sensors:write"]).await;
    facility.post(&at(&revoked, "/revoke"), json!({})).await.expect(200);
    let alice = user_id(&facility, "alice@example.org").await;
    let sql = rusqlite::Connection::open(facility.server.data.join("control.db")).expect("the database");
    sql.busy_timeout(std::time::Duration::from_secs(10)).expect("set");
    let blob = |id: &str| format!("x'{}'", id.replace('-', ""));
    for (id, set) in [
        (&requested, "status = 'approved', approved_at_us = 1, approved_by = :alice"),
        (&requested, "status = 'active', slot = 9"),
        (&requested, "requested_by = randomblob(16)"),
        (&suspended, "status = 'active', reactivated_at_us = 1, reactivated_by = :alice"),
        (&suspended, "suspended_by = randomblob(16)"),
        (&active, "status = 'requested', slot = NULL"),
        (&active, "status = 'suspended', suspended_by = :alice, suspended_at_us = 1"),
        (&revoked, "status = 'active', slot = 9"),
        (&revoked, "status = 'requested'"),
    ] {
        let set = set.replace(":alice", &blob(&alice));
        let update = format!("UPDATE integrations SET version = version + 1, {set} WHERE id = {}", blob(id));
        assert!(sql.execute(&update, []).is_err(), "{update}");
    }
    for statement in [
        "DELETE FROM integrations",
        "DELETE FROM users",
        "DELETE FROM user_permissions",
        "DELETE FROM audit_entries",
        "UPDATE audit_entries SET body = '{}'",
        "UPDATE api_keys SET hash = zeroblob(32)",
        "INSERT INTO user_permissions (user_id, permission, state, origin, granted_at_us)
         SELECT id, 'administration_integrations_access', 'held', 'bootstrap', 0 FROM users",
        "UPDATE users SET organisation_id = randomblob(16)",
    ] {
        assert!(sql.execute(statement, []).is_err(), "{statement}");
    }
    for id in [&active, &suspended, &requested, &revoked] {
        assert_legal(&facility, id).await;
    }
}
