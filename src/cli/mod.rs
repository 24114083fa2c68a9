//! The command line: what each subcommand takes, how its answer is printed, and how the process ends.
//!
//! The commands in `local` work in this process, on a configuration and a data directory. All others are clients of
//! the administrators' API of a service that runs somewhere: one file a noun, over one client (`client.rs`), with one
//! way to print (`output.rs`), to ask (`prompt.rs`) and to fail (`error.rs`). They know of the service what its API
//! says, and import no room of it.

mod audit;
mod catalogue;
mod client;
mod completion;
mod context;
mod equipment;
mod error;
mod file;
mod find;
mod integrations;
mod local;
mod logs;
mod options;
mod output;
mod prompt;
mod quarantine;
mod readings;
mod review;
mod session;
mod state;
mod table;
mod users;
mod webhooks;
mod when;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use context::Context;
use error::Result;
use options::{Noun, Options};

/// Takes sensor readings from a grower's facility into a time-series store, durably and exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "sensorgate",
    version,
    about,
    after_help = "On the server: serve, demo, bootstrap, config, openapi, \
asyncapi. All others talk to a running service, after sensorgate login.

Exit codes of those: 0 done, 1 refused, 2 usage, 3 not signed in, 4 not found, 5 conflict, 6 cannot reach the service, \
7 done in part."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Local(local::Command),
    #[command(flatten)]
    Remote(Remote),
    /// Print the script that completes commands in your shell.
    Completion(completion::Completion),
    /// Print the manual page.
    Man(completion::Man),
}

/// The commands that talk to a service.
#[derive(Debug, Subcommand)]
enum Remote {
    /// Sign in to a service; the session is kept in a private file.
    Login(session::Login),
    /// End the session.
    Logout(session::Logout),
    /// Who you are to the service, and what you may do.
    Whoami(session::Whoami),
    /// Change your own password.
    Password(session::Password),
    /// Members of your organisation, and who of them is an administrator.
    #[command(visible_alias = "user", after_help = users::EXAMPLES)]
    Users(Noun<users::Action>),
    /// Partners' access: from request to revocation.
    #[command(visible_alias = "integration", after_help = integrations::EXAMPLES)]
    Integrations(Noun<integrations::Action>),
    /// What readings are of.
    #[command(after_help = equipment::EXAMPLES)]
    Equipment(Noun<equipment::Action>),
    /// Reading back.
    #[command(visible_alias = "reading", after_help = readings::EXAMPLES)]
    Readings(Noun<readings::Action>),
    /// Requests of the integration API, and why each was answered as it was.
    #[command(visible_alias = "log", after_help = logs::EXAMPLES)]
    Logs(Noun<logs::Action>),
    /// Where events of an integration are sent, and what came back.
    #[command(visible_alias = "webhook", after_help = webhooks::EXAMPLES)]
    Webhooks(Noun<webhooks::Action>),
    /// Readings that did not get into the store: looked at, sent again, let go.
    #[command(after_help = quarantine::EXAMPLES)]
    Quarantine(Noun<quarantine::Action>),
    /// Who did what, and the proof that the log is whole.
    #[command(after_help = audit::EXAMPLES)]
    Audit(Noun<audit::Action>),
    /// The quarterly access review.
    #[command(visible_alias = "reviews", after_help = review::EXAMPLES)]
    Review(Noun<review::Action>),
    /// The scopes that an integration can have.
    Scopes(catalogue::Arguments),
    /// The vendors that an integration can be of.
    Vendors(catalogue::Arguments),
    /// The types that equipment can be of.
    EquipmentTypes(catalogue::Arguments),
}

/// Does what the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Local(command) => return local::run(command),
        Command::Remote(command) => remote(&command),
        Command::Completion(shell) => completion::completion(Arguments::command(), &shell),
        Command::Man(man) => completion::man(Arguments::command(), &man),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            complain(&error.into());
            ExitCode::from(code)
        }
    }
}

fn remote(command: &Remote) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let cx = match command {
            Remote::Login(arguments) => return session::login(&Context::nobody(&arguments.options)?, arguments).await,
            Remote::Audit(noun) if let Some(verify) = noun.action.without_service() => {
                return local::proof::local(verify, &noun.options);
            }
            other => Context::signed_in(other.options())?,
        };
        cx.after(run(&cx, command).await)
    })
}

impl Remote {
    fn options(&self) -> &Options {
        match self {
            Self::Login(arguments) => &arguments.options,
            Self::Logout(arguments) => &arguments.options,
            Self::Whoami(arguments) => &arguments.options,
            Self::Password(arguments) => &arguments.options,
            Self::Users(noun) => &noun.options,
            Self::Integrations(noun) => &noun.options,
            Self::Equipment(noun) => &noun.options,
            Self::Readings(noun) => &noun.options,
            Self::Logs(noun) => &noun.options,
            Self::Webhooks(noun) => &noun.options,
            Self::Quarantine(noun) => &noun.options,
            Self::Audit(noun) => &noun.options,
            Self::Review(noun) => &noun.options,
            Self::Scopes(arguments) | Self::Vendors(arguments) | Self::EquipmentTypes(arguments) => &arguments.options,
        }
    }
}

async fn run(cx: &Context, command: &Remote) -> Result {
    match command {
        Remote::Login(arguments) => session::login(cx, arguments).await,
        Remote::Logout(_) => session::logout(cx).await,
        Remote::Whoami(_) => session::whoami(cx).await,
        Remote::Password(arguments) => session::password(cx, arguments).await,
        Remote::Users(noun) => users::run(cx, &noun.action).await,
        Remote::Integrations(noun) => integrations::run(cx, &noun.action).await,
        Remote::Equipment(noun) => equipment::run(cx, &noun.action).await,
        Remote::Readings(noun) => readings::run(cx, &noun.action).await,
        Remote::Logs(noun) => logs::run(cx, &noun.action).await,
        Remote::Webhooks(noun) => webhooks::run(cx, &noun.action).await,
        Remote::Quarantine(noun) => quarantine::run(cx, &noun.action).await,
        Remote::Audit(noun) => audit::run(cx, &noun.action).await,
        Remote::Review(noun) => review::run(cx, &noun.action).await,
        Remote::Scopes(_) => catalogue::scopes(cx).await,
        Remote::Vendors(_) => catalogue::vendors(cx).await,
        Remote::EquipmentTypes(_) => catalogue::equipment_types(cx).await,
    }
}

/// Writes the answer to the command that was given.
#[allow(clippy::print_stdout, reason = "the answer to the command that was given")]
fn print(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr, reason = "the last word of a program that could not do its work")]
fn complain(error: &anyhow::Error) {
    eprintln!("sensorgate: {error:#}");
}
