//! Every integration and key that is known, in memory. The control plane's copy for the hot path.

use std::sync::Arc;

use moka::sync::Cache;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use super::Integration;
use crate::model::{EquipmentFacts, IntegrationFacts, IntegrationId, KeyFact};

/// What a key's hash leads to. Immutable: a hash never changes its owner or its generation, so a cached copy can not
/// be stale (H1). What can change is read from the integration at every request.
#[derive(Debug, Clone)]
pub(super) struct KeyEntry {
    pub(super) integration: Arc<Integration>,
    pub(super) generation: u64,
}

/// Integrations by id, keys by hash (dead ones too, so that the log can name them), and the cache in front.
#[derive(Debug)]
pub struct Registry {
    integrations: RwLock<FxHashMap<IntegrationId, Arc<Integration>>>,
    keys: RwLock<FxHashMap<[u8; 32], (IntegrationId, u64)>>,
    cache: Cache<[u8; 32], KeyEntry, rustc_hash::FxBuildHasher>,
}

impl Registry {
    /// An empty registry that caches `cached_keys_max` keys.
    #[must_use]
    pub fn new(cached_keys_max: u64) -> Self {
        let cache = Cache::builder().max_capacity(cached_keys_max).build_with_hasher(rustc_hash::FxBuildHasher);
        Self { integrations: RwLock::default(), keys: RwLock::default(), cache }
    }

    /// Puts `facts` in force, for an integration that is known or a new one.
    pub fn apply_integration(&self, facts: IntegrationFacts) -> Arc<Integration> {
        let mut integrations = self.integrations.write();
        match integrations.get(&facts.id) {
            Some(integration) => {
                integration.replace_facts(facts);
                Arc::clone(integration)
            }
            None => {
                let id = facts.id;
                let integration = Arc::new(Integration::new(facts));
                integrations.insert(id, Arc::clone(&integration));
                integration
            }
        }
    }

    /// Adds keys. A key that is known stays as it is.
    pub fn apply_keys(&self, keys: impl IntoIterator<Item = KeyFact>) {
        let mut known = self.keys.write();
        for key in keys {
            known.entry(key.hash).or_insert((key.integration_id, key.generation));
        }
    }

    /// Adds or replaces equipment. Facts of an unknown integration are passed over: the integration comes first.
    pub fn apply_equipment<'a>(&self, equipment: impl IntoIterator<Item = &'a EquipmentFacts>) {
        let mut current: Option<(IntegrationId, Arc<Integration>)> = None;
        for facts in equipment {
            if current.as_ref().is_none_or(|(id, _)| *id != facts.integration_id) {
                current = self.integration(facts.integration_id).map(|found| (facts.integration_id, found));
            }
            if let Some((_, integration)) = &current {
                integration.equipment.write().upsert(facts);
            }
        }
    }

    /// The integration with this id.
    #[must_use]
    pub fn integration(&self, id: IntegrationId) -> Option<Arc<Integration>> {
        self.integrations.read().get(&id).map(Arc::clone)
    }

    /// All integrations.
    #[must_use]
    pub fn integrations(&self) -> Vec<Arc<Integration>> {
        self.integrations.read().values().map(Arc::clone).collect()
    }

    /// What the key with this hash leads to.
    pub(super) fn key(&self, hash: &[u8; 32]) -> Option<KeyEntry> {
        if let Some(entry) = self.cache.get(hash) {
            return Some(entry);
        }
        let (id, generation) = *self.keys.read().get(hash)?;
        let entry = KeyEntry { integration: self.integration(id)?, generation };
        self.cache.insert(*hash, entry.clone());
        Some(entry)
    }
}
