//! `sensorgate equipment …`: what readings are of.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{Answer, Call, segment},
    context::Context,
    error::{Error, Result},
    file::{self, Target},
    find::{self, Found},
    options::{Limit, Version},
    table::{Card, Column, text},
};

const EQUIPMENT: &str = "/admin/v1/equipment";
const KINDS: [&str; 4] = ["sensor", "controller", "actuator", "monitor"];
const COLUMNS: &[Column<'_>] = &[
    Column::new("NAME", "name"),
    Column::new("KIND", "kind"),
    Column::new("TYPE", "type"),
    Column::new("EXTERNAL ID", "external_id"),
    Column::new("ROOM", "room"),
    Column::new("STATUS", "status"),
    Column::new("LAST SEEN", "last_seen_at"),
    Column::whole("ID", "id"),
];

pub(super) const EXAMPLES: &str =
    "Equipment is named by id, or by the partner's own (external) id, with --integration where two \
partners use the same.

Examples:
  sensorgate equipment create --integration 'Climate computer' --kind sensor --type temperature_sensor \\
    --external-id AA:BB:01 --name 'North bench' --room 'Greenhouse 1'
  sensorgate equipment list --integration 'Climate computer' --status active
  sensorgate equipment export --file equipment.csv && sensorgate equipment import --dry-run --file equipment.csv";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// All equipment, or some of it.
    #[command(visible_alias = "ls")]
    List(List),
    /// One piece.
    #[command(visible_alias = "get")]
    Show(One),
    /// Register a piece.
    #[command(visible_alias = "add")]
    Create(Create),
    /// Change a piece; its readings stay with it.
    #[command(visible_alias = "edit")]
    Update(Update),
    /// Take out of service: its readings stay, new ones are refused.
    Retire(One),
    /// Take back into service.
    Return(One),
    /// Register or change what a CSV file has; the form of export.
    Import {
        /// CSV with a first line of names; - is standard input.
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
        /// Only say what would happen.
        #[arg(long, alias = "validate-only")]
        dry_run: bool,
    },
    /// All of it as CSV, which import takes back.
    Export {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        target: Target,
    },
    /// The rooms that equipment is in.
    Rooms {
        /// Only this integration's equipment.
        #[arg(long)]
        integration: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Register or change many at once.
    Bulk {
        /// JSON, {"equipment":[…]} or a bare list; - is standard input.
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only this integration's.
    #[arg(long)]
    integration: Option<String>,
    /// What it is.
    #[arg(long, value_parser = KINDS)]
    kind: Option<String>,
    /// Only what is in service, or what is not.
    #[arg(long, value_parser = ["active", "retired"])]
    status: Option<String>,
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    #[arg(long)]
    room: Option<String>,
    #[arg(long)]
    location: Option<String>,
    /// Only the one with this external id.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// Only those whose name or external id has this text.
    #[arg(long, short = 's', value_name = "TEXT")]
    search: Option<String>,
}

impl Filter {
    /// The call, narrowed to what was asked for.
    async fn narrow<'a>(&self, cx: &Context, call: Call<'a>) -> Result<Call<'a>> {
        let call = call.query("integration_id", find::integration_id(cx, self.integration.as_deref()).await?);
        let call = call.query("kind", self.kind.as_deref()).query("status", self.status.as_deref());
        let call = call.query("type", self.type_name.as_deref()).query("location", self.location.as_deref());
        let call = call.query("room", self.room.as_deref()).query("q", self.search.as_deref());
        Ok(call.query("external_id", self.external_id.as_deref()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its id or external id.
    equipment: String,
    /// Whose external id it is.
    #[arg(long)]
    integration: Option<String>,
    #[command(flatten)]
    version: Version,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The integration that reports it.
    #[arg(long)]
    integration: String,
    /// What it is.
    #[arg(long, value_parser = KINDS)]
    kind: String,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    one: One,
    #[arg(long, value_parser = KINDS)]
    kind: Option<String>,
    #[command(flatten)]
    fields: Fields,
}

/// What can be said about a piece of equipment.
#[derive(Debug, Args)]
pub(crate) struct Fields {
    /// From the taxonomy: sensorgate equipment-types.
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// The partner's own name for it, byte for byte.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    #[arg(long)]
    name: Option<String>,
    #[arg(long)]
    room: Option<String>,
    #[arg(long)]
    location: Option<String>,
}

impl Fields {
    /// Those that were given; an empty text is none.
    fn json(&self, kind: Option<&str>) -> Value {
        let mut json = json!({});
        let given = [
            ("kind", kind),
            ("type", self.type_name.as_deref()),
            ("external_id", self.external_id.as_deref()),
            ("name", self.name.as_deref()),
            ("room", self.room.as_deref()),
            ("location", self.location.as_deref()),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                json[name] = if value.is_empty() { Value::Null } else { Value::from(value) };
            }
        }
        json
    }
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::List(List { filter, limit }) => {
            let listing = filter.narrow(cx, cx.client.get(EQUIPMENT)).await?.pages(limit.or(None)).await?;
            cx.out.list(&listing, COLUMNS, |_| {})
        }
        Action::Show(one) => {
            let found = one.find(cx).await?;
            let answer = cx.client.get(path(&found, "")).send().await?;
            cx.out.one(&answer, card)
        }
        Action::Create(create) => {
            let mut body = create.fields.json(Some(&create.kind));
            body["integration_id"] = Value::from(find::integration(cx, &create.integration).await?.id);
            let answer = cx.client.post(EQUIPMENT).json(&body).send().await?;
            cx.out.made(&answer, "Registered.")
        }
        Action::Update(update) => {
            let body = update.fields.json(update.kind.as_deref());
            if body.as_object().is_some_and(serde_json::Map::is_empty) {
                return Err(Error::usage("say what to change: --name, --room … (sensorgate equipment update --help)"));
            }
            patch(cx, &update.one, &body, "is changed").await
        }
        Action::Retire(one) => {
            let found = one.find(cx).await?;
            cx.ask.confirm(&format!("{} is retired: its readings stay, and new ones are refused.", title(&found)))?;
            let tag = one.version.if_match.as_deref();
            let answer = cx.client.post(path(&found, "/retire")).if_match(tag).send().await?;
            cx.out.done(&answer, &format!("{} is retired.", title(&found)))
        }
        Action::Return(one) => patch(cx, one, &json!({"status": "active"}), "is back in service").await,
        Action::Import { file, dry_run } => {
            let call = cx.client.post(format!("{EQUIPMENT}/import")).body("text/csv", file::read(file)?);
            bulk_result(cx, &call.query("validate_only", dry_run.then_some(true)).send().await?)
        }
        Action::Export { filter, target } => {
            let call = filter.narrow(cx, cx.client.get(format!("{EQUIPMENT}/export"))).await?;
            target.fetch(cx, call).await
        }
        Action::Rooms { integration, limit } => rooms(cx, integration.as_deref(), *limit).await,
        Action::Bulk { file } => bulk(cx, file).await,
    }
}

