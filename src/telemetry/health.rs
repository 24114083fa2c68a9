//! Readiness: each room says for itself whether it can do its part, and why not.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// A shared board of components and their complaints. Ready means that nobody complains.
#[derive(Debug, Clone, Default)]
pub struct Health {
    complaints: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Health {
    /// `component` can do its part (`Ok`) or cannot, with the reason for people.
    pub fn set(&self, component: &'static str, state: Result<(), String>) {
        let mut complaints = self.complaints.lock();
        match state {
            Ok(()) => complaints.remove(component),
            Err(reason) => complaints.insert(component, reason),
        };
    }

    /// Who complains, and of what; empty when ready.
    #[must_use]
    pub fn complaints(&self) -> Vec<(&'static str, String)> {
        self.complaints.lock().iter().map(|(component, reason)| (*component, reason.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn a_component_that_recovers_takes_its_complaint_back() {
        let health = Health::default();
        health.set("spool", Err("poisoned".to_owned()));
        assert_eq!(health.complaints(), [("spool", "poisoned".to_owned())]);
        health.set("spool", Ok(()));
        assert!(health.complaints().is_empty());
    }
}
