//! Ids in paths. What is no id names no object.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::{Admin, problem::Problem};
use crate::model::ProblemCode;

/// The `{id}` of a path.
pub(super) struct Id<T>(pub(super) T);

impl<T: FromStr> FromRequestParts<Admin> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Problem> {
        let not_found = || Problem::new(ProblemCode::NotFound);
        let Path(text) = Path::<String>::from_request_parts(parts, admin).await.map_err(|_| not_found())?;
        text.parse().map(Self).map_err(|_| not_found())
    }
}
