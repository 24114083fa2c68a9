//! Delivery between a real spool and a store that does as it is told.

pub(crate) mod fake;

use std::{path::Path, sync::Arc};

use tokio_util::sync::CancellationToken;

use self::fake::FakeStore;
use super::*;
use crate::{
    model::{
        EquipmentNumber, IntegrationId, MetricNumber, Quality, Reading, RequestId, SeriesId,
        record::{self, RecordHeader},
    },
    spool::Writer,
    store,
};

/// Everything that a run needs; the directory outlives several.
struct Bench {
    dir: tempfile::TempDir,
    store: Arc<FakeStore>,
    quarantine: Arc<Quarantine>,
    health: Health,
}

/// A run of spool and delivery.
struct Run {
    writer: Writer,
    delivery: Delivery,
    shutdown: CancellationToken,
}

fn config() -> Config {
    Config {
        delay_ms_max: 1,
        group_readings_max: 1000,
        retry_ms_min: 1,
        retry_ms_max: 5,
        complain_after_s: 0,
        quarantine_rows_max: 100,
    }
}

fn spool_config() -> spool::Config {
    spool::Config {
        segment_bytes: 16 << 10,
        spare_segments: 1,
        bytes_max: 1 << 30,
        free_disk_bytes_min: 0,
        queue_records_max: 1000,
        queue_bytes_max: 64 << 20,
        group_bytes_max: 1 << 20,
        tail_bytes_max: 1 << 20,
        drained_keep_s: 0,
        sync: true,
    }
}

impl Bench {
    fn new() -> Self {
        Self::with_rows_max(100)
    }

    fn with_rows_max(rows_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Arc::new(Quarantine::open(&dir.path().join("quarantine.db"), rows_max).unwrap());
        Self { dir, store: Arc::default(), quarantine, health: Health::default() }
    }

    fn start(&self) -> Run {
        let (writer, reader) = spool::open(&self.dir.path().join("spool"), &spool_config()).unwrap();
        let shutdown = CancellationToken::new();
        let args = Args {
            reader,
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            quarantine: Arc::clone(&self.quarantine),
            config: config(),
            health: self.health.clone(),
        };
        let delivery = start(args, shutdown.clone()).unwrap();
        Run { writer, delivery, shutdown }
    }
}

impl Run {
    async fn append(&self, readings: &[Reading]) -> u64 {
        self.writer.append(encode(readings), Box::new(())).await.unwrap().position()
    }

    async fn append_each(&self, numbers: std::ops::Range<u32>) -> u64 {
        let mut last = 0;
        for number in numbers {
            last = self.append(&[reading(number)]).await;
        }
        last
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.delivery.stopped().await.unwrap();
        self.writer.shutdown().await;
    }
}

fn encode(readings: &[Reading]) -> Vec<u8> {
    let header = RecordHeader {
        integration_id: IntegrationId::generate(),
        request_id: RequestId::generate(),
        received_at_us: 7,
    };
    let mut bytes = Vec::new();
    record::encode(&header, readings, &mut bytes);
    bytes
}

/// The reading number `number`: its series, time and value tell it from every other.
fn reading(number: u32) -> Reading {
    Reading {
        series: SeriesId::new(EquipmentNumber(number % 7), MetricNumber(1)),
        timestamp_us: i64::from(number) * 1_000_000,
        value: f64::from(number),
        quality: Quality::Good,
    }
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("spool"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "seg"))
        .count()
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_is_appended_stands_in_the_store_and_leaves_the_spool() {
    let bench = Bench::new();
    let run = bench.start();
    let last = run.append_each(0..1000).await;
    run.delivery.progress().wait_delivered(last).await;
    assert_eq!(bench.store.numbers(), (0..1000).collect::<Vec<_>>());
    assert!(files(bench.dir.path()) <= 2, "drained segments are gone");
    run.stop().await;
}

