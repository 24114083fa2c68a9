//! The chain itself: what follows from what. Pure, so that a running service, the command line beside it and an
//! auditor with nothing but an exported file all judge by the same lines.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Fault, Head};
use crate::model::OrganisationId;

/// What stands before the first entry.
pub const GENESIS: [u8; 32] = [0; 32];

/// The hash of the entry `seq` with the stored text `body`, which follows the entry with the hash `previous`.
#[must_use]
pub fn chain_hash(seq: u64, previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"sensorgate-audit-v1");
    hash.update(seq.to_be_bytes());
    hash.update(previous);
    hash.update(body);
    hash.finalize().into()
}

/// A fault, and the first entry that cannot be trusted for it.
pub type Found = (Fault, Option<u64>);

/// Follows a chain entry by entry and remembers the first thing that is wrong.
#[derive(Debug)]
pub struct Chain {
    organisation_id: OrganisationId,
    /// Number of the last entry that was seen.
    last_seq: u64,
    previous: [u8; 32],
    entries: u64,
    /// Signed heads by the number of their entry, until they were met.
    heads: BTreeMap<u64, Vec<String>>,
    heads_met: usize,
    found: Option<Found>,
}

/// The part of an entry that must agree with where it stands.
#[derive(Deserialize)]
struct Place {
    organisation_id: OrganisationId,
    seq: u64,
}

impl Chain {
    /// The chain of `organisation_id`, whose next entry is the one after `last_seq`, which had the hash `previous`: 0
    /// and [`GENESIS`] for a whole chain. Each of `heads` has to be met; those of other organisations, and those
    /// before the beginning, are left out.
    #[must_use]
    pub fn after(organisation_id: OrganisationId, last_seq: u64, previous: [u8; 32], heads: &[Head]) -> Self {
        let mut expected: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for head in heads.iter().filter(|head| head.organisation_id == organisation_id && head.seq > last_seq) {
            expected.entry(head.seq).or_default().push(head.hash.clone());
        }
        Self { organisation_id, last_seq, previous, entries: 0, heads: expected, heads_met: 0, found: None }
    }

    /// Takes the next entry.
    pub fn follow(&mut self, seq: u64, body: &[u8], hash: &[u8]) {
        self.entries += 1;
        if self.found.is_some() {
            return;
        }
        let due = self.last_seq + 1;
        let expected = chain_hash(due, &self.previous, body);
        let stands_right = serde_json::from_slice::<Place>(body)
            .is_ok_and(|place| place.seq == due && place.organisation_id == self.organisation_id);
        if seq != due {
            self.found = Some((Fault::EntryMissing, Some(due)));
        } else if hash != expected || !stands_right {
            self.found = Some((Fault::EntryAltered, Some(due)));
        } else if let Some(signed) = self.heads.remove(&due) {
            let hash = hex::encode(expected);
            if signed.iter().all(|signed| *signed == hash) {
                self.heads_met += signed.len();
            } else {
                self.found = Some((Fault::CheckpointUnmet, Some(due)));
            }
        }
        self.last_seq = due;
        self.previous = expected;
    }

    /// Takes the word of a file for what its next entry follows: another word than the chain's is a change like any.
    pub fn expect_previous(&mut self, previous: &str) {
        if self.found.is_none() && previous != hex::encode(self.previous) {
            self.found = Some((Fault::EntryAltered, Some(self.last_seq + 1)));
        }
    }

    /// Entries seen, heads met, and what is wrong. Where `to_the_end`, a head behind the last entry shows that the
    /// tail was cut off.
    #[must_use]
    pub fn finish(self, to_the_end: bool) -> (u64, usize, Option<Found>) {
        let is_cut = to_the_end && self.heads.keys().any(|seq| *seq > self.last_seq);
        let found = self.found.or_else(|| is_cut.then_some((Fault::EntryMissing, Some(self.last_seq + 1))));
        (self.entries, self.heads_met, found)
    }
}

impl Head {
    /// Whether its signature is that of `public_key` (hexadecimal); none: of the key that it names itself.
    #[must_use]
    pub fn is_signed(&self, public_key: Option<&str>) -> bool {
        let named = public_key.unwrap_or(&self.public_key);
        let (Ok(key), Ok(signature)) = (hex::decode(named), hex::decode(&self.signature)) else { return false };
        named.eq_ignore_ascii_case(&self.public_key)
            && UnparsedPublicKey::new(&ED25519, key).verify(&self.signed_bytes(), &signature).is_ok()
    }
}
