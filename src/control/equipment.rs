//! The equipment registry: what an integration reports readings of (S275–S284).
//!
//! Equipment is retired, never deleted, and keeps its number for ever, so that its history goes on naming it. An
//! external id belongs to one piece of equipment of its integration, byte for byte, also once that is retired.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::{
    Change, Control, Error, FieldError, Registrar,
    audit::{self, AuditEntry, Target},
    db::Tx,
    user,
    webhook::outbox,
};
use crate::model::{
    EquipmentFacts, EquipmentId, EquipmentKind, EquipmentNumber, IntegrationId, OrganisationId, WebhookEvent,
};

mod bulk;
mod draft;
mod list;
mod room;

use draft::Draft;
pub use list::EquipmentFilter;
pub use room::Room;

pub use bulk::{BULK_ITEMS_MAX, BulkCall, BulkSummary, BulkUpsert, EQUIPMENT_LIMIT, Refusal, UpsertedEquipment};

/// Longest external id, in bytes.
pub const EXTERNAL_ID_BYTES_MAX: usize = 128;
/// A sensor, controller, actuator or monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equipment {
    /// The public id.
    pub id: EquipmentId,
    /// The number that series are made of.
    pub number: EquipmentNumber,
    /// Which integration reports it.
    pub integration_id: IntegrationId,
    /// One of the four kinds.
    pub kind: EquipmentKind,
    /// Its type, from [`super::EQUIPMENT_TYPES`].
    pub type_name: Option<String>,
    /// The partner's own name for it, byte for byte.
    pub external_id: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// Where it is: the room.
    pub room: Option<String>,
    /// Where it is within the room.
    pub location: Option<String>,
    /// Retired equipment takes no further readings.
    pub retired: bool,
    /// Grows by one with each change.
    pub version: u64,
    /// When it was registered, in microseconds (Unix).
    pub created_at_us: i64,
    /// When it last changed, in microseconds (Unix).
    pub updated_at_us: i64,
}

impl Equipment {
    /// What ingest needs to know of it.
    #[must_use]
    pub fn facts(&self) -> EquipmentFacts {
        EquipmentFacts {
            id: self.id,
            integration_id: self.integration_id,
            number: self.number,
            kind: self.kind,
            external_id: self.external_id.as_deref().map(Arc::from),
            retired: self.retired,
        }
    }
}

/// What a caller says of a piece of equipment. An outer `None` leaves a field as it is (or empty, for new equipment),
/// an inner one empties it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EquipmentPatch {
    /// One of the four kinds, as spelled by the caller.
    pub kind: Option<String>,
    /// See [`Equipment::type_name`].
    pub type_name: Option<Option<String>>,
    /// See [`Equipment::external_id`].
    pub external_id: Option<Option<String>>,
    /// See [`Equipment::name`].
    pub name: Option<Option<String>>,
    /// See [`Equipment::room`].
    pub room: Option<Option<String>>,
    /// See [`Equipment::location`].
    pub location: Option<Option<String>>,
    /// `active` or `retired`, as spelled by the caller.
    pub status: Option<String>,
}

impl Control {
    /// One piece of equipment of `organisation_id`.
    pub async fn equipment(&self, organisation_id: OrganisationId, id: EquipmentId) -> Result<Equipment, Error> {
        self.read(move |connection| find(connection, organisation_id, id)).await
    }

