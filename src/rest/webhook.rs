//! Webhook subscriptions, whoever asks: one form and one set of calls, mounted by both APIs (S302, S303).

use axum::{
    Json, Router,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    body::Fields,
    etag::{IfMatch, located, tagged},
    page::{List, whole},
    parameters::Parameters,
    path::Named,
    problem::Problem,
    time,
};
use crate::{
    control::{
        Control, DELIVERY_STATES, NewWebhook, Registrar, Webhook, WebhookAttempt, WebhookDelivery, WebhookPatch,
        WebhookSecret,
    },
    model::{DeliveryId, EventId, IntegrationId, OrganisationId, ProblemCode, RequestId, WebhookId, WebhookTarget},
    webhook::Guard,
};

/// What these calls take of the API that they came to, besides [`Api`].
pub(crate) trait WebhookApi: Api {
    /// Where subscriptions are.
    fn control(&self) -> &Control;
    /// Judges targets.
    fn guard(&self) -> &Guard;
}

/// Whose subscriptions a call is about, and who calls.
pub(crate) struct Place {
    pub(crate) actor: Registrar,
    pub(crate) organisation_id: OrganisationId,
    pub(crate) integration_id: IntegrationId,
    pub(crate) request_id: RequestId,
    /// The path of the list.
    pub(crate) path: String,
}

impl Place {
    /// The subscription `id`. Deleted ones, with their logs, are there for administrators alone.
    async fn webhook(&self, api: &impl WebhookApi, id: WebhookId) -> Result<Webhook, Problem> {
        let webhook = api.control().webhook(self.organisation_id, self.integration_id, id).await?;
        let is_there = webhook.deleted_at_us.is_none() || matches!(self.actor, Registrar::Administrator(_));
        if is_there { Ok(webhook) } else { Err(Problem::new(ProblemCode::NotFound).with_detail("no such webhook")) }
    }
}

/// A subscription. What it is signed with is shown when it is made, and when it is regenerated.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    #[schema(value_type = String, format = Uuid)]
    id: WebhookId,
    #[schema(value_type = String, format = Uuid)]
    integration_id: IntegrationId,
    /// Where events are posted to.
    url: String,
    /// What it is told of.
    events: Vec<&'static str>,
    description: Option<String>,
    /// While it is not, nothing is sent and nothing new is queued.
    enabled: bool,
    /// Why it is not: `requested`, `gone` (the target answered 410) or `failing` (for too long).
    disabled_cause: Option<String>,
    /// The first failed attempt since the last good one.
    failing_since: Option<String>,
    secret_issued_at: String,
    /// Deliveries that wait.
    queued: u64,
    /// The `ETag`.
    version: u64,
    created_at: String,
    updated_at: String,
    /// Null: it was not.
    deleted_at: Option<String>,
}

/// A subscription with its signing secret, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(crate) struct SecretView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// `whsec_` and base64 of 32 bytes.
    secret: String,
}

/// An event on its way to a subscription.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(crate) struct DeliveryView {
    #[schema(value_type = String, format = Uuid)]
    id: DeliveryId,
    /// The `webhook-id` of every attempt, replays included.
    #[schema(value_type = String, format = Uuid)]
    event_id: EventId,
    r#type: &'static str,
    /// `pending`, `delivered`, `dead` (given up; can be replayed) or `discarded`.
    state: String,
    created_at: String,
    /// When it is tried next, while it is pending and its integration is Active.
    next_attempt_at: Option<String>,
    /// The call that the event came of.
    #[schema(value_type = Option<String>, format = Uuid)]
    request_id: Option<RequestId>,
    /// Attempts ever made.
    attempts_made: u32,
    /// The newest 20 of them, newest first.
    attempts: Vec<AttemptView>,
}

/// One attempt.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
pub(crate) struct AttemptView {
    attempt: u32,
    at: String,
    /// The URL as it was then, without its query.
    target: String,
    /// The address that was connected to, or would have been.
    address: Option<String>,
    /// What the target answered; only 2xx is a success.
    status: Option<u16>,
    /// The class of error; null: it arrived.
    error: Option<String>,
    latency_ms: u64,
    /// The beginning of the answer's body.
    response: Option<String>,
}

