//! `sensorgate login`, `logout`, `whoami`, `password`

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{Answer, Client},
    context::Context,
    error::{Error, Result},
    options::{Form, Options},
    output::print,
    prompt,
    state::Kept,
    table::Card,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sensorgate login alice@example.org --url https://gate.example.org:8081
  printf '%s\\n' \"$PASSWORD\" | sensorgate login alice@example.org --password-stdin
  export SENSORGATE_TOKEN=$(sensorgate login alice@example.org --password-stdin --print-token < password.txt)")]
pub(crate) struct Login {
    #[command(flatten)]
    pub(super) options: Options,
    /// Your e-mail address; asked for if left out.
    #[arg(value_name = "EMAIL")]
    email: Option<String>,
    /// Read the password from standard input. A second line is the new password, should the first be a one-time one.
    #[arg(long)]
    password_stdin: bool,
    /// Print the session's token, for SENSORGATE_TOKEN, instead of keeping the session in a file.
    #[arg(long)]
    print_token: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    #[command(flatten)]
    pub(super) options: Options,
}

#[derive(Debug, Args)]
pub(crate) struct Whoami {
    #[command(flatten)]
    pub(super) options: Options,
}

#[derive(Debug, Args)]
pub(crate) struct Password {
    #[command(flatten)]
    pub(super) options: Options,
    /// Read the current and the new password from standard input, one a line.
    #[arg(long)]
    password_stdin: bool,
}

/// Who signs in, and the session that they got. However it was got: another way to sign in, a device code of an
/// identity provider for example, ends in one of these, too.
struct SignedIn {
    email: String,
    answer: Answer,
}

pub(super) async fn login(cx: &Context, arguments: &Login) -> Result {
    let SignedIn { email, answer } = with_password(cx, arguments).await?;
    let token = answer.json["access_token"].as_str().ok_or_else(|| strange(cx))?;
    if arguments.print_token {
        return print(token);
    }
    let lifetime_s = answer.json["expires_in"].as_i64().unwrap_or_default();
    let expires_at = jiff::Timestamp::now()
        .checked_add(jiff::SignedDuration::from_secs(lifetime_s))
        .ok()
        .and_then(|at| at.round(jiff::Unit::Second).ok())
        .ok_or_else(|| strange(cx))?
        .to_string();
    let url = cx.client.base().to_owned();
    let kept =
        Kept { url: url.clone(), email: email.clone(), access_token: token.to_owned(), expires_at: expires_at.clone() };
    cx.state_dir()?.keep(&kept)?;
    cx.out.note(&format!("Signed in to {url} as {email}. The session ends at {expires_at}, or earlier when idle."));
    if cx.has_token_of_its_own() {
        cx.out.note("warning: SENSORGATE_TOKEN is set, and goes before the session that was kept just now.");
    }
    if cx.out.form == Form::Table {
        return Ok(());
    }
    print(&json!({"url": url, "email": email, "expires_at": expires_at}).to_string())
}

/// By e-mail address and password; a one-time password is changed on the way.
async fn with_password(cx: &Context, arguments: &Login) -> Result<SignedIn> {
    let email = match &arguments.email {
        Some(email) => email.clone(),
        None => cx.ask.text("E-mail address", "EMAIL")?,
    };
    let (password, mut new) = if arguments.password_stdin {
        prompt::piped_passwords()?
    } else {
        (cx.ask.password(&format!("Password of {email}"))?, None)
    };
    let answer = sign_in(&cx.client, &email, &password).await?;
    if answer.json["password_change_required"] != true {
        return Ok(SignedIn { email, answer });
    }
    if new.is_none() && !arguments.password_stdin {
        cx.out.note("That was a one-time password. Set one of your own now.");
        new = Some(cx.ask.new_password()?);
    }
    let new = new.ok_or_else(|| {
        Error::NotSignedIn(
            "That was a one-time password: give the new one as the second line of standard input.".to_owned(),
        )
    })?;
    let token = answer.json["access_token"].as_str().ok_or_else(|| strange(cx))?;
    change(&cx.client.with_token(token.to_owned()), &password, &new).await?;
    let answer = sign_in(&cx.client, &email, &new).await?;
    Ok(SignedIn { email, answer })
}

async fn sign_in(client: &Client, email: &str, password: &str) -> Result<Answer> {
    client.post("/admin/v1/login").json(&json!({"email": email, "password": password})).send().await
}

async fn change(client: &Client, current: &str, new: &str) -> Result<Answer> {
    client.post("/admin/v1/password").json(&json!({"current_password": current, "new_password": new})).send().await
}

fn strange(cx: &Context) -> Error {
    Error::Strange { url: cx.client.base().to_owned(), what: "the sign-in gave no token".to_owned() }
}

pub(super) async fn logout(cx: &Context) -> Result {
    // The file goes in any case: a session that has ended by itself is signed out of.
    let outcome = cx.client.post("/admin/v1/logout").send().await;
    cx.state_dir()?.forget(cx.client.base())?;
    outcome?;
    cx.out.note(&format!("Signed out of {}.", cx.client.base()));
    Ok(())
}

pub(super) async fn whoami(cx: &Context) -> Result {
    let me = cx.client.get("/admin/v1/me").send().await?;
    cx.out.one(&me, |me: &Value| {
        let mut card = Card::default();
        card.line("E-mail", &me["email"]).line("Name", &me["name"]).line("Permissions", &me["permissions"]);
        card.some("Awaiting confirmation", &me["permissions_pending"]);
        card.line("Id", &me["id"]).line("Organisation", &me["organisation_id"]).say("Service", cx.client.base());
        card
    })
}

pub(super) async fn password(cx: &Context, arguments: &Password) -> Result {
    let (current, new) = if arguments.password_stdin {
        let (current, new) = prompt::piped_passwords()?;
        (current, new.ok_or_else(|| Error::usage("--password-stdin: the second line has to be the new password."))?)
    } else {
        (cx.ask.password("Current password")?, cx.ask.new_password()?)
    };
    let answer = change(&cx.client, &current, &new).await?;
    cx.out.done(&answer, "Your password is changed.")
}
