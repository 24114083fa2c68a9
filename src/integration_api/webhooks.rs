//! The integration's own webhook subscriptions: the calls of both APIs, with the integration behind them (S302).

use axum::extract::FromRequestParts;

use super::{Parts, caller::Caller};
use crate::{
    control::Control,
    model::Problem,
    rest::webhook::{Place, WebhookApi},
    webhook::Guard,
};

impl WebhookApi for Parts {
    fn control(&self) -> &Control {
        &self.control
    }

    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl FromRequestParts<Parts> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, api: &Parts) -> Result<Self, Problem> {
        let Caller { actor, .. } = Caller::from_request_parts(parts, api).await?;
        Ok(Self {
            actor: actor.into(),
            organisation_id: actor.organisation_id,
            integration_id: actor.integration_id,
            request_id: actor.request_id,
            path: "/v1/webhooks".to_owned(),
        })
    }
}
