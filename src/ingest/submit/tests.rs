use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bytes::Bytes;

use super::*;
use crate::auth::Integration;
use crate::{
    ingest::config::tests::{shipped, shipped_table},
    model::{
        EntryCode, EquipmentFacts, EquipmentId, EquipmentKind, EquipmentNumber, IntegrationFacts, IntegrationId,
        Reading, ScopeSet, Status,
    },
    spool,
};

const NOW: i64 = 1_767_607_200_000_000;

/// A gate into a spool of its own, and an integration with the sensor `s`.
struct House {
    ingest: Ingest,
    reader: spool::Reader,
    integration: Arc<Integration>,
    _dir: tempfile::TempDir,
}

fn spool_config() -> spool::Config {
    #[derive(serde::Deserialize)]
    struct Sections {
        spool: spool::Config,
    }
    let text = include_str!("../../../config/default.toml");
    toml::from_str::<Sections>(text).expect("default.toml is valid").spool
}

fn facts(status: Status, key_generation: u64) -> IntegrationFacts {
    IntegrationFacts { status, key_generation, ..IntegrationFacts::assumed(IntegrationId::generate(), ScopeSet::EMPTY) }
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, reader) = spool::open(dir.path(), &spool_config()).expect("a spool");
        let integration = Arc::new(Integration::new(facts(Status::Active, 1)));
        integration.equipment.write().upsert(&EquipmentFacts {
            id: EquipmentId::generate(),
            integration_id: integration.facts().id,
            number: EquipmentNumber(1),
            kind: EquipmentKind::Sensor,
            external_id: Some("s".into()),
            retired: false,
        });
        let ingest = Ingest::new(shipped().0, shipped_table(), writer);
        Self { ingest, reader, integration, _dir: dir }
    }

    fn principal(&self) -> Principal {
        Principal::assumed(Arc::clone(&self.integration), IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    async fn submit(&self, body: &str) -> Result<BatchResult, Refused> {
        self.ingest.submit(&self.principal(), submission(body)).await
    }

    async fn stored(&mut self) -> Vec<Reading> {
        let mut readings = Vec::new();
        for block in self.reader.next(1 << 24, Duration::from_millis(1)).await.expect("a readable spool") {
            let header = record::decode(&block.record, &mut readings).expect("a record");
            assert_eq!(header.received_at_us, NOW);
            assert_eq!(header.integration_id, self.integration.facts().id);
        }
        readings
    }

    /// What an administrator does meanwhile.
    fn change(&self, status: Status, key_generation: u64) {
        let old = self.integration.facts();
        self.integration.replace_facts(IntegrationFacts { status, key_generation, ..(*old).clone() });
    }
}

fn submission(body: &str) -> Submission {
    Submission {
        body: Bytes::copy_from_slice(body.as_bytes()),
        received_at_us: NOW,
        request_id: RequestId::generate(),
        validate_only: false,
        transport: Transport::Http,
    }
}

const MIXED: &str = r#"{"readings":[
    {"id":"a1","external_id":"s","metric":"temperature","value":24.6,"unit":"C","timestamp":"2026-01-05T10:00:00Z"},
    {"id":"a2","external_id":"s","metric":"humidity","value":141,"unit":"%","timestamp":1767607200},
    {"id":"a3","external_id":"s","metric":"co2","value":800}]}"#;

// S257, S258, S262, S264: the valid ones are durable, the others named.
#[tokio::test]
async fn a_mixed_batch_is_stored_in_part_and_says_so() {
    let mut house = House::new();
    let result = house.submit(MIXED).await.expect("a result");
    assert_eq!((result.received, result.accepted, result.rejected, result.duplicates), (3, 2, 1, 0));
    assert_eq!(result.status(), 207);
    let error = &result.errors[0];
    assert_eq!((error.index, error.id.as_deref(), error.code), (1, Some("a2"), EntryCode::ValueOutOfRange));
    let stored = house.stored().await;
    assert_eq!(stored.iter().map(|r| (r.timestamp_us, r.value)).collect::<Vec<_>>(), [(NOW, 24.6), (NOW, 800.0)]);
}

