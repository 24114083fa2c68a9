//! What both documents say of webhooks.
#![allow(dead_code, reason = "the types here are read by utoipa's macros alone")]

use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    control::{DELIVERY_STATES, SECRET_PREFIX},
    model::{
        WebhookEvent,
        openapi::{Refinement, line, one_of},
        webhook::URL_BYTES_MAX,
    },
};

/// A subscription to be made.
#[derive(ToSchema)]
#[schema(as = NewWebhook)]
pub(crate) struct NewWebhook {
    /// Where events are posted to, by https. Without user name, password and fragment; not in a private network.
    url: String,
    /// What it is told of.
    events: Vec<String>,
    description: Option<String>,
}

/// What is left out stays.
#[derive(ToSchema)]
#[schema(as = WebhookPatch)]
pub(crate) struct WebhookPatch {
    #[schema(nullable = false)]
    url: Option<String>,
    #[schema(nullable = false)]
    events: Option<Vec<String>>,
    /// null empties it.
    description: Option<String>,
    /// While it is not, nothing is sent and nothing new is queued; what waits is kept.
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

/// Which deliveries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveryFilter {
    /// `pending`, `delivered`, `dead` or `discarded`.
    state: Option<String>,
}

/// What the properties can be beyond their type.
pub(crate) fn properties() -> Vec<Refinement> {
    let events = || one_of(WebhookEvent::subscribable().map(WebhookEvent::as_str));
    let every = || one_of(WebhookEvent::subscribable().chain([WebhookEvent::Test]).map(WebhookEvent::as_str));
    let url = || json!({"maxLength": URL_BYTES_MAX, "pattern": "^https?://[^\\s#]+$", "format": "uri"});
    let cause = || one_of(["requested", "gone", "failing"]);
    let mut properties = vec![
        ("Webhook", "events", events()),
        ("Webhook", "disabled_cause", cause()),
        ("WebhookWithSecret", "secret", json!({"pattern": format!("^{SECRET_PREFIX}[A-Za-z0-9+/]{{43}}=$")})),
        ("WebhookDelivery", "type", every()),
        ("WebhookDelivery", "state", one_of(DELIVERY_STATES)),
    ];
    for request in ["NewWebhook", "WebhookPatch"] {
        properties.extend([
            (request, "url", url()),
            (request, "events", events()),
            (request, "description", line(200)),
        ]);
        properties.push((request, "events", json!({"minItems": 1, "maxItems": 100})));
    }
    properties
}

/// Examples.
pub(crate) fn schemas() -> Vec<(&'static str, Value)> {
    let new = json!({
        "url": "https://partner.example.com/hooks/climate",
        "events": ["readings.rejected", "integration.reactivated"],
        "description": "House 1",
    });
    vec![
        ("NewWebhook", json!({"examples": [new]})),
        ("WebhookPatch", json!({"examples": [{"events": ["quota.nearly_used", "quota.used_up"], "enabled": true}]})),
    ]
}

/// What the parameter `state` of `path` can be.
pub(crate) fn states(path: &'static str) -> Refinement {
    (path, "state", one_of(DELIVERY_STATES))
}

/// The events themselves, as OpenAPI 3.1 describes what a service calls: one for each type.
pub(crate) fn events() -> Value {
    let header = |name: &str, meaning: &str| json!({"name": name, "in": "header", "required": true, "description": meaning, "schema": {"type": "string"}});
    let parameters = json!([
        header("webhook-id", "The event's id; the same in every attempt and replay."),
        header("webhook-timestamp", "When this attempt was made, Unix seconds."),
        header(
            "webhook-signature",
            "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body` (Standard Webhooks 1.0)."
        ),
        header("X-Webhook-Timestamp", "The same time."),
        header("X-Webhook-Signature", "`sha256=` and hexadecimal HMAC-SHA256 over `timestamp.body`."),
    ]);
    let all = WebhookEvent::subscribable().chain([WebhookEvent::Test]);
    let described = all.map(|event| {
        let name = event.as_str();
        let body = json!({
            "type": "object",
            "required": ["type", "timestamp", "data"],
            "properties": {
                "type": {"const": name},
                "timestamp": {"type": "string", "format": "date-time"},
                "data": {
                    "type": "object",
                    "required": ["integration_id"],
                    "properties": {"integration_id": {"type": "string", "format": "uuid"}},
                },
            },
        });
        let post = json!({
            "operationId": format!("webhooks_on_{}", name.replace('.', "_")),
            "tags": ["webhooks"],
            "summary": format!("`{name}`; docs/webhooks.md describes its data."),
            "parameters": parameters,
            "requestBody": {"required": true, "content": {"application/json": {"schema": body}}},
            "responses": {"2XX": {"description": "Taken. Everything else is tried again."}},
        });
        (name.to_owned(), json!({"post": post}))
    });
    Value::Object(described.collect())
}
