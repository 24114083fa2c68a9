//! A PUBLISH: what may be published, the charge in the window, and what happens over the limit.

use std::{pin::Pin, sync::Arc};

use tokio::time::Instant;

use super::{
    audience::Audience,
    edge::Edge,
    exchange::Exchange,
    meters::Pause,
    packet::Publish,
    receipts::{Batch, Pending, Room},
    verdict::{Outcome, Refusal},
};
use crate::{
    auth::{self, Cause, Denial},
    ingest::{Submission, Transport},
    model::ProblemCode,
};

/// What the session waits for before it reads on.
pub(super) enum Waiting {
    /// Nothing: it reads.
    Nothing,
    /// Room in memory for the publish whose header has come.
    Room(Pin<Box<dyn Future<Output = Option<Room>> + Send>>),
    /// A window that is used up: slow first, then refused (`api.md` §2).
    Window(Box<Delayed>),
}

impl Waiting {
    /// The room that is waited for; never, if it is none. Cancel-safe.
    pub(super) async fn room(&mut self) -> Option<Room> {
        match self {
            Self::Room(room) => room.as_mut().await,
            Self::Nothing | Self::Window(_) => std::future::pending().await,
        }
    }

    /// Until when a publish over the limit waits.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Window(delayed) => Some(delayed.until),
            Self::Nothing | Self::Room(_) => None,
        }
    }
}

/// A publish over the limit.
pub(super) struct Delayed {
    pub(super) until: Instant,
    pub(super) pending: Pending,
    pub(super) batch: Batch,
    pub(super) denial: Denial,
}

/// What becomes of a publish that has just come.
pub(super) enum Judged {
    Submit(Pending, Batch),
    Settled(Pending, Outcome),
    Delay(Box<Delayed>),
}

/// Whether the publish goes to the own readings, and wants its result where the own results are.
pub(super) fn is_allowed(audience: &Audience, publish: &Publish) -> bool {
    *publish.topic == *audience.topics.readings()
        && publish.response_topic.as_deref().is_none_or(|topic| audience.topics.is_own_result(topic))
}

/// The publish's side of its answer, and its payload.
pub(super) fn pending(
    edge: &Edge,
    session: &auth::Session,
    publish: Publish,
    room: Option<Room>,
) -> (Pending, bytes::Bytes) {
    let mut exchange = Exchange::publish(&edge.journal, session.addr, publish.payload.len());
    exchange.integration_id = Some(session.integration.facts().id);
    exchange.key_generation = Some(session.key_generation());
    let pending = Pending {
        packet_id: publish.packet_id,
        exchange,
        response_topic: publish.response_topic,
        correlation: publish.correlation,
        _room: room,
    };
    (pending, publish.payload)
}

/// A publish that may not be, refused by itself.
pub(super) fn forbidden() -> Outcome {
    Outcome::Refused(Refusal::new(ProblemCode::TopicForbidden))
}

/// Charges the window and judges the scope.
pub(super) fn admit(edge: &Edge, session: &auth::Session, mut pending: Pending, body: bytes::Bytes) -> Judged {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let submission = Submission {
        body,
        received_at_us: now_us,
        request_id: pending.exchange.request_id,
        validate_only: false,
        transport: Transport::Mqtt,
    };
    let batch = Batch { principal: Arc::new(session.request()), submission };
    match edge.door.admit(&batch.principal, now_us) {
        Ok(rate) => {
            pending.exchange.rate = Some(rate);
            pending.exchange.granted = Some(true);
            Judged::Submit(pending, batch)
        }
        Err(denial) if denial.problem.status() == 429 => {
            // Waiting for more than the rest of the window would slow nobody down that deserves it.
            let rest_s = denial.rate.reset_s.saturating_sub(u64::try_from(now_us / 1_000_000).unwrap_or(0));
            edge.meters.pause(Pause::Window);
            let wait = edge.config.rate_wait().min(std::time::Duration::from_secs(rest_s.max(1)));
            Judged::Delay(Box::new(Delayed { until: Instant::now() + wait, pending, batch, denial }))
        }
        Err(denial) => refused(pending, denial),
    }
}

fn refused(mut pending: Pending, denial: Denial) -> Judged {
    pending.exchange.rate = Some(denial.rate);
    Judged::Settled(pending, Outcome::Refused(denial.into()))
}

/// The second try of a publish that came over the limit, and the last.
pub(super) fn admit_again(edge: &Edge, delayed: Delayed) -> Judged {
    let Delayed { mut pending, batch, denial, .. } = delayed;
    // A daily quota does not come back within seconds, and asking again would be charged to the window.
    if denial.cause == Cause::DailyQuotaExceeded {
        return refused(pending, denial);
    }
    match edge.door.admit(&batch.principal, jiff::Timestamp::now().as_microsecond()) {
        Ok(rate) => {
            pending.exchange.rate = Some(rate);
            pending.exchange.granted = Some(true);
            Judged::Submit(pending, batch)
        }
        Err(denial) => refused(pending, denial),
    }
}

/// Room for `bytes`, at once or later.
pub(super) fn room(edge: &Edge, audience: &Audience, bytes: usize) -> Result<Room, Waiting> {
    let count = u32::try_from(bytes).unwrap_or(u32::MAX);
    if let Ok(share) = Arc::clone(&audience.bytes).try_acquire_many_owned(count)
        && let Ok(all) = edge.budget.take(bytes)
    {
        return Ok(Room { _all: all, _share: share });
    }
    edge.meters.pause(Pause::Room);
    let (share, budget) = (Arc::clone(&audience.bytes), edge.budget.clone());
    Err(Waiting::Room(Box::pin(async move {
        let share = share.acquire_many_owned(count).await.ok()?;
        let all = budget.wait(bytes).await.ok()?;
        Some(Room { _all: all, _share: share })
    })))
}
