//! Why a request was not let in: what the caller is told, and what the log keeps.

use super::RateState;
use crate::model::ProblemCode;

/// The exact cause, for the log under the request id and never for the caller (S326).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A header is absent, empty, given twice, too long or of another scheme.
    MissingCredential,
    /// Too many failures from this address.
    TooManyFailures,
    /// The token was refused; the verifier's own word for it.
    Token(&'static str),
    /// The key has not the form of a key: wrong prefix, length, alphabet or checksum.
    KeyMalformed,
    /// No integration ever had this key.
    KeyUnknown,
    /// A former key of the integration (S203).
    KeySuperseded,
    /// The integration is not Active (S124).
    IntegrationNotActive,
    /// The token's client is not bound to the key's integration (S168).
    CredentialMismatch,
    /// The address is not on the integration's allowlist.
    IpNotAllowed,
    /// The minute window is used up.
    RateLimited,
    /// The daily quota is used up.
    DailyQuotaExceeded,
    /// The scope was not granted.
    InsufficientScope,
    /// As many sessions as allowed are open (`sessions_max`), or too many were opened of late (`connects_per_minute`).
    TooManySessions(&'static str),
    /// Suspended, revoked or regenerated while the request was in flight, before anything was durable (S115).
    ChangedInFlight,
    /// The same, noticed after the batch was on disk: answered 401 all the same (A15).
    CommittedBeforeSuspend,
}

impl Cause {
    /// A stable name for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingCredential => "missing_credential",
            Self::TooManyFailures => "too_many_failures",
            Self::Token(name) | Self::TooManySessions(name) => name,
            Self::KeyMalformed => "key_malformed",
            Self::KeyUnknown => "key_unknown",
            Self::KeySuperseded => "key_superseded",
            Self::IntegrationNotActive => "integration_not_active",
            Self::CredentialMismatch => "credential_mismatch",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::RateLimited => "rate_limited",
            Self::DailyQuotaExceeded => "daily_quota_exceeded",
            Self::InsufficientScope => "insufficient_scope",
            Self::ChangedInFlight => "changed_in_flight",
            Self::CommittedBeforeSuspend => "committed_before_suspend",
        }
    }
}

/// A refusal by [`super::Authenticator`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What the caller is told.
    pub problem: ProblemCode,
    /// What the log keeps.
    pub cause: Cause,
    /// For the three rate headers: the integration's window once both credentials are proved, the anonymous policy
    /// of the address before (A23).
    pub rate: RateState,
    /// For `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// In place of the problem's default sentence.
    pub detail: Option<String>,
    /// Whose key it was, where that is known, for the log (S298).
    pub integration_id: Option<crate::model::IntegrationId>,
    /// Which of its keys, where that is known.
    pub key_generation: Option<u64>,
}
