//! The equipment of one integration, looked up by our id or the partner's name for it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::model::{EquipmentFacts, EquipmentId, EquipmentKind, EquipmentNumber};

/// What ingest needs of one piece of equipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EquipmentEntry {
    /// The number that series are made of.
    pub number: EquipmentNumber,
    /// Decides which metrics it may report.
    pub kind: EquipmentKind,
    /// Takes no further readings.
    pub retired: bool,
}

/// Both look-ups. Entries are only ever added or replaced: equipment is retired, never deleted.
#[derive(Debug)]
pub struct EquipmentIndex {
    by_external: FxHashMap<NameKey, EquipmentEntry>,
    by_id: FxHashMap<EquipmentId, (EquipmentEntry, Option<Arc<str>>)>,
    seed: u64,
}

/// 128 bits of an external id. With a million sensors every look-up is a miss of the cache, and to compare the text
/// would be a second one. Two of a million names share a key with a probability of 2^-88, so the key stands for the
/// name; the seed is drawn anew at each start, so nobody can look for two that do.
type NameKey = u128;

impl Default for EquipmentIndex {
    fn default() -> Self {
        let seed = RandomState::new().hash_one(0_u8);
        Self { by_external: FxHashMap::default(), by_id: FxHashMap::default(), seed }
    }
}

impl EquipmentIndex {
    /// The equipment that the partner calls `external_id`, byte for byte.
    #[must_use]
    pub fn by_external(&self, external_id: &str) -> Option<&EquipmentEntry> {
        self.by_external.get(&self.key(external_id))
    }

    fn key(&self, external_id: &str) -> NameKey {
        xxh3_128_with_seed(external_id.as_bytes(), self.seed)
    }

    /// The equipment with our `id`.
    #[must_use]
    pub fn by_id(&self, id: EquipmentId) -> Option<&EquipmentEntry> {
        self.by_id.get(&id).map(|(entry, _)| entry)
    }

    /// How many pieces there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Adds `facts`, or replaces what was known under their id; a former external id is forgotten (S281).
    pub fn upsert(&mut self, facts: &EquipmentFacts) {
        let entry = EquipmentEntry { number: facts.number, kind: facts.kind, retired: facts.retired };
        if let Some((old, Some(former))) = self.by_id.insert(facts.id, (entry, facts.external_id.clone()))
            && facts.external_id.as_ref() != Some(&former)
        {
            let former = self.key(&former);
            if self.by_external.get(&former).is_some_and(|named| named.number == old.number) {
                self.by_external.remove(&former);
            }
        }
        if let Some(external_id) = &facts.external_id {
            self.by_external.insert(self.key(external_id), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IntegrationId;

    fn facts(id: EquipmentId, number: u32, external_id: &str) -> EquipmentFacts {
        EquipmentFacts {
            id,
            integration_id: IntegrationId::generate(),
            number: EquipmentNumber(number),
            kind: EquipmentKind::Sensor,
            external_id: Some(external_id.into()),
            retired: false,
        }
    }

    // S276, S277, S281, S282
    #[test]
    fn a_renamed_sensor_is_found_by_its_new_name_only_and_a_swap_of_names_works() {
        let (mut index, a, b) = (EquipmentIndex::default(), EquipmentId::generate(), EquipmentId::generate());
        index.upsert(&facts(a, 1, "AA:BB/ ü"));
        index.upsert(&facts(b, 2, "other"));
        assert_eq!(index.by_external("AA:BB/ ü").map(|e| e.number.0), Some(1));
        assert!(index.by_external("aa:bb/ ü").is_none());
        index.upsert(&facts(a, 1, "spare"));
        assert!(index.by_external("AA:BB/ ü").is_none());
        index.upsert(&facts(b, 2, "AA:BB/ ü"));
        index.upsert(&facts(a, 1, "other"));
        assert_eq!(index.by_external("AA:BB/ ü").map(|e| e.number.0), Some(2));
        assert_eq!(index.by_external("other").map(|e| e.number.0), Some(1));
        assert_eq!(index.by_id(a).map(|e| e.number.0), Some(1));
        assert_eq!(index.len(), 2);
    }
}
