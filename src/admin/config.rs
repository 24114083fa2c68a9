//! `[admin]`: the administrators' API.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::listener::TlsFiles;

/// Every key is described in `config/default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml describes each key, and tests/tidy.rs checks that it does")]
pub struct Config {
    pub address: SocketAddr,
    pub proxy_protocol: bool,
    pub body_bytes_max: usize,
    pub body_timeout_ms: u64,
    pub address_failures_per_minute: u32,
    pub account_failures_per_minute: u32,
    pub failing_max: u64,
    pub exports_max: usize,
    pub import_rows_max: usize,
    pub tls: TlsFiles,
}

impl Config {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// The key and the value, for people.
    pub fn check(&self) -> Result<(), String> {
        let ranges: [(&str, u64, std::ops::RangeInclusive<u64>); 7] = [
            ("body_bytes_max", self.body_bytes_max as u64, 65_536..=67_108_864),
            ("body_timeout_ms", self.body_timeout_ms, 10..=600_000),
            ("address_failures_per_minute", self.address_failures_per_minute.into(), 1..=1_000_000),
            ("account_failures_per_minute", self.account_failures_per_minute.into(), 1..=1_000_000),
            ("failing_max", self.failing_max, 1..=10_000_000),
            ("exports_max", self.exports_max as u64, 1..=256),
            ("import_rows_max", self.import_rows_max as u64, 1..=100_000),
        ];
        for (key, value, range) in ranges {
            if !range.contains(&value) {
                return Err(format!("admin.{key} = {value}: must be {} to {}", range.start(), range.end()));
            }
        }
        self.tls.check().map_err(|reason| format!("admin.{reason}"))
    }
}
