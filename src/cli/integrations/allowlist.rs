//! Where an integration may call from. Adding and removing read the list, change it, and put it back only if nobody
//! else has changed the integration in between.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::path;
use crate::cli::{
    client::Answer,
    context::Context,
    error::Result,
    find::{self, Found},
    table::{Card, text},
};

#[derive(Debug, Args)]
#[command(after_help = "Networks are in CIDR notation: 10.0.0.1/32 is one address. At most 50.

Examples:
  sensorgate integrations allowlist set 'Climate computer' 198.51.100.7/32 2001:db8::/48
  sensorgate integrations allowlist add 'Climate computer' 203.0.113.0/24")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// What is allowed now.
    Show {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
    },
    /// Allow these networks and no others.
    Set {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        #[arg(required = true, value_name = "CIDR")]
        entries: Vec<String>,
    },
    /// Allow these networks, too.
    Add {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        #[arg(required = true, value_name = "CIDR")]
        entries: Vec<String>,
    },
    /// No longer allow these networks.
    Remove {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        #[arg(required = true, value_name = "CIDR")]
        entries: Vec<String>,
    },
    /// Keep to the list that is there.
    Enable {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
    },
    /// Let any address call; the list stays for later.
    Disable {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
    },
}

pub(super) async fn run(cx: &Context, arguments: &Arguments) -> Result {
    let (Action::Show { integration }
    | Action::Set { integration, .. }
    | Action::Add { integration, .. }
    | Action::Remove { integration, .. }
    | Action::Enable { integration }
    | Action::Disable { integration }) = &arguments.action;
    let found = find::integration(cx, integration).await?;
    let now = cx.client.get(path(&found, "/ip-allowlist")).send().await?;
    let have: Vec<String> =
        now.json["entries"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let is_given = |entries: &[String], entry: &str| entries.iter().any(|given| given == entry);
    let (enabled, entries) = match &arguments.action {
        Action::Show { .. } => return cx.out.one(&now, card),
        Action::Set { entries, .. } => (true, entries.clone()),
        Action::Add { entries, .. } => {
            let mut all = have.clone();
            all.extend(entries.iter().filter(|entry| !have.contains(entry)).cloned());
            (true, all)
        }
        Action::Remove { entries, .. } => {
            for unknown in entries.iter().filter(|entry| !have.contains(entry)) {
                cx.out.note(&format!("{unknown} is not on the list."));
            }
            (now.json["enabled"] == true, have.into_iter().filter(|entry| !is_given(entries, entry)).collect())
        }
        Action::Enable { .. } => (true, have),
        Action::Disable { .. } => {
            cx.ask.confirm(&format!("{} may be called from any address.", found.title()))?;
            (false, have)
        }
    };
    replace(cx, &found, &now, enabled, &entries).await
}

async fn replace(cx: &Context, found: &Found, now: &Answer, enabled: bool, entries: &[String]) -> Result {
    let body = json!({"enabled": enabled, "entries": entries});
    let answer = cx.client.put(path(found, "/ip-allowlist")).json(&body).if_match(now.etag.as_deref()).send().await?;
    let state = if enabled {
        format!("may be called from {}", text(&answer.json["entries"]))
    } else {
        "may be called from any address".to_owned()
    };
    cx.out.done(&answer, &format!("{} {state}.", found.name()))
}

fn card(allowlist: &Value) -> Card {
    let mut card = Card::default();
    card.line("Enabled", &allowlist["enabled"]).line("Entries", &allowlist["entries"]);
    card
}