#[tokio::test]
async fn a_restart_sends_nothing_again_that_the_store_has() {
    for store_knows in [false, true] {
        let bench = Bench::new();
        bench.store.set_knows_position(store_knows);
        let run = bench.start();
        let last = run.append_each(0..300).await;
        run.delivery.progress().wait_delivered(last).await;
        run.stop().await;
        assert_eq!(bench.store.seen(), 300);
        let run = bench.start();
        let last = run.append_each(300..310).await;
        run.delivery.progress().wait_written(last).await;
        run.stop().await;
        assert_eq!((bench.store.seen(), bench.store.numbers().len()), (310, 310), "store knows: {store_knows}");
    }
}

#[tokio::test]
async fn the_store_is_believed_before_the_spool() {
    // The process died after the store had committed, before the spool's cursor was written: not sent again.
    let bench = Bench::new();
    bench.store.set_knows_position(true);
    bench.store.set_broken(true);
    let run = bench.start();
    let last = run.append_each(0..20).await;
    run.stop().await;
    bench.store.set_broken(false);
    bench.store.set_delivered(last - 5);
    let run = bench.start();
    run.delivery.progress().wait_delivered(last).await;
    run.stop().await;
    assert_eq!(bench.store.numbers(), (15..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_store_that_held_readings_back_gets_them_again() {
    // It said `written`, never `delivered`, and lost its memory: the spool still has everything.
    let bench = Bench::new();
    bench.store.set_knows_position(true);
    bench.store.set_holds(true);
    let run = bench.start();
    let last = run.append_each(0..50).await;
    run.delivery.progress().wait_written(last).await;
    assert!(run.delivery.progress().delivered() < last);
    bench.store.set_broken(true);
    run.stop().await;
    bench.store.forget_held();
    bench.store.set_broken(false);
    assert!(bench.store.numbers().is_empty());
    let run = bench.start();
    run.delivery.progress().wait_written(last).await;
    run.stop().await;
    assert_eq!(bench.store.numbers(), (0..50).collect::<Vec<_>>(), "written down at the stop");
    bench.start().stop().await;
    assert_eq!(bench.store.seen(), 100, "and then never again");
}

#[tokio::test]
async fn a_store_that_cannot_now_is_asked_until_it_can() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.store.fail_next(store::Error::Transient { operation: "write", source: "locked".into() });
    }
    bench.store.set_broken(true);
    let run = bench.start();
    let last = run.append_each(0..30).await;
    until(|| !bench.health.complaints().is_empty()).await;
    assert_eq!(bench.health.complaints()[0].0, "delivery");
    assert!(bench.store.numbers().is_empty());
    bench.store.set_broken(false);
    run.delivery.progress().wait_delivered(last).await;
    assert_eq!(bench.store.numbers(), (0..30).collect::<Vec<_>>());
    until(|| bench.health.complaints().is_empty()).await;
    run.stop().await;
}

#[allow(clippy::await_holding_lock, reason = "the gate is held by the test, not by what it tests")]
#[tokio::test]
async fn a_slow_store_does_not_slow_an_acknowledgement() {
    let bench = Bench::new();
    let run = bench.start();
    let gate = bench.store.close_gate();
    let last = run.append_each(0..500).await;
    assert!(run.delivery.progress().written() < last, "nothing of it can be in the store yet");
    drop(gate);
    run.delivery.progress().wait_delivered(last).await;
    assert_eq!(bench.store.numbers().len(), 500);
    run.stop().await;
}

#[tokio::test]
async fn refused_readings_go_into_quarantine_and_their_neighbours_into_the_store() {
    let bench = Bench::new();
    // The order of the group is lost in the first attempt, and found again.
    bench.store.fail_next(store::Error::Transient { operation: "write", source: "locked".into() });
    bench.store.refuse(|reading| reading.value as u32 % 10 == 3);
    let run = bench.start();
    let batches: Vec<Vec<Reading>> = (0..4).map(|batch| (batch * 10..batch * 10 + 10).map(reading).collect()).collect();
    let appends: Vec<_> = batches.iter().map(|batch| run.writer.append(encode(batch), Box::new(()))).collect();
    let mut positions = Vec::new();
    for append in appends {
        positions.push(append.await.unwrap().position());
    }
    run.delivery.progress().wait_delivered(positions[3]).await;
    assert_eq!(bench.store.numbers(), (0..40).filter(|number| number % 10 != 3).collect::<Vec<_>>());
    let rows = bench.quarantine.list(0, 100).unwrap();
    assert_eq!(rows.iter().map(|row| row.position).collect::<Vec<_>>(), positions);
    for (batch, row) in (0..).zip(&rows) {
        let What::Reading { ordinal, reading: refused, .. } = &row.what else { panic!("{row:?}") };
        assert_eq!((*ordinal, *refused, row.reason.as_str()), (3, reading(batch * 10 + 3), "not here"));
    }
    // Once the reason is gone, they are sent again.
    bench.store.refuse(|_| false);
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(bench.quarantine.replay(&ids, &run.writer).await.unwrap(), 4);
    let last = run.append_each(40..41).await;
    run.delivery.progress().wait_delivered(last).await;
    assert_eq!(bench.store.numbers(), (0..41).collect::<Vec<_>>());
    assert_eq!((bench.quarantine.count().unwrap(), bench.quarantine.replay(&ids, &run.writer).await.unwrap()), (0, 0));
    run.stop().await;
}

#[tokio::test]
async fn a_record_of_unknown_form_is_kept_and_its_neighbours_delivered() {
    let bench = Bench::new();
    let run = bench.start();
    run.append_each(0..3).await;
    let mut later_version = encode(&[reading(77)]);
    later_version[0] = 9;
    run.writer.append(later_version.clone(), Box::new(())).await.unwrap();
    let last = run.append_each(3..5).await;
    run.delivery.progress().wait_delivered(last).await;
    assert_eq!(bench.store.numbers(), [0, 1, 2, 3, 4]);
    let rows = bench.quarantine.list(0, 100).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0].what, rows[0].position), (&What::Record(later_version), last - 2));
    run.stop().await;
}

