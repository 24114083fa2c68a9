//! Requesting an integration.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    Contact, Integration, client, contact,
    patch::{self, FieldCheck},
    row, widening,
};
use crate::{
    control::{
        Actor, Change, Control, Error, FieldError, Vendor,
        audit::{self, AuditEntry, Target},
        db::Tx,
        text,
    },
    model::{IntegrationId, OrganisationId, Scope, UserId, integration::RPM_DEFAULT},
};

/// A request for an integration, as it arrived. Absent fields are `None`, so that every fault is told at once.
#[derive(Debug, Clone, Default)]
pub struct NewIntegration {
    /// A name of the registry; required.
    pub vendor: Option<String>,
    /// Required.
    pub name: Option<String>,
    /// Required: it is the record of why the integration exists.
    pub description: Option<String>,
    /// An active member of the organisation; required.
    pub owner_id: Option<UserId>,
    /// Grants by their wire names; none: no scope (S057).
    pub scopes: Vec<String>,
    /// Requests a minute; none: [`RPM_DEFAULT`].
    pub rate_limit_rpm: Option<i64>,
    /// Requests a UTC day; none: unlimited.
    pub daily_quota: Option<i64>,
    /// The client at an external issuer, where it is known already.
    pub client_id: Option<String>,
    /// Which external issuer, where there are several.
    pub client_issuer: Option<String>,
    /// The partner's people.
    pub contacts: Vec<Contact>,
    /// Why scopes with personal or financial data are needed (S054, S055).
    pub justification: Option<String>,
}

/// The same, read and found right.
struct Accepted {
    vendor: Vendor,
    name: String,
    description: String,
    owner_id: UserId,
    scopes: Vec<Scope>,
    rpm: u32,
    daily_quota: Option<u32>,
    client: Option<(String, String)>,
    contacts: Vec<Contact>,
    justification: Option<String>,
}

impl Control {
    /// Requests an integration for the actor's organisation (S020). It has no credentials before a second
    /// administrator has approved it.
    pub async fn create_integration(&self, actor: Actor, request: NewIntegration) -> Result<Integration, Error> {
        let id = IntegrationId::generate();
        let (integration, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_create_refused", Target::Integration(id));
                actor.require_permission(tx)?;
                let accepted = accept(tx, actor.organisation_id, request)?;
                insert(tx, &actor, id, &accepted)?;
                let after = Some(told(&accepted));
                audit::append(
                    tx,
                    AuditEntry { after, ..AuditEntry::by(&actor, "integration_create", Target::Integration(id)) },
                )?;
                let integration = row::load(tx, actor.organisation_id, id)?;
                let facts = integration.facts(tx.issuers);
                Ok((integration, vec![Change::Integration(facts)]))
            })
            .await?;
        Ok(integration)
    }
}

fn accept(tx: &Tx<'_>, organisation_id: OrganisationId, request: NewIntegration) -> Result<Accepted, Error> {
    let mut errors = Vec::new();
    let vendor = match &request.vendor {
        None => refuse(&mut errors, "vendor", "is required"),
        Some(name) => Vendor::parse(name)
            .or_else(|| refuse(&mut errors, "vendor", "is not in the registry of vendors (GET /admin/v1/vendors)")),
    };
    let name = request.name.or_else(|| refuse(&mut errors, "name", "is required"));
    let description = request.description.or_else(|| refuse(&mut errors, "description", "is required"));
    if let Some(name) = &name {
        text::check_line("name", name, text::NAME_CHARS_MAX, &mut errors);
    }
    if let Some(description) = &description {
        text::check_prose("description", description, &mut errors);
    }
    let owner_id = request.owner_id.or_else(|| refuse(&mut errors, "owner_id", "is required"));
    let mut check = FieldCheck { connection: tx, organisation_id, errors };
    if let Some(owner_id) = owner_id {
        check.owner(owner_id)?;
    }
    let scopes = check.scopes(&request.scopes);
    let rpm = check.rpm(request.rate_limit_rpm.unwrap_or(RPM_DEFAULT.into()));
    let daily_quota = request.daily_quota.and_then(|quota| check.daily_quota(quota));
    contact::check(&request.contacts, &mut check.errors);
    let justification = widening::justification(
        tx,
        request.justification.as_deref(),
        scopes.as_deref().unwrap_or_default().iter().copied(),
        &mut check.errors,
    );
    let client = client::check_binding(tx, None, request.client_id, request.client_issuer, &mut check.errors)?;
    Error::of_fields(check.errors)?;
    let (Some(vendor), Some(name), Some(description), Some(owner_id), Some(scopes), Some(rpm)) =
        (vendor, name, description, owner_id, scopes, rpm)
    else {
        unreachable!("what is missing was refused above")
    };
    let contacts = request.contacts;
    Ok(Accepted { vendor, name, description, owner_id, scopes, rpm, daily_quota, client, contacts, justification })
}

fn refuse<T>(errors: &mut Vec<FieldError>, field: &str, message: &str) -> Option<T> {
    errors.push(FieldError::new(field, message));
    None
}

fn insert(tx: &Tx<'_>, actor: &Actor, id: IntegrationId, accepted: &Accepted) -> Result<(), Error> {
    let (client_issuer, client_id) = accepted.client.as_ref().map(|(issuer, id)| (issuer, id)).unzip();
    let mut statement = tx.prepare_cached(
        "INSERT INTO integrations (id, organisation_id, status, vendor, name, description, owner_id, scopes, rpm,
           daily_quota, client_issuer, client_id, contacts, justification, requested_by, requested_at_us, updated_at_us)
         VALUES (:id, :organisation_id, 'requested', :vendor, :name, :description, :owner_id, :scopes, :rpm,
           :daily_quota, :client_issuer, :client_id, :contacts, :justification, :actor, :now, :now)",
    )?;
    statement.execute(rusqlite::named_params! {
        ":id": id,
        ":organisation_id": actor.organisation_id,
        ":vendor": accepted.vendor.name,
        ":name": accepted.name,
        ":description": accepted.description,
        ":owner_id": accepted.owner_id,
        ":scopes": row::scopes_text(&accepted.scopes),
        ":rpm": accepted.rpm,
        ":daily_quota": accepted.daily_quota,
        ":client_issuer": client_issuer,
        ":client_id": client_id,
        ":contacts": patch::contacts_text(&accepted.contacts),
        ":justification": accepted.justification,
        ":actor": actor.user_id,
        ":now": tx.now_us,
    })?;
    Ok(())
}

/// What the audit log is told of a request. Contacts are personal data: their number only.
fn told(accepted: &Accepted) -> Value {
    json!({
        "status": "requested",
        "vendor": accepted.vendor.name,
        "name": accepted.name,
        "description": accepted.description,
        "owner_id": accepted.owner_id,
        "scopes": accepted.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "rate_limit_rpm": accepted.rpm,
        "daily_quota": accepted.daily_quota,
        "client_id": accepted.client.as_ref().map(|(_, client_id)| client_id),
        "contacts": accepted.contacts.len(),
        "justification": accepted.justification,
    })
}

/// Whether `user_id` is an active member of the organisation.
pub(super) fn is_member(
    connection: &Connection,
    organisation_id: OrganisationId,
    user_id: UserId,
) -> Result<bool, Error> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM members WHERE organisation_id = ?1 AND user_id = ?2)")?
        .query_row((organisation_id, user_id), |row| row.get(0))?)
}
