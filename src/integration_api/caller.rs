//! Who calls: taken from what the edge has put beside the request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::{
    auth::{Principal, RateState},
    control::IntegrationActor,
    model::{Problem, ProblemCode, RequestId},
};

/// An integration whose credentials, window and scope the edge has judged.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) actor: IntegrationActor,
    pub(super) principal: Arc<Principal>,
    /// The window after this call was charged: what the headers of its answer say.
    pub(super) rate: RateState,
}

impl<A: Sync> FromRequestParts<A> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &A) -> Result<Self, Problem> {
        let extensions = &parts.extensions;
        let (Some(principal), Some(rate), Some(request_id)) = (
            extensions.get::<Arc<Principal>>().cloned(),
            extensions.get::<RateState>().copied(),
            extensions.get::<RequestId>().copied(),
        ) else {
            tracing::error!("a call came past the edge");
            return Err(Problem::new(ProblemCode::Internal));
        };
        let actor = IntegrationActor {
            integration_id: principal.facts.id,
            organisation_id: principal.facts.organisation_id,
            key_generation: principal.generation,
            ip: principal.addr,
            request_id,
        };
        Ok(Self { actor, principal, rate })
    }
}
