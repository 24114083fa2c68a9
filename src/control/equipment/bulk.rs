//! Many pieces of equipment in one call: each is judged on its own, the good ones are saved together.

use std::collections::HashMap;

use serde_json::json;

use super::{Draft, Equipment, EquipmentPatch, by_external_id, find, insert, integration_refusal, update};
use crate::{
    control::{
        Actor, Change, Control, Error, FieldError,
        audit::{self, AuditEntry, Target},
        db::Tx,
    },
    model::{EquipmentId, IntegrationId},
};

/// Pieces of equipment in one call, at most.
pub const BULK_ITEMS_MAX: usize = 500;

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

impl Control {
    /// Saves `entries`, each with its place in the call; `refused` are those that could not even be read. One
    /// transaction, one audit entry with the counts and `body_hash` (hexadecimal SHA-256 of the call's body).
    ///
    /// # Errors
    /// Only for the call as a whole: [`Error::PermissionDenied`] or a fault.
    pub async fn bulk_upsert_equipment(
        &self,
        actor: Actor,
        entries: Vec<(usize, BulkUpsert)>,
        refused: Vec<Refusal>,
        body_hash: String,
    ) -> Result<BulkSummary, Error> {
        let target = Target::Organisation(actor.organisation_id);
        let upsert = move |tx: &Tx<'_>| {
            tx.attempt(&actor, "equipment_bulk_refused", target);
            actor.require_permission(tx)?;
            let mut bulk = Bulk { tx, actor, refusals: HashMap::new(), summary: BulkSummary::default(), facts: vec![] };
            bulk.summary.rejected = refused;
            for (index, entry) in entries {
                bulk.take(index, &entry)?;
            }
            let Bulk { mut summary, facts, .. } = bulk;
            summary.rejected.sort_by_key(|refusal| refusal.index);
            if !facts.is_empty() {
                let after = json!({
                    "created": summary.created,
                    "updated": summary.updated,
                    "unchanged": summary.unchanged,
                    "rejected": summary.rejected.len(),
                    "body_sha256": body_hash,
                });
                let entry = AuditEntry::by(&actor, "equipment_bulk", target);
                audit::append(tx, AuditEntry { after: Some(after), ..entry })?;
            }
            let changes = if facts.is_empty() { vec![] } else { vec![Change::Equipment(facts)] };
            Ok((summary, changes))
        };
        Ok(self.change(upsert).await?.0)
    }
}

struct Bulk<'a> {
    tx: &'a Tx<'a>,
    actor: Actor,
    /// What is wrong with an integration, looked up once each.
    refusals: HashMap<IntegrationId, Option<&'static str>>,
    summary: BulkSummary,
    facts: Vec<crate::model::EquipmentFacts>,
}

impl Bulk<'_> {
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
        let before = match (entry.id, entry.integration_id) {
            (Some(id), integration_id) => match find(self.tx, self.actor.organisation_id, id) {
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
        match (before, entry.integration_id) {
            (Some(before), _) => self.change(before, entry),
            (None, Some(integration_id)) => match Draft::new(integration_id, &entry.fields) {
                Ok(draft) => {
                    let equipment = insert(self.tx, self.actor.organisation_id, &draft)?;
                    self.summary.created += 1;
                    self.facts.push(equipment.facts());
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
        self.facts.push(equipment.facts());
        Ok(Ok(equipment))
    }

    fn integration_refusal(&mut self, id: IntegrationId) -> Result<Option<&'static str>, Error> {
        if let Some(known) = self.refusals.get(&id) {
            return Ok(*known);
        }
        let refusal = integration_refusal(self.tx, self.actor.organisation_id, id)?;
        self.refusals.insert(id, refusal);
        Ok(refusal)
    }
}
