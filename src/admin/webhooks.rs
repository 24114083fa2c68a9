//! Webhook subscriptions of any integration: the calls of both APIs, with an administrator behind them.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::{Admin, caller::Administrator, problem::Problem};
use crate::{
    control::Control,
    rest::{
        path::Named,
        webhook::{Place, WebhookApi},
    },
    webhook::Guard,
};

impl WebhookApi for Admin {
    fn control(&self) -> &Control {
        &self.control
    }

    fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl FromRequestParts<Admin> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Problem> {
        let Administrator(actor) = Administrator::from_request_parts(parts, admin).await?;
        let integration_id = Named::from_request_parts(parts, admin).await?.id("id")?;
        Ok(Self {
            actor: actor.into(),
            organisation_id: actor.organisation_id,
            integration_id,
            request_id: actor.request_id,
            path: format!("/admin/v1/integrations/{integration_id}/webhooks"),
        })
    }
}
