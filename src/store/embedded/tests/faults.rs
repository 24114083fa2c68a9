//! What goes wrong with files and other processes, and what is said then.

use std::{error::Error as _, time::Duration};

use rusqlite::Connection;

use super::{
    super::{Embedded, database},
    fixture::{DAY, HOUR, SECOND, T0, all, at_once, config, reading, series, steady},
};
use crate::store::{Config, Error, Maintenance, Store};

fn raw(dir: &std::path::Path) -> Connection {
    Connection::open(dir.join(database::FILE)).expect("a second connection")
}

fn settle(store: &Embedded, now_us: i64) {
    while store.maintain(now_us).expect("maintainable") == Maintenance::More {}
}

#[test]
fn a_second_process_is_refused_with_a_clear_message() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &config()).expect("opens");
    let error = Embedded::open(dir.path(), &config()).expect_err("taken");
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("in use by another sensorgate process"), "{error}");
    drop(store);
    Embedded::open(dir.path(), &config()).expect("free again");
}

#[test]
fn what_is_no_database_is_called_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join(database::FILE), vec![b'x'; 40_000]).expect("written");
    let error = Embedded::open(dir.path(), &config()).expect_err("no database");
    assert!(matches!(error, Error::Corrupt { operation: "open", .. }), "{error:?}");
    assert!(error.source().is_some() && !error.is_transient());
}

#[test]
fn a_later_format_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(Embedded::open(dir.path(), &config()).expect("opens"));
    raw(dir.path()).pragma_update(None, "user_version", 99).expect("set");
    let error = Embedded::open(dir.path(), &config()).expect_err("too new");
    assert!(matches!(error, Error::Newer { found: 99, known: 1 }), "{error:?}");
}

#[test]
fn a_missing_directory_that_cannot_be_made_is_no_panic() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("file"), "").expect("written");
    let error = Embedded::open(&dir.path().join("file/store"), &config()).expect_err("not a directory");
    assert!(error.is_transient(), "{error:?}");
}

// The group is refused whole, and taken whole once there is room.
#[test]
fn a_full_disk_is_transient_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    store.write(&mut steady(1, T0, 100), 1).expect("written");
    let limit = |pages: i64| {
        let writer = store.writer.lock();
        writer.connection.pragma_update(None, "max_page_count", pages).expect("set");
    };
    limit(1);
    // Many series, so that it fails in the midst.
    let group: Vec<_> = (0..3_000).map(|number| reading(number, T0 + number as i64, 1.0)).collect();
    let error = store.write(&mut group.clone(), 2).expect_err("no room");
    assert!(error.is_transient(), "{error:?}");
    assert!(error.source().is_some_and(|source| source.to_string().contains("full")), "{error:?}");
    assert_eq!(store.delivered().expect("readable"), Some(1));
    assert_eq!(all(&store, 1).len(), 100);
    assert!(all(&store, 7).is_empty(), "nothing of the group is there");
    limit(1_000_000);
    assert_eq!(store.write(&mut group.clone(), 2).expect("room again").delivered, Some(2));
    assert_eq!(all(&store, 1).len(), 101);
    assert_eq!(all(&store, 7).len(), 1);
}

#[test]
fn a_lock_of_another_process_is_transient() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    store.writer.lock().connection.busy_timeout(Duration::from_millis(10)).expect("set");
    let other = raw(dir.path());
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let error = store.write(&mut steady(1, T0, 10), 1).expect_err("locked");
    assert!(error.is_transient(), "{error:?}");
    assert!(all(&store, 1).is_empty(), "readers go on");
    other.execute_batch("ROLLBACK").expect("released");
    store.write(&mut steady(1, T0, 10), 1).expect("written");
    assert_eq!(all(&store, 1).len(), 10);
}

#[test]
fn readers_that_are_all_busy_are_transient() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { readers: 1, reader_timeout_ms: 5, ..at_once() };
    let store = Embedded::open(dir.path(), &config).expect("opens");
    let lent = store.pool.snapshot().expect("the only one");
    let error = store.latest(&[series(1)]).expect_err("none left");
    assert!(error.is_transient(), "{error:?}");
    drop(lent);
    store.latest(&[series(1)]).expect("given back");
}

// A read sees one moment, and neither waits for the writer nor stops it.
#[test]
fn a_long_read_and_a_write_do_not_meet() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    store.write(&mut steady(1, T0, 10), 1).expect("written");
    let snapshot = store.pool.snapshot().expect("a reader");
    let mut scan =
        super::super::read::Scan::new(&snapshot, series(1).as_u64(), i64::MIN, i64::MAX, Vec::new()).expect("a scan");
    assert!(scan.next().expect("readable").is_some());
    store.write(&mut steady(1, T0 + HOUR, 10), 2).expect("written meanwhile");
    settle(&store, T0 + 2 * DAY);
    let mut rest = 0;
    while scan.next().expect("readable").is_some() {
        rest += 1;
    }
    assert_eq!(rest, 9);
    assert_eq!(all(&store, 1).len(), 20);
}