#[tokio::test]
async fn a_full_quarantine_stops_delivery_and_drops_nothing() {
    let bench = Bench::with_rows_max(2);
    bench.store.refuse(|reading| reading.value >= 10.0);
    let run = bench.start();
    let before = run.append_each(0..10).await;
    run.delivery.progress().wait_delivered(before).await;
    let batch: Vec<_> = (10..13).map(reading).collect();
    let stuck = run.append(&batch).await;
    until(|| bench.health.complaints().iter().any(|(_, reason)| reason.contains("quarantine is full"))).await;
    assert_eq!(bench.quarantine.count().unwrap(), 0, "all of a refusal or nothing");
    assert!(run.delivery.progress().written() < stuck);
    run.stop().await;
    bench.store.refuse(|_| false);
    let run = bench.start();
    run.delivery.progress().wait_delivered(stuck).await;
    assert_eq!(bench.store.numbers(), (0..13).collect::<Vec<_>>());
    run.stop().await;
}

#[tokio::test]
async fn a_store_that_is_ahead_of_the_spool_misses_no_new_reading() {
    let bench = Bench::new();
    bench.store.set_knows_position(true);
    let run = bench.start();
    let last = run.append_each(0..5).await;
    run.delivery.progress().wait_delivered(last).await;
    run.stop().await;
    bench.store.set_delivered(last + 1_000_000);
    let run = bench.start();
    let last = run.append_each(5..8).await;
    run.delivery.progress().wait_delivered(last).await;
    assert_eq!(bench.store.numbers(), (0..8).collect::<Vec<_>>());
    run.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_store_that_takes_nothing() {
    let bench = Bench::new();
    bench.store.set_broken(true);
    let run = bench.start();
    let last = run.append_each(0..10).await;
    until(|| !bench.health.complaints().is_empty()).await;
    run.stop().await;
    bench.store.set_broken(false);
    let run = bench.start();
    run.delivery.progress().wait_delivered(last).await;
    assert_eq!(bench.store.numbers(), (0..10).collect::<Vec<_>>());
    run.stop().await;
}
