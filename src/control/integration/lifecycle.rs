//! The life of an integration: the one [`transition`], which every change of status goes through.
//!
//! Judged in this order: permission, existence, status (409), place and credentials (409), person (403), version
//! (412). The UPDATE repeats all of it in its WHERE, so that it cannot act on what has changed since it was read; the
//! constraints and triggers of the schema say it a third time.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::{Integration, key::Issue, row};
use crate::{
    control::{Actor, Change, Error, db::Tx},
    model::{IntegrationId, Status, integration::INTEGRATIONS_MAX},
};

/// Why an integration is suspended, roughly (S110).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the source text's own three")]
pub enum SuspendCategory {
    SecurityConcern,
    ContractPause,
    UnexpectedApiBehaviour,
}

impl SuspendCategory {
    /// All three.
    pub const ALL: [Self; 3] = [Self::SecurityConcern, Self::ContractPause, Self::UnexpectedApiBehaviour];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecurityConcern => "security_concern",
            Self::ContractPause => "contract_pause",
            Self::UnexpectedApiBehaviour => "unexpected_api_behaviour",
        }
    }

    /// The category called `name`, exactly as spelled.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == name)
    }
}

impl ToSql for SuspendCategory {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_str()))
    }
}

impl FromSql for SuspendCategory {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

/// Which key a reactivation makes live (A2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReactivateWith {
    /// A new one, and a new client secret where the embedded issuer made the client.
    #[default]
    Generate,
    /// The one that was staged while suspended.
    KeepStaged,
}

/// A step of life, with what it writes.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Approve,
    Activate(&'a Issue),
    Suspend {
        reason: &'a str,
        category: Option<SuspendCategory>,
    },
    /// With new credentials, or with the staged key.
    Reactivate(Option<&'a Issue>),
    Revoke {
        reason: Option<&'a str>,
    },
}

/// What is tried, apart from what it writes: enough to judge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Approve,
    Activate,
    Suspend,
    Reactivate(ReactivateWith),
    Revoke,
    Regenerate,
}

impl Action {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Activate => "activate",
            Self::Suspend => "suspend",
            Self::Reactivate(_) => "reactivate",
            Self::Revoke => "revoke",
            Self::Regenerate => "regenerate",
        }
    }

    /// The table of S149.
    const fn is_possible_in(self, status: Status) -> bool {
        match self {
            Self::Approve => matches!(status, Status::Requested),
            Self::Activate => matches!(status, Status::Approved),
            Self::Suspend => matches!(status, Status::Active),
            Self::Reactivate(_) => matches!(status, Status::Suspended),
            Self::Revoke => !matches!(status, Status::Revoked),
            Self::Regenerate => matches!(status, Status::Active | Status::Suspended),
        }
    }
}

/// Reads the integration and judges whether `actor` may do `action` to it now.
pub(super) fn judge(tx: &Tx<'_>, actor: &Actor, id: IntegrationId, action: Action) -> Result<Integration, Error> {
    actor.require_permission(tx)?;
    let integration = row::load(tx, actor.organisation_id, id)?;
    if !action.is_possible_in(integration.status) {
        return Err(Error::InvalidState { action: action.name(), status: integration.status });
    }
    match action {
        Action::Approve if integration.requested.by == actor.user_id => Err(Error::SelfApproval),
        Action::Activate => {
            require_place(tx, &integration)?;
            require_client(tx, &integration)?;
            Ok(integration)
        }
        Action::Reactivate(with) => {
            if with == ReactivateWith::KeepStaged && integration.staged_key.is_none() {
                return Err(Error::Unready(
                    "no key is staged: regenerate one while suspended, or reactivate with generate",
                ));
            }
            match &integration.suspended {
                Some(suspended) if suspended.by != actor.user_id => Ok(integration),
                _ => Err(Error::SelfReactivation),
            }
        }
        Action::Approve | Action::Suspend | Action::Revoke | Action::Regenerate => Ok(integration),
    }
}

fn require_place(tx: &Tx<'_>, integration: &Integration) -> Result<(), Error> {
    let taken: usize = tx
        .prepare_cached("SELECT count(*) FROM integrations WHERE organisation_id = ?1 AND slot IS NOT NULL")?
        .query_row([integration.organisation_id], |row| row.get(0))?;
    if taken < INTEGRATIONS_MAX { Ok(()) } else { Err(Error::IntegrationLimit) }
}

fn require_client(tx: &Tx<'_>, integration: &Integration) -> Result<(), Error> {
    if integration.client.is_some() || tx.issuers.embedded.is_some() {
        Ok(())
    } else {
        Err(Error::Unready("no client is bound: PATCH client_id with the client that the token issuer knows it by"))
    }
}

/// The integration to be edited by `actor`: any that is not revoked (S102).
pub(super) fn editable(
    tx: &Tx<'_>,
    actor: &Actor,
    id: IntegrationId,
    action: &'static str,
) -> Result<Integration, Error> {
    actor.require_permission(tx)?;
    let integration = row::load(tx, actor.organisation_id, id)?;
    match integration.status {
        Status::Revoked => Err(Error::InvalidState { action, status: Status::Revoked }),
        _ => Ok(integration),
    }
}

