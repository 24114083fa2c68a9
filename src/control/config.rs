//! The room's section of the configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// `[control]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a statement waits for another process that holds the database, in milliseconds, 100 … 60,000.
    pub busy_timeout_ms: u64,
    /// Connections that read beside the one that writes, 1 … 64.
    pub read_connections: usize,
    /// Memory that hashing a password takes, in KiB, 8,192 … 1,048,576 (argon2id; OWASP: 19,456 with two passes).
    pub password_memory_kib: u32,
    /// Passes over that memory, 1 … 20.
    pub password_passes: u32,
    /// Lanes of argon2id, 1 … 16.
    pub password_lanes: u32,
    /// Passwords that are hashed at the same time, 1 … 64; others wait.
    pub password_hashes_at_once: usize,
    /// Seconds without a call after which an administrator's session ends, 120 … 86,400.
    pub session_idle_s: u64,
    /// Seconds after which an administrator's session ends whatever happens, 300 … 604,800.
    pub session_absolute_s: u64,
    /// Pieces of equipment that one integration may have, retired ones included, 1 … 10,000,000.
    pub equipment_per_integration_max: u32,
    /// Entries of an audit log after which a checkpoint is kept, 1 … 1,000,000.
    pub audit_checkpoint_entries: u64,
    /// Seconds after which a checkpoint of a log that has grown is kept, 60 … 604,800.
    pub audit_checkpoint_interval_s: u64,
    /// A second file that every checkpoint is written to, on a medium that cannot be rewritten; empty: none.
    pub audit_checkpoint_copy: PathBuf,
    /// Whether sensitive scopes added after the approval wait for a second administrator (A11). A key of the
    /// configuration, so that no administrator can switch it off.
    pub sensitive_scopes_need_two: bool,
    /// Whether a scope with personal or financial data is refused without a justification (S054, S055).
    pub justification_required: bool,
    /// Webhook subscriptions, their queues and logs.
    pub webhook: WebhookTerms,
}

/// What an organisation asks for beyond the rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) sensitive_scopes_need_two: bool,
    pub(super) justification_required: bool,
}

/// `[control.webhook]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookTerms {
    /// The file with the keys that signing secrets are encrypted with; empty: `webhook-keys` in the data directory.
    pub key_file: PathBuf,
    /// Subscriptions of one integration, 1 … 100.
    pub per_integration_max: u32,
    /// Deliveries that wait for one subscription, 1 … 100,000; later events are dropped and counted.
    pub queue_max: u32,
    /// Seconds that a delivery waits before it is given up, 3,600 … 31,536,000.
    pub queue_retention_s: u64,
    /// Seconds that the delivery log is kept, 86,400 … 315,360,000.
    pub log_retention_s: u64,
    /// Deliveries in the log of one subscription, 100 … 1,000,000; the oldest make room.
    pub log_rows_max: u32,
}

impl WebhookTerms {
    /// Where the keys are.
    pub(super) fn key_path(&self, data_dir: &Path) -> PathBuf {
        if self.key_file.as_os_str().is_empty() { data_dir.join("webhook-keys") } else { self.key_file.clone() }
    }
}

impl Config {
    pub(super) const fn policy(&self) -> Policy {
        Policy {
            sensitive_scopes_need_two: self.sensitive_scopes_need_two,
            justification_required: self.justification_required,
        }
    }

    /// Whether the values make sense; names the key and the value that does not.
    pub fn check(&self) -> Result<(), String> {
        let ranges: [(&str, u64, std::ops::RangeInclusive<u64>); 16] = [
            ("busy_timeout_ms", self.busy_timeout_ms, 100..=60_000),
            ("read_connections", self.read_connections as u64, 1..=64),
            ("password_memory_kib", self.password_memory_kib.into(), 8_192..=1_048_576),
            ("password_passes", self.password_passes.into(), 1..=20),
            ("password_lanes", self.password_lanes.into(), 1..=16),
            ("password_hashes_at_once", self.password_hashes_at_once as u64, 1..=64),
            ("session_idle_s", self.session_idle_s, 120..=86_400),
            ("session_absolute_s", self.session_absolute_s, 300..=604_800),
            ("equipment_per_integration_max", self.equipment_per_integration_max.into(), 1..=10_000_000),
            ("audit_checkpoint_entries", self.audit_checkpoint_entries, 1..=1_000_000),
            ("audit_checkpoint_interval_s", self.audit_checkpoint_interval_s, 60..=604_800),
            ("webhook.per_integration_max", self.webhook.per_integration_max.into(), 1..=100),
            ("webhook.queue_max", self.webhook.queue_max.into(), 1..=100_000),
            ("webhook.queue_retention_s", self.webhook.queue_retention_s, 3_600..=31_536_000),
            ("webhook.log_retention_s", self.webhook.log_retention_s, 86_400..=315_360_000),
            ("webhook.log_rows_max", self.webhook.log_rows_max.into(), 100..=1_000_000),
        ];
        for (key, value, range) in ranges {
            if !range.contains(&value) {
                return Err(format!("control.{key} = {value}: must be {} to {}", range.start(), range.end()));
            }
        }
        Ok(())
    }
}
