//! Checkpoints: signed heads that are never replaced, so that a chain that was computed anew is found out even by
//! somebody who has nothing but an old checkpoint.
//!
//! One is kept after so many entries, and after so much time in which the chain has grown: a line of
//! `audit/checkpoints.ndjson`, a line of the server's log, and where configured a line of a second file on a medium
//! that cannot be rewritten. What has left the machine in time binds whoever rules the machine later.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use super::Head;
use crate::{
    control::{Config, Control, Error, PageRequest, db::now_us, page::Page},
    model::OrganisationId,
    telemetry::metrics::CONTROL_AUDIT_HEAD_FAILURES_TOTAL,
};

/// The file's name within the directory of the heads.
pub const CHECKPOINTS_FILE: &str = "checkpoints.ndjson";

/// Where a chain stood, and when, at its last checkpoint.
#[derive(Debug, Clone, Copy)]
struct Kept {
    seq: u64,
    at_us: i64,
}

/// Keeps checkpoints.
#[derive(Debug)]
pub(super) struct Checkpoints {
    path: PathBuf,
    copy: Option<PathBuf>,
    entries_max: u64,
    interval_us: i64,
    kept: Mutex<BTreeMap<OrganisationId, Kept>>,
}

impl Checkpoints {
    /// Reads what is kept in `directory`.
    pub(super) fn open(directory: &Path, config: &Config) -> Result<Self, Error> {
        let path = directory.join(CHECKPOINTS_FILE);
        let prepare = |source| Error::Prepare { path: path.clone(), source };
        drop_torn_line(&path).map_err(prepare)?;
        let mut kept = BTreeMap::new();
        for head in read(&path).map_err(prepare)? {
            kept.insert(head.organisation_id, Kept { seq: head.seq, at_us: head.at_us });
        }
        let copy = (!config.audit_checkpoint_copy.as_os_str().is_empty()).then(|| config.audit_checkpoint_copy.clone());
        let interval_us =
            i64::try_from(config.audit_checkpoint_interval_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Ok(Self { copy, entries_max: config.audit_checkpoint_entries, interval_us, kept: Mutex::new(kept), path })
    }

    /// Keeps `head` if it is due at `now_us`.
    pub(super) fn consider(&self, head: &Head, now_us: i64) {
        let mut kept = self.kept.lock();
        let is_due = kept.get(&head.organisation_id).is_none_or(|last| {
            let grown = head.seq.saturating_sub(last.seq);
            grown >= self.entries_max || (grown > 0 && now_us - last.at_us >= self.interval_us)
        });
        if !is_due {
            return;
        }
        tracing::info!(
            organisation_id = %head.organisation_id, seq = head.seq, hash = head.hash, at_us = head.at_us,
            public_key = head.public_key, signature = head.signature, "audit checkpoint"
        );
        for path in [Some(&self.path), self.copy.as_ref()].into_iter().flatten() {
            if let Err(error) = append(path, head) {
                metrics::counter!(CONTROL_AUDIT_HEAD_FAILURES_TOTAL, "reason" => "checkpoint").increment(1);
                tracing::error!(path = %path.display(), %error, "a checkpoint of the audit log could not be written");
                return;
            }
        }
        kept.insert(head.organisation_id, Kept { seq: head.seq, at_us: now_us });
    }

    /// The checkpoints of `organisation_id`, oldest first.
    pub(super) fn of(&self, organisation_id: OrganisationId) -> io::Result<Vec<Head>> {
        Ok(read(&self.path)?.into_iter().filter(|head| head.organisation_id == organisation_id).collect())
    }
}

impl Control {
    /// Keeps a checkpoint of each chain that has grown and whose last checkpoint is old enough. For a timer: entries
    /// after which none follows are to have their checkpoint as well.
    ///
    /// # Errors
    /// When the chains cannot be listed or their heads not be read.
    pub async fn keep_audit_checkpoints(&self) -> Result<(), Error> {
        for organisation in self.organisations().await? {
            if let Ok(Some(head)) = self.inner.seal.head(organisation.id)
                && self.inner.seal.is_ours(organisation.id, &head)
            {
                self.inner.seal.checkpoints.consider(&head, now_us());
            }
        }
        Ok(())
    }

    /// The checkpoints of the audit log of `organisation_id`, oldest first.
    ///
    /// # Errors
    /// When their file cannot be read.
    pub async fn audit_checkpoints(
        &self,
        organisation_id: OrganisationId,
        request: PageRequest,
    ) -> Result<Page<Head>, Error> {
        let limit = request.limit()?;
        let after = request.after_number("audit-checkpoint")?.unwrap_or(0);
        let inner = std::sync::Arc::clone(&self.inner);
        let heads = self
            .read(move |_| {
                let checkpoints = &inner.seal.checkpoints;
                let prepare = |source| Error::Prepare { path: checkpoints.path.clone(), source };
                checkpoints.of(organisation_id).map_err(prepare)
            })
            .await?;
        let rest = heads.into_iter().filter(|head| head.seq > after).take(limit + 1).collect();
        Ok(Page::cut(rest, limit, "audit-checkpoint", |head| head.seq.to_be_bytes().to_vec()))
    }
}

/// The checkpoints in the file at `path`, of all organisations; none where there is no file.
///
/// # Errors
/// When the file cannot be read, or a line of it is no checkpoint.
pub fn read(path: &Path) -> io::Result<Vec<Head>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut heads = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let head = serde_json::from_str(&line).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {}: not a checkpoint: {error}", number + 1))
        })?;
        heads.push(head);
    }
    Ok(heads)
}

fn append(path: &Path, head: &Head) -> io::Result<()> {
    let mut line = serde_json::to_vec(head)?;
    line.push(b'\n');
    let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(&line)?;
    file.sync_data()
}

/// A crash can have cut the last line short; what it said stands in the head.
fn drop_torn_line(path: &Path) -> io::Result<()> {
    let mut file = match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < text.len() { file.set_len(whole as u64) } else { Ok(()) }
}
