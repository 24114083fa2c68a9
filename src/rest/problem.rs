//! Refusals on their way out (RFC 9457): every handler fails with a [`Problem`], the outermost layer writes it.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use crate::model::{FieldProblem, Problem};
use crate::{
    control,
    model::{ProblemCode, ProblemDocument, RequestId},
};

/// The body of every refusal, `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
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

/// Writes `problem` out. `public_url` is where the pages about codes are, without a slash at the end.
fn write(problem: &Problem, public_url: &str, request_id: RequestId) -> Response {
    let document = ProblemDocument {
        problem: problem.code,
        detail: problem.detail.as_deref(),
        request_id,
        errors: &problem.errors,
    };
    let mut response = (status(problem), document.to_json(public_url)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.code.status() == 401 {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sensorgate admin\""));
    }
    if matches!(problem.code.status(), 429 | 503) {
        headers.insert(RETRY_AFTER, HeaderValue::from(problem.retry_after_s.unwrap_or(1).max(1)));
    }
    response
}

fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.code.status()).expect("the table has valid statuses")
}

/// An answer without a body that carries the problem to the outermost layer.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = status(&self).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The problem that `response` carries, written out; headers that the router had set (Allow) stay.
pub(crate) fn written(mut response: Response, public_url: &str, request_id: RequestId) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut whole = write(&problem, public_url, request_id);
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
            // The caller sees the one generic 401; the word for the API log is the gate's.
            control::Error::NoLongerValid => Self { cause: Some("changed_in_flight"), ..Self::new(code) },
            fault if code == ProblemCode::Internal => {
                tracing::error!(error = &fault as &dyn std::error::Error, "a call of the control plane failed");
                Self::new(code)
            }
            refusal => Self::new(code).with_detail(refusal.to_string()),
        }
    }
}
