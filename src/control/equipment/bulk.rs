//! Many pieces of equipment in one call: each is judged on its own, the good ones are saved together.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::{
    Draft, Equipment, EquipmentPatch, by_external_id, count, description, find_for, insert, integration_refusal,
    update, webhook_event,
};
use crate::{
    control::{
        Change, Control, Error, FieldError, Registrar,
        audit::{self, AuditEntry, Target},
        db::Tx,
        user,
        webhook::outbox,
    },
    model::{EquipmentFacts, EquipmentId, IntegrationId, WebhookEvent},
};

/// Pieces of equipment in one call, at most.
pub const BULK_ITEMS_MAX: usize = 500;

/// What stands as the field of a refusal for [`Error::EquipmentLimit`]: it lies with no field.
pub const EQUIPMENT_LIMIT: &str = "equipment_limit";

/// One entry: known by `id`, or by its integration and external id. What is not known yet is registered.
#[derive(Debug, Clone, Default)]
pub struct BulkUpsert {
    /// Our id, for equipment that exists.
    pub id: Option<EquipmentId>,
    /// Whose; needed without `id`.
    pub integration_id: Option<IntegrationId>,
    /// What to save. The external id is needed without `id`: it makes a repeated call harmless.
    pub fields: EquipmentPatch,
}

/// One entry that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the call, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub error: FieldError,
}

/// One entry that was taken.
#[derive(Debug, Clone)]
pub struct UpsertedEquipment {
    /// Its place in the call, from 0.
    pub index: usize,
    /// The equipment as it stands now.
    pub equipment: Equipment,
}

/// What a bulk call did.
#[derive(Debug, Clone, Default)]
pub struct BulkSummary {
    /// The entries that were taken, in order.
    pub accepted: Vec<UpsertedEquipment>,
    /// The entries that were refused, in order.
    pub rejected: Vec<Refusal>,
    /// Registered.
    pub created: usize,
    /// Changed.
    pub updated: usize,
    /// As they were already.
    pub unchanged: usize,
}

/// Many entries at once.
#[derive(Debug, Clone, Default)]
pub struct BulkCall {
    /// Each with its place in the call.
    pub entries: Vec<(usize, BulkUpsert)>,
    /// Those that could not even be read.
    pub refused: Vec<Refusal>,
    /// Hexadecimal SHA-256 of the call's body, for the audit log.
    pub body_hash: String,
    /// Judge them as if they were saved, and save nothing.
    pub validate_only: bool,
}

impl Control {
    /// Saves the entries of `call` in one transaction. The audit log gets the counts and each piece before and after,
    /// [`BULK_ITEMS_MAX`] to an entry.
    ///
    /// # Errors
    /// Only for the call as a whole: [`Error::PermissionDenied`] and the like, or a fault.
    pub async fn bulk_upsert_equipment(
        &self,
        actor: impl Into<Registrar>,
        call: BulkCall,
    ) -> Result<BulkSummary, Error> {
        let actor = actor.into();
        let equipment_max = self.inner.equipment_max;
        let upsert = move |tx: &Tx<'_>| {
            let BulkCall { entries, refused, body_hash, validate_only } = call;
            actor.require(tx, "equipment_bulk_refused", target(&actor))?;
            if validate_only {
                tx.execute_batch("SAVEPOINT rehearsal")?;
            }
            let mut bulk = Bulk::new(tx, actor, equipment_max, refused);
            for (index, entry) in entries {
                bulk.take(index, &entry)?;
            }
            let Bulk { mut summary, facts, changed, events, .. } = bulk;
            for (event, equipment) in &events {
                let equipment: Vec<&Equipment> = equipment.iter().collect();
                outbox::emit_equipment(tx, *event, &equipment, actor.request_id())?;
            }
            summary.rejected.sort_by_key(|refusal| refusal.index);
            if validate_only {
                // Undone whole: not even a number is used up.
                tx.execute_batch("ROLLBACK TO rehearsal; RELEASE rehearsal")?;
                return Ok((summary, vec![]));
            }
            record(tx, &actor, &summary, &changed, &body_hash)?;
            let changes = if facts.is_empty() { vec![] } else { vec![Change::Equipment(facts)] };
            Ok((summary, changes))
        };
        Ok(self.change(upsert).await?.0)
    }
}

fn target(actor: &Registrar) -> Target {
    actor.own_integration().map_or(Target::Organisation(actor.organisation_id()), Target::Integration)
}

/// Writes what was changed to the audit log.
fn record(
    tx: &Tx<'_>,
    actor: &Registrar,
    summary: &BulkSummary,
    changed: &[Value],
    body_hash: &str,
) -> Result<(), Error> {
    let parts = changed.len().div_ceil(BULK_ITEMS_MAX);
    for (index, equipment) in changed.chunks(BULK_ITEMS_MAX).enumerate() {
        let after = json!({
            "created": summary.created,
            "updated": summary.updated,
            "unchanged": summary.unchanged,
            "rejected": summary.rejected.len(),
            "body_sha256": body_hash,
            "part": index + 1,
            "parts": parts,
            "equipment": equipment,
        });
        audit::append(tx, AuditEntry { after: Some(after), ..actor.entry("equipment_bulk", target(actor)) })?;
    }
    Ok(())
}

