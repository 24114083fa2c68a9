//! A refusal and its body (RFC 9457), the same over every transport (S295).

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::{ProblemCode, RequestId};

/// Why a call is refused. A router hands it to its edge in the extensions of a response, and the edge writes it out.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What it is refused for.
    pub code: ProblemCode,
    /// The exact cause, for the API log and never for the caller; none: the code says it.
    pub cause: Option<&'static str>,
    /// In place of the code's default sentence.
    pub detail: Option<Cow<'static, str>>,
    /// The fields that were refused.
    pub errors: Vec<FieldProblem>,
    /// When to try again, in seconds, where that is known.
    pub retry_after_s: Option<u64>,
}

/// One field that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field's name; `scopes[2]` for an element.
    pub field: String,
    /// What is wrong with it, for people.
    pub message: String,
}

impl Problem {
    /// Refused for `code`, whose own sentence is enough.
    #[must_use]
    pub const fn new(code: ProblemCode) -> Self {
        Self { code, cause: None, detail: None, errors: Vec::new(), retry_after_s: None }
    }

    /// With words of its own for the caller.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// A parameter of the URL or a header that cannot be read.
    #[must_use]
    pub fn parameter(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::InvalidParameter).with_detail(detail)
    }

    /// Fields of a body that were refused.
    #[must_use]
    pub fn fields(errors: Vec<FieldProblem>) -> Self {
        Self { errors, ..Self::new(ProblemCode::ValidationFailed) }
    }
}

/// `application/problem+json` of one refused request. Echoes no credential and no internal error text.
#[derive(Debug, Clone, Copy)]
pub struct ProblemDocument<'a> {
    /// What it was refused for.
    pub problem: ProblemCode,
    /// In place of the problem's default sentence.
    pub detail: Option<&'a str>,
    /// Our name for the request.
    pub request_id: RequestId,
    /// The fields that were refused; none: the member is left out.
    pub errors: &'a [FieldProblem],
}

impl ProblemDocument<'_> {
    /// The document. Its `type` leads to the page of the code below `public_url`, which has no slash at its end.
    #[must_use]
    pub fn to_json(&self, public_url: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Members<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            code: &'a str,
            request_id: RequestId,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldProblem],
        }
        let members = Members {
            r#type: format!("{public_url}/problems/{}", self.problem.code()),
            title: self.problem.title(),
            status: self.problem.status(),
            detail: self.detail.unwrap_or_else(|| self.problem.remedy()),
            code: self.problem.code(),
            request_id: self.request_id,
            errors: self.errors,
        };
        serde_json::to_vec(&members).expect("texts and numbers can be written as JSON")
    }
}
