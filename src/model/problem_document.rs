//! The body of a refusal (RFC 9457), the same over every transport (S295).

use serde::Serialize;

use super::{ProblemCode, RequestId};

/// `application/problem+json` of one refused request. Echoes no credential and no internal error text.
#[derive(Debug, Clone, Copy)]
pub struct ProblemDocument<'a> {
    /// What it was refused for.
    pub problem: ProblemCode,
    /// In place of the problem's default sentence.
    pub detail: Option<&'a str>,
    /// Our name for the request.
    pub request_id: RequestId,
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
        }
        let members = Members {
            r#type: format!("{public_url}/problems/{}", self.problem.code()),
            title: self.problem.title(),
            status: self.problem.status(),
            detail: self.detail.unwrap_or_else(|| self.problem.remedy()),
            code: self.problem.code(),
            request_id: self.request_id,
        };
        serde_json::to_vec(&members).expect("texts and numbers can be written as JSON")
    }
}
