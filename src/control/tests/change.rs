//! Changes on their way to the auth snapshot.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{lifecycle::Try, *};
use crate::{
    control::{Change, ChangeListener, Cut},
    model::Status,
};

/// Takes its time, and writes down what came.
#[derive(Default)]
struct Slow {
    seen: Mutex<Vec<Change>>,
}

impl ChangeListener for Slow {
    fn apply<'a>(&'a self, change: Change) -> Pin<Box<dyn Future<Output = Cut> + Send + 'a>> {
        Box::pin(async move {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            self.seen.lock().push(change);
            Cut { sessions: 1, requests: 2 }
        })
    }
}

impl Slow {
    /// Status and live generation of each integration change, in the order they came.
    fn states(&self) -> Vec<(Status, u64)> {
        let state = |change: &Change| match change {
            Change::Integration(facts) => Some((facts.status, facts.key_generation)),
            _ => None,
        };
        self.seen.lock().iter().filter_map(state).collect()
    }
}

async fn bed_with_listener() -> (Bed, Arc<Slow>) {
    let bed = Bed::new(embedded()).await;
    let slow = Arc::new(Slow::default());
    bed.control.set_listener(slow.clone());
    (bed, slow)
}

// S095, S112, H2: each change arrives before the call returns, a key before the generation that makes it live.
#[tokio::test]
async fn a_change_has_arrived_when_the_call_returns() {
    let (bed, slow) = bed_with_listener().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.active(ann, bob).await.0.id;
    let expected = [(Status::Requested, 0), (Status::Approved, 0), (Status::Active, 1)];
    assert_eq!(slow.states(), expected);
    let (_, _, cut) = bed.control.regenerate_key(ann, id, None, None).await.unwrap();
    assert_eq!(cut, Cut { sessions: 2, requests: 4 }, "of the key and of the integration");
    assert_eq!(slow.states().last(), Some(&(Status::Active, 2)));
    let (_, cut) = bed.control.suspend(ann, id, None, "test".to_owned(), None).await.unwrap();
    assert_eq!(cut, Cut { sessions: 1, requests: 2 });
    assert_eq!(slow.states().last(), Some(&(Status::Suspended, 0)));
    let mut known = 0;
    for change in slow.seen.lock().iter() {
        match change {
            Change::Keys(keys) => known = keys[0].generation,
            Change::Integration(facts) => assert!(facts.key_generation <= known),
            Change::Equipment(_) => unreachable!("none was registered"),
        }
    }
    let before = slow.states().len();
    let _ = Try::Suspend.run(&bed, ann, id, None).await.unwrap_err();
    assert_eq!(slow.states().len(), before, "a refusal changes nothing");
}

// A caller who hangs up between commit and hand-over leaves nothing behind.
#[tokio::test]
async fn a_caller_who_hangs_up_does_not_stop_the_change() {
    let (bed, slow) = bed_with_listener().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.active(ann, bob).await.0.id;
    let call = bed.control.suspend(ann, id, None, "test".to_owned(), None);
    // Polled once: the task has begun, its caller goes.
    assert!(tokio::time::timeout(Duration::ZERO, call).await.is_err(), "the caller did not wait");
    // The next change waits its turn behind it.
    Try::Revoke.run(&bed, bob, id, None).await.unwrap();
    let states = slow.states();
    assert_eq!(states[states.len() - 2..], [(Status::Suspended, 0), (Status::Revoked, 0)]);
}

// The snapshot ends as the database does, however many act at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_arrive_in_commit_order() {
    let (bed, slow) = bed_with_listener().await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.active(ann, bob).await.0.id;
    let mut running = Vec::new();
    for _ in 0..10 {
        let control = bed.control.clone();
        running.push(crate::telemetry::task::spawn("race", async move {
            control.regenerate_key(ann, id, None, None).await.unwrap().0.key.unwrap().generation
        }));
    }
    for one in running {
        one.await.unwrap();
    }
    let generations: Vec<u64> = slow.states().into_iter().skip(2).map(|(_, generation)| generation).collect();
    assert_eq!(generations, (1..=11).collect::<Vec<_>>());
}
