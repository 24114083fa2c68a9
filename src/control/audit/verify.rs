//! Whether the audit log still is what was written.

use std::sync::Arc;

use rusqlite::Connection;
use serde::Deserialize;

use super::{GENESIS, Head, chain_hash, seal::Agreement};
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
    let (entries, mut found) = walk(connection, organisation_id)?;
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
    found = found.or(unmet);
    Ok(Verdict {
        entries,
        head: head.ok().flatten(),
        fault: found.map(|(fault, _)| fault),
        first_bad_seq: found.and_then(|(_, seq)| seq),
    })
}

/// The part of an entry that must agree with where it stands.
#[derive(Deserialize)]
struct Place {
    organisation_id: OrganisationId,
    seq: u64,
}

/// A fault, and the first entry that cannot be trusted for it.
type Found = Option<(Fault, Option<u64>)>;

/// Counts the entries and finds the first that does not follow from the one before.
fn walk(connection: &Connection, organisation_id: OrganisationId) -> Result<(u64, Found), Error> {
    let mut statement = connection
        .prepare("SELECT seq, CAST(body AS BLOB), hash FROM audit_entries WHERE organisation_id = ?1 ORDER BY seq")?;
    let mut rows = statement.query([organisation_id])?;
    let (mut entries, mut previous, mut found) = (0, GENESIS, None);
    while let Some(row) = rows.next()? {
        entries += 1;
        if found.is_some() {
            continue;
        }
        let (seq, hash): (u64, Vec<u8>) = (row.get(0)?, row.get(2)?);
        let body = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let expected = chain_hash(entries, &previous, body);
        let stands_right = serde_json::from_slice::<Place>(body)
            .is_ok_and(|place| place.seq == entries && place.organisation_id == organisation_id);
        if seq != entries {
            found = Some((Fault::EntryMissing, Some(entries)));
        } else if hash != expected || !stands_right {
            found = Some((Fault::EntryAltered, Some(entries)));
        }
        previous = expected;
    }
    Ok((entries, found))
}
