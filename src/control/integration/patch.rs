//! Changing an integration: all fields of a call or none (S101).

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::{
    Contact, Integration, client, contact, create, lifecycle, row,
    widening::{self, Effect},
};
use crate::{
    control::{
        Actor, Control, Error, FieldError,
        audit::{self, AuditEntry, Target},
        db::Tx,
        text,
    },
    model::{
        IntegrationId, OrganisationId, Scope, Status, UserId,
        integration::{DAILY_QUOTA_MAX, RPM_MAX},
    },
};

/// The fields to change; `None` leaves one as it is. Vendor and requester never change (S104).
#[derive(Debug, Clone, Default)]
pub struct IntegrationPatch {
    /// What people call it.
    pub name: Option<String>,
    /// Why it exists.
    pub description: Option<String>,
    /// An active member of the organisation.
    pub owner_id: Option<UserId>,
    /// All grants, by their wire names.
    pub scopes: Option<Vec<String>>,
    /// Requests a minute.
    pub rate_limit_rpm: Option<i64>,
    /// Requests a UTC day; `Some(None)`: unlimited.
    pub daily_quota: Option<Option<i64>>,
    /// Whether readings that are rejected are kept for a while.
    pub keep_rejected: Option<bool>,
    /// All of the partner's people.
    pub contacts: Option<Vec<Contact>>,
    /// The client at an external issuer; not while Active.
    pub client_id: Option<String>,
    /// Which external issuer, where there are several.
    pub client_issuer: Option<String>,
    /// Why added scopes with personal or financial data are needed; required by some configurations (S054, S055).
    pub justification: Option<String>,
}

impl Control {
    /// Changes the integration `id`. With `if_match` only that version. What changes nothing leaves version and audit
    /// log as they are (S103).
    pub async fn update_integration(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        patch: IntegrationPatch,
    ) -> Result<Integration, Error> {
        let (integration, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_update_refused", Target::Integration(id));
                let before = lifecycle::editable(tx, &actor, id, "update")?;
                let wanted = accept(tx, &before, patch)?;
                lifecycle::check_version(&before, if_match)?;
                let Some(entry) = difference(&actor, &before, &wanted) else { return Ok((before, vec![])) };
                store(tx, &actor, &before, &wanted)?;
                audit::append(tx, entry)?;
                widening::tell(tx, &actor, &before, &wanted.scopes)?;
                lifecycle::reload(tx, &before)
            })
            .await?;
        Ok(integration)
    }
}

/// The fields as they are to stand.
struct Wanted {
    name: String,
    description: String,
    owner_id: UserId,
    scopes: Vec<Scope>,
    rpm: u32,
    daily_quota: Option<u32>,
    keep_rejected: bool,
    contacts: Vec<Contact>,
    /// Issuer and id of a client to bind in place of what is bound.
    client: Option<(String, String)>,
    justification: Option<String>,
    effect: Effect,
}

fn accept(tx: &Tx<'_>, before: &Integration, patch: IntegrationPatch) -> Result<Wanted, Error> {
    let organisation_id = before.organisation_id;
    let mut check = FieldCheck { connection: tx, organisation_id, errors: Vec::new() };
    if let Some(name) = &patch.name {
        text::check_line("name", name, text::NAME_CHARS_MAX, &mut check.errors);
    }
    if let Some(description) = &patch.description {
        text::check_prose("description", description, &mut check.errors);
    }
    if let Some(owner_id) = patch.owner_id.filter(|owner_id| *owner_id != before.owner_id) {
        check.owner(owner_id)?;
    }
    let scopes = patch.scopes.as_ref().and_then(|scopes| check.scopes(scopes));
    let rpm = patch.rate_limit_rpm.and_then(|rpm| check.rpm(rpm));
    let daily_quota = match patch.daily_quota {
        None => before.daily_quota,
        Some(None) => None,
        Some(Some(quota)) => check.daily_quota(quota),
    };
    if let Some(contacts) = &patch.contacts {
        contact::check(contacts, &mut check.errors);
    }
    let added = widening::added(before, scopes.as_deref());
    let justification = widening::justification(tx, patch.justification.as_deref(), added, &mut check.errors);
    let client = client::check_binding(tx, Some(before), patch.client_id, patch.client_issuer, &mut check.errors)?;
    Error::of_fields(check.errors)?;
    let mut scopes = scopes.unwrap_or_else(|| before.scopes.clone());
    let mut effect = widening::judge(tx, before, &mut scopes)?;
    let name = patch.name.unwrap_or_else(|| before.name.clone());
    let description = patch.description.unwrap_or_else(|| before.description.clone());
    let owner_id = patch.owner_id.unwrap_or(before.owner_id);
    effect.is_reviewed_anew &= (&name, &description, owner_id) != (&before.name, &before.description, before.owner_id)
        || scopes != before.scopes;
    Ok(Wanted {
        name,
        description,
        owner_id,
        scopes,
        rpm: rpm.unwrap_or(before.rpm),
        daily_quota,
        keep_rejected: patch.keep_rejected.unwrap_or(before.keep_rejected),
        contacts: patch.contacts.unwrap_or_else(|| before.contacts.clone()),
        client,
        justification: justification.or_else(|| before.justification.clone()),
        effect,
    })
}

