//! The head of each chain, kept outside the database and signed: a tail that was cut off, or a chain that was
//! computed anew, no longer meets it.
//!
//! `audit/signing.key` (Ed25519, mode 0600) signs; `audit/<organisation>.head` is replaced after each commit. A head
//! that the database no longer agrees with is never replaced: it stays as evidence until a human has looked.

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::{
    chain::{GENESIS, chain_hash},
    checkpoint::Checkpoints,
};
use crate::{
    control::{Config, Error, db::now_us},
    model::OrganisationId,
    telemetry::metrics::CONTROL_AUDIT_HEAD_FAILURES_TOTAL,
};

/// Where a chain ended when it was last written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose chain.
    pub organisation_id: OrganisationId,
    /// Number of its last entry.
    pub seq: u64,
    /// That entry's hash, hexadecimal.
    pub hash: String,
    /// When it was signed, in microseconds (Unix).
    pub at_us: i64,
    /// The signing key's public half, hexadecimal.
    pub public_key: String,
    /// Ed25519 over all of the above, hexadecimal.
    pub signature: String,
}

impl Head {
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"sensorgate-audit-head-v1".to_vec();
        bytes.extend(self.organisation_id.as_uuid().as_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.hash.as_bytes());
        bytes.extend(self.at_us.to_be_bytes());
        bytes
    }
}

/// How a chain in the database stands to its head outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Agreement {
    /// The head's entry is there, as signed.
    Met,
    /// No head yet, and none is due: everything stems from one transaction, which a crash can have parted from it.
    New,
    /// Entries, but no head.
    HeadMissing,
    /// The head's signature or text is not ours.
    HeadForged,
    /// The database has no entry of the head's number.
    TailCut,
    /// The database has another entry in its place.
    Rewritten,
}

