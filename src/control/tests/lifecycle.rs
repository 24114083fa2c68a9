//! The state machine, cell by cell, and who may do what.

use super::*;
use crate::{
    control::{
        Error,
        integration::{ReactivateWith, SuspendCategory},
    },
    model::Status,
};

// S020, S066, S069, S074, S080–S084, S106, S125, S126, S130, S132, S137, S140
#[tokio::test]
async fn a_life_from_request_to_revocation() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let integration = bed.requested(ann).await;
    assert_eq!((integration.status, integration.version), (Status::Requested, 1));
    let id = integration.id;

    let error = bed.control.approve(ann, id, None).await.unwrap_err();
    assert!(matches!(error, Error::SelfApproval), "{error}");
    let integration = bed.control.approve(bob, id, Some(1)).await.unwrap();
    assert_eq!(integration.status, Status::Approved);
    assert_eq!(integration.key, None);

    let (integration, first) = bed.control.activate(ann, id, None).await.unwrap();
    let key = first.api_key.unwrap();
    assert_eq!(integration.key.as_ref().unwrap().prefix, key.prefix());
    assert!(first.client_secret.is_some() && !first.client_id.is_empty());

    let category = Some(SuspendCategory::ContractPause);
    let (integration, _) = bed.control.suspend(ann, id, None, "pause\n".to_owned(), category).await.unwrap();
    assert_eq!(integration.suspend_reason.as_deref(), Some("pause\n"));

    let error = bed.control.reactivate(ann, id, None, ReactivateWith::Generate, None).await.unwrap_err();
    assert!(matches!(error, Error::SelfReactivation), "{error}");
    let (integration, second) = bed.control.reactivate(bob, id, None, ReactivateWith::Generate, None).await.unwrap();
    assert_eq!((integration.status, integration.key.as_ref().unwrap().generation), (Status::Active, 2));
    assert_eq!(first.client_id, second.client_id);
    assert_ne!(second.api_key.unwrap().hash(), key.hash());

    let (integration, _) = bed.control.revoke(bob, id, None, None).await.unwrap();
    assert_eq!(integration.status, Status::Revoked);
}
