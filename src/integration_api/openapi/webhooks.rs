//! An integration's own webhook subscriptions.

use crate::rest::{
    openapi::{Paging, Version},
    openapi_webhook::{DeliveryFilter, NewWebhook, WebhookPatch},
    page::List,
    webhook::{DeliveryView, DiscardedView, SecretView, TestView, WebhookView},
};

/// List your webhooks, all on one page. Needs `webhooks:manage`, as all of these calls do.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", security(("token" = [], "api_key" = [])),
    responses((status = 200, description = "All of them.", body = List<WebhookView>)))]
pub(super) fn index() {}

/// Make a webhook. The answer shows its signing secret, this once.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", security(("token" = [], "api_key" = [])),
    request_body = NewWebhook,
    responses((status = 201, description = "Made.", body = SecretView)))]
pub(super) fn create() {}

/// Read a webhook.
#[utoipa::path(get, path = "/v1/webhooks/{wid}", tag = "webhooks", security(("token" = [], "api_key" = [])),
    params(("wid" = uuid::Uuid, Path)),
    responses((status = 200, description = "The webhook.", body = WebhookView)))]
pub(super) fn show() {}

/// Change a webhook. A changed target takes what is queued, too, and stands in the audit log with the old one.
#[utoipa::path(patch, path = "/v1/webhooks/{wid}", tag = "webhooks", security(("token" = [], "api_key" = [])),
    params(("wid" = uuid::Uuid, Path), Version), request_body = WebhookPatch,
    responses((status = 200, description = "As it stands now.", body = WebhookView)))]
pub(super) fn update() {}

/// Delete a webhook with its secret and its queue. Administrators keep its delivery log for as long as logs are kept.
#[utoipa::path(delete, path = "/v1/webhooks/{wid}", tag = "webhooks", security(("token" = [], "api_key" = [])),
    params(("wid" = uuid::Uuid, Path), Version),
    responses((status = 204, description = "Deleted.")))]
pub(super) fn remove() {}

/// Regenerate the signing secret, shown this once. The old one signs nothing from now on.
#[utoipa::path(post, path = "/v1/webhooks/{wid}/secret", tag = "webhooks", security(("token" = [], "api_key" = [])),
    params(("wid" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "The new secret.", body = SecretView)))]
pub(super) fn regenerate_secret() {}

/// Send a `webhook.test` event.
#[utoipa::path(post, path = "/v1/webhooks/{wid}/test", tag = "webhooks", security(("token" = [], "api_key" = [])),
    params(("wid" = uuid::Uuid, Path)),
    responses((status = 202, description = "It is in the queue.", body = TestView)))]
pub(super) fn test() {}

/// Throw away what waits to be sent.
#[utoipa::path(delete, path = "/v1/webhooks/{wid}/queue", tag = "webhooks", security(("token" = [], "api_key" = [])),
    params(("wid" = uuid::Uuid, Path)),
    responses((status = 200, description = "How many.", body = DiscardedView)))]
pub(super) fn discard() {}

/// List the deliveries of a webhook with their attempts, newest first.
#[utoipa::path(get, path = "/v1/webhooks/{wid}/deliveries", tag = "webhooks", security(("token" = [], "api_key" = [])),
    params(("wid" = uuid::Uuid, Path), DeliveryFilter, Paging),
    responses((status = 200, description = "A page.", body = List<DeliveryView>)))]
pub(super) fn deliveries() {}

/// Send a delivery once more: a new attempt with the same event id.
#[utoipa::path(post, path = "/v1/webhooks/{wid}/deliveries/{did}/replay", tag = "webhooks", security(("token" = [], "api_key" = [])),
    params(("wid" = uuid::Uuid, Path), ("did" = uuid::Uuid, Path)),
    responses((status = 202, description = "It is in the queue.", body = TestView)))]
pub(super) fn replay() {}