/// What was thrown away.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDiscarded)]
pub(crate) struct DiscardedView {
    discarded: u64,
}

/// A test on its way.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub(crate) struct TestView {
    /// Finds it in the deliveries.
    #[schema(value_type = String, format = Uuid)]
    delivery_id: DeliveryId,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            integration_id: webhook.integration_id,
            url: webhook.url,
            events: webhook.events.iter().map(|event| event.as_str()).collect(),
            description: webhook.description,
            enabled: webhook.enabled,
            disabled_cause: webhook.disabled_cause,
            failing_since: time::format_some(webhook.failing_since_us),
            secret_issued_at: time::format(webhook.secret_issued_at_us),
            queued: webhook.queued,
            version: webhook.version,
            created_at: time::format(webhook.created_at_us),
            updated_at: time::format(webhook.updated_at_us),
            deleted_at: time::format_some(webhook.deleted_at_us),
        }
    }
}

impl From<WebhookDelivery> for DeliveryView {
    fn from(delivery: WebhookDelivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            r#type: delivery.event.as_str(),
            state: delivery.state,
            created_at: time::format(delivery.created_at_us),
            next_attempt_at: time::format_some(delivery.next_attempt_at_us),
            request_id: delivery.request_id,
            attempts_made: delivery.attempts_made,
            attempts: delivery.attempts.into_iter().map(AttemptView::from).collect(),
        }
    }
}

impl From<WebhookAttempt> for AttemptView {
    fn from(attempt: WebhookAttempt) -> Self {
        Self {
            attempt: attempt.attempt,
            at: time::format(attempt.at_us),
            target: attempt.target,
            address: attempt.address,
            status: attempt.status,
            error: attempt.error,
            latency_ms: attempt.latency_us / 1_000,
            response: attempt.response,
        }
    }
}

/// The calls, below the path that the list has.
pub(crate) fn router<A: WebhookApi>() -> Router<A>
where
    Place: FromRequestParts<A, Rejection = Problem>,
{
    Router::new()
        .route("/", get(index::<A>).post(create::<A>))
        .route("/{wid}", get(show::<A>).merge(patch(update::<A>)).merge(delete(remove::<A>)))
        .route("/{wid}/secret", post(regenerate_secret::<A>))
        .route("/{wid}/test", post(test::<A>))
        .route("/{wid}/queue", delete(discard::<A>))
        .route("/{wid}/deliveries", get(deliveries::<A>))
        .route("/{wid}/deliveries/{did}/replay", post(replay::<A>))
}

fn shown(webhook: Webhook) -> Response {
    tagged(webhook.version, Json(WebhookView::from(webhook)))
}

