//! The report of a review. Written once; what is stored is never computed again (S323).

use serde_json::{Value, json};

use super::time;
use crate::{
    control::{
        Integration,
        integration::Deed,
        review::{Event, Material},
    },
    model::{Scope, UserId, scope::Sensitivity},
    request_log::Traffic,
};

const DAY_US: i64 = 86_400_000_000;
const NOTES: [&str; 3] = [
    "Accounts are compared, not people: one person with two accounts cannot be told from two people. Compare the \
     administrators below with the list of staff.",
    "Traffic is summed by whole hours (UTC); the period is widened to whole hours for it. It is as complete as the API \
     log's retention lets it be.",
    "Webhook subscriptions are not part of this report.",
];

/// The report as JSON. `traffic` is that of the integrations, in their order.
pub(super) fn write(by: UserId, period_us: (i64, i64), material: &Material, traffic: &[Traffic]) -> String {
    let integrations: Vec<Value> = material
        .integrations
        .iter()
        .zip(traffic)
        .map(|(integration, traffic)| integration_of(integration, traffic, material))
        .collect();
    let administrators: Vec<Value> = material
        .people
        .iter()
        .filter(|(_, person)| person.permission.is_some())
        .map(|(id, _)| administrator(material, *id))
        .collect();
    let report = json!({
        "format": "sensorgate-access-review-v1",
        "organisation": material.organisation,
        "from": time::format(period_us.0),
        "to": time::format(period_us.1),
        "generated_at": time::format(material.at_us),
        "generated_by": person(material, by),
        "audit_head": {"seq": material.audit_head.0, "hash": material.audit_head.1},
        "integrations": integrations,
        "administrators": administrators,
        "events": material.events.iter().map(|entry| event(entry, material)).collect::<Vec<_>>(),
        "events_truncated": material.has_more_events,
        "notes": NOTES,
    });
    report.to_string()
}

fn person(material: &Material, id: UserId) -> Value {
    let found = material.people.get(&id);
    json!({
        "id": id,
        "email": found.map(|person| &person.email),
        "name": found.map(|person| &person.name),
        "active": found.is_some_and(|person| person.active),
    })
}

fn deed(material: &Material, deed: Option<Deed>) -> Value {
    deed.map_or(Value::Null, |deed| {
        let mut person = person(material, deed.by);
        person["at"] = Value::from(time::format(deed.at_us));
        person
    })
}

fn administrator(material: &Material, id: UserId) -> Value {
    let mut view = person(material, id);
    let known = &material.people[&id];
    view["permission"] = json!(known.permission);
    view["origin"] = json!(known.origin);
    view["granted_by"] = json!(known.granted_by.map(|by| person(material, by)));
    view["confirmed_by"] = json!(known.confirmed_by.map(|by| person(material, by)));
    view["confirmed_at"] = json!(time::format_some(known.confirmed_at_us));
    view["last_login_at"] = json!(time::format_some(known.last_login_at_us));
    view
}

fn integration_of(integration: &Integration, traffic: &Traffic, material: &Material) -> Value {
    json!({
        "id": integration.id,
        "name": integration.name,
        "vendor": integration.vendor.name,
        "status": integration.status.as_str(),
        "description": integration.description,
        "sensitive": sensitive(&integration.scopes),
        "owner": person(material, integration.owner_id),
        "requested_by": deed(material, Some(integration.requested)),
        "approved_by": deed(material, integration.approved),
        "suspended_by": deed(material, integration.suspended),
        "reactivated_by": deed(material, integration.reactivated),
        "usage": {
            "requests": traffic.requests,
            "refused": traffic.refused,
            "readings_accepted": traffic.accepted,
            "readings_rejected": traffic.rejected,
            "last_request_at": time::format_some(traffic.last_us),
            "key_last_used_at": time::format_some(integration.last_used_at_us),
            "unused": traffic.requests == 0,
        },
        "scopes": scopes(integration, traffic),
        "scopes_taken_away": taken_away(integration),
        "credential": credential(integration, material.at_us),
        "limits": limits(integration, traffic),
        "allowlist": allowlist(integration, traffic),
        "contacts": integration.contacts.iter().map(|contact| json!({
            "name": contact.name,
            "email": contact.email,
            "company": contact.company,
            "confirmed_at": time::format_some(contact.confirmed_at_us),
        })).collect::<Vec<_>>(),
        "warnings": integration.warnings.iter().map(|warning| &warning.message).collect::<Vec<_>>(),
    })
}

