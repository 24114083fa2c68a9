//! Is this token genuine, for us, a client's own, and of now?
//!
//! The library verifies the signature with the one algorithm that the key is pinned to; everything it would let pass —
//! an absent issuer or audience, another type, unknown critical headers, a life without end — is refused here
//! (`research/security.md` §1.2). Nothing in a token chooses how it is verified, except for the name of the key.

use std::{collections::HashMap, fmt, path::Path, sync::Arc, time::Duration};

use jsonwebtoken::{Validation, errors::ErrorKind};
use serde::de::IgnoredAny;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::jwks::{self, IssuerKeys, KID_BYTES_MAX, Key, KeySource, KeysHealth};
use crate::{
    model::ClientKey,
    telemetry::{health::Health, metrics as names, task},
};

mod cache;
mod config;
mod error;
mod parts;

use cache::{TokenCache, TokenDigest};
pub use config::{Algorithm, Config, IssuerConfig, Profile};
pub use error::TokenError;
use parts::{Claims, Parts};

/// Why there is no [`Verifier`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two entries are for the same `iss`.
    #[error("the token issuer {issuer} is configured twice")]
    DuplicateIssuer {
        /// Which.
        issuer: String,
    },
    /// The keys of an issuer cannot be fetched from where they are said to be.
    #[error("the keys of the token issuer {issuer} cannot be had")]
    Keys {
        /// Which.
        issuer: String,
        /// Why.
        source: Box<jwks::Error>,
    },
}

/// An issuer whose tokens are believed, and where its keys come from.
pub struct TrustedIssuer {
    config: IssuerConfig,
    in_process: Option<Arc<dyn KeySource>>,
}

impl TrustedIssuer {
    /// An issuer on the network.
    #[must_use]
    pub const fn remote(config: IssuerConfig) -> Self {
        Self { config, in_process: None }
    }

    /// An issuer whose keys come from `source` without a network: the embedded one.
    #[must_use]
    pub const fn in_process(config: IssuerConfig, source: Arc<dyn KeySource>) -> Self {
        Self { config, in_process: Some(source) }
    }
}

impl fmt::Debug for TrustedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuer").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What a genuine token says. Only [`Verifier`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Whose it is: issuer and client together.
    pub client: ClientKey,
    /// The `sub` claim.
    pub subject: String,
    /// The `exp` claim, Unix seconds. Leeway is not included.
    pub expires_s: u64,
    scope: String,
    issuer: usize,
    kid: Box<str>,
    fingerprint: [u8; 32],
    remaining: Duration,
}

impl VerifiedToken {
    /// The words of its `scope` and `permissions`. They may be an hour old: what the integration may do stands in
    /// [`crate::model::IntegrationFacts::scopes`].
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split_ascii_whitespace()
    }

    fn remaining_when_verified(&self) -> Duration {
        self.remaining
    }
}

struct Issuer {
    config: IssuerConfig,
    client_claims: Vec<String>,
    validations: HashMap<Algorithm, Validation>,
    keys: Arc<IssuerKeys>,
}

/// Verifies tokens of all trusted issuers. Shared behind an `Arc`.
pub struct Verifier {
    config: Config,
    issuers: Vec<Issuer>,
    by_name: HashMap<String, usize>,
    cache: TokenCache,
    cached: metrics::Counter,
    verified: metrics::Counter,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("issuers", &self.by_name.keys()).finish_non_exhaustive()
    }
}

impl Verifier {
    /// For `issuers`, whose last good keys are kept in `saved_dir`. Reads those files; fetches nothing before
    /// [`Self::start`]. `health` hears of issuers without usable keys.
    ///
    /// # Errors
    /// [`Error`].
    pub fn new(
        config: &Config,
        issuers: Vec<TrustedIssuer>,
        saved_dir: Option<&Path>,
        health: Health,
    ) -> Result<Self, Error> {
        let health = KeysHealth::new(health);
        let mut by_name = HashMap::new();
        let mut trusted = Vec::with_capacity(issuers.len());
        for TrustedIssuer { config: issuer, in_process } in issuers {
            if by_name.insert(issuer.issuer.clone(), trusted.len()).is_some() {
                return Err(Error::DuplicateIssuer { issuer: issuer.issuer });
            }
            // Keys of this process outlive a restart anyway: their own room keeps them.
            let saved_dir = saved_dir.filter(|_| in_process.is_none());
            let source = match in_process {
                Some(source) => source,
                None => IssuerKeys::remote(&config.keys, &issuer.issuer, issuer.jwks_url.as_deref())
                    .map_err(|error| Error::Keys { issuer: issuer.issuer.clone(), source: Box::new(error) })?,
            };
            let (name, algorithms) = (&issuer.issuer, &issuer.algorithms);
            let keys = IssuerKeys::new(name, algorithms, &config.keys, source, saved_dir, health.clone());
            trusted.push(Issuer::new(issuer, keys));
        }
        let outcome = |name: &'static str| metrics::counter!(names::AUTH_TOKENS_TOTAL, "outcome" => name);
        Ok(Self {
            cache: cache::new(config.cache_tokens_max, Duration::from_secs(config.cache_ttl_max_s)),
            config: config.clone(),
            issuers: trusted,
            by_name,
            cached: outcome("cached"),
            verified: outcome("verified"),
        })
    }

