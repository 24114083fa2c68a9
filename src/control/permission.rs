//! Dual control of administrators (api.md §6).
//!
//! The permission is given by one holder and takes effect when another confirms. A reset of a holder's password makes
//! it pending again, because whoever reset it knows the password for a while. Nobody confirms what they started, and
//! nobody confirms themselves. The triggers of `schema/0002_member.sql` say the same.

use rusqlite::{
    OptionalExtension,
    types::{FromSql, FromSqlResult, ValueRef},
};

use super::{
    Actor, Control, Error, FieldError, Password,
    audit::{self, AuditEntry, Target},
    db::Tx,
    user::{self, User, difference, end_sessions, facts, find, touch},
};
use crate::model::{OrganisationId, UserId};

/// The one permission: to administer integrations, equipment and members (S001).
pub const PERMISSION: &str = "administration_integrations_access";

/// How a user stands to the permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Does not have it.
    None,
    /// Was given it; awaits another holder's confirmation.
    Pending,
    /// Has it.
    Held,
}

/// From the column `state`; without a row there is no permission.
impl FromSql for Standing {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value.as_str_or_null()? {
            Some("held") => Self::Held,
            Some("pending") => Self::Pending,
            _ => Self::None,
        })
    }
}

impl Control {
    /// Confirms what another holder started: the permission, or the reset of a holder's password.
    ///
    /// # Errors
    /// [`Error::Unready`] where nothing is pending or the user has not set their own password;
    /// [`Error::SelfConfirmation`].
    ///
    /// A permission that was confirmed by breaking the glass can be confirmed once more: it stops being an emergency.
    pub async fn confirm_user(&self, actor: Actor, id: UserId, if_match: Option<u64>) -> Result<User, Error> {
        self.write(move |tx| {
            tx.attempt(&actor, "user_confirm_refused", Target::User(id));
            actor.require_permission(tx)?;
            let is_emergency = is_emergency(tx, id)?;
            let user = confirmable(tx, actor.organisation_id, id, is_emergency)?;
            let is_another = "SELECT ?2 <> p.user_id AND ?2 IS NOT p.granted_by AND ?2 IS NOT u.password_reset_by
                 FROM user_permissions p JOIN users u ON u.id = p.user_id WHERE p.user_id = ?1";
            if !tx.query_row(is_another, (id, actor.user_id), |row| row.get::<_, bool>(0))? {
                return Err(Error::SelfConfirmation);
            }
            user::check_version(&user, if_match)?;
            tx.execute(
                "UPDATE user_permissions SET state = 'held', origin = 'grant', confirmed_by = ?2, confirmed_at_us = ?3
                 WHERE user_id = ?1 AND (state = 'pending' OR origin = 'break_glass' AND state = 'held')",
                (id, actor.user_id, tx.now_us),
            )?;
            hold(tx, AuditEntry::by(&actor, "user_confirm", Target::User(id)), &user)
        })
        .await
    }

    /// Gives a user a new one-time password, which is shown this once; their sessions end. A holder's permission is
    /// pending from now on until another holder confirms.
    ///
    /// # Errors
    /// [`Error::Unready`] for one's own password (change it instead) and for a user who is not active.
    pub async fn reset_password(
        &self,
        actor: Actor,
        id: UserId,
        if_match: Option<u64>,
    ) -> Result<(User, Password), Error> {
        let password = Password::generate()?;
        let hash = self.inner.passwords.hash(password.clone()).await?;
        let user = self
            .write(move |tx| {
                tx.attempt(&actor, "user_password_reset_refused", Target::User(id));
                actor.require_permission(tx)?;
                let before = find(tx, actor.organisation_id, id)?;
                if !before.active {
                    return Err(Error::Unready("the user is not active"));
                }
                if id == actor.user_id {
                    return Err(Error::Unready("your own password is changed, not reset: POST /admin/v1/password"));
                }
                user::check_version(&before, if_match)?;
                if before.permission == Standing::Held {
                    grant(tx, &actor, id)?;
                }
                tx.execute(
                    "UPDATE users SET password_hash = ?2, password_one_time = 1, password_reset_by = ?3 WHERE id = ?1",
                    (id, &hash, actor.user_id),
                )?;
                touch(tx, id)?;
                end_sessions(tx, id)?;
                let user = find(tx, actor.organisation_id, id)?;
                let (was, is) = difference(&facts(&before), &facts(&user));
                let entry = AuditEntry::by(&actor, "user_password_reset", Target::User(id));
                audit::append(tx, AuditEntry { before: Some(was.into()), after: Some(is.into()), ..entry })?;
                Ok(user)
            })
            .await?;
        Ok((user, password))
    }

