//! Holding, closing, retention, checkpoints.

use std::path::Path;

use rusqlite::Connection;

use super::{
    super::{Embedded, close::Closing, close::Reported, database, keep},
    fixture::{DAY, HOUR, SECOND, T0, all, at_once, config, reading, series, steady},
};
use crate::store::{Config, Maintenance, Store};

fn settle(store: &Embedded, now_us: i64) {
    while store.maintain(now_us).expect("maintainable") == Maintenance::More {}
}

fn count(dir: &Path, table: &str) -> i64 {
    let connection = Connection::open(dir.join(database::FILE)).expect("a second connection");
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counted")
}

fn bytes(dir: &Path, table: &str) -> i64 {
    let connection = Connection::open(dir.join(database::FILE)).expect("a second connection");
    connection.query_row(&format!("SELECT sum(length(body)) FROM {table}"), [], |row| row.get(0)).expect("summed")
}

#[test]
fn small_groups_wait_in_memory_and_are_seen() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &config()).expect("opens");
    for group in 0..5 {
        let summary = store.write(&mut steady(1, T0 + group * 100 * SECOND, 10), group as u64 + 1).expect("taken");
        assert_eq!(summary.delivered, None, "the spool must keep them");
    }
    assert_eq!(all(&store, 1).len(), 50);
    assert_eq!(count(dir.path(), "open_chunk"), 0);
    // The process dies: what was not durable was never called so.
    drop(store);
    let store = Embedded::open(dir.path(), &config()).expect("opens");
    assert_eq!(store.delivered().expect("readable"), None);
    assert!(all(&store, 1).is_empty());
}

#[test]
fn what_was_held_long_enough_is_written_by_maintenance() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &Config { hold_ms: 0, ..config() }).expect("opens");
    assert_eq!(store.write(&mut steady(1, T0, 10), 1).expect("taken").delivered, None);
    store.maintain(T0).expect("maintainable");
    assert_eq!(store.delivered().expect("readable"), Some(1));
    assert_eq!(count(dir.path(), "open_chunk"), 1);
}

#[test]
fn held_groups_are_written_with_the_one_that_fills_the_measure() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &Config { hold_readings_max: 25, ..config() }).expect("opens");
    assert_eq!(store.write(&mut steady(1, T0, 10), 1).expect("taken").delivered, None);
    assert_eq!(store.write(&mut steady(2, T0, 10), 2).expect("taken").delivered, None);
    assert_eq!(store.write(&mut steady(1, T0 + HOUR, 10), 3).expect("taken").delivered, Some(3));
    assert_eq!(count(dir.path(), "open_chunk"), 3);
    assert_eq!(all(&store, 1).len(), 20);
}

#[test]
fn a_closed_day_is_packed_and_reads_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    // From 10:00 to midnight.
    let mut group = [steady(1, T0, 5_040), steady(2, T0, 5_040)].concat();
    store.write(&mut group, 1).expect("written");
    let (before, open_bytes) = (all(&store, 1), bytes(dir.path(), "open_chunk"));
    // 2:59 of the next day: it is not closed yet.
    settle(&store, T0 + 17 * HOUR - SECOND);
    assert_eq!(count(dir.path(), "closed_block"), 0);
    settle(&store, T0 + 17 * HOUR + 60 * SECOND);
    assert_eq!(count(dir.path(), "open_chunk"), 0);
    assert_eq!(all(&store, 1), before);
    assert!(bytes(dir.path(), "closed_block") < open_bytes);

    // What comes late is seen at once, wins, and is packed by the next pass.
    let late = vec![reading(1, T0 + 5 * SECOND, 0.5), reading(1, T0 + 10 * SECOND, 0.25)];
    store.write(&mut late.clone(), 2).expect("written");
    let check = |store: &Embedded| {
        let points = all(store, 1);
        assert_eq!(points.len(), before.len() + 1);
        assert_eq!(points[1..3].iter().map(|point| point.value).collect::<Vec<_>>(), [0.5, 0.25]);
    };
    check(&store);
    settle(&store, T0 + 18 * HOUR);
    assert_eq!(count(dir.path(), "open_chunk"), 0);
    check(&store);
}

// A day that is written to while it is being packed stays open, with what came.
#[test]
fn a_write_during_closing_is_not_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    store.write(&mut [steady(1, T0, 100), steady(2, T0, 100)].concat(), 1).expect("written");
    let mut closing = Closing::new((T0 + 2 * DAY) / HOUR);
    let keeper = database::open_keeper(dir.path()).expect("opens");
    let (units, _) = closing.prepare(&keeper, &mut Reported::default()).expect("prepared");
    // One more, and one in place of another.
    store.write(&mut vec![reading(1, T0 + 100 * 10 * SECOND, 5.0), reading(1, T0, 6.0)], 2).expect("written");
    let closed = super::super::close::put_in(&mut store.writer.lock().connection, &units).expect("put in");
    assert_eq!(closed, 100, "only the series that nobody touched");
    let points = all(&store, 1);
    assert_eq!((points.len(), points[0].value, points[100].value), (101, 6.0, 5.0));
    settle(&store, T0 + 2 * DAY);
    assert_eq!(all(&store, 1), points);
    assert_eq!(count(dir.path(), "open_chunk"), 0);
}

#[test]
fn retention_deletes_whole_hours_and_days_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &Config { retention_days: 10, ..at_once() }).expect("opens");
    let midnight = T0 - 10 * HOUR;
    let mut group = [steady(1, midnight - 20 * DAY, 8_640), steady(1, midnight, 8_640)].concat();
    store.write(&mut group, 1).expect("written");
    settle(&store, midnight + DAY);
    assert_eq!(all(&store, 1).len(), 8_640, "the old day is gone, whether packed or not");
    // Exactly ten days old at noon: the first twelve hours may go where they are hours still, packed days go whole.
    store.write(&mut steady(1, midnight + 10 * DAY, 4_321), 2).expect("written");
    settle(&store, midnight + 10 * DAY + 12 * HOUR);
    let first_us = all(&store, 1)[0].timestamp_us;
    assert!(first_us >= midnight && first_us <= midnight + 12 * HOUR, "{first_us}");
    store.write(&mut steady(1, midnight + 11 * DAY + HOUR, 1), 3).expect("written");
    settle(&store, midnight + 12 * DAY);
    assert_eq!(all(&store, 1).first().map(|point| point.timestamp_us), Some(midnight + 10 * DAY));
}

#[test]
fn a_clock_that_jumps_ahead_deletes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &Config { retention_days: 1, ..at_once() }).expect("opens");
    store.write(&mut steady(1, T0, 100), 1).expect("written");
    for years in [1, 100, 1, 200] {
        settle(&store, T0 + years * 365 * DAY);
    }
    assert_eq!(all(&store, 1).len(), 100);
}

#[test]
fn the_log_is_moved_into_the_file_and_does_not_grow_for_ever() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &Config { wal_mb_max: 1, ..at_once() }).expect("opens");
    let mut longest = 0;
    for round in 0..60 {
        let group: Vec<_> = (0..3_000).map(|number| reading(number, T0 + round * 10 * SECOND, 1.0)).collect();
        store.write(&mut group.clone(), round as u64 + 1).expect("written");
        longest = longest.max(keep::log_bytes(dir.path()));
    }
    assert!(longest < 4 << 20, "{longest} bytes of log");
    assert_eq!(all(&store, 1).len(), 60);
    assert_eq!(store.latest(&[series(2_999)]).expect("readable")[0].map(|p| p.timestamp_us), Some(T0 + 590 * SECOND));
}
