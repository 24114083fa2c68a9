//! Whether the audit log still is what was written.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    Head,
    chain::{Chain, Found, GENESIS},
    seal::Agreement,
};
use crate::{
    control::{Control, Error, db::Inner},
    model::OrganisationId,
};

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The entry's bytes, number or place are not those that its hash was made of.
    EntryAltered,
    /// An entry is missing.
    EntryMissing,
    /// The chain is whole, but not the one whose head was signed: it was computed anew.
    HeadUnmet,
    /// There is no head although there should be one.
    HeadMissing,
    /// The head is not signed by this server's key.
    HeadForged,
    /// The chain is whole, but not the one that a checkpoint was signed for: it was computed anew.
    CheckpointUnmet,
    /// A checkpoint is not signed by the key that it should be.
    CheckpointForged,
}

impl Fault {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntryAltered => "entry_altered",
            Self::EntryMissing => "entry_missing",
            Self::HeadUnmet => "head_unmet",
            Self::HeadMissing => "head_missing",
            Self::HeadForged => "head_forged",
            Self::CheckpointUnmet => "checkpoint_unmet",
            Self::CheckpointForged => "checkpoint_forged",
        }
    }
}

/// The result of looking through a whole chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Entries in the database.
    pub entries: u64,
    /// The signed head, as it is kept outside the database.
    pub head: Option<Head>,
    /// Checkpoints that the chain meets.
    pub checkpoints: usize,
    /// What is wrong; none: nothing.
    pub fault: Option<Fault>,
    /// The first entry that cannot be trusted: the altered one, the missing one, or the one that the head was signed
    /// for. None where the fault lies with the head itself.
    pub first_bad_seq: Option<u64>,
}

impl Verdict {
    /// Whether every entry stands as it was written, and none is missing.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.fault.is_none()
    }
}

impl Control {
    /// Recomputes the whole chain of `organisation_id` and holds it against its signed head (S288).
    pub async fn verify_audit(&self, organisation_id: OrganisationId) -> Result<Verdict, Error> {
        let inner = Arc::clone(&self.inner);
        self.read(move |connection| {
            // The head first: entries that come meanwhile can only follow it.
            let head = inner.seal.head(organisation_id);
            let connection = connection.unchecked_transaction()?;
            verify(&inner, &connection, organisation_id, head)
        })
        .await
    }
}

fn verify(
    inner: &Inner,
    connection: &Connection,
    organisation_id: OrganisationId,
    head: std::io::Result<Option<Head>>,
) -> Result<Verdict, Error> {
    let kept = inner.seal.checkpoints.of(organisation_id);
    let checkpoints = kept.as_deref().unwrap_or_default();
    let are_ours = kept.is_ok() && checkpoints.iter().all(|head| inner.seal.is_ours(organisation_id, head));
    let (entries, checkpoints, found) = walk(connection, organisation_id, checkpoints)?;
    let unmet = match inner.seal.compare(connection, organisation_id, &head)? {
        Agreement::Met | Agreement::New => None,
        Agreement::HeadMissing => Some((Fault::HeadMissing, None)),
        Agreement::HeadForged => Some((Fault::HeadForged, None)),
        Agreement::TailCut => Some((Fault::EntryMissing, Some(entries + 1))),
        Agreement::Rewritten => {
            Some((Fault::HeadUnmet, head.as_ref().ok().and_then(|head| head.as_ref()).map(|head| head.seq)))
        }
    };
    // The chain's own fault says more than the head's: it names the first entry.
    let found = found.or(unmet).or_else(|| (!are_ours).then_some((Fault::CheckpointForged, None)));
    Ok(Verdict {
        entries,
        head: head.ok().flatten(),
        checkpoints,
        fault: found.map(|(fault, _)| fault),
        first_bad_seq: found.and_then(|(_, seq)| seq),
    })
}

/// Counts the entries and the checkpoints that they meet, and finds the first that does not follow from the one before.
pub(super) fn walk(
    connection: &Connection,
    organisation_id: OrganisationId,
    checkpoints: &[Head],
) -> rusqlite::Result<(u64, usize, Option<Found>)> {
    let mut statement = connection
        .prepare("SELECT seq, CAST(body AS BLOB), hash FROM audit_entries WHERE organisation_id = ?1 ORDER BY seq")?;
    let mut rows = statement.query([organisation_id])?;
    let mut chain = Chain::after(organisation_id, 0, GENESIS, checkpoints);
    while let Some(row) = rows.next()? {
        let hash: Vec<u8> = row.get(2)?;
        let body = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        chain.follow(row.get(0)?, body, &hash);
    }
    Ok(chain.finish(true))
}
