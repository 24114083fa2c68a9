//! The sheet that is handed over to the partner (S065, S213, S214): what they need, and how each item may travel. No
//! secret stands in it: it says where each is, and that it was shown once.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, caller::Administrator, parameters::Parameters, path::Id, problem::Problem};
use crate::{control::Integration, model::IntegrationId};

/// Where partners reach the service.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// The integration API, without a slash at the end.
    pub api_url: String,
    /// Where its description is.
    pub docs_url: String,
    /// The token issuer.
    pub domain: String,
    /// Its token end point, where it is ours.
    pub token_url: Option<String>,
    /// What tokens have to be for.
    pub audience: String,
    /// The addresses for MQTT.
    pub mqtt: Vec<String>,
}

/// One item of the sheet.
#[derive(Serialize, ToSchema)]
pub(super) struct HandoverItem {
    /// Stable.
    item: &'static str,
    /// For people.
    label: &'static str,
    /// Whether the partner gets it.
    share: bool,
    /// How it is handed over.
    handling: &'static str,
    /// What it is; null where it is a secret, which was shown once and stands nowhere.
    value: Option<String>,
}

/// The sheet.
#[derive(Serialize, ToSchema)]
pub(super) struct Handover {
    #[schema(value_type = String, format = Uuid)]
    integration_id: IntegrationId,
    name: String,
    /// The seven items of the hand-over.
    items: Vec<HandoverItem>,
    api_url: String,
    /// Where tokens are asked for; null with an external issuer: its own documentation says so.
    token_url: Option<String>,
    audience: String,
    granted_scopes: Vec<&'static str>,
    rate_limit_rpm: u32,
    daily_quota: Option<u32>,
    /// First 16 characters of the key, to see that both sides speak of the same.
    key_prefix: Option<String>,
    mqtt_urls: Vec<String>,
    /// Where readings are published.
    mqtt_topic: String,
    /// Where results are read.
    mqtt_results_topic: String,
}

const VAULT: &str = "Via secrets manager or password vault; never by e-mail or chat. Shown once when it was made.";
const SECURE: &str = "Secure handoff; never by e-mail or chat.";
const OPEN: &str = "Can be shared openly.";

fn sheet(integration: &Integration, endpoints: &Endpoints) -> Handover {
    let scopes: Vec<&'static str> = integration.scopes.iter().map(|scope| scope.as_str()).collect();
    let client_id = integration.client.as_ref().map(|client| client.client_id.clone());
    let has_webhooks = scopes.iter().any(|scope| scope.starts_with("webhooks:"));
    let webhook_handling = if has_webhooks { VAULT } else { "Not needed: the webhooks scope is not granted." };
    let item = |item, label, handling, value| HandoverItem { item, label, share: true, handling, value };
    let items = vec![
        item("api_key", "API key", VAULT, None),
        item("client_id", "Client ID", SECURE, client_id),
        item("client_secret", "Client secret", VAULT, None),
        item("domain", "Token issuer (domain)", OPEN, Some(endpoints.domain.clone())),
        item("docs_url", "API documentation", OPEN, Some(endpoints.docs_url.clone())),
        item("granted_scopes", "Granted scopes", OPEN, Some(scopes.join(" "))),
        HandoverItem {
            share: has_webhooks,
            ..item("webhook_signing_secret", "Webhook signing secret", webhook_handling, None)
        },
    ];
    Handover {
        integration_id: integration.id,
        name: integration.name.clone(),
        items,
        api_url: endpoints.api_url.clone(),
        token_url: endpoints.token_url.clone(),
        audience: endpoints.audience.clone(),
        granted_scopes: scopes,
        rate_limit_rpm: integration.rpm,
        daily_quota: integration.daily_quota,
        key_prefix: integration.key.as_ref().map(|key| key.prefix.clone()),
        mqtt_urls: endpoints.mqtt.clone(),
        mqtt_topic: format!("grq/v1/{}/readings", integration.id),
        mqtt_results_topic: format!("grq/v1/{}/results", integration.id),
    }
}

impl Handover {
    /// Label and value of each line below the items.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let quota = self.daily_quota.map_or_else(|| "none".to_owned(), |quota| format!("{quota} requests a day"));
        vec![
            ("API", self.api_url.clone()),
            ("Token URL", self.token_url.clone().unwrap_or_else(|| "see the token issuer".to_owned())),
            ("Audience", self.audience.clone()),
            ("Limit", format!("{} requests a minute", self.rate_limit_rpm)),
            ("Daily quota", quota),
            ("Key prefix", self.key_prefix.clone().unwrap_or_else(|| "no key yet".to_owned())),
            ("MQTT", if self.mqtt_urls.is_empty() { "not served".to_owned() } else { self.mqtt_urls.join(" ") }),
            ("MQTT topic", self.mqtt_topic.clone()),
            ("MQTT results", self.mqtt_results_topic.clone()),
        ]
    }

    fn text(&self) -> String {
        let mut text = format!("Integration {} ({})\n\n", self.name, self.integration_id);
        for item in &self.items {
            let value = item.value.as_deref().unwrap_or("(not on this sheet)");
            text += &format!("{}: {value}\n    {}\n", item.label, item.handling);
        }
        text.push('\n');
        for (label, value) in self.facts() {
            text += &format!("{label}: {value}\n");
        }
        text
    }

    fn html(&self) -> String {
        let row = |cells: &[&str]| {
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let items: String = self
            .items
            .iter()
            .map(|item| row(&[item.label, item.value.as_deref().unwrap_or("(not on this sheet)"), item.handling]))
            .collect();
        let facts: String = self.facts().iter().map(|(label, value)| row(&[label, value])).collect();
        let name = escaped(&self.name);
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title>\n<h1>{name}</h1>\n\
             <p>{}</p>\n<table>\n{items}</table>\n<table>\n{facts}</table>\n</html>\n",
            self.integration_id
        )
    }
}

/// `text` as HTML shows it: names are people's own words.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[derive(Clone, Copy)]
enum Format {
    Json,
    Html,
    Text,
}

/// `GET /admin/v1/integrations/{id}/handover`
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let format = parameters.read("format", "json, html or text", |name| match name {
        "json" => Some(Format::Json),
        "html" => Some(Format::Html),
        "text" => Some(Format::Text),
        _ => None,
    })?;
    parameters.finish()?;
    let sheet = sheet(&admin.control.integration(actor.organisation_id, id).await?, &admin.endpoints);
    let page = |kind: &'static str, body: String| ([(CONTENT_TYPE, kind)], body).into_response();
    Ok(match format.unwrap_or(Format::Json) {
        Format::Json => Json(sheet).into_response(),
        Format::Text => page("text/plain; charset=utf-8", sheet.text()),
        Format::Html => {
            let mut answer = page("text/html; charset=utf-8", sheet.html());
            let download = http::HeaderValue::from_static("attachment; filename=\"handover.html\"");
            answer.headers_mut().insert(CONTENT_DISPOSITION, download);
            answer
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_and_never_run() {
        assert_eq!(escaped("<b onclick='x'>&\"</b>"), "&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;&lt;/b&gt;");
    }
}
