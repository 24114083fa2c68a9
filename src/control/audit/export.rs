//! The log as it is stored, for exports.

use crate::{
    control::{Control, Error},
    model::OrganisationId,
};

/// One entry, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place, from 1.
    pub seq: u64,
    /// Hash of the entry before, hexadecimal.
    pub previous: String,
    /// Its hash, hexadecimal.
    pub hash: String,
    /// The JSON text that the hash covers.
    pub body: String,
}

impl Control {
    /// Up to `limit` entries after the one numbered `after`, with `from_us` ≤ time < `to_us`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stored_audit(
        &self,
        organisation_id: OrganisationId,
        after: u64,
        (from_us, to_us): (Option<i64>, Option<i64>),
        limit: usize,
    ) -> Result<Vec<StoredEntry>, Error> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT e.seq, lower(hex(coalesce(p.hash, zeroblob(32)))), lower(hex(e.hash)), e.body
                 FROM audit_entries e
                 LEFT JOIN audit_entries p ON p.organisation_id = e.organisation_id AND p.seq = e.seq - 1
                 WHERE e.organisation_id = ?1 AND e.seq > ?2
                   AND (?3 IS NULL OR e.at_us >= ?3) AND (?4 IS NULL OR e.at_us < ?4)
                 ORDER BY e.seq LIMIT ?5",
            )?;
            let rows = statement.query_map((organisation_id, after, from_us, to_us, limit), |row| {
                Ok(StoredEntry { seq: row.get(0)?, previous: row.get(1)?, hash: row.get(2)?, body: row.get(3)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
