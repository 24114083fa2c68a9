//! Ids in paths. What is no id names no object.

use std::{collections::HashMap, str::FromStr};

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::problem::Problem;
use crate::model::ProblemCode;

/// The `{id}` of a path.
pub(crate) struct Id<T>(pub(crate) T);

impl<A: Send + Sync, T: FromStr> FromRequestParts<A> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &A) -> Result<Self, Problem> {
        let not_found = || Problem::new(ProblemCode::NotFound);
        let Path(text) = Path::<String>::from_request_parts(parts, api).await.map_err(|_| not_found())?;
        text.parse().map(Self).map_err(|_| not_found())
    }
}

/// All ids of a path that has several, by their names.
pub(crate) struct Named(HashMap<String, String>);

impl Named {
    /// The one called `name`.
    pub(crate) fn id<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        let id = self.0.get(name).and_then(|text| text.parse().ok());
        id.ok_or_else(|| Problem::new(ProblemCode::NotFound))
    }
}

impl<A: Send + Sync> FromRequestParts<A> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &A) -> Result<Self, Problem> {
        let not_found = || Problem::new(ProblemCode::NotFound);
        Path::from_request_parts(parts, api).await.map(|Path(named)| Self(named)).map_err(|_| not_found())
    }
}
