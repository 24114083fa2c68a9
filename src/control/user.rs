//! Members of an organisation, and dual control of administrators (api.md §6).
//!
//! The permission is given by one holder and takes effect when another confirms. A reset of a holder's password makes
//! it pending again, because whoever reset it knows the password for a while. Nobody confirms what they started, and
//! nobody confirms themselves.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value, json};

use super::{
    Actor, Control, Error, FieldError, Password,
    audit::{self, AuditEntry, Target},
    db::Tx,
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

/// A member of an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Immutable; what separation of duties compares (S068).
    pub id: UserId,
    /// Whose member.
    pub organisation_id: OrganisationId,
    /// Signs in with it. Unique over all organisations, whatever the case.
    pub email: String,
    /// For people.
    pub name: String,
    /// Whether they may administer integrations.
    pub permission: Standing,
    /// Whether they can sign in.
    pub active: bool,
    /// They still have a password that somebody else knows, and can do nothing but change it.
    pub must_change_password: bool,
    /// Grows by one with each change.
    pub version: u64,
    /// When they were made, in microseconds (Unix).
    pub created_at_us: i64,
    /// When they last signed in, in microseconds (Unix).
    pub last_login_at_us: Option<i64>,
}

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// See [`User::email`].
    pub email: String,
    /// See [`User::name`].
    pub name: String,
    /// Whether the permission is asked for; it stays pending until another holder confirms.
    pub permission: bool,
}

/// Changes to a user; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct UserPatch {
    /// A new address.
    pub email: Option<String>,
    /// A new name.
    pub name: Option<String>,
    /// Gives the permission (pending) or takes it away (at once).
    pub permission: Option<bool>,
    /// Deactivates, which ends their sessions, or activates.
    pub active: Option<bool>,
}

