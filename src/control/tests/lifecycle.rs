//! The state machine, cell by cell, and who may do what.

use super::*;
use crate::{
    control::integration::{IntegrationPatch, ReactivateWith, SuspendCategory},
    model::{ProblemCode, Status},
};

/// An integration of this status, requested (and last suspended) by `ann`.
pub(super) async fn in_status(bed: &Bed, status: Status, ann: Actor, bob: Actor) -> Integration {
    let control = &bed.control;
    match status {
        Status::Requested => bed.requested(ann).await,
        Status::Approved => bed.approved(ann, bob).await,
        Status::Active => bed.active(ann, bob).await.0,
        Status::Suspended => {
            let id = bed.active(ann, bob).await.0.id;
            control.suspend(ann, id, None, "odd traffic".to_owned(), None).await.unwrap().0
        }
        Status::Revoked => {
            let id = bed.active(ann, bob).await.0.id;
            control.revoke(ann, id, None, None).await.unwrap().0
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    Approve,
    Activate,
    Update,
    Suspend,
    Reactivate,
    Regenerate,
    Revoke,
}

impl Try {
    const ALL: [Self; 7] =
        [Self::Approve, Self::Activate, Self::Update, Self::Suspend, Self::Reactivate, Self::Regenerate, Self::Revoke];

    pub(super) async fn run(
        self,
        bed: &Bed,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
    ) -> Result<Integration, Error> {
        let control = &bed.control;
        match self {
            Self::Approve => control.approve(actor, id, if_match).await,
            Self::Activate => control.activate(actor, id, if_match).await.map(|(integration, _)| integration),
            Self::Update => {
                let patch = IntegrationPatch { rate_limit_rpm: Some(61), ..IntegrationPatch::default() };
                control.update_integration(actor, id, if_match, patch).await
            }
            Self::Suspend => {
                control.suspend(actor, id, if_match, "test".to_owned(), None).await.map(|(after, _)| after)
            }
            Self::Reactivate => {
                control.reactivate(actor, id, if_match, ReactivateWith::Generate, None).await.map(|(after, _)| after)
            }
            Self::Regenerate => control.regenerate_key(actor, id, if_match, None).await.map(|(after, _, _)| after),
            Self::Revoke => control.revoke(actor, id, if_match, None).await.map(|(after, _)| after),
        }
    }

    /// The table of S149: where the action leads, or `None` for 409.
    const fn leads_to(self, from: Status) -> Option<Status> {
        match (self, from) {
            (_, Status::Revoked) => None,
            (Self::Update, status) => Some(status),
            (Self::Approve, Status::Requested) => Some(Status::Approved),
            (Self::Activate, Status::Approved)
            | (Self::Reactivate, Status::Suspended)
            | (Self::Regenerate, Status::Active) => Some(Status::Active),
            (Self::Suspend, Status::Active) | (Self::Regenerate, Status::Suspended) => Some(Status::Suspended),
            (Self::Revoke, _) => Some(Status::Revoked),
            _ => None,
        }
    }
}

// S071, S080, S102, S107, S129, S137, S138, S149: all 35 cells, by somebody whom no rule of persons stops. The state
// is judged before the person, so the requester and suspender get the same 409.
#[tokio::test]
async fn the_table_of_states_and_actions_holds_cell_by_cell() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    for status in Status::ALL {
        for action in Try::ALL {
            let before = in_status(&bed, status, ann, bob).await;
            match action.leads_to(status) {
                Some(to) => {
                    let after = action.run(&bed, bob, before.id, Some(before.version)).await;
                    let after = after.unwrap_or_else(|error| panic!("{action:?} in {status}: {error}"));
                    assert_eq!((after.status, after.version), (to, before.version + 1), "{action:?} in {status}");
                }
                None => {
                    for actor in [ann, bob] {
                        let error = action.run(&bed, actor, before.id, None).await.unwrap_err();
                        assert_eq!(error.problem(), ProblemCode::InvalidState, "{action:?} in {status}: {error}");
                    }
                    assert_eq!(bed.get(before.id).await, before, "{action:?} in {status} changed something");
                }
            }
            bed.control.revoke(bob, before.id, None, None).await.ok();
        }
    }
}

// S123: nothing but the control plane is there, no store, no token issuer, no network.
// S020, S066, S069, S074, S075, S083, S105, S110, S117, S130, S132
#[tokio::test]
async fn a_life_from_request_to_revocation() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let integration = bed.requested(ann).await;
    assert_eq!(
        (integration.status, integration.version, integration.requested.by),
        (Status::Requested, 1, ann.user_id)
    );
    let id = integration.id;

    let error = bed.control.approve(ann, id, None).await.unwrap_err();
    assert!(matches!(error, Error::SelfApproval), "{error}");
    let integration = bed.control.approve(bob, id, Some(1)).await.unwrap();
    assert_eq!(integration.status, Status::Approved);
    assert_eq!((integration.key, integration.client), (None, None));
    assert_eq!(integration.approved.unwrap().by, bob.user_id);

    let (active, first) = bed.control.activate(ann, id, None).await.unwrap();
    let key = first.api_key.unwrap();
    assert_eq!(active.key.as_ref().unwrap().prefix, key.prefix());
    assert!(first.client_secret.is_some() && !first.client_id.is_empty());

    let category = Some(SuspendCategory::ContractPause);
    let (suspended, _) = bed.control.suspend(ann, id, None, " pause\n".to_owned(), category).await.unwrap();
    assert_eq!(suspended.suspend_reason.as_deref(), Some(" pause\n"));
    assert_eq!(suspended.suspend_category, category);

    let (again, second) = bed.control.reactivate(bob, id, None, ReactivateWith::Generate, None).await.unwrap();
    assert_eq!((again.status, again.key.as_ref().unwrap().generation), (Status::Active, 2));
    assert_eq!(first.client_id, second.client_id);
    assert_ne!(second.api_key.unwrap().hash(), key.hash());
    for kept in [&suspended, &again] {
        assert_eq!(
            (&kept.scopes, kept.rpm, kept.daily_quota, &kept.allowlist, kept.owner_id, &kept.description, &kept.client),
            (
                &active.scopes,
                active.rpm,
                active.daily_quota,
                &active.allowlist,
                active.owner_id,
                &active.description,
                &active.client
            )
        );
    }
    let (revoked, _) = bed.control.revoke(bob, id, None, None).await.unwrap();
    assert_eq!(revoked.status, Status::Revoked);
}

