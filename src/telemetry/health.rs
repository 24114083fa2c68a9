//! Readiness: each room says for itself whether it can do its part, and why not.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// A shared board of components and their complaints. Ready means that nobody complains; what is merely degraded works,
/// but not all of it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    complaints: Arc<Mutex<BTreeMap<&'static str, String>>>,
    degraded: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Health {
    /// `component` can do its part (`Ok`) or cannot, with the reason for people.
    pub fn set(&self, component: &'static str, state: Result<(), String>) {
        put(&self.complaints, component, state);
    }

    /// `component` does all of its part (`Ok`), or something of it is missing that nobody's readings depend on.
    pub fn degrade(&self, component: &'static str, state: Result<(), String>) {
        put(&self.degraded, component, state);
    }

    /// Who complains, and of what; empty when ready.
    #[must_use]
    pub fn complaints(&self) -> Vec<(&'static str, String)> {
        all(&self.complaints)
    }

    /// What is degraded, and how.
    #[must_use]
    pub fn degradations(&self) -> Vec<(&'static str, String)> {
        all(&self.degraded)
    }
}

fn put(board: &Mutex<BTreeMap<&'static str, String>>, component: &'static str, state: Result<(), String>) {
    let mut board = board.lock();
    match state {
        Ok(()) => board.remove(component),
        Err(reason) => board.insert(component, reason),
    };
}

fn all(board: &Mutex<BTreeMap<&'static str, String>>) -> Vec<(&'static str, String)> {
    board.lock().iter().map(|(component, reason)| (*component, reason.clone())).collect()
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
