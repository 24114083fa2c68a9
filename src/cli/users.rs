//! `sensorgate users …`

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    client::{Answer, segment},
    context::Context,
    error::{Error, Result},
    find::{self, Found},
    options::Limit,
    table::{Card, Column},
};

/// The one permission that there is.
const PERMISSION: &str = "administration_integrations_access";
const USERS: &str = "/admin/v1/users";
const COLUMNS: &[Column<'_>] = &[
    Column::whole("E-MAIL", "email"),
    Column::new("NAME", "name"),
    Column::new("PERMISSIONS", "permissions"),
    Column::new("PENDING", "permissions_pending"),
    Column::new("ACTIVE", "active"),
    Column::new("LAST SIGN-IN", "last_login_at"),
    Column::whole("ID", "id"),
];

pub(super) const EXAMPLES: &str = "Users are named by e-mail address or id.

Examples:
  sensorgate users create dave@example.org --name Dave --grant
  sensorgate users confirm dave@example.org      # by another administrator than the one who granted";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// All members of your organisation.
    #[command(visible_alias = "ls")]
    List(Limit),
    /// One of them.
    #[command(visible_alias = "get")]
    Show {
        /// E-mail address or id.
        user: String,
    },
    /// Add a member; their one-time password is printed once.
    #[command(visible_alias = "add")]
    Create {
        email: String,
        /// As people read it; the part before the @ if left out.
        #[arg(long)]
        name: Option<String>,
        /// Give the administrators' permission, too; another administrator has to confirm.
        #[arg(long)]
        grant: bool,
    },
    /// Change a name or an e-mail address.
    #[command(visible_alias = "edit")]
    Update {
        /// E-mail address or id.
        user: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        email: Option<String>,
    },
    /// Give somebody the administrators' permission; another administrator has to confirm.
    Grant {
        /// E-mail address or id.
        user: String,
    },
    /// Take the administrators' permission away; holds at once.
    Remove {
        /// E-mail address or id.
        user: String,
    },
    /// Confirm a permission that another administrator gave.
    Confirm {
        /// E-mail address or id.
        user: String,
    },
    /// Give somebody a new one-time password, printed once.
    ResetPassword {
        /// E-mail address or id.
        user: String,
    },
    /// End somebody's membership; their sessions end at once.
    Deactivate {
        /// E-mail address or id.
        user: String,
    },
    /// Take somebody back; permissions that they had wait for confirmation.
    Activate {
        /// E-mail address or id.
        user: String,
    },
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::List(limit) => {
            let listing = cx.client.get(USERS).pages(limit.or(None)).await?;
            cx.out.list(&listing, COLUMNS, in_words)
        }
        Action::Show { user } => {
            let user = find::user(cx, user).await?;
            let answer = cx.client.get(path(&user, "")).send().await?;
            cx.out.one(&answer, card)
        }
        Action::Create { email, name, grant } => create(cx, email, name.as_deref(), *grant).await,
        Action::Update { user, name, email } => {
            if name.is_none() && email.is_none() {
                return Err(Error::usage("say what to change: --name or --email"));
            }
            let mut patch = json!({});
            for (field, value) in [("name", name), ("email", email)] {
                if let Some(value) = value {
                    patch[field] = Value::from(value.as_str());
                }
            }
            change(cx, user, &patch, "Changed").await
        }
        Action::Grant { user } => grant(cx, user).await,
        Action::Remove { user } => {
            let user = find::user(cx, user).await?;
            cx.ask.confirm(&format!("{} will no longer be an administrator, at once.", email(&user)))?;
            change(cx, &user.id, &json!({"permissions": []}), "No longer an administrator:").await
        }
        Action::Confirm { user } => {
            let user = find::user(cx, user).await?;
            cx.ask.confirm(&format!(
                "{} will be an administrator: able to approve, suspend and revoke integrations.",
                email(&user)
            ))?;
            let answer = cx.client.post(path(&user, "/confirm")).send().await?;
            cx.out.done(&answer, &format!("{} is an administrator now.", email(&user)))
        }
        Action::ResetPassword { user } => reset_password(cx, user).await,
        Action::Deactivate { user } => {
            let user = find::user(cx, user).await?;
            cx.ask.confirm(&format!("{} can no longer sign in, and their sessions end at once.", email(&user)))?;
            change(cx, &user.id, &json!({"active": false}), "Deactivated").await
        }
        Action::Activate { user } => change(cx, user, &json!({"active": true}), "Active again:").await,
    }
}

async fn create(cx: &Context, email: &str, name: Option<&str>, grant: bool) -> Result {
    let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or(email));
    let permissions: &[&str] = if grant { &[PERMISSION] } else { &[] };
    let body = json!({"email": email, "name": name, "permissions": permissions});
    let answer = cx.client.post(USERS).json(&body).send().await?;
    let confirm = if grant {
        format!(" Their permission waits for another administrator: sensorgate users confirm {email}")
    } else {
        String::new()
    };
    one_time_password(
        cx,
        &answer,
        &format!("{email} is a member, and sets a password of their own at the first sign-in.{confirm}"),
    )
}

async fn grant(cx: &Context, user: &str) -> Result {
    let user = find::user(cx, user).await?;
    let answer = cx.client.patch(path(&user, "")).json(&json!({"permissions": [PERMISSION]})).send().await?;
    let email = email(&user);
    let is_pending = answer.json["permissions_pending"].as_array().is_some_and(|pending| !pending.is_empty());
    let sentence = if is_pending {
        format!("Granted to {email}; it waits for another administrator: sensorgate users confirm {email}")
    } else {
        format!("{email} is an administrator.")
    };
    cx.out.done(&answer, &sentence)
}

async fn reset_password(cx: &Context, user: &str) -> Result {
    let user = find::user(cx, user).await?;
    let email = email(&user);
    cx.ask.confirm(&format!(
        "The password of {email} stops working, their sessions end, and if they are an administrator another one has \
         to confirm them again."
    ))?;
    let answer = cx.client.post(path(&user, "/password-reset")).send().await?;
    one_time_password(cx, &answer, &format!("{email} has a one-time password."))
}

fn one_time_password(cx: &Context, answer: &Answer, sentence: &str) -> Result {
    cx.out.secrets(answer, &[("one_time_password", &answer.json["one_time_password"])], sentence)
}

async fn change(cx: &Context, user: &str, patch: &Value, done: &str) -> Result {
    let user = find::user(cx, user).await?;
    let answer = cx.client.patch(path(&user, "")).json(patch).send().await?;
    cx.out.done(&answer, &format!("{done} {}.", email(&user)))
}

fn path(user: &Found, rest: &str) -> String {
    format!("{USERS}/{}{rest}", segment(&user.id))
}

fn email(user: &Found) -> String {
    super::table::text(&user.json["email"])
}

/// There is one permission: who has it is called an administrator.
fn in_words(user: &mut Value) {
    for name in ["permissions", "permissions_pending"] {
        if user[name].as_array().is_some_and(|names| names.iter().any(|name| name == PERMISSION)) {
            user[name] = Value::from("administrator");
        }
    }
}

fn card(user: &Value) -> Card {
    let mut card = Card::default();
    card.line("E-mail", &user["email"])
        .line("Name", &user["name"])
        .line("Permissions", &user["permissions"])
        .some("Awaiting confirmation", &user["permissions_pending"])
        .line("Active", &user["active"])
        .line("Has to change password", &user["password_change_required"])
        .line("Member since", &user["created_at"])
        .line("Last sign-in", &user["last_login_at"])
        .line("Version", &user["version"])
        .line("Id", &user["id"]);
    card
}
