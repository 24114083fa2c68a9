//! The desk over a real spool, real files, and a store that refuses as it is told.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    rejected::{Kept, RejectedFile},
    *,
};
use crate::{
    auth::{Principal, Registry},
    delivery::{self, Quarantine, tests::fake::FakeStore},
    ingest::{Ingest, Rejected, Submission, Transport, config::tests::shipped},
    model::{
        EquipmentFacts, EquipmentId, EquipmentKind, EquipmentNumber, IntegrationFacts, IntegrationId, RequestId,
        ScopeSet, SeriesId, Status,
    },
    spool::{Reader, Writer},
    telemetry::health::Health,
};

const NOW: i64 = 1_767_607_200_000_000;

fn section<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let table: toml::Table = include_str!("../../config/default.toml").parse().unwrap();
    table[name].clone().try_into().unwrap()
}

pub(crate) fn config() -> Config {
    section("quarantine")
}

/// A desk with everything below it but the delivery.
pub(crate) struct Bench {
    pub(crate) desk: Desk,
    pub(crate) registry: Arc<Registry>,
    pub(crate) refused: Arc<Quarantine>,
    ingest: Arc<Ingest>,
    writer: Writer,
    reader: Option<Reader>,
}

impl Bench {
    pub(crate) fn new(dir: &Path) -> Self {
        Self::with(dir, &config())
    }

    fn with(dir: &Path, config: &Config) -> Self {
        let spool = crate::spool::Config {
            segment_bytes: 16 << 10,
            spare_segments: 0,
            free_disk_bytes_min: 0,
            ..section("spool")
        };
        let (writer, reader) = crate::spool::open(&dir.join("spool"), &spool).unwrap();
        let refused = Arc::new(Quarantine::open(&dir.join("quarantine.db"), 1_000).unwrap());
        let rejected = Rejections::open(dir, config).unwrap();
        let registry = Arc::new(Registry::new(100));
        let (ingest, metrics) = (shipped().0, crate::ingest::config::tests::shipped_table());
        let sink = rejected.sink(config).unwrap();
        let ingest = Arc::new(Ingest::new(ingest, metrics, writer.clone()).with_rejected_sink(sink));
        let desk = Desk::new(Parts {
            refused: Arc::clone(&refused),
            rejected,
            registry: Arc::clone(&registry),
            intake: Arc::clone(&ingest),
            writer: writer.clone(),
        });
        Self { desk, registry, refused, ingest, writer, reader: Some(reader) }
    }

    fn integration(&self, keep_rejected: bool) -> IntegrationId {
        let id = IntegrationId::generate();
        let facts = IntegrationFacts { keep_rejected, ..IntegrationFacts::assumed(id, ScopeSet::EMPTY) };
        self.registry.apply_integration(facts);
        id
    }

    fn register(&self, id: IntegrationId, number: u32, external_id: &str) {
        self.registry.apply_equipment([&EquipmentFacts {
            id: EquipmentId::generate(),
            integration_id: id,
            number: EquipmentNumber(number),
            kind: EquipmentKind::Sensor,
            external_id: Some(external_id.into()),
            retired: false,
        }]);
    }

    /// Submits `body`; how many entries were rejected.
    async fn submit(&self, id: IntegrationId, body: &str, validate_only: bool) -> u32 {
        let integration = self.registry.integration(id).unwrap();
        let principal = Principal::assumed(integration, [127, 0, 0, 1].into());
        let submission = Submission {
            body: Bytes::copy_from_slice(body.as_bytes()),
            received_at_us: NOW,
            request_id: RequestId::generate(),
            validate_only,
            transport: Transport::Http,
        };
        self.ingest.submit(&principal, submission).await.unwrap().rejected
    }

    async fn held(&self, id: IntegrationId) -> Vec<Item> {
        let filter = Filter { integrations: vec![id], ..Filter::default() };
        self.desk.list(filter, Place::default(), 1_000).await.unwrap()
    }

