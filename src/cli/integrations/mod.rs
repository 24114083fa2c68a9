//! `sensorgate integrations …`: their life from request to revocation, limits, allowlist, contacts, history.

mod allowlist;
mod card;
mod contacts;
mod grants;
mod handover;
mod lifecycle;
mod registry;
mod scopes;

use clap::Subcommand;

use super::{
    audit,
    client::segment,
    context::Context,
    error::Result,
    find::{self, Found},
    options::{Limit, Version},
};

const INTEGRATIONS: &str = "/admin/v1/integrations";

pub(super) const EXAMPLES: &str = "Integrations are named by id, the unique beginning of an id, or their exact name.

Examples:
  sensorgate integrations create --vendor Custom --name 'Climate computer' --description 'Climate of greenhouse 1' \\
    --owner alice@example.org --scopes equipment:read,sensors:write
  sensorgate integrations approve 'Climate computer'         # by another administrator
  sensorgate integrations activate 'Climate computer'        # prints the credentials, once
  sensorgate integrations suspend 'Climate computer' --reason 'Calls from an unknown address'";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// All integrations.
    #[command(visible_alias = "ls")]
    List(registry::List),
    /// Everything about one.
    #[command(visible_alias = "get")]
    Show {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
    },
    /// Those that wait for you: asked for by somebody else, and not approved yet.
    Pending,
    /// Ask for a new one.
    #[command(visible_aliases = ["add", "request"])]
    Create(registry::Create),
    /// Change name, description, owner, scopes or limits.
    #[command(visible_alias = "edit")]
    Update(registry::Update),
    /// Approve what somebody else asked for; shows what it is first.
    Approve(lifecycle::Approve),
    /// Make it work; prints its credentials, once.
    Activate(lifecycle::Plain),
    /// Cut it off at once; nothing but the key is lost.
    Suspend(lifecycle::Suspend),
    /// Let a suspended one work again; by somebody else than who suspended it.
    Reactivate(lifecycle::Reactivate),
    /// End it for good.
    #[command(visible_alias = "delete")]
    Revoke(lifecycle::Revoke),
    /// Replace the API key; prints the new one, once.
    #[command(visible_alias = "rotate-key")]
    RegenerateKey(lifecycle::RegenerateKey),
    /// Scopes that wait for a second administrator.
    Scopes(scopes::Arguments),
    /// The sheet for the partner: what they need and how each item may travel; no secret stands in it.
    Handover(handover::Arguments),
    /// Where it may call from.
    Allowlist(allowlist::Arguments),
    /// Limits and time windows that end by themselves.
    Grant(grants::Arguments),
    /// People at the partner's.
    Contacts(contacts::Arguments),
    /// What was done to it, oldest first.
    History {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        #[command(flatten)]
        limit: Limit,
    },
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::List(list) => registry::list(cx, list).await,
        Action::Show { integration } => registry::show(cx, integration).await,
        Action::Pending => registry::pending(cx).await,
        Action::Create(create) => registry::create(cx, create).await,
        Action::Update(update) => registry::update(cx, update).await,
        Action::Approve(approve) => lifecycle::approve(cx, approve).await,
        Action::Activate(activate) => lifecycle::activate(cx, activate).await,
        Action::Suspend(suspend) => lifecycle::suspend(cx, suspend).await,
        Action::Reactivate(reactivate) => lifecycle::reactivate(cx, reactivate).await,
        Action::Revoke(revoke) => lifecycle::revoke(cx, revoke).await,
        Action::RegenerateKey(regenerate) => lifecycle::regenerate_key(cx, regenerate).await,
        Action::Scopes(arguments) => scopes::run(cx, arguments).await,
        Action::Handover(arguments) => handover::run(cx, arguments).await,
        Action::Allowlist(arguments) => allowlist::run(cx, arguments).await,
        Action::Grant(arguments) => grants::run(cx, arguments).await,
        Action::Contacts(arguments) => contacts::run(cx, arguments).await,
        Action::History { integration, limit } => {
            let found = find::integration(cx, integration).await?;
            let listing = cx.client.get(path(&found, "/history")).pages(limit.or(None)).await?;
            audit::show(cx, &listing).await
        }
    }
}

fn path(integration: &Found, rest: &str) -> String {
    format!("{INTEGRATIONS}/{}{rest}", segment(&integration.id))
}