// S005, S007, S009, S066–S070, S078, S128: no way round the second administrator.
#[tokio::test]
async fn only_another_administrator_of_the_organisation_approves() {
    let bed = Bed::new(embedded()).await;
    let ann = bed.administrator().await;
    let integration = bed.requested(ann).await;
    let id = integration.id;
    assert_eq!(integration.eligible_approvers, 0);
    assert!(integration.warnings.iter().any(|warning| warning.code == "approver_unavailable"));

    let bob = bed.administrator().await;
    assert_eq!(bed.get(id).await.eligible_approvers, 1);
    let plain = bed.member("[]").await;
    let stranger = add_user(&bed.control, add_organisation(&bed.control).await, PERMISSION).await;

    // Another address and name are still the same person.
    let rename = "UPDATE users SET email = 'x@example.test', email_folded = 'x@example.test', name = 'X' WHERE id = ?1";
    bed.sql().execute(rename, [ann.user_id]).unwrap();
    for (actor, problem) in [
        (ann, ProblemCode::SelfApproval),
        (plain, ProblemCode::PermissionDenied),
        (stranger, ProblemCode::NotFound),
        // Who says to be of this organisation, but is not.
        (Actor { organisation_id: bed.organisation_id, ..stranger }, ProblemCode::PermissionDenied),
    ] {
        let error = bed.control.approve(actor, id, None).await.unwrap_err();
        assert_eq!(error.problem(), problem);
    }
    // Who loses the permission can no longer approve; the requester is no freer without it.
    for lost in [bob, ann] {
        let sql = "UPDATE user_permissions SET state = 'removed' WHERE user_id = ?1";
        bed.sql().execute(sql, [lost.user_id]).unwrap();
        let error = bed.control.approve(lost, id, None).await.unwrap_err();
        assert_eq!(error.problem(), ProblemCode::PermissionDenied);
    }
    assert_eq!(bed.get(id).await.status, Status::Requested);
}

