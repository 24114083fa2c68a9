//! Structured logs on standard error: one line an event, as text for people or JSON for machines.

use serde::Deserialize;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// `[telemetry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Levels by module, in the syntax of `tracing`'s filter.
    pub log_filter: String,
    /// Form of a line.
    pub log_format: LogFormat,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Whether the filter can be read.
    ///
    /// # Errors
    /// A sentence that names key and value.
    pub fn check(&self) -> Result<(), String> {
        EnvFilter::try_new(&self.log_filter)
            .map(|_| ())
            .map_err(|error| format!("telemetry.log_filter = {:?}: {error}", self.log_filter))
    }
}

/// Installs the process's logger. A second call changes nothing, so that tests may call it freely.
pub fn install(config: &Config) {
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(true);
    let installed = match config.log_format {
        LogFormat::Text => tracing_subscriber::registry().with(filter).with(layer.with_ansi(false)).try_init(),
        LogFormat::Json => tracing_subscriber::registry().with(filter).with(layer.json()).try_init(),
    };
    if installed.is_err() {
        tracing::debug!("A logger is installed already.");
    }
}
