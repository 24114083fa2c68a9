//! People at the partner's who may hold its credentials.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::path;
use crate::cli::{
    client::Listing,
    context::Context,
    error::{Error, Result},
    find,
    table::Column,
};

const COLUMNS: &[Column<'_>] = &[
    Column::new("NAME", "name"),
    Column::whole("E-MAIL", "email"),
    Column::new("COMPANY", "company"),
    Column::new("CONFIRMED", "confirmed_at"),
];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Who there is.
    #[command(visible_alias = "ls")]
    List {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
    },
    /// One more; with the e-mail address of one who is there, in their place.
    Add {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        email: String,
        #[arg(long)]
        name: String,
        #[arg(long)]
        company: Option<String>,
    },
    /// One less.
    Remove {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        email: String,
    },
    /// You have made sure that they are still the right people.
    Confirm {
        /// Id, unique beginning of an id, or exact name.
        integration: String,
        /// Only this one; all if left out.
        email: Option<String>,
    },
}

pub(super) async fn run(cx: &Context, arguments: &Arguments) -> Result {
    let (Action::List { integration }
    | Action::Add { integration, .. }
    | Action::Remove { integration, .. }
    | Action::Confirm { integration, .. }) = &arguments.action;
    let found = find::integration(cx, integration).await?;
    let mut contacts: Vec<Value> = found.json["contacts"].as_array().cloned().unwrap_or_default();
    let is =
        |contact: &Value, email: &str| contact["email"].as_str().is_some_and(|one| one.eq_ignore_ascii_case(email));
    let now = jiff::Timestamp::now().to_string();
    match &arguments.action {
        Action::List { .. } => return cx.out.list(&Listing::of(&contacts), COLUMNS, |_| {}),
        Action::Add { email, name, company, .. } => {
            contacts.retain(|contact| !is(contact, email));
            contacts.push(json!({"name": name, "email": email, "company": company, "confirmed_at": now}));
        }
        Action::Remove { email, .. } => {
            let before = contacts.len();
            contacts.retain(|contact| !is(contact, email));
            if contacts.len() == before {
                return Err(Error::NotFound(format!("{} has no contact {email:?}.", found.name())));
            }
        }
        Action::Confirm { email, .. } => {
            let chosen = |contact: &Value| email.as_ref().is_none_or(|email| is(contact, email));
            let mut count = 0;
            for contact in contacts.iter_mut().filter(|contact| chosen(contact)) {
                contact["confirmed_at"] = Value::from(now.as_str());
                count += 1;
            }
            if count == 0 {
                return Err(Error::NotFound(format!("{} has no such contact.", found.name())));
            }
        }
    }
    let call = cx.client.patch(path(&found, "")).json(&json!({"contacts": contacts}));
    let answer = call.if_match(Some(&found.etag())).send().await?;
    cx.out.done(&answer, &format!("The contacts of {} are changed.", found.name()))
}
