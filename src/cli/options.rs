//! What every command that talks to a service takes.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Url;

use super::error::{Error, Result};

const HEADING: &str = "Connection and output";
/// Where a service on this machine listens unless it was told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8081";

/// Options of every command that talks to a service.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The administrators' API. Left out: SENSORGATE_URL, or where you signed in last, or http://127.0.0.1:8081.
    #[arg(long, value_name = "URL", global = true, help_heading = HEADING)]
    pub(super) url: Option<String>,
    /// Allow http:// to another machine: passwords and tokens can then be read on the way.
    #[arg(long, global = true, help_heading = HEADING)]
    pub(super) insecure_http: bool,
    /// Form of the answer on standard output.
    #[arg(long, short, value_enum, value_name = "FORM", global = true, help_heading = HEADING, default_value_t)]
    pub(super) output: Form,
    /// Nothing on standard error but errors.
    #[arg(long, short, global = true, help_heading = HEADING)]
    pub(super) quiet: bool,
    /// Do not ask before something dangerous.
    #[arg(long, short, global = true, help_heading = HEADING)]
    pub(super) yes: bool,
}

/// A noun of the command line: what to do with it, and how to reach the service.
#[derive(Debug, Args)]
pub(crate) struct Noun<A: Subcommand> {
    #[command(flatten)]
    pub(super) options: Options,
    #[command(subcommand)]
    pub(super) action: A,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// The service's own JSON.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated, safe to open in a spreadsheet.
    Csv,
}

/// How much of a list.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Limit {
    /// At most so many items; pages are fetched as needed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Everything there is.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Limit {
    /// The number asked for; `default` where nothing was said, none for everything.
    pub(super) fn or(self, default: Option<usize>) -> Option<usize> {
        if self.all { None } else { self.limit.map(|limit| limit as usize).or(default) }
    }
}

/// The version that the caller has read.
#[derive(Debug, Clone, Args)]
pub(crate) struct Version {
    /// Only if it is still this version (the ETag; `version` in the JSON).
    #[arg(long, value_name = "ETAG")]
    pub(super) if_match: Option<String>,
}

/// The address to talk to. Plain HTTP stays on this machine unless `insecure_http`.
///
/// # Errors
/// When it is no address, or credentials would travel in the clear.
pub(super) fn address(given: Option<&str>, insecure_http: bool) -> Result<Url> {
    let text = given.unwrap_or(DEFAULT_URL);
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).map_err(|error| Error::usage(format!("--url {text}: {error}")))?;
    let is_credential_in_it = !url.username().is_empty() || url.password().is_some();
    if is_credential_in_it || url.query().is_some() || url.fragment().is_some() {
        return Err(Error::usage("--url: give scheme, host, port and path, and nothing else"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if insecure_http || is_loopback(&url) => Ok(url),
        "http" => Err(Error::usage(format!(
            "--url {text}: your password and token would travel in the clear. Use https://, an SSH tunnel, or \
             --insecure-http if the network is safe."
        ))),
        scheme => Err(Error::usage(format!("--url {text}: {scheme} is neither https nor http"))),
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_travel_in_the_clear() {
        for good in ["http://127.0.0.1:8081", "http://[::1]:8081/", "http://localhost", "https://gate.example.org/x"] {
            assert!(address(Some(good), false).is_ok(), "{good}");
        }
        let bad = [
            "http://gate.example.org",
            "http://10.0.0.1:8081",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
        ];
        for bad in bad {
            assert!(matches!(address(Some(bad), false), Err(Error::Usage(_))), "{bad}");
            assert!(address(Some(bad), true).is_ok(), "{bad}");
        }
        for never in ["ftp://127.0.0.1", "http://alice:secret@127.0.0.1", "https://h/?token=x", "https://"] {
            assert!(matches!(address(Some(never), true), Err(Error::Usage(_))), "{never}");
        }
        assert_eq!(address(Some("gate.example.org"), false).unwrap().scheme(), "https");
        assert_eq!(address(None, false).unwrap().as_str(), "http://127.0.0.1:8081/");
    }
}