fn break_one(dir: &std::path::Path, sql: &str) {
    assert_eq!(raw(dir).execute(sql, []).expect("broken"), 1, "{sql}");
}

#[test]
fn a_damaged_chunk_harms_its_hour_of_its_series_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    let mut group = [steady(1, T0, 10), steady(1, T0 + HOUR, 10), steady(2, T0, 10)].concat();
    store.write(&mut group, 1).expect("written");
    let hour = T0 / HOUR;
    let packed = series(1).as_u64();
    break_one(
        dir.path(),
        &format!(
            "UPDATE open_chunk SET body = CAST(substr(body, 1, 25) || x'ff' || substr(body, 27) AS BLOB) \
                  WHERE series = {packed} AND hour = {hour}"
        ),
    );
    let error = store.range(series(1), i64::MIN, i64::MAX, None, 100).expect_err("damaged");
    let Error::CorruptChunk { series: broken, start_us, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*broken, *start_us), (packed, hour * HOUR));
    assert!(error.to_string().contains("0x10001"), "{error}");
    assert_eq!(all(&store, 2).len(), 10);
    assert_eq!(store.range(series(1), T0 + HOUR, i64::MAX, None, 100).expect("another hour").len(), 10);
    assert_eq!(store.latest(&[series(1)]).expect("another hour")[0].map(|point| point.value), Some(9.0));
    // The day cannot be closed, the other series' day can.
    settle(&store, T0 + 2 * DAY);
    assert_eq!(all(&store, 2).len(), 10);
    assert!(store.range(series(1), i64::MIN, i64::MAX, None, 100).is_err());

    // A reading of that hour is taken in all the same; the bytes are kept for people.
    store.write(&mut vec![reading(1, T0 + 500 * SECOND, 77.0)], 2).expect("set aside");
    assert_eq!(all(&store, 1).iter().map(|point| point.value).filter(|value| *value == 77.0).count(), 1);
    let kept: i64 =
        raw(dir.path()).query_row("SELECT count(*) FROM damaged_chunk", [], |row| row.get(0)).expect("kept");
    assert_eq!(kept, 1);
}

#[test]
fn a_damaged_block_harms_its_day_of_its_series_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    store.write(&mut [steady(1, T0, 100), steady(1, T0 + DAY, 100), steady(2, T0, 100)].concat(), 1).expect("written");
    settle(&store, T0 + 3 * DAY);
    let packed = series(1).as_u64();
    break_one(
        dir.path(),
        &format!(
            "UPDATE closed_block SET body = substr(body, 1, length(body) - 1) \
             WHERE series = {packed} AND start_us = {T0}"
        ),
    );
    let error = store.range(series(1), i64::MIN, i64::MAX, None, 100).expect_err("damaged");
    assert!(matches!(error, Error::CorruptChunk { series, start_us: T0, .. } if series == packed), "{error:?}");
    assert_eq!(all(&store, 2).len(), 100);
    assert_eq!(store.range(series(1), T0 + DAY, i64::MAX, None, 1_000).expect("another day").len(), 100);
    assert!(store.downsample(series(1), T0, T0 + DAY, HOUR).is_err());
    // What comes for it waits beside it.
    store.write(&mut vec![reading(1, T0 + 1, 5.0)], 2).expect("written");
    settle(&store, T0 + 4 * DAY);
    assert_eq!(store.latest(&[series(1)]).expect("another day")[0].map(|point| point.value), Some(99.0));
}

// Any byte of the file may be wrong: an error or what was written, and no panic.
#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    for number in 0..40 {
        store.write(&mut steady(number, T0, 300), u64::from(number) + 1).expect("written");
    }
    drop(store);
    let path = dir.path().join(database::FILE);
    let sound = std::fs::read(&path).expect("readable");
    let mut random = 7u64;
    for _ in 0..150 {
        let mut bytes = sound.clone();
        for _ in 0..4 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 20) as usize % bytes.len();
            bytes[at] ^= 1 << (random >> 60 & 7);
        }
        std::fs::write(&path, &bytes).expect("written");
        for side in ["store.db-wal", "store.db-shm"] {
            std::fs::remove_file(dir.path().join(side)).ok();
        }
        let Ok(store) = Embedded::open(dir.path(), &at_once()) else { continue };
        for number in 0..40 {
            let Ok(points) = store.range(series(number), i64::MIN, i64::MAX, None, 1_000) else { continue };
            let expected = steady(number, T0, 300);
            let written = |point: &crate::store::Point| {
                expected
                    .iter()
                    .any(|reading| (reading.timestamp_us, reading.value) == (point.timestamp_us, point.value))
            };
            assert!(points.iter().all(written), "a value that nobody sent");
        }
        store.latest(&[series(1), series(39)]).ok();
        store.write(&mut steady(3, T0 + HOUR, 10), 1_000).ok();
        store.maintain(T0 + 2 * DAY).ok();
    }
}
