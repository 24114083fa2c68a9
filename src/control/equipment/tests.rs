use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{
    control::{
        Actor, ChangeListener, Cut, PageRequest,
        integration::NewIntegration,
        tests::{Bed, add_organisation, add_user, embedded},
    },
    model::ProblemCode,
};

struct Registry {
    bed: Bed,
    actor: Actor,
    integration_id: IntegrationId,
}

impl Registry {
    async fn new() -> Self {
        let bed = Bed::new(embedded()).await;
        let actor = bed.administrator().await;
        let integration_id = request(&bed.control, actor).await;
        Self { bed, actor, integration_id }
    }

    async fn create(&self, fields: EquipmentPatch) -> Result<Equipment, Error> {
        self.bed.control.create_equipment(self.actor, Some(self.integration_id), fields).await
    }

    async fn update(&self, id: EquipmentId, fields: EquipmentPatch) -> Result<Equipment, Error> {
        self.bed.control.update_equipment(self.actor, id, fields, None).await
    }

    async fn upsert(&self, entries: Vec<BulkUpsert>) -> BulkSummary {
        let entries = entries.into_iter().enumerate().collect();
        let call = BulkCall { entries, body_hash: "00".to_owned(), ..BulkCall::default() };
        self.bed.control.bulk_upsert_equipment(self.actor, call).await.unwrap()
    }
}

async fn request(control: &Control, actor: Actor) -> IntegrationId {
    let new = NewIntegration {
        vendor: Some("Custom".to_owned()),
        name: Some("Climate computer".to_owned()),
        description: Some("Sends climate readings".to_owned()),
        owner_id: Some(actor.user_id),
        ..NewIntegration::default()
    };
    control.create_integration(actor, new).await.unwrap().id
}

fn sensor(external_id: &str) -> EquipmentPatch {
    EquipmentPatch {
        kind: Some("sensor".to_owned()),
        external_id: Some(Some(external_id.to_owned())),
        ..EquipmentPatch::default()
    }
}

fn problem<T: std::fmt::Debug>(result: Result<T, Error>) -> ProblemCode {
    result.expect_err("refused").problem()
}

fn field<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result.expect_err("refused") {
        Error::Invalid(fields) => fields.into_iter().map(|f| f.field).collect::<Vec<_>>().join(" "),
        other => panic!("{other}"),
    }
}

// S275, S276, S280, S284: four kinds, a type of the kind, an external id, a place.
#[tokio::test]
async fn equipment_has_one_of_four_kinds_a_type_and_a_place() {
    let registry = Registry::new().await;
    for kind in EquipmentKind::ALL {
        let fields = EquipmentPatch { kind: Some(kind.as_str().to_owned()), ..EquipmentPatch::default() };
        assert_eq!(registry.create(fields).await.unwrap().kind, kind);
    }
    let text = |text: &str| Some(Some(text.to_owned()));
    let full = EquipmentPatch {
        type_name: text("climate_sensor"),
        name: text("Row 4"),
        room: text("Greenhouse 2"),
        location: text("row 4, post 12"),
        ..sensor("AA:BB:01")
    };
    let created = registry.create(full).await.unwrap();
    let read = registry.bed.control.equipment(registry.actor.organisation_id, created.id).await.unwrap();
    assert_eq!(created, read);
    assert_eq!(read.room.as_deref(), Some("Greenhouse 2"));
    for (bad, name) in [
        (EquipmentPatch { kind: Some("Sensor".to_owned()), ..sensor("x") }, "kind"),
        (EquipmentPatch { kind: Some("gateway".to_owned()), ..sensor("x") }, "kind"),
        (EquipmentPatch { kind: None, ..sensor("x") }, "kind"),
        (EquipmentPatch { type_name: text("vent"), ..sensor("x") }, "type"),
        (EquipmentPatch { name: text(" "), room: text("a\nb"), ..sensor("x") }, "name room"),
        (EquipmentPatch { status: Some("gone".to_owned()), ..sensor("x") }, "status"),
        (sensor(""), "external_id"),
        (sensor(&"é".repeat(65)), "external_id"),
        (sensor("a\u{7}b"), "external_id"),
    ] {
        assert_eq!(field(registry.create(bad.clone()).await), name, "{bad:?}");
    }
}

