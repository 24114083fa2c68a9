//! Scopes beyond the approved ones, with the policy and without, and why sensitive ones were asked for.

use super::{lifecycle::in_status, walk::assert_legal_history, *};
use crate::{
    control::{audit::Entry, integration::IntegrationPatch},
    model::{ProblemCode, Scope, Status},
};

async fn strict() -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { sensitive_scopes_need_two: true, justification_required: true, ..config() };
    let control = Control::open(dir.path(), &config, embedded()).unwrap();
    let organisation_id = add_organisation(&control).await;
    Bed { control, organisation_id, dir }
}

fn scopes(names: &[&str]) -> IntegrationPatch {
    let scopes = Some(names.iter().map(|name| (*name).to_owned()).collect());
    IntegrationPatch { scopes, justification: Some("The harvest is sold through it".to_owned()), ..Default::default() }
}

async fn history(bed: &Bed, id: IntegrationId, action: &str) -> Vec<Entry> {
    let entries = bed.control.history(bed.organisation_id, id, PageRequest::default()).await.unwrap().items;
    entries.into_iter().filter(|entry| entry.action == action).collect()
}

// S064, S094, S096, A11: without the policy it holds at once, and is told loudly.
#[tokio::test]
async fn one_administrator_widens_and_the_audit_log_tells_it() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    for (status, told) in [(Status::Requested, 0), (Status::Approved, 1), (Status::Active, 1), (Status::Suspended, 1)] {
        let before = in_status(&bed, status, ann, bob).await;
        let patch = scopes(&["sensors:write", "equipment:read", "finance:read"]);
        let after = bed.control.update_integration(ann, before.id, None, patch).await.unwrap();
        assert_eq!((after.status, after.scopes.len(), &after.scopes_pending), (status, 3, &None));
        let told_of = history(&bed, before.id, "scopes_widened").await;
        assert_eq!(told_of.len(), told, "{status}");
        if let Some(entry) = told_of.first() {
            let told = entry.after.as_ref().unwrap();
            assert_eq!((&told["added"][0], &told["sensitive"]), (&"finance:read".into(), &true.into()));
            assert_eq!(told["approved_scopes"].as_array().unwrap().len(), 2);
        }
        bed.control.revoke(bob, before.id, None, None).await.unwrap();
    }
}

// A11: under the policy nobody approves what they have edited themselves, by API or by SQL; another one may.
#[tokio::test]
async fn who_edited_a_request_does_not_approve_it() {
    let bed = strict().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.requested(ann).await.id;
    bed.control.update_integration(bob, id, None, scopes(&["crm:read"])).await.unwrap();
    let refused = bed.control.approve(bob, id, None).await.unwrap_err();
    assert_eq!(refused.problem(), ProblemCode::SelfApproval);
    let sql =
        "UPDATE integrations SET status = 'approved', approved_by = ?1, approved_at_us = 1, version = version + 1";
    assert!(bed.sql().execute(sql, [bob.user_id]).is_err());
    bed.control.update_integration(ann, id, None, scopes(&["sensors:write"])).await.unwrap();
    let approved = bed.control.approve(bob, id, None).await.unwrap();
    assert_eq!((approved.status, approved.approved_scopes), (Status::Approved, Some(vec![Scope::SensorsWrite])));
}

// A11: under the policy sensitive scopes wait, and whoever asked for them cannot confirm; the rest holds at once.
#[tokio::test]
async fn sensitive_scopes_wait_for_a_second_administrator() {
    let bed = strict().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    for status in [Status::Active, Status::Suspended] {
        let id = in_status(&bed, status, ann, bob).await.id;
        let wish = ["sensors:write", "orders:read", "crm:read", "webhooks:manage"];
        let asked = bed.control.update_integration(ann, id, None, scopes(&wish)).await.unwrap();
        assert_eq!(asked.scopes, [Scope::SensorsWrite, Scope::OrdersRead], "removing and harmless ones are immediate");
        let pending = asked.scopes_pending.clone().unwrap();
        assert_eq!((pending.scopes.len(), pending.asked.by), (2, ann.user_id));

        let error = bed.control.confirm_scopes(ann, id, None).await.unwrap_err();
        assert_eq!(error.problem(), ProblemCode::SelfConfirmation);
        // Asking for more in the other's name does not make the first wish somebody else's.
        let error = bed.control.update_integration(bob, id, None, scopes(&["finance:read"])).await.unwrap_err();
        assert_eq!(error.problem(), ProblemCode::InvalidState);
        let error = bed.control.confirm_scopes(bob, id, Some(asked.version - 1)).await.unwrap_err();
        assert_eq!(error.problem(), ProblemCode::VersionConflict);
        assert_eq!(bed.get(id).await, asked);

        let confirmed = bed.control.confirm_scopes(bob, id, Some(asked.version)).await.unwrap();
        assert_eq!((confirmed.status, confirmed.scopes.len(), confirmed.scopes_pending), (status, 4, None));
        let told = &history(&bed, id, "scopes_widened").await[1];
        assert_eq!(told.after.as_ref().unwrap()["asked_by"], serde_json::json!(ann.user_id));
        let error = bed.control.confirm_scopes(bob, id, None).await.unwrap_err();
        assert_eq!(error.problem(), ProblemCode::InvalidState);
        assert_legal_history(&bed, id).await;
        bed.control.revoke(bob, id, None, None).await.unwrap();
    }
}