fn with_secret(status: StatusCode, webhook: Webhook, secret: &WebhookSecret) -> Response {
    let version = webhook.version;
    let body = SecretView { webhook: webhook.into(), secret: secret.expose().as_str().to_owned() };
    let mut response = tagged(version, (status, Json(body)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The target in the field `url`, judged; what is wrong with it is noted.
async fn target(guard: &Guard, fields: &mut Fields) -> Option<WebhookTarget> {
    let url = fields.text("url")?;
    match guard.check(&url).await {
        Ok(target) => Some(target),
        Err(error) => fields.refuse("url", &error.to_string()),
    }
}

/// `GET …/webhooks`
async fn index<A: WebhookApi>(
    State(api): State<A>,
    place: Place,
    parameters: Parameters,
) -> Result<Json<List<WebhookView>>, Problem> {
    parameters.finish()?;
    let webhooks = api.control().webhooks(place.organisation_id, place.integration_id).await?;
    Ok(whole(webhooks.into_iter().map(WebhookView::from)))
}

/// `POST …/webhooks`
async fn create<A: WebhookApi>(State(api): State<A>, place: Place, mut fields: Fields) -> Result<Response, Problem> {
    let target = target(api.guard(), &mut fields).await;
    if target.is_none() && !fields.refuses("url") {
        fields.refuse::<()>("url", "must be given");
    }
    let events = fields.texts("events");
    if events.is_none() && !fields.refuses("events") {
        fields.refuse::<()>("events", "must be given");
    }
    let description = fields.nullable_text("description").flatten();
    fields.finish()?;
    let (Some(target), Some(events)) = (target, events) else {
        return Err(Problem::new(ProblemCode::ValidationFailed));
    };
    let new = NewWebhook { target, events, description };
    let (webhook, secret) = api.control().create_webhook(place.actor, place.integration_id, new).await?;
    let location = format!("{}/{}", place.path, webhook.id);
    Ok(located(&location, with_secret(StatusCode::CREATED, webhook, &secret)))
}

/// `GET …/webhooks/{wid}`
async fn show<A: WebhookApi>(State(api): State<A>, place: Place, named: Named) -> Result<Response, Problem> {
    Ok(shown(place.webhook(&api, named.id("wid")?).await?))
}

/// `PATCH …/webhooks/{wid}`
async fn update<A: WebhookApi>(
    State(api): State<A>,
    place: Place,
    named: Named,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let id = named.id("wid")?;
    let patch = WebhookPatch {
        target: target(api.guard(), &mut fields).await,
        events: fields.texts("events"),
        description: fields.nullable_text("description"),
        enabled: fields.flag("enabled"),
    };
    fields.finish()?;
    Ok(shown(api.control().update_webhook(place.actor, place.integration_id, id, patch, version).await?))
}

/// `DELETE …/webhooks/{wid}`
async fn remove<A: WebhookApi>(
    State(api): State<A>,
    place: Place,
    named: Named,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    api.control().delete_webhook(place.actor, place.integration_id, named.id("wid")?, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/webhooks/{wid}/secret`
async fn regenerate_secret<A: WebhookApi>(
    State(api): State<A>,
    place: Place,
    named: Named,
    IfMatch(version): IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    let id = named.id("wid")?;
    fields.finish()?;
    let control = api.control();
    let (webhook, secret) = control.regenerate_webhook_secret(place.actor, place.integration_id, id, version).await?;
    Ok(with_secret(StatusCode::OK, webhook, &secret))
}

/// `POST …/webhooks/{wid}/test`
async fn test<A: WebhookApi>(
    State(api): State<A>,
    place: Place,
    named: Named,
    fields: Fields,
) -> Result<Response, Problem> {
    let id = named.id("wid")?;
    fields.finish()?;
    let delivery_id = api.control().test_webhook(place.actor, place.integration_id, id, place.request_id).await?;
    Ok((StatusCode::ACCEPTED, Json(TestView { delivery_id })).into_response())
}

/// `DELETE …/webhooks/{wid}/queue`
async fn discard<A: WebhookApi>(
    State(api): State<A>,
    place: Place,
    named: Named,
) -> Result<Json<DiscardedView>, Problem> {
    let id = named.id("wid")?;
    let discarded = api.control().discard_webhook_queue(place.actor, place.integration_id, id).await?;
    Ok(Json(DiscardedView { discarded }))
}

/// `GET …/webhooks/{wid}/deliveries`
async fn deliveries<A: WebhookApi>(
    State(api): State<A>,
    place: Place,
    named: Named,
    mut parameters: Parameters,
) -> Result<Json<List<DeliveryView>>, Problem> {
    let form = "pending, delivered, dead or discarded";
    let read = |text: &str| DELIVERY_STATES.into_iter().find(|state| *state == text);
    let state = parameters.read("state", form, read)?;
    let request = parameters.page()?;
    parameters.finish()?;
    let id = place.webhook(&api, named.id("wid")?).await?.id;
    let page =
        api.control().webhook_deliveries(place.organisation_id, place.integration_id, id, state, request).await?;
    Ok(super::page::list(page))
}

/// `POST …/webhooks/{wid}/deliveries/{did}/replay`
async fn replay<A: WebhookApi>(
    State(api): State<A>,
    place: Place,
    named: Named,
    fields: Fields,
) -> Result<Response, Problem> {
    let (id, delivery_id) = (named.id("wid")?, named.id("did")?);
    fields.finish()?;
    api.control().replay_webhook_delivery(place.actor, place.integration_id, id, delivery_id).await?;
    Ok((StatusCode::ACCEPTED, Json(TestView { delivery_id })).into_response())
}
