//! Signing in: sessions as opaque random tokens, of which only the hash is kept.
//!
//! Whether a session's user is active and what they may do is read afresh at each call, so that a removal holds from
//! the next one (S078).

use std::{fmt, net::IpAddr};

use rusqlite::OptionalExtension;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    Control, Error, FieldError, Password, Standing,
    audit::{self, AuditEntry, Target},
    db::{Tx, now_us},
    password,
};
use crate::{
    model::{OrganisationId, RequestId, UserId},
    telemetry::task,
};

/// What every session token begins with.
pub const TOKEN_PREFIX: &str = "grq_admin_";
/// Sessions of one user at a time; the oldest makes room.
const SESSIONS_MAX: u32 = 50;
/// A session's last use is written down in steps of this, so that reading calls need not write.
const USE_STEP_US: i64 = 60_000_000;

/// A session's token, shown once.
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    /// The token itself: for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn generate() -> Result<Self, Error> {
        let mut random = Zeroizing::new([0_u8; 32]);
        getrandom::fill(random.as_mut()).map_err(Error::Random)?;
        Ok(Self(Zeroizing::new(format!("{TOKEN_PREFIX}{}", hex::encode(random.as_ref())))))
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// SHA-256 of a token: enough for 256 random bits, and what the look-up goes by (H5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key of `token`, whatever it is.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which session.
    pub key: SessionKey,
    /// Who.
    pub user_id: UserId,
    /// Where.
    pub organisation_id: OrganisationId,
    /// Their address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// Whether they may administer integrations, now.
    pub permission: Standing,
    /// They have a one-time password and can do nothing but change it.
    pub must_change_password: bool,
}

/// A successful sign-in.
#[derive(Debug)]
pub struct SignedIn {
    /// The token, shown this once.
    pub token: SessionToken,
    /// Who.
    pub user_id: UserId,
    /// Seconds until the session ends for good.
    pub expires_in_s: u64,
    /// They have a one-time password and can do nothing but change it.
    pub must_change_password: bool,
}

struct Account {
    id: UserId,
    organisation_id: OrganisationId,
    active: bool,
    password_hash: String,
}

