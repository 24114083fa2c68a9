//! The configuration: embedded defaults, then one file, then the environment; checked as a whole before any port is
//! bound.
//!
//! Each room owns its own `Config`; this module only puts them together. It is the one place that reads the
//! environment.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value};

/// The defaults, which are at once the reference of every key.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");
/// Where data is kept unless something else is said.
pub const DEFAULT_DATA_DIR: &str = "data";
const ENV_PREFIX: &str = "SENSORGATE__";

/// Why the configuration was refused. Every message names the key and the value, or the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file given with `--config` could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin} is not valid TOML")]
    Syntax {
        /// File, or variable.
        origin: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key is unknown or its value has the wrong type.
    #[error("configuration key {key} = {value} is refused: {reason}")]
    Key {
        /// The dotted key.
        key: String,
        /// Its value as given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A room refused a value, or two values do not fit together.
    #[error("configuration is refused: {0}")]
    Check(String),
}

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where everything that must survive a restart is kept.
    pub data_dir: PathBuf,
    /// Connections of every port.
    pub listener: crate::listener::Config,
    /// The integration API.
    pub http: crate::http::Config,
    /// The integration API over MQTT.
    pub mqtt: crate::mqtt::Config,
    /// Cluster mode: the service as a client of an MQTT broker.
    pub bridge: crate::bridge::Config,
    /// Who is let in.
    pub auth: crate::auth::Config,
    /// The embedded token issuer.
    pub issuer: crate::issuer::Config,
    /// How a batch is judged.
    pub ingest: crate::ingest::Config,
    /// What may be measured.
    pub metrics: crate::ingest::MetricsConfig,
    /// Accepted batches on disk.
    pub spool: crate::spool::Config,
    /// Rejected readings that are kept.
    pub quarantine: crate::quarantine::Config,
    /// Where readings stay.
    pub store: crate::store::Config,
    /// From the spool to the store.
    pub delivery: crate::delivery::Config,
    /// The control plane's database.
    pub control: crate::control::Config,
    /// The API log.
    pub request_log: crate::request_log::Config,
    /// Sending to subscribers.
    pub webhook: crate::webhook::Config,
    /// The administrators' API.
    pub admin: crate::admin::Config,
    /// Logs.
    pub telemetry: crate::telemetry::logging::Config,
}

impl Config {
    /// Defaults, overridden by `file` and then by `env` (name and value of each variable).
    ///
    /// # Errors
    /// [`Error`], naming the file, key and value.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let config = Self::from_table(&effective(file, env)?)?;
        config.check()?;
        Ok(config)
    }

    fn from_table(table: &Table) -> Result<Self, Error> {
        serde_path_to_error::deserialize(table.clone()).map_err(|error| {
            let key = error.path().to_string();
            let value = lookup(table, &key).map_or_else(|| "(absent)".to_owned(), Value::to_string);
            Error::Key { value, reason: error.into_inner().message().to_owned(), key }
        })
    }

    /// Checks every room's own rules, and the rules between rooms.
    fn check(&self) -> Result<(), Error> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(Error::Check("data_dir = \"\": name a directory".to_owned()));
        }
        self.listener.check().map_err(Error::Check)?;
        self.http.check().map_err(Error::Check)?;
        self.mqtt.check().map_err(Error::Check)?;
        self.bridge.check().map_err(Error::Check)?;
        self.check_bodies().map_err(Error::Check)?;
        self.auth.check().map_err(Error::Check)?;
        self.issuer.check().map_err(Error::Check)?;
        self.check_issuers().map_err(Error::Check)?;
        self.ingest.check().map_err(Error::Check)?;
        crate::ingest::config::check_metrics(&self.metrics).map_err(Error::Check)?;
        self.spool.check().map_err(Error::Check)?;
        self.store.check().map_err(Error::Check)?;
        self.delivery.check().map_err(Error::Check)?;
        self.quarantine.check().map_err(Error::Check)?;
        self.control.check().map_err(Error::Check)?;
        self.request_log.check().map_err(Error::Check)?;
        self.webhook.check().map_err(Error::Check)?;
        self.admin.check().map_err(Error::Check)?;
        self.telemetry.check().map_err(Error::Check)
    }

    /// The largest body of each edge must fit into the bytes in flight.
    fn check_bodies(&self) -> Result<(), String> {
        let bodies = [
            ("http.body_bytes_max", self.http.body_bytes_max),
            ("mqtt.packet_bytes_max", self.mqtt.packet_bytes_max),
            ("bridge.body_bytes_max", self.bridge.body_bytes_max as usize),
        ];
        let most = usize::try_from(self.ingest.in_flight_bytes_max).unwrap_or(usize::MAX);
        match bodies.into_iter().find(|(_, value)| *value > most) {
            Some((key, value)) => Err(format!("{key} = {value} is more than ingest.in_flight_bytes_max")),
            None => Ok(()),
        }
    }

    /// The embedded issuer and the others must not contradict each other.
    fn check_issuers(&self) -> Result<(), String> {
        let (issuer, tokens) = (&self.issuer, &self.auth.tokens);
        if !issuer.enabled {
            let nobody = self.auth.issuers.is_empty();
            return if nobody {
                Err("issuer.enabled = false: then auth.issuers must name one".to_owned())
            } else {
                Ok(())
            };
        }
        if self.auth.issuers.iter().any(|other| other.issuer == issuer.url) {
            return Err(format!("auth.issuers: issuer = \"{}\" is the embedded one (issuer.url)", issuer.url));
        }
        if tokens.lifetime_enforced && issuer.token_lifetime_s > tokens.lifetime_max_s {
            let (ours, most) = (issuer.token_lifetime_s, tokens.lifetime_max_s);
            return Err(format!("issuer.token_lifetime_s = {ours}: more than auth.tokens.lifetime_max_s = {most}"));
        }
        Ok(())
    }
}

/// The environment of this process, for [`Config::load`].
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The merged table, as `config print` shows it.
///
/// # Errors
/// When the file or a variable cannot be read.
pub fn effective(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Table, Error> {
    let mut table = parse("the embedded default.toml", DEFAULT_TOML)?;
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        merge(&mut table, parse(&path.display().to_string(), &text)?);
    }
    for (name, text) in env {
        if let Some(rest) = name.strip_prefix(ENV_PREFIX) {
            let keys: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
            merge(&mut table, nest(&keys, env_value(&text)));
        }
    }
    Ok(table)
}

fn parse(origin: &str, text: &str) -> Result<Table, Error> {
    text.parse().map_err(|source| Error::Syntax { origin: origin.to_owned(), source: Box::new(source) })
}

/// Tables are merged key by key; everything else, arrays too, is replaced.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn nest(keys: &[String], value: Value) -> Table {
    let (first, rest) = keys.split_first().expect("split gives at least one part");
    let inner = if rest.is_empty() { value } else { Value::Table(nest(rest, value)) };
    Table::from_iter([(first.clone(), inner)])
}

/// A variable's text as the TOML value it spells (`5`, `true`, `["a"]`), otherwise as a string.
fn env_value(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .filter(|value| !value.is_datetime())
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.').map(|part| part.split('[').next().unwrap_or(part));
    let mut value = table.get(parts.next()?)?;
    for part in parts {
        value = value.get(part)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests;
