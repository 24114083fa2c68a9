//! The proof without the service: on a data directory, or on nothing but an exported file and old checkpoints.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Fault, Head,
    chain::{Chain, Found},
    checkpoint::{self, CHECKPOINTS_FILE},
    verify::walk,
};
use crate::model::OrganisationId;

/// What an auditor brings along.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Checkpoints that were put aside in time.
    pub checkpoints: Vec<Head>,
    /// The key that must have signed them, hexadecimal; none: the one that each names itself.
    pub public_key: Option<String>,
    /// The exported file ends before the log does, so that checkpoints behind its end prove nothing.
    pub is_part: bool,
}

/// What became of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Whose chain.
    pub organisation_id: OrganisationId,
    /// Number of the first entry.
    pub first_seq: u64,
    /// Entries.
    pub entries: u64,
    /// Heads and checkpoints that they meet.
    pub heads_met: usize,
    /// The keys that signed them, hexadecimal. Compare them with what was written down when the server was set up.
    pub public_keys: Vec<String>,
    /// What is wrong; none: nothing.
    pub fault: Option<Fault>,
    /// The first entry that cannot be trusted.
    pub first_bad_seq: Option<u64>,
}

/// Why a proof could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database cannot be read.
    #[error("cannot read the audit log in {path}")]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A line of an export is none.
    #[error("{path}, line {line}: not an entry of an exported audit log")]
    NotAnEntry {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// There is nothing to be proved.
    #[error("{path} has no audit entries")]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

impl Evidence {
    /// Reads a file of checkpoints.
    ///
    /// # Errors
    /// When it cannot be read, or holds none.
    pub fn read(checkpoints: Option<&Path>, public_key: Option<String>, is_part: bool) -> Result<Self, ProofError> {
        let Some(path) = checkpoints else { return Ok(Self { checkpoints: Vec::new(), public_key, is_part }) };
        let unreadable = |source| ProofError::Unreadable { path: path.to_owned(), source };
        fs::metadata(path).map_err(unreadable)?;
        let checkpoints = checkpoint::read(path).map_err(unreadable)?;
        if checkpoints.is_empty() {
            return Err(ProofError::Empty { path: path.to_owned() });
        }
        Ok(Self { checkpoints, public_key, is_part })
    }

    fn of(&self, organisation_id: OrganisationId) -> Vec<Head> {
        self.checkpoints.iter().filter(|head| head.organisation_id == organisation_id).cloned().collect()
    }
}

fn forged(signed: &[Head], public_key: Option<&str>) -> Option<Found> {
    let is_forged = signed.iter().any(|head| !head.is_signed(public_key));
    is_forged.then_some((Fault::CheckpointForged, None))
}

/// Proves every chain of the database in `data_dir`, which may be in use, against its head, the checkpoints beside it
/// and `evidence`.
///
/// # Errors
/// When something cannot be read.
pub fn of_data_dir(data_dir: &Path, evidence: &Evidence) -> Result<Vec<Proof>, ProofError> {
    let path = data_dir.join("control.db");
    let database = |source| ProofError::Database { path: path.clone(), source };
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(database)?;
    let heads = heads(&data_dir.join("audit"))?;
    // The heads first: entries that come meanwhile can only follow them.
    let transaction = connection.unchecked_transaction().map_err(database)?;
    let sql = "SELECT organisation_id FROM audit_entries UNION SELECT id FROM organisations ORDER BY 1";
    let organisations = transaction
        .prepare(sql)
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>, _>>())
        .map_err(database)?;
    let mut known: Vec<OrganisationId> = organisations;
    // Of an organisation that is gone from the database altogether its head tells.
    known.extend(heads.iter().chain(&evidence.checkpoints).map(|head| head.organisation_id));
    known.sort_unstable();
    known.dedup();
    let mut proofs = Vec::new();
    for organisation_id in known {
        let mut signed: Vec<Head> = evidence.of(organisation_id);
        signed.extend(heads.iter().filter(|head| head.organisation_id == organisation_id).cloned());
        let (entries, heads_met, found) = walk(&transaction, organisation_id, &signed).map_err(database)?;
        let forged = forged(&signed, evidence.public_key.as_deref());
        let missing = (signed.is_empty() && entries > 0).then_some((Fault::HeadMissing, None));
        proofs.push(proof(organisation_id, 1, (entries, heads_met, found.or(forged).or(missing)), &signed));
    }
    if proofs.is_empty() { Err(ProofError::Empty { path }) } else { Ok(proofs) }
}

