//! The steps of an integration's life, and its key. What is dangerous is asked about first, in words that name the
//! integration and the consequence (S111, S139).

use clap::Args;
use serde_json::{Value, json};

use super::{Version, card, path};
use crate::cli::{
    client::Answer,
    context::Context,
    error::Result,
    find::{self, Found},
    output::Printer,
    table,
};

#[derive(Debug, Args)]
pub(crate) struct Plain {
    /// Id, unique beginning of an id, or exact name.
    integration: String,
    #[command(flatten)]
    version: Version,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without --if-match, what is shown here is what is approved: if it changes while you read, the \
approval is refused and you are shown the new state next time."
)]
pub(crate) struct Approve {
    /// Id, unique beginning of an id, or exact name.
    integration: String,
    #[command(flatten)]
    version: Version,
}

#[derive(Debug, Args)]
pub(crate) struct Suspend {
    /// Id, unique beginning of an id, or exact name.
    integration: String,
    /// Why; it stands in the audit log. Asked for if left out.
    #[arg(long)]
    reason: Option<String>,
    /// What kind of reason it is.
    #[arg(long, value_parser = ["security_concern", "contract_pause", "unexpected_api_behaviour"])]
    category: Option<String>,
    #[command(flatten)]
    version: Version,
}

#[derive(Debug, Args)]
pub(crate) struct Reactivate {
    /// Id, unique beginning of an id, or exact name.
    integration: String,
    /// Let the key that was regenerated during the suspension become live, instead of making another one.
    #[arg(long)]
    keep_staged: bool,
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    version: Version,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Id, unique beginning of an id, or exact name.
    integration: String,
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    version: Version,
}

#[derive(Debug, Args)]
pub(crate) struct RegenerateKey {
    /// Id, unique beginning of an id, or exact name.
    integration: String,
    /// Why; it stands in the audit log.
    #[arg(long, alias = "cause")]
    reason: Option<String>,
    #[command(flatten)]
    version: Version,
}

/// A step: the call, with what the caller knows of the version.
async fn step(cx: &Context, found: &Found, step: &str, body: Value, tag: Option<&str>) -> Result<Answer> {
    cx.client.post(path(found, step)).json(&body).if_match(tag).send().await
}

pub(super) async fn approve(cx: &Context, approve: &Approve) -> Result {
    let found = find::integration(cx, &approve.integration).await?;
    // Read on its own, so that everything shown belongs to one version, the one that is approved (S073).
    let seen = cx.client.get(path(&found, "")).send().await?;
    let people = find::people(cx).await;
    cx.out.aside(&card::review(&seen.json, &people));
    cx.out.warnings(&seen.json);
    cx.ask.confirm(&format!("You approve that {} may do this once it is activated.", found.title()))?;
    let tag = approve.version.if_match.clone().or(seen.etag);
    let answer = step(cx, &found, "/approve", json!({}), tag.as_deref()).await?;
    cx.out.done_as_seen(
        &answer,
        &format!("{} is approved. Next: sensorgate integrations activate {}", found.name(), found.id),
    )
}

pub(super) async fn activate(cx: &Context, activate: &Plain) -> Result {
    let found = find::integration(cx, &activate.integration).await?;
    let tag = activate.version.if_match.as_deref();
    let answer = step(cx, &found, "/activate", json!({}), tag).await?;
    credentials(&cx.out, &answer, &format!("{} is active.", found.name()))
}

pub(super) async fn suspend(cx: &Context, suspend: &Suspend) -> Result {
    let found = find::integration(cx, &suspend.integration).await?;
    let reason = match &suspend.reason {
        Some(reason) => reason.clone(),
        None => cx.ask.text(&format!("Why is {} suspended", found.name()), "--reason")?,
    };
    cx.ask.confirm(&format!(
        "{} is cut off at once: its sessions are closed and every request is refused. You cannot reactivate it \
         yourself; another administrator has to.",
        found.title()
    ))?;
    let body = json!({"reason": reason, "category": suspend.category});
    let answer = step(cx, &found, "/suspend", body, suspend.version.if_match.as_deref()).await?;
    cx.out.done(&answer, &format!("{} is suspended. {}", found.name(), cut(&answer.json)))
}

pub(super) async fn reactivate(cx: &Context, reactivate: &Reactivate) -> Result {
    let found = find::integration(cx, &reactivate.integration).await?;
    let which = if reactivate.keep_staged {
        "with the key that was staged during the suspension"
    } else {
        "with a new key; whoever calls with the old one is refused"
    };
    let reason = table::text(&found.json["suspend_reason"]);
    cx.ask.confirm(&format!("{} works again at once, {which}. It was suspended for: {reason}", found.title()))?;
    let credentials_with = if reactivate.keep_staged { "keep_staged" } else { "generate" };
    let body = json!({"credentials": credentials_with, "reason": reactivate.reason});
    let answer = step(cx, &found, "/reactivate", body, reactivate.version.if_match.as_deref()).await?;
    credentials(&cx.out, &answer, &format!("{} is active again.", found.name()))
}

pub(super) async fn revoke(cx: &Context, revoke: &Revoke) -> Result {
    let found = find::integration(cx, &revoke.integration).await?;
    let name = found.json["name"].as_str().unwrap_or(&found.id);
    let consequence =
        format!("{} ends for good: its credentials stop working at once, and it never comes back.", found.title());
    cx.ask.confirm_by_name(&consequence, name)?;
    let body = json!({"reason": revoke.reason});
    let answer = step(cx, &found, "/revoke", body, revoke.version.if_match.as_deref()).await?;
    cx.out.done(&answer, &format!("{} is revoked. {}", found.name(), cut(&answer.json)))
}

pub(super) async fn regenerate_key(cx: &Context, regenerate: &RegenerateKey) -> Result {
    let found = find::integration(cx, &regenerate.integration).await?;
    let consequence = match found.json["status"].as_str() {
        Some("active") => format!(
            "The key of {} stops working at once: whoever uses it is refused until they have the new one.",
            found.title()
        ),
        Some("suspended") => format!(
            "{} gets a new key, which works once the integration is reactivated with --keep-staged.",
            found.title()
        ),
        // The service says why not.
        _ => format!("{} gets a new key.", found.title()),
    };
    cx.ask.confirm(&consequence)?;
    let body = json!({"cause": regenerate.reason});
    let answer = step(cx, &found, "/api-key", body, regenerate.version.if_match.as_deref()).await?;
    let key = &answer.json;
    let sentence = if key["staged"] == true {
        format!(
            "The key of {} waits for another administrator: sensorgate integrations reactivate {} --keep-staged",
            found.name(),
            found.id
        )
    } else {
        format!("{} has a new key. {}", found.name(), cut(key))
    };
    cx.out.secrets(&answer, &[("api_key", &key["api_key"]), ("key_prefix", &key["key_prefix"])], &sentence)
}

/// The credentials in an answer, once.
fn credentials(out: &Printer, answer: &Answer, sentence: &str) -> Result {
    let credentials = &answer.json["credentials"];
    let lines = ["client_id", "client_secret", "api_key", "key_prefix"].map(|name| (name, &credentials[name]));
    out.secrets(answer, &lines, sentence)
}

/// What a step has cut off, as a sentence.
fn cut(answer: &Value) -> String {
    let count = |name: &str| answer["cut"][name].as_u64().unwrap_or_default();
    format!("Cut off: {} MQTT sessions, {} requests in flight.", count("sessions"), count("requests"))
}
