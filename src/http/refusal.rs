//! A refusal, and how it looks on the wire (RFC 9457).

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::reply::{ReplyBody, full};
use crate::{
    auth::{Denial, RateState},
    ingest::Refused,
    model::{FieldProblem, IntegrationId, Problem, ProblemCode, ProblemDocument, RequestId},
};

/// Seconds to wait before a 503 or 429 is tried again, where nobody knew better.
const RETRY_AFTER_DEFAULT_S: u64 = 1;

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: ProblemCode,
    /// The exact cause, for the log and never for the caller.
    pub(super) cause: &'static str,
    /// In place of the problem's remedy.
    pub(super) detail: Option<Cow<'static, str>>,
    /// The fields that were refused.
    pub(super) errors: Vec<FieldProblem>,
    pub(super) retry_after_s: Option<u64>,
    /// The rate headers' figures where the refusal knows them.
    pub(super) rate: Option<RateState>,
    pub(super) integration_id: Option<IntegrationId>,
    pub(super) key_generation: Option<u64>,
    /// The methods of a path that was called with another one.
    pub(super) allow: Option<HeaderValue>,
}

impl Refusal {
    pub(super) fn new(problem: ProblemCode) -> Self {
        Self {
            problem,
            cause: problem.code(),
            detail: None,
            errors: Vec::new(),
            retry_after_s: None,
            rate: None,
            integration_id: None,
            key_generation: None,
            allow: None,
        }
    }

    pub(super) fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn because(mut self, cause: &'static str) -> Self {
        self.cause = cause;
        self
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let mut refusal = Self::new(ProblemCode::MethodNotAllowed);
        refusal.allow = Some(HeaderValue::from_static(allow));
        refusal
    }

    /// The answer, without the headers that every answer has.
    pub(super) fn response(&self, public_url: &str, request_id: RequestId) -> Response<ReplyBody> {
        let body = self.body(public_url, request_id);
        let mut response = Response::new(full(body));
        *response.status_mut() = StatusCode::from_u16(self.problem.status()).expect("the table has valid statuses");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.problem.status() {
            401 => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge(self.problem)));
            }
            429 | 503 => {
                let wait_s = self.retry_after_s.unwrap_or(RETRY_AFTER_DEFAULT_S).max(1);
                headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
            }
            _ => {}
        }
        if let Some(allow) = &self.allow {
            headers.insert(ALLOW, allow.clone());
        }
        if self.problem == ProblemCode::UnsupportedEncoding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity"));
        }
        response
    }

    fn body(&self, public_url: &str, request_id: RequestId) -> Bytes {
        let detail = self.detail.as_deref();
        ProblemDocument { problem: self.problem, detail, request_id, errors: &self.errors }.to_json(public_url).into()
    }
}

/// RFC 6750 §3: an error is named only where a token was shown.
const fn challenge(problem: ProblemCode) -> &'static str {
    match problem {
        ProblemCode::TokenExpired => {
            "Bearer realm=\"sensorgate\", error=\"invalid_token\", error_description=\"The token has expired\""
        }
        ProblemCode::TokenInvalid => "Bearer realm=\"sensorgate\", error=\"invalid_token\"",
        _ => "Bearer realm=\"sensorgate\"",
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self {
            problem: denial.problem,
            cause: denial.cause.as_str(),
            detail: denial.detail.map(Cow::Owned),
            errors: Vec::new(),
            retry_after_s: denial.retry_after_s,
            rate: Some(denial.rate),
            integration_id: denial.integration_id,
            key_generation: denial.key_generation,
            allow: None,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let mut refusal = Self::new(refused.problem).because(refused.cause);
        refusal.detail = refused.detail.map(Cow::Owned);
        refusal.retry_after_s = refused.retry_after_s;
        refusal
    }
}

/// What a router refused.
impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let Problem { code, cause, detail, errors, retry_after_s } = problem;
        Self { detail, errors, retry_after_s, ..Self::new(code).because(cause.unwrap_or(code.code())) }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    // S295: every code has a body of the same shape, and the headers that its status calls for.
    #[tokio::test]
    async fn every_problem_is_complete() {
        for problem in ProblemCode::ALL {
            let id = RequestId::generate();
            let response = Refusal::new(*problem).response("https://api.example", id);
            let (parts, body) = response.into_parts();
            assert_eq!(parts.status.as_u16(), problem.status());
            assert_eq!(parts.headers[CONTENT_TYPE], "application/problem+json");
            assert_eq!(parts.headers.contains_key(WWW_AUTHENTICATE), problem.status() == 401, "{problem:?}");
            assert_eq!(parts.headers.contains_key(RETRY_AFTER), matches!(problem.status(), 429 | 503), "{problem:?}");
            let body: serde_json::Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            assert_eq!(body["type"], format!("https://api.example/problems/{}", problem.code()));
            assert_eq!((&body["status"], &body["code"]), (&problem.status().into(), &problem.code().into()));
            assert_eq!((&body["title"], &body["detail"]), (&problem.title().into(), &problem.remedy().into()));
            assert_eq!(body["request_id"], id.to_string());
        }
    }
}
