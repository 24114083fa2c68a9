//! Why a token was refused: for the log exactly, for the caller in three words.

use crate::model::ProblemCode;

/// A refusal of a token. It holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Longer than the limit.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url with JSON objects in front, or a name given twice.
    #[error("the token is malformed")]
    Malformed,
    /// The header demands something that has to be understood.
    #[error("the token has a critical header")]
    CriticalHeader,
    /// `typ` is not that of an access token.
    #[error("the token is of another type")]
    TypeNotAllowed,
    /// `none`, HMAC, or another algorithm than the key is for.
    #[error("the token's algorithm is not allowed")]
    AlgorithmNotAllowed,
    /// `iss` is absent, no text, or nobody we trust.
    #[error("the token's issuer is not trusted")]
    WrongIssuer,
    /// The token is for others.
    #[error("the token is for another audience")]
    WrongAudience,
    /// A claim is absent.
    #[error("the token lacks the claim {0}")]
    MissingClaim(&'static str),
    /// A claim has the wrong type or range.
    #[error("a claim of the token is invalid")]
    InvalidClaim,
    /// The issuer has no such key, or `kid` is absent.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature does not fit")]
    BadSignature,
    /// Genuine, but past its end. Said only of tokens whose signature fits.
    #[error("the token has expired")]
    Expired,
    /// Genuine, but `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Genuine, but `iat` is in the future.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// Genuine, but it lives longer than allowed (S178).
    #[error("the token lives too long")]
    LifetimeTooLong,
    /// It was not got by client credentials: it is a person's.
    #[error("the token is not a client's own")]
    NotMachine,
    /// Its claims name two different clients.
    #[error("the token names two clients")]
    ClientMismatch,
    /// The keys of the issuer were never fetched, or are too old (S187).
    #[error("the keys of the token's issuer are not available")]
    KeysUnavailable,
}

impl TokenError {
    /// What the caller is told.
    #[must_use]
    pub const fn problem(self) -> ProblemCode {
        match self {
            Self::Expired => ProblemCode::TokenExpired,
            Self::KeysUnavailable => ProblemCode::IssuerUnavailable,
            Self::TooLong
            | Self::Malformed
            | Self::CriticalHeader
            | Self::TypeNotAllowed
            | Self::AlgorithmNotAllowed
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::MissingClaim(_)
            | Self::InvalidClaim
            | Self::UnknownKey
            | Self::BadSignature
            | Self::NotYetValid
            | Self::IssuedInFuture
            | Self::LifetimeTooLong
            | Self::NotMachine
            | Self::ClientMismatch => ProblemCode::TokenInvalid,
        }
    }

    /// A stable name for the log and for metrics.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::CriticalHeader => "token_header_critical",
            Self::TypeNotAllowed => "token_type",
            Self::AlgorithmNotAllowed => "token_algorithm",
            Self::WrongIssuer => "token_issuer",
            Self::WrongAudience => "token_audience",
            Self::MissingClaim(_) => "token_claim_missing",
            Self::InvalidClaim => "token_claim_invalid",
            Self::UnknownKey => "token_key_unknown",
            Self::BadSignature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::IssuedInFuture => "token_issued_in_future",
            Self::LifetimeTooLong => "token_lifetime",
            Self::NotMachine => "token_not_machine",
            Self::ClientMismatch => "token_client",
            Self::KeysUnavailable => "token_keys_unavailable",
        }
    }
}