    /// Starts to fetch the issuers' keys and keeps them fresh until `shutdown`.
    pub fn start(&self, shutdown: &CancellationToken) -> Vec<JoinHandle<()>> {
        let run = |issuer: &Issuer| task::spawn("issuer_keys", issuer.keys.clone().run(shutdown.clone()));
        self.issuers.iter().map(run).collect()
    }

    /// What the compact token says at `now_us` (Unix microseconds), when it is to be believed. A token seen before
    /// costs a digest and a look-up. One with an unknown key may wait for the issuer's keys for a set time.
    ///
    /// # Errors
    /// Why it is not to be believed. Refusals are not remembered.
    pub async fn verify(&self, token: &str, now_us: i64) -> Result<Arc<VerifiedToken>, TokenError> {
        if token.len() > self.config.token_bytes_max {
            return Err(self.refused(TokenError::TooLong));
        }
        let digest = TokenDigest::of(token);
        if let Some(known) = self.cache.get(&digest) {
            if self.has_ended(known.expires_s, now_us) {
                return Err(self.refused(TokenError::Expired));
            }
            let keys = &self.issuers[known.issuer].keys;
            if keys.still_has(&known.kid, &known.fingerprint, now_us) {
                self.cached.increment(1);
                return Ok(known);
            }
            self.cache.invalidate(&digest);
        }
        let verified = Arc::new(self.verify_anew(token, now_us).await.map_err(|error| self.refused(error))?);
        self.cache.insert(digest, verified.clone());
        self.verified.increment(1);
        Ok(verified)
    }

    fn refused(&self, error: TokenError) -> TokenError {
        metrics::counter!(names::AUTH_TOKENS_TOTAL, "outcome" => error.cause()).increment(1);
        error
    }

    async fn verify_anew(&self, token: &str, now_us: i64) -> Result<VerifiedToken, TokenError> {
        let Parts { header, claims } = Parts::parse(token)?;
        let name = claims.text("iss").map_err(|_| TokenError::WrongIssuer)?;
        let index = *self.by_name.get(name).ok_or(TokenError::WrongIssuer)?;
        let issuer = &self.issuers[index];
        let Some(algorithm) = issuer.config.algorithms.iter().copied().find(|a| a.as_str() == header.algorithm) else {
            return Err(TokenError::AlgorithmNotAllowed);
        };
        if !issuer.allows_type(header.kind.as_deref()) {
            return Err(TokenError::TypeNotAllowed);
        }
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        let key = issuer.key(&kid, now_us).await?;
        if key.algorithm != algorithm {
            return Err(TokenError::AlgorithmNotAllowed);
        }
        issuer.check_signature(token, &key)?;
        let (client_id, subject) = issuer.client(&claims)?;
        if !claims.is_for(&issuer.config.audiences)? {
            return Err(TokenError::WrongAudience);
        }
        let expires_s = self.check_times(&claims, now_us)?;
        Ok(VerifiedToken {
            client: ClientKey { issuer: name.to_owned(), client_id: client_id.to_owned() },
            subject: subject.to_owned(),
            expires_s,
            scope: claims.scope()?,
            issuer: index,
            kid: kid.into(),
            fingerprint: key.fingerprint,
            remaining: Duration::from_micros(self.end_us(expires_s).saturating_sub(now_us).unsigned_abs()),
        })
    }

    /// The first microsecond at which a token that expires at `expires_s` is refused.
    fn end_us(&self, expires_s: u64) -> i64 {
        micros(expires_s.saturating_add(self.config.leeway_s))
    }

    fn has_ended(&self, expires_s: u64, now_us: i64) -> bool {
        now_us >= self.end_us(expires_s)
    }