    /// What is held, once there is as much as `count`.
    async fn until_held(&self, id: IntegrationId, count: usize) -> Vec<Item> {
        loop {
            let held = self.held(id).await;
            if held.len() >= count {
                return held;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn entry(item: &Item) -> &Entry {
    match &item.held {
        Held::Entry(entry) => entry,
        other => panic!("{other:?}"),
    }
}

fn rejected(id: IntegrationId, body: &str, codes: usize) -> Rejected {
    let error = |index: usize| crate::ingest::EntryError {
        index: index as u32,
        id: None,
        code: crate::model::EntryCode::UnknownEquipment,
        field: Some("external_id"),
        message: "unknown".to_owned(),
        retryable: true,
    };
    Rejected {
        integration_id: id,
        request_id: RequestId::generate(),
        received_at_us: NOW,
        transport: Transport::Http,
        body: Bytes::copy_from_slice(body.as_bytes()),
        errors: (0..codes).map(error).collect(),
    }
}

// S281, A10: a sensor that was installed before it was registered. What is rejected again stays, with the new reason.
#[tokio::test]
async fn a_sensor_that_was_registered_too_late_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    let id = bench.integration(true);
    let one = |value: i64, at: i64| {
        format!(r#"{{"external_id":"late", "metric":"co2","value":{value},"timestamp":{}}}"#, NOW / 1_000_000 - at)
    };
    let body = format!("{{\"readings\":[{},{},{}]}}", one(400, 3), one(401, 2), one(99_999_999, 1));
    assert_eq!(bench.submit(id, &body, true).await, 3);
    assert_eq!(bench.submit(id, &body, false).await, 3);
    let held = bench.until_held(id, 3).await;
    assert_eq!(held.len(), 3, "what was to be validated only is not kept");
    assert_eq!(
        (entry(&held[0]).json.as_str(), entry(&held[0]).code.as_str()),
        (one(400, 3).as_str(), "unknown_equipment")
    );
    assert_eq!(
        (entry(&held[0]).external_id.as_deref(), entry(&held[0]).metric.as_deref()),
        (Some("late"), Some("co2"))
    );
    let ids: Vec<ItemId> = held.iter().map(|item| item.id).collect();
    let outcomes = bench.desk.replay(held.clone()).await.unwrap();
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Rejected { code: "unknown_equipment", .. })));
    assert_eq!(entry(&bench.held(id).await[0]).replays, 1);
    bench.register(id, 7, "late");
    let outcomes = bench.desk.replay(held.clone()).await.unwrap();
    assert_eq!((&outcomes[&ids[0]], &outcomes[&ids[1]]), (&Outcome::Replayed, &Outcome::Replayed));
    assert!(matches!(outcomes[&ids[2]], Outcome::Rejected { code: "value_out_of_range", .. }), "{outcomes:?}");
    let left = bench.held(id).await;
    assert_eq!((left.len(), entry(&left[0]).code.as_str()), (1, "value_out_of_range"));
    // Again is harmless: the same readings under the same keys.
    bench.desk.replay(held).await.unwrap();
    let mut readings = Vec::new();
    let mut reader = bench.reader.take().unwrap();
    for block in reader.next(1 << 20, Duration::from_millis(1)).await.unwrap() {
        let header = crate::model::record::decode(&block.record, &mut readings).unwrap();
        assert_eq!((header.integration_id, header.received_at_us), (id, NOW), "as it came, not as it was sent again");
    }
    let keys: std::collections::BTreeSet<_> =
        readings.iter().map(|one| (one.series.as_u64(), one.timestamp_us)).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!((bench.desk.discard(vec![left[0].id]).await.unwrap(), bench.held(id).await.len()), (1, 0));
    assert_eq!(bench.desk.discard(vec![left[0].id]).await.unwrap(), 0);
}

// S115: nothing of an integration that is not Active becomes durable, by whatever way.
#[tokio::test]
async fn nothing_of_a_suspended_integration_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let id = bench.integration(true);
    bench.submit(id, r#"[{"external_id":"x","metric":"co2","value":400}]"#, false).await;
    let held = bench.until_held(id, 1).await;
    bench.register(id, 1, "x");
    let facts = IntegrationFacts {
        status: Status::Suspended,
        key_generation: 0,
        ..(*bench.registry.integration(id).unwrap().facts()).clone()
    };
    bench.registry.apply_integration(facts);
    let outcomes = bench.desk.replay(held).await.unwrap();
    assert_eq!(outcomes.into_values().collect::<Vec<_>>(), [Outcome::NotActive]);
    assert_eq!(bench.held(id).await.len(), 1);
}

#[tokio::test]
async fn who_keeps_nothing_has_nothing_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let [keeps, keeps_not] = [true, false].map(|keep| bench.integration(keep));
    let body = r#"[{"external_id":"x","metric":"co2","value":400}]"#;
    for id in [keeps_not, keeps] {
        bench.submit(id, body, false).await;
    }
    assert_eq!(bench.until_held(keeps, 1).await.len(), 1);
    assert_eq!(bench.held(keeps_not).await, [], "they come in the order of the queue");
    let both = Filter { integrations: vec![], ..Filter::default() };
    assert_eq!(bench.desk.list(both, Place::default(), 10).await.unwrap(), [], "nobody's is nothing, not everything");
}