impl Control {
    /// The members of the actor's organisation in order of creation, those after `after`, at most `limit`.
    pub async fn users(&self, actor: &Actor, after: Option<UserId>, limit: usize) -> Result<Vec<User>, Error> {
        let organisation_id = actor.organisation_id;
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{SELECT} WHERE u.organisation_id = ?1 AND (?2 IS NULL OR u.id > ?2) ORDER BY u.id LIMIT ?3"
            ))?;
            let rows = statement.query_map((organisation_id, after, limit), user_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One member of the actor's organisation.
    pub async fn user(&self, actor: &Actor, id: UserId) -> Result<User, Error> {
        let organisation_id = actor.organisation_id;
        self.read(move |connection| find(connection, organisation_id, id)).await
    }

    /// Makes a user with a one-time password, which is shown this once.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a field, [`Error::Conflict`] for an address that is taken.
    pub async fn create_user(&self, actor: &Actor, new: NewUser) -> Result<(User, Password), Error> {
        let errors = refusals(&new.email, &new.name);
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let password = Password::generate()?;
        let hash = self.inner.passwords.hash(password.clone()).await?;
        let actor = *actor;
        let user = self
            .write(move |tx| {
                let id = UserId::generate();
                tx.attempt(&actor, "user_create_refused", Target::Organisation(actor.organisation_id));
                require_administrator(tx, &actor)?;
                insert(tx, id, actor.organisation_id, &new.email, new.name.trim(), &hash)?;
                if new.permission {
                    grant(tx, &actor, id)?;
                }
                let user = find(tx, actor.organisation_id, id)?;
                let entry = AuditEntry::by(&actor, "user_create", Target::User(id));
                audit::append(tx, AuditEntry { after: Some(facts(&user)), ..entry })?;
                Ok(user)
            })
            .await?;
        Ok((user, password))
    }

    /// Changes a user, all fields or none. `version` is the one that the actor has read, where they say so.
    ///
    /// # Errors
    /// [`Error::Unready`] where nobody would be left to administer the organisation; [`Error::VersionConflict`];
    /// [`Error::Invalid`]; [`Error::Conflict`] for an address that is taken.
    pub async fn update_user(
        &self,
        actor: &Actor,
        id: UserId,
        patch: UserPatch,
        version: Option<u64>,
    ) -> Result<User, Error> {
        let actor = *actor;
        self.write(move |tx| {
            tx.attempt(&actor, "user_update_refused", Target::User(id));
            require_administrator(tx, &actor)?;
            let before = find(tx, actor.organisation_id, id)?;
            if let Some(version) = version.filter(|version| *version != before.version) {
                tracing::debug!(version, current = before.version, "a stale version of a user");
                return Err(Error::VersionConflict { current: before.version });
            }
            apply(tx, &actor, &before, &patch)?;
            let unsaved = find(tx, actor.organisation_id, id)?;
            let (was, is) = difference(&facts(&before), &facts(&unsaved));
            if is.is_empty() {
                return Ok(before);
            }
            touch(tx, id)?;
            let entry = AuditEntry::by(&actor, "user_update", Target::User(id));
            audit::append(tx, AuditEntry { before: Some(was.into()), after: Some(is.into()), ..entry })?;
            find(tx, actor.organisation_id, id)
        })
        .await
    }

    /// Confirms what another holder started: the permission, or the reset of a holder's password.
    ///
    /// # Errors
    /// [`Error::Unready`] where nothing is pending or the user has not set their own password;
    /// [`Error::SelfConfirmation`].
    pub async fn confirm_user(&self, actor: &Actor, id: UserId) -> Result<User, Error> {
        let actor = *actor;
        self.write(move |tx| {
            tx.attempt(&actor, "user_confirm_refused", Target::User(id));
            require_administrator(tx, &actor)?;
            let user = confirmable(tx, actor.organisation_id, id)?;
            let is_another = "SELECT ?2 <> p.user_id AND ?2 IS NOT p.granted_by AND ?2 IS NOT u.password_reset_by
                 FROM user_permissions p JOIN users u ON u.id = p.user_id WHERE p.user_id = ?1";
            if !tx.query_row(is_another, (id, actor.user_id), |row| row.get::<_, bool>(0))? {
                return Err(Error::SelfConfirmation);
            }
            tx.execute(
                "UPDATE user_permissions SET state = 'held', origin = 'grant', confirmed_by = ?2, confirmed_at_us = ?3
                 WHERE user_id = ?1 AND state = 'pending'",
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
    pub async fn reset_password(&self, actor: &Actor, id: UserId) -> Result<(User, Password), Error> {
        let password = Password::generate()?;
        let hash = self.inner.passwords.hash(password.clone()).await?;
        let actor = *actor;
        let user = self
            .write(move |tx| {
                tx.attempt(&actor, "user_password_reset_refused", Target::User(id));
                require_administrator(tx, &actor)?;
                let before = find(tx, actor.organisation_id, id)?;
                if !before.active {
                    return Err(Error::Unready("the user is not active"));
                }
                if id == actor.user_id {
                    return Err(Error::Unready("your own password is changed, not reset: POST /admin/v1/password"));
                }
                if before.permission == Standing::Held {
                    make_pending(tx, &actor, id)?;
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
            let user = confirmable(tx, organisation_id, id)?;
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

const SELECT: &str = "SELECT u.id, u.organisation_id, u.email, u.name, coalesce(p.state, 'removed'), u.active,
    u.password_one_time, u.version, u.created_at_us, u.last_login_at_us
    FROM users u LEFT JOIN user_permissions p ON p.user_id = u.id";

fn user_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        organisation_id: row.get(1)?,
        email: row.get(2)?,
        name: row.get(3)?,
        permission: match row.get_ref(4)?.as_str()? {
            "held" => Standing::Held,
            "pending" => Standing::Pending,
            _ => Standing::None,
        },
        active: row.get(5)?,
        must_change_password: row.get(6)?,
        version: row.get(7)?,
        created_at_us: row.get(8)?,
        last_login_at_us: row.get(9)?,
    })
}

/// The member `id` of `organisation_id`.
pub(super) fn find(connection: &Connection, organisation_id: OrganisationId, id: UserId) -> Result<User, Error> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE u.id = ?1 AND u.organisation_id = ?2"))?
        .query_row((id, organisation_id), user_row)
        .optional()?
        .ok_or(Error::NotFound("user"))
}

/// Refuses an actor who may not administer, as things stand in this very transaction (S001, S078).
pub(super) fn require_administrator(connection: &Connection, actor: &Actor) -> Result<(), Error> {
    let holds: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM administrators WHERE organisation_id = ?1 AND user_id = ?2)")?
        .query_row((actor.organisation_id, actor.user_id), |row| row.get(0))?;
    if holds { Ok(()) } else { Err(Error::PermissionDenied) }
}

/// Writes a user with a one-time password and no permission.
pub(super) fn insert(
    tx: &Tx<'_>,
    id: UserId,
    organisation_id: OrganisationId,
    email: &str,
    name: &str,
    password_hash: &str,
) -> Result<(), Error> {
    require_free_email(tx, id, email)?;
    tx.execute(
        "INSERT INTO users (id, organisation_id, email, email_folded, name, password_hash, password_one_time,
             created_at_us, updated_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)",
        (id, organisation_id, email, email.to_lowercase(), name, password_hash, tx.now_us),
    )?;
    Ok(())
}

fn require_free_email(tx: &Tx<'_>, id: UserId, email: &str) -> Result<(), Error> {
    let is_taken: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE email_folded = ?1 AND id <> ?2)",
        (email.to_lowercase(), id),
        |row| row.get(0),
    )?;
    if is_taken { Err(Error::Conflict { field: "email", message: "another user has this address" }) } else { Ok(()) }
}

fn apply(tx: &Tx<'_>, actor: &Actor, user: &User, patch: &UserPatch) -> Result<(), Error> {
    let (email, name) = (patch.email.as_ref().unwrap_or(&user.email), patch.name.as_ref().unwrap_or(&user.name));
    let errors = refusals(email, name);
    if !errors.is_empty() {
        return Err(Error::Invalid(errors));
    }
    require_free_email(tx, user.id, email)?;
    tx.execute(
        "UPDATE users SET email = ?2, email_folded = ?3, name = ?4, active = ?5 WHERE id = ?1",
        (user.id, email, email.to_lowercase(), name.trim(), patch.active.unwrap_or(user.active)),
    )?;
    let has_it = user.permission != Standing::None;
    let is_removed = has_it && patch.permission == Some(false);
    let is_stopped = user.active && patch.active == Some(false);
    let is_back = !user.active && patch.active == Some(true);
    if is_removed {
        tx.execute("UPDATE user_permissions SET state = 'removed' WHERE user_id = ?1", [user.id])?;
    } else if !has_it && patch.permission == Some(true) {
        grant(tx, actor, user.id)?;
    } else if is_back && user.permission == Standing::Held {
        // To let somebody back in is to give them the permission anew.
        make_pending(tx, actor, user.id)?;
    }
    if is_removed || is_stopped {
        end_sessions(tx, user.id)?;
        if administrators_beside(tx, user.organisation_id, user.id)? == 0 {
            return Err(Error::Unready("nobody would be left to administer the organisation"));
        }
    }
    Ok(())
}

fn grant(tx: &Tx<'_>, actor: &Actor, id: UserId) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO user_permissions (user_id, permission, state, origin, granted_by, granted_at_us)
         VALUES (?1, ?2, 'pending', 'grant', ?3, ?4)
         ON CONFLICT DO UPDATE SET state = 'pending', origin = 'grant', granted_by = excluded.granted_by,
             granted_at_us = excluded.granted_at_us, confirmed_by = NULL, confirmed_at_us = NULL",
        (id, PERMISSION, actor.user_id, tx.now_us),
    )?;
    Ok(())
}

