//! An integration for people.

use serde_json::Value;

use crate::cli::{
    find::{Names, named},
    table::{Card, text},
};

/// What somebody who approves has to look at (S072).
pub(super) fn review(integration: &Value, people: &Names) -> Card {
    let mut card = Card::default();
    card.line("Name", &integration["name"])
        .line("Vendor", &integration["vendor"])
        .line("Description", &integration["description"])
        .line("Scopes", &integration["scopes"])
        .line("Owner", &named(people, &integration["owner_id"]))
        .line("Requested by", &named(people, &integration["requested_by"]))
        .line("Requested at", &integration["created_at"])
        .line("Requests a minute", &integration["rate_limit_rpm"])
        .some("Requests a day", &integration["daily_quota"]);
    card
}

/// Everything.
pub(super) fn whole(integration: &Value, people: &Names) -> Card {
    let mut card = Card::default();
    card.line("Name", &integration["name"])
        .line("Status", &integration["status"])
        .line("Vendor", &integration["vendor"])
        .line("Description", &integration["description"])
        .line("Owner", &named(people, &integration["owner_id"]))
        .line("Scopes", &integration["scopes"])
        .some("Scopes that wait for a second administrator", &integration["scopes_pending"]);
    limits(&mut card, integration);
    credentials(&mut card, integration);
    deeds(&mut card, integration, people);
    for contact in integration["contacts"].as_array().into_iter().flatten() {
        let company =
            contact["company"].as_str().map_or_else(String::new, |_| format!(", {}", text(&contact["company"])));
        card.say("Contact", format!("{} <{}>{company}", text(&contact["name"]), text(&contact["email"])));
    }
    card.line("Version", &integration["version"]).line("Id", &integration["id"]);
    card
}

fn limits(card: &mut Card, integration: &Value) {
    card.line("Requests a minute", &integration["rate_limit_rpm"]);
    let quota = &integration["daily_quota"];
    card.say("Requests a day", if quota.is_null() { "unlimited".to_owned() } else { text(quota) });
    let limit = &integration["temporary_limit"];
    if limit.is_object() {
        card.say("Temporary limit", format!("{} a minute until {}", text(&limit["rpm"]), text(&limit["until"])));
    }
    let backfill = &integration["backfill"];
    if backfill.is_object() {
        let (start, until) = (text(&backfill["window_start"]), text(&backfill["until"]));
        card.say("Backfill", format!("readings from {start} on, until {until}"));
    }
    let allowlist = &integration["ip_allowlist"];
    let entries = text(&allowlist["entries"]);
    card.say("Allowlist", if allowlist["enabled"] == true { entries } else { "off: any address may call".to_owned() });
}

fn credentials(card: &mut Card, integration: &Value) {
    card.some("Client id", &integration["client_id"])
        .some("Issuer", &integration["client_issuer"])
        .some("Key begins with", &integration["key_prefix"])
        .some("Key issued at", &integration["key_issued_at"])
        .some("Staged key begins with", &integration["staged_key_prefix"])
        .line("Last used", &integration["last_used_at"]);
}

fn deeds(card: &mut Card, integration: &Value, people: &Names) {
    for (title, by, at) in [
        ("Requested", "requested_by", "created_at"),
        ("Approved", "approved_by", "approved_at"),
        ("Activated", "activated_by", "activated_at"),
        ("Suspended", "suspended_by", "suspended_at"),
        ("Reactivated", "reactivated_by", "reactivated_at"),
        ("Revoked", "revoked_by", "revoked_at"),
    ] {
        if !integration[by].is_null() {
            card.say(title, format!("{} by {}", text(&integration[at]), text(&named(people, &integration[by]))));
        }
    }
    card.some("Reason of suspension", &integration["suspend_reason"])
        .some("Category", &integration["suspend_category"])
        .some("Reason of revocation", &integration["revoke_reason"]);
    if let Some(approvers) = integration["eligible_approvers"].as_u64() {
        let words = match approvers {
            0 => "nobody can approve it: a second administrator is needed".to_owned(),
            1 => "one other administrator can approve it".to_owned(),
            count => format!("{count} other administrators can approve it"),
        };
        card.say("Waits for approval", words);
    }
}
