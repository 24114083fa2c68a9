//! Organisations, and the one-time start of one.

use rusqlite::OptionalExtension;
use serde_json::json;

use super::{
    Control, Error, FieldError, PERMISSION, Password,
    audit::{self, AuditEntry, Target},
    db::Tx,
    user,
};
use crate::model::{OrganisationId, UserId};

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Its id.
    pub id: OrganisationId,
    /// Its name, unique whatever the case.
    pub name: String,
}

/// One of the two first administrators, before they exist.
#[derive(Debug, Clone)]
pub struct FirstAdministrator {
    /// Signs in with it.
    pub email: String,
    /// For people.
    pub name: String,
}

/// One of the two first administrators, with the password that is shown this once.
#[derive(Debug, Clone)]
pub struct Bootstrapped {
    /// Who.
    pub user_id: UserId,
    /// As given.
    pub email: String,
    /// To be changed at the first sign-in, before anything else can be done.
    pub one_time_password: Password,
}

impl Control {
    /// Makes an organisation with two administrators, who start with one-time passwords. This is the only way to hold
    /// the permission without another holder's confirmation, and it works once for an organisation: two people from
    /// the start, so that nothing ever needs a way around dual control (H7).
    ///
    /// # Errors
    /// [`Error::Conflict`] where the organisation or one of the addresses exists, [`Error::Invalid`] for a field.
    pub async fn bootstrap(
        &self,
        organisation_name: &str,
        administrators: [FirstAdministrator; 2],
    ) -> Result<(OrganisationId, [Bootstrapped; 2]), Error> {
        let name = organisation_name.trim().to_owned();
        let mut errors = Vec::new();
        if let Some(message) = user::name_refusal(&name) {
            errors.push(FieldError::new("organisation", message));
        }
        for (index, administrator) in administrators.iter().enumerate() {
            errors.extend(
                user::refusals(&administrator.email, &administrator.name)
                    .into_iter()
                    .map(|error| FieldError::new(format!("administrators[{index}].{}", error.field), error.message)),
            );
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let [first, second] = administrators;
        let organisation_id = OrganisationId::generate();
        let first = self.first_administrator(first).await?;
        let second = self.first_administrator(second).await?;
        self.write(move |tx| {
            insert_organisation(tx, organisation_id, &name)?;
            for (administrator, hash, name) in [&first, &second] {
                insert_administrator(tx, organisation_id, administrator, hash, name)?;
            }
            Ok((organisation_id, [first.0, second.0]))
        })
        .await
    }

    async fn first_administrator(
        &self,
        administrator: FirstAdministrator,
    ) -> Result<(Bootstrapped, String, String), Error> {
        let one_time_password = Password::generate()?;
        let hash = self.inner.passwords.hash(one_time_password.clone()).await?;
        let FirstAdministrator { email, name } = administrator;
        Ok((Bootstrapped { user_id: UserId::generate(), email, one_time_password }, hash, name))
    }

    /// All organisations, by name. For the server's command line; no call of the API crosses organisations.
    pub async fn organisations(&self) -> Result<Vec<Organisation>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, name FROM organisations ORDER BY name_folded")?;
            let rows = statement.query_map([], |row| Ok(Organisation { id: row.get(0)?, name: row.get(1)? }))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn insert_organisation(tx: &Tx<'_>, id: OrganisationId, name: &str) -> Result<(), Error> {
    let folded = name.to_lowercase();
    let exists: Option<i64> =
        tx.query_row("SELECT 1 FROM organisations WHERE name_folded = ?1", [&folded], |row| row.get(0)).optional()?;
    if exists.is_some() {
        return Err(Error::Conflict { field: "organisation", message: "exists already; a bootstrap works only once" });
    }
    tx.execute(
        "INSERT INTO organisations (id, name, name_folded, created_at_us) VALUES (?1, ?2, ?3, ?4)",
        (id, name, folded, tx.now_us),
    )?;
    let entry = AuditEntry::by_server(id, "organisation_bootstrap", Target::Organisation(id));
    audit::append(tx, AuditEntry { after: Some(json!({ "name": name })), ..entry })
}

fn insert_administrator(
    tx: &Tx<'_>,
    organisation_id: OrganisationId,
    administrator: &Bootstrapped,
    hash: &str,
    name: &str,
) -> Result<(), Error> {
    let id = administrator.user_id;
    user::insert(tx, id, organisation_id, &administrator.email, name, hash)?;
    tx.execute(
        "INSERT INTO user_permissions (user_id, permission, state, origin, granted_at_us)
         VALUES (?1, ?2, 'held', 'bootstrap', ?3)",
        (id, PERMISSION, tx.now_us),
    )?;
    let after = json!({ "email": administrator.email, "name": name, "permissions": [PERMISSION] });
    let entry = AuditEntry::by_server(organisation_id, "user_bootstrap", Target::User(id));
    audit::append(tx, AuditEntry { after: Some(after), ..entry })
}
