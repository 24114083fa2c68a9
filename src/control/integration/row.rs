//! An integration's row, with what is computed beside it.

use rusqlite::{Connection, OptionalExtension, Row, types::FromSql};

use super::{
    Allowlist, BoundClient, Deed, Integration, KeyView, PendingScopes,
    warning::{self, Surroundings},
};
use crate::{
    control::{Error, Vendor},
    model::{
        IntegrationId, OrganisationId, Scope, Status,
        integration::{BackfillGrant, TemporaryLimit},
    },
};

/// What `client_issuer` holds for the embedded issuer. An external one is a URL, so the two cannot be confused; and
/// the binding outlives a change of our own URL.
pub(super) const EMBEDDED: &str = "embedded";

/// A SELECT that [`read`] understands, of the rows `i` that meet `condition`.
pub(super) fn select(condition: &str) -> String {
    format!(
        "SELECT i.*,
           live.prefix AS live_prefix, live.issued_at_us AS live_issued_at_us, live_use.last_used_at_us AS live_used_us,
           staged.prefix AS staged_prefix, staged.issued_at_us AS staged_issued_at_us,
           (SELECT max(last_used_at_us) FROM key_usage WHERE integration_id = i.id) AS last_used_at_us,
           (SELECT count(*) FROM administrators a
            WHERE a.organisation_id = i.organisation_id AND a.user_id <> i.requested_by) AS eligible_approvers,
           (SELECT count(*) FROM integrations o
            WHERE o.organisation_id = i.organisation_id AND o.name = i.name COLLATE NOCASE
              AND o.status <> 'revoked' AND o.id <> i.id) AS namesakes,
           (SELECT count(*) FROM integrations o
            WHERE o.organisation_id = i.organisation_id AND o.slot IS NOT NULL) AS slots_used
         FROM integrations i
         LEFT JOIN api_keys live ON live.integration_id = i.id AND live.generation = i.key_generation
         LEFT JOIN api_keys staged ON staged.integration_id = i.id AND staged.generation = i.staged_generation
         LEFT JOIN key_usage live_use ON live_use.integration_id = i.id AND live_use.generation = i.key_generation
         WHERE {condition}"
    )
}

/// The integration `id`, if it is one of `organisation_id`; another's is not found either (S008).
pub(in crate::control) fn load(
    connection: &Connection,
    organisation_id: OrganisationId,
    id: IntegrationId,
) -> Result<Integration, Error> {
    connection
        .prepare_cached(&select("i.id = ?1 AND i.organisation_id = ?2"))?
        .query_row((id, organisation_id), read)
        .optional()?
        .ok_or(Error::NotFound("integration"))
}

/// The integration in `row`, a row of [`select`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Integration> {
    let status: Status = row.get("status")?;
    let mut integration = Integration {
        id: row.get("id")?,
        organisation_id: row.get("organisation_id")?,
        status,
        version: row.get("version")?,
        vendor: row.get("vendor")?,
        name: row.get("name")?,
        description: row.get("description")?,
        owner_id: row.get("owner_id")?,
        contacts: json(row, "contacts")?,
        scopes: row.get::<_, ScopeList>("scopes")?.0,
        rpm: row.get("rpm")?,
        daily_quota: row.get("daily_quota")?,
        keep_rejected: row.get("keep_rejected")?,
        allowlist: Allowlist { enabled: row.get("allowlist_enabled")?, entries: json(row, "allowlist")? },
        temporary_limit: temporary_limit(row)?,
        temporary_reason: row.get("temporary_reason")?,
        backfill: backfill(row)?,
        backfill_reason: row.get("backfill_reason")?,
        client: client(row)?,
        key: key(row, "key_generation", "live_prefix", "live_issued_at_us", Some("live_used_us"))?,
        staged_key: key(row, "staged_generation", "staged_prefix", "staged_issued_at_us", None)?,
        last_used_at_us: row.get("last_used_at_us")?,
        requested: Deed { by: row.get("requested_by")?, at_us: row.get("requested_at_us")? },
        approved: deed(row, "approved_by", "approved_at_us")?,
        approved_scopes: row.get::<_, Option<ScopeList>>("approved_scopes")?.map(|list| list.0),
        activated: deed(row, "activated_by", "activated_at_us")?,
        suspended: deed(row, "suspended_by", "suspended_at_us")?,
        suspend_reason: row.get("suspend_reason")?,
        suspend_category: row.get("suspend_category")?,
        reactivated: deed(row, "reactivated_by", "reactivated_at_us")?,
        revoked: deed(row, "revoked_by", "revoked_at_us")?,
        revoke_reason: row.get("revoke_reason")?,
        scopes_pending: scopes_pending(row)?,
        justification: row.get("justification")?,
        updated_at_us: row.get("updated_at_us")?,
        eligible_approvers: row.get("eligible_approvers")?,
        warnings: vec![],
    };
    let surroundings = Surroundings { namesakes: row.get("namesakes")?, slots_used: row.get("slots_used")? };
    integration.warnings = warning::of(&integration, &surroundings);
    Ok(integration)
}