// S277, S282: unique within organisation and integration, byte for byte.
#[tokio::test]
async fn an_external_id_is_unique_in_its_integration_byte_for_byte() {
    let registry = Registry::new().await;
    let odd =
        ["AA:BB:CC", "aa:bb:cc", " AA:BB:CC", "a/b/c", "Gewächshaus", "Gewa\u{308}chshaus", "🌱", &"x".repeat(128)];
    for external_id in odd {
        let created = registry.create(sensor(external_id)).await.unwrap();
        assert_eq!(created.external_id.as_deref(), Some(external_id));
        assert_eq!(problem(registry.create(sensor(external_id)).await), ProblemCode::Conflict);
        let filter = EquipmentFilter { external_id: Some(external_id.to_owned()), ..EquipmentFilter::default() };
        let organisation_id = registry.actor.organisation_id;
        let found = registry.bed.control.equipment_list(organisation_id, filter, PageRequest::default()).await.unwrap();
        assert_eq!(found.items, [created]);
    }
    let other = request(&registry.bed.control, registry.actor).await;
    registry.bed.control.create_equipment(registry.actor, Some(other), sensor("AA:BB:CC")).await.unwrap();
    let third = registry.create(sensor("third")).await.unwrap();
    assert_eq!(problem(registry.update(third.id, sensor("AA:BB:CC")).await), ProblemCode::Conflict);
}

// S281: a rename or a retirement keeps id and number, so history goes on naming the equipment.
#[tokio::test]
async fn renaming_and_retiring_keep_what_history_is_stored_under() {
    let registry = Registry::new().await;
    let created = registry.create(sensor("old")).await.unwrap();
    let renamed = registry.update(created.id, sensor("new")).await.unwrap();
    assert_eq!((renamed.id, renamed.number, renamed.version), (created.id, created.number, 2));
    let status = |status: &str| EquipmentPatch { status: Some(status.to_owned()), ..EquipmentPatch::default() };
    let retired = registry.update(created.id, status("retired")).await.unwrap();
    assert!(retired.retired && retired.external_id.as_deref() == Some("new"));
    assert_eq!(registry.update(created.id, status("retired")).await.unwrap().version, retired.version);
    assert_eq!(problem(registry.create(sensor("new")).await), ProblemCode::Conflict, "a retired one keeps its name");
    assert!(!registry.update(created.id, status("active")).await.unwrap().retired);
    // The old name is free again, and the number is not given out twice.
    assert!(registry.create(sensor("old")).await.unwrap().number.0 > created.number.0);
    let sql = registry.bed.sql();
    assert!(sql.execute("DELETE FROM equipment", []).is_err());
    assert!(sql.execute("UPDATE equipment SET number = number + 1000, version = version + 1", []).is_err());
}

