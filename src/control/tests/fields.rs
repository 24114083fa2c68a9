//! Fields: what is taken, what is refused, what a change leaves behind.

use super::*;
use crate::{
    control::integration::{AllowlistUpdate, Contact, GrantKind, GrantRequest, IntegrationFilter, IntegrationPatch},
    model::{ProblemCode, Scope, Status, integration::DAILY_QUOTA_MAX},
};

/// The fields that were refused.
fn refused(error: Error) -> Vec<String> {
    match error {
        Error::Invalid(errors) => errors.into_iter().map(|error| error.field).collect(),
        other => panic!("{other}"),
    }
}

fn codes(integration: &Integration) -> Vec<&'static str> {
    integration.warnings.iter().map(|warning| warning.code).collect()
}

// S012–S018: every fault of a request is told at once, and nothing is stored.
#[tokio::test]
async fn a_request_with_faults_is_refused_field_by_field() {
    let bed = Bed::new(embedded()).await;
    let ann = bed.administrator().await;
    let gone = bed.member("[]").await;
    bed.sql().execute("UPDATE users SET active = 0 WHERE id = ?1", [gone.user_id]).unwrap();
    let stranger = add_user(&bed.control, add_organisation(&bed.control).await, PERMISSION).await;
    let good = request(ann.user_id);
    let text = |text: &str| Some(text.to_owned());
    let contact = Contact { name: " ".to_owned(), email: "nobody".to_owned(), company: None, confirmed_at_us: None };
    for (bad, fields) in [
        (NewIntegration::default(), vec!["vendor", "name", "description", "owner_id"]),
        (NewIntegration { vendor: text("sap"), ..good.clone() }, vec!["vendor"]),
        (NewIntegration { name: text(" \t"), description: text("\n"), ..good.clone() }, vec!["name", "description"]),
        (NewIntegration { name: Some("ä".repeat(201)), ..good.clone() }, vec!["name"]),
        (NewIntegration { name: text("a\u{7}b"), ..good.clone() }, vec!["name"]),
        (NewIntegration { description: Some("x".repeat(4_001)), ..good.clone() }, vec!["description"]),
        (NewIntegration { owner_id: Some(UserId::generate()), ..good.clone() }, vec!["owner_id"]),
        (NewIntegration { owner_id: Some(gone.user_id), ..good.clone() }, vec!["owner_id"]),
        (NewIntegration { owner_id: Some(stranger.user_id), ..good.clone() }, vec!["owner_id"]),
        (NewIntegration { scopes: vec!["sensors:read".into(), "*".into()], ..good.clone() }, vec!["scopes", "scopes"]),
        (
            NewIntegration { rate_limit_rpm: Some(0), daily_quota: Some(0), ..good.clone() },
            vec!["rate_limit_rpm", "daily_quota"],
        ),
        (NewIntegration { rate_limit_rpm: Some(10_001), ..good.clone() }, vec!["rate_limit_rpm"]),
        (NewIntegration { rate_limit_rpm: Some(-1), ..good.clone() }, vec!["rate_limit_rpm"]),
        (NewIntegration { daily_quota: Some(i64::from(DAILY_QUOTA_MAX) + 1), ..good.clone() }, vec!["daily_quota"]),
        (NewIntegration { contacts: vec![contact], ..good.clone() }, vec!["contacts[0].name", "contacts[0].email"]),
    ] {
        assert_eq!(refused(bed.control.create_integration(ann, bad.clone()).await.unwrap_err()), fields, "{bad:?}");
    }
    let list = bed.control.integrations(bed.organisation_id, Default::default(), Default::default()).await.unwrap();
    assert_eq!(list.page.items, []);
}