// A11: what was asked for can be dropped, by the second administrator and by who asked.
#[tokio::test]
async fn scopes_that_wait_can_be_declined() {
    let bed = strict().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = in_status(&bed, Status::Active, ann, bob).await.id;
    for who in [bob, ann] {
        bed.control.update_integration(ann, id, None, scopes(&["sensors:write", "crm:read"])).await.unwrap();
        let reason = Some("not needed".to_owned());
        let declined = bed.control.decline_scopes(who, id, None, reason).await.unwrap();
        assert_eq!((declined.scopes, declined.scopes_pending), (vec![Scope::SensorsWrite], None));
    }
    let told = history(&bed, id, "integration_scopes_decline").await;
    assert_eq!((told.len(), told[0].reason.as_deref()), (2, Some("not needed")));
    // A revocation ends the waiting as well.
    bed.control.update_integration(ann, id, None, scopes(&["sensors:write", "crm:read"])).await.unwrap();
    let revoked = bed.control.revoke(ann, id, None, None).await.unwrap().0;
    assert_eq!(revoked.scopes_pending, None);
    assert_legal_history(&bed, id).await;
}

// A11: what was approved is what is activated.
#[tokio::test]
async fn an_edit_between_approval_and_activation_takes_the_approval_back() {
    let bed = strict().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = in_status(&bed, Status::Approved, ann, bob).await.id;
    let limits = IntegrationPatch { rate_limit_rpm: Some(90), ..Default::default() };
    let kept = bed.control.update_integration(ann, id, None, limits).await.unwrap();
    assert_eq!(kept.status, Status::Approved, "limits are not what was approved");
    let edited = bed.control.update_integration(ann, id, None, scopes(&["crm:read"])).await.unwrap();
    assert_eq!((edited.status, edited.approved, &edited.approved_scopes), (Status::Requested, None, &None));
    assert_eq!(bed.control.activate(bob, id, None).await.unwrap_err().problem(), ProblemCode::InvalidState);
    assert_eq!(bed.control.approve(ann, id, None).await.unwrap_err().problem(), ProblemCode::SelfApproval);
    bed.control.approve(bob, id, None).await.unwrap();
    bed.control.activate(ann, id, None).await.unwrap();
    assert_legal_history(&bed, id).await;
}

