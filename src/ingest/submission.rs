//! What an edge hands in, and how a whole submission is refused.

use bytes::Bytes;

use crate::model::{ProblemCode, RequestId};

/// Which edge a submission came in by. A metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `POST /v1/sensors/readings`.
    Http,
    /// A PUBLISH to `grq/v1/{integration_id}/readings`.
    Mqtt,
}

impl Transport {
    /// Both, in the order of their labels.
    pub const ALL: [Self; 2] = [Self::Http, Self::Mqtt];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mqtt => "mqtt",
        }
    }
}

/// One batch as it came in, inflated, not yet looked at.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The body, at most as large as the edge allows. Nothing in it is trusted, not even that it is UTF-8.
    pub body: Bytes,
    /// When it came, microseconds since the Unix epoch: the timestamp of entries without one, and the middle of the
    /// window.
    pub received_at_us: i64,
    /// Our name for the request.
    pub request_id: RequestId,
    /// Judge it, store nothing.
    pub validate_only: bool,
    /// Which edge it came in by.
    pub transport: Transport,
}

/// A submission refused as a whole: nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What the caller is told.
    pub problem: ProblemCode,
    /// The exact cause, for the API log and the metric; a closed set.
    pub cause: &'static str,
    /// When to try again, in seconds; set exactly where the problem is a 429 or a 503.
    pub retry_after_s: Option<u64>,
    /// What the caller can do about it, where there is more to say than [`ProblemCode::remedy`].
    pub detail: Option<String>,
}

impl Refused {
    /// Refused for `problem`, whose own code is cause enough.
    #[must_use]
    pub const fn new(problem: ProblemCode) -> Self {
        Self { problem, cause: problem.code(), retry_after_s: None, detail: None }
    }

    /// With words of its own for the caller.
    #[must_use]
    pub fn with_detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    /// To be tried again after `seconds`.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// With an exact cause for the log that the caller is not told.
    #[must_use]
    pub const fn because(mut self, cause: &'static str) -> Self {
        self.cause = cause;
        self
    }
}
