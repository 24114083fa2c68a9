//! Scopes that wait for a second administrator.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Version, path};
use crate::cli::{context::Context, error::Result, find, table};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Grant what another administrator has asked for.
    Confirm {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        #[command(flatten)]
        version: Version,
    },
    /// Drop it.
    Decline {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        /// Why; it stands in the audit log.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        version: Version,
    },
}

pub(super) async fn run(cx: &Context, arguments: &Arguments) -> Result {
    match &arguments.action {
        Action::Confirm { integration, version } => {
            let found = find::integration(cx, integration).await?;
            // What is shown is what is confirmed.
            let seen = cx.client.get(path(&found, "")).send().await?;
            let scopes = table::text(&seen.json["scopes_pending"]);
            cx.ask.confirm(&format!("{} may do this as well, from its next request: {scopes}", found.title()))?;
            let tag = version.if_match.clone().or(seen.etag);
            let call = cx.client.post(path(&found, "/scopes/confirm")).json(&json!({}));
            let answer = call.if_match(tag.as_deref()).send().await?;
            cx.out.done_as_seen(&answer, &format!("{} has the scopes.", found.name()))
        }
        Action::Decline { integration, reason, version } => {
            let found = find::integration(cx, integration).await?;
            let call = cx.client.post(path(&found, "/scopes/decline")).json(&json!({"reason": reason}));
            let answer = call.if_match(version.if_match.as_deref()).send().await?;
            cx.out.done(&answer, &format!("{} does not get the scopes.", found.name()))
        }
    }
}
