//! Grants that end by themselves: a temporary limit (A25) and a wider time window for backfill.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Integration, lifecycle, patch::FieldCheck, row};
use crate::{
    control::{
        Actor, Control, Error, FieldError,
        audit::{self, AuditEntry, Target},
        db::{self, Tx},
        text,
    },
    model::{
        IntegrationId, OrganisationId, Status,
        integration::{BackfillGrant, RPM_MAX, TemporaryLimit},
    },
};

/// How far ahead a grant may end, in microseconds: a year. A grant is not a setting.
const UNTIL_AHEAD_MAX_US: i64 = 366 * 86_400 * 1_000_000;

/// A temporary limit, a backfill window, or both, with one end and one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRequest {
    /// Requests a minute while it lasts; none: the limit stays.
    pub rpm: Option<i64>,
    /// Oldest timestamp allowed while it lasts, in microseconds (Unix); none: the window stays.
    pub window_start_us: Option<i64>,
    /// First microsecond at which it no longer holds.
    pub until_us: i64,
    /// Why; required.
    pub reason: String,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantKind {
    /// `rpm`.
    TemporaryLimit,
    /// `window_start`.
    Backfill,
}

impl Control {
    /// Gives what `request` asks for, in place of an earlier grant of the same kind. It holds from the next request.
    pub async fn grant(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        request: GrantRequest,
    ) -> Result<Integration, Error> {
        let (integration, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_grant_refused", Target::Integration(id));
                let before = lifecycle::editable(tx, &actor, id, "grant")?;
                let mut wanted = Grants::of(&before);
                accept(tx, &before, &request, &mut wanted)?;
                lifecycle::check_version(&before, if_match)?;
                let entry = AuditEntry::by(&actor, "integration_grant", Target::Integration(id));
                put(tx, AuditEntry { reason: Some(request.reason), ..entry }, &before, &wanted)?;
                lifecycle::reload(tx, &before)
            })
            .await?;
        Ok(integration)
    }

    /// Ends a grant before its time; both where `kind` is not given. Where there is none, nothing changes.
    pub async fn end_grants(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        kind: Option<GrantKind>,
    ) -> Result<Integration, Error> {
        let (integration, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_grant_end_refused", Target::Integration(id));
                let before = lifecycle::editable(tx, &actor, id, "grant")?;
                lifecycle::check_version(&before, if_match)?;
                let mut wanted = Grants::of(&before);
                if kind != Some(GrantKind::Backfill) {
                    wanted.temporary = None;
                }
                if kind != Some(GrantKind::TemporaryLimit) {
                    wanted.backfill = None;
                }
                if wanted == Grants::of(&before) {
                    return Ok((before, vec![]));
                }
                let entry = AuditEntry::by(&actor, "integration_grant_end", Target::Integration(id));
                put(tx, entry, &before, &wanted)?;
                lifecycle::reload(tx, &before)
            })
            .await?;
        Ok(integration)
    }
}

impl Control {
    /// Takes out the grants whose time is over, and says so in the audit log as the server's doing. They held no more
    /// since their end: requests are judged by the time, not by this. How many integrations changed.
    pub async fn end_due_grants(&self) -> Result<usize, Error> {
        let now_us = db::now_us();
        let due = self.read(move |connection| {
            let sql = "SELECT organisation_id, id FROM integrations
                 WHERE status <> 'revoked' AND (temporary_until_us <= ?1 OR backfill_until_us <= ?1) LIMIT 1000";
            let mut statement = connection.prepare_cached(sql)?;
            let ids = statement.query_map([now_us], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(ids.collect::<Result<Vec<(OrganisationId, IntegrationId)>, _>>()?)
        });
        let due = due.await?;
        for (organisation_id, id) in &due {
            self.end_due(*organisation_id, *id).await?;
        }
        Ok(due.len())
    }

    async fn end_due(&self, organisation_id: OrganisationId, id: IntegrationId) -> Result<(), Error> {
        self.change(move |tx| {
            let before = row::load(tx, organisation_id, id)?;
            let mut wanted = Grants::of(&before);
            wanted.temporary = wanted.temporary.filter(|(limit, _)| limit.until_us > tx.now_us);
            wanted.backfill = wanted.backfill.filter(|(grant, _)| grant.until_us > tx.now_us);
            if before.status == Status::Revoked || wanted == Grants::of(&before) {
                return Ok(((), vec![]));
            }
            let entry = AuditEntry::by_server(organisation_id, "integration_grant_expire", Target::Integration(id));
            put(tx, entry, &before, &wanted)?;
            let (_, changes) = lifecycle::reload(tx, &before)?;
            Ok(((), changes))
        })
        .await?;
        Ok(())
    }
}

/// The grants of an integration, each with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grants {
    temporary: Option<(TemporaryLimit, String)>,
    backfill: Option<(BackfillGrant, String)>,
}

