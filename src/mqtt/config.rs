//! `[mqtt]`: the ports of the integration API over MQTT, and their limits.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use crate::listener::TlsFiles;

/// The settings of the MQTT edge. Every key is described in `config/default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml describes each key, and tests/tidy.rs checks that it does")]
pub struct Config {
    pub enabled: bool,
    #[serde(deserialize_with = "address")]
    pub address: Option<SocketAddr>,
    #[serde(deserialize_with = "address")]
    pub tls_address: Option<SocketAddr>,
    #[serde(deserialize_with = "address")]
    pub websocket_address: Option<SocketAddr>,
    pub websocket_tls: bool,
    pub proxy_protocol: bool,
    pub connecting_max: usize,
    pub connect_timeout_ms: u64,
    pub connect_bytes_max: usize,
    pub client_id_bytes_max: usize,
    pub packet_bytes_max: usize,
    pub packet_timeout_ms: u64,
    pub receive_maximum: u16,
    pub keep_alive_max_s: u16,
    pub idle_timeout_s: u64,
    pub sessions_per_integration_max: usize,
    pub connects_per_minute: u32,
    pub integration_bytes_max: usize,
    pub rate_wait_ms: u64,
    pub hold_ms: u64,
    pub subscriptions_max: usize,
    pub results_queue_max: usize,
    pub results_unacked_max: usize,
    pub results_bytes_max: usize,
    pub unsent_bytes_max: usize,
    pub unsent_timeout_ms: u64,
    pub close_timeout_ms: u64,
    pub tls: TlsFiles,
}

/// An address, or an empty text for a port that is not served.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
}

impl Config {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// The key and the value, for people.
    pub fn check(&self) -> Result<(), String> {
        let ranges: [(&str, u64, u64, u64); 21] = [
            ("connecting_max", self.connecting_max as u64, 1, 1_000_000),
            ("connect_timeout_ms", self.connect_timeout_ms, 10, 600_000),
            ("connect_bytes_max", self.connect_bytes_max as u64, 1_024, 131_072),
            ("client_id_bytes_max", self.client_id_bytes_max as u64, 23, 65_535),
            ("packet_bytes_max", self.packet_bytes_max as u64, 262_144, 64 << 20),
            ("packet_timeout_ms", self.packet_timeout_ms, 10, 600_000),
            ("receive_maximum", u64::from(self.receive_maximum), 8, 32),
            ("keep_alive_max_s", u64::from(self.keep_alive_max_s), 5, 65_535),
            ("idle_timeout_s", self.idle_timeout_s, 5, 604_800),
            ("sessions_per_integration_max", self.sessions_per_integration_max as u64, 1, 1_000_000),
            ("connects_per_minute", u64::from(self.connects_per_minute), 1, 60_000_000),
            ("integration_bytes_max", self.integration_bytes_max as u64, self.packet_bytes_max as u64, 1 << 31),
            ("rate_wait_ms", self.rate_wait_ms, 0, 2_000),
            ("hold_ms", self.hold_ms, 0, 600_000),
            ("subscriptions_max", self.subscriptions_max as u64, 1, 64),
            ("results_queue_max", self.results_queue_max as u64, 1, 10_000),
            ("results_unacked_max", self.results_unacked_max as u64, 1, 10_000),
            ("results_bytes_max", self.results_bytes_max as u64, 1 << 20, 1 << 31),
            ("unsent_bytes_max", self.unsent_bytes_max as u64, 16_384, 16 << 20),
            ("unsent_timeout_ms", self.unsent_timeout_ms, 10, 600_000),
            ("close_timeout_ms", self.close_timeout_ms, 0, 1_000),
        ];
        for (key, value, low, high) in ranges {
            if value < low || value > high {
                return Err(format!("mqtt.{key} = {value} is not in {low} ..= {high}"));
            }
        }
        let needs_tls = self.tls_address.is_some() || (self.websocket_tls && self.websocket_address.is_some());
        if needs_tls && !self.tls.is_set() {
            return Err("mqtt.tls_address or mqtt.websocket_tls is set: then mqtt.tls names a certificate".to_owned());
        }
        self.tls.check().map_err(|reason| format!("mqtt.{reason}"))
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn packet_timeout(&self) -> Duration {
        Duration::from_millis(self.packet_timeout_ms)
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_s)
    }

    pub(super) fn rate_wait(&self) -> Duration {
        Duration::from_millis(self.rate_wait_ms)
    }

    pub(super) fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms)
    }

    pub(super) fn unsent_timeout(&self) -> Duration {
        Duration::from_millis(self.unsent_timeout_ms)
    }

    pub(super) fn close_timeout(&self) -> Duration {
        Duration::from_millis(self.close_timeout_ms)
    }
}
