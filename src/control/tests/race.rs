//! Many administrators at once.

use std::collections::BTreeSet;

use super::{lifecycle::Try, *};
use crate::model::{ProblemCode, Status};

/// Runs all of `tries` at the same time.
async fn at_once(bed: &Bed, id: IntegrationId, tries: Vec<(Actor, Try)>) -> Vec<Result<Integration, Error>> {
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(tries.len()));
    let mut running = Vec::new();
    for (actor, action) in tries {
        let (control, start) = (bed.control.clone(), start.clone());
        let one = Bed { control, organisation_id: bed.organisation_id, dir: tempfile::tempdir().unwrap() };
        running.push(crate::telemetry::task::spawn("race", async move {
            start.wait().await;
            action.run(&one, actor, id, None).await
        }));
    }
    let mut results = Vec::new();
    for one in running {
        results.push(one.await.unwrap());
    }
    results
}

fn won(results: &[Result<Integration, Error>]) -> usize {
    results.iter().filter(|result| result.is_ok()).count()
}

// S077
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_approvals_one_wins() {
    let bed = Bed::new(embedded()).await;
    let ann = bed.administrator().await;
    let mut approvers = Vec::new();
    for _ in 0..16 {
        approvers.push((bed.administrator().await, Try::Approve));
    }
    let id = bed.requested(ann).await.id;
    let results = at_once(&bed, id, approvers).await;
    assert_eq!(won(&results), 1);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error.problem(), ProblemCode::InvalidState);
    }
    assert_eq!(bed.get(id).await.version, 2);
}

// S156: the last place is given once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_activations_for_the_last_place_one_wins() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    for _ in 0..19 {
        bed.active(ann, bob).await;
    }
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(bed.approved(ann, bob).await.id);
    }
    let activations = waiting.iter().map(|id| {
        let control = bed.control.clone();
        let id = *id;
        crate::telemetry::task::spawn("race", async move { control.activate(bob, id, None).await })
    });
    let mut won = 0;
    for one in activations.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, Error::IntegrationLimit), "{error}"),
        }
    }
    assert_eq!(won, 1);
}

// S086, S089: one activation shows credentials, and those are the live ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_activations_of_one_integration_one_wins() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.approved(ann, bob).await.id;
    let results = at_once(&bed, id, vec![(ann, Try::Activate), (bob, Try::Activate), (ann, Try::Activate)]).await;
    assert_eq!(won(&results), 1);
    let (_, keys) = bed.control.facts().await.unwrap();
    assert_eq!(keys.len(), 1);
}

// S208: each gets a key of its own, the last one's is live.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_regenerations_the_last_is_live() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.active(ann, bob).await.0.id;
    let tries = (0..12).map(|i| (if i % 2 == 0 { ann } else { bob }, Try::Regenerate)).collect();
    let results = at_once(&bed, id, tries).await;
    let generations: BTreeSet<u64> =
        results.iter().map(|result| result.as_ref().unwrap().key.as_ref().unwrap().generation).collect();
    assert_eq!(generations, (2..=13).collect());
    let (facts, keys) = bed.control.facts().await.unwrap();
    assert_eq!((facts[0].key_generation, keys.len()), (13, 13));
}

// S148: whatever the order, the history is legal, and revoked wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revoked_wins_over_everything_at_once() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    for _ in 0..8 {
        let id = bed.active(ann, bob).await.0.id;
        let tries = [
            (ann, Try::Suspend),
            (bob, Try::Reactivate),
            (ann, Try::Reactivate),
            (bob, Try::Revoke),
            (bob, Try::Suspend),
            (ann, Try::Regenerate),
        ];
        at_once(&bed, id, tries.to_vec()).await;
        assert_eq!(bed.get(id).await.status, Status::Revoked);
        super::walk::assert_legal_history(&bed, id).await;
    }
}
