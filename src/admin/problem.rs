//! Refusals on their way out (RFC 9457): every handler fails with a [`Problem`], the outermost layer writes it.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    control,
    model::{ProblemCode, RequestId},
};

/// Why a call is refused. The type is written by [`Problem::write`], where the request id is known.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) code: ProblemCode,
    /// In place of the code's remedy.
    pub(super) detail: Option<Cow<'static, str>>,
    pub(super) errors: Vec<FieldProblem>,
    /// Seconds to wait, with 429 and 503; one second where nobody knows better.
    pub(super) retry_after_s: Option<u64>,
}

/// One field that was refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct FieldProblem {
    /// The field's name; `scopes[2]` for an element.
    pub(super) field: String,
    /// What is wrong with it, for people.
    pub(super) message: String,
}

/// The body of every refusal, `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// Leads to a page about the code.
    r#type: String,
    /// The code in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What was wrong in this case.
    detail: &'a str,
    /// Stable; programs go by it.
    code: &'a str,
    /// Finds the call in the logs.
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    /// The fields that were refused, with 422.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
}

impl Problem {
    pub(super) fn new(code: ProblemCode) -> Self {
        Self { code, detail: None, errors: Vec::new(), retry_after_s: None }
    }

    pub(super) fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// A parameter of the URL or a header that cannot be read.
    pub(super) fn parameter(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::InvalidParameter).with_detail(detail)
    }

    /// Fields of a body that were refused.
    pub(super) fn fields(errors: Vec<FieldProblem>) -> Self {
        Self { errors, ..Self::new(ProblemCode::ValidationFailed) }
    }

    /// The whole answer. `problems_url` is where the pages about codes are, without a slash at the end.
    pub(super) fn write(&self, problems_url: &str, request_id: RequestId) -> Response {
        let body = ProblemBody {
            r#type: format!("{problems_url}/problems/{}", self.code.code()),
            title: self.code.title(),
            status: self.code.status(),
            detail: self.detail.as_deref().unwrap_or_else(|| self.code.remedy()),
            code: self.code.code(),
            request_id,
            errors: &self.errors,
        };
        let bytes = serde_json::to_vec(&body).expect("texts and numbers can be written as JSON");
        let mut response = (self.status(), bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code.status() == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sensorgate admin\""));
        }
        if matches!(self.code.status(), 429 | 503) {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after_s.unwrap_or(1).max(1)));
        }
        response
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).expect("the table has valid statuses")
    }
}

/// An answer without a body that carries the problem to the outermost layer.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The problem that `response` carries, written out; headers that the router had set (Allow) stay.
pub(super) fn written(mut response: Response, problems_url: &str, request_id: RequestId) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut whole = problem.write(problems_url, request_id);
    if let Some(allow) = response.headers_mut().remove(ALLOW) {
        whole.headers_mut().insert(ALLOW, allow);
    }
    whole
}

impl From<control::FieldError> for FieldProblem {
    fn from(error: control::FieldError) -> Self {
        Self { field: error.field, message: error.message }
    }
}

/// A refusal says what it says; a fault is logged here, once, and answered without its text.
impl From<control::Error> for Problem {
    fn from(error: control::Error) -> Self {
        let code = error.problem();
        match error {
            control::Error::Invalid(errors) => Self::fields(errors.into_iter().map(FieldProblem::from).collect()),
            fault if code == ProblemCode::Internal => {
                tracing::error!(error = &fault as &dyn std::error::Error, "a call of the control plane failed");
                Self::new(code)
            }
            refusal => Self::new(code).with_detail(refusal.to_string()),
        }
    }
}
