//! A message that is not stored: for good, or for now.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::{
    auth::{Denial, Principal, RateState},
    ingest::Refused,
    model::{IntegrationId, ProblemCode, ProblemDocument, RequestId},
};

/// A refusal for good.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: ProblemCode,
    /// The exact cause, for the log and never for the sender.
    pub(super) cause: &'static str,
    /// In place of the problem's remedy.
    pub(super) detail: Option<String>,
    /// Whose it was, where that is known.
    pub(super) integration_id: Option<IntegrationId>,
    /// Which of its keys, likewise.
    pub(super) key_generation: Option<u64>,
    /// The state of its window, where it was charged or full.
    pub(super) rate: Option<RateState>,
    /// Whether the credentials proved that, so that it may be told on that integration's topic.
    pub(super) is_proven: bool,
}

/// Why a message is not stored.
#[derive(Debug)]
pub(super) enum NotStored {
    /// It never will be.
    Refused(Refusal),
    /// It can be later; the cause is a word for the log.
    Later(&'static str),
}

impl Refusal {
    pub(super) fn new(problem: ProblemCode, cause: &'static str) -> Self {
        Self { problem, cause, detail: None, integration_id: None, key_generation: None, rate: None, is_proven: false }
    }

    pub(super) fn with_detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Of a sender whose credentials proved who it is.
    pub(super) fn of(mut self, id: IntegrationId, key_generation: u64) -> Self {
        self.integration_id = Some(id);
        self.key_generation = Some(key_generation);
        self.is_proven = true;
        self
    }

    /// Whether the scope was granted, where that was judged: what ingest refuses comes after it.
    pub(super) fn granted(&self) -> Option<bool> {
        match self.problem {
            ProblemCode::InsufficientScope => Some(false),
            _ if self.is_proven && !matches!(self.problem.status(), 403 | 429) => Some(true),
            _ => None,
        }
    }

    pub(super) fn document(&self, public_url: &str, request_id: RequestId) -> Vec<u8> {
        ProblemDocument { problem: self.problem, detail: self.detail.as_deref(), request_id, errors: &[] }
            .to_json(public_url)
    }
}

impl From<Denial> for NotStored {
    fn from(denial: Denial) -> Self {
        let cause = denial.cause.as_str();
        if is_ours(denial.problem) {
            return Self::Later(cause);
        }
        // Everything that auth answers with another status than 401 comes after both credentials were proved.
        let is_proven = denial.problem.status() != 401 && denial.integration_id.is_some();
        let rate = is_proven.then_some(denial.rate);
        let Denial { problem, detail, integration_id, key_generation, .. } = denial;
        Self::Refused(Refusal { problem, cause, detail, integration_id, key_generation, rate, is_proven })
    }
}

impl NotStored {
    /// What ingest refuses of a sender who is proved.
    pub(super) fn from_ingest(refused: Refused, principal: &Principal) -> Self {
        if is_ours(refused.problem) {
            return Self::Later(refused.cause);
        }
        let refusal = Refusal::new(refused.problem, refused.cause).of(principal.facts.id, principal.generation);
        Self::Refused(Refusal { detail: refused.detail, ..refusal })
    }
}

/// Whether the trouble is the service's own, so that the same message can be stored later.
fn is_ours(problem: ProblemCode) -> bool {
    problem.status() >= 500
}

/// How many refusals a minute are logged one by one: senders behind a broker are not shut out by their address, so
/// without a limit one of them could fill the disk. The metric counts all.
#[derive(Debug)]
pub(super) struct Lines(DefaultDirectRateLimiter);

impl Lines {
    pub(super) fn new(per_minute: u32) -> Self {
        Self(RateLimiter::direct(Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN))))
    }

    /// Whether one more may be written now.
    pub(super) fn may_write(&self) -> bool {
        self.0.check().is_ok()
    }
}
