//! `sensorgate webhooks …`: where events of an integration are sent.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::segment,
    context::Context,
    error::{Error, Result},
    find::{self, Found},
    options::{Limit, Version},
    table::{Card, Column, text},
};

/// Deliveries that are shown unless somebody asks for more.
const LIMIT: usize = 100;
const COLUMNS: &[Column<'_>] = &[
    Column::new("URL", "url"),
    Column::new("EVENTS", "events"),
    Column::new("ENABLED", "enabled"),
    Column::new("QUEUED", "queued"),
    Column::new("FAILING SINCE", "failing_since"),
    Column::whole("ID", "id"),
];

pub(super) const EXAMPLES: &str =
    "Subscriptions are named by the integration and their id (or its unique beginning, or their URL).

Examples:
  sensorgate webhooks create 'Climate computer' --target https://partner.example/hooks --events readings.rejected
  sensorgate webhooks deliveries 'Climate computer' https://partner.example/hooks
  sensorgate webhooks secret 'Climate computer' https://partner.example/hooks      # a new one, printed once";

#[derive(Debug, Args)]
pub(crate) struct One {
    /// Id, unique beginning of an id, or exact name of the integration.
    integration: String,
    /// Id, unique beginning of an id, or URL of the subscription.
    webhook: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// The subscriptions of an integration.
    #[command(visible_alias = "ls")]
    List {
        /// Id, unique beginning of an id, or exact name of the integration.
        integration: String,
    },
    /// One of them.
    #[command(visible_alias = "get")]
    Show(One),
    /// Send events somewhere; prints the signing secret, once.
    #[command(visible_alias = "add")]
    Create {
        /// Id, unique beginning of an id, or exact name of the integration.
        integration: String,
        /// Where to: https, and not a private network.
        #[arg(id = "target", long = "target", value_name = "URL")]
        url: String,
        /// Several with commas.
        #[arg(long, value_delimiter = ',', required = true, value_name = "EVENT")]
        events: Vec<String>,
        #[arg(long)]
        description: Option<String>,
    },
    /// Change where events go, or which.
    #[command(visible_alias = "edit")]
    Update(Update),
    /// Send no more events there.
    #[command(visible_alias = "rm")]
    Delete(One),
    /// Replace the signing secret; prints the new one, once.
    #[command(visible_alias = "rotate-secret")]
    Secret(One),
    /// What was sent there, and what came back.
    Deliveries {
        #[command(flatten)]
        one: One,
        /// Only those in this state.
        #[arg(long, value_parser = ["pending", "delivered", "dead", "discarded"])]
        state: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Send a test event there.
    Test(One),
    /// Throw away what waits to be sent there.
    Discard(One),
    /// Send one event again.
    Replay {
        #[command(flatten)]
        one: One,
        /// Id of the delivery: sensorgate webhooks deliveries.
        delivery: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    one: One,
    /// Where to.
    #[arg(id = "target", long = "target", value_name = "URL")]
    url: Option<String>,
    /// All its events, in place of those that it has. Several with commas.
    #[arg(long, value_delimiter = ',', value_name = "EVENT")]
    events: Option<Vec<String>>,
    #[arg(long)]
    description: Option<String>,
    /// Deliver again after it was disabled, or no longer.
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
    #[command(flatten)]
    version: Version,
}

/// A subscription that was found, and whose it is.
struct Subscription {
    integration: Found,
    webhook: Value,
}

impl Subscription {
    fn path(&self, rest: &str) -> String {
        let id = self.webhook["id"].as_str().unwrap_or_default();
        format!("{}/{}{rest}", path(&self.integration), segment(id))
    }

    fn title(&self) -> String {
        format!("{} to {}", self.integration.name(), text(&self.webhook["url"]))
    }
}

fn path(integration: &Found) -> String {
    format!("/admin/v1/integrations/{}/webhooks", segment(&integration.id))
}

impl One {
    async fn find(&self, cx: &Context) -> Result<Subscription> {
        let integration = find::integration(cx, &self.integration).await?;
        let all = cx.client.get(path(&integration)).whole().await?.values;
        let see = format!("sensorgate webhooks list {} shows what there is.", integration.id);
        let is_url = |one: &&Value| one["url"].as_str() == Some(&self.webhook);
        let by_url: Vec<&Value> = all.iter().filter(is_url).collect();
        let found = if by_url.is_empty() { find::with_prefix(&all, &self.webhook) } else { by_url };
        let webhook = find::only("subscription", &self.webhook, &found, &see)?.json;
        Ok(Subscription { integration, webhook })
    }
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::List { integration } => {
            let integration = find::integration(cx, integration).await?;
            cx.out.list(&cx.client.get(path(&integration)).whole().await?, COLUMNS, |_| {})
        }
        Action::Show(one) => {
            let found = one.find(cx).await?;
            cx.out.one(&cx.client.get(found.path("")).send().await?, card)
        }
        Action::Create { integration, url, events, description } => {
            let integration = find::integration(cx, integration).await?;
            let mut body = json!({"url": url, "events": events});
            if let Some(description) = description {
                body["description"] = Value::from(description.as_str());
            }
            let answer = cx.client.post(path(&integration)).json(&body).send().await?;
            let shown = [("id", &answer.json["id"]), ("secret", &answer.json["secret"])];
            cx.out.secrets(&answer, &shown, &format!("Events of {} go to {url}.", integration.name()))
        }
        Action::Update(update) => self::update(cx, update).await,
        Action::Delete(one) => {
            let found = one.find(cx).await?;
            cx.ask.confirm(&format!("{} ends: no event goes there any more.", found.title()))?;
            let answer = cx.client.delete(found.path("")).send().await?;
            cx.out.done(&answer, &format!("{} is deleted.", found.title()))
        }
        Action::Secret(one) => {
            let found = one.find(cx).await?;
            cx.ask.confirm(&format!("{} is signed with a new secret from the next event on.", found.title()))?;
            let answer = cx.client.post(found.path("/secret")).send().await?;
            cx.out.secrets(&answer, &[("secret", &answer.json["secret"])], &format!("{}: a new secret.", found.title()))
        }
        Action::Deliveries { one, state, limit } => deliveries(cx, one, state.as_deref(), *limit).await,
        Action::Test(one) => {
            let found = one.find(cx).await?;
            let answer = cx.client.post(found.path("/test")).send().await?;
            cx.out.done(&answer, "A test event is on its way: sensorgate webhooks deliveries shows what came back.")
        }
        Action::Discard(one) => {
            let found = one.find(cx).await?;
            cx.ask.confirm(&format!("What waits for {} is thrown away.", found.title()))?;
            let answer = cx.client.delete(found.path("/queue")).send().await?;
            cx.out.done(&answer, &format!("Thrown away: {}.", text(&answer.json["discarded"])))
        }
        Action::Replay { one, delivery } => {
            let found = one.find(cx).await?;
            let call = cx.client.post(found.path(&format!("/deliveries/{}/replay", segment(delivery))));
            let answer = call.or_see("sensorgate webhooks deliveries shows what there is.").send().await?;
            cx.out.done(&answer, "It is sent again.")
        }
    }
}

async fn update(cx: &Context, update: &Update) -> Result {
    let mut body = json!({});
    if let Some(events) = &update.events {
        body["events"] = json!(events);
    }
    if let Some(enabled) = update.enabled {
        body["enabled"] = Value::from(enabled);
    }
    for (name, value) in [("url", &update.url), ("description", &update.description)] {
        if let Some(value) = value {
            body[name] = Value::from(value.as_str());
        }
    }
    if body.as_object().is_some_and(serde_json::Map::is_empty) {
        return Err(Error::usage("say what to change: --target, --events, --description or --enabled"));
    }
    let found = update.one.find(cx).await?;
    let tag = update.version.if_match.as_deref();
    let answer = cx.client.patch(found.path("")).json(&body).if_match(tag).send().await?;
    cx.out.done(&answer, &format!("{} is changed.", found.title()))
}

async fn deliveries(cx: &Context, one: &One, state: Option<&str>, limit: Limit) -> Result {
    const COLUMNS: &[Column<'_>] = &[
        Column::new("AT", "created_at"),
        Column::new("EVENT", "type"),
        Column::new("STATE", "state"),
        Column::new("ATTEMPTS", "attempts_made"),
        Column::new("LAST STATUS", "status"),
        Column::new("LAST ERROR", "error"),
        Column::new("TARGET", "target"),
        Column::new("ADDRESS", "address"),
        Column::new("NEXT ATTEMPT", "next_attempt_at"),
        Column::whole("ID", "id"),
    ];
    let found = one.find(cx).await?;
    let call = cx.client.get(found.path("/deliveries")).query("state", state);
    let listing = call.pages(limit.or(Some(LIMIT))).await?;
    cx.out.list(&listing, COLUMNS, |delivery| {
        let latest = delivery["attempts"].as_array().into_iter().flatten().max_by_key(|one| one["attempt"].as_u64());
        let latest = latest.cloned().unwrap_or_default();
        for name in ["status", "error", "target", "address"] {
            delivery[name] = latest[name].clone();
        }
    })
}

fn card(webhook: &Value) -> Card {
    let mut card = Card::default();
    for (title, name) in [
        ("URL", "url"),
        ("Events", "events"),
        ("Description", "description"),
        ("Enabled", "enabled"),
        ("Disabled because", "disabled_cause"),
        ("Failing since", "failing_since"),
        ("Deliveries that wait", "queued"),
        ("Secret issued at", "secret_issued_at"),
        ("Created at", "created_at"),
        ("Version", "version"),
        ("Id", "id"),
    ] {
        card.some(title, &webhook[name]);
    }
    card
}
