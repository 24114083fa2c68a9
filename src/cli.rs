//! The command line: what each subcommand takes, and how its answer is printed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    app::App,
    config::{self, Config},
    demo, telemetry,
};

/// Takes sensor readings from a grower's facility into a time-series store, durably and exactly once.
#[derive(Debug, Parser)]
#[command(name = "sensorgate", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the integration API and the administrators' API until SIGTERM or Ctrl-C.
    Serve {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        listeners: Listeners,
        /// Write the addresses in use to this file as JSON once all listeners are open.
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// The whole path on real greenhouse readings, with everything embedded.
    Demo {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        listeners: Listeners,
        /// End after the summary instead of serving on.
        #[arg(long)]
        once: bool,
    },
    /// Make an organisation with its first two administrators; their one-time passwords are printed once.
    Bootstrap {
        #[command(flatten)]
        common: Common,
        /// Name of the organisation.
        #[arg(long)]
        organisation: String,
        /// E-mail address of an administrator; give it twice, for two people.
        #[arg(long = "admin", value_name = "EMAIL", required = true)]
        admins: Vec<String>,
        /// Form of the answer on standard output.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Look at the configuration without starting anything.
    Config {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Print the OpenAPI 3.1 document of both APIs.
    Openapi,
    /// Print the AsyncAPI 3 document of the integration API over MQTT, with the limits of the configuration.
    Asyncapi {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum ConfigAction {
    /// Say whether the configuration is good; exit code 64 names the key if not.
    Check,
    /// Print the configuration in force, with every layer applied.
    Print,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Default, Args)]
struct Common {
    /// A TOML file that overrides the defaults key by key.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Directory of everything that must survive a restart.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
struct Listeners {
    /// Address of the integration API; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address of the integration API over MQTT; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    mqtt: Option<SocketAddr>,
    /// Address of the administrators' API; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
}

impl Arguments {
    /// The configuration that the arguments, the file and the environment make together.
    ///
    /// # Errors
    /// [`config::Error`], naming file, key and value.
    pub fn config(&self) -> Result<Config, config::Error> {
        let none = (Common::default(), Listeners::default());
        let (common, listeners) = match &self.command {
            Command::Serve { common, listeners, .. } | Command::Demo { common, listeners, .. } => (common, listeners),
            Command::Bootstrap { common, .. } | Command::Config { common, .. } | Command::Asyncapi { common } => {
                (common, &none.1)
            }
            Command::Openapi => (&none.0, &none.1),
        };
        let mut config = Config::load(common.config.as_deref(), config::environment())?;
        if let Some(data_dir) = &common.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        config.http.address = listeners.http.unwrap_or(config.http.address);
        config.mqtt.address = listeners.mqtt.or(config.mqtt.address);
        config.admin.address = listeners.admin.unwrap_or(config.admin.address);
        if matches!(self.command, Command::Demo { .. }) {
            let named = [listeners.http, listeners.mqtt, listeners.admin].map(|address| address.is_some());
            demo::avoid_taken_ports(&mut config, named);
        }
        Ok(config)
    }
}

/// Does what the arguments ask for.
///
/// # Errors
/// What went wrong, as a sentence with its causes.
pub fn run(arguments: Arguments, config: Config) -> Result<()> {
    telemetry::logging::install(&config.telemetry);
    match arguments.command {
        Command::Serve { ready_file, .. } => runtime()?.block_on(serve(&config, ready_file.as_deref())),
        Command::Demo { once, .. } => runtime()?.block_on(demo::run(config, once)),
        Command::Bootstrap { organisation, admins, output, .. } => {
            runtime()?.block_on(bootstrap(&config, &organisation, &admins, output))
        }
        Command::Config { action: ConfigAction::Check, .. } => {
            print("The configuration is good.");
            Ok(())
        }
        Command::Config { action: ConfigAction::Print, common } => {
            print(&config::effective(common.config.as_deref(), config::environment())?.to_string());
            Ok(())
        }
        Command::Openapi => {
            print(&crate::app::openapi_json());
            Ok(())
        }
        Command::Asyncapi { .. } => {
            print(&crate::app::asyncapi_json(&config, None));
            Ok(())
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")
}

async fn serve(config: &Config, ready_file: Option<&Path>) -> Result<()> {
    let app = App::start(config).await?;
    if let Some(path) = ready_file {
        app.write_ready_file(path)?;
    }
    app.warn_without_administrators().await?;
    app.run_until_signal().await
}

async fn bootstrap(config: &Config, organisation: &str, admins: &[String], output: Output) -> Result<()> {
    let [first, second] = admins else {
        anyhow::bail!("give --admin twice: an integration needs one administrator to ask and another to approve");
    };
    let made = crate::app::bootstrap(config, organisation, [("", first), ("", second)]).await?;
    if output == Output::Json {
        let admins: Vec<_> = made
            .admins
            .iter()
            .map(|(email, password)| serde_json::json!({"email": email, "one_time_password": password}))
            .collect();
        print(&serde_json::json!({"organisation_id": made.organisation_id, "admins": admins}).to_string());
        return Ok(());
    }
    print(&format!("Organisation {organisation} ({}) has two administrators.", made.organisation_id));
    print("Their one-time passwords are shown here once; each has to be changed at the first sign-in:");
    for (email, password) in &made.admins {
        print(&format!("  {email}  {password}"));
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the answer to the command that was given")]
fn print(text: &str) {
    println!("{text}");
}