    /// Confirms a pending permission from the server's command line, where at most one holder is left and dual
    /// control cannot work any more. Whoever can run it owns the machine; it is loud in the audit log.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unready`] as for [`Control::confirm_user`], and where two holders are left.
    pub async fn break_glass(&self, email: &str, reason: &str) -> Result<User, Error> {
        let (email, reason) = (email.to_lowercase(), reason.to_owned());
        self.write(move |tx| {
            if reason.trim().is_empty() {
                return Err(Error::Invalid(vec![FieldError::new("reason", "must say why the glass is broken")]));
            }
            let (organisation_id, id) = tx
                .query_row("SELECT organisation_id, id FROM users WHERE email_folded = ?1", [&email], |row| {
                    Ok((row.get::<_, OrganisationId>(0)?, row.get::<_, UserId>(1)?))
                })
                .optional()?
                .ok_or(Error::NotFound("user"))?;
            let user = confirmable(tx, organisation_id, id, false)?;
            if administrators_beside(tx, organisation_id, id)? > 1 {
                return Err(Error::Unready("two holders are left: one of them can confirm"));
            }
            tx.execute(
                "UPDATE user_permissions SET state = 'held', origin = 'break_glass', confirmed_by = NULL,
                     confirmed_at_us = ?2 WHERE user_id = ?1 AND state = 'pending'",
                (id, tx.now_us),
            )?;
            let entry = AuditEntry::by_server(organisation_id, "break_glass", Target::User(id));
            tracing::warn!(%organisation_id, user_id = %id, "break glass: a permission was confirmed without a second holder");
            hold(tx, AuditEntry { reason: Some(reason), ..entry }, &user)
        })
        .await
    }
}

impl Control {
    /// Permissions in force that were confirmed by breaking the glass and by no second holder since: organisation and
    /// user of each.
    pub async fn broken_glass(&self) -> Result<Vec<(OrganisationId, UserId)>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT u.organisation_id, u.id FROM user_permissions p JOIN users u ON u.id = p.user_id
                 WHERE p.state = 'held' AND p.origin = 'break_glass' ORDER BY u.id",
            )?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        })
        .await
    }
}

fn is_emergency(tx: &Tx<'_>, id: UserId) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM user_permissions
         WHERE user_id = ?1 AND state = 'held' AND origin = 'break_glass')";
    Ok(tx.query_row(sql, [id], |row| row.get(0))?)
}

/// Gives the permission, pending; a holder's becomes pending again.
pub(super) fn grant(tx: &Tx<'_>, actor: &Actor, id: UserId) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO user_permissions (user_id, permission, state, origin, granted_by, granted_at_us)
         VALUES (?1, ?2, 'pending', 'grant', ?3, ?4)
         ON CONFLICT DO UPDATE SET state = 'pending', origin = 'grant', granted_by = excluded.granted_by,
             granted_at_us = excluded.granted_at_us, confirmed_by = NULL, confirmed_at_us = NULL",
        (id, PERMISSION, actor.user_id, tx.now_us),
    )?;
    Ok(())
}

/// A user whose pending permission is ripe for confirmation. The state is judged before the person.
fn confirmable(tx: &Tx<'_>, organisation_id: OrganisationId, id: UserId, is_emergency: bool) -> Result<User, Error> {
    let user = find(tx, organisation_id, id)?;
    if user.permission != Standing::Pending && !(is_emergency && user.permission == Standing::Held) {
        return Err(Error::Unready("nothing of this user awaits confirmation"));
    }
    if !user.active {
        return Err(Error::Unready("the user is not active"));
    }
    if user.must_change_password {
        return Err(Error::Unready("the user has not set a password of their own yet"));
    }
    Ok(user)
}

/// The end of a confirmation: whoever reset the password is forgotten, the version moves, the entry is written.
fn hold(tx: &Tx<'_>, entry: AuditEntry, before: &User) -> Result<User, Error> {
    tx.execute("UPDATE users SET password_reset_by = NULL WHERE id = ?1", [before.id])?;
    touch(tx, before.id)?;
    let user = find(tx, before.organisation_id, before.id)?;
    let (was, is) = difference(&facts(before), &facts(&user));
    audit::append(tx, AuditEntry { before: Some(was.into()), after: Some(is.into()), ..entry })?;
    Ok(user)
}

/// Administrators of the organisation without `id`.
pub(super) fn administrators_beside(tx: &Tx<'_>, organisation_id: OrganisationId, id: UserId) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM administrators WHERE organisation_id = ?1 AND user_id <> ?2";
    Ok(tx.query_row(sql, (organisation_id, id), |row| row.get(0))?)
}

#[cfg(test)]
mod tests;
