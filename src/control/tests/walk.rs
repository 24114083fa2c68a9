//! Random walks: whatever is tried, by whomever, in whatever order, across restarts, the audit log tells a legal life.

use proptest::prelude::*;

use super::{lifecycle::Try, *};
use crate::{control::audit::AuditFilter, model::Status};

/// Entries that tell more of a step, which has one of its own.
const BESIDE_A_STEP: &[&str] = &["integration_cut", "scopes_widened"];

/// Reads the history of `id` and checks that each step was open to who took it (S151).
pub(super) async fn assert_legal_history(bed: &Bed, id: IntegrationId) {
    let history = bed.control.history(bed.organisation_id, id, Default::default()).await.unwrap().items;
    let mut status = None;
    let (mut requester, mut approved, mut suspender) = (None, false, None);
    for entry in history.iter().filter(|entry| !entry.action.ends_with("_refused")) {
        let actor = entry.actor;
        status = match (entry.action.as_str(), status) {
            ("integration_create", None) => {
                requester = actor;
                Some(Status::Requested)
            }
            ("integration_approve", Some(Status::Requested)) => {
                assert_ne!(actor, requester, "self-approval: {history:#?}");
                approved = true;
                Some(Status::Approved)
            }
            ("integration_activate", Some(Status::Approved)) => Some(Status::Active),
            ("integration_suspend", Some(Status::Active)) => {
                assert!(entry.reason.as_ref().is_some_and(|reason| !reason.trim().is_empty()));
                suspender = actor;
                Some(Status::Suspended)
            }
            ("integration_reactivate", Some(Status::Suspended)) => {
                assert_ne!(actor, suspender, "self-reactivation: {history:#?}");
                Some(Status::Active)
            }
            ("integration_api_key_regenerate", Some(status @ (Status::Active | Status::Suspended))) => Some(status),
            ("integration_update", Some(status)) if status != Status::Revoked => {
                let is_taken_back = entry.after.as_ref().is_some_and(|after| after["status"] == "requested");
                if is_taken_back {
                    assert_eq!(status, Status::Approved, "{history:#?}");
                    approved = false;
                    Some(Status::Requested)
                } else {
                    Some(status)
                }
            }
            (action, status) if BESIDE_A_STEP.contains(&action) => status,
            ("integration_scopes_confirm", Some(status @ (Status::Active | Status::Suspended))) => {
                let asked_by = &entry.before.as_ref().unwrap()["asked_by"];
                assert_ne!(*asked_by, serde_json::json!(actor), "self-confirmation: {history:#?}");
                Some(status)
            }
            ("integration_scopes_decline", Some(status @ (Status::Active | Status::Suspended))) => Some(status),
            ("integration_revoke", Some(status)) if status != Status::Revoked => Some(Status::Revoked),
            (action, status) => panic!("{action} in {status:?}: {history:#?}"),
        };
        assert!(approved || !matches!(status, Some(Status::Active | Status::Suspended)), "{history:#?}");
    }
    let integration = bed.get(id).await;
    assert_eq!(status, Some(integration.status), "the log and the row agree");
    let is_step = |action: &str| !action.ends_with("_refused") && !BESIDE_A_STEP.contains(&action);
    let steps = history.iter().filter(|entry| is_step(&entry.action)).count() as u64;
    assert_eq!(integration.version, steps, "every step is logged, once");
}

#[derive(Debug, Clone)]
enum Move {
    Try { who: usize, action: Try },
    Reopen,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let action = prop_oneof![
        3 => Just(Try::Approve),
        3 => Just(Try::Activate),
        1 => Just(Try::Update),
        4 => Just(Try::Suspend),
        4 => Just(Try::Reactivate),
        1 => Just(Try::Regenerate),
        1 => Just(Try::Revoke),
    ];
    let step = prop_oneof![
        20 => (0..4usize, action).prop_map(|(who, action)| Move::Try { who, action }),
        1 => Just(Move::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

async fn walk(moves: Vec<Move>) {
    let mut bed = Bed::new(embedded()).await;
    let mut actors = Vec::new();
    for _ in 0..3 {
        actors.push(bed.administrator().await);
    }
    actors.push(bed.member("[]").await);
    let id = bed.requested(actors[0]).await.id;
    for step in moves {
        match step {
            Move::Try { who, action } => {
                let before = bed.get(id).await;
                match action.run(&bed, actors[who], id, None).await {
                    Ok(after) => assert_eq!(after, bed.get(id).await, "what was answered is what stands"),
                    Err(_) => assert_eq!(before, bed.get(id).await, "a refusal changes nothing"),
                }
            }
            Move::Reopen => bed.control = Control::open(bed.path(), &config(), embedded()).unwrap(),
        }
    }
    assert_legal_history(&bed, id).await;
    assert!(bed.control.verify_audit(bed.organisation_id).await.unwrap().is_ok());
    let refused = AuditFilter { action: Some("integration_approve_refused".to_owned()), ..Default::default() };
    let refused = bed.control.audit_log(bed.organisation_id, refused, Default::default()).await.unwrap().items;
    assert!(refused.iter().all(|entry| entry.before.is_none() && entry.after.is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    // S148, S150, S151, S152
    #[test]
    fn no_walk_leads_past_the_second_administrator(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(walk(moves));
    }
}
