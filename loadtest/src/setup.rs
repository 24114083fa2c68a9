//! Makes what a profile needs through the admin API alone: organisations, integrations (asked for by one administrator,
//! approved by the other), equipment, tokens. Whatever the contract says about these calls is in this file.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::admin_client::{AdminClient, http_client, send};
use crate::connection::Credentials;
use crate::plan::Plan;
use crate::server::Endpoints;

/// Active integrations that one organisation may have.
pub const INTEGRATIONS_PER_ORGANISATION: u32 = 20;
/// Equipment entries in one bulk call.
const BULK: u32 = 500;
/// Calls under way at once.
const PARALLEL: usize = 4;

/// What `sensorgate bootstrap --output json` prints.
#[derive(Debug, Clone, Deserialize)]
struct Bootstrap {
    organisation_id: String,
    admins: Vec<BootstrapAdmin>,
}

#[derive(Debug, Clone, Deserialize)]
struct BootstrapAdmin {
    email: String,
    one_time_password: String,
}

/// An organisation with its two administrators.
#[derive(Clone, Serialize, Deserialize)]
pub struct Organisation {
    /// Its id.
    pub id: String,
    /// E-mail address and password of each.
    pub admins: Vec<(String, String)>,
}

impl std::fmt::Debug for Organisation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Organisation({})", self.id)
    }
}

/// An active integration.
#[derive(Clone, Serialize, Deserialize)]
pub struct Integration {
    /// Its id.
    pub id: String,
    /// Index of its organisation.
    pub organisation: usize,
    client_id: String,
    client_secret: String,
    api_key: String,
}

impl std::fmt::Debug for Integration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Integration({})", self.id)
    }
}

/// Everything that was made, with its secrets: to be kept in a file that only its owner can read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Estate {
    /// The organisations.
    pub organisations: Vec<Organisation>,
    /// The integrations, by their number in the plan.
    pub integrations: Vec<Integration>,
}

/// The file that `sensorgate demo` writes for others to use.
#[derive(Deserialize)]
struct Demo {
    #[serde(flatten)]
    endpoints: Endpoints,
    organisation_id: String,
    integration_id: String,
    client_id: String,
    client_secret: String,
    api_key: String,
    admins: Vec<DemoAdmin>,
    equipment: Vec<DemoEquipment>,
}

#[derive(Deserialize)]
struct DemoAdmin {
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct DemoEquipment {
    external_id: String,
}

/// Reads a `demo.json`: a running server with one integration. Gives its end points, estate and sensors.
///
/// # Errors
///
/// When the file does not have that form.
pub fn read_demo(path: &Path) -> Result<(Endpoints, Estate, Vec<String>)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let demo: Demo = serde_json::from_str(&text).with_context(|| format!("{} is not a demo.json", path.display()))?;
    let admins = demo.admins.into_iter().map(|admin| (admin.email, admin.password)).collect();
    let integration = Integration {
        id: demo.integration_id,
        organisation: 0,
        client_id: demo.client_id,
        client_secret: demo.client_secret,
        api_key: demo.api_key,
    };
    let estate = Estate {
        organisations: vec![Organisation { id: demo.organisation_id, admins }],
        integrations: vec![integration],
    };
    Ok((demo.endpoints, estate, demo.equipment.into_iter().map(|equipment| equipment.external_id).collect()))
}

/// Makes the organisations that `integrations` need in a fresh data directory, before the first start of the server.
/// Their administrators still have one-time passwords.
///
/// # Errors
///
/// When `sensorgate bootstrap` fails.
pub fn bootstrap(binary: &Path, data_dir: &Path, integrations: u32) -> Result<Vec<Organisation>> {
    let count = integrations.div_ceil(INTEGRATIONS_PER_ORGANISATION);
    let mut organisations = Vec::new();
    for number in 0..count {
        let output = Command::new(binary)
            .arg("bootstrap")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--organisation", &format!("Loadtest {number}"), "--output", "json"])
            .args([
                "--admin",
                &format!("a{number}@loadtest.example"),
                "--admin",
                &format!("b{number}@loadtest.example"),
            ])
            .output()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        ensure!(output.status.success(), "bootstrap failed: {}", String::from_utf8_lossy(&output.stderr));
        let made: Bootstrap = serde_json::from_slice(&output.stdout).context("bootstrap printed something else")?;
        ensure!(made.admins.len() == 2, "bootstrap made {} administrators", made.admins.len());
        let admins = made.admins.into_iter().map(|admin| (admin.email, admin.one_time_password)).collect();
        organisations.push(Organisation { id: made.organisation_id, admins });
    }
    Ok(organisations)
}

