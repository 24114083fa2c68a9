//! Attempts on their way, by integration, so that a suspension ends them before it returns (A16).

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    control::{Change, ChangeListener, Cut},
    model::{IntegrationId, Status},
};

/// All attempts on their way. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Flights(Arc<Mutex<HashMap<IntegrationId, Flight>>>);

#[derive(Debug, Clone, Default)]
struct Flight {
    end: CancellationToken,
    aboard: TaskTracker,
}

impl Flights {
    /// Runs `allowed` and then `attempt`; none: `allowed` said no, or all attempts for `id` were ended. Asked in this
    /// order a suspension is either seen by `allowed`, or it sees the attempt.
    pub(super) async fn aboard<T>(
        &self,
        id: IntegrationId,
        allowed: impl Future<Output = bool>,
        attempt: impl Future<Output = T>,
    ) -> Boarded<T> {
        let Flight { end, aboard } = self.0.lock().entry(id).or_default().clone();
        let travelling = async {
            tokio::select! {
                biased;
                () = end.cancelled() => Boarded::Ended,
                done = async { if allowed.await { Boarded::Done(attempt.await) } else { Boarded::Refused } } => done,
            }
        };
        aboard.track_future(travelling).await
    }

    /// Ends all attempts for `id`; returns when none is on its way any more.
    async fn end(&self, id: IntegrationId) {
        let flight = self.0.lock().remove(&id);
        if let Some(Flight { end, aboard }) = flight {
            end.cancel();
            aboard.close();
            aboard.wait().await;
        }
    }
}

/// What became of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Boarded<T> {
    /// It was made.
    Done(T),
    /// It was not begun.
    Refused,
    /// It was broken off.
    Ended,
}

impl ChangeListener for Flights {
    fn apply<'a>(&'a self, change: Change) -> Pin<Box<dyn Future<Output = Cut> + Send + 'a>> {
        Box::pin(async move {
            if let Change::Integration(facts) = change
                && facts.status != Status::Active
            {
                self.end(facts.id).await;
            }
            Cut::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::model::{IntegrationFacts, ScopeSet};

    // S120: when a suspension has returned, nothing is on its way; what comes later sees it.
    #[tokio::test]
    async fn a_suspension_ends_what_is_on_its_way() {
        let flights = Flights::default();
        let (id, other) = (IntegrationId::generate(), IntegrationId::generate());
        let change = |id, status| {
            let facts = IntegrationFacts { status, ..IntegrationFacts::assumed(id, ScopeSet::EMPTY) };
            Change::Integration(facts)
        };
        let slow = flights.aboard(id, ready(true), pending::<()>());
        let elsewhere = flights.aboard(other, ready(true), pending::<()>());
        tokio::pin!(slow, elsewhere);
        tokio::select! {
            biased;
            _ = &mut slow => panic!("it is on its way"),
            _ = &mut elsewhere => panic!("it is on its way"),
            () = ready(()) => {}
        }
        flights.apply(change(id, Status::Active)).await;
        let (ended, _) = tokio::join!(&mut slow, flights.apply(change(id, Status::Suspended)));
        assert_eq!(ended, Boarded::Ended);
        tokio::select! {
            biased;
            _ = &mut elsewhere => panic!("another integration's goes on"),
            () = ready(()) => {}
        }
        assert_eq!(flights.aboard(id, ready(false), ready(())).await, Boarded::Refused);
        assert_eq!(flights.aboard(id, ready(true), ready(7)).await, Boarded::Done(7));
    }
}
