//! Webhook subscriptions of an integration.

use super::{Paging, Version};
use crate::rest::{
    openapi_webhook::{DeliveryFilter, NewWebhook, WebhookPatch},
    page::List,
    webhook::{DeliveryView, DiscardedView, SecretView, TestView, WebhookView},
};

/// List the webhooks of an integration, all on one page.
#[utoipa::path(get, path = "/admin/v1/integrations/{id}/webhooks", tag = "webhooks",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "All of them.", body = List<WebhookView>)))]
pub(super) fn index() {}

/// Make a webhook. The answer shows its signing secret, this once.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/webhooks", tag = "webhooks",
    params(("id" = uuid::Uuid, Path)), request_body = NewWebhook,
    responses((status = 201, description = "Made.", body = SecretView)))]
pub(super) fn create() {}

/// Read a webhook, also a deleted one.
#[utoipa::path(get, path = "/admin/v1/integrations/{id}/webhooks/{wid}", tag = "webhooks",
    params(("id" = uuid::Uuid, Path), ("wid" = uuid::Uuid, Path)),
    responses((status = 200, description = "The webhook.", body = WebhookView)))]
pub(super) fn show() {}

/// Change a webhook. A changed target takes what is queued, too, and stands in the audit log with the old one.
#[utoipa::path(patch, path = "/admin/v1/integrations/{id}/webhooks/{wid}", tag = "webhooks",
    params(("id" = uuid::Uuid, Path), ("wid" = uuid::Uuid, Path), Version), request_body = WebhookPatch,
    responses((status = 200, description = "As it stands now.", body = WebhookView)))]
pub(super) fn update() {}

/// Delete a webhook with its secret and its queue. Its delivery log stays readable for as long as logs are kept.
#[utoipa::path(delete, path = "/admin/v1/integrations/{id}/webhooks/{wid}", tag = "webhooks",
    params(("id" = uuid::Uuid, Path), ("wid" = uuid::Uuid, Path), Version),
    responses((status = 204, description = "Deleted.")))]
pub(super) fn remove() {}

/// Regenerate the signing secret, shown this once. The old one signs nothing from now on.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/webhooks/{wid}/secret", tag = "webhooks",
    params(("id" = uuid::Uuid, Path), ("wid" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "The new secret.", body = SecretView)))]
pub(super) fn regenerate_secret() {}

/// Send a `webhook.test` event.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/webhooks/{wid}/test", tag = "webhooks",
    params(("id" = uuid::Uuid, Path), ("wid" = uuid::Uuid, Path)),
    responses((status = 202, description = "It is in the queue.", body = TestView)))]
pub(super) fn test() {}

/// Throw away what waits to be sent.
#[utoipa::path(delete, path = "/admin/v1/integrations/{id}/webhooks/{wid}/queue", tag = "webhooks",
    params(("id" = uuid::Uuid, Path), ("wid" = uuid::Uuid, Path)),
    responses((status = 200, description = "How many.", body = DiscardedView)))]
pub(super) fn discard() {}

/// List the deliveries of a webhook with their attempts, newest first.
#[utoipa::path(get, path = "/admin/v1/integrations/{id}/webhooks/{wid}/deliveries", tag = "webhooks",
    params(("id" = uuid::Uuid, Path), ("wid" = uuid::Uuid, Path), DeliveryFilter, Paging),
    responses((status = 200, description = "A page.", body = List<DeliveryView>)))]
pub(super) fn deliveries() {}

/// Send a delivery once more: a new attempt with the same event id.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/webhooks/{wid}/deliveries/{did}/replay", tag = "webhooks",
    params(("id" = uuid::Uuid, Path), ("wid" = uuid::Uuid, Path), ("did" = uuid::Uuid, Path)),
    responses((status = 202, description = "It is in the queue.", body = TestView)))]
pub(super) fn replay() {}
