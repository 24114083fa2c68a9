//! Listing, showing, asking for and changing integrations.

use clap::Args;
use serde_json::{Value, json};

use super::{INTEGRATIONS, Version, card, path};
use crate::cli::{
    client::Listing,
    context::Context,
    error::{Error, Result},
    find,
    options::Limit,
    table::Column,
};

const COLUMNS: &[Column<'_>] = &[
    Column::new("NAME", "name"),
    Column::new("STATUS", "status"),
    Column::new("VENDOR", "vendor"),
    Column::new("SCOPES", "scopes"),
    Column::new("RPM", "rate_limit_rpm"),
    Column::new("LAST USED", "last_used_at"),
    Column::whole("ID", "id"),
];

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those in this state.
    #[arg(long, value_parser = ["requested", "approved", "active", "suspended", "revoked"])]
    status: Option<String>,
    /// Only this vendor's.
    #[arg(long)]
    vendor: Option<String>,
    /// Only those whose name or description has this text.
    #[arg(long, short = 's', value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// From the registry: sensorgate vendors.
    #[arg(long)]
    vendor: String,
    #[arg(long)]
    name: String,
    /// Why it exists; who approves and who audits reads it.
    #[arg(long)]
    description: String,
    /// The member who answers for it: e-mail address or id; you if left out.
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// What it may do: sensorgate scopes. Several with commas.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Requests a minute.
    #[arg(long, value_name = "N")]
    rpm: Option<u32>,
    /// Requests a day (UTC).
    #[arg(long, value_name = "N")]
    daily_quota: Option<u32>,
    /// The OAuth client at an external issuer.
    #[arg(long)]
    client_id: Option<String>,
    /// That issuer.
    #[arg(long, requires = "client_id")]
    client_issuer: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Id, unique beginning of an id, or exact name.
    integration: String,
    #[arg(long)]
    name: Option<String>,
    #[arg(long)]
    description: Option<String>,
    /// E-mail address or id of the member who answers for it.
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// All its scopes, in place of those that it has. Several with commas.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE", conflicts_with_all = ["add_scope", "remove_scope"])]
    scopes: Option<Vec<String>>,
    /// A scope more; may be repeated.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    add_scope: Vec<String>,
    /// A scope less; may be repeated.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    remove_scope: Vec<String>,
    /// Requests a minute.
    #[arg(long, value_name = "N")]
    rpm: Option<u32>,
    /// Requests a day (UTC), or none.
    #[arg(long, value_name = "N|none")]
    daily_quota: Option<String>,
    /// The OAuth client at an external issuer.
    #[arg(long)]
    client_id: Option<String>,
    /// That issuer.
    #[arg(long)]
    client_issuer: Option<String>,
    #[command(flatten)]
    version: Version,
}

pub(super) async fn list(cx: &Context, list: &List) -> Result {
    let call = cx.client.get(INTEGRATIONS).query("status", list.status.as_deref());
    let call = call.query("vendor", list.vendor.as_deref()).query("q", list.search.as_deref());
    let listing = call.pages(list.limit.or(None)).await?;
    cx.out.list(&listing, COLUMNS, |_| {})?;
    if let (Some(used), Some(limit)) = (listing.beside.get("used"), listing.beside.get("limit")) {
        cx.out.note(&format!("{used} of {limit} places are taken by active and suspended integrations."));
    }
    Ok(())
}

/// What somebody else asked for, an integration or more scopes: for what the caller asked for they can do nothing.
pub(super) async fn pending(cx: &Context) -> Result {
    const COLUMNS: &[Column<'_>] = &[
        Column::new("NAME", "name"),
        Column::new("VENDOR", "vendor"),
        Column::new("SCOPES", "scopes"),
        Column::new("NEW SCOPES", "scopes_pending"),
        Column::new("ASKED BY", "requested_by"),
        Column::new("SINCE", "created_at"),
        Column::whole("ID", "id"),
    ];
    let me = cx.client.get("/admin/v1/me").send().await?.json["id"].clone();
    let all = cx.client.get(INTEGRATIONS).pages(None).await?;
    let mut awaiting = Listing::default();
    for (item, value) in all.items.into_iter().zip(all.values) {
        let is_request = value["status"] == "requested" && value["requested_by"] != me;
        let is_widening = !value["scopes_pending"].is_null() && value["scopes_pending_by"] != me;
        if is_request || is_widening {
            awaiting.items.push(item);
            awaiting.values.push(value);
        }
    }
    let people = find::people(cx).await;
    cx.out.list(&awaiting, COLUMNS, |item| {
        if !item["scopes_pending"].is_null() {
            item["requested_by"] = item["scopes_pending_by"].clone();
            item["created_at"] = item["scopes_pending_at"].clone();
        }
        item["requested_by"] = find::named(&people, &item["requested_by"]);
    })
}

