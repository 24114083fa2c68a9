//! Whose tokens are believed, and how strictly: `[auth.tokens]` and `[[auth.issuers]]`.

use std::collections::HashSet;

use serde::Deserialize;

use crate::auth::jwks;

/// Strictness, cache and keys, for all issuers: `[auth.tokens]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How far the clocks of issuer and service may differ, seconds (S177).
    pub leeway_s: u64,
    /// Longest life of a token from `iat` to `exp`, seconds; leeway is added (S178).
    pub lifetime_max_s: u64,
    /// Whether tokens that live longer are refused (A21).
    pub lifetime_enforced: bool,
    /// Longest token, bytes.
    pub token_bytes_max: usize,
    /// Verified tokens kept in memory.
    pub cache_tokens_max: u64,
    /// Longest time that a verified token is kept, seconds.
    pub cache_ttl_max_s: u64,
    /// How issuers' keys are kept fresh.
    pub keys: jwks::Config,
}

impl Config {
    /// # Errors
    /// Names the key and its value.
    pub fn check(&self) -> Result<(), String> {
        let rules = [
            ("leeway_s", self.leeway_s, 0, 60),
            ("lifetime_max_s", self.lifetime_max_s, 60, 7 * 86_400),
            ("token_bytes_max", self.token_bytes_max as u64, 512, 8 * 1024),
            ("cache_tokens_max", self.cache_tokens_max, 0, 10_000_000),
            ("cache_ttl_max_s", self.cache_ttl_max_s, 1, 3_600),
        ];
        for (key, value, low, high) in rules {
            if !(low..=high).contains(&value) {
                return Err(format!("auth.tokens.{key} = {value}: allowed is {low} to {high}"));
            }
        }
        self.keys.check()
    }
}

/// A signature algorithm that may be trusted. Never HMAC: who can verify could sign.
#[allow(clippy::upper_case_acronyms, reason = "the names of RFC 7518")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
    /// RSA-PSS with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// Its name in `alg` (RFC 7518).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The `kty` of its keys.
    pub(in crate::auth) const fn key_type(self) -> &'static str {
        match self {
            Self::RS256 | Self::PS256 => "RSA",
            Self::ES256 => "EC",
            Self::EdDSA => "OKP",
        }
    }

    pub(super) const fn to_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// The shape of an issuer's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Auth0's default: the client in `azp`, `gty` is `client-credentials`. The embedded issuer's too.
    Auth0,
    /// RFC 9068: the client in `client_id`, the header's `typ` is `at+jwt`.
    Rfc9068,
}

/// One trusted issuer: `[[auth.issuers]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` claim, byte for byte: Auth0's ends in a slash.
    pub issuer: String,
    /// A token must be for one of these (`aud`).
    pub audiences: Vec<String>,
    /// The shape of its tokens.
    pub profile: Profile,
    /// Algorithms that its keys may be for. A key is pinned to one of them.
    #[serde(default = "rs256_only")]
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are; absent: found by OpenID Connect Discovery.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// Claims that name the client, in place of the profile's: the first one present counts, all present must agree.
    #[serde(default)]
    pub client_id_claims: Vec<String>,
    /// Whether `sub` must be the client as well (`client` or `client@clients`), which is how a client's own token is
    /// told from a person's. Only for an issuer with other subjects (Keycloak, Entra) set it to false, and give it an
    /// audience that no person's token has.
    #[serde(default = "yes")]
    pub subject_is_client: bool,
}

fn rs256_only() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

const fn yes() -> bool {
    true
}

impl IssuerConfig {
    /// The issuer in this process, whose tokens have Auth0's shape.
    #[must_use]
    pub fn embedded(issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audiences: vec![audience.to_owned()],
            profile: Profile::Auth0,
            algorithms: rs256_only(),
            jwks_url: None,
            client_id_claims: Vec::new(),
            subject_is_client: true,
        }
    }

    /// All configured issuers.
    ///
    /// # Errors
    /// Names the key and its value; also when two entries are for the same issuer.
    pub fn check_all(issuers: &[Self]) -> Result<(), String> {
        let mut names = HashSet::new();
        for issuer in issuers {
            issuer.check()?;
            if !names.insert(&issuer.issuer) {
                return Err(format!("auth.issuers: issuer = \"{}\" is given twice", issuer.issuer));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.issuer;
        let key_url = self.jwks_url.as_ref().unwrap_or(name);
        if name.is_empty() {
            return Err("auth.issuers: issuer = \"\": name an issuer".to_owned());
        }
        if let Err(error) = jwks::safe_url(key_url) {
            return Err(format!("auth.issuers \"{name}\": {error}"));
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(format!("auth.issuers \"{name}\": audiences = {:?}: name at least one", self.audiences));
        }
        if self.algorithms.is_empty() {
            return Err(format!("auth.issuers \"{name}\": algorithms = []: name at least one"));
        }
        if self.client_id_claims.iter().any(String::is_empty) {
            return Err(format!("auth.issuers \"{name}\": client_id_claims has an empty name"));
        }
        Ok(())
    }

    pub(super) fn client_claims(&self) -> Vec<String> {
        if !self.client_id_claims.is_empty() {
            return self.client_id_claims.clone();
        }
        match self.profile {
            Profile::Auth0 => vec!["azp".to_owned()],
            Profile::Rfc9068 => vec!["client_id".to_owned()],
        }
    }
}