// S010, S017, S019, S027, S057, S215, S237
#[tokio::test]
async fn a_request_is_kept_as_it_was_written() {
    let bed = Bed::new(embedded()).await;
    let (ann, owner) = (bed.administrator().await, bed.member("[]").await);
    let name = format!(" Kasklimaat №3 {}", "ü".repeat(185));
    let wanted = NewIntegration {
        vendor: Some("Microsoft Dynamics 365".to_owned()),
        name: Some(name.clone()),
        description: Some("Zeile 1\r\n\tZeile 2 🌱".to_owned()),
        owner_id: Some(owner.user_id),
        scopes: vec!["sensors:write".to_owned(), "equipment:read".to_owned(), "sensors:write".to_owned()],
        rate_limit_rpm: Some(10_000),
        daily_quota: Some(i64::from(DAILY_QUOTA_MAX)),
        ..NewIntegration::default()
    };
    let integration = bed.control.create_integration(ann, wanted).await.unwrap();
    assert_eq!((&integration.name, integration.description.as_str()), (&name, "Zeile 1\r\n\tZeile 2 🌱"));
    assert_eq!(integration.scopes, [Scope::SensorsWrite, Scope::EquipmentRead], "in the order given, each once");
    assert_eq!((integration.rpm, integration.daily_quota), (10_000, Some(DAILY_QUOTA_MAX)));
    assert_eq!((integration.owner_id, integration.vendor.category), (owner.user_id, "ERP"));
    let bare =
        bed.control.create_integration(ann, NewIntegration { scopes: vec![], ..request(ann.user_id) }).await.unwrap();
    assert_eq!((bare.rpm, bare.daily_quota, bare.allowlist.enabled, bare.scopes.len()), (60, None, false, 0));
}

// S006, S028–S030, S054, S055, A7, A10
#[tokio::test]
async fn warnings_name_what_deserves_a_second_look() {
    let bed = Bed::new(embedded()).await;
    let ann = bed.administrator().await;
    let with = |scopes: &[&str], name: &str| NewIntegration {
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        vendor: Some("SAP".to_owned()),
        name: Some(name.to_owned()),
        ..request(ann.user_id)
    };
    let create = async |request| codes(&bed.control.create_integration(ann, request).await.unwrap());
    assert_eq!(
        create(with(&["sensors:write"], "sap")).await,
        ["sensors_without_equipment", "vendor_name", "approver_unavailable"]
    );
    bed.administrator().await;
    assert_eq!(create(with(&[], "a")).await, ["no_scopes"]);
    assert_eq!(
        create(with(&["crm:read", "finance:read", "tasks:read"], "b")).await,
        ["sensitive_scope", "sensitive_scope"]
    );
    assert_eq!(create(with(&["compliance:submit", "webhooks:manage"], "c")).await.len(), 2);
    assert_eq!(create(with(&["inventory:read"], "B")).await, ["duplicate_name"]);
    assert_eq!(create(with(&["inventory:read"], "d")).await, [""; 0]);
}

// S092–S101, S103–S105, A11
#[tokio::test]
async fn a_change_is_whole_and_told_field_by_field() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let before = bed.active(ann, bob).await.0;
    let id = before.id;
    let update = async |patch| bed.control.update_integration(ann, id, None, patch).await;

    let half_wrong = IntegrationPatch {
        rate_limit_rpm: Some(100),
        owner_id: Some(UserId::generate()),
        ..IntegrationPatch::default()
    };
    assert_eq!(refused(update(half_wrong).await.unwrap_err()), ["owner_id"]);
    assert_eq!(bed.get(id).await, before);

    let contact = Contact {
        name: "P. de Vries".to_owned(),
        email: "p@partner.example".to_owned(),
        company: Some("Partner BV".to_owned()),
        confirmed_at_us: Some(1),
    };
    let patch = IntegrationPatch {
        name: Some("New".to_owned()),
        owner_id: Some(bob.user_id),
        scopes: Some(vec!["equipment:read".to_owned(), "sensors:write".to_owned(), "crm:read".to_owned()]),
        rate_limit_rpm: Some(100),
        daily_quota: Some(Some(5)),
        contacts: Some(vec![contact.clone()]),
        ..IntegrationPatch::default()
    };
    let after = update(patch.clone()).await.unwrap();
    assert_eq!((after.status, after.version), (Status::Active, before.version + 1));
    assert_eq!((after.rpm, after.daily_quota, after.owner_id), (100, Some(5), bob.user_id));
    assert_eq!(
        (&after.key, &after.client, after.contacts.as_slice()),
        (&before.key, &before.client, [contact].as_slice())
    );

    // The same again changes nothing: no version, no entry.
    assert_eq!(update(patch).await.unwrap(), after);
    let same_scopes = IntegrationPatch {
        scopes: Some(vec!["crm:read".into(), "sensors:write".into(), "equipment:read".into()]),
        ..Default::default()
    };
    assert_eq!(update(same_scopes).await.unwrap().version, after.version);
    let unlimited = IntegrationPatch { daily_quota: Some(None), ..IntegrationPatch::default() };
    assert_eq!(update(unlimited).await.unwrap().daily_quota, None);

    let history = bed.control.history(bed.organisation_id, id, Default::default()).await.unwrap().items;
    let [.., entry, _, _] = &history[..] else { panic!("{history:?}") };
    let told = entry.after.as_ref().unwrap();
    assert_eq!(told["scopes_added_after_approval"], serde_json::json!(["crm:read"]));
    assert_eq!(told["contacts"], 1, "personal data stays out of the log");
    let names: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["contacts", "daily_quota", "name", "owner_id", "rate_limit_rpm", "scopes", "scopes_added_after_approval"]
    );
    assert!(!format!("{history:?}").contains("Vries"));
}