    /// Returns `exp`, Unix seconds.
    fn check_times(&self, claims: &Claims, now_us: i64) -> Result<u64, TokenError> {
        let expires_s = claims.moment_s("exp")?.ok_or(TokenError::MissingClaim("exp"))?;
        let issued_s = claims.moment_s("iat")?;
        let leeway_s = self.config.leeway_s;
        let starts_in_future = |moment_s: u64| micros(moment_s) > now_us.saturating_add(micros(leeway_s));
        if self.config.lifetime_enforced {
            let issued_s = issued_s.ok_or(TokenError::MissingClaim("iat"))?;
            if expires_s.saturating_sub(issued_s) > self.config.lifetime_max_s.saturating_add(leeway_s) {
                return Err(TokenError::LifetimeTooLong);
            }
        }
        if issued_s.is_some_and(|issued_s| issued_s > expires_s) {
            return Err(TokenError::InvalidClaim);
        }
        if self.has_ended(expires_s, now_us) {
            return Err(TokenError::Expired);
        }
        if issued_s.is_some_and(starts_in_future) {
            return Err(TokenError::IssuedInFuture);
        }
        if claims.moment_s("nbf")?.is_some_and(starts_in_future) {
            return Err(TokenError::NotYetValid);
        }
        Ok(expires_s)
    }
}

impl Issuer {
    fn new(config: IssuerConfig, keys: IssuerKeys) -> Self {
        let validations = config.algorithms.iter().map(|&algorithm| (algorithm, validation(&config, algorithm)));
        let validations = validations.collect();
        Self { client_claims: config.client_claims(), validations, keys: Arc::new(keys), config }
    }

    /// An access token, by its header: RFC 9068 insists on its own type, elsewhere it may say nothing.
    fn allows_type(&self, kind: Option<&str>) -> bool {
        match kind {
            Some("at+jwt" | "application/at+jwt") => true,
            None | Some("jwt") => self.config.profile == Profile::Auth0,
            Some(_) => false,
        }
    }

    async fn key(&self, kid: &str, now_us: i64) -> Result<Arc<Key>, TokenError> {
        let find = || self.keys.current(now_us).map(|set| set.find(kid).cloned());
        if let Some(Some(key)) = find() {
            return Ok(key);
        }
        self.keys.refreshed().await;
        find().ok_or(TokenError::KeysUnavailable)?.ok_or(TokenError::UnknownKey)
    }

    fn check_signature(&self, token: &str, key: &Key) -> Result<(), TokenError> {
        let validation = self.validations.get(&key.algorithm).ok_or(TokenError::AlgorithmNotAllowed)?;
        jsonwebtoken::decode::<IgnoredAny>(token, &key.decoding, validation).map(drop).map_err(|error| {
            match error.kind() {
                ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
                ErrorKind::InvalidAudience => TokenError::WrongAudience,
                ErrorKind::MissingRequiredClaim(name) => required(name),
                ErrorKind::InvalidAlgorithm => TokenError::AlgorithmNotAllowed,
                ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => {
                    TokenError::Malformed
                }
                _ => TokenError::BadSignature,
            }
        })
    }

    /// The client that the token belongs to, and its subject.
    fn client<'a>(&self, claims: &'a Claims) -> Result<(&'a str, &'a str), TokenError> {
        let subject = claims.text("sub")?;
        if self.config.profile == Profile::Auth0
            && claims.optional_text("gty")?.is_some_and(|grant| grant != "client-credentials")
        {
            return Err(TokenError::NotMachine);
        }
        let mut named = None;
        for claim in &self.client_claims {
            named = named.or(claims.optional_text(claim)?);
        }
        let client_id = named.ok_or(TokenError::MissingClaim("client id"))?;
        // A token that also names another client, in a claim that we were not told to read, is not to be trusted.
        for claim in self.client_claims.iter().map(String::as_str).chain(["azp", "client_id"]) {
            if claims.optional_text(claim)?.is_some_and(|other| other != client_id) {
                return Err(TokenError::ClientMismatch);
            }
        }
        let is_own = subject.strip_prefix(client_id).is_some_and(|rest| rest.is_empty() || rest == "@clients");
        if self.config.subject_is_client && !is_own {
            return Err(TokenError::NotMachine);
        }
        Ok((client_id, subject))
    }
}

/// One algorithm, one issuer, these audiences. The clock is not the library's affair: ours is given, and stricter.
fn validation(config: &IssuerConfig, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm.to_library());
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[&config.issuer]);
    validation.set_audience(&config.audiences);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

fn required(name: &str) -> TokenError {
    // The library does not tell an absent claim from one of the wrong type.
    TokenError::MissingClaim(match name {
        "exp" => "exp",
        "iss" => "iss",
        "aud" => "aud",
        _ => "sub",
    })
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

#[cfg(test)]
pub(in crate::auth) mod tests;
