//! `[issuer]`.

use serde::Deserialize;

/// What the embedded issuer is set to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether there is one. Without it, `[[auth.issuers]]` must name another.
    pub enabled: bool,
    /// Its name, the `iss` of its tokens: a URL that ends in a slash.
    pub url: String,
    /// Whom its tokens are for, the `aud`.
    pub audience: String,
    /// Life of a token, seconds.
    pub token_lifetime_s: u64,
    /// How long a signing key is used, days.
    pub rotation_days: u64,
    /// How long before its first use a key is published, seconds.
    pub publish_lead_s: u64,
    /// Token requests a minute from one address.
    pub address_requests_per_minute: u32,
    /// Tokens a minute for one client.
    pub client_tokens_per_minute: u32,
    /// Addresses, and clients, that are counted at once.
    pub limited_keys_max: u64,
    /// Largest token request, bytes.
    pub body_bytes_max: usize,
    /// Signatures made at once.
    pub signing_max: usize,
    /// Longest time that a request waits for its signature to be begun, milliseconds.
    pub signing_wait_ms: u64,
}

impl Config {
    /// # Errors
    /// Names the key and its value.
    pub fn check(&self) -> Result<(), String> {
        let is_url = self.url.starts_with("http://") || self.url.starts_with("https://");
        if !is_url || !self.url.ends_with('/') || self.url.contains(['?', '#', '@', ' ', '"']) {
            return Err(format!("issuer.url = \"{}\": an http(s) URL that ends in a slash is needed", self.url));
        }
        if self.audience.is_empty() {
            return Err("issuer.audience = \"\": name an audience".to_owned());
        }
        let rules = [
            ("token_lifetime_s", self.token_lifetime_s, 60, 86_400),
            ("rotation_days", self.rotation_days, 1, 3_650),
            ("publish_lead_s", self.publish_lead_s, 3_600, 43_200),
            ("address_requests_per_minute", self.address_requests_per_minute.into(), 1, 10_000_000),
            ("client_tokens_per_minute", self.client_tokens_per_minute.into(), 1, 10_000_000),
            ("limited_keys_max", self.limited_keys_max, 100, 10_000_000),
            ("body_bytes_max", self.body_bytes_max as u64, 512, 65_536),
            ("signing_max", self.signing_max as u64, 1, 256),
            ("signing_wait_ms", self.signing_wait_ms, 1, 30_000),
        ];
        for (key, value, low, high) in rules {
            if !(low..=high).contains(&value) {
                return Err(format!("issuer.{key} = {value}: allowed is {low} to {high}"));
            }
        }
        Ok(())
    }
}