impl Control {
    /// Signs in by address and password. None: they do not belong together, or the user is not active; which of the
    /// two is told to nobody but the audit log. Throttling is the caller's.
    pub async fn sign_in(
        &self,
        email: &str,
        password: Password,
        ip: Option<IpAddr>,
        request_id: RequestId,
    ) -> Result<Option<SignedIn>, Error> {
        let folded = email.to_lowercase();
        let account = self
            .read(move |connection| {
                let sql = "SELECT id, organisation_id, active, password_hash FROM users WHERE email_folded = ?1";
                Ok(connection
                    .prepare_cached(sql)?
                    .query_row([folded], |row| {
                        Ok(Account {
                            id: row.get(0)?,
                            organisation_id: row.get(1)?,
                            active: row.get(2)?,
                            password_hash: row.get(3)?,
                        })
                    })
                    .optional()?)
            })
            .await?;
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let matches = self.inner.passwords.verify(password, stored).await?;
        let Some(account) = account else { return Ok(None) };
        if !matches || !account.active {
            // Apart from the answer, so that the time it takes does not tell that there is such a user.
            let control = self.clone();
            drop(task::spawn("login_refused", async move {
                // Nobody has proved to be the user: the entry names them as its target alone.
                let entry = entry(&account, None, "login_refused", ip, request_id);
                if let Err(error) = control.write(move |tx| audit::append(tx, entry)).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "a refused sign-in was not audited");
                }
            }));
            return Ok(None);
        }
        let terms = self.inner.session_terms;
        self.write(move |tx| {
            // Read again: the password may have been reset, or the user deactivated, while this one was hashed.
            let sql = "SELECT password_one_time FROM users WHERE id = ?1 AND active = 1 AND password_hash = ?2";
            let is_one_time = tx.query_row(sql, (account.id, &account.password_hash), |row| row.get(0)).optional()?;
            let Some(must_change_password) = is_one_time else { return Ok(None) };
            let token = begin(tx, account.id, terms)?;
            audit::append(tx, entry(&account, Some(account.id), "login", ip, request_id))?;
            let expires_in_s = terms.absolute_s;
            Ok(Some(SignedIn { token, user_id: account.id, expires_in_s, must_change_password }))
        })
        .await
    }

    /// The live session behind `token`; none where there is no such session, it has ended, or its user is not active.
    pub async fn session(&self, token: &str) -> Result<Option<Session>, Error> {
        let key = SessionKey::of(token);
        let idle_us = self.inner.session_terms.idle_us();
        let now_us = now_us();
        let found = self.read(move |connection| {
            let sql = "SELECT u.id, u.organisation_id, u.email, u.name, p.state,
                    u.password_one_time, s.last_used_at_us
                FROM sessions s JOIN users u ON u.id = s.user_id LEFT JOIN user_permissions p ON p.user_id = u.id
                WHERE s.token_hash = ?1 AND u.active = 1 AND s.expires_at_us > ?2 AND s.last_used_at_us > ?3";
            Ok(connection
                .prepare_cached(sql)?
                .query_row((key.0, now_us, now_us - idle_us), |row| {
                    let session = Session {
                        key,
                        user_id: row.get(0)?,
                        organisation_id: row.get(1)?,
                        email: row.get(2)?,
                        name: row.get(3)?,
                        permission: row.get(4)?,
                        must_change_password: row.get(5)?,
                    };
                    Ok((session, row.get::<_, i64>(6)?))
                })
                .optional()?)
        });
        let Some((session, last_used_at_us)) = found.await? else { return Ok(None) };
        if now_us - last_used_at_us >= USE_STEP_US {
            self.write(move |tx| {
                let sql = "UPDATE sessions SET last_used_at_us = ?2 WHERE token_hash = ?1 AND last_used_at_us < ?2";
                tx.execute(sql, (key.0, now_us))?;
                Ok(())
            })
            .await?;
        }
        Ok(Some(session))
    }

    /// Ends a session.
    pub async fn sign_out(&self, session: &Session, ip: Option<IpAddr>, request_id: RequestId) -> Result<(), Error> {
        let (key, user_id, organisation_id) = (session.key, session.user_id, session.organisation_id);
        self.write(move |tx| {
            tx.execute("DELETE FROM sessions WHERE token_hash = ?1", [key.0])?;
            let entry = AuditEntry::by_server(organisation_id, "logout", Target::User(user_id));
            audit::append(tx, AuditEntry { actor: Some(user_id), ip, request_id: Some(request_id), ..entry })
        })
        .await
    }

    /// Gives the session's user a password of their own. Their other sessions end. `current` may be left out while it
    /// is a one-time password: the session itself was opened with it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `current` is wrong or `new` is not good enough; [`Error::Unready`] where the password
    /// was changed by somebody else meanwhile.
    pub async fn change_password(
        &self,
        session: &Session,
        current: Option<Password>,
        new: Password,
        ip: Option<IpAddr>,
        request_id: RequestId,
    ) -> Result<(), Error> {
        let (key, user_id, organisation_id) = (session.key, session.user_id, session.organisation_id);
        let sql = "SELECT password_hash, password_one_time FROM users WHERE id = ?1";
        let read = move |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?));
        let (stored, is_one_time) =
            self.read(move |connection| Ok(connection.query_row(sql, [user_id], read)?)).await?;
        let is_right = match current {
            Some(current) => self.inner.passwords.verify(current, Some(stored.clone())).await?,
            None => is_one_time,
        };
        if !is_right {
            return Err(Error::Invalid(vec![FieldError::new("current_password", "is not the current password")]));
        }
        let refusal = match password::refusal(&new, &session.email) {
            None if self.inner.passwords.verify(new.clone(), Some(stored.clone())).await? => {
                Some("must differ from the current one")
            }
            refusal => refusal,
        };
        if let Some(message) = refusal {
            return Err(Error::Invalid(vec![FieldError::new("new_password", message)]));
        }
        let hash = self.inner.passwords.hash(new).await?;
        self.write(move |tx| {
            let changed = tx.execute(
                "UPDATE users SET password_hash = ?3, password_one_time = 0, version = version + 1, updated_at_us = ?4
                 WHERE id = ?1 AND password_hash = ?2 AND active = 1",
                (user_id, stored, hash, tx.now_us),
            )?;
            if changed == 0 {
                return Err(Error::Unready("the password was changed meanwhile: sign in again"));
            }
            tx.execute("DELETE FROM sessions WHERE user_id = ?1 AND token_hash <> ?2", (user_id, key.0))?;
            let entry = AuditEntry::by_server(organisation_id, "password_change", Target::User(user_id));
            audit::append(tx, AuditEntry { actor: Some(user_id), ip, request_id: Some(request_id), ..entry })
        })
        .await
    }
}

fn entry(
    account: &Account,
    actor: Option<UserId>,
    action: &'static str,
    ip: Option<IpAddr>,
    request_id: RequestId,
) -> AuditEntry {
    let entry = AuditEntry::by_server(account.organisation_id, action, Target::User(account.id));
    AuditEntry { actor, ip, request_id: Some(request_id), ..entry }
}

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Seconds without a call after which one ends.
    pub(super) idle_s: u64,
    /// Seconds after which one ends whatever happens.
    pub(super) absolute_s: u64,
}

impl Terms {
    fn idle_us(self) -> i64 {
        to_us(self.idle_s)
    }
}

fn to_us(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

fn begin(tx: &Tx<'_>, user_id: UserId, terms: Terms) -> Result<SessionToken, Error> {
    let token = SessionToken::generate()?;
    let now_us = tx.now_us;
    tx.execute(
        "DELETE FROM sessions WHERE expires_at_us <= ?1 OR last_used_at_us <= ?2",
        (now_us, now_us - terms.idle_us()),
    )?;
    tx.execute(
        "DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions WHERE user_id = ?1
             ORDER BY created_at_us DESC LIMIT -1 OFFSET ?2)",
        (user_id, SESSIONS_MAX - 1),
    )?;
    tx.execute(
        "INSERT INTO sessions (token_hash, user_id, created_at_us, last_used_at_us, expires_at_us)
         VALUES (?1, ?2, ?3, ?3, ?4)",
        (SessionKey::of(token.expose()).0, user_id, now_us, now_us + to_us(terms.absolute_s)),
    )?;
    tx.execute("UPDATE users SET last_login_at_us = ?2 WHERE id = ?1", (user_id, now_us))?;
    Ok(token)
}

#[cfg(test)]
mod tests;
