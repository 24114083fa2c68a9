//! The process or the machine ends at any moment: position and readings agree afterwards.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    super::{Embedded, database},
    fixture::{DAY, HOUR, SECOND, T0, all, at_once, reading},
};
use crate::{model::Reading, store::Store};

const SERIES: u32 = 40;

/// Group `position` (1, 2 …) holds for each series the one reading of its tick, and corrects the tick before. So the
/// readings of the first n groups are known, and no other set looks like them.
fn group(position: u64) -> Vec<Reading> {
    let tick = |position: u64| T0 + position as i64 * 10 * SECOND;
    (0..SERIES)
        .flat_map(|number| {
            [reading(number, tick(position - 1), -1.0), reading(number, tick(position), position as f64)]
        })
        .collect()
}

fn assert_holds_exactly(store: &Embedded, delivered: u64) {
    for number in 0..SERIES {
        let points = all(store, number);
        let expected = if delivered == 0 { 0 } else { delivered as usize + 1 };
        assert_eq!(points.len(), expected, "series {number} at {delivered}");
        for (tick, point) in (0u64..).zip(&points) {
            assert_eq!(point.timestamp_us, T0 + tick as i64 * 10 * SECOND);
            assert_eq!(point.value, if tick == delivered { delivered as f64 } else { -1.0 });
        }
    }
}

fn open_copy(from: &Path, log: &[u8]) -> (tempfile::TempDir, Embedded) {
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::copy(from.join(database::FILE), copy.path().join(database::FILE)).expect("copied");
    std::fs::write(copy.path().join(database::WAL_FILE), log).expect("copied");
    let store = Embedded::open(copy.path(), &at_once()).expect("recovers");
    (copy, store)
}

// A machine that loses power leaves some front part of the log: every one of them is a group's end.
#[test]
fn any_front_part_of_the_log_holds_a_position_and_its_readings() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    for position in 1..=12 {
        store.write(&mut group(position), position).expect("written");
    }
    let log = std::fs::read(dir.path().join(database::WAL_FILE)).expect("readable");
    let mut seen = std::collections::BTreeSet::new();
    let mut last = 0;
    for cut in (0..=log.len()).step_by(5_003).chain([log.len()]) {
        // The tables are made in the log too: without them it is a new store.
        let (_copy, recovered) = open_copy(dir.path(), &log[..cut]);
        let delivered = recovered.delivered().expect("readable").unwrap_or(0);
        assert!(delivered >= last, "a longer log holds no less");
        assert_holds_exactly(&recovered, delivered);
        // Delivery goes on from there.
        recovered.write(&mut group(delivered + 1), delivered + 1).expect("written");
        assert_holds_exactly(&recovered, delivered + 1);
        last = delivered;
        seen.insert(delivered);
    }
    assert_eq!(last, 12);
    assert!(seen.len() > 6, "the cuts met different groups: {seen:?}");
}

// A copy taken between two commits, before and after checkpoints and closing, by a backup that knows of nothing.
#[test]
fn a_copy_of_the_files_holds_a_position_and_its_readings() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path(), &at_once()).expect("opens");
    for position in 1..=20 {
        store.write(&mut group(position), position).expect("written");
        if position % 3 == 0 {
            store.maintain(T0 + 2 * DAY + position as i64 * HOUR).expect("maintainable");
        }
        let log = std::fs::read(dir.path().join(database::WAL_FILE)).expect("readable");
        let (_copy, recovered) = open_copy(dir.path(), &log);
        assert_eq!(recovered.delivered().expect("readable"), Some(position));
        assert_holds_exactly(&recovered, position);
    }
}

/// The victim of the test below: writes and maintains in its working directory until it is killed.
#[test]
#[ignore = "is started, and killed, by a_killed_process_leaves_a_position_and_its_readings"]
fn victim() {
    if !Path::new("victim").exists() {
        return;
    }
    let store =
        Embedded::open(Path::new("store"), &crate::store::Config { wal_mb_max: 1, ..at_once() }).expect("opens");
    let first = store.delivered().expect("readable").unwrap_or(0) + 1;
    for position in first..first + 100_000 {
        store.write(&mut group(position), position).expect("written");
        store.maintain(T0 + 2 * DAY + position as i64 * 61 * SECOND).expect("maintainable");
    }
}

#[test]
fn a_killed_process_leaves_a_position_and_its_readings() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("victim"), "").expect("written");
    let program = std::env::current_exe().expect("this test");
    let mut delivered = 0;
    for round in 1..=6u64 {
        let mut child = Command::new(&program)
            .args(["--ignored", "--exact", "store::embedded::tests::crash::victim"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        // Any moment will do; a different one each time.
        std::thread::sleep(Duration::from_millis(150 + round * 37));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let store = Embedded::open(&dir.path().join("store"), &at_once()).expect("recovers");
        let now = store.delivered().expect("readable").unwrap_or(0);
        assert!(now >= delivered, "a position once reached stays");
        delivered = now;
        assert_holds_exactly(&store, delivered);
        if delivered > 5_000 {
            break;
        }
    }
    assert!(delivered > 0, "no round got as far as one group");
}
