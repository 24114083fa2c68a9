//! Every code that a whole request can be refused with, with what its page in the documentation says (RFC 9457).
//!
//! One table: the edges answer with it, `/problems/{code}` and `docs/errors.md` are made from it.

macro_rules! problems {
    ($($variant:ident = $status:literal $code:literal, $title:literal, retry: $retry:literal,
       cause: $cause:literal, remedy: $remedy:literal;)*) => {
        /// A refusal of a whole request. Stable: clients switch on [`ProblemCode::code`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemCode {
            $(#[doc = $cause] $variant,)*
        }

        impl ProblemCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The problem's short title.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// Whether the same request can succeed later without being changed.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retry,)* }
            }

            /// Why it happens, for the documentation.
            #[must_use]
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause,)* }
            }

            /// What the caller can do about it; the default `detail`.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

problems! {
    MissingCredential = 401 "missing_credential", "Missing credential", retry: false,
        cause: "One of the two credentials is absent, empty, given twice or malformed.",
        remedy: "Send both headers, once each: Authorization: Bearer <jwt> and X-API-Key: grq_live_….";
    TokenExpired = 401 "token_expired", "Token expired", retry: false,
        cause: "The JWT is genuine but past its expiry.",
        remedy: "Get a new token from the token end point and send the request again; the API key stays the same.";
    TokenInvalid = 401 "token_invalid", "Token invalid", retry: false,
        cause: "The JWT is malformed, not signed by a trusted issuer, for another audience, or not valid yet.",
        remedy: "Get a token from the token end point that belongs to this service, for its audience.";
    Unauthorized = 401 "unauthorized", "Unauthorized", retry: false,
        cause: "The two credentials do not open anything together. The exact cause stands in the API log under the request id.",
        remedy: "Ask the administrator to look up the request id: the key may be superseded, the integration not active, or the pair mismatched.";
    IpNotAllowed = 403 "ip_not_allowed", "Address not allowed", retry: false,
        cause: "The integration has an IP allowlist, and the calling address is not on it.",
        remedy: "Call from an allowed network, or ask the administrator to add the address.";
    InsufficientScope = 403 "insufficient_scope", "Scope missing", retry: false,
        cause: "The integration was not granted the scope that this call needs.",
        remedy: "Ask the administrator for the scope named in the detail.";
    TopicForbidden = 403 "topic_forbidden", "Topic not allowed", retry: false,
        cause: "Over MQTT: the topic, or the response topic, is not one of the integration's own.",
        remedy: "Publish to grq/v1/{integration_id}/readings; a response topic is grq/v1/{integration_id}/results or below.";
    RateLimited = 429 "rate_limited", "Too many requests", retry: true,
        cause: "The integration has used up its requests of this minute.",
        remedy: "Wait until X-RateLimit-Reset, then go on; add jitter when many senders share a limit.";
    DailyQuotaExceeded = 429 "daily_quota_exceeded", "Daily quota used up", retry: true,
        cause: "The integration has used up its requests of this UTC day.",
        remedy: "Wait until X-RateLimit-Reset (the next 00:00 UTC), or ask the administrator for a larger quota.";
    TooManySessions = 429 "too_many_sessions", "Too many sessions", retry: true,
        cause: "Over MQTT: the integration has its full number of sessions open, or opens them too often.",
        remedy: "Close sessions that are not needed, give each client an id of its own, and connect again later with backoff.";
    TooManyFailures = 429 "too_many_failures", "Too many failed attempts", retry: true,
        cause: "Too many requests from this address failed to authenticate.",
        remedy: "Mend the credentials, wait for Retry-After, and try again.";
    NotFound = 404 "not_found", "Not found", retry: false,
        cause: "There is no such path, or no such object in your organisation.",
        remedy: "Check the path and the id.";
    MethodNotAllowed = 405 "method_not_allowed", "Method not allowed", retry: false,
        cause: "The path exists, but not with this method.",
        remedy: "Use a method that the Allow header names.";
    RequestTimeout = 408 "request_timeout", "Request timed out", retry: true,
        cause: "The body did not arrive within the time allowed.",
        remedy: "Send the request again over a better connection, or in smaller batches.";
    UnsupportedMediaType = 415 "unsupported_media_type", "Unsupported media type", retry: false,
        cause: "The Content-Type is not application/json.",
        remedy: "Send Content-Type: application/json.";
    UnsupportedEncoding = 415 "unsupported_encoding", "Unsupported encoding", retry: false,
        cause: "The Content-Encoding is not one of gzip, zstd, identity, or there is more than one.",
        remedy: "Send the body plain, or with one Content-Encoding: gzip or zstd.";
    BodyTooLarge = 413 "body_too_large", "Body too large", retry: false,
        cause: "The body, as sent or once inflated, is larger than the limit.",
        remedy: "Split the batch and send the parts.";
    BatchTooLarge = 413 "batch_too_large", "Too many readings", retry: false,
        cause: "The batch has more readings than the limit; none was stored.",
        remedy: "Split the batch: at most 500 readings a request.";
    MalformedJson = 400 "malformed_json", "Malformed JSON", retry: false,
        cause: "The body is not JSON in UTF-8 as RFC 8259 has it, or is nested too deeply.",
        remedy: "Send valid JSON; NaN, Infinity, comments and trailing commas are not JSON.";
    MalformedCsv = 400 "malformed_csv", "Malformed CSV", retry: false,
        cause: "The body is not CSV as RFC 4180 has it, or its first line does not name known columns.",
        remedy: "Send comma-separated values in UTF-8 whose first line names the columns, as the export has them.";
    MalformedEncoding = 400 "malformed_encoding", "Malformed encoding", retry: false,
        cause: "The body does not inflate by its Content-Encoding.",
        remedy: "Compress the body as the header says, with nothing behind it.";
    ReadingsMissing = 400 "readings_missing", "No readings field", retry: false,
        cause: "The body is neither an array nor an object with a readings array.",
        remedy: "Send {\"readings\":[…]} or a bare array.";
    ReadingsDuplicated = 400 "readings_duplicated", "Readings given twice", retry: false,
        cause: "The body has the field readings more than once.",
        remedy: "Send one readings array.";
    EmptyBatch = 400 "empty_batch", "Empty batch", retry: false,
        cause: "The batch has no reading.",
        remedy: "Send at least one reading.";
    InvalidParameter = 400 "invalid_parameter", "Invalid parameter", retry: false,
        cause: "A query parameter or header cannot be read.",
        remedy: "Correct what the detail names.";
    IdempotencyKeyInvalid = 400 "idempotency_key_invalid", "Invalid idempotency key", retry: false,
        cause: "The Idempotency-Key is empty, too long, given twice or not printable ASCII.",
        remedy: "Send 1 to 255 printable ASCII characters, once.";
    IdempotencyKeyReused = 422 "idempotency_key_reused", "Idempotency key reused", retry: false,
        cause: "This Idempotency-Key came with another body before.",
        remedy: "Use a new key for a new body.";
    IdempotencyInProgress = 409 "idempotency_in_progress", "Request still running", retry: true,
        cause: "A request with this Idempotency-Key is still being worked on.",
        remedy: "Wait a moment and send it again: the stored answer comes back.";
    Overloaded = 503 "overloaded", "Overloaded", retry: true,
        cause: "The service has as much in flight as it can take; nothing was accepted.",
        remedy: "Wait for Retry-After and send the batch again.";
    SpoolFull = 503 "spool_full", "Spool full", retry: true,
        cause: "The store is behind, and the spool or its disk is full; nothing was accepted.",
        remedy: "Wait for Retry-After and send the batch again; tell the operator if it lasts.";
    StorageUnavailable = 503 "storage_unavailable", "Storage unavailable", retry: true,
        cause: "The batch could not be made durable; nothing was accepted.",
        remedy: "Wait for Retry-After and send the batch again; the operator has to act.";
    ShuttingDown = 503 "shutting_down", "Shutting down", retry: true,
        cause: "The service is stopping; nothing was accepted.",
        remedy: "Wait for Retry-After and send the batch again.";
    IssuerUnavailable = 503 "issuer_unavailable", "Token issuer unavailable", retry: true,
        cause: "The keys of the token issuer could not be fetched, and none are cached.",
        remedy: "Wait for Retry-After and send the request again.";
    Internal = 500 "internal", "Internal error", retry: true,
        cause: "A fault of the service. It is logged under the request id.",
        remedy: "Send the request again; give the request id to the operator if it lasts.";
    NotSignedIn = 401 "not_signed_in", "Not signed in", retry: false,
        cause: "The administrator's token is absent, unknown or past its end.",
        remedy: "Sign in at POST /admin/v1/login and send Authorization: Bearer <access_token>.";
    LoginFailed = 401 "login_failed", "Sign-in failed", retry: false,
        cause: "The e-mail address and the password do not belong together, or the account is not active.",
        remedy: "Check both; a colleague with the administrators' permission can reset the password.";
    PasswordChangeRequired = 403 "password_change_required", "Password must be changed", retry: false,
        cause: "The account still has its one-time password.",
        remedy: "Set a password of your own at POST /admin/v1/password first.";
    PermissionDenied = 403 "permission_denied", "Permission missing", retry: false,
        cause: "The administrator lacks the permission administration_integrations_access.",
        remedy: "Ask a holder of the permission to grant it; another holder must confirm.";
    SelfApproval = 403 "self_approval", "Own request", retry: false,
        cause: "The requester of an integration cannot approve it.",
        remedy: "A different administrator must approve this request.";
    SelfReactivation = 403 "self_reactivation", "Own suspension", retry: false,
        cause: "Who suspended an integration cannot reactivate it.",
        remedy: "A different administrator must reactivate this integration.";
    SelfConfirmation = 403 "self_confirmation", "Own grant", retry: false,
        cause: "Who granted the permission or reset the password, and who receives it, cannot confirm it.",
        remedy: "A different holder of the permission must confirm.";
    InvalidState = 409 "invalid_state", "Not possible in this state", retry: false,
        cause: "The integration's status does not allow this action.",
        remedy: "Look at the status in the detail; the life cycle is requested, approved, active, suspended, revoked.";
    IntegrationLimit = 409 "integration_limit", "Integration limit reached", retry: false,
        cause: "The organisation has 20 Active or Suspended integrations.",
        remedy: "Revoke integrations that are no longer in use; suspended ones count as well.";
    EquipmentLimit = 409 "equipment_limit", "Equipment limit reached", retry: false,
        cause: "The integration has as many pieces of equipment as it may, retired ones included; nothing was registered.",
        remedy: "Bring retired equipment back in place of registering anew, or ask the operator for a higher limit.";
    WebhookLimit = 409 "webhook_limit", "Webhook limit reached", retry: false,
        cause: "The integration has as many webhooks as it may.",
        remedy: "Delete one that is not used, or let one take more events.";
    Conflict = 409 "conflict", "Already taken", retry: false,
        cause: "Another object of the organisation has this unique value.",
        remedy: "Choose another value for the field in the detail.";
    VersionConflict = 412 "version_conflict", "Changed meanwhile", retry: false,
        cause: "The object has changed since the version in If-Match was read.",
        remedy: "Read it again, look at what changed, and decide anew.";
    ValidationFailed = 422 "validation_failed", "Fields not valid", retry: false,
        cause: "One or more fields were refused; nothing was changed.",
        remedy: "Correct the fields named in errors.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::ProblemCode;

    #[test]
    fn codes_are_unique_snake_case_and_fit_their_status() {
        let codes: HashSet<_> = ProblemCode::ALL.iter().map(|p| p.code()).collect();
        assert_eq!(codes.len(), ProblemCode::ALL.len());
        for problem in ProblemCode::ALL {
            assert!(problem.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{problem:?}");
            assert!((400..600).contains(&problem.status()), "{problem:?}");
            assert!(problem.status() < 500 || problem.is_retryable(), "{problem:?}: a 5xx can always be tried again");
        }
    }
}