// A11, S128: the database says the same to a hand at the SQL prompt, as long as the policy is on.
#[tokio::test]
async fn the_policy_holds_without_the_program() {
    let bed = strict().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = in_status(&bed, Status::Active, ann, bob).await.id;
    bed.control.update_integration(ann, id, None, scopes(&["sensors:write", "crm:read"])).await.unwrap();
    let sql = bed.sql();
    let literal = |user: UserId| format!("x'{}'", user.as_uuid().simple());
    let update = |set: &str| {
        let set = set.replace(":ann", &literal(ann.user_id)).replace(":bob", &literal(bob.user_id));
        let id = id.as_uuid().simple();
        sql.execute(&format!("UPDATE integrations SET version = version + 1, {set} WHERE id = x'{id}'"), [])
    };
    let none = "scopes_pending = NULL, scopes_pending_by = NULL, scopes_pending_at_us = NULL";
    let grant = "scopes = '[\"sensors:write\", \"crm:read\"]'";
    for (set, words) in [
        (grant.to_owned(), "wait for a second"),
        (format!("{grant}, {none}"), "wait for a second"),
        (format!("{grant}, {none}, scopes_confirmed_by = :ann, scopes_confirmed_version = version + 1"), "another"),
        (format!("{grant}, scopes_confirmed_by = :bob, scopes_confirmed_version = version + 1"), "another"),
        (
            format!("{grant}, {none}, scopes_confirmed_by = :bob, scopes_confirmed_version = version"),
            "another|wait for",
        ),
        ("scopes_pending_by = :bob".to_owned(), "written once"),
        ("scopes_pending = '[\"finance:read\"]'".to_owned(), "before others"),
        (format!("scopes = '[\"finance:read\"]', {none}"), "wait for a second"),
    ] {
        let refusal = update(&set).expect_err(&set).to_string();
        // Which trigger speaks first is SQLite's choice.
        assert!(words.split('|').any(|words| refusal.contains(words)), "{set}: {refusal}");
    }
    let right = format!("{grant}, {none}, scopes_confirmed_by = :bob, scopes_confirmed_version = version + 1");
    assert_eq!(update(&right).unwrap(), 1, "with the right person it passes");
    // The policy is the configuration's: switched off there, the database lets the same pass.
    drop(Control::open(bed.path(), &config(), embedded()).unwrap());
    assert_eq!(update("scopes = '[\"finance:read\"]'").unwrap(), 1);
}

// S054, S055: where the configuration asks for it, personal and financial data need a justification.
#[tokio::test]
async fn scopes_with_personal_or_financial_data_need_a_justification() {
    let bed = strict().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    for scope in ["crm:read", "crm:write", "finance:read"] {
        let mut wish = NewIntegration { scopes: vec![scope.to_owned()], ..request(ann.user_id) };
        let error = bed.control.create_integration(ann, wish.clone()).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(fields) if fields[0].field == "justification"), "{error:?}");
        wish.justification = Some(" ".to_owned());
        let error = bed.control.create_integration(ann, wish.clone()).await.unwrap_err();
        assert_eq!(error.problem(), ProblemCode::ValidationFailed);
        wish.justification = Some("Customers are written to".to_owned());
        let made = bed.control.create_integration(ann, wish).await.unwrap();
        assert_eq!(made.justification.as_deref(), Some("Customers are written to"), "the approver sees it");
        let told = history(&bed, made.id, "integration_create").await;
        assert_eq!(told[0].after.as_ref().unwrap()["justification"], "Customers are written to");
    }
    let id = in_status(&bed, Status::Active, ann, bob).await.id;
    let patch = IntegrationPatch { justification: None, ..scopes(&["finance:read"]) };
    let error = bed.control.update_integration(ann, id, None, patch).await.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::ValidationFailed);
    // What api.md's clients send passes by default.
    let bed = Bed::new(embedded()).await;
    let ann = bed.administrator().await;
    let wish = NewIntegration { scopes: vec!["crm:read".to_owned()], ..request(ann.user_id) };
    bed.control.create_integration(ann, wish).await.unwrap();
}

// A25: a grant whose time is over is taken out by the server, and the audit log says so.
#[tokio::test]
async fn a_grant_ends_by_itself_and_the_audit_log_tells_it() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = in_status(&bed, Status::Active, ann, bob).await.id;
    let now_us = crate::control::db::now_us();
    let soon = crate::control::integration::GrantRequest {
        rpm: Some(600),
        window_start_us: Some(1),
        until_us: now_us + 60_000_000,
        reason: "Harvest".to_owned(),
    };
    bed.control.grant(ann, id, None, soon).await.unwrap();
    assert_eq!(bed.control.end_due_grants().await.unwrap(), 0, "not yet");
    let version = bed.get(id).await.version;
    let past = format!("UPDATE integrations SET version = version + 1, temporary_until_us = {}", now_us - 1);
    bed.sql().execute(&past, []).unwrap();
    assert_eq!(bed.control.end_due_grants().await.unwrap(), 1);
    let after = bed.get(id).await;
    assert_eq!((after.temporary_limit, after.version), (None, version + 2));
    assert!(after.backfill.is_some(), "the other one goes on");
    let told = &history(&bed, id, "integration_grant_expire").await[0];
    assert_eq!((told.actor, &told.before.as_ref().unwrap()["temporary_limit"]["rpm"]), (None, &600.into()));
    assert_eq!(bed.control.end_due_grants().await.unwrap(), 0, "once");
    assert!(bed.control.verify_audit(bed.organisation_id).await.unwrap().is_ok());
}
