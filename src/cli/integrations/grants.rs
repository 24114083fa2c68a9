//! Limits and time windows that end by themselves.

use clap::{Args, Subcommand};
use serde_json::json;

use super::path;
use crate::cli::{context::Context, error::Result, find, when};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sensorgate integrations grant limit 'Climate computer' --rpm 600 --until 24h --reason 'Move to the new host'
  sensorgate integrations grant backfill 'Climate computer' --window-start 2025-01-01 --until 7d --reason 'History'
  sensorgate integrations grant end 'Climate computer' --kind backfill")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// More, or fewer, requests a minute for a while.
    Limit {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        #[arg(long, value_name = "N")]
        rpm: u32,
        #[command(flatten)]
        term: Term,
    },
    /// Older readings than usual for a while.
    Backfill {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        /// Oldest timestamp that is taken: 2025-01-01, 90d (ago) …
        #[arg(long, value_name = "TIME", value_parser = when::past)]
        window_start: String,
        /// More requests a minute as well.
        #[arg(long, value_name = "N")]
        rpm: Option<u32>,
        #[command(flatten)]
        term: Term,
    },
    /// End grants before their time.
    End {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        /// Only this one; both if left out.
        #[arg(long, value_parser = ["temporary_limit", "backfill"])]
        kind: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Term {
    /// When it ends: a time, or 24h, 7d from now.
    #[arg(long, value_name = "TIME", value_parser = when::future)]
    until: String,
    /// Why; it stands in the audit log.
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(cx: &Context, arguments: &Arguments) -> Result {
    let (integration, rpm, window_start, term) = match &arguments.action {
        Action::Limit { integration, rpm, term } => (integration, Some(*rpm), None, term),
        Action::Backfill { integration, window_start, rpm, term } => {
            (integration, *rpm, Some(window_start.as_str()), term)
        }
        Action::End { integration, kind } => return end(cx, integration, kind.as_deref()).await,
    };
    let found = find::integration(cx, integration).await?;
    let Term { until, reason } = term;
    let body = json!({"rpm": rpm, "window_start": window_start, "until": until, "reason": reason});
    let answer = cx.client.post(path(&found, "/grants")).json(&body).send().await?;
    cx.out.done(&answer, &format!("Granted to {} until {until}.", found.name()))
}

async fn end(cx: &Context, integration: &str, kind: Option<&str>) -> Result {
    let found = find::integration(cx, integration).await?;
    let answer = cx.client.delete(path(&found, "/grants")).query("kind", kind).send().await?;
    cx.out.done(&answer, &format!("Grants of {} have ended.", found.name()))
}