/// The heads and checkpoints beside the database.
fn heads(directory: &Path) -> Result<Vec<Head>, ProofError> {
    let path = directory.join(CHECKPOINTS_FILE);
    let mut heads = checkpoint::read(&path).map_err(|source| ProofError::Unreadable { path, source })?;
    let unreadable = |source| ProofError::Unreadable { path: directory.to_owned(), source };
    for file in fs::read_dir(directory).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "head") {
            let unreadable = |source| ProofError::Unreadable { path: path.clone(), source };
            let bytes = fs::read(&path).map_err(unreadable)?;
            heads.push(serde_json::from_slice(&bytes).map_err(|error| unreadable(error.into()))?);
        }
    }
    Ok(heads)
}

/// A line of an export.
#[derive(Deserialize)]
struct Line<'a> {
    seq: u64,
    previous: String,
    hash: String,
    #[serde(borrow)]
    entry: &'a RawValue,
}

/// Whose entry it is.
#[derive(Deserialize)]
struct Owner {
    organisation_id: OrganisationId,
}

/// Proves an exported log (NDJSON), or a part of one, against `evidence`.
///
/// # Errors
/// When the file cannot be read, or is no export.
pub fn of_export(path: &Path, evidence: &Evidence) -> Result<Proof, ProofError> {
    let file = fs::File::open(path).map_err(|source| ProofError::Unreadable { path: path.to_owned(), source })?;
    of_lines(path, BufReader::new(file), evidence)
}

/// The same for the lines of an export wherever they come from; `path` is what messages call it.
///
/// # Errors
/// As [`of_export`].
pub fn of_lines(path: &Path, lines: impl BufRead, evidence: &Evidence) -> Result<Proof, ProofError> {
    let unreadable = |source| ProofError::Unreadable { path: path.to_owned(), source };
    let mut chain: Option<(OrganisationId, u64, Chain)> = None;
    for (number, text) in lines.lines().enumerate() {
        let text = text.map_err(unreadable)?;
        let not_an_entry = || ProofError::NotAnEntry { path: path.to_owned(), line: number + 1 };
        let line: Line<'_> = serde_json::from_str(&text).map_err(|_| not_an_entry())?;
        let hash = hex::decode(&line.hash).map_err(|_| not_an_entry())?;
        let body = line.entry.get();
        let (_, _, chain) = match &mut chain {
            Some(begun) => begun,
            None => {
                let owner: Owner = serde_json::from_str(body).map_err(|_| not_an_entry())?;
                let bytes = hex::decode(&line.previous).ok().and_then(|bytes| bytes.try_into().ok());
                let (previous, last_seq) = (bytes.ok_or_else(not_an_entry)?, line.seq.saturating_sub(1));
                // What the first entry of all follows is known, whatever the file says.
                let previous = if last_seq == 0 { super::chain::GENESIS } else { previous };
                let begun = Chain::after(owner.organisation_id, last_seq, previous, &evidence.checkpoints);
                chain.insert((owner.organisation_id, line.seq, begun))
            }
        };
        chain.expect_previous(&line.previous);
        chain.follow(line.seq, body.as_bytes(), &hash);
    }
    let (organisation_id, first_seq, chain) = chain.ok_or_else(|| ProofError::Empty { path: path.to_owned() })?;
    let (entries, heads_met, found) = chain.finish(!evidence.is_part);
    let signed = evidence.of(organisation_id);
    let found = found.or_else(|| forged(&signed, evidence.public_key.as_deref()));
    Ok(proof(organisation_id, first_seq, (entries, heads_met, found), &signed))
}

fn proof(
    organisation_id: OrganisationId,
    first_seq: u64,
    (entries, heads_met, found): (u64, usize, Option<Found>),
    signed: &[Head],
) -> Proof {
    let mut public_keys: Vec<String> = signed.iter().map(|head| head.public_key.clone()).collect();
    public_keys.sort_unstable();
    public_keys.dedup();
    Proof {
        organisation_id,
        first_seq,
        entries,
        heads_met,
        public_keys,
        fault: found.map(|(fault, _)| fault),
        first_bad_seq: found.and_then(|(_, seq)| seq),
    }
}
