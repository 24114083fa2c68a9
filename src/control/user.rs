//! Members of an organisation.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value, json};

use super::{
    Actor, Control, Error, FieldError, PERMISSION, Page, PageRequest, Password, Standing,
    audit::{self, AuditEntry, Target},
    db::Tx,
    permission,
};
use crate::model::{OrganisationId, UserId};

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
    /// The members of `organisation_id` in order of creation.
    pub async fn users(&self, organisation_id: OrganisationId, request: PageRequest) -> Result<Page<User>, Error> {
        let limit = request.limit()?;
        let after = request.after(CURSOR)?;
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{SELECT} WHERE u.organisation_id = ?1 AND (?2 IS NULL OR u.id > ?2) ORDER BY u.id LIMIT ?3"
            ))?;
            let rows = statement.query_map((organisation_id, after, limit + 1), user_row)?;
            let users = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(Page::cut(users, limit, CURSOR, |user| user.id.as_uuid().as_bytes().to_vec()))
        })
        .await
    }

    /// One member of `organisation_id`.
    pub async fn user(&self, organisation_id: OrganisationId, id: UserId) -> Result<User, Error> {
        self.read(move |connection| find(connection, organisation_id, id)).await
    }

    /// Makes a user with a one-time password, which is shown this once.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a field, [`Error::Conflict`] for an address that is taken.
    pub async fn create_user(&self, actor: Actor, new: NewUser) -> Result<(User, Password), Error> {
        let errors = refusals(&new.email, &new.name);
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let password = Password::generate()?;
        let hash = self.inner.passwords.hash(password.clone()).await?;
        let user = self
            .write(move |tx| {
                let id = UserId::generate();
                tx.attempt(&actor, "user_create_refused", Target::Organisation(actor.organisation_id));
                actor.require_permission(tx)?;
                insert(tx, id, actor.organisation_id, &new.email, new.name.trim(), &hash)?;
                if new.permission {
                    permission::grant(tx, &actor, id)?;
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
        actor: Actor,
        id: UserId,
        patch: UserPatch,
        version: Option<u64>,
    ) -> Result<User, Error> {
        self.write(move |tx| {
            tx.attempt(&actor, "user_update_refused", Target::User(id));
            actor.require_permission(tx)?;
            let before = find(tx, actor.organisation_id, id)?;
            check_version(&before, version)?;
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
}

/// Keeps the cursors of this list out of others.
const CURSOR: &str = "user:";
const SELECT: &str = "SELECT u.id, u.organisation_id, u.email, u.name, p.state, u.active,
    u.password_one_time, u.version, u.created_at_us, u.last_login_at_us
    FROM users u LEFT JOIN user_permissions p ON p.user_id = u.id";

fn user_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        organisation_id: row.get(1)?,
        email: row.get(2)?,
        name: row.get(3)?,
        permission: row.get(4)?,
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
        permission::grant(tx, actor, user.id)?;
    } else if is_back && user.permission == Standing::Held {
        // To let somebody back in is to give them the permission anew.
        permission::grant(tx, actor, user.id)?;
    }
    if is_removed || is_stopped {
        end_sessions(tx, user.id)?;
        if permission::administrators_beside(tx, user.organisation_id, user.id)? == 0 {
            return Err(Error::Unready("nobody would be left to administer the organisation"));
        }
    }
    Ok(())
}

/// Holds the version that the caller has read against the one that stands.
pub(super) fn check_version(user: &User, if_match: Option<u64>) -> Result<(), Error> {
    match if_match {
        Some(version) if version != user.version => Err(Error::VersionConflict { current: user.version }),
        _ => Ok(()),
    }
}

/// Ends all sessions of a user.
pub(super) fn end_sessions(tx: &Tx<'_>, id: UserId) -> Result<(), Error> {
    tx.execute("DELETE FROM sessions WHERE user_id = ?1", [id])?;
    Ok(())
}

/// Moves the version.
pub(super) fn touch(tx: &Tx<'_>, id: UserId) -> Result<(), Error> {
    tx.execute("UPDATE users SET version = version + 1, updated_at_us = ?2 WHERE id = ?1", (id, tx.now_us))?;
    Ok(())
}

/// The fields as the audit log shows them.
pub(super) fn facts(user: &User) -> Value {
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
pub(super) fn difference(before: &Value, after: &Value) -> (Map<String, Value>, Map<String, Value>) {
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