/// The marks of scopes that deserve a second look, PII and Financial among them (S056).
fn sensitive(scopes: &[Scope]) -> Vec<&'static str> {
    let mut marks: Vec<&str> = scopes
        .iter()
        .map(|scope| scope.category().sensitivity())
        .filter(|sensitivity| matches!(sensitivity, Sensitivity::Pii | Sensitivity::Financial))
        .map(Sensitivity::as_str)
        .collect();
    marks.dedup();
    marks
}

fn scopes(integration: &Integration, traffic: &Traffic) -> Vec<Value> {
    let one = |scope: &Scope| {
        let used = traffic.scopes.iter().find(|sum| sum.scope == scope.as_str());
        let uses = used.map_or(0, |sum| sum.uses);
        let approved = integration.approved_scopes.as_ref().is_some_and(|approved| approved.contains(scope));
        json!({
            "scope": scope.as_str(),
            "sensitivity": scope.category().sensitivity().as_str(),
            "uses": uses,
            "last_used_at": used.filter(|_| uses > 0).map(|sum| time::format(sum.last_used_us)),
            "unused": uses == 0,
            "as_approved": approved,
        })
    };
    integration.scopes.iter().map(one).collect()
}

fn taken_away(integration: &Integration) -> Vec<&'static str> {
    let approved = integration.approved_scopes.iter().flatten();
    approved.filter(|scope| !integration.scopes.contains(scope)).map(|scope| scope.as_str()).collect()
}

fn credential(integration: &Integration, now_us: i64) -> Value {
    let key = integration.key.as_ref();
    json!({
        "key_prefix": key.map(|key| &key.prefix),
        "issued_at": key.map(|key| time::format(key.issued_at_us)),
        "age_days": key.map(|key| (now_us - key.issued_at_us) / DAY_US),
        "generation": key.map(|key| key.generation),
        "last_rotated_at": key.filter(|key| key.generation > 1).map(|key| time::format(key.issued_at_us)),
        "client_id": integration.client.as_ref().map(|client| &client.client_id),
    })
}

fn limits(integration: &Integration, traffic: &Traffic) -> Value {
    let busiest = traffic.busiest_day;
    let share = integration
        .daily_quota
        .zip(busiest)
        .map(|(quota, (_, requests))| requests.saturating_mul(100) / u64::from(quota.max(1)));
    json!({
        "rate_limit_rpm": integration.rpm,
        "temporary_rpm": integration.temporary_limit.map(|limit| limit.rpm),
        "temporary_until": integration.temporary_limit.map(|limit| time::format(limit.until_us)),
        "peak_rpm": traffic.peak_rpm,
        "p95_rpm": traffic.p95_rpm,
        "refused_429": traffic.rate_limited,
        "daily_quota": integration.daily_quota,
        "busiest_day": busiest.map(|(day, _)| time::format(day.saturating_mul(DAY_US))),
        "busiest_day_requests": busiest.map(|(_, requests)| requests),
        "quota_used_percent": share,
    })
}

fn allowlist(integration: &Integration, traffic: &Traffic) -> Value {
    let list = &integration.allowlist;
    let seen: Vec<Value> = traffic
        .addresses
        .iter()
        .map(|address| {
            json!({
                "address": address.addr.to_string(),
                "requests": address.requests,
                "refused": address.refused,
                "last_seen_at": time::format(address.last_us),
                "listed": list.entries.iter().any(|entry| entry.contains(&address.addr)),
            })
        })
        .collect();
    json!({
        "enabled": list.enabled,
        "entries": list.entries.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "count": list.entries.len(),
        "seen": seen,
        "requests_from_further_addresses": traffic.unnamed_requests,
    })
}

/// One event with both people where it took two (S322).
fn event(event: &Event, material: &Material) -> Value {
    let named = |id: Option<&str>| {
        let id = id.and_then(|id| id.parse::<UserId>().ok());
        id.map_or(Value::Null, |id| person(material, id))
    };
    let body = &event.body;
    json!({
        "seq": event.seq,
        "at": body["at_us"].as_i64().map(time::format),
        "action": body["action"],
        "actor": named(body["actor"].as_str()),
        "first_of_two": named(event.counterpart.as_deref()),
        "target_type": body["target_type"],
        "target": body["target"],
        "reason": body["reason"],
        "before": body["before"],
        "after": body["after"],
        "request_id": body["request_id"],
        "hash": event.hash,
    })
}
