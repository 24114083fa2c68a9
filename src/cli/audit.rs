//! `sensorgate audit …`: who did what, and the proof that the log is whole.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{
    client::Listing,
    context::Context,
    error::{Error, Result},
    file::Target,
    find,
    local::proof,
    options::Limit,
    table::{Card, Column},
    when::Period,
};

const AUDIT: &str = "/admin/v1/audit-log";
/// Entries that are shown unless somebody asks for more.
const LIMIT: usize = 100;
const COLUMNS: &[Column<'_>] = &[
    Column::new("SEQ", "seq"),
    Column::new("AT", "at"),
    Column::new("ACTOR", "actor"),
    Column::new("ACTION", "action"),
    Column::new("REASON", "reason"),
    Column::new("IP", "ip"),
    Column::new("BEFORE", "before"),
    Column::new("AFTER", "after"),
    Column::whole("TARGET", "target"),
    Column::whole("REQUEST", "request_id"),
];

const CHECKPOINTS: &[Column<'_>] = &[
    Column::new("SEQ", "seq"),
    Column::new("AT (µs)", "at_us"),
    Column::whole("HASH", "hash"),
    Column::whole("PUBLIC KEY", "public_key"),
    Column::whole("SIGNATURE", "signature"),
];

pub(super) const EXAMPLES: &str = "Examples:
  sensorgate audit list --from 7d --action suspend
  sensorgate audit verify || echo 'the log was tampered with'
  sensorgate audit verify --checkpoints checkpoints-of-last-year.ndjson
  sensorgate audit verify --data-dir /var/lib/sensorgate
  sensorgate audit verify --file audit-log.ndjson --checkpoints checkpoints.ndjson --public-key 5d0c…";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Entries, the newest first.
    #[command(visible_alias = "ls")]
    List(List),
    /// Take the log out as a file.
    Export {
        /// ndjson proves itself (audit verify --file), csv is for people.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        period: Period,
        #[command(flatten)]
        target: Target,
    },
    /// Signed checkpoints, to be put aside: with --output ndjson they are the file that verify takes.
    Checkpoints,
    /// Prove that no entry was altered, removed or moved. Exit code 1 if one was.
    Verify(proof::Verify),
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Ndjson,
    Csv,
}

impl Action {
    /// What needs no service: a proof on a data directory or on an exported file.
    pub(super) fn without_service(&self) -> Option<&proof::Verify> {
        match self {
            Self::Verify(arguments) if arguments.is_local() => Some(arguments),
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only what this user did: e-mail address or id.
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// Only this action; a refused attempt ends in _refused.
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to the object with this id.
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// Only what was done to this integration.
    #[arg(long, conflicts_with = "target")]
    integration: Option<String>,
    #[command(flatten)]
    period: Period,
    /// The oldest first.
    #[arg(long)]
    oldest_first: bool,
    #[command(flatten)]
    limit: Limit,
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::List(list) => show(cx, &entries(cx, list).await?).await,
        Action::Export { format, period, target } => {
            let format = match format {
                Format::Ndjson => "ndjson",
                Format::Csv => "csv",
            };
            let call = cx.client.get(format!("{AUDIT}/export")).query("format", Some(format));
            target.fetch(cx, period.narrow(call)).await
        }
        Action::Checkpoints => {
            let listing = cx.client.get(format!("{AUDIT}/checkpoints")).pages(None).await?;
            cx.out.list(&listing, CHECKPOINTS, |_| {})
        }
        Action::Verify(arguments) if arguments.is_by_the_service() => verify(cx).await,
        Action::Verify(arguments) => {
            let mut export = Vec::new();
            cx.client.get(format!("{AUDIT}/export")).query("format", Some("ndjson")).download(&mut export).await?;
            proof::downloaded(cx.client.base(), &export, arguments, &cx.out)
        }
    }
}

async fn entries(cx: &Context, list: &List) -> Result<Listing> {
    let actor = match &list.actor {
        Some(actor) => Some(find::user(cx, actor).await?.id),
        None => None,
    };
    let target = find::integration_id(cx, list.integration.as_deref()).await?.or_else(|| list.target.clone());
    let order = if list.oldest_first { "asc" } else { "desc" };
    let call = cx.client.get(AUDIT).query("actor", actor).query("action", list.action.as_deref());
    let call = list.period.narrow(call.query("target", target));
    call.query("order", Some(order)).pages(list.limit.or(Some(LIMIT))).await
}

/// Entries of the audit log, with e-mail addresses for people.
pub(super) async fn show(cx: &Context, listing: &Listing) -> Result {
    let people = find::people(cx).await;
    cx.out.list(listing, COLUMNS, |entry| {
        entry["actor"] = match &entry["actor"] {
            Value::Null => Value::from("the server"),
            id => find::named(&people, id),
        };
    })
}

async fn verify(cx: &Context) -> Result {
    let verdict = cx.client.get(format!("{AUDIT}/verify")).send().await?;
    cx.out.one(&verdict, |verdict: &Value| {
        let mut card = Card::default();
        card.line("Whole", &verdict["ok"]).line("Entries", &verdict["entries"]).some("Head", &verdict["head"]);
        card.some("Fault", &verdict["fault"]).some("First bad entry", &verdict["first_bad_seq"]);
        card
    })?;
    if verdict.json["ok"] == true {
        Ok(())
    } else {
        Err(Error::Negative("The audit log is not what was written.".to_owned()))
    }
}
