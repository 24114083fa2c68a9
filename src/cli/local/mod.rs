//! The commands that work on this machine: they read the configuration, and serve or touch the data directory.
//!
//! One file a noun; each has what the command takes (`Arguments`) and what it does (`run`).

mod asyncapi;
mod bootstrap;
mod break_glass;
mod config;
mod demo;
mod openapi;
pub(super) mod proof;
mod serve;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    cli::{complain, print},
    config::Config,
    telemetry,
};

/// Bad arguments or a bad configuration (sysexits' EX_USAGE): nothing was started.
const EXIT_USAGE: u8 = 64;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the integration API and the administrators' API until SIGTERM or Ctrl-C.
    Serve(serve::Arguments),
    /// The whole path on real greenhouse readings, with everything embedded.
    Demo(demo::Arguments),
    /// Make an organisation with its first two administrators; their one-time passwords are printed once.
    Bootstrap(bootstrap::Arguments),
    /// Confirm an administrator's permission without a second holder, where none is left. Loud in the audit log.
    BreakGlass(break_glass::Arguments),
    /// Look at the configuration without starting anything.
    Config(config::Arguments),
    /// Print the OpenAPI 3.1 document of one of the two APIs.
    Openapi(openapi::Arguments),
    /// Print the AsyncAPI 3 document of the integration API over MQTT, with the limits of the configuration.
    Asyncapi(asyncapi::Arguments),
}

/// Form of an answer on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What every command with a configuration takes.
#[derive(Debug, Default, Args)]
struct Common {
    /// A TOML file that overrides the defaults key by key.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Directory of everything that must survive a restart.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl Common {
    /// The configuration that the arguments, the file and the environment make together.
    fn load(&self) -> Result<Config, crate::config::Error> {
        let mut config = Config::load(self.config.as_deref(), crate::config::environment())?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        Ok(config)
    }
}

/// The addresses of a command that serves.
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

impl Listeners {
    fn apply_to(&self, config: &mut Config) {
        config.http.address = self.http.unwrap_or(config.http.address);
        config.mqtt.address = self.mqtt.or(config.mqtt.address);
        config.admin.address = self.admin.unwrap_or(config.admin.address);
    }
}

impl Command {
    /// The configuration that the arguments, the file and the environment make together.
    fn config(&self) -> Result<Config, crate::config::Error> {
        match self {
            Self::Serve(arguments) => arguments.config(),
            Self::Demo(arguments) => arguments.config(),
            Self::Bootstrap(bootstrap::Arguments { common, .. })
            | Self::BreakGlass(break_glass::Arguments { common, .. })
            | Self::Config(config::Arguments { common, .. })
            | Self::Asyncapi(asyncapi::Arguments { common }) => common.load(),
            Self::Openapi(_) => Common::default().load(),
        }
    }
}

/// Does what the arguments ask for. The configuration is checked before anything else happens.
pub(super) fn run(command: Command) -> ExitCode {
    let config = match command.config() {
        Ok(config) => config,
        Err(error) => {
            complain(&error.into());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    telemetry::logging::install(&config.telemetry);
    let outcome = match command {
        Command::Serve(arguments) => serve::run(&arguments, &config),
        Command::Demo(arguments) => demo::run(&arguments, config),
        Command::Bootstrap(arguments) => bootstrap::run(&arguments, &config),
        Command::BreakGlass(arguments) => break_glass::run(&arguments, &config),
        Command::Config(arguments) => config::run(&arguments),
        Command::Openapi(arguments) => {
            print(&openapi::document(&arguments));
            Ok(())
        }
        Command::Asyncapi(_) => {
            print(&crate::app::asyncapi_json(&config, None));
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")
}
