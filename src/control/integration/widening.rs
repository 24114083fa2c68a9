//! More scopes than were approved (A11).
//!
//! One administrator may widen an integration at any time; the audit log tells it loudly. Where
//! `control.sensitive_scopes_need_two` is on, sensitive scopes wait until a second administrator confirms, and an edit
//! of what was approved takes the approval back. The trigger `widening_waits` says the same to a hand at the SQL
//! prompt.

use serde_json::json;

use super::{Deed, Integration, lifecycle, patch::names, row};
use crate::{
    control::{
        Actor, Control, Error, FieldError,
        audit::{self, AuditEntry, Target},
        db::Tx,
        text,
    },
    model::{IntegrationId, Scope, Status, scope::Sensitivity},
};

/// Sensitive scopes that wait for a second administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingScopes {
    /// Which; not granted yet.
    pub scopes: Vec<Scope>,
    /// Who asked for them, and when. They cannot confirm.
    pub asked: Deed,
}

/// What an update does beside changing fields.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// Scopes that have to wait.
    pub(super) pending: Option<Vec<Scope>>,
    /// The approval is taken back, provided that what was approved changes.
    pub(super) is_reviewed_anew: bool,
}

/// The scopes of `wanted` that `before` does not have.
pub(super) fn added(before: &Integration, wanted: Option<&[Scope]>) -> impl Iterator<Item = Scope> {
    let wanted = wanted.unwrap_or_default().to_vec();
    let had = before.scopes.clone();
    wanted.into_iter().filter(move |scope| !had.contains(scope))
}

/// The justification as it is to be kept. Scopes with personal or financial data need one where the policy says so.
pub(super) fn justification(
    tx: &Tx<'_>,
    given: Option<&str>,
    added: impl Iterator<Item = Scope>,
    errors: &mut Vec<FieldError>,
) -> Option<String> {
    if let Some(given) = given {
        text::check_prose("justification", given, errors);
        return Some(given.to_owned());
    }
    let telling = |scope: &Scope| matches!(scope.category().sensitivity(), Sensitivity::Pii | Sensitivity::Financial);
    let missing: Vec<&str> = added.filter(telling).map(Scope::as_str).collect();
    if tx.policy.justification_required && !missing.is_empty() {
        let message = format!("say why {} is needed: it exposes personal or financial data", missing.join(", "));
        errors.push(FieldError::new("justification", message));
    }
    None
}

/// Under the policy whoever edited a request last cannot approve it: nobody else has seen what it says now.
pub(super) fn check_reviewer(tx: &Tx<'_>, actor: &Actor, id: IntegrationId) -> Result<(), Error> {
    if !tx.policy.sensitive_scopes_need_two {
        return Ok(());
    }
    let sql = "SELECT edited_by IS ?2 FROM integrations WHERE id = ?1";
    let is_own_edit: bool = tx.query_row(sql, (id, actor.user_id), |row| row.get(0))?;
    if is_own_edit { Err(Error::SelfApproval) } else { Ok(()) }
}

/// Takes the scopes that have to wait out of `wanted`.
pub(super) fn judge(tx: &Tx<'_>, before: &Integration, wanted: &mut Vec<Scope>) -> Result<Effect, Error> {
    if !tx.policy.sensitive_scopes_need_two {
        return Ok(Effect::default());
    }
    match before.status {
        Status::Requested | Status::Revoked => Ok(Effect::default()),
        Status::Approved => Ok(Effect { pending: None, is_reviewed_anew: true }),
        Status::Active | Status::Suspended => {
            let sensitive: Vec<Scope> = added(before, Some(wanted.as_slice()))
                .filter(|scope| scope.category().sensitivity().is_sensitive())
                .collect();
            wanted.retain(|scope| !sensitive.contains(scope));
            let asked = before.scopes_pending.as_ref().map(|pending| &pending.scopes);
            match asked {
                _ if sensitive.is_empty() => Ok(Effect::default()),
                Some(asked) if sensitive.iter().all(|scope| asked.contains(scope)) => Ok(Effect::default()),
                Some(_) => Err(Error::Unready("scopes are waiting already: confirm or decline them first")),
                None => Ok(Effect { pending: Some(sensitive), is_reviewed_anew: false }),
            }
        }
    }
}

