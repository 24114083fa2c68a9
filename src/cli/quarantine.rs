//! `sensorgate quarantine …`: readings that did not get into the store.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{Call, segment},
    context::Context,
    error::{Error, Result},
    find,
    options::Limit,
    table::{Card, Column},
    when::Period,
};

const QUARANTINE: &str = "/admin/v1/quarantine";
/// Items that are shown unless somebody asks for more.
const LIMIT: usize = 100;
const COLUMNS: &[Column<'_>] = &[
    Column::whole("ID", "id"),
    Column::new("KIND", "kind"),
    Column::new("HELD AT", "held_at"),
    Column::new("EXTERNAL ID", "external_id"),
    Column::new("METRIC", "metric"),
    Column::new("TIMESTAMP", "timestamp"),
    Column::new("VALUE", "value"),
    Column::new("REASON", "reason"),
    Column::whole("REQUEST", "request_id"),
];

pub(super) const EXAMPLES: &str = "Examples:
  sensorgate quarantine list --integration 'Climate computer'
  sensorgate quarantine replay --kind refused --reason 'The store is mended'
  sensorgate quarantine discard refused-17 --reason 'A test reading'";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// What is held, and why.
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        limit: Limit,
    },
    /// One of them, as it was sent.
    #[command(visible_alias = "get")]
    Show { id: String },
    /// Send them on again.
    Replay {
        #[command(flatten)]
        chosen: Chosen,
        /// Why; it stands in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let them go for good.
    Discard {
        #[command(flatten)]
        chosen: Chosen,
        /// Why; it stands in the audit log.
        #[arg(long)]
        reason: String,
    },
}

/// Which of them: by id, or all that the filter lets through.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only this integration's.
    #[arg(long)]
    integration: Option<String>,
    /// Refused by the store after it was accepted, or rejected when it came.
    #[arg(long, value_parser = ["refused", "rejected"])]
    kind: Option<String>,
    /// Only those rejected with this code.
    #[arg(long)]
    code: Option<String>,
    /// Only of this equipment.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// Only those of this request.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    #[command(flatten)]
    period: Period,
}

impl Filter {
    async fn pairs(&self, cx: &Context) -> Result<Vec<(&'static str, String)>> {
        let integration_id = find::integration_id(cx, self.integration.as_deref()).await?;
        let all = [
            ("integration_id", integration_id),
            ("kind", self.kind.clone()),
            ("code", self.code.clone()),
            ("external_id", self.external_id.clone()),
            ("request_id", self.request.clone()),
            ("from", self.period.from.clone()),
            ("to", self.period.to.clone()),
        ];
        Ok(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

impl Chosen {
    async fn body(&self, cx: &Context, reason: Option<&str>) -> Result<Value> {
        let pairs = self.filter.pairs(cx).await?;
        let mut body = match (self.ids.is_empty(), pairs.is_empty()) {
            (false, true) => json!({"ids": self.ids}),
            (true, false) => json!({"filter": pairs.into_iter().collect::<std::collections::BTreeMap<_, _>>()}),
            _ => return Err(Error::usage("say which: ids, or a filter such as --kind or --integration; not both")),
        };
        if let Some(reason) = reason {
            body["reason"] = Value::from(reason);
        }
        Ok(body)
    }

    fn words(&self) -> String {
        match self.ids.len() {
            0 => "All readings that the filter lets through".to_owned(),
            1 => format!("The reading {}", self.ids[0]),
            count => format!("These {count} readings"),
        }
    }
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::List { filter, limit } => {
            let pairs = filter.pairs(cx).await?;
            let call = pairs
                .into_iter()
                .fold(cx.client.get(QUARANTINE), |call: Call<'_>, (name, value)| call.query(name, Some(value)));
            cx.out.list(&call.pages(limit.or(Some(LIMIT))).await?, COLUMNS, |_| {})
        }
        Action::Show { id } => {
            let see = "sensorgate quarantine list shows what is held.";
            let answer = cx.client.get(format!("{QUARANTINE}/{}", segment(id))).or_see(see).send().await?;
            cx.out.one(&answer, card)
        }
        Action::Replay { chosen, reason } => replay(cx, chosen, reason.as_deref()).await,
        Action::Discard { chosen, reason } => {
            let body = chosen.body(cx, Some(reason)).await?;
            cx.ask.confirm(&format!("{} will be gone for good.", chosen.words()))?;
            let answer = cx.client.post(format!("{QUARANTINE}/discard")).json(&body).send().await?;
            say_more(cx, &answer.json);
            cx.out.done(&answer, &format!("Discarded: {}.", answer.json["discarded"]))
        }
    }
}

async fn replay(cx: &Context, chosen: &Chosen, reason: Option<&str>) -> Result {
    const OUTCOMES: &[Column<'_>] = &[
        Column::whole("ID", "id"),
        Column::new("OUTCOME", "outcome"),
        Column::new("CODE", "code"),
        Column::new("MESSAGE", "message"),
    ];
    let body = chosen.body(cx, reason).await?;
    let answer = cx.client.post(format!("{QUARANTINE}/replay")).json(&body).send().await?;
    let result = &answer.json;
    cx.out.part(&answer, "items", OUTCOMES)?;
    cx.out.note(&format!("Replayed: {}, still held: {}.", result["replayed"], result["held"]));
    say_more(cx, result);
    match result["held"].as_u64().unwrap_or(0) {
        0 => Ok(()),
        held => Err(Error::Partial(format!("{held} of them are still held."))),
    }
}

fn say_more(cx: &Context, result: &Value) {
    if result["more"] == true {
        cx.out.note("There are more that the filter lets through: run the command again.");
    }
}

fn card(item: &Value) -> Card {
    let mut card = Card::default();
    card.line("Id", &item["id"])
        .line("Kind", &item["kind"])
        .line("Reason", &item["reason"])
        .some("Code", &item["code"]);
    for (title, name) in [
        ("Field", "field"),
        ("External id", "external_id"),
        ("Equipment", "equipment_id"),
        ("Metric", "metric"),
        ("Timestamp", "timestamp"),
        ("Value", "value"),
        ("Quality", "quality"),
        ("As it was sent", "entry"),
        ("Received at", "received_at"),
        ("Held at", "held_at"),
        ("Times seen", "seen"),
        ("Times replayed", "replays"),
        ("Transport", "transport"),
        ("Request", "request_id"),
        ("Integration", "integration_id"),
        ("Bytes that cannot be read", "unreadable_bytes"),
    ] {
        card.some(title, &item[name]);
    }
    card
}
