//! Reading the audit log.

use std::net::IpAddr;

use rusqlite::{Connection, Row};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    control::{
        Control, Error,
        page::{Page, PageRequest},
    },
    model::{IntegrationId, OrganisationId, RequestId, UserId},
};

/// One entry as it stands in the log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    /// Its place in the organisation's chain, from 1, without a gap.
    pub seq: u64,
    /// When, in microseconds (Unix).
    pub at_us: i64,
    /// Who; none: an integration, or the server itself.
    pub actor: Option<UserId>,
    /// The integration that did it, where it was one.
    #[serde(default)]
    pub actor_integration: Option<IntegrationId>,
    /// What was done; a refused attempt ends in `_refused`.
    pub action: String,
    /// Kind of object.
    pub target_type: String,
    /// The object's id.
    pub target: String,
    /// The changed fields as they were.
    pub before: Option<Value>,
    /// The changed fields as they became.
    pub after: Option<Value>,
    /// Why, byte for byte.
    pub reason: Option<String>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// By which call.
    pub request_id: Option<RequestId>,
    /// The entry's hash, hexadecimal.
    #[serde(skip)]
    pub hash: String,
}

/// Which entries; all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// By this user.
    pub actor: Option<UserId>,
    /// Of this action.
    pub action: Option<String>,
    /// About the object with this id.
    pub target: Option<String>,
    /// Not before, in microseconds (Unix).
    pub from_us: Option<i64>,
    /// Before, in microseconds (Unix).
    pub to_us: Option<i64>,
    /// The latest entry first in place of the oldest.
    pub newest_first: bool,
}

impl Control {
    /// The entries of `organisation_id` that `filter` lets through.
    pub async fn audit_log(
        &self,
        organisation_id: OrganisationId,
        filter: AuditFilter,
        request: PageRequest,
    ) -> Result<Page<Entry>, Error> {
        self.read(move |connection| read(connection, organisation_id, &filter, &request)).await
    }

    /// The entries about the integration `id`, oldest first; in every status, Revoked too (S289).
    pub async fn history(
        &self,
        organisation_id: OrganisationId,
        id: IntegrationId,
        request: PageRequest,
    ) -> Result<Page<Entry>, Error> {
        self.read(move |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM integrations WHERE id = ?1 AND organisation_id = ?2)";
            if !connection.query_row(sql, (id, organisation_id), |row| row.get::<_, bool>(0))? {
                return Err(Error::NotFound("integration"));
            }
            let filter = AuditFilter { target: Some(id.to_string()), ..AuditFilter::default() };
            read(connection, organisation_id, &filter, &request)
        })
        .await
    }
}

fn read(
    connection: &Connection,
    organisation_id: OrganisationId,
    filter: &AuditFilter,
    request: &PageRequest,
) -> Result<Page<Entry>, Error> {
    // The direction is part of the cursor's kind: one that was given out going up does not lead down.
    let (kind, beyond, order) = if filter.newest_first { ("audit-", "<", "DESC") } else { ("audit+", ">", "ASC") };
    let limit = request.limit()?;
    let after = request.after_number(kind)?;
    let sql = format!(
        "SELECT body, hash FROM audit_entries
         WHERE organisation_id = :organisation_id
           AND (:after IS NULL OR seq {beyond} :after)
           AND (:actor IS NULL OR actor = :actor)
           AND (:action IS NULL OR action = :action)
           {}
           AND (:from IS NULL OR at_us >= :from)
           AND (:to IS NULL OR at_us < :to)
         ORDER BY seq {order} LIMIT :limit",
        // Spelled out, so that the index by target serves histories.
        if filter.target.is_some() { "AND target = :target" } else { "AND :target IS NULL" },
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let entries = statement
        .query_map(
            rusqlite::named_params! {
                ":organisation_id": organisation_id,
                ":after": after,
                ":actor": filter.actor.map(|actor| actor.to_string()),
                ":action": filter.action,
                ":target": filter.target,
                ":from": filter.from_us,
                ":to": filter.to_us,
                ":limit": limit + 1,
            },
            entry,
        )?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(entries, limit, kind, |entry| entry.seq.to_be_bytes().to_vec()))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let (body, hash): (String, [u8; 32]) = (row.get(0)?, row.get(1)?);
    let entry: Entry = serde_json::from_str(&body).map_err(|source| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(source))
    })?;
    Ok(Entry { hash: hex::encode(hash), ..entry })
}
