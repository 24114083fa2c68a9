//! `[auth]`.

use ipnet::IpNet;
use serde::Deserialize;

use super::jwt;

/// What the checks are set to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Failed attempts a minute from one address before it is shut out for a while.
    pub failures_per_minute: u32,
    /// Addresses that are remembered as shut out.
    pub failing_addresses_max: u64,
    /// Keys kept in the look-up cache.
    pub cached_keys_max: u64,
    /// How tokens are verified.
    pub tokens: jwt::Config,
    /// Issuers on the network whose tokens are believed, beside the embedded one.
    #[serde(default)]
    pub issuers: Vec<jwt::IssuerConfig>,
}

impl Config {
    /// Limits that make sense.
    ///
    /// # Errors
    /// A sentence that names key and value.
    pub fn check(&self) -> Result<(), String> {
        let limits = [
            ("failures_per_minute", u64::from(self.failures_per_minute)),
            ("failing_addresses_max", self.failing_addresses_max),
            ("cached_keys_max", self.cached_keys_max),
        ];
        if let Some((key, _)) = limits.iter().find(|(_, value)| *value == 0) {
            return Err(format!("auth.{key} = 0: must be at least 1"));
        }
        self.tokens.check()?;
        jwt::IssuerConfig::check_all(&self.issuers)
    }
}