// S237, S243, S247, S249, S254, A30
#[tokio::test]
async fn an_allowlist_is_normalised_and_never_enabled_empty() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.active(ann, bob).await.0.id;
    let set = async |enabled, entries: Option<&[&str]>| {
        let entries = entries.map(|entries| entries.iter().map(|entry| (*entry).to_owned()).collect());
        bed.control.set_allowlist(ann, id, None, AllowlistUpdate { enabled, entries }).await
    };
    assert_eq!(refused(set(true, Some(&[])).await.unwrap_err()), ["entries"]);
    assert_eq!(refused(set(true, None).await.unwrap_err()), ["entries"]);
    let after = set(true, Some(&["10.0.0.5/24", "10.0.0.0/24", "2001:db8::/32"])).await.unwrap();
    let shown: Vec<String> = after.allowlist.entries.iter().map(ToString::to_string).collect();
    assert_eq!((after.allowlist.enabled, shown.join(" ").as_str()), (true, "10.0.0.0/24 2001:db8::/32"));
    let (facts, _) = bed.control.facts().await.unwrap();
    assert_eq!(facts[0].allowlist.as_deref(), Some(after.allowlist.entries.as_slice()));

    assert_eq!(refused(set(true, Some(&["10.0.0.1"])).await.unwrap_err()), ["entries"]);
    assert_eq!(bed.get(id).await, after, "a refused list changes nothing");
    assert_eq!(set(true, Some(&["10.0.0.0/24", "2001:db8::/32"])).await.unwrap(), after, "the same again is no change");
    let off = set(false, None).await.unwrap();
    assert_eq!((off.allowlist.enabled, off.allowlist.entries.len()), (false, 2));
    assert_eq!(bed.control.facts().await.unwrap().0[0].allowlist, None);
    let open = set(true, Some(&["0.0.0.0/0"])).await.unwrap();
    assert!(codes(&open).contains(&"allowlist_open"));
    bed.control.revoke(ann, id, None, None).await.unwrap();
    assert_eq!(set(false, None).await.unwrap_err().problem(), ProblemCode::InvalidState);
}

