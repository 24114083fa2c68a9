//! What deserves a second look before an integration is approved, and at every review.

use super::Integration;
use crate::model::{Scope, Status, integration::INTEGRATIONS_MAX, scope::Category};

/// A hint. It stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// What a warning needs to know beside the integration.
pub(super) struct Surroundings {
    /// Other integrations of the organisation with its name, not revoked.
    pub(super) namesakes: u32,
    /// Places taken of the 20.
    pub(super) slots_used: u32,
}

/// The warnings of `integration`. A revoked one has none: nothing is left to decide.
pub(super) fn of(integration: &Integration, surroundings: &Surroundings) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, message: String| warnings.push(Warning { code, message });
    if integration.status == Status::Revoked {
        return warnings;
    }
    for category in Category::ALL {
        let granted: Vec<&str> = integration
            .scopes
            .iter()
            .filter(|scope| scope.category() == category)
            .map(|scope| scope.as_str())
            .collect();
        if !granted.is_empty() && category.sensitivity().is_sensitive() {
            warn(
                "sensitive_scope",
                format!(
                    "{} ({}): {}. Grant it only where it is needed, and review it every quarter.",
                    granted.join(", "),
                    category.sensitivity().as_str(),
                    category.covers()
                ),
            );
        }
    }
    if integration.scopes.is_empty() {
        warn("no_scopes", "No scope is granted: every call will be refused with 403.".to_owned());
    }
    let has_equipment = integration.scopes.iter().any(|scope| scope.category() == Category::Equipment);
    if integration.scopes.contains(&Scope::SensorsWrite) && !has_equipment {
        let message = "Sensors without Equipment: the partner can send readings, but not register what they come from.";
        warn("sensors_without_equipment", message.to_owned());
    }
    if integration.name.trim().eq_ignore_ascii_case(integration.vendor.name) {
        let message = "The name is the vendor's own: say what the integration is for, SAP inventory sync for example.";
        warn("vendor_name", message.to_owned());
    }
    if surroundings.namesakes > 0 {
        warn("duplicate_name", "Another integration of the organisation has this name.".to_owned());
    }
    let is_waiting = matches!(integration.status, Status::Requested | Status::Approved);
    if integration.status == Status::Requested && integration.eligible_approvers == 0 {
        let message = "Nobody but the requester can approve: a second administrator with the permission is needed.";
        warn("approver_unavailable", message.to_owned());
    }
    if is_waiting && surroundings.slots_used as usize >= INTEGRATIONS_MAX {
        let message = "All 20 places are taken, suspended integrations included: it cannot be activated before one is \
                       revoked.";
        warn("integration_limit", message.to_owned());
    }
    if integration.allowlist.enabled && integration.allowlist.entries.iter().any(|net| net.prefix_len() == 0) {
        warn("allowlist_open", "The allowlist is enabled, and has an entry that lets every address in.".to_owned());
    }
    warnings
}
