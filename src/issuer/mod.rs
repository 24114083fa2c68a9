//! The embedded token issuer: what an identity provider does for integrations, without one.
//!
//! It issues tokens of one hour by client credentials, in the shape of Auth0's, so that moving to Auth0 is a change of
//! the configuration. It owns its signing keys, their files and their rotation. Who its clients are it asks a
//! [`ClientDirectory`]; whether a token is believed is decided elsewhere, by the same verifier that judges every other
//! issuer's.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::model::ScopeSet;

mod answer;
mod config;
mod key;
mod key_ring;
mod limits;
mod router;
mod token_request;

pub use config::Config;
use key::SigningKey;
use key_ring::KeyRing;
use limits::Limits;
pub use router::{
    AddressOf, Client, ClientDirectory, DISCOVERY_PATH, DirectoryError, JWKS_PATH, LookingUp, TOKEN_PATH, router,
};

/// How long others may keep the published keys, seconds.
const JWKS_MAX_AGE_S: u64 = 300;
/// How often it is looked whether a key has to be made or retired.
const ROTATION_CHECK: Duration = Duration::from_secs(600);

/// What the issuer cannot do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of the keys cannot be made or read.
    #[error("cannot open the directory of the signing keys {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else may read a signing key: whoever did can make tokens.
    #[error("{} has mode {mode:o}: others than its owner may read the signing keys. Make it private \
             (chmod go= {}), and delete the key files if anybody may have read them: new keys are made at the next start",
            path.display(), path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file cannot be read.
    #[error("cannot read the signing key {}", path.display())]
    ReadKey {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key file is damaged, or not one of ours.
    #[error("{} is not a signing key of this issuer, or it is damaged", path.display())]
    ForeignKey {
        /// Which.
        path: PathBuf,
    },
    /// A key file cannot be written.
    #[error("cannot write the signing key {}", path.display())]
    WriteKey {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A retired key cannot be removed.
    #[error("cannot remove the retired signing key {}", path.display())]
    RemoveKey {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No key could be generated.
    #[error("cannot generate a signing key")]
    Generate,
    /// A token could not be signed.
    #[error("cannot sign a token")]
    Sign,
    /// More tokens are asked for than can be signed in time.
    #[error("too many tokens are being signed")]
    Busy,
}

/// A token as it is handed out. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The compact JWT.
    pub access_token: String,
    /// Its life, seconds.
    pub expires_in_s: u64,
    /// Its scopes, with blanks between.
    pub scope: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

/// The issuer. Shared behind an `Arc`.
pub struct Issuer {
    config: Config,
    dir: PathBuf,
    public_url: String,
    ring: ArcSwap<KeyRing>,
    /// One rotation at a time.
    rotating: Mutex<()>,
    signing: Arc<Semaphore>,
    limits: Limits,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("name", &self.config.url).field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Issuer {
    /// The issuer whose keys are in `dir`; the first start makes one. Blocks, for some tenths of a second then.
    /// `public_url` is where its paths are reached, when that is not its name (a test, a port picked by the system).
    ///
    /// # Errors
    /// [`Error`]; above all when others may read the keys.
    pub fn open(dir: &Path, config: &Config, public_url: Option<&str>, now_us: i64) -> Result<Self, Error> {
        let issuer = Self {
            ring: ArcSwap::from_pointee(KeyRing::open(dir, seconds(now_us))?),
            config: config.clone(),
            dir: dir.to_owned(),
            public_url: public_url.unwrap_or(&config.url).to_owned(),
            rotating: Mutex::new(()),
            signing: Arc::new(Semaphore::new(config.signing_max)),
            limits: Limits::new(config),
        };
        issuer.rotate(now_us)?;
        Ok(issuer)
    }

    /// The `iss` of its tokens.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.url
    }

    /// The `aud` of its tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.config.audience
    }

    /// Where its paths are reached.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Its public keys, a JWKS document (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        self.ring.load().jwks()
    }

    /// Makes the next key and retires former ones, as `now_us` (Unix microseconds) demands. Blocks. Returns whether
    /// anything changed.
    ///
    /// # Errors
    /// When a file cannot be written or removed; the keys in use stay.
    pub fn rotate(&self, now_us: i64) -> Result<bool, Error> {
        let _one_at_a_time = self.rotating.lock();
        let rotated = self.ring.load().rotated(&self.dir, &self.config, seconds(now_us))?;
        let changed = rotated.is_some();
        if let Some(ring) = rotated {
            self.ring.store(Arc::new(ring));
        }
        Ok(changed)
    }

    /// Rotates in time until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(ROTATION_CHECK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let issuer = self.clone();
            let now_us = jiff::Timestamp::now().as_microsecond();
            match tokio::task::spawn_blocking(move || issuer.rotate(now_us)).await {
                Ok(Ok(changed)) => tracing::debug!(changed, "signing keys looked after"),
                Ok(Err(error)) => {
                    let error: &(dyn std::error::Error + 'static) = &error;
                    tracing::error!(error, "signing keys not rotated; the present ones stay in use");
                }
                Err(error) => tracing::error!(%error, "the rotation of the signing keys broke off"),
            }
        }
    }

    /// A token for `client_id` with `scopes`, valid from `now_us` (Unix microseconds). Signs off the async threads.
    ///
    /// # Errors
    /// [`Error::Busy`] when the signature could not be begun in time, [`Error::Sign`].
    pub async fn issue(self: &Arc<Self>, client_id: &str, scopes: ScopeSet, now_us: i64) -> Result<Token, Error> {
        let wait = Duration::from_millis(self.config.signing_wait_ms);
        let permit = timeout(wait, self.signing.clone().acquire_owned()).await.ok().and_then(Result::ok);
        let permit = permit.ok_or(Error::Busy)?;
        let (issuer, client_id) = (self.clone(), client_id.to_owned());
        let signed = tokio::task::spawn_blocking(move || {
            // Held until the signature is made, also when nobody waits for it any more.
            let _permit = permit;
            issuer.sign(&client_id, scopes, now_us)
        });
        signed.await.unwrap_or(Err(Error::Sign))
    }

    /// As [`Self::issue`], on this thread.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn sign(&self, client_id: &str, scopes: ScopeSet, now_us: i64) -> Result<Token, Error> {
        let now_s = seconds(now_us);
        let key = self.ring.load().signing(now_s);
        let scope = scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ");
        let expires_in_s = self.config.token_lifetime_s;
        let mut claims = json!({
            "iss": self.config.url,
            "sub": format!("{client_id}@clients"),
            "aud": self.config.audience,
            "iat": now_s,
            "exp": now_s + expires_in_s,
            "gty": "client-credentials",
            "azp": client_id,
        });
        if !scope.is_empty() {
            claims["scope"] = scope.as_str().into();
        }
        Ok(Token { access_token: compact(&key, &claims)?, expires_in_s, scope })
    }
}

/// The compact JWS of `claims` (RFC 7515 §3.1).
fn compact(key: &SigningKey, claims: &serde_json::Value) -> Result<String, Error> {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key.kid});
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Unix seconds; a clock before 1970 counts as 1970.
fn seconds(now_us: i64) -> u64 {
    u64::try_from(now_us.div_euclid(1_000_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
