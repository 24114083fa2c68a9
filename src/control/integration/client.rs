//! The OAuth client of an integration: bound at onboarding for an external issuer, made here for the embedded one (A1).

use rusqlite::OptionalExtension;
use subtle::ConstantTimeEq;

use super::{Integration, row};
use crate::{
    control::{Control, Error, FieldError, db::Tx, text},
    model::{IntegrationId, OrganisationId, ScopeSet, Status, api_key::ClientSecret},
};

/// Characters of a client id, at most.
const CLIENT_ID_CHARS_MAX: usize = 255;

/// A client of the embedded issuer with a fresh secret.
#[derive(Debug)]
pub(super) struct NewClient {
    pub(super) id: String,
    pub(super) secret: ClientSecret,
}

impl NewClient {
    /// A new secret for the client of `integration`, or a new client where it has none; `None` where an external
    /// issuer keeps the secret.
    pub(super) fn of(tx: &Tx<'_>, integration: &Integration) -> Result<Option<Self>, Error> {
        let id = match &integration.client {
            Some(client) if client.issuer.is_some() => return Ok(None),
            Some(client) => client.client_id.clone(),
            None if tx.issuers.embedded.is_some() => generate_id()?,
            None => return Ok(None),
        };
        let secret = ClientSecret::generate_with(getrandom::fill).map_err(Error::Random)?;
        Ok(Some(Self { id, secret }))
    }
}

/// 128 random bits, in the form that client ids of the embedded issuer have. A name, not a secret.
fn generate_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(hex::encode(bytes))
}

/// Reads the binding of a client at an external issuer. Gives issuer and client id where it changes anything.
pub(super) fn check_binding(
    tx: &Tx<'_>,
    before: Option<&Integration>,
    client_id: Option<String>,
    client_issuer: Option<String>,
    errors: &mut Vec<FieldError>,
) -> Result<Option<(String, String)>, Error> {
    let Some(client_id) = client_id else {
        if client_issuer.is_some() {
            errors.push(FieldError::new("client_issuer", "is given together with client_id only"));
        }
        return Ok(None);
    };
    text::check_line("client_id", &client_id, CLIENT_ID_CHARS_MAX, errors);
    let Some(issuer) = choose_issuer(tx, client_issuer, errors) else { return Ok(None) };
    let stands = before.and_then(|integration| integration.client.as_ref());
    if stands.is_some_and(|client| client.client_id == client_id && client.issuer.as_ref() == Some(&issuer)) {
        return Ok(None);
    }
    if before.is_some_and(|integration| integration.status == Status::Active) {
        errors.push(FieldError::new("client_id", "cannot change while the integration is active: suspend it first"));
    }
    let is_taken: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM integrations
                            WHERE client_issuer = ?1 AND client_id = ?2 AND status <> 'revoked' AND id IS NOT ?3)",
        )?
        .query_row((&issuer, &client_id, before.map(|integration| integration.id)), |row| row.get(0))?;
    if is_taken {
        return Err(Error::Conflict { field: "client_id", message: "another integration is bound to this client" });
    }
    Ok(Some((issuer, client_id)))
}

fn choose_issuer(tx: &Tx<'_>, given: Option<String>, errors: &mut Vec<FieldError>) -> Option<String> {
    let message = match (given, tx.issuers.external.as_slice()) {
        (_, []) => "must be left out: the embedded issuer makes the client at activation",
        (None, [only]) => return Some(only.clone()),
        (None, _) => "needs client_issuer beside it: there are several issuers",
        (Some(issuer), known) if known.contains(&issuer) => return Some(issuer),
        (Some(_), _) => "client_issuer is none of the configured issuers",
    };
    errors.push(FieldError::new("client_id", message));
    None
}

/// A client that has shown its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedClient {
    /// The client's id, which becomes the token's `azp`.
    pub client_id: String,
    /// Whose client.
    pub integration_id: IntegrationId,
    /// Of which organisation.
    pub organisation_id: OrganisationId,
    /// What the integration may do now.
    pub scopes: ScopeSet,
}

impl Control {
    /// The client of the embedded issuer that `client_id` and `secret` belong to, if its integration is Active. All
    /// else is the same `None`: the token end point answers `invalid_client`.
    pub async fn verify_client(
        &self,
        client_id: String,
        secret: ClientSecret,
    ) -> Result<Option<VerifiedClient>, Error> {
        self.read(move |connection| {
            let found: Option<([u8; 32], VerifiedClient)> = connection
                .prepare_cached(
                    "SELECT client_secret_hash, client_id, id, organisation_id, scopes FROM integrations
                     WHERE client_issuer = ?1 AND client_id = ?2 AND status = 'active'
                       AND client_secret_hash IS NOT NULL",
                )?
                .query_row((row::EMBEDDED, client_id), |row| {
                    let client = VerifiedClient {
                        client_id: row.get(1)?,
                        integration_id: row.get(2)?,
                        organisation_id: row.get(3)?,
                        scopes: row.get(4)?,
                    };
                    Ok((row.get(0)?, client))
                })
                .optional()?;
            Ok(found.filter(|(hash, _)| bool::from(hash.ct_eq(&secret.hash()))).map(|(_, client)| client))
        })
        .await
    }
}