/// Signs heads and keeps them in a directory.
pub(in crate::control) struct Seal {
    directory: PathBuf,
    key: Ed25519KeyPair,
    pub(super) checkpoints: Checkpoints,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Seal {
    /// Reads the key of `directory`, or makes both.
    pub(in crate::control) fn open(directory: &Path, config: &Config) -> Result<Self, Error> {
        let prepare = |source| Error::Prepare { path: directory.to_owned(), source };
        if !directory.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(prepare)?;
        }
        let path = directory.join("signing.key");
        let unusable = |reason| Error::AuditKey { path: path.clone(), reason };
        if !path.exists() {
            let key = Ed25519KeyPair::generate().map_err(|_| unusable("none can be made"))?;
            let document = key.to_pkcs8().map_err(|_| unusable("it cannot be written out"))?;
            replace_file(&path, document.as_ref()).map_err(prepare)?;
        }
        let metadata = fs::metadata(&path).map_err(prepare)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(unusable("others can read it: set mode 0600"));
        }
        let document = fs::read(&path).map_err(prepare)?;
        let key = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| unusable("it is no Ed25519 key in PKCS#8"))?;
        let checkpoints = Checkpoints::open(directory, config)?;
        Ok(Self { directory: directory.to_owned(), key, checkpoints })
    }

    /// The head kept for `organisation_id`, signature and all unjudged.
    pub(super) fn head(&self, organisation_id: OrganisationId) -> io::Result<Option<Head>> {
        match fs::read(self.path(organisation_id)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether `head` was signed with this key, for this organisation.
    pub(super) fn is_ours(&self, organisation_id: OrganisationId, head: &Head) -> bool {
        head.organisation_id == organisation_id && head.is_signed(Some(&hex::encode(self.key.public_key())))
    }

    /// Holds the chain of `organisation_id` against `head`.
    pub(super) fn compare(
        &self,
        connection: &Connection,
        organisation_id: OrganisationId,
        head: &io::Result<Option<Head>>,
    ) -> rusqlite::Result<Agreement> {
        let head = match head {
            Ok(Some(head)) if self.is_ours(organisation_id, head) => head,
            Ok(Some(_)) | Err(_) => return Ok(Agreement::HeadForged),
            Ok(None) => {
                let is_one_transaction: bool = connection.query_row(
                    "SELECT count(DISTINCT at_us) <= 1 FROM audit_entries WHERE organisation_id = ?1",
                    [organisation_id],
                    |row| row.get(0),
                )?;
                return Ok(if is_one_transaction { Agreement::New } else { Agreement::HeadMissing });
            }
        };
        let stored: Option<[u8; 32]> = connection
            .query_row(
                "SELECT hash FROM audit_entries WHERE organisation_id = ?1 AND seq = ?2",
                (organisation_id, head.seq),
                |row| row.get(0),
            )
            .optional()?;
        Ok(match stored {
            None => Agreement::TailCut,
            Some(hash) if hex::encode(hash) == head.hash => Agreement::Met,
            Some(_) => Agreement::Rewritten,
        })
    }

    /// Moves the heads of chains that have grown. A commit cannot be taken back, so a failure is logged, not returned;
    /// the next entry moves the head again.
    pub(in crate::control) fn publish(&self, connection: &Connection, grown: &BTreeSet<OrganisationId>) {
        for organisation_id in grown {
            match self.advance(connection, *organisation_id) {
                Ok(Agreement::Met | Agreement::New) => {}
                Ok(disagreement) => {
                    metrics::counter!(CONTROL_AUDIT_HEAD_FAILURES_TOTAL, "reason" => "altered").increment(1);
                    tracing::error!(
                        %organisation_id, ?disagreement,
                        "the audit log does not meet its signed head: it was altered outside the program; the head is kept"
                    );
                }
                Err(error) => {
                    metrics::counter!(CONTROL_AUDIT_HEAD_FAILURES_TOTAL, "reason" => "write").increment(1);
                    tracing::error!(%organisation_id, %error, "the head of the audit log could not be written");
                }
            }
        }
    }

    /// Brings the heads up to date after a crash between a commit and its head, and complains of chains that no longer
    /// meet theirs.
    pub(in crate::control) fn catch_up(&self, connection: &Connection) -> Result<(), Error> {
        let mut chains = BTreeSet::new();
        let mut statement = connection.prepare("SELECT DISTINCT organisation_id FROM audit_entries")?;
        for organisation_id in statement.query_map([], |row| row.get(0))? {
            chains.insert(organisation_id?);
        }
        self.publish(connection, &chains);
        Ok(())
    }

    fn advance(&self, connection: &Connection, organisation_id: OrganisationId) -> Result<Agreement, Error> {
        let head = self.head(organisation_id);
        let agreement = self.compare(connection, organisation_id, &head)?;
        if !matches!(agreement, Agreement::Met | Agreement::New) {
            return Ok(agreement);
        }
        // Only what links to the head is signed: rows put in by hand are not.
        let (mut seq, mut hash) = match head {
            Ok(Some(head)) => (head.seq, decode_hash(&head.hash).unwrap_or(GENESIS)),
            _ => (0, GENESIS),
        };
        let mut statement = connection.prepare_cached(
            "SELECT seq, body, hash FROM audit_entries WHERE organisation_id = ?1 AND seq > ?2 ORDER BY seq",
        )?;
        let mut rows = statement.query((organisation_id, seq))?;
        while let Some(row) = rows.next()? {
            let (stored_seq, body, stored): (u64, String, [u8; 32]) = (row.get(0)?, row.get(1)?, row.get(2)?);
            seq += 1;
            hash = chain_hash(seq, &hash, body.as_bytes());
            if stored_seq != seq || stored != hash {
                return Ok(Agreement::Rewritten);
            }
        }
        let path = self.path(organisation_id);
        let head = self.write(organisation_id, seq, hash).map_err(|source| Error::Prepare { path, source })?;
        self.checkpoints.consider(&head, head.at_us);
        Ok(agreement)
    }

    fn write(&self, organisation_id: OrganisationId, seq: u64, hash: [u8; 32]) -> io::Result<Head> {
        let mut head = Head {
            organisation_id,
            seq,
            hash: hex::encode(hash),
            at_us: now_us(),
            public_key: hex::encode(self.key.public_key()),
            signature: String::new(),
        };
        head.signature = hex::encode(self.key.sign(&head.signed_bytes()));
        let mut text = serde_json::to_vec_pretty(&head)?;
        text.push(b'\n');
        replace_file(&self.path(organisation_id), &text)?;
        Ok(head)
    }

    fn path(&self, organisation_id: OrganisationId) -> PathBuf {
        self.directory.join(format!("{organisation_id}.head"))
    }
}

fn decode_hash(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

/// Puts `bytes` at `path`, whole or not at all, readable by the owner alone.
fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