fn deed(row: &Row<'_>, by: &str, at_us: &str) -> rusqlite::Result<Option<Deed>> {
    let (by, at_us): (Option<_>, Option<i64>) = (row.get(by)?, row.get(at_us)?);
    Ok(by.zip(at_us).map(|(by, at_us)| Deed { by, at_us }))
}

fn key(
    row: &Row<'_>,
    generation: &str,
    prefix: &str,
    issued_at_us: &str,
    used: Option<&str>,
) -> rusqlite::Result<Option<KeyView>> {
    let Some(generation) = row.get(generation)? else { return Ok(None) };
    let last_used_at_us = used.map(|column| row.get(column)).transpose()?.flatten();
    Ok(Some(KeyView { prefix: row.get(prefix)?, issued_at_us: row.get(issued_at_us)?, generation, last_used_at_us }))
}

fn temporary_limit(row: &Row<'_>) -> rusqlite::Result<Option<TemporaryLimit>> {
    let (rpm, until_us): (Option<u32>, Option<i64>) = (row.get("temporary_rpm")?, row.get("temporary_until_us")?);
    Ok(rpm.zip(until_us).map(|(rpm, until_us)| TemporaryLimit { rpm, until_us }))
}

fn scopes_pending(row: &Row<'_>) -> rusqlite::Result<Option<PendingScopes>> {
    let scopes = row.get::<_, Option<ScopeList>>("scopes_pending")?;
    let asked = deed(row, "scopes_pending_by", "scopes_pending_at_us")?;
    Ok(scopes.zip(asked).map(|(scopes, asked)| PendingScopes { scopes: scopes.0, asked }))
}

fn backfill(row: &Row<'_>) -> rusqlite::Result<Option<BackfillGrant>> {
    let (start, until): (Option<i64>, Option<i64>) = (row.get("backfill_start_us")?, row.get("backfill_until_us")?);
    Ok(start.zip(until).map(|(window_start_us, until_us)| BackfillGrant { window_start_us, until_us }))
}

fn client(row: &Row<'_>) -> rusqlite::Result<Option<BoundClient>> {
    let (issuer, client_id): (Option<String>, Option<String>) = (row.get("client_issuer")?, row.get("client_id")?);
    Ok(issuer
        .zip(client_id)
        .map(|(issuer, client_id)| BoundClient { issuer: Some(issuer).filter(|issuer| issuer != EMBEDDED), client_id }))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get::<_, Json<T>>(column).map(|json| json.0)
}

/// A column that holds JSON text.
struct Json<T>(T);

impl<T: serde::de::DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Self)
            .map_err(|source| rusqlite::types::FromSqlError::Other(Box::new(source)))
    }
}

/// Scopes in the order they were given, as a JSON array of their names.
struct ScopeList(Vec<Scope>);

impl FromSql for ScopeList {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        let Json(names) = Json::<Vec<String>>::column_result(value)?;
        let scopes: Option<Vec<Scope>> = names.iter().map(|name| Scope::parse(name)).collect();
        scopes.map(Self).ok_or(rusqlite::types::FromSqlError::InvalidType)
    }
}

impl FromSql for Vendor {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        Self::parse(value.as_str()?).ok_or(rusqlite::types::FromSqlError::InvalidType)
    }
}

/// `scopes` as its column holds them.
pub(super) fn scopes_text(scopes: &[Scope]) -> String {
    let names: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    serde_json::Value::from(names).to_string()
}