struct Bulk<'a> {
    tx: &'a Tx<'a>,
    actor: Registrar,
    /// What is wrong with an integration, looked up once each.
    refusals: HashMap<IntegrationId, Option<&'static str>>,
    summary: BulkSummary,
    facts: Vec<EquipmentFacts>,
    /// For the audit log: each piece that was registered or changed.
    changed: Vec<Value>,
    /// For webhooks: the same by what became of them.
    events: BTreeMap<WebhookEvent, Vec<Equipment>>,
    equipment_max: u32,
    /// Pieces that an integration has, counted once each.
    counts: HashMap<IntegrationId, u32>,
}

impl<'a> Bulk<'a> {
    fn new(tx: &'a Tx<'a>, actor: Registrar, equipment_max: u32, refused: Vec<Refusal>) -> Self {
        Self {
            tx,
            actor,
            refusals: HashMap::new(),
            summary: BulkSummary { rejected: refused, ..BulkSummary::default() },
            facts: vec![],
            changed: vec![],
            events: BTreeMap::new(),
            equipment_max,
            counts: HashMap::new(),
        }
    }

    fn take(&mut self, index: usize, entry: &BulkUpsert) -> Result<(), Error> {
        match self.upsert(entry)? {
            Ok(equipment) => self.summary.accepted.push(UpsertedEquipment { index, equipment }),
            Err(errors) => {
                self.summary.rejected.extend(errors.into_iter().take(1).map(|error| Refusal { index, error }))
            }
        }
        Ok(())
    }

    /// The inner result is the entry's own, the outer one ends the call.
    fn upsert(&mut self, entry: &BulkUpsert) -> Result<Result<Equipment, Vec<FieldError>>, Error> {
        let refuse = |field, message| Ok(Err(vec![FieldError::new(field, message)]));
        let named = self.actor.own_integration().or(entry.integration_id);
        let before = match (entry.id, named) {
            (Some(id), integration_id) => match find_for(self.tx, &self.actor, id) {
                Ok(equipment) if integration_id.is_none_or(|named| named == equipment.integration_id) => {
                    Some(equipment)
                }
                Ok(_) => return refuse("integration_id", "equipment never moves to another integration"),
                Err(Error::NotFound(_)) => return refuse("id", "no such equipment"),
                Err(fault) => return Err(fault),
            },
            (None, None) => return refuse("integration_id", "must be given, or the id"),
            (None, Some(integration_id)) => {
                if let Some(message) = self.integration_refusal(integration_id)? {
                    return refuse("integration_id", message);
                }
                let Some(Some(external_id)) = &entry.fields.external_id else {
                    return refuse("external_id", "must be given, or the id: it makes a repeated call harmless");
                };
                by_external_id(self.tx, integration_id, external_id)?
            }
        };
        match (before, named) {
            (Some(before), _) => self.change(before, entry),
            (None, Some(integration_id)) => match Draft::new(integration_id, &entry.fields) {
                Ok(draft) => {
                    if !self.has_room(integration_id)? {
                        return refuse(EQUIPMENT_LIMIT, "the integration has as much equipment as it may");
                    }
                    let equipment = insert(self.tx, self.actor.organisation_id(), &draft)?;
                    self.summary.created += 1;
                    self.changed.push(json!({ "id": equipment.id, "after": description(&equipment) }));
                    self.facts.push(equipment.facts());
                    self.events.entry(WebhookEvent::EquipmentCreated).or_default().push(equipment.clone());
                    Ok(Ok(equipment))
                }
                Err(errors) => Ok(Err(errors)),
            },
            (None, None) => refuse("id", "no such equipment"),
        }
    }

    fn change(&mut self, before: Equipment, entry: &BulkUpsert) -> Result<Result<Equipment, Vec<FieldError>>, Error> {
        let draft = match Draft::of(&before).patched(&entry.fields) {
            Ok(draft) if draft == Draft::of(&before) => {
                self.summary.unchanged += 1;
                return Ok(Ok(before));
            }
            Ok(draft) => draft,
            Err(errors) => return Ok(Err(errors)),
        };
        if draft.external_id != before.external_id
            && let Some(external_id) = &draft.external_id
            && by_external_id(self.tx, draft.integration_id, external_id)?.is_some()
        {
            return Ok(Err(vec![FieldError::new("external_id", "other equipment of the integration has it")]));
        }
        let equipment = update(self.tx, &before, &draft)?;
        self.summary.updated += 1;
        let (was, is) = user::difference(&description(&before), &description(&equipment));
        self.changed.push(json!({ "id": equipment.id, "before": was, "after": is }));
        self.facts.push(equipment.facts());
        self.events.entry(webhook_event(&before, &equipment)).or_default().push(equipment.clone());
        Ok(Ok(equipment))
    }

    /// Whether one more piece may be registered; counts it.
    fn has_room(&mut self, id: IntegrationId) -> Result<bool, Error> {
        let count = match self.counts.get(&id) {
            Some(count) => *count,
            None => count(self.tx, id)?,
        };
        self.counts.insert(id, count + 1);
        Ok(count < self.equipment_max)
    }

    fn integration_refusal(&mut self, id: IntegrationId) -> Result<Option<&'static str>, Error> {
        if let Some(known) = self.refusals.get(&id) {
            return Ok(*known);
        }
        let refusal = integration_refusal(self.tx, self.actor.organisation_id(), id)?;
        self.refusals.insert(id, refusal);
        Ok(refusal)
    }
}
