//! The last good keys of an issuer on disk, so that a restart during the issuer's outage is no outage of ours.
//!
//! They are public, but who can write the file can choose whom we trust: it is written with mode 0600 into a directory
//! that must belong to the service.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// One issuer's file.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    issuer: String,
    pub(super) path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Content {
    issuer: String,
    fetched_at_us: i64,
    document: Box<RawValue>,
}

impl Saved {
    /// The file of `issuer` in `dir`. Its name is a digest, since an issuer's name is no file name.
    pub(super) fn new(dir: &Path, issuer: &str) -> Self {
        let digest = hex::encode(&Sha256::digest(issuer)[..8]);
        Self { issuer: issuer.to_owned(), path: dir.join(format!("keys-{digest}.json")) }
    }

    /// Replaces the file as a whole. Blocking.
    pub(super) fn write(&self, document: &Bytes, fetched_at_us: i64) -> io::Result<()> {
        let document = serde_json::from_slice(document)?;
        let text = serde_json::to_vec(&Content { issuer: self.issuer.clone(), fetched_at_us, document })?;
        let dir = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let temporary = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        fs::File::open(dir)?.sync_all()
    }

    /// The document and when it was fetched; none when there is none, or it is another issuer's. Blocking.
    pub(super) fn read(&self) -> io::Result<Option<(Bytes, i64)>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let content: Content = serde_json::from_slice(&text)?;
        if content.issuer != self.issuer {
            return Ok(None);
        }
        Ok(Some((Bytes::from(content.document.get().to_owned()), content.fetched_at_us)))
    }
}