/// The entry that tells what changes, or `None` where nothing does.
fn difference(actor: &Actor, before: &Integration, wanted: &Wanted) -> Option<AuditEntry> {
    let (mut old, mut new) = (Map::new(), Map::new());
    let mut field = |name: &str, was: Value, is: Value| {
        if was != is {
            old.insert(name.to_owned(), was);
            new.insert(name.to_owned(), is);
        }
    };
    field("name", json!(before.name), json!(wanted.name));
    field("description", json!(before.description), json!(wanted.description));
    field("owner_id", json!(before.owner_id), json!(wanted.owner_id));
    field("rate_limit_rpm", json!(before.rpm), json!(wanted.rpm));
    field("daily_quota", json!(before.daily_quota), json!(wanted.daily_quota));
    field("keep_rejected", json!(before.keep_rejected), json!(wanted.keep_rejected));
    let (had, has) = (before.scope_set(), wanted.scopes.iter().copied().collect());
    if had != has {
        field("scopes", names(before.scopes.iter().copied()), names(wanted.scopes.iter().copied()));
    }
    if let Some((issuer, client_id)) = &wanted.client {
        let was = before.client.as_ref();
        field("client_id", json!(was.map(|client| &client.client_id)), json!(client_id));
        field("client_issuer", json!(was.and_then(|client| client.issuer.as_ref())), json!(issuer));
    }
    field("justification", json!(before.justification), json!(wanted.justification));
    if let Some(pending) = &wanted.effect.pending {
        let was = before.scopes_pending.as_ref().map(|pending| names(pending.scopes.iter().copied()));
        field("scopes_pending", json!(was), names(pending.iter().copied()));
    }
    if wanted.effect.is_reviewed_anew {
        field("status", json!(before.status.as_str()), json!(Status::Requested.as_str()));
    }
    if before.contacts != wanted.contacts {
        // Personal data stays out: how many, and that they changed.
        old.insert("contacts".to_owned(), json!(before.contacts.len()));
        new.insert("contacts".to_owned(), json!(wanted.contacts.len()));
    }
    if new.is_empty() {
        return None;
    }
    let added = has.minus(had);
    if !added.is_empty() && before.status != Status::Requested {
        // Wider than what the second administrator had before them (A11).
        new.insert("scopes_added_after_approval".to_owned(), names(added.iter()));
    }
    let entry = AuditEntry::by(actor, "integration_update", Target::Integration(before.id));
    Some(AuditEntry { before: Some(Value::Object(old)), after: Some(Value::Object(new)), ..entry })
}

pub(super) fn names(scopes: impl Iterator<Item = Scope>) -> Value {
    scopes.map(Scope::as_str).collect()
}

