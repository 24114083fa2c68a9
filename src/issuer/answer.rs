//! What the token end point answers (RFC 6749 §5).

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

use super::Token;

/// A request for a token that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Malformed; what is wrong with it.
    InvalidRequest(&'static str),
    /// Larger than the limit.
    BodyTooLarge,
    /// No client named, or without a secret.
    NoClient,
    /// Unknown client, wrong secret or inactive integration: one answer for all three.
    InvalidClient,
    /// Not `client_credentials`.
    UnsupportedGrantType,
    /// A scope that the client does not have.
    InvalidScope,
    /// Too often from this address or for this client.
    TooMany {
        /// Seconds until the next one passes.
        retry_after_s: u64,
    },
    /// Not now, by no fault of the client's.
    Unavailable,
}

impl Refusal {
    /// The code on the wire, and the outcome in metrics.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) | Self::BodyTooLarge => "invalid_request",
            Self::NoClient | Self::InvalidClient => "invalid_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::TooMany { .. } => "too_many_requests",
            Self::Unavailable => "temporarily_unavailable",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest(_) | Self::UnsupportedGrantType | Self::InvalidScope => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoClient | Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(what) => what,
            Self::BodyTooLarge => "the body is too large",
            Self::NoClient => "give client_id and client_secret, by HTTP Basic or in the body",
            Self::InvalidClient => "unknown client, wrong secret, or the integration is not active",
            Self::UnsupportedGrantType => "the only grant type is client_credentials",
            Self::InvalidScope => "the client does not have a scope that it asks for",
            Self::TooMany { .. } => "too many token requests: a token lasts an hour, keep it",
            Self::Unavailable => "no token can be issued right now",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.code(), "error_description": self.description()});
        let mut response = uncached(self.status(), &body);
        let headers = response.headers_mut();
        match self {
            // RFC 9110 §15.5.2: every 401 says what it wants to see, however the client came.
            Self::NoClient | Self::InvalidClient => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sensorgate\""));
            }
            Self::TooMany { retry_after_s } => {
                headers.insert(RETRY_AFTER, retry_after_s.into());
            }
            Self::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The answer with a token (RFC 6749 §5.1).
pub(super) fn issued(token: &Token) -> Response {
    let mut body = json!({
        "access_token": token.access_token,
        "token_type": "Bearer",
        "expires_in": token.expires_in_s,
    });
    if !token.scope.is_empty() {
        body["scope"] = token.scope.as_str().into();
    }
    uncached(StatusCode::OK, &body)
}

fn uncached(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
    ];
    (status, headers, body.to_string()).into_response()
}
