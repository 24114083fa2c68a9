//! `[webhook]`: sending to subscribers.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;

use crate::model::webhook::TargetRules;

/// Attempts that a schedule may have, at most.
const SCHEDULE_MAX: usize = 20;

/// Every key is described in `config/default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml describes each key, and tests/tidy.rs checks that it does")]
pub struct Config {
    pub enabled: bool,
    pub allow_private_targets: bool,
    pub allowed_networks: Vec<IpNet>,
    pub ports: Vec<u16>,
    pub ca_file: PathBuf,
    pub retry_after_s: Vec<u64>,
    pub retry_after_max_s: u64,
    pub failing_max_s: u64,
    pub connect_timeout_ms: u64,
    pub timeout_ms: u64,
    pub response_bytes_max: usize,
    pub response_kept_bytes: usize,
    pub per_target_max: usize,
    pub attempts_max: usize,
    pub poll_ms: u64,
    pub notice_ms: u64,
    pub notices_max: usize,
}

impl Config {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// The key and the value, for people.
    pub fn check(&self) -> Result<(), String> {
        let ranges: [(&str, u64, std::ops::RangeInclusive<u64>); 11] = [
            ("retry_after_max_s", self.retry_after_max_s, 1..=604_800),
            ("failing_max_s", self.failing_max_s, 60..=31_536_000),
            ("connect_timeout_ms", self.connect_timeout_ms, 10..=60_000),
            ("timeout_ms", self.timeout_ms, 100..=120_000),
            ("response_bytes_max", self.response_bytes_max as u64, 0..=1_048_576),
            ("response_kept_bytes", self.response_kept_bytes as u64, 0..=4_096),
            ("per_target_max", self.per_target_max as u64, 1..=16),
            ("attempts_max", self.attempts_max as u64, 1..=1_024),
            ("poll_ms", self.poll_ms, 10..=60_000),
            ("notice_ms", self.notice_ms, 100..=600_000),
            ("notices_max", self.notices_max as u64, 1..=100_000),
        ];
        for (key, value, range) in ranges {
            if !range.contains(&value) {
                return Err(format!("webhook.{key} = {value}: must be {} to {}", range.start(), range.end()));
            }
        }
        if self.retry_after_s.len() > SCHEDULE_MAX || self.retry_after_s.iter().any(|s| !(1..=604_800).contains(s)) {
            return Err(format!("webhook.retry_after_s = {:?}: at most 20 pauses of 1 to 604800", self.retry_after_s));
        }
        if !self.allow_private_targets && self.ports.is_empty() {
            return Err("webhook.ports = []: name at least one".to_owned());
        }
        Ok(())
    }

    /// Where may be sent to.
    #[must_use]
    pub fn rules(&self) -> TargetRules {
        TargetRules {
            allow_private: self.allow_private_targets,
            ports: self.ports.clone(),
            allowed_networks: self.allowed_networks.clone(),
        }
    }

    pub(super) const fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