/// Makes integrations and equipment for `plan`.
///
/// # Errors
///
/// When a call is refused.
pub async fn build(endpoints: &Endpoints, organisations: Vec<Organisation>, plan: &Plan) -> Result<Estate> {
    let http = http_client()?;
    let mut tasks: JoinSet<Result<(usize, Organisation, Vec<Integration>)>> = JoinSet::new();
    let mut done = Vec::new();
    for (number, organisation) in organisations.into_iter().enumerate() {
        while tasks.len() >= PARALLEL {
            done.push(tasks.join_next().await.context("no task")???);
            progress(done.len(), "organisations");
        }
        let first = number as u32 * INTEGRATIONS_PER_ORGANISATION;
        let last = plan.integrations.min(first + INTEGRATIONS_PER_ORGANISATION);
        let (http, endpoints, plan) = (http.clone(), endpoints.clone(), plan.clone());
        tasks.spawn(
            async move { build_organisation(&http, &endpoints, number, organisation, first..last, &plan).await },
        );
    }
    while let Some(finished) = tasks.join_next().await {
        done.push(finished??);
    }
    done.sort_by_key(|(number, ..)| *number);
    let mut estate = Estate { organisations: Vec::new(), integrations: Vec::new() };
    for (_, organisation, integrations) in done {
        estate.organisations.push(organisation);
        estate.integrations.extend(integrations);
    }
    Ok(estate)
}

async fn build_organisation(
    http: &reqwest::Client,
    endpoints: &Endpoints,
    number: usize,
    mut organisation: Organisation,
    numbers: std::ops::Range<u32>,
    plan: &Plan,
) -> Result<(usize, Organisation, Vec<Integration>)> {
    let mut admins = Vec::new();
    for (email, password) in &mut organisation.admins {
        let first = AdminClient::login(http, &endpoints.admin_url, email, password).await?;
        let own = random_password()?;
        let change = json!({ "current_password": password, "new_password": own });
        first.post::<Value>("/admin/v1/password", &change).await?;
        *password = own;
        admins.push(AdminClient::login(http, &endpoints.admin_url, email, password).await?);
    }
    let [asker, approver] = <[AdminClient; 2]>::try_from(admins).map_err(|_| anyhow::anyhow!("two administrators"))?;
    let vendor = vendor(&asker).await?;
    let me: Value = asker.get("/admin/v1/me", &[]).await?;
    let owner = text(&me, "id")?;
    let equipment_type = equipment_type(&asker).await?;
    let mut integrations = Vec::new();
    for integration in numbers {
        let made = build_integration(&asker, &approver, number, integration, (&vendor, &owner)).await?;
        register(&asker, &made.id, integration, plan, &equipment_type).await?;
        integrations.push(made);
    }
    Ok((number, organisation, integrations))
}

async fn build_integration(
    asker: &AdminClient,
    approver: &AdminClient,
    organisation: usize,
    number: u32,
    (vendor, owner): (&str, &str),
) -> Result<Integration> {
    let request = json!({
        "vendor": vendor,
        "name": format!("loadtest {number}"),
        "description": "Load of the load generator",
        "owner_id": owner,
        "scopes": ["sensors:write", "equipment:read", "equipment:write"],
        "rate_limit_rpm": crate::profile::REQUESTS_PER_MINUTE_MAX,
    });
    let asked: Value = asker.post("/admin/v1/integrations", &request).await?;
    let id = text(&asked, "id")?;
    approver.post::<Value>(&format!("/admin/v1/integrations/{id}/approve"), &json!({})).await?;
    let active: Value = asker.post(&format!("/admin/v1/integrations/{id}/activate"), &json!({})).await?;
    let credentials = active.get("credentials").unwrap_or(&active);
    Ok(Integration {
        organisation,
        client_id: text(credentials, "client_id")?,
        client_secret: text(credentials, "client_secret")?,
        api_key: text(credentials, "api_key")?,
        id,
    })
}

