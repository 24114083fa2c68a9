//! Tokens whose signature was verified, by the digest of the whole token.
//!
//! A hit spares the signature's mathematics and nothing else: the end of the token and the presence of its key are
//! looked at again each time, and nothing about the integration is kept here. Only verified tokens come in, so that
//! nobody else can fill it; what a stranger sends is never remembered.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, sync::Cache};
use rustc_hash::FxBuildHasher;

use super::VerifiedToken;

/// SHA-256 of a whole compact token, signature included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A digest is uniform already: eight of its bytes are hash enough.
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Verified tokens. TinyLFU keeps the ones in use against a flood of ones used once.
pub(super) type TokenCache = Cache<TokenDigest, Arc<VerifiedToken>, FxBuildHasher>;

pub(super) fn new(tokens_max: u64, ttl_max: Duration) -> TokenCache {
    Cache::builder().max_capacity(tokens_max).expire_after(UntilEnd { ttl_max }).build_with_hasher(FxBuildHasher)
}

/// A token leaves the cache when it ends, or after the set time.
struct UntilEnd {
    ttl_max: Duration,
}

impl Expiry<TokenDigest, Arc<VerifiedToken>> for UntilEnd {
    fn expire_after_create(&self, _: &TokenDigest, token: &Arc<VerifiedToken>, _: Instant) -> Option<Duration> {
        Some(token.remaining_when_verified().min(self.ttl_max))
    }
}
