//! `sensorgate review …`: the quarterly access review.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    client::segment,
    context::Context,
    error::Result,
    file::Target,
    find,
    options::Limit,
    table::{Card, Column},
    when::Period,
};

const REVIEWS: &str = "/admin/v1/access-reviews";
const COLUMNS: &[Column<'_>] = &[
    Column::whole("ID", "id"),
    Column::new("FROM", "from"),
    Column::new("TO", "to"),
    Column::new("GENERATED AT", "generated_at"),
    Column::new("SIGNED AT", "signed_at"),
    Column::new("NEXT DUE", "next_review_due"),
];

pub(super) const EXAMPLES: &str = "Examples:
  sensorgate review create --from 2026-01-01 --to 2026-04-01
  sensorgate review answer ID in_use --note 'All three are in use'
  sensorgate review answer ID scopes --to-do --note 'Take crm:read away'
  sensorgate review sign-off ID
  sensorgate review export ID --format html --file review.html";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// All reviews.
    #[command(visible_alias = "ls")]
    List(Limit),
    /// One of them, with what was answered.
    #[command(visible_alias = "get")]
    Show { id: String },
    /// Make the report of a period.
    Create {
        #[command(flatten)]
        period: Period,
    },
    /// Answer one of the six questions.
    Answer {
        id: String,
        #[arg(value_parser = ["in_use", "scopes", "credentials", "rate_limits", "ip_allowlist", "contacts"])]
        question: String,
        /// About this integration; the whole if left out.
        #[arg(long)]
        integration: Option<String>,
        /// Something has to be done.
        #[arg(long, requires = "note")]
        to_do: bool,
        /// What was found, or has to be done.
        #[arg(long)]
        note: Option<String>,
    },
    /// Sign it off; nothing of it changes afterwards.
    SignOff { id: String },
    /// Take it out as a file.
    Export {
        id: String,
        #[arg(long, value_parser = ["json", "csv", "html"], default_value = "html")]
        format: String,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::List(limit) => cx.out.list(&cx.client.get(REVIEWS).pages(limit.or(None)).await?, COLUMNS, |_| {}),
        Action::Show { id } => cx.out.one(&cx.client.get(path(id, "")).send().await?, card),
        Action::Create { period } => {
            let body = json!({"from": period.from, "to": period.to});
            let answer = cx.client.post(REVIEWS).json(&body).send().await?;
            cx.out.made(&answer, "The report is made; it waits for six answers and a signature.")
        }
        Action::Answer { id, question, integration, to_do, note } => {
            let integration_id = find::integration_id(cx, integration.as_deref()).await?;
            let one = json!({"question": question, "integration_id": integration_id, "ok": !to_do, "note": note});
            let body = json!({"answers": [one]});
            let answer = cx.client.post(path(id, "/answers")).json(&body).send().await?;
            cx.out.done(&answer, "The answer is kept.")
        }
        Action::SignOff { id } => {
            cx.ask.confirm("Nothing of the review can be changed once it is signed off.")?;
            let answer = cx.client.post(path(id, "/sign-off")).send().await?;
            cx.out.done(&answer, "The review is signed off.")
        }
        Action::Export { id, format, target } => {
            target.fetch(cx, cx.client.get(path(id, "")).query("format", Some(format))).await
        }
    }
}

fn path(id: &str, call: &str) -> String {
    format!("{REVIEWS}/{}{call}", segment(id))
}

fn card(review: &Value) -> Card {
    let mut card = Card::default();
    card.line("Review", &review["id"]).line("From", &review["from"]).line("To", &review["to"]);
    card.line("Generated at", &review["generated_at"]).some("Signed at", &review["signed_at"]);
    card.line("Next due", &review["next_review_due"]).line("Overdue", &review["overdue"]);
    card.some("Answers", &review["answers"]);
    card
}