async fn register(
    admin: &AdminClient,
    integration_id: &str,
    integration: u32,
    plan: &Plan,
    equipment_type: &str,
) -> Result<()> {
    let mut first = 0;
    while first < plan.sensors_each {
        let last = plan.sensors_each.min(first + BULK);
        let equipment: Vec<Value> = (first..last)
            .map(|sensor| {
                let external_id = plan.external_id(integration, sensor);
                json!({
                    "integration_id": integration_id,
                    "kind": "sensor",
                    "type": equipment_type,
                    "name": format!("Sensor {external_id}"),
                    "external_id": external_id,
                })
            })
            .collect();
        let answer: Value = admin.post("/admin/v1/equipment/bulk", &json!({ "equipment": equipment })).await?;
        ensure!(answer["rejected"].as_u64().unwrap_or(0) == 0, "equipment was rejected: {}", answer["errors"]);
        first = last;
        progress(last as usize, "sensors");
    }
    Ok(())
}

/// The token and key of every integration, in the order of the plan.
///
/// # Errors
///
/// When a token is refused.
pub async fn tokens(endpoints: &Endpoints, estate: &Estate) -> Result<Vec<Credentials>> {
    let http = http_client()?;
    let mut tasks: JoinSet<Result<(usize, Credentials)>> = JoinSet::new();
    let mut tokens = vec![None; estate.integrations.len()];
    for (number, integration) in estate.integrations.iter().cloned().enumerate() {
        while tasks.len() >= PARALLEL {
            let (number, credentials) = tasks.join_next().await.context("no task")???;
            tokens[number] = Some(credentials);
        }
        let (http, endpoints) = (http.clone(), endpoints.clone());
        tasks.spawn(async move { Ok((number, token(&http, &endpoints, integration).await?)) });
    }
    while let Some(finished) = tasks.join_next().await {
        let (number, credentials) = finished??;
        tokens[number] = Some(credentials);
    }
    tokens.into_iter().collect::<Option<Vec<_>>>().context("a token is missing")
}

async fn token(http: &reqwest::Client, endpoints: &Endpoints, integration: Integration) -> Result<Credentials> {
    let form = json!({
        "grant_type": "client_credentials",
        "client_id": integration.client_id,
        "client_secret": integration.client_secret,
        "audience": endpoints.audience,
    });
    let body = send("POST token_url", || http.post(&endpoints.token_url).json(&form)).await?;
    let answer: Value = serde_json::from_slice(&body).context("the token end point answered in another form")?;
    Ok(Credentials { token: text(&answer, "access_token")?, api_key: integration.api_key })
}

/// One administrator of each organisation, signed in.
///
/// # Errors
///
/// When a sign-in is refused.
pub async fn administrators(endpoints: &Endpoints, estate: &Estate) -> Result<Vec<AdminClient>> {
    let http = http_client()?;
    let mut signed_in = Vec::new();
    for organisation in &estate.organisations {
        let (email, password) = organisation.admins.first().context("an organisation without administrators")?;
        signed_in.push(AdminClient::login(&http, &endpoints.admin_url, email, password).await?);
    }
    Ok(signed_in)
}

async fn vendor(admin: &AdminClient) -> Result<String> {
    let vendors: Value = admin.get("/admin/v1/vendors", &[]).await?;
    let items = vendors["items"].as_array().or(vendors.as_array()).context("no vendors")?;
    let is_iot = |item: &&Value| item["category"].as_str().is_some_and(|category| category.contains("IoT"));
    text(items.iter().find(is_iot).or(items.first()).context("no vendors")?, "name")
}

/// A type that a sensor can have, from the taxonomy.
async fn equipment_type(admin: &AdminClient) -> Result<String> {
    let types: Value = admin.get("/admin/v1/taxonomies/equipment-types", &[]).await?;
    let items = types["items"].as_array().or(types.as_array()).context("no equipment types")?;
    let is_sensor = |item: &&Value| item["kind"].as_str() == Some("sensor");
    let item = items.iter().find(is_sensor).or(items.first()).context("no equipment types")?;
    ["type", "id", "name"].iter().find_map(|key| text(item, key).ok()).context("an equipment type without a name")
}

fn text(value: &Value, key: &str) -> Result<String> {
    Ok(value[key].as_str().with_context(|| format!("the answer has no {key}"))?.to_owned())
}

fn random_password() -> Result<String> {
    let mut bytes = [0u8; 18];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    // Letters, digits and a mark, whatever a policy may ask for.
    Ok(format!("Lt-{}-9z", bytes.map(|byte| format!("{byte:02x}")).concat()))
}

fn progress(count: usize, what: &str) {
    if count.is_multiple_of(5_000) || (what == "organisations" && count.is_multiple_of(50)) {
        eprintln!("  made {count} {what}");
    }
}
