//! The public keys of a token issuer, kept fresh in the background.
//!
//! One task per issuer fetches: at start with back-off, then by period with jitter, and early when a token names a key
//! that is not known — at most once in a set time, however many such tokens come, since anybody can make one up. The
//! last good set stays in use while the issuer is down, up to a set age, and outlives a restart on disk.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::jwt::Algorithm;
use crate::telemetry::{health::Health, metrics as names};

mod key_set;
mod saved;
mod source;

pub(super) use key_set::{KID_BYTES_MAX, Key, KeySet};
use saved::Saved;
pub(super) use source::safe_url;
pub use source::{Fetching, InProcess, KeySource};
use source::{Remote, http_client};

const HEALTH: &str = "token_keys";
/// First pause after a failed fetch while there are no keys at all; doubled up to the minimum interval.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// Why the keys of an issuer could not be fetched. For the log only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client could not be made.
    #[error("cannot set up the client that fetches issuers' keys")]
    Client(#[source] reqwest::Error),
    /// Keys are fetched over https, or over http from this machine's loopback.
    #[error("{url} is no address to fetch keys from: https, or http on loopback, without user name and fragment")]
    UnsafeUrl {
        /// The address.
        url: String,
    },
    /// No connection, no TLS, or no answer.
    #[error("cannot fetch the issuer's document")]
    Fetch {
        /// Why.
        source: reqwest::Error,
    },
    /// The whole fetch took too long.
    #[error("the issuer did not answer in time")]
    Timeout,
    /// An answer other than 200; redirects are not followed.
    #[error("the issuer answered with status {status}")]
    Status {
        /// Its status.
        status: u16,
    },
    /// More than 256 KiB.
    #[error("the issuer's document is too large")]
    TooLarge,
    /// The discovery document is no JSON object with `issuer` and `jwks_uri`.
    #[error("the discovery document cannot be read")]
    DiscoveryDocument(#[source] serde_json::Error),
    /// Discovery must name the very issuer that was asked for.
    #[error("the discovery document is of another issuer: {found}")]
    DiscoveryIssuer {
        /// The issuer named there.
        found: String,
    },
    /// The key set is no JSON object with `keys`.
    #[error("the key set cannot be read")]
    Document(#[source] serde_json::Error),
    /// More keys than any honest issuer has.
    #[error("the key set has {count} keys")]
    TooManyKeys {
        /// How many.
        count: usize,
    },
    /// Not one signing key of a trusted algorithm with a name of its own.
    #[error("the key set has no usable key")]
    NoUsableKey,
}

/// How keys are kept: `[auth.tokens.keys]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Period of the refresh, seconds; 10 % of jitter is added.
    pub refresh_s: u64,
    /// Least time between two fetches for the sake of an unknown key, seconds (S186).
    pub refresh_min_s: u64,
    /// Longest time of one fetch, milliseconds.
    pub fetch_timeout_ms: u64,
    /// Longest time that a request waits for a fetch under way, milliseconds.
    pub wait_ms: u64,
    /// Age at which keys that the issuer no longer confirmed are not used any more, seconds.
    pub stale_max_s: u64,
}

impl Config {
    /// # Errors
    /// Names the key and its value.
    pub fn check(&self) -> Result<(), String> {
        let rules = [
            ("refresh_s", self.refresh_s, 10, 86_400),
            ("refresh_min_s", self.refresh_min_s, 1, 3_600),
            ("fetch_timeout_ms", self.fetch_timeout_ms, 100, 60_000),
            ("wait_ms", self.wait_ms, 0, 10_000),
            ("stale_max_s", self.stale_max_s, self.refresh_s.max(60), 30 * 86_400),
        ];
        for (key, value, low, high) in rules {
            if !(low..=high).contains(&value) {
                return Err(format!("auth.tokens.keys.{key} = {value}: allowed is {low} to {high}"));
            }
        }
        Ok(())
    }

    fn fetch_timeout(&self) -> Duration {
        Duration::from_millis(self.fetch_timeout_ms)
    }

    fn refresh_min(&self) -> Duration {
        Duration::from_secs(self.refresh_min_s)
    }
}

/// Tells the health board about all issuers as one component.
#[derive(Debug, Clone)]
pub(super) struct KeysHealth {
    health: Health,
    complaints: Arc<Mutex<BTreeMap<String, String>>>,
}

impl KeysHealth {
    pub(super) fn new(health: Health) -> Self {
        Self { health, complaints: Arc::default() }
    }

    fn set(&self, issuer: &str, state: Result<(), &str>) {
        let mut complaints = self.complaints.lock();
        match state {
            Ok(()) => complaints.remove(issuer),
            Err(reason) => complaints.insert(issuer.to_owned(), reason.to_owned()),
        };
        let all: Vec<_> = complaints.iter().map(|(issuer, reason)| format!("{issuer}: {reason}")).collect();
        self.health.set(HEALTH, if all.is_empty() { Ok(()) } else { Err(all.join("; ")) });
    }
}

#[derive(Debug, Default)]
struct Attempts {
    started: Option<Instant>,
    in_flight: bool,
    wanted: bool,
}

/// The keys of one issuer.
pub(super) struct IssuerKeys {
    issuer: String,
    algorithms: Vec<Algorithm>,
    config: Config,
    source: Arc<dyn KeySource>,
    saved: Option<Saved>,
    current: ArcSwapOption<KeySet>,
    attempts: Mutex<Attempts>,
    wanted: Notify,
    rounds: watch::Sender<u64>,
    health: KeysHealth,
}

impl std::fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuerKeys").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl IssuerKeys {
    /// The keys of `issuer` from `source`, and until the first fetch the saved ones in `saved_dir`. Reads that file.
    pub(super) fn new(
        issuer: &str,
        algorithms: &[Algorithm],
        config: &Config,
        source: Arc<dyn KeySource>,
        saved_dir: Option<&Path>,
        health: KeysHealth,
    ) -> Self {
        let keys = Self {
            issuer: issuer.to_owned(),
            algorithms: algorithms.to_vec(),
            config: config.clone(),
            source,
            saved: saved_dir.map(|dir| Saved::new(dir, issuer)),
            current: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
            health,
        };
        keys.load_saved();
        keys.report(now_us());
        keys
    }

    /// A source on the network.
    ///
    /// # Errors
    /// When the address is not fit, or the client cannot be made.
    pub(super) fn remote(config: &Config, issuer: &str, jwks_url: Option<&str>) -> Result<Arc<dyn KeySource>, Error> {
        Ok(Arc::new(Remote::new(http_client(config)?, issuer, jwks_url)?))
    }

    /// The keys that may be used at `now_us` (Unix microseconds): none before the first fetch, and none when the
    /// issuer has not confirmed them for too long.
    pub(super) fn current(&self, now_us: i64) -> Option<Arc<KeySet>> {
        self.current.load_full().filter(|set| self.is_fresh(set, now_us))
    }

    /// Whether `kid` still names the key with `fingerprint`. Neither waits nor allocates.
    pub(super) fn still_has(&self, kid: &str, fingerprint: &[u8; 32], now_us: i64) -> bool {
        self.current.load().as_ref().is_some_and(|set| {
            self.is_fresh(set, now_us) && set.find(kid).is_some_and(|key| key.fingerprint == *fingerprint)
        })
    }

    fn is_fresh(&self, set: &KeySet, now_us: i64) -> bool {
        let stale_max_us = i64::try_from(self.config.stale_max_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        now_us.saturating_sub(set.fetched_at_us) < stale_max_us
    }

    /// A token needs keys that are not here. Asks for a fetch and waits for it, unless one has to wait for its turn:
    /// then the token is judged by the keys at hand, and the fetch comes as soon as it may.
    pub(super) async fn refreshed(&self) {
        let mut rounds = self.rounds.subscribe();
        let wait = {
            let mut attempts = self.attempts.lock();
            let due = attempts.started.is_none_or(|started| started.elapsed() >= self.config.refresh_min());
            if !attempts.in_flight && !attempts.wanted {
                attempts.wanted = true;
                self.wanted.notify_one();
            }
            attempts.in_flight || due
        };
        if wait {
            // Out of time: the keys at hand decide.
            let _elapsed = timeout(Duration::from_millis(self.config.wait_ms), rounds.changed()).await;
        }
    }

    /// Keeps the keys fresh until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut failures = 0u32;
        loop {
            let fetched = tokio::select! {
                fetched = self.attempt() => fetched,
                () = shutdown.cancelled() => return,
            };
            failures = self.note(fetched, failures);
            let next = Instant::now() + self.pause(failures);
            loop {
                let at = self.wanted_at().map_or(next, |wanted| wanted.min(next));
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = sleep_until(at) => break,
                    () = self.wanted.notified() => {}
                }
            }
        }
    }

    /// When the fetch that a token asked for may start.
    fn wanted_at(&self) -> Option<Instant> {
        let attempts = self.attempts.lock();
        attempts.wanted.then(|| attempts.started.map_or_else(Instant::now, |at| at + self.config.refresh_min()))
    }

    fn pause(&self, failures: u32) -> Duration {
        let refresh_min = self.config.refresh_min();
        let base = if failures == 0 {
            Duration::from_secs(self.config.refresh_s)
        } else if self.current(now_us()).is_some() {
            refresh_min
        } else {
            BACKOFF_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(refresh_min)
        };
        base + base.mul_f64(jitter() / 10.0)
    }

    async fn attempt(&self) -> Result<usize, Error> {
        let _round = Round::start(self);
        let document =
            timeout(self.config.fetch_timeout(), self.source.fetch()).await.map_err(|_| Error::Timeout)??;
        let fetched_at_us = now_us();
        let set = KeySet::parse(&document, &self.algorithms, fetched_at_us)?;
        let count = set.len();
        self.current.store(Some(Arc::new(set)));
        self.save(document, fetched_at_us);
        Ok(count)
    }

    /// Logs a change for the better or the worse once, and returns the failures in a row.
    fn note(&self, fetched: Result<usize, Error>, failures: u32) -> u32 {
        let outcome = if fetched.is_ok() { "ok" } else { "failed" };
        metrics::counter!(names::AUTH_KEY_FETCHES_TOTAL, "outcome" => outcome).increment(1);
        self.report(now_us());
        match fetched {
            Ok(count) => {
                if failures > 0 {
                    tracing::info!(issuer = self.issuer, keys = count, failures, "issuer's keys fetched again");
                }
                0
            }
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                if failures == 0 {
                    tracing::warn!(issuer = self.issuer, error, "issuer's keys not fetched; the last good ones go on");
                } else {
                    tracing::debug!(issuer = self.issuer, error, failures, "issuer's keys still not fetched");
                }
                failures.saturating_add(1)
            }
        }
    }

    fn report(&self, now_us: i64) {
        let usable = self.current(now_us).is_some();
        self.health.set(&self.issuer, if usable { Ok(()) } else { Err("no usable keys of this token issuer") });
    }

    fn load_saved(&self) {
        let Some(saved) = &self.saved else { return };
        match saved.read() {
            Ok(Some((document, fetched_at_us))) => match KeySet::parse(&document, &self.algorithms, fetched_at_us) {
                Ok(set) => self.current.store(Some(Arc::new(set))),
                Err(error) => {
                    tracing::warn!(
                        issuer = self.issuer,
                        error = &error as &dyn std::error::Error,
                        "saved keys unusable"
                    );
                }
            },
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(issuer = self.issuer, error = &error as &dyn std::error::Error, "saved keys unreadable");
            }
        }
    }

    /// Beside the path: a full disk must not keep fresh keys from being used.
    fn save(&self, document: Bytes, fetched_at_us: i64) {
        let Some(saved) = self.saved.clone() else { return };
        let issuer = self.issuer.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = saved.write(&document, fetched_at_us) {
                tracing::warn!(issuer, error = &error as &dyn std::error::Error, "issuer's keys not saved");
            }
        });
    }
}

/// A fetch under way; its end is told to those who wait, also when it is broken off.
struct Round<'a>(&'a IssuerKeys);

impl<'a> Round<'a> {
    fn start(keys: &'a IssuerKeys) -> Self {
        *keys.attempts.lock() = Attempts { started: Some(Instant::now()), in_flight: true, wanted: false };
        Self(keys)
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.0.attempts.lock().in_flight = false;
        self.0.rounds.send_modify(|round| *round = round.wrapping_add(1));
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// 0 … 1, so that many nodes do not ask at the same moment.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
pub(super) mod tests;