// S125–S128, S134, A2: the last suspender finds no way back, on any path.
#[tokio::test]
async fn only_another_administrator_than_the_last_suspender_reactivates() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.active(ann, bob).await.0.id;
    let suspend = async |actor| bed.control.suspend(actor, id, None, "test".to_owned(), None).await.unwrap();
    let reactivate = async |actor, with| bed.control.reactivate(actor, id, None, with, None).await;

    suspend(ann).await;
    bed.control.regenerate_key(ann, id, None, None).await.unwrap();
    Try::Update.run(&bed, ann, id, None).await.unwrap();
    for with in [ReactivateWith::Generate, ReactivateWith::KeepStaged] {
        let error = reactivate(ann, with).await.unwrap_err();
        assert!(matches!(error, Error::SelfReactivation), "{error}");
        assert_eq!(bed.get(id).await.status, Status::Suspended);
    }
    reactivate(bob, ReactivateWith::KeepStaged).await.unwrap();
    // The rule looks at the latest suspension only; yesterday's reactivator may suspend today.
    suspend(bob).await;
    assert!(matches!(reactivate(bob, ReactivateWith::Generate).await, Err(Error::SelfReactivation)));
    reactivate(ann, ReactivateWith::Generate).await.unwrap();
}

// S001, S008: without the permission, or from another organisation, nothing can be done to it at all.
#[tokio::test]
async fn strangers_and_plain_members_change_nothing() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let plain = bed.member("[]").await;
    let stranger = add_user(&bed.control, add_organisation(&bed.control).await, PERMISSION).await;
    for status in Status::ALL {
        let before = in_status(&bed, status, ann, bob).await;
        for action in Try::ALL {
            let error = action.run(&bed, stranger, before.id, None).await.unwrap_err();
            assert_eq!(error.problem(), ProblemCode::NotFound, "{action:?} in {status}");
            let error = action.run(&bed, plain, before.id, None).await.unwrap_err();
            assert_eq!(error.problem(), ProblemCode::PermissionDenied, "{action:?} in {status}");
        }
        assert_eq!(bed.get(before.id).await, before);
    }
    let error = bed.control.create_integration(plain, request(ann.user_id)).await.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::PermissionDenied);
    let error = bed.control.integration(stranger.organisation_id, bed.requested(ann).await.id).await.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::NotFound);
}

// S073: what was not reviewed is not approved; S103.
#[tokio::test]
async fn an_action_on_another_version_than_the_one_read_is_refused() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    for (status, action) in [
        (Status::Requested, Try::Approve),
        (Status::Approved, Try::Activate),
        (Status::Active, Try::Update),
        (Status::Active, Try::Suspend),
        (Status::Suspended, Try::Reactivate),
        (Status::Active, Try::Regenerate),
        (Status::Active, Try::Revoke),
    ] {
        let read = in_status(&bed, status, ann, bob).await;
        let patch = IntegrationPatch { scopes: Some(vec!["crm:read".to_owned()]), ..IntegrationPatch::default() };
        let changed = bed.control.update_integration(ann, read.id, None, patch).await.unwrap();
        let error = action.run(&bed, bob, read.id, Some(read.version)).await.unwrap_err();
        assert_eq!(error.problem(), ProblemCode::VersionConflict, "{action:?}");
        assert_eq!(bed.get(read.id).await, changed, "{action:?}");
        bed.control.revoke(bob, read.id, None, None).await.unwrap();
    }
}

// S108
#[tokio::test]
async fn a_suspension_without_a_reason_is_refused() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let before = bed.active(ann, bob).await.0;
    for reason in ["", " ", "\n\t", "\u{2003}"] {
        let error = bed.control.suspend(ann, before.id, None, reason.to_owned(), None).await.unwrap_err();
        assert_eq!(error.problem(), ProblemCode::ValidationFailed, "{reason:?}");
    }
    assert_eq!(bed.get(before.id).await, before);
}

// S153–S155, S157, S158, S144
#[tokio::test]
async fn the_21st_finds_no_place_until_one_is_revoked() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(bed.active(ann, bob).await.0.id);
    }
    bed.control.suspend(ann, ids[3], None, "test".to_owned(), None).await.unwrap();
    let waiting = bed.approved(ann, bob).await;
    assert!(waiting.warnings.iter().any(|warning| warning.code == "integration_limit"));
    let error = bed.control.activate(bob, waiting.id, None).await.unwrap_err();
    assert!(matches!(error, Error::IntegrationLimit), "{error}");
    assert_eq!(bed.get(waiting.id).await, waiting);
    // A suspended one comes back: it never lost its place (S135).
    Try::Reactivate.run(&bed, bob, ids[3], None).await.unwrap();
    bed.control.revoke(bob, ids[7], None, None).await.unwrap();
    bed.control.activate(bob, waiting.id, None).await.unwrap();
    // Another organisation has places of its own.
    let other = add_organisation(&bed.control).await;
    let other_bed = async || add_user(&bed.control, other, PERMISSION).await;
    let (cat, dan) = (other_bed().await, other_bed().await);
    bed.active(cat, dan).await;
}
