//! `[listener]`: the limits of every port.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;

/// The limits that all ports share; each port counts for itself. Every key is described in `config/default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml describes each key, and tests/tidy.rs checks that it does")]
pub struct Config {
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub first_byte_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub park_after_ms: u64,
    pub connection_age_max_s: u64,
    pub headers_max: usize,
    pub header_bytes_max: usize,
    pub buffer_bytes_max: usize,
    pub handshake_timeout_ms: u64,
    pub handshakes_max: usize,
    pub proxy_header_timeout_ms: u64,
    pub proxy_protocol_from: Vec<IpNet>,
    pub h2_streams_max: u32,
    pub h2_header_list_bytes_max: u32,
    pub h2_stream_window_bytes: u32,
    pub h2_connection_window_bytes: u32,
    pub h2_resets_pending_max: usize,
    pub h2_resets_local_max: usize,
    pub h2_ping_interval_s: u64,
    pub h2_ping_timeout_s: u64,
    pub shutdown_grace_ms: u64,
}

impl Config {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// The key and the value, for people.
    pub fn check(&self) -> Result<(), String> {
        let ranges: [(&str, u64, u64, u64); 21] = [
            ("connections_max", self.connections_max as u64, 1, 1_000_000),
            ("connections_per_address_max", self.connections_per_address_max as u64, 1, 1_000_000),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms, 10, 600_000),
            ("header_timeout_ms", self.header_timeout_ms, 10, 600_000),
            ("idle_timeout_ms", self.idle_timeout_ms, 10, 86_400_000),
            ("park_after_ms", self.park_after_ms, 10, self.header_timeout_ms.saturating_sub(1) / 2),
            ("headers_max", self.headers_max as u64, 8, 1_000),
            ("header_bytes_max", self.header_bytes_max as u64, 1_024, self.buffer_bytes_max as u64),
            ("buffer_bytes_max", self.buffer_bytes_max as u64, 8_192, 1_048_576),
            ("handshake_timeout_ms", self.handshake_timeout_ms, 10, 600_000),
            ("handshakes_max", self.handshakes_max as u64, 1, 1_000_000),
            ("proxy_header_timeout_ms", self.proxy_header_timeout_ms, 10, 600_000),
            ("h2_streams_max", u64::from(self.h2_streams_max), 1, 1_000),
            ("h2_header_list_bytes_max", u64::from(self.h2_header_list_bytes_max), 1_024, 1_048_576),
            ("h2_stream_window_bytes", u64::from(self.h2_stream_window_bytes), 65_535, 16_777_216),
            ("h2_connection_window_bytes", u64::from(self.h2_connection_window_bytes), 65_535, 67_108_864),
            ("h2_resets_pending_max", self.h2_resets_pending_max as u64, 1, 10_000),
            ("h2_resets_local_max", self.h2_resets_local_max as u64, 1, 100_000),
            ("shutdown_grace_ms", self.shutdown_grace_ms, 0, 600_000),
            ("h2_ping_interval_s", self.h2_ping_interval_s, 1, 3_600),
            ("h2_ping_timeout_s", self.h2_ping_timeout_s, 1, 3_600),
        ];
        for (key, value, low, high) in ranges {
            if value < low || value > high {
                return Err(format!("listener.{key} = {value} is not in {low} ..= {high}"));
            }
        }
        Ok(())
    }

    pub(super) fn first_byte_timeout(&self) -> Duration {
        Duration::from_millis(self.first_byte_timeout_ms)
    }

    pub(super) fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(super) fn park_after(&self) -> Duration {
        Duration::from_millis(self.park_after_ms)
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    pub(super) fn proxy_header_timeout(&self) -> Duration {
        Duration::from_millis(self.proxy_header_timeout_ms)
    }

    pub(super) fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}

/// `[<room>.tls]`: where a port's certificate comes from. Both paths empty: the port is plain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml describes each key, and tests/tidy.rs checks that it does")]
pub struct TlsFiles {
    pub certificate_file: PathBuf,
    pub private_key_file: PathBuf,
    pub reload_s: u64,
}

impl TlsFiles {
    /// Whether the port speaks TLS at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.certificate_file.as_os_str().is_empty()
    }

    /// Refuses half a pair.
    ///
    /// # Errors
    /// The key and the value, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.certificate_file.as_os_str().is_empty() != self.private_key_file.as_os_str().is_empty() {
            return Err("tls.certificate_file and tls.private_key_file: set both or neither".to_owned());
        }
        if !(1..=86_400).contains(&self.reload_s) {
            return Err(format!("tls.reload_s = {} is not in 1 ..= 86400", self.reload_s));
        }
        Ok(())
    }
}