impl One {
    async fn find(&self, cx: &Context) -> Result<Found> {
        find::equipment(cx, &self.equipment, self.integration.as_deref()).await
    }
}

async fn rooms(cx: &Context, integration: Option<&str>, limit: Limit) -> Result {
    const COLUMNS: &[Column<'_>] = &[
        Column::new("ROOM", "room"),
        Column::new("IN SERVICE", "active"),
        Column::new("RETIRED", "retired"),
        Column::new("LOCATIONS", "locations"),
        Column::new("INTEGRATIONS", "integrations"),
    ];
    let call = cx.client.get("/admin/v1/rooms").query("integration_id", find::integration_id(cx, integration).await?);
    cx.out.list(&call.pages(limit.or(None)).await?, COLUMNS, |_| {})
}

async fn patch(cx: &Context, one: &One, body: &Value, done: &str) -> Result {
    let found = one.find(cx).await?;
    let tag = one.version.if_match.as_deref();
    let answer = cx.client.patch(path(&found, "")).json(body).if_match(tag).send().await?;
    cx.out.done(&answer, &format!("{} {done}.", title(&found)))
}

async fn bulk(cx: &Context, path: &std::path::Path) -> Result {
    let json: Value = file::json(path)?;
    let body = if json.is_array() { json!({"equipment": json}) } else { json };
    let answer = cx.client.post(format!("{EQUIPMENT}/bulk")).json(&body).send().await?;
    bulk_result(cx, &answer)
}

/// What a call with many entries did; an error where not all of them were accepted.
fn bulk_result(cx: &Context, answer: &Answer) -> Result {
    let result = &answer.json;
    cx.out.one(answer, |result: &Value| {
        let mut card = Card::default();
        for (title, name) in [
            ("Received", "received"),
            ("Accepted", "accepted"),
            ("Registered", "created"),
            ("Changed", "updated"),
            ("As they were", "unchanged"),
            ("Refused", "rejected"),
        ] {
            card.some(title, &result[name]);
        }
        for error in result["errors"].as_array().into_iter().flatten() {
            card.say(
                &format!("Entry {}", error["index"]),
                format!("{} ({})", text(&error["message"]), text(&error["code"])),
            );
        }
        card
    })?;
    let (received, rejected) = (result["received"].as_u64(), result["rejected"].as_u64());
    match (received.unwrap_or(0), rejected.unwrap_or(0)) {
        (_, 0) => Ok(()),
        (received, rejected) if received == rejected => {
            Err(Error::Negative(format!("All {rejected} entries were refused.")))
        }
        (received, rejected) => Err(Error::Partial(format!("{rejected} of {received} entries were refused."))),
    }
}

fn path(equipment: &Found, rest: &str) -> String {
    format!("{EQUIPMENT}/{}{rest}", segment(&equipment.id))
}

fn title(equipment: &Found) -> String {
    match &equipment.json["name"] {
        Value::Null => text(&equipment.json["external_id"]),
        name => text(name),
    }
}

fn card(equipment: &Value) -> Card {
    let mut card = Card::default();
    card.line("Name", &equipment["name"])
        .line("Kind", &equipment["kind"])
        .line("Type", &equipment["type"])
        .line("External id", &equipment["external_id"])
        .line("Room", &equipment["room"])
        .line("Location", &equipment["location"])
        .line("Status", &equipment["status"])
        .line("Last seen", &equipment["last_seen_at"])
        .line("Registered", &equipment["created_at"])
        .line("Integration", &equipment["integration_id"])
        .line("Version", &equipment["version"])
        .line("Id", &equipment["id"]);
    card
}