    /// Registers a piece of equipment.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fields, [`Error::Conflict`] for an external id that is taken.
    pub async fn create_equipment(
        &self,
        actor: impl Into<Registrar>,
        integration_id: Option<IntegrationId>,
        new: EquipmentPatch,
    ) -> Result<Equipment, Error> {
        let actor = actor.into();
        let organisation_id = actor.organisation_id();
        let integration_id = actor.own_integration().or(integration_id);
        let equipment_max = self.inner.equipment_max;
        let create = move |tx: &Tx<'_>| {
            let target = integration_id.map_or(Target::Organisation(organisation_id), Target::Integration);
            actor.require(tx, "equipment_create_refused", target)?;
            let draft = accept(tx, organisation_id, integration_id, &new)?;
            require_free_external_id(tx, &draft, None)?;
            if count(tx, draft.integration_id)? >= equipment_max {
                return Err(Error::EquipmentLimit(equipment_max));
            }
            let equipment = insert(tx, organisation_id, &draft)?;
            outbox::emit_equipment(tx, WebhookEvent::EquipmentCreated, &[&equipment], actor.request_id())?;
            let entry = actor.entry("equipment_create", Target::Equipment(equipment.id));
            audit::append(tx, AuditEntry { after: Some(description(&equipment)), ..entry })?;
            let change = Change::Equipment(vec![equipment.facts()]);
            Ok((equipment, vec![change]))
        };
        Ok(self.change(create).await?.0)
    }

    /// Changes a piece of equipment, all fields or none. A renamed external id takes effect for the next request; its
    /// history stays (S281). `version` is the one that the actor has read, where they say so.
    ///
    /// # Errors
    /// As [`Control::create_equipment`], and [`Error::VersionConflict`].
    pub async fn update_equipment(
        &self,
        actor: impl Into<Registrar>,
        id: EquipmentId,
        patch: EquipmentPatch,
        version: Option<u64>,
    ) -> Result<Equipment, Error> {
        let actor = actor.into();
        let update = move |tx: &Tx<'_>| {
            actor.require(tx, "equipment_update_refused", Target::Equipment(id))?;
            let before = find_for(tx, &actor, id)?;
            if version.is_some_and(|version| version != before.version) {
                return Err(Error::VersionConflict { current: before.version });
            }
            let draft = Draft::of(&before).patched(&patch).map_err(Error::Invalid)?;
            if draft == Draft::of(&before) {
                return Ok((before, vec![]));
            }
            require_free_external_id(tx, &draft, Some(id))?;
            let after = update(tx, &before, &draft)?;
            let action = match (before.retired, after.retired) {
                (false, true) => "equipment_retire",
                (true, false) => "equipment_return",
                _ => "equipment_update",
            };
            let (was, is) = user::difference(&description(&before), &description(&after));
            outbox::emit_equipment(tx, webhook_event(&before, &after), &[&after], actor.request_id())?;
            let entry = actor.entry(action, Target::Equipment(id));
            audit::append(tx, AuditEntry { before: Some(was.into()), after: Some(is.into()), ..entry })?;
            let change = Change::Equipment(vec![after.facts()]);
            Ok((after, vec![change]))
        };
        Ok(self.change(update).await?.0)
    }
}

const COLUMNS: &str = "number, id, integration_id, kind, type, external_id, name, room, location,
    status = 'retired', version, created_at_us, updated_at_us";

fn equipment_row(row: &Row<'_>) -> rusqlite::Result<Equipment> {
    Ok(Equipment {
        number: EquipmentNumber(row.get(0)?),
        id: row.get(1)?,
        integration_id: row.get(2)?,
        kind: row.get(3)?,
        type_name: row.get(4)?,
        external_id: row.get(5)?,
        name: row.get(6)?,
        room: row.get(7)?,
        location: row.get(8)?,
        retired: row.get(9)?,
        version: row.get(10)?,
        created_at_us: row.get(11)?,
        updated_at_us: row.get(12)?,
    })
}

fn find(connection: &Connection, organisation_id: OrganisationId, id: EquipmentId) -> Result<Equipment, Error> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM equipment WHERE id = ?1 AND organisation_id = ?2"))?
        .query_row((id, organisation_id), equipment_row)
        .optional()?
        .ok_or(Error::NotFound("equipment"))
}

/// The same as `actor` sees it: to an integration, equipment of others does not exist (S274).
fn find_for(connection: &Connection, actor: &Registrar, id: EquipmentId) -> Result<Equipment, Error> {
    let found = find(connection, actor.organisation_id(), id)?;
    let is_theirs = actor.own_integration().is_none_or(|own| own == found.integration_id);
    if is_theirs { Ok(found) } else { Err(Error::NotFound("equipment")) }
}

/// New equipment, judged; everything wrong with it is said at once.
fn accept(
    tx: &Tx<'_>,
    organisation_id: OrganisationId,
    integration_id: Option<IntegrationId>,
    new: &EquipmentPatch,
) -> Result<Draft, Error> {
    let refusal = match integration_id {
        None => Some("must be given"),
        Some(id) => integration_refusal(tx, organisation_id, id)?,
    };
    let mut errors: Vec<_> = refusal.map(|message| FieldError::new("integration_id", message)).into_iter().collect();
    let draft = Draft::new(integration_id.unwrap_or_else(IntegrationId::generate), new);
    errors.extend(draft.as_ref().err().cloned().unwrap_or_default());
    Error::of_fields(errors)?;
    draft.map_err(Error::Invalid)
}