pub(super) async fn show(cx: &Context, integration: &str) -> Result {
    let found = find::integration(cx, integration).await?;
    let answer = cx.client.get(path(&found, "")).send().await?;
    let people = find::people(cx).await;
    cx.out.one(&answer, |integration| card::whole(integration, &people))?;
    cx.out.warnings(&answer.json);
    Ok(())
}

pub(super) async fn create(cx: &Context, create: &Create) -> Result {
    let owner_id = match &create.owner {
        Some(owner) => Value::from(find::user(cx, owner).await?.id),
        None => cx.client.get("/admin/v1/me").send().await?.json["id"].clone(),
    };
    let mut body = json!({
        "vendor": create.vendor, "name": create.name, "description": create.description, "owner_id": owner_id,
        "scopes": create.scopes,
    });
    set(&mut body, "rate_limit_rpm", create.rpm);
    set(&mut body, "daily_quota", create.daily_quota);
    set(&mut body, "client_id", create.client_id.as_deref());
    set(&mut body, "client_issuer", create.client_issuer.as_deref());
    let answer = cx.client.post(INTEGRATIONS).json(&body).send().await?;
    let next = match answer.json["eligible_approvers"].as_u64() {
        Some(0) => "Nobody can approve it yet: your organisation needs a second administrator.".to_owned(),
        Some(count) => format!("It waits for another administrator's approval ({count} could give it)."),
        None => "It waits for another administrator's approval.".to_owned(),
    };
    cx.out.made(&answer, &format!("{} is requested. {next}", create.name))
}

pub(super) async fn update(cx: &Context, update: &Update) -> Result {
    let found = find::integration(cx, &update.integration).await?;
    let mut body = json!({});
    set(&mut body, "name", update.name.as_deref());
    set(&mut body, "description", update.description.as_deref());
    set(&mut body, "rate_limit_rpm", update.rpm);
    set(&mut body, "client_id", update.client_id.as_deref());
    set(&mut body, "client_issuer", update.client_issuer.as_deref());
    if let Some(owner) = &update.owner {
        body["owner_id"] = Value::from(find::user(cx, owner).await?.id);
    }
    if let Some(quota) = &update.daily_quota {
        body["daily_quota"] = quota_of(quota)?;
    }
    let mut tag = update.version.if_match.clone();
    if let Some(scopes) = &update.scopes {
        body["scopes"] = json!(scopes);
    } else if !update.add_scope.is_empty() || !update.remove_scope.is_empty() {
        body["scopes"] = scopes_after(&found.json, update);
        // Made from what was read just now: a change in between must not be undone.
        tag.get_or_insert(found.etag());
    }
    if body.as_object().is_some_and(serde_json::Map::is_empty) {
        return Err(Error::usage(
            "say what to change: --scopes, --rpm, --owner … (sensorgate integrations update --help)",
        ));
    }
    let answer = cx.client.patch(path(&found, "")).json(&body).if_match(tag.as_deref()).send().await?;
    cx.out.done(&answer, &format!("{} is changed.", found.name()))
}

fn set(body: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[name] = value.into();
    }
}

fn quota_of(text: &str) -> Result<Value> {
    if text == "none" {
        return Ok(Value::Null);
    }
    let number: u32 =
        text.parse().map_err(|_| Error::usage("--daily-quota: give a number of requests a day, or none"))?;
    Ok(Value::from(number))
}

fn scopes_after(integration: &Value, update: &Update) -> Value {
    let have = integration["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut scopes: Vec<&str> = have.filter(|scope| !update.remove_scope.iter().any(|gone| gone == scope)).collect();
    for scope in &update.add_scope {
        if !scopes.contains(&scope.as_str()) {
            scopes.push(scope);
        }
    }
    json!(scopes)
}