impl Grants {
    fn of(integration: &Integration) -> Self {
        Self {
            temporary: integration.temporary_limit.zip(integration.temporary_reason.clone()),
            backfill: integration.backfill.zip(integration.backfill_reason.clone()),
        }
    }
}

fn accept(tx: &Tx<'_>, before: &Integration, request: &GrantRequest, wanted: &mut Grants) -> Result<(), Error> {
    let mut check = FieldCheck { connection: tx, organisation_id: before.organisation_id, errors: Vec::new() };
    let until_us = request.until_us;
    if request.rpm.is_none() && request.window_start_us.is_none() {
        check.errors.push(FieldError::new("rpm", "give rpm, window_start or both"));
    }
    let rpm = request.rpm.and_then(|rpm| check.number("rpm", rpm, RPM_MAX));
    if until_us <= tx.now_us || until_us > tx.now_us + UNTIL_AHEAD_MAX_US {
        check.errors.push(FieldError::new("until", "must lie in the future, by a year at most"));
    }
    if request.window_start_us.is_some_and(|start_us| start_us < 0 || start_us >= tx.now_us) {
        check.errors.push(FieldError::new("window_start", "must lie in the past, not before 1970"));
    }
    text::check_prose("reason", &request.reason, &mut check.errors);
    Error::of_fields(check.errors)?;
    if let Some(rpm) = rpm {
        wanted.temporary = Some((TemporaryLimit { rpm, until_us }, request.reason.clone()));
    }
    if let Some(window_start_us) = request.window_start_us {
        wanted.backfill = Some((BackfillGrant { window_start_us, until_us }, request.reason.clone()));
    }
    Ok(())
}

fn put(tx: &Tx<'_>, entry: AuditEntry, before: &Integration, wanted: &Grants) -> Result<(), Error> {
    let (temporary, backfill) = (wanted.temporary.as_ref(), wanted.backfill.as_ref());
    let changed = tx
        .prepare_cached(
            "UPDATE integrations SET version = version + 1, updated_at_us = :now, temporary_rpm = :rpm,
               temporary_until_us = :rpm_until, temporary_reason = :rpm_reason, backfill_start_us = :start,
               backfill_until_us = :backfill_until, backfill_reason = :backfill_reason
             WHERE id = :id AND organisation_id = :organisation_id AND version = :version AND status <> 'revoked'",
        )?
        .execute(rusqlite::named_params! {
            ":id": before.id,
            ":organisation_id": before.organisation_id,
            ":version": before.version,
            ":now": tx.now_us,
            ":rpm": temporary.map(|(limit, _)| limit.rpm),
            ":rpm_until": temporary.map(|(limit, _)| limit.until_us),
            ":rpm_reason": temporary.map(|(_, reason)| reason),
            ":start": backfill.map(|(grant, _)| grant.window_start_us),
            ":backfill_until": backfill.map(|(grant, _)| grant.until_us),
            ":backfill_reason": backfill.map(|(_, reason)| reason),
        })?;
    lifecycle::expect_changed(tx, before, changed)?;
    let (was, is) = (told(&Grants::of(before)), told(wanted));
    audit::append(tx, AuditEntry { before: Some(was), after: Some(is), ..entry })
}

fn told(grants: &Grants) -> Value {
    let mut told = Map::new();
    let time = |us| Timestamp::from_microsecond(us).ok().map(|at| at.to_string());
    if let Some((limit, _)) = &grants.temporary {
        told.insert("temporary_limit".to_owned(), json!({ "rpm": limit.rpm, "until": time(limit.until_us) }));
    }
    if let Some((grant, _)) = &grants.backfill {
        let value = json!({ "window_start": time(grant.window_start_us), "until": time(grant.until_us) });
        told.insert("backfill".to_owned(), value);
    }
    Value::Object(told)
}
