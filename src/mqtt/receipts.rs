//! Publishes that have no answer yet, in the order of arrival. All of them are under way at once; they are answered one
//! after the other, and none before those that came earlier (`api.md` §2).
//!
//! What cannot be stored for now is held here and tried again. While one is held nothing behind it is begun, so that
//! the later of two values for one key stays the later one.

use std::{
    collections::VecDeque,
    future::poll_fn,
    num::NonZeroU16,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use metrics::Counter;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    exchange::Exchange,
    seam::{Answering, Intake},
    verdict::{Outcome, Refusal, Verdict},
};
use crate::{
    auth::Principal,
    ingest::{BatchResult, BudgetPermit, Refused, Submission},
    model::ProblemCode,
};

/// How long a held batch rests before it is tried again, where the refusal does not say.
const RETRY_DEFAULT: Duration = Duration::from_secs(1);

/// A publish, as far as its answer needs it.
#[derive(Debug)]
pub(super) struct Pending {
    /// Given exactly at QoS 1.
    pub(super) packet_id: Option<NonZeroU16>,
    pub(super) exchange: Exchange,
    /// Where its result goes, if not to the topic of results.
    pub(super) response_topic: Option<Box<str>>,
    pub(super) correlation: Option<Bytes>,
    /// Its bytes in memory, given back with its answer.
    pub(super) _room: Option<Room>,
}

/// Bytes taken for a publish: of all publishes and bodies together, and of its integration's share.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) _all: BudgetPermit,
    pub(super) _share: OwnedSemaphorePermit,
}

/// A batch to be handed in, perhaps more than once.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) principal: Arc<Principal>,
    pub(super) submission: Submission,
}

enum Stage {
    Waiting(Batch),
    Submitted(Batch, Answering<'static, Result<BatchResult, Refused>>),
    Held(Batch, Pin<Box<Sleep>>),
    Done(Outcome),
}

struct Entry {
    pending: Pending,
    stage: Stage,
    /// Until when it may be held; set when it is refused for the first time.
    give_up: Option<Instant>,
    /// Whether it was handed in, even if it is held now.
    is_begun: bool,
}

/// The queue.
pub(super) struct Receipts {
    intake: Arc<dyn Intake>,
    hold: Duration,
    holds: Counter,
    entries: VecDeque<Entry>,
}

impl Receipts {
    /// Batches go to `intake`; what it cannot take for now is held for `hold` at the most, and counted in `holds`.
    pub(super) fn new(intake: Arc<dyn Intake>, hold: Duration, holds: Counter) -> Self {
        Self { intake, hold, holds, entries: VecDeque::new() }
    }

    /// Publishes without an answer.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Those of them at QoS 1.
    pub(super) fn unacknowledged(&self) -> usize {
        self.entries.iter().filter(|entry| entry.pending.packet_id.is_some()).count()
    }

    /// Whether a publish with this packet id has no answer yet.
    pub(super) fn contains(&self, packet_id: NonZeroU16) -> bool {
        self.entries.iter().any(|entry| entry.pending.packet_id == Some(packet_id))
    }

    /// A batch to be handed in; it is begun with the next poll.
    pub(super) fn submit(&mut self, pending: Pending, batch: Batch) {
        self.entries.push_back(Entry::new(pending, Stage::Waiting(batch)));
    }

    /// A publish whose outcome is known; it has to wait for its turn all the same.
    pub(super) fn settled(&mut self, pending: Pending, outcome: Outcome) {
        self.entries.push_back(Entry::new(pending, Stage::Done(outcome)));
    }

    /// Holds nothing any longer: what cannot be stored at once is refused.
    pub(super) fn give_up(&mut self) {
        self.hold = Duration::ZERO;
        for entry in &mut self.entries {
            entry.give_up = Some(Instant::now());
            if matches!(entry.stage, Stage::Held(..)) {
                entry.stage = Stage::Done(Outcome::Refused(Refusal::new(ProblemCode::ShuttingDown)));
            }
        }
    }

    /// The next publish whose turn it is, with its outcome. Never ends while the queue is empty. Cancel-safe.
    pub(super) async fn next(&mut self) -> (Pending, Outcome) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Pending, Outcome)> {
        for place in 0..self.entries.len() {
            let answered = self.entries[place].poll(cx, &self.intake);
            if let Some((batch, outcome)) = answered {
                self.came_out(place, batch, outcome);
                if let Stage::Held(_, rest) = &mut self.entries[place].stage {
                    // It is woken when it has rested; it has just been made, so that cannot be now.
                    let _pending = rest.as_mut().poll(cx);
                }
            }
            if self.entries[place].blocks() {
                break;
            }
        }
        if !matches!(self.entries.front(), Some(Entry { stage: Stage::Done(_), .. })) {
            return Poll::Pending;
        }
        match self.entries.pop_front() {
            Some(Entry { pending, stage: Stage::Done(outcome), .. }) => Poll::Ready((pending, outcome)),
            _ => Poll::Pending,
        }
    }

    /// What becomes of a batch that came out: it is held if it may be tried again. It may not once something behind
    /// it was begun, because its values could come to lie over later ones; then the client sends all of it again.
    fn came_out(&mut self, place: usize, batch: Batch, outcome: Outcome) {
        let now = Instant::now();
        let is_last = self.entries.range(place + 1..).all(|behind| !behind.is_begun);
        let entry = &mut self.entries[place];
        let give_up = *entry.give_up.get_or_insert(now + self.hold);
        entry.stage = if outcome.is_transient() && is_last && now < give_up {
            self.holds.increment(1);
            let rest = outcome.retry_after().unwrap_or(RETRY_DEFAULT);
            Stage::Held(batch, Box::pin(sleep_until((now + rest).min(give_up))))
        } else {
            Stage::Done(outcome)
        };
    }
}

impl Entry {
    fn new(pending: Pending, stage: Stage) -> Self {
        Self { pending, stage, give_up: None, is_begun: false }
    }

    /// Whether nothing behind it is to be begun: it is held, or ends the session.
    fn blocks(&self) -> bool {
        match &self.stage {
            Stage::Held(..) => true,
            Stage::Done(outcome) => matches!(outcome.verdict(), Verdict::Ends(_)),
            Stage::Waiting(_) | Stage::Submitted(..) => false,
        }
    }

    /// Goes on as far as it can; gives the batch back with its outcome when it came out.
    fn poll(&mut self, cx: &mut Context<'_>, intake: &Arc<dyn Intake>) -> Option<(Batch, Outcome)> {
        loop {
            match &mut self.stage {
                Stage::Done(_) => return None,
                Stage::Waiting(batch) => {
                    self.is_begun = true;
                    let batch = batch.clone();
                    let answer = Arc::clone(intake).submit(Arc::clone(&batch.principal), batch.submission.clone());
                    self.stage = Stage::Submitted(batch, answer);
                }
                Stage::Held(batch, rest) => match rest.as_mut().poll(cx) {
                    Poll::Pending => return None,
                    Poll::Ready(()) => self.stage = Stage::Waiting(batch.clone()),
                },
                Stage::Submitted(batch, answer) => {
                    let Poll::Ready(answer) = answer.as_mut().poll(cx) else { return None };
                    let outcome = match answer {
                        Ok(result) => Outcome::Judged(result),
                        Err(refused) => Outcome::Refused(Refusal::from(refused)),
                    };
                    return Some((batch.clone(), outcome));
                }
            }
        }
    }
}