// S008, S274: another organisation's equipment and integrations do not exist.
#[tokio::test]
async fn organisations_do_not_see_each_others_equipment() {
    let registry = Registry::new().await;
    let created = registry.create(sensor("mine")).await.unwrap();
    let control = &registry.bed.control;
    let elsewhere = add_organisation(control).await;
    let stranger = add_user(control, elsewhere, r#"["administration_integrations_access"]"#).await;
    assert_eq!(problem(control.equipment(elsewhere, created.id).await), ProblemCode::NotFound);
    let update = control.update_equipment(stranger, created.id, sensor("x"), None).await;
    assert_eq!(problem(update), ProblemCode::NotFound);
    let create = control.create_equipment(stranger, Some(registry.integration_id), sensor("x")).await;
    assert_eq!(field(create), "integration_id");
    let list = control.equipment_list(elsewhere, EquipmentFilter::default(), PageRequest::default()).await.unwrap();
    assert!(list.items.is_empty());
    let unknown = control.create_equipment(stranger, Some(IntegrationId::generate()), sensor("x")).await;
    assert_eq!(field(unknown), "integration_id");
}

#[tokio::test]
async fn who_lacks_the_permission_changes_nothing() {
    let registry = Registry::new().await;
    let member = registry.bed.member("[]").await;
    let create = registry.bed.control.create_equipment(member, Some(registry.integration_id), sensor("x")).await;
    assert_eq!(problem(create), ProblemCode::PermissionDenied);
    let entries: u32 = registry
        .bed
        .sql()
        .query_row("SELECT count(*) FROM audit_entries WHERE action = 'equipment_create_refused'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(entries, 1);
}

#[tokio::test]
async fn lists_come_in_pages_and_filters() {
    let registry = Registry::new().await;
    let text = |text: &str| Some(Some(text.to_owned()));
    for i in 0..5 {
        let room = text(if i % 2 == 0 { "even" } else { "odd" });
        registry
            .create(EquipmentPatch { room, name: text(&format!("50%_{i}")), ..sensor(&format!("S{i}")) })
            .await
            .unwrap();
    }
    let list = |filter: EquipmentFilter, cursor: Option<String>| {
        let request = PageRequest { cursor, limit: Some(2) };
        registry.bed.control.equipment_list(registry.actor.organisation_id, filter, request)
    };
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = list(EquipmentFilter::default(), cursor).await.unwrap();
        seen.extend(page.items.into_iter().filter_map(|e| e.external_id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["S0", "S1", "S2", "S3", "S4"]);
    let count = async |filter: EquipmentFilter| {
        let request = PageRequest::default();
        registry.bed.control.equipment_list(registry.actor.organisation_id, filter, request).await.unwrap().items.len()
    };
    assert_eq!(count(EquipmentFilter { room: Some("odd".to_owned()), ..EquipmentFilter::default() }).await, 2);
    assert_eq!(count(EquipmentFilter { q: Some("%_3".to_owned()), ..EquipmentFilter::default() }).await, 1);
    assert_eq!(count(EquipmentFilter { q: Some("s4".to_owned()), ..EquipmentFilter::default() }).await, 1);
    assert_eq!(count(EquipmentFilter { retired: Some(true), ..EquipmentFilter::default() }).await, 0);
    assert_eq!(count(EquipmentFilter { kind: Some(EquipmentKind::Monitor), ..EquipmentFilter::default() }).await, 0);
}

#[derive(Default)]
struct Recorder(Mutex<Vec<EquipmentFacts>>);

impl ChangeListener for Recorder {
    fn apply<'a>(&'a self, change: Change) -> std::pin::Pin<Box<dyn Future<Output = Cut> + Send + 'a>> {
        if let Change::Equipment(facts) = change {
            self.0.lock().unwrap().extend(facts);
        }
        Box::pin(async { Cut::default() })
    }
}

#[tokio::test]
async fn a_bulk_saves_the_good_entries_and_names_the_bad_ones() {
    let registry = Registry::new().await;
    let recorder = Arc::new(Recorder::default());
    registry.bed.control.set_listener(Arc::clone(&recorder) as Arc<dyn ChangeListener>);
    let entry = |fields| BulkUpsert { id: None, integration_id: Some(registry.integration_id), fields };
    let known = registry.create(sensor("known")).await.unwrap();
    let unnamed = EquipmentPatch { external_id: None, ..sensor("x") };
    let named = |name: &str| EquipmentPatch { name: Some(Some(name.to_owned())), ..EquipmentPatch::default() };
    let summary = registry
        .upsert(vec![
            entry(sensor("new")),
            entry(EquipmentPatch { kind: Some("robot".to_owned()), ..sensor("bad") }),
            entry(EquipmentPatch { kind: None, ..sensor("known") }),
            BulkUpsert { id: Some(known.id), integration_id: None, fields: named("Known") },
            entry(unnamed),
            BulkUpsert { id: Some(EquipmentId::generate()), integration_id: None, fields: named("Nobody") },
            BulkUpsert { id: None, integration_id: Some(IntegrationId::generate()), fields: sensor("foreign") },
            BulkUpsert { id: Some(known.id), integration_id: None, fields: sensor("new") },
            entry(sensor("new")),
        ])
        .await;
    assert_eq!((summary.created, summary.updated, summary.unchanged), (1, 1, 2));
    let rejected: Vec<_> = summary.rejected.iter().map(|r| (r.index, r.error.field.as_str())).collect();
    assert_eq!(rejected, [(1, "kind"), (4, "external_id"), (5, "id"), (6, "integration_id"), (7, "external_id")]);
    assert_eq!(summary.accepted.iter().map(|a| a.index).collect::<Vec<_>>(), [0, 2, 3, 8]);
    let published = recorder.0.lock().unwrap().clone();
    assert_eq!(published.len(), 3, "one created before, one created and one renamed by the bulk: {published:?}");

    // The same call again changes nothing and leaves no entry.
    let entries = || -> u32 {
        let sql = "SELECT count(*) FROM audit_entries WHERE action = 'equipment_bulk'";
        registry.bed.sql().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(entries(), 1);
    let again = registry.upsert(vec![entry(sensor("new")), entry(sensor("known"))]).await;
    assert_eq!((again.created, again.updated, again.unchanged), (0, 0, 2));
    assert_eq!(entries(), 1);
}

#[tokio::test]
async fn the_export_at_start_tells_of_all_equipment() {
    let registry = Registry::new().await;
    let entries = (0..300).map(|i| BulkUpsert {
        id: None,
        integration_id: Some(registry.integration_id),
        fields: sensor(&format!("S{i}")),
    });
    let summary = registry.upsert(entries.collect()).await;
    assert_eq!(summary.created, 300);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    registry.bed.control.each_equipment(move |chunk| sink.lock().unwrap().extend(chunk)).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 300);
    let expected: HashSet<_> = summary.accepted.iter().map(|a| a.equipment.facts().number).collect();
    assert_eq!(seen.iter().map(|facts| facts.number).collect::<HashSet<_>>(), expected);
}

/// An Active integration with these scopes, as it calls with its first key.
async fn calling(bed: &Bed, scopes: &[&str]) -> crate::control::IntegrationActor {
    let [requester, approver] = [bed.administrator().await, bed.administrator().await];
    let (integration, _) = bed.active(requester, approver).await;
    let patch = crate::control::integration::IntegrationPatch {
        scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        ..Default::default()
    };
    bed.control.update_integration(requester, integration.id, None, patch).await.unwrap();
    crate::control::IntegrationActor {
        integration_id: integration.id,
        organisation_id: bed.organisation_id,
        key_generation: 1,
        ip: [192, 0, 2, 1].into(),
        request_id: crate::model::RequestId::generate(),
    }
}

// S115, S279: a call that was let in before a regenerate, a suspend or the loss of its scope changes nothing after it.
#[tokio::test]
async fn a_write_is_judged_once_more_in_its_own_transaction() {
    let bed = Bed::new(embedded()).await;
    let actor = calling(&bed, &["equipment:write"]).await;
    let made = bed.control.create_equipment(actor, None, sensor("a")).await.unwrap();
    assert_eq!(made.integration_id, actor.integration_id);
    let admin = bed.administrator().await;
    let all = async || {
        let found = bed.control.equipment_after(bed.organisation_id, EquipmentFilter::default(), None, 100).await;
        found.unwrap().into_iter().map(|one| (one.id, one.version)).collect::<Vec<_>>()
    };
    let before = all().await;
    let refused = async |actor: crate::control::IntegrationActor, code: ProblemCode| {
        let call = BulkCall {
            entries: vec![(0, BulkUpsert { fields: sensor("c"), ..BulkUpsert::default() })],
            ..BulkCall::default()
        };
        assert_eq!(problem(bed.control.create_equipment(actor, None, sensor("b")).await), code);
        assert_eq!(problem(bed.control.update_equipment(actor, made.id, sensor("b"), None).await), code);
        assert_eq!(problem(bed.control.bulk_upsert_equipment(actor, call).await), code);
        assert_eq!(all().await, before);
    };
    let renewed = crate::control::IntegrationActor { key_generation: 2, ..actor };
    refused(renewed, ProblemCode::Unauthorized).await;
    bed.control.regenerate_key(admin, actor.integration_id, None, None).await.unwrap();
    refused(actor, ProblemCode::Unauthorized).await;
    bed.control.update_equipment(renewed, made.id, sensor("b"), None).await.unwrap();
    let before = all().await;
    assert_eq!(before[0].1, 2);
    let patch = crate::control::integration::IntegrationPatch {
        scopes: Some(vec!["equipment:read".to_owned()]),
        ..Default::default()
    };
    bed.control.update_integration(admin, actor.integration_id, None, patch).await.unwrap();
    assert_eq!(problem(bed.control.create_equipment(renewed, None, sensor("d")).await), ProblemCode::InsufficientScope);
    bed.control.suspend(admin, actor.integration_id, None, "drill".to_owned(), None).await.unwrap();
    assert_eq!(problem(bed.control.create_equipment(renewed, None, sensor("d")).await), ProblemCode::Unauthorized);
    assert_eq!(all().await, before);
}

// S274: to an integration, equipment of others is unknown, whatever it is asked to become.
#[tokio::test]
async fn an_integration_finds_its_own_equipment_only() {
    let registry = Registry::new().await;
    let theirs = registry.create(sensor("theirs")).await.unwrap();
    let other = calling(&registry.bed, &["equipment:write"]).await;
    let control = &registry.bed.control;
    assert_eq!(problem(control.update_equipment(other, theirs.id, sensor("x"), None).await), ProblemCode::NotFound);
    let call = BulkCall {
        entries: vec![
            (0, BulkUpsert { id: Some(theirs.id), ..BulkUpsert::default() }),
            (
                1,
                BulkUpsert {
                    integration_id: Some(registry.integration_id),
                    fields: sensor("theirs"),
                    ..Default::default()
                },
            ),
        ],
        ..BulkCall::default()
    };
    let summary = control.bulk_upsert_equipment(other, call).await.unwrap();
    assert_eq!((summary.rejected[0].error.field.as_str(), summary.created), ("id", 1), "its own, whoever was named");
    assert_eq!(summary.accepted[0].equipment.integration_id, other.integration_id);
}

#[tokio::test]
async fn a_rehearsal_saves_nothing_and_an_integration_has_so_much_at_most() {
    let registry = Registry::new().await;
    let entry = |n: usize| {
        let integration_id = Some(registry.integration_id);
        (n, BulkUpsert { id: None, integration_id, fields: sensor(&format!("s{n}")) })
    };
    let call =
        |validate_only| BulkCall { entries: (0..1_002).map(entry).collect(), validate_only, ..BulkCall::default() };
    for validate_only in [true, false] {
        let summary = registry.bed.control.bulk_upsert_equipment(registry.actor, call(validate_only)).await.unwrap();
        assert_eq!((summary.created, summary.rejected.len()), (1_000, 2));
        assert!(summary.rejected.iter().all(|one| one.error.field == crate::control::EQUIPMENT_LIMIT));
        let first = &summary.accepted[0].equipment;
        assert_eq!(first.number.0, 1, "a rehearsal uses no number up");
        let found = registry.bed.control.equipment(registry.actor.organisation_id, first.id).await;
        assert_eq!(found.is_err(), validate_only);
    }
    assert_eq!(problem(registry.create(sensor("one more")).await), ProblemCode::EquipmentLimit);
    let parts = "SELECT count(*) FROM audit_entries WHERE action = 'equipment_bulk'";
    let entries: u32 = registry.bed.sql().query_row(parts, [], |row| row.get(0)).unwrap();
    assert_eq!(entries, 2, "500 pieces to an entry, none for the rehearsal");
}
