//! What a caller says of equipment, judged: the one place that knows which fields are good.

use super::{EXTERNAL_ID_BYTES_MAX, Equipment, EquipmentPatch};
use crate::{
    control::{FieldError, equipment_type},
    model::{EquipmentKind, IntegrationId},
};

/// Longest name, room or location, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// The changeable fields of a piece of equipment, all of them valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) integration_id: IntegrationId,
    pub(super) kind: EquipmentKind,
    pub(super) type_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) room: Option<String>,
    pub(super) location: Option<String>,
    pub(super) retired: bool,
}

impl Draft {
    /// The fields as they stand.
    pub(super) fn of(equipment: &Equipment) -> Self {
        Self {
            integration_id: equipment.integration_id,
            kind: equipment.kind,
            type_name: equipment.type_name.clone(),
            external_id: equipment.external_id.clone(),
            name: equipment.name.clone(),
            room: equipment.room.clone(),
            location: equipment.location.clone(),
            retired: equipment.retired,
        }
    }

    /// Those of new equipment; the kind must be said.
    pub(super) fn new(integration_id: IntegrationId, patch: &EquipmentPatch) -> Result<Self, Vec<FieldError>> {
        let empty = Self {
            integration_id,
            kind: EquipmentKind::Sensor,
            type_name: None,
            external_id: None,
            name: None,
            room: None,
            location: None,
            retired: false,
        };
        let drafted = empty.patched(patch);
        if patch.kind.is_some() {
            return drafted;
        }
        let missing = FieldError::new("kind", format!("must be given: {}", kinds()));
        Err(std::iter::once(missing).chain(drafted.err().unwrap_or_default()).collect())
    }

    /// With the changes of `patch`.
    pub(super) fn patched(&self, patch: &EquipmentPatch) -> Result<Self, Vec<FieldError>> {
        let mut draft = self.clone();
        let mut errors = Vec::new();
        if let Some(kind) = &patch.kind {
            match EquipmentKind::parse(kind) {
                Some(kind) => draft.kind = kind,
                None => errors.push(FieldError::new("kind", format!("must be one of {}", kinds()))),
            }
        }
        if let Some(status) = &patch.status {
            match status.as_str() {
                "active" => draft.retired = false,
                "retired" => draft.retired = true,
                _ => errors.push(FieldError::new("status", "must be active or retired")),
            }
        }
        let texts = [
            (&mut draft.name, &patch.name, "name"),
            (&mut draft.room, &patch.room, "room"),
            (&mut draft.location, &patch.location, "location"),
        ];
        for (field, value, name) in texts {
            let Some(value) = value else { continue };
            match value.as_deref().and_then(text_refusal) {
                None => field.clone_from(value),
                Some(message) => errors.push(FieldError::new(name, message)),
            }
        }
        if let Some(value) = &patch.external_id {
            match value.as_deref().and_then(external_id_refusal) {
                None => draft.external_id.clone_from(value),
                Some(message) => errors.push(FieldError::new("external_id", message)),
            }
        }
        if let Some(value) = &patch.type_name {
            draft.type_name.clone_from(value);
        }
        // Judged last, and also where the kind alone changed: the pair must fit.
        let fits = |name: &String| equipment_type::is_type_of(name, draft.kind);
        if !errors.iter().any(|error| error.field == "kind") && !draft.type_name.as_ref().is_none_or(fits) {
            errors.push(FieldError::new("type", "is no type of this kind: see /admin/v1/taxonomies/equipment-types"));
        }
        if errors.is_empty() { Ok(draft) } else { Err(errors) }
    }
}

fn kinds() -> String {
    EquipmentKind::ALL.map(EquipmentKind::as_str).join(", ")
}

fn text_refusal(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("must not be blank; null empties the field");
    }
    if text.chars().count() > TEXT_CHARS_MAX {
        return Some("must have at most 200 characters");
    }
    text.chars().any(char::is_control).then_some("must have no control characters")
}

fn external_id_refusal(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > EXTERNAL_ID_BYTES_MAX {
        return Some("must have 1 to 128 bytes of UTF-8");
    }
    text.chars().any(char::is_control).then_some("must have no control characters")
}