fn make_pending(tx: &Tx<'_>, actor: &Actor, id: UserId) -> Result<(), Error> {
    grant(tx, actor, id)
}

/// A user whose pending permission is ripe for confirmation. The state is judged before the person.
fn confirmable(tx: &Tx<'_>, organisation_id: OrganisationId, id: UserId) -> Result<User, Error> {
    let user = find(tx, organisation_id, id)?;
    if user.permission != Standing::Pending {
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

fn administrators_beside(tx: &Tx<'_>, organisation_id: OrganisationId, id: UserId) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM administrators WHERE organisation_id = ?1 AND user_id <> ?2";
    Ok(tx.query_row(sql, (organisation_id, id), |row| row.get(0))?)
}

/// Ends all sessions of a user.
pub(super) fn end_sessions(tx: &Tx<'_>, id: UserId) -> Result<(), Error> {
    tx.execute("DELETE FROM sessions WHERE user_id = ?1", [id])?;
    Ok(())
}

fn touch(tx: &Tx<'_>, id: UserId) -> Result<(), Error> {
    tx.execute("UPDATE users SET version = version + 1, updated_at_us = ?2 WHERE id = ?1", (id, tx.now_us))?;
    Ok(())
}

fn facts(user: &User) -> Value {
    let list = |standing| if user.permission == standing { json!([PERMISSION]) } else { json!([]) };
    json!({
        "email": user.email,
        "name": user.name,
        "active": user.active,
        "permissions": list(Standing::Held),
        "permissions_pending": list(Standing::Pending),
        "one_time_password": user.must_change_password,
    })
}

/// The fields that differ, as they were and as they are.
fn difference(before: &Value, after: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (mut was, mut is) = (fields(before), fields(after));
    was.retain(|key, value| is.get(key) != Some(value));
    is.retain(|key, _| was.contains_key(key));
    (was, is)
}

/// What is wrong with the fields of a user.
pub(super) fn refusals(email: &str, name: &str) -> Vec<FieldError> {
    let email = email_refusal(email).map(|message| FieldError::new("email", message));
    let name = name_refusal(name).map(|message| FieldError::new("name", message));
    email.into_iter().chain(name).collect()
}

/// What is wrong with the name of a person or an organisation.
pub(super) fn name_refusal(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        return Some("must not be blank");
    }
    if name.chars().count() > 200 {
        return Some("must have at most 200 characters");
    }
    name.chars().any(char::is_control).then_some("must have no control characters")
}

fn email_refusal(email: &str) -> Option<&'static str> {
    let is_address = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !domain.starts_with('.')
    });
    if !is_address || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("must be an e-mail address");
    }
    (email.len() > 254).then_some("must have at most 254 bytes")
}

#[cfg(test)]
mod tests;
