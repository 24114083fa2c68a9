//! The steps of an integration's life, and its keys. Answers with a secret show it once.

use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    body::Fields,
    caller::Administrator,
    etag::{IfMatch, tagged},
    integration_view::{IntegrationView, shown},
    path::Id,
    problem::Problem,
};
use crate::{
    control::{
        Cut, Integration,
        integration::{Credentials, ReactivateWith, SuspendCategory},
    },
    model::IntegrationId,
};

/// What a partner calls with. Shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = Credentials)]
pub(super) struct CredentialsView {
    /// The OAuth client.
    client_id: String,
    /// Its secret; absent where an external issuer has it, or where it did not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// The key; absent where a staged one was kept, which was shown when it was staged.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    /// The first 16 characters of the key that is live now.
    key_prefix: String,
}

/// An integration that became active.
#[derive(Serialize, ToSchema)]
pub(super) struct ActivatedIntegration {
    #[serde(flatten)]
    integration: IntegrationView,
    credentials: CredentialsView,
}

/// What was cut off.
#[derive(Serialize, ToSchema)]
#[schema(as = Cut)]
pub(super) struct CutView {
    /// MQTT sessions closed.
    sessions: u64,
    /// Requests in flight that answer 401.
    requests: u64,
}

/// An integration that was suspended or revoked.
#[derive(Serialize, ToSchema)]
pub(super) struct CutIntegration {
    #[serde(flatten)]
    integration: IntegrationView,
    cut: CutView,
}

/// A new key. Shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct NewKey {
    api_key: String,
    /// Its first 16 characters.
    key_prefix: String,
    /// The integration is suspended: the key waits for reactivation with `keep_staged`.
    staged: bool,
    cut: CutView,
}

impl From<Cut> for CutView {
    fn from(cut: Cut) -> Self {
        Self { sessions: cut.sessions, requests: cut.requests }
    }
}

impl From<&Credentials> for CredentialsView {
    fn from(credentials: &Credentials) -> Self {
        Self {
            client_id: credentials.client_id.clone(),
            client_secret: credentials.client_secret.as_ref().map(|secret| secret.expose().to_owned()),
            api_key: credentials.api_key.as_ref().map(|key| key.expose().to_owned()),
            key_prefix: credentials.key_prefix.clone(),
        }
    }
}

fn activated(integration: Integration, credentials: &Credentials) -> Response {
    let version = integration.version;
    let body = ActivatedIntegration { integration: integration.into(), credentials: credentials.into() };
    tagged(version, Json(body))
}

fn cut_off(integration: Integration, cut: Cut) -> Response {
    let version = integration.version;
    tagged(version, Json(CutIntegration { integration: integration.into(), cut: cut.into() }))
}

/// `POST /admin/v1/integrations/{id}/approve`
pub(super) async fn approve(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    fields.finish()?;
    Ok(shown(StatusCode::OK, admin.control.approve(actor, id, version).await?))
}

/// `POST /admin/v1/integrations/{id}/activate`
pub(super) async fn activate(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    fields.finish()?;
    let (integration, credentials) = admin.control.activate(actor, id, version).await?;
    Ok(activated(integration, &credentials))
}

/// `POST /admin/v1/integrations/{id}/suspend`
pub(super) async fn suspend(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let reason = fields.nullable_text("reason").flatten().unwrap_or_default();
    let category = choice(&mut fields, "category", &SuspendCategory::ALL, SuspendCategory::as_str);
    fields.finish()?;
    let (integration, cut) = admin.control.suspend(actor, id, version, reason, category).await?;
    Ok(cut_off(integration, cut))
}

/// `POST /admin/v1/integrations/{id}/reactivate`
pub(super) async fn reactivate(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let name = |with| match with {
        ReactivateWith::Generate => "generate",
        ReactivateWith::KeepStaged => "keep_staged",
    };
    let with = choice(&mut fields, "credentials", &[ReactivateWith::Generate, ReactivateWith::KeepStaged], name);
    let reason = fields.nullable_text("reason").flatten();
    fields.finish()?;
    let with = with.unwrap_or_default();
    let (integration, credentials) = admin.control.reactivate(actor, id, version, with, reason).await?;
    Ok(activated(integration, &credentials))
}

/// `POST /admin/v1/integrations/{id}/revoke`
pub(super) async fn revoke(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let reason = fields.nullable_text("reason").flatten();
    fields.finish()?;
    let (integration, cut) = admin.control.revoke(actor, id, version, reason).await?;
    Ok(cut_off(integration, cut))
}

/// `POST /admin/v1/integrations/{id}/api-key`
pub(super) async fn regenerate_key(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let cause = fields.nullable_text("cause").flatten();
    fields.finish()?;
    let (integration, key, cut) = admin.control.regenerate_key(actor, id, version, cause).await?;
    let body = NewKey {
        api_key: key.api_key.expose().to_owned(),
        key_prefix: key.api_key.prefix().to_owned(),
        staged: key.is_staged,
        cut: cut.into(),
    };
    Ok(tagged(integration.version, Json(body)))
}

/// A text that must be one of a few names, or left out, or null.
fn choice<T: Copy>(fields: &mut Fields, name: &str, all: &[T], as_str: impl Fn(T) -> &'static str) -> Option<T> {
    let text = fields.nullable_text(name).flatten()?;
    all.iter().copied().find(|one| as_str(*one) == text).or_else(|| {
        let names: Vec<_> = all.iter().map(|one| as_str(*one)).collect();
        fields.refuse(name, &format!("must be one of {}", names.join(", ")))
    })
}