/// Holds the version that the caller has read against the one that stands (S073).
pub(super) fn check_version(integration: &Integration, if_match: Option<u64>) -> Result<(), Error> {
    match if_match {
        Some(version) if version != integration.version => Err(Error::VersionConflict { current: integration.version }),
        _ => Ok(()),
    }
}

/// An UPDATE that repeats what was judged must meet its row; otherwise it has changed since.
pub(super) fn expect_changed(tx: &Tx<'_>, before: &Integration, changed: usize) -> Result<(), Error> {
    if changed == 1 {
        return Ok(());
    }
    Err(Error::VersionConflict { current: row::load(tx, before.organisation_id, before.id)?.version })
}

/// The integration as it stands now, with the change that tells of it.
pub(super) fn reload(tx: &Tx<'_>, before: &Integration) -> Result<(Integration, Vec<Change>), Error> {
    let after = row::load(tx, before.organisation_id, before.id)?;
    let facts = after.facts(tx.issuers);
    Ok((after, vec![Change::Integration(facts)]))
}

/// Takes `before`, which was judged, one step on.
pub(super) fn transition(tx: &Tx<'_>, actor: &Actor, before: &Integration, step: &Step<'_>) -> Result<(), Error> {
    let (from, set) = match step {
        Step::Approve => (
            "status = 'requested' AND requested_by <> :actor",
            "status = 'approved', approved_by = :actor, approved_at_us = :now, approved_scopes = scopes",
        ),
        Step::Activate(_) => (
            "status = 'approved'",
            "status = 'active', activated_by = :actor, activated_at_us = :now, key_generation = :generation,
             client_issuer = coalesce(client_issuer, :client_issuer), client_id = coalesce(client_id, :client_id),
             client_secret_hash = :secret_hash,
             slot = (WITH RECURSIVE place (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < 20)
                     SELECT min(n) FROM place WHERE n NOT IN (
                       SELECT slot FROM integrations WHERE organisation_id = :organisation_id AND slot IS NOT NULL))",
        ),
        Step::Suspend { .. } => (
            "status = 'active'",
            "status = 'suspended', suspended_by = :actor, suspended_at_us = :now, suspend_reason = :reason,
             suspend_category = :category, reactivated_by = NULL, reactivated_at_us = NULL",
        ),
        Step::Reactivate(Some(_)) => (
            "status = 'suspended' AND suspended_by <> :actor",
            "status = 'active', reactivated_by = :actor, reactivated_at_us = :now, key_generation = :generation,
             staged_generation = NULL, client_secret_hash = coalesce(:secret_hash, client_secret_hash)",
        ),
        Step::Reactivate(None) => (
            "status = 'suspended' AND suspended_by <> :actor AND staged_generation IS NOT NULL",
            "status = 'active', reactivated_by = :actor, reactivated_at_us = :now,
             key_generation = staged_generation, staged_generation = NULL",
        ),
        Step::Revoke { .. } => (
            "status <> 'revoked'",
            "status = 'revoked', revoked_by = :actor, revoked_at_us = :now, revoke_reason = :reason, slot = NULL,
             staged_generation = NULL, client_secret_hash = NULL, scopes_pending = NULL, scopes_pending_by = NULL,
             scopes_pending_at_us = NULL",
        ),
    };
    let sql = format!(
        "UPDATE integrations SET version = version + 1, updated_at_us = :now, {set}
         WHERE id = :id AND organisation_id = :organisation_id AND version = :version AND {from}"
    );
    let changed = execute(tx, actor, before, step, &sql)?;
    expect_changed(tx, before, changed)
}

fn execute(tx: &Tx<'_>, actor: &Actor, before: &Integration, step: &Step<'_>, sql: &str) -> Result<usize, Error> {
    let issue = match step {
        Step::Activate(issue) | Step::Reactivate(Some(issue)) => Some(*issue),
        _ => None,
    };
    let client = issue.and_then(|issue| issue.client.as_ref());
    let (reason, category) = match step {
        Step::Suspend { reason, category } => (Some(*reason), *category),
        Step::Revoke { reason } => (*reason, None),
        _ => (None, None),
    };
    let values: [(&str, &dyn ToSql); 11] = [
        (":id", &before.id),
        (":organisation_id", &before.organisation_id),
        (":version", &before.version),
        (":actor", &actor.user_id),
        (":now", &tx.now_us),
        (":generation", &issue.map(|issue| issue.generation)),
        (":client_issuer", &client.map(|_| row::EMBEDDED)),
        (":client_id", &client.map(|client| client.id.as_str())),
        (":secret_hash", &client.map(|client| client.secret.hash())),
        (":reason", &reason),
        (":category", &category),
    ];
    let mut statement = tx.prepare_cached(sql)?;
    for (name, value) in values {
        // Each step names only what it writes.
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(statement.raw_execute()?)
}
