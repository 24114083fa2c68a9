//! What becomes of a publish: acknowledgement, result and end, as the table of `api.md` §2 has it.

use std::{borrow::Cow, time::Duration};

use super::{ending::Ending, exchange::Answer, packet::Ack};
use crate::{
    auth::Denial,
    ingest::{BatchResult, Refused},
    model::{ProblemCode, ProblemDocument, RequestId},
};

/// How a publish came out.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Judged; what it calls accepted is durable.
    Judged(BatchResult),
    /// Refused as a whole.
    Refused(Refusal),
}

/// A refusal of a whole publish.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: ProblemCode,
    pub(super) cause: &'static str,
    pub(super) detail: Option<Cow<'static, str>>,
    pub(super) retry_after_s: Option<u64>,
}

/// What the sender of a publish gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This PUBACK, at QoS 1.
    Acked(Ack),
    /// No PUBACK ever: the session ends, and the client sends it again when it comes back.
    Ends(Ending),
}

impl Outcome {
    /// The table. A part stored is a success; what can never succeed is acknowledged, so that it is not sent again;
    /// what may succeed later is not.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Judged(result) if result.accepted > 0 => Verdict::Acked(Ack::Success),
            Self::Judged(_) => Verdict::Acked(Ack::PayloadInvalid),
            Self::Refused(refusal) => match (refusal.problem, refusal.problem.status()) {
                (ProblemCode::ShuttingDown, _) => Verdict::Ends(Ending::ShuttingDown),
                (_, 401) => Verdict::Ends(Ending::AccessChanged),
                (_, 403) => Verdict::Acked(Ack::NotAuthorized),
                (_, 429) => Verdict::Acked(Ack::QuotaExceeded),
                (_, 500..) => Verdict::Ends(Ending::CannotStore),
                _ => Verdict::Acked(Ack::PayloadInvalid),
            },
        }
    }

    /// Whether it may succeed when it is tried again as it is: held rather than answered.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Refused(refusal)
            if refusal.problem.status() >= 500 && refusal.problem != ProblemCode::ShuttingDown)
    }

    /// The same for the journal.
    pub(super) fn answer(&self) -> Answer<'_> {
        match self {
            Self::Judged(result) => Answer {
                status: result.status(),
                readings: Some(result.counts()),
                rejected: &result.rejections,
                ..Answer::default()
            },
            Self::Refused(refusal) => Answer {
                status: refusal.problem.status(),
                code: Some(refusal.problem.code()),
                cause: Some(refusal.cause),
                message: Some(refusal.detail()),
                ..Answer::default()
            },
        }
    }

    /// When to try it again, where that is known.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Judged(_) => None,
            Self::Refused(refusal) => refusal.retry_after_s.map(Duration::from_secs),
        }
    }

    /// The message on the topic of results, and its content type.
    pub(super) fn message(&self, request_id: RequestId, public_url: &str) -> (Vec<u8>, &'static str) {
        match self {
            Self::Judged(result) => (result.to_mqtt_json(request_id), "application/json"),
            Self::Refused(refusal) => (refusal.body(request_id, public_url), "application/problem+json"),
        }
    }

    /// For the reason string of a PUBACK that is no success.
    pub(super) fn words(&self) -> Option<String> {
        match self {
            Self::Judged(result) if result.accepted > 0 => None,
            Self::Judged(result) => Some(match result.errors.first() {
                Some(error) => {
                    format!("all rejected; entry {}: {}: {}", error.index, error.code.as_str(), error.message)
                }
                None => "all rejected".to_owned(),
            }),
            Self::Refused(refusal) => Some(format!("{}: {}", refusal.problem.code(), refusal.detail())),
        }
    }
}

impl Refusal {
    pub(super) fn new(problem: ProblemCode) -> Self {
        Self { problem, cause: problem.code(), detail: None, retry_after_s: None }
    }

    fn detail(&self) -> &str {
        self.detail.as_deref().unwrap_or_else(|| self.problem.remedy())
    }

    /// The problem document, as over HTTP (RFC 9457).
    fn body(&self, request_id: RequestId, public_url: &str) -> Vec<u8> {
        ProblemDocument { problem: self.problem, detail: self.detail.as_deref(), request_id, errors: &[] }
            .to_json(public_url)
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        // Over HTTP this stands in a header.
        let wait = |seconds| format!("The limit is used up. Wait {seconds} s and publish the batch again.");
        Self {
            problem: denial.problem,
            cause: denial.cause.as_str(),
            detail: denial.detail.or_else(|| denial.retry_after_s.map(wait)).map(Cow::Owned),
            retry_after_s: denial.retry_after_s,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self {
            problem: refused.problem,
            cause: refused.cause,
            detail: refused.detail.map(Cow::Owned),
            retry_after_s: refused.retry_after_s,
        }
    }
}