#[test]
fn the_file_is_bounded_and_knows_what_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        Config { rejected_rows_max: 5, rejected_rows_per_integration_max: 3, rejected_entry_bytes_max: 60, ..config() };
    let file = RejectedFile::open(&dir.path().join("rejected.db"), &config).unwrap();
    let [a, b] = [IntegrationId::generate(), IntegrationId::generate()];
    let of = |n: usize| format!(r#"{{"external_id":"{n}","timestamp":{n}}}"#);
    let body = |range: std::ops::Range<usize>| format!("[{}]", range.map(of).collect::<Vec<_>>().join(","));
    let keep = |id, body: &str, count, now_us| file.keep(&rejected(id, body, count), now_us).unwrap();
    assert_eq!(keep(a, &body(0..4), 4, 10), Kept { kept: 3, full: 1, ..Kept::default() });
    assert_eq!(keep(a, &body(0..2), 2, 20), Kept { kept: 2, ..Kept::default() }, "the same again is the same row");
    assert_eq!(keep(b, &body(0..4), 4, 10), Kept { kept: 2, full: 2, ..Kept::default() }, "all are full");
    let large = format!(r#"[{{"external_id":"{}"}}]"#, "x".repeat(60));
    assert_eq!(keep(b, &large, 1, 10), Kept { too_large: 1, ..Kept::default() });
    assert_eq!(keep(b, "[1", 1, 10), Kept { unreadable: 1, ..Kept::default() });
    let filter = Filter { integrations: vec![a], ..Filter::default() };
    let rows = file.list(&filter, 0, 10).unwrap();
    assert_eq!(rows.iter().map(|row| entry(row).seen).collect::<Vec<_>>(), [2, 2, 1]);
    let keep_us = i64::from(config.rejected_keep_days) * 86_400_000_000;
    assert_eq!(file.sweep(15 + keep_us).unwrap(), 3, "what came last at 10");
    assert_eq!(file.count().unwrap(), 2);
    // Without a timestamp the same bytes are another moment.
    let undated = r#"[{"external_id":"u"}]"#;
    let mut first = rejected(b, undated, 1);
    file.keep(&first, 30).unwrap();
    first.received_at_us += 1;
    file.keep(&first, 30).unwrap();
    assert_eq!(file.list(&Filter { integrations: vec![b], ..Filter::default() }, 0, 10).unwrap().len(), 2);
}

#[tokio::test]
async fn filters_meet_both_kinds_and_pages_go_through_both() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let id = bench.integration(true);
    for number in 1..=3 {
        bench.refused.put(&[refused(id, number, "odd")]).unwrap();
    }
    bench.refused.put(&[refused(IntegrationId::generate(), 9, "another's")]).unwrap();
    let body =
        r#"[{"external_id":"a","metric":"co2","value":1,"timestamp":1},{"external_id":"b","metric":"no","value":1}]"#;
    bench.submit(id, body, false).await;
    bench.until_held(id, 5).await;
    let filter = Filter { integrations: vec![id], ..Filter::default() };
    let (mut seen, mut place) = (Vec::new(), Place::default());
    loop {
        let page = bench.desk.list(filter.clone(), place, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        place = Place(last.id);
        seen.extend(page.into_iter().map(|item| item.id.to_string()));
    }
    assert_eq!(seen, ["refused-1", "refused-2", "refused-3", "rejected-1", "rejected-2"]);
    let count = async |filter: Filter| bench.desk.list(filter, Place::default(), 10).await.unwrap().len();
    assert_eq!(count(Filter { kind: Some(Kind::Refused), ..filter.clone() }).await, 3);
    assert_eq!(count(Filter { kind: Some(Kind::Rejected), ..filter.clone() }).await, 2);
    let named = Filter { external_id: Some("a".to_owned()), equipment: vec![EquipmentNumber(2)], ..filter.clone() };
    assert_eq!(count(named.clone()).await, 2, "the entry that names it, and the reading of its equipment");
    assert_eq!(count(Filter { equipment: vec![], ..named }).await, 1);
    assert_eq!(count(Filter { code: Some("unknown_equipment".to_owned()), ..filter.clone() }).await, 2);
    assert_eq!(count(Filter { from_us: Some(1_000), to_us: Some(1_001), ..filter.clone() }).await, 3);
    assert_eq!(count(Filter { request_id: Some(RequestId::generate()), ..filter }).await, 0);
}

fn refused(integration_id: IntegrationId, number: u32, reason: &str) -> delivery::Entry {
    let header =
        crate::model::record::RecordHeader { integration_id, request_id: RequestId::generate(), received_at_us: NOW };
    delivery::Entry {
        id: 0,
        position: u64::from(number),
        quarantined_us: 1_000,
        reason: reason.to_owned(),
        what: delivery::What::Reading { header, ordinal: 0, reading: reading(number) },
    }
}

fn reading(number: u32) -> crate::model::Reading {
    crate::model::Reading {
        series: SeriesId::new(EquipmentNumber(number), crate::model::MetricNumber(1)),
        timestamp_us: NOW,
        value: f64::from(number),
        quality: crate::model::Quality::Good,
    }
}

// What the store refuses comes to the desk through delivery; sent again and refused again, it is there with the reason
// of now; once the store takes it, it is gone from here.
#[tokio::test]
async fn what_the_store_refuses_can_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    let id = bench.integration(false);
    bench.register(id, 5, "s");
    let store = Arc::new(FakeStore::default());
    store.refuse(|_| true);
    let shutdown = CancellationToken::new();
    let args = delivery::Args {
        reader: bench.reader.take().unwrap(),
        store: Arc::clone(&store) as _,
        quarantine: Arc::clone(&bench.refused),
        config: delivery::Config { delay_ms_max: 1, ..section("delivery") },
        health: Health::default(),
    };
    let delivery = delivery::start(args, shutdown.clone()).unwrap();
    assert_eq!(bench.submit(id, r#"[{"external_id":"s","metric":"co2","value":400}]"#, false).await, 0);
    let held = bench.until_held(id, 1).await;
    assert_eq!((held[0].reason.as_str(), held[0].id), ("not here", ItemId::Refused(1)));
    assert!(matches!(held[0].held, Held::Reading(reading) if reading.value == 400.0), "{held:?}");
    let outcomes = bench.desk.replay(held.clone()).await.unwrap();
    assert_eq!(outcomes[&held[0].id], Outcome::Replayed);
    let again = bench.until_held(id, 1).await;
    assert_eq!(again[0].id, ItemId::Refused(2), "the store has refused it again");
    assert_eq!(bench.desk.replay(held).await.unwrap()[&ItemId::Refused(1)], Outcome::Missing);
    store.refuse(|_| false);
    assert_eq!(bench.desk.replay(again).await.unwrap()[&ItemId::Refused(2)], Outcome::Replayed);
    while store.numbers() != [400] {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(bench.held(id).await, []);
    shutdown.cancel();
    delivery.stopped().await.unwrap();
    bench.writer.shutdown().await;
}