/// Why an integration cannot have equipment: it does not exist here, or no longer lives. Unknown and foreign ones
/// answer the same (S008).
fn integration_refusal(
    tx: &Tx<'_>,
    organisation_id: OrganisationId,
    id: IntegrationId,
) -> Result<Option<&'static str>, Error> {
    let status: Option<String> = tx
        .prepare_cached("SELECT status FROM integrations WHERE id = ?1 AND organisation_id = ?2")?
        .query_row((id, organisation_id), |row| row.get(0))
        .optional()?;
    Ok(match status.as_deref() {
        None => Some("no such integration"),
        Some("revoked") => Some("the integration is revoked"),
        Some(_) => None,
    })
}

/// Whose external id this is within its integration.
fn by_external_id(
    connection: &Connection,
    integration_id: IntegrationId,
    external_id: &str,
) -> Result<Option<Equipment>, Error> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM equipment WHERE integration_id = ?1 AND external_id = ?2"))?
        .query_row((integration_id, external_id), equipment_row)
        .optional()?)
}

/// Pieces of equipment of an integration, retired ones included.
fn count(connection: &Connection, integration_id: IntegrationId) -> Result<u32, Error> {
    Ok(connection
        .prepare_cached("SELECT count(*) FROM equipment WHERE integration_id = ?1")?
        .query_row([integration_id], |row| row.get(0))?)
}

fn require_free_external_id(tx: &Tx<'_>, draft: &Draft, own: Option<EquipmentId>) -> Result<(), Error> {
    let Some(external_id) = &draft.external_id else { return Ok(()) };
    match by_external_id(tx, draft.integration_id, external_id)? {
        Some(other) if Some(other.id) != own => {
            Err(Error::Conflict { field: "external_id", message: "other equipment of the integration has it" })
        }
        _ => Ok(()),
    }
}

fn insert(tx: &Tx<'_>, organisation_id: OrganisationId, draft: &Draft) -> Result<Equipment, Error> {
    let sql = format!(
        "INSERT INTO equipment (id, organisation_id, integration_id, kind, type, external_id, name, room, location,
             status, created_at_us, updated_at_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11) RETURNING {COLUMNS}"
    );
    let values = (
        EquipmentId::generate(),
        organisation_id,
        draft.integration_id,
        draft.kind,
        &draft.type_name,
        &draft.external_id,
        &draft.name,
        &draft.room,
        &draft.location,
        status(draft.retired),
        tx.now_us,
    );
    Ok(tx.prepare_cached(&sql)?.query_one(values, equipment_row)?)
}

fn update(tx: &Tx<'_>, before: &Equipment, draft: &Draft) -> Result<Equipment, Error> {
    let sql = format!(
        "UPDATE equipment SET kind = ?2, type = ?3, external_id = ?4, name = ?5, room = ?6, location = ?7, status = ?8,
             version = version + 1, updated_at_us = ?9 WHERE number = ?1 RETURNING {COLUMNS}"
    );
    let values = (
        before.number.0,
        draft.kind,
        &draft.type_name,
        &draft.external_id,
        &draft.name,
        &draft.room,
        &draft.location,
        status(draft.retired),
        tx.now_us,
    );
    Ok(tx.prepare_cached(&sql)?.query_one(values, equipment_row)?)
}

/// What subscribers are told of a change.
fn webhook_event(before: &Equipment, after: &Equipment) -> WebhookEvent {
    if after.retired && !before.retired { WebhookEvent::EquipmentRetired } else { WebhookEvent::EquipmentUpdated }
}

fn status(retired: bool) -> &'static str {
    if retired { "retired" } else { "active" }
}

fn description(equipment: &Equipment) -> Value {
    json!({
        "integration_id": equipment.integration_id,
        "kind": equipment.kind,
        "type": equipment.type_name,
        "external_id": equipment.external_id,
        "name": equipment.name,
        "room": equipment.room,
        "location": equipment.location,
        "status": status(equipment.retired),
    })
}

#[cfg(test)]
mod tests;