/// Tells loudly that an integration may do more than what was approved.
pub(super) fn tell(tx: &Tx<'_>, actor: &Actor, before: &Integration, scopes: &[Scope]) -> Result<(), Error> {
    let added: Vec<Scope> = added(before, Some(scopes)).collect();
    if added.is_empty() || before.status == Status::Requested {
        return Ok(());
    }
    let is_sensitive = added.iter().any(|scope| scope.category().sensitivity().is_sensitive());
    tracing::warn!(
        integration_id = %before.id, user_id = %actor.user_id, is_sensitive, "scopes were widened after the approval"
    );
    let after = json!({
        "added": names(added.into_iter()),
        "scopes": names(scopes.iter().copied()),
        "approved_scopes": before.approved_scopes.as_ref().map(|scopes| names(scopes.iter().copied())),
        "sensitive": is_sensitive,
        "asked_by": before.scopes_pending.as_ref().map(|pending| pending.asked.by),
    });
    let entry = AuditEntry::by(actor, "scopes_widened", Target::Integration(before.id));
    let was = Some(json!({ "scopes": names(before.scopes.iter().copied()) }));
    audit::append(tx, AuditEntry { before: was, after: Some(after), ..entry })
}

impl Control {
    /// Grants the scopes that wait. Never by who asked for them.
    ///
    /// # Errors
    /// [`Error::Unready`] where none wait; [`Error::SelfConfirmation`]; [`Error::VersionConflict`].
    pub async fn confirm_scopes(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
    ) -> Result<Integration, Error> {
        let (integration, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_scopes_confirm_refused", Target::Integration(id));
                let (before, pending) = waiting(tx, &actor, id, "confirm of scopes")?;
                if pending.asked.by == actor.user_id {
                    return Err(Error::SelfConfirmation);
                }
                lifecycle::check_version(&before, if_match)?;
                let mut scopes = before.scopes.clone();
                scopes.extend(pending.scopes.iter().filter(|scope| !before.scopes.contains(scope)));
                let changed = tx
                    .prepare_cached(
                        "UPDATE integrations SET version = version + 1, updated_at_us = ?1, scopes = ?2,
                           scopes_pending = NULL, scopes_pending_by = NULL, scopes_pending_at_us = NULL,
                           scopes_confirmed_by = ?3, scopes_confirmed_version = version + 1
                         WHERE id = ?4 AND organisation_id = ?5 AND version = ?6 AND scopes_pending_by <> ?3",
                    )?
                    .execute((
                        tx.now_us,
                        row::scopes_text(&scopes),
                        actor.user_id,
                        before.id,
                        before.organisation_id,
                        before.version,
                    ))?;
                lifecycle::expect_changed(tx, &before, changed)?;
                settle(tx, &actor, &before, &pending, "integration_scopes_confirm", None)?;
                tell(tx, &actor, &before, &scopes)?;
                lifecycle::reload(tx, &before)
            })
            .await?;
        Ok(integration)
    }

    /// Drops the scopes that wait. Whoever asked for them may as well: they take their wish back.
    ///
    /// # Errors
    /// [`Error::Unready`] where none wait; [`Error::VersionConflict`].
    pub async fn decline_scopes(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        reason: Option<String>,
    ) -> Result<Integration, Error> {
        let (integration, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_scopes_decline_refused", Target::Integration(id));
                let (before, pending) = waiting(tx, &actor, id, "decline of scopes")?;
                let reason = text::optional_reason("reason", reason)?;
                lifecycle::check_version(&before, if_match)?;
                let changed = tx
                    .prepare_cached(
                        "UPDATE integrations SET version = version + 1, updated_at_us = ?1,
                           scopes_pending = NULL, scopes_pending_by = NULL, scopes_pending_at_us = NULL
                         WHERE id = ?2 AND organisation_id = ?3 AND version = ?4",
                    )?
                    .execute((tx.now_us, before.id, before.organisation_id, before.version))?;
                lifecycle::expect_changed(tx, &before, changed)?;
                settle(tx, &actor, &before, &pending, "integration_scopes_decline", reason)?;
                lifecycle::reload(tx, &before)
            })
            .await?;
        Ok(integration)
    }
}

/// The integration with the scopes that wait.
fn waiting(
    tx: &Tx<'_>,
    actor: &Actor,
    id: IntegrationId,
    action: &'static str,
) -> Result<(Integration, PendingScopes), Error> {
    let before = lifecycle::editable(tx, actor, id, action)?;
    let pending = before.scopes_pending.clone().ok_or(Error::Unready("no scopes wait for a second administrator"))?;
    Ok((before, pending))
}

fn settle(
    tx: &Tx<'_>,
    actor: &Actor,
    before: &Integration,
    pending: &PendingScopes,
    action: &'static str,
    reason: Option<String>,
) -> Result<(), Error> {
    let was = json!({ "scopes_pending": names(pending.scopes.iter().copied()), "asked_by": pending.asked.by });
    let is = json!({ "scopes_pending": null });
    let entry = AuditEntry::by(actor, action, Target::Integration(before.id));
    audit::append(tx, AuditEntry { before: Some(was), after: Some(is), reason, ..entry })
}
