//! The keys of the issuer: one that signs, the next one already published, former ones as long as their tokens live.
//!
//! The directory is the whole state. A file's name tells when its key is first used; from that follows everything
//! else, so that no list can disagree with the files.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::json;

use super::{
    Config, Error,
    key::{SigningKey, check_private},
};

/// What a former key outlives the life of its tokens by, seconds: the clocks' difference at most, and the time for
/// which others may keep the published keys (`Cache-Control`).
const RETIRE_MARGIN_S: u64 = 60 + super::JWKS_MAX_AGE_S;

/// The keys at one moment. Replaced as a whole.
#[derive(Debug)]
pub(super) struct KeyRing {
    /// By first use; never empty.
    keys: Vec<Arc<SigningKey>>,
    /// The JWKS document.
    jwks: Bytes,
}

impl KeyRing {
    /// The keys in `dir`, which is made with a first key when there is none.
    pub(super) fn open(dir: &Path, now_s: u64) -> Result<Self, Error> {
        let listed = open_dir(dir).map_err(|source| Error::Directory { path: dir.to_owned(), source })?;
        check_private(dir)?;
        let mut keys = Vec::new();
        for path in listed {
            keys.push(Arc::new(SigningKey::load(&path)?));
        }
        if keys.is_empty() {
            // Nobody can have fetched the keys before: the first one needs no notice.
            keys.push(Arc::new(SigningKey::create(dir, now_s)?));
        }
        Ok(Self::of(keys))
    }

    fn of(mut keys: Vec<Arc<SigningKey>>) -> Self {
        keys.sort_by_key(|key| key.starts_s);
        let published: Vec<_> = keys.iter().map(|key| key.to_jwk()).collect();
        Self { keys, jwks: json!({ "keys": published }).to_string().into() }
    }

    /// The key that signs at `now_s`: of those in use the latest. Before the first one's time, the clock was set back.
    pub(super) fn signing(&self, now_s: u64) -> Arc<SigningKey> {
        let in_use = self.keys.iter().rev().find(|key| key.starts_s <= now_s);
        in_use.or(self.keys.first()).expect("a ring has a key").clone()
    }

    /// The document for others.
    pub(super) fn jwks(&self) -> Bytes {
        self.jwks.clone()
    }

    /// The ring as it should be at `now_s`: with the next key in time before it is needed, without those whose last
    /// token has died. None when nothing changes.
    pub(super) fn rotated(&self, dir: &Path, config: &Config, now_s: u64) -> Result<Option<Self>, Error> {
        let mut keys = self.keys.clone();
        let newest = keys.last().expect("a ring has a key").starts_s;
        let next = newest.saturating_add(config.rotation_days.saturating_mul(86_400));
        if newest <= now_s && now_s.saturating_add(config.publish_lead_s) >= next {
            let starts_s = next.max(now_s.saturating_add(config.publish_lead_s));
            keys.push(Arc::new(SigningKey::create(dir, starts_s)?));
        }
        let outlived_s = config.token_lifetime_s + RETIRE_MARGIN_S;
        let retired = keys.windows(2).take_while(|pair| pair[1].starts_s.saturating_add(outlived_s) <= now_s).count();
        for key in keys.drain(..retired) {
            let path = key.path(dir);
            remove(&path).map_err(|source| Error::RemoveKey { path, source })?;
            tracing::info!(kid = key.kid, "signing key retired");
        }
        let changed = keys.len() != self.keys.len() || retired > 0;
        Ok(changed.then(|| Self::of(keys)))
    }
}

/// The key files of `dir`. Half-written ones of an earlier start were never used, and are removed.
fn open_dir(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut keys = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("new") => fs::remove_file(&path)?,
            Some("pem") => keys.push(path),
            _ => tracing::warn!(path = %path.display(), "not a signing key: left alone"),
        }
    }
    Ok(keys)
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    fs::File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?.sync_all()
}
