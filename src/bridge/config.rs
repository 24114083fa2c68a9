//! `[bridge]`: the broker, and how this node is a client of it.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::broker::Address;
use crate::model::topic;

/// Bytes that a packet has besides its payload: topic, credentials and other properties.
const PACKET_OVERHEAD_BYTES: u32 = 65_536;

/// The settings of cluster mode. Every key is described in `config/default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml describes each key, and tests/tidy.rs checks that it does")]
pub struct Config {
    pub enabled: bool,
    pub url: String,
    pub ca_file: PathBuf,
    pub username: String,
    pub password_file: PathBuf,
    pub client_id: String,
    pub share_group: String,
    pub topic_filter: String,
    pub leaving: bool,
    pub clean_start: bool,
    pub session_expiry_s: u32,
    pub keep_alive_s: u16,
    pub connect_timeout_ms: u64,
    pub reconnect_ms_min: u64,
    pub reconnect_ms_max: u64,
    pub receive_maximum: u16,
    pub body_bytes_max: u32,
    pub packet_bytes_max: u32,
    pub limit_wait_ms: u64,
    pub retry_ms: u64,
    pub hold_ms: u64,
    pub results_queue_bytes_max: u32,
    pub refusal_lines_per_minute: u32,
    pub stop_grace_ms: u64,
}

impl Config {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// The key and the value, for people; never a credential.
    pub fn check(&self) -> Result<(), String> {
        let packet_min = u64::from(self.body_bytes_max) + u64::from(PACKET_OVERHEAD_BYTES);
        let ranges: [(&str, u64, u64, u64); 14] = [
            ("session_expiry_s", self.session_expiry_s.into(), 0, u32::MAX.into()),
            ("keep_alive_s", self.keep_alive_s.into(), 5, 3_600),
            ("connect_timeout_ms", self.connect_timeout_ms, 100, 60_000),
            ("reconnect_ms_min", self.reconnect_ms_min, 10, 60_000),
            ("reconnect_ms_max", self.reconnect_ms_max, self.reconnect_ms_min, 600_000),
            ("receive_maximum", self.receive_maximum.into(), 1, 1_024),
            ("body_bytes_max", self.body_bytes_max.into(), 1_024, 64 << 20),
            ("packet_bytes_max", self.packet_bytes_max.into(), packet_min, 256 << 20),
            ("limit_wait_ms", self.limit_wait_ms, 0, 86_400_000),
            ("retry_ms", self.retry_ms, 10, 60_000),
            ("hold_ms", self.hold_ms, 0, 3_600_000),
            ("results_queue_bytes_max", self.results_queue_bytes_max.into(), 65_536, 1 << 30),
            ("refusal_lines_per_minute", self.refusal_lines_per_minute.into(), 1, 1_000_000),
            ("stop_grace_ms", self.stop_grace_ms, 0, 600_000),
        ];
        for (key, value, low, high) in ranges {
            if value < low || value > high {
                return Err(format!("bridge.{key} = {value} is not in {low} ..= {high}"));
            }
        }
        Address::parse(&self.url)?;
        if self.username.is_empty() && !self.password_file.as_os_str().is_empty() {
            return Err("bridge.password_file is set, so bridge.username must be, too".to_owned());
        }
        self.check_names()
    }

    fn check_names(&self) -> Result<(), String> {
        let is_plain = |text: &str| {
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let (group, client_id, filter) = (&self.share_group, &self.client_id, &self.topic_filter);
        if !is_plain(group) {
            return Err(format!("bridge.share_group = {group:?}: 1 to 64 letters, digits, hyphens, dots, underscores"));
        }
        if !client_id.is_empty() && !is_plain(client_id) {
            return Err(format!(
                "bridge.client_id = {client_id:?}: empty, or 1 to 64 letters, digits, hyphens, dots, underscores"
            ));
        }
        if filter != topic::ALL_READINGS && topic::owner_of_readings(filter).is_none() {
            return Err(format!(
                "bridge.topic_filter = {filter:?}: {}, or the same with one integration's id",
                topic::ALL_READINGS
            ));
        }
        if !self.clean_start && self.session_expiry_s == 0 {
            let why = "the broker would forget the session that is to be resumed; set clean_start = true with it";
            return Err(format!("bridge.session_expiry_s = 0: {why}"));
        }
        Ok(())
    }

    /// What the nodes subscribe to together.
    pub(super) fn filter(&self) -> String {
        format!("$share/{}/{}", self.share_group, self.topic_filter)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn reconnect_min(&self) -> Duration {
        Duration::from_millis(self.reconnect_ms_min)
    }

    pub(super) fn reconnect_max(&self) -> Duration {
        Duration::from_millis(self.reconnect_ms_max)
    }

    pub(super) fn limit_wait(&self) -> Duration {
        Duration::from_millis(self.limit_wait_ms)
    }

    pub(super) fn retry(&self) -> Duration {
        Duration::from_millis(self.retry_ms)
    }

    pub(super) fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms)
    }

    pub(super) fn stop_grace(&self) -> Duration {
        Duration::from_millis(self.stop_grace_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every refusal names the key; none repeats what may be a password.
    #[test]
    fn values_that_cannot_work_are_refused() {
        let check = |change: &dyn Fn(&mut Config)| {
            let mut config = super::super::tests::config();
            change(&mut config);
            config.check().err()
        };
        assert_eq!(check(&|_| {}), None);
        let refused = |key: &str, change: &dyn Fn(&mut Config)| {
            let message = check(change).unwrap_or_else(|| panic!("{key} is let through"));
            assert!(message.contains(key), "{message}");
            message
        };
        refused("receive_maximum", &|c| c.receive_maximum = 0);
        refused("packet_bytes_max", &|c| c.packet_bytes_max = c.body_bytes_max);
        refused("reconnect_ms_max", &|c| c.reconnect_ms_max = c.reconnect_ms_min - 1);
        refused("session_expiry_s", &|c| c.session_expiry_s = 0);
        refused("share_group", &|c| c.share_group = "a/b".to_owned());
        refused("client_id", &|c| c.client_id = "a b".to_owned());
        refused("username", &|c| c.password_file = "secret".into());
        for filter in ["#", "grq/v1/#", "grq/v1/+/results", "+/v1/+/readings", ""] {
            refused("topic_filter", &|c| c.topic_filter = filter.to_owned());
        }
        for url in ["", "127.0.0.1:1883", "http://x", "mqtt://", "mqtt://h:0", "mqtt://h:70000", "mqtt://h/path"] {
            refused("bridge.url", &|c| c.url = url.to_owned());
        }
        let message = refused("bridge.url", &|c| c.url = "mqtt://user:hunter2@broker".to_owned());
        assert!(!message.contains("hunter2"), "{message}");
    }
}