// S228, A25
#[tokio::test]
async fn grants_end_by_themselves_or_before() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.active(ann, bob).await.0.id;
    let now_us = crate::control::db::now_us();
    let good = GrantRequest {
        rpm: Some(10_000),
        window_start_us: Some(now_us - 1_000_000),
        until_us: now_us + 60_000_000,
        reason: "moving house".to_owned(),
    };
    let grant = async |request| bed.control.grant(ann, id, None, request).await;
    for (bad, field) in [
        (GrantRequest { rpm: Some(10_001), ..good.clone() }, "rpm"),
        (GrantRequest { rpm: None, window_start_us: None, ..good.clone() }, "rpm"),
        (GrantRequest { until_us: now_us - 1, ..good.clone() }, "until"),
        (GrantRequest { until_us: now_us + 400 * 86_400_000_000, ..good.clone() }, "until"),
        (GrantRequest { window_start_us: Some(now_us + 60_000_000), ..good.clone() }, "window_start"),
        (GrantRequest { window_start_us: Some(-1), ..good.clone() }, "window_start"),
        (GrantRequest { reason: " ".to_owned(), ..good.clone() }, "reason"),
    ] {
        assert_eq!(refused(grant(bad.clone()).await.unwrap_err()), [field], "{bad:?}");
    }
    let after = grant(good.clone()).await.unwrap();
    let limit = after.temporary_limit.unwrap();
    assert_eq!((limit.rpm, limit.until_us, after.rpm), (10_000, good.until_us, 60));
    assert_eq!(after.backfill.unwrap().window_start_us, good.window_start_us.unwrap());
    let facts = bed.control.facts().await.unwrap().0.remove(0);
    assert_eq!((facts.temporary_limit, facts.backfill), (after.temporary_limit, after.backfill));

    // The other kind stays when one is replaced or ended.
    let replaced = grant(GrantRequest { rpm: Some(90), window_start_us: None, ..good }).await.unwrap();
    assert_eq!((replaced.temporary_limit.unwrap().rpm, replaced.backfill), (90, after.backfill));
    let end = async |kind| bed.control.end_grants(ann, id, None, kind).await.unwrap();
    let ended = end(Some(GrantKind::TemporaryLimit)).await;
    assert_eq!((ended.temporary_limit, ended.backfill), (None, after.backfill));
    let ended = end(None).await;
    assert_eq!((ended.backfill, &ended.backfill_reason), (None, &None));
    assert_eq!(end(None).await.version, ended.version, "nothing is left to end");
    let history = bed.control.history(bed.organisation_id, id, Default::default()).await.unwrap().items;
    let actions: Vec<&str> = history.iter().skip(3).map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["integration_grant", "integration_grant", "integration_grant_end", "integration_grant_end"]);
}

// S002, S008, S022, S158
#[tokio::test]
async fn the_list_goes_by_page_filter_and_organisation() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let mut ids = Vec::new();
    for index in 0..5 {
        let named = NewIntegration { name: Some(format!("House {index} 100%")), ..request(ann.user_id) };
        ids.push(bed.control.create_integration(ann, named).await.unwrap().id);
    }
    let active = bed.active(ann, bob).await.0;
    let list = async |filter: IntegrationFilter, cursor: Option<String>| {
        let request = PageRequest { cursor, limit: Some(4) };
        bed.control.integrations(bed.organisation_id, filter, request).await.unwrap()
    };
    let first = list(IntegrationFilter::default(), None).await;
    assert_eq!((first.used, first.limit, first.page.items.len()), (1, 20, 4));
    let second = list(IntegrationFilter::default(), first.page.next_cursor).await.page;
    assert_eq!(second.next_cursor, None);
    let seen: Vec<_> = first.page.items.iter().chain(&second.items).map(|item| item.id).collect();
    ids.push(active.id);
    assert_eq!(seen, ids, "each once, in the order they were created");

    let count = async |filter| list(filter, None).await.page.items.len();
    assert_eq!(count(IntegrationFilter { status: Some(Status::Active), ..Default::default() }).await, 1);
    assert_eq!(count(IntegrationFilter { q: Some("HOUSE 3 100%".to_owned()), ..Default::default() }).await, 1);
    assert_eq!(count(IntegrationFilter { q: Some("readings OF house".to_owned()), ..Default::default() }).await, 4);
    assert_eq!(count(IntegrationFilter { q: Some("%".to_owned()), ..Default::default() }).await, 4);
    assert_eq!(
        count(IntegrationFilter { vendor: crate::control::Vendor::parse("SAP"), ..Default::default() }).await,
        0
    );
    let other = add_organisation(&bed.control).await;
    let theirs = bed.control.integrations(other, Default::default(), Default::default()).await.unwrap();
    assert_eq!((theirs.used, theirs.page.items.len()), (0, 0));
    let request = PageRequest { cursor: None, limit: Some(201) };
    let error = bed.control.integrations(other, Default::default(), request).await.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::InvalidParameter);
}
