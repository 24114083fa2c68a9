//! `[http]`: the port of the integration API.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

use crate::listener::TlsFiles;

/// The settings of the integration API. Every key is described in `config/default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml describes each key, and tests/tidy.rs checks that it does")]
pub struct Config {
    pub address: SocketAddr,
    pub public_url: String,
    pub proxy_protocol: bool,
    pub body_bytes_max: usize,
    pub compressed_bytes_max: usize,
    pub public_body_bytes_max: usize,
    pub body_timeout_ms: u64,
    pub capacity_wait_ms: u64,
    pub integration_bytes_max: usize,
    pub idempotency_entries_max: usize,
    pub idempotency_bytes_max: usize,
    pub tls: TlsFiles,
}

impl Config {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// The key and the value, for people.
    pub fn check(&self) -> Result<(), String> {
        let ranges: [(&str, u64, u64, u64); 8] = [
            ("body_bytes_max", self.body_bytes_max as u64, 1_024, 64 << 20),
            ("compressed_bytes_max", self.compressed_bytes_max as u64, 1_024, 64 << 20),
            ("public_body_bytes_max", self.public_body_bytes_max as u64, 1_024, 1 << 20),
            ("body_timeout_ms", self.body_timeout_ms, 10, 600_000),
            ("capacity_wait_ms", self.capacity_wait_ms, 0, 60_000),
            ("integration_bytes_max", self.integration_bytes_max as u64, self.body_bytes_max as u64, 1 << 32),
            ("idempotency_entries_max", self.idempotency_entries_max as u64, 1, 10_000_000),
            ("idempotency_bytes_max", self.idempotency_bytes_max as u64, 1 << 20, 1 << 32),
        ];
        for (key, value, low, high) in ranges {
            if value < low || value > high {
                return Err(format!("http.{key} = {value} is not in {low} ..= {high}"));
            }
        }
        let url = &self.public_url;
        let is_url = url.starts_with("https://") || url.starts_with("http://");
        if !is_url && !url.is_empty() {
            return Err(format!("http.public_url = {url:?} is neither empty nor an http(s) URL"));
        }
        self.tls.check().map_err(|reason| format!("http.{reason}"))
    }

    pub(super) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(super) fn capacity_wait(&self) -> Duration {
        Duration::from_millis(self.capacity_wait_ms)
    }
}
