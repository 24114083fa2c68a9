//! From nothing to an Active integration: two administrators, request, approval by the second, activation, limits.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    calls::{self, Admin},
    say,
};
use crate::app::App;

/// Name and e-mail address of the demo's administrators.
const ADMINS: [(&str, &str); 2] =
    [("Alice Grower", "alice@greenhouse.example"), ("Bob Grower", "bob@greenhouse.example")];
/// Equipment: external id, kind, type, name.
const EQUIPMENT: [(&str, &str, &str, &str); 5] = [
    ("BLW-TEMP-1", "sensor", "temperature_sensor", "Outside temperature"),
    ("BLW-RH-1", "sensor", "humidity_sensor", "Outside humidity"),
    ("BLW-CO2-1", "monitor", "other_monitor", "CO2 monitor"),
    ("BLW-CTRL-1", "controller", "climate_controller", "Climate controller"),
    ("BLW-VENT-1", "actuator", "vent", "Roof vent"),
];

/// Everything that the later steps and the files need.
pub(super) struct Onboarded {
    pub(super) http_url: String,
    pub(super) admin_url: String,
    pub(super) mqtt_url: Option<String>,
    pub(super) token_url: String,
    pub(super) audience: String,
    pub(super) organisation_id: String,
    pub(super) integration_id: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) api_key: String,
    pub(super) admins: Vec<(String, String)>,
    pub(super) equipment: Vec<(String, String)>,
    pub(super) first: Admin,
    pub(super) token: String,
}

/// Walks the life cycle over the admin API.
pub(super) async fn run(app: &App, data_dir: &Path) -> Result<Onboarded> {
    say("\n1. Two administrators: nobody can approve what they asked for themselves.");
    let bootstrapped = app.bootstrap("Demo Greenhouse", ADMINS).await.context("the two administrators")?;
    let urls = app.urls();
    let mut signed_in = Vec::new();
    let mut admins = Vec::new();
    for (email, one_time) in &bootstrapped.admins {
        let password = random_password()?;
        signed_in.push(calls::first_sign_in(&urls.admin, email, one_time, &password).await?);
        admins.push((email.clone(), password));
    }
    let [first, second] = signed_in.try_into().map_err(|_| anyhow::anyhow!("two administrators were made"))?;
    let integration_id = request_and_approve(&first, &second).await?;
    let activated = first.post(&format!("/admin/v1/integrations/{integration_id}/activate"), &json!({})).await?;
    let credentials = &activated["credentials"];
    let text = |name: &str| -> Result<String> {
        Ok(credentials[name].as_str().with_context(|| format!("activation gave no {name}"))?.to_owned())
    };
    let (client_id, client_secret, api_key) = (text("client_id")?, text("client_secret")?, text("api_key")?);
    say("   Activated: an API key and a client secret, shown once and kept as hashes only.");
    grant_history(&first, &integration_id).await?;
    let equipment = register_equipment(&first, &integration_id).await?;
    let token = calls::token(&urls.token, &client_id, &client_secret, &urls.audience).await?;
    tracing::debug!(data_dir = %data_dir.display(), "The demo's integration is active.");
    Ok(Onboarded {
        http_url: urls.http,
        admin_url: urls.admin,
        mqtt_url: urls.mqtt,
        token_url: urls.token,
        audience: urls.audience,
        organisation_id: bootstrapped.organisation_id.to_string(),
        integration_id,
        client_id,
        client_secret,
        api_key,
        admins,
        equipment,
        first,
        token,
    })
}

async fn request_and_approve(first: &Admin, second: &Admin) -> Result<String> {
    say("2. Alice requests an integration; Bob, not Alice, approves it.");
    let me = first.get("/admin/v1/me").await?;
    let request = json!({
        "vendor": "Custom",
        "name": "Climate computer of the demo",
        "description": "Delivers temperature, humidity and CO2 of the Bleiswijk research greenhouse.",
        "owner_id": me["id"],
        "scopes": ["sensors:write", "equipment:read", "equipment:write"],
    });
    let created = first.post("/admin/v1/integrations", &request).await?;
    let id = created["id"].as_str().context("the new integration has an id")?.to_owned();
    let path = format!("/admin/v1/integrations/{id}/approve");
    if let Err(refusal) = first.post(&path, &json!({})).await {
        say(&format!("   Alice tries to approve it herself: {}", refusal.root_cause()));
    }
    second.post(&path, &json!({})).await?;
    say("   Bob approves.");
    Ok(id)
}

/// The file is older than the time window, and more than a minute's requests: both are granted for an hour, audited.
async fn grant_history(admin: &Admin, integration_id: &str) -> Result<()> {
    say("3. An audited grant for one hour: history of 200 days, and more requests a minute.");
    let now = jiff::Timestamp::now();
    let grant = json!({
        "rpm": 10_000,
        "window_start": (now - jiff::SignedDuration::from_hours(200 * 24)).to_string(),
        "until": (now + jiff::SignedDuration::from_hours(1)).to_string(),
        "reason": "The demo delivers the readings of a whole winter.",
    });
    admin.post(&format!("/admin/v1/integrations/{integration_id}/grants"), &grant).await?;
    Ok(())
}

async fn register_equipment(admin: &Admin, integration_id: &str) -> Result<Vec<(String, String)>> {
    say("4. Five pieces of equipment of all four kinds, under the grower's own names.");
    let mut registered = Vec::new();
    for (external_id, kind, of_type, name) in EQUIPMENT {
        let body = json!({
            "integration_id": integration_id, "kind": kind, "type": of_type, "external_id": external_id, "name": name,
            "room": "Greenhouse 1",
        });
        let made: Value = admin.post("/admin/v1/equipment", &body).await?;
        registered.push((made["id"].as_str().context("equipment has an id")?.to_owned(), external_id.to_owned()));
    }
    Ok(registered)
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).context("no random bytes")?;
    Ok(base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes))
}