fn store(tx: &Tx<'_>, actor: &Actor, before: &Integration, wanted: &Wanted) -> Result<(), Error> {
    let (client_issuer, client_id) = wanted.client.as_ref().map(|(issuer, id)| (issuer, id)).unzip();
    let changed = tx
        .prepare_cached(
            "UPDATE integrations SET version = version + 1, updated_at_us = :now, name = :name,
               description = :description, owner_id = :owner_id, scopes = :scopes, rpm = :rpm,
               daily_quota = :daily_quota, keep_rejected = :keep_rejected, contacts = :contacts,
               justification = :justification, edited_by = :actor,
               scopes_pending = coalesce(:pending, scopes_pending),
               scopes_pending_by = CASE WHEN :pending IS NULL THEN scopes_pending_by ELSE :actor END,
               scopes_pending_at_us = CASE WHEN :pending IS NULL THEN scopes_pending_at_us ELSE :now END,
               status = CASE WHEN :anew THEN 'requested' ELSE status END,
               approved_by = CASE WHEN :anew THEN NULL ELSE approved_by END,
               approved_at_us = CASE WHEN :anew THEN NULL ELSE approved_at_us END,
               approved_scopes = CASE WHEN :anew THEN NULL ELSE approved_scopes END,
               client_issuer = coalesce(:client_issuer, client_issuer), client_id = coalesce(:client_id, client_id),
               client_secret_hash = CASE WHEN :client_id IS NULL THEN client_secret_hash END
             WHERE id = :id AND organisation_id = :organisation_id AND version = :version AND status <> 'revoked'",
        )?
        .execute(rusqlite::named_params! {
            ":id": before.id,
            ":organisation_id": before.organisation_id,
            ":version": before.version,
            ":now": tx.now_us,
            ":name": wanted.name,
            ":description": wanted.description,
            ":owner_id": wanted.owner_id,
            ":scopes": row::scopes_text(&wanted.scopes),
            ":rpm": wanted.rpm,
            ":daily_quota": wanted.daily_quota,
            ":keep_rejected": wanted.keep_rejected,
            ":contacts": contacts_text(&wanted.contacts),
            ":justification": wanted.justification,
            ":actor": actor.user_id,
            ":pending": wanted.effect.pending.as_deref().map(row::scopes_text),
            ":anew": wanted.effect.is_reviewed_anew,
            ":client_issuer": client_issuer,
            ":client_id": client_id,
        })?;
    lifecycle::expect_changed(tx, before, changed)
}

/// Checks single fields; what is refused is gathered in `errors`.
pub(super) struct FieldCheck<'a> {
    pub(super) connection: &'a Connection,
    pub(super) organisation_id: OrganisationId,
    pub(super) errors: Vec<FieldError>,
}

impl FieldCheck<'_> {
    /// An owner is an active member; the permission is not needed (S019).
    pub(super) fn owner(&mut self, owner_id: UserId) -> Result<(), Error> {
        if !create::is_member(self.connection, self.organisation_id, owner_id)? {
            self.errors.push(FieldError::new("owner_id", "must be an active member of the organisation"));
        }
        Ok(())
    }

    /// Legal grants by their names, each once, in the order given.
    pub(super) fn scopes(&mut self, names: &[String]) -> Option<Vec<Scope>> {
        let mut scopes = Vec::new();
        let refused_before = self.errors.len();
        for name in names {
            match Scope::parse(name) {
                Some(scope) if scopes.contains(&scope) => {}
                Some(scope) => scopes.push(scope),
                None => {
                    let message = format!("{} is not one of the 24 grants (GET /admin/v1/scopes)", text::quote(name));
                    self.errors.push(FieldError::new("scopes", message));
                }
            }
        }
        (self.errors.len() == refused_before).then_some(scopes)
    }

    /// Requests a minute (S216).
    pub(super) fn rpm(&mut self, rpm: i64) -> Option<u32> {
        self.number("rate_limit_rpm", rpm, RPM_MAX)
    }

    /// Requests a day (A28).
    pub(super) fn daily_quota(&mut self, quota: i64) -> Option<u32> {
        self.number("daily_quota", quota, DAILY_QUOTA_MAX)
    }

    pub(super) fn number(&mut self, field: &str, number: i64, max: u32) -> Option<u32> {
        let fitting = u32::try_from(number).ok().filter(|number| (1..=max).contains(number));
        if fitting.is_none() {
            self.errors.push(FieldError::new(field, format!("must be a whole number from 1 to {max}")));
        }
        fitting
    }
}

/// `contacts` as their column holds them.
pub(super) fn contacts_text(contacts: &[Contact]) -> String {
    serde_json::to_string(contacts).expect("strings and numbers serialise")
}