// S255, S256: 500 are taken, 501 are not, and none of them is stored.
#[tokio::test]
async fn five_hundred_and_no_more() {
    let mut house = House::new();
    let batch = |count: u32| {
        let entry = |i| format!(r#"{{"external_id":"s","metric":"co2","value":1,"timestamp":{}}}"#, 1_767_607_200 - i);
        format!("[{}]", (0..count).map(entry).collect::<Vec<_>>().join(","))
    };
    let refused = house.submit(&batch(501)).await.expect_err("too many");
    assert_eq!(refused.problem, ProblemCode::BatchTooLarge);
    assert!(refused.detail.is_some_and(|detail| detail.contains("501") && detail.contains("500")));
    assert_eq!(house.stored().await, []);
    let result = house.submit(&batch(500)).await.expect("a result");
    assert_eq!((result.status(), result.accepted, result.duplicates), (200, 500, 0));
    assert_eq!(house.stored().await.len(), 500);
}

// S260, S261: nothing is stored of a batch that is all wrong, or none.
#[tokio::test]
async fn nothing_is_stored_of_what_is_refused() {
    let mut house = House::new();
    let result = house.submit(r#"[{"external_id":"x"},{}]"#).await.expect("a result");
    assert_eq!((result.status(), result.accepted, result.rejected, result.errors.len()), (422, 0, 2, 2));
    for (body, problem) in [
        ("[]", ProblemCode::EmptyBatch),
        ("{}", ProblemCode::ReadingsMissing),
        ("[{]", ProblemCode::MalformedJson),
        (r#"{"readings":[{}],"readings":[{}]}"#, ProblemCode::ReadingsDuplicated),
    ] {
        assert_eq!(house.submit(body).await.expect_err(body).problem, problem, "{body}");
    }
    assert_eq!(house.stored().await, []);
}

// api.md §1: validate_only gives the same answer, and stores nothing.
#[tokio::test]
async fn validating_only_stores_nothing() {
    let mut house = House::new();
    let only = Submission { validate_only: true, ..submission(MIXED) };
    let checked = house.ingest.submit(&house.principal(), only).await.expect("a result");
    assert_eq!(house.stored().await, []);
    assert_eq!(house.submit(MIXED).await.expect("a result"), checked, "and is not remembered as sent");
}

// S268, S269: a batch sent again is accepted, counted as duplicates, and delivered in order.
#[tokio::test]
async fn a_batch_sent_again_is_counted_as_duplicates() {
    let house = House::new();
    assert_eq!(house.submit(MIXED).await.expect("a result").duplicates, 0);
    let again = house.submit(MIXED).await.expect("a result");
    assert_eq!((again.accepted, again.duplicates, again.status()), (2, 2, 207));
}

// S115, A15: changed before the write: 401, nothing stored; for every kind of answer.
#[tokio::test]
async fn a_suspended_integration_stores_nothing_more() {
    let mut house = House::new();
    let principal = house.principal();
    for (status, generation) in [(Status::Suspended, 1), (Status::Active, 2), (Status::Revoked, 0)] {
        house.change(status, generation);
        for body in [MIXED, "[{}]"] {
            for validate_only in [false, true] {
                let submission = Submission { validate_only, ..submission(body) };
                let refused = house.ingest.submit(&principal, submission).await.expect_err("refused");
                assert_eq!((refused.problem, refused.cause), (ProblemCode::Unauthorized, "changed_in_flight"));
            }
        }
    }
    assert_eq!(house.stored().await, []);
}

// S262, and the invariant that a client who hangs up does not stop its append.
#[tokio::test]
async fn a_caller_that_goes_away_changes_nothing() {
    let mut house = House::new();
    let principal = house.principal();
    {
        let submit = house.ingest.submit(&principal, submission(MIXED));
        tokio::pin!(submit);
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(submit.as_mut().poll(cx).is_ready())).await;
        assert!(!first, "it waits for the disk");
    }
    let mut stored = Vec::new();
    for _ in 0..1_000 {
        stored.append(&mut house.stored().await);
        if !stored.is_empty() {
            break;
        }
    }
    assert_eq!(stored.len(), 2);
    house.integration.drain().await;
}

// api.md §1: 503 with Retry-After when the batch cannot be made durable now, and nothing accepted.
#[tokio::test]
async fn a_spool_that_takes_nothing_is_a_503() {
    let house = House::new();
    house.ingest.shared.writer.shutdown().await;
    for refused in [house.submit(MIXED).await.expect_err("refused"), house.ingest.admit().expect_err("refused")] {
        assert_eq!((refused.problem, refused.retry_after_s), (ProblemCode::ShuttingDown, Some(2)));
    }
    let only = Submission { validate_only: true, ..submission(MIXED) };
    assert!(house.ingest.submit(&house.principal(), only).await.is_ok(), "judging needs no spool");
}

// api.md §6: a backfill grant widens the window while it lasts.
#[tokio::test]
async fn a_grant_lets_history_in() {
    let house = House::new();
    let old = r#"[{"external_id":"s","metric":"co2","value":1,"timestamp":"2020-01-01T00:00:00Z"}]"#;
    assert_eq!(house.submit(old).await.expect("a result").errors[0].code, EntryCode::TimestampTooOld);
    let grant = crate::model::integration::BackfillGrant { window_start_us: 0, until_us: NOW + 1 };
    let facts = house.integration.facts();
    house.integration.replace_facts(IntegrationFacts { backfill: Some(grant), ..(*facts).clone() });
    assert_eq!(house.submit(old).await.expect("a result").accepted, 1);
}
