//! What a reading costs on its way into the embedded store, and what it takes up there.
//!
//! `cargo bench --bench store_write [-- SERIES GROUP READINGS]`; without arguments the table of `docs/performance.md`.
//! CPU time of the whole process by the kernel's count (10 ms steps): sorting, merging, commit and checkpoints.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{path::Path, time::Instant};

use sensorgate::{
    model::{EquipmentNumber, MetricNumber, Quality, Reading, SeriesId},
    store::{Config, Embedded, Kind, Maintenance, Store},
};

/// 2026-01-05T10:00:00Z.
const START_US: i64 = 1_767_607_200_000_000;
const DAY_US: i64 = 86_400_000_000;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    println!("series   group      readings   CPU ns/reading   wall ns   bytes open   CPU ns closing   bytes closed");
    if let [series, group, readings] = numbers[..] {
        return run(series, group, readings);
    }
    for (series, group, readings) in [
        (300, 200_000, 4_000_000),
        (300, 1_000_000, 8_000_000),
        (3_000, 200_000, 4_000_000),
        (3_000, 1_000_000, 8_000_000),
        (100_000, 200_000, 4_000_000),
        (100_000, 1_000_000, 8_000_000),
    ] {
        run(series, group, readings);
    }
}

fn run(series: usize, group: usize, readings: usize) {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), &config()).unwrap();
    let mut source = Source::new(series);
    let mut buffer: Vec<Reading> = Vec::with_capacity(group);
    let (mut cpu_ns, mut wall_ns) = (0, 0);
    let mut written = 0;
    while written < readings {
        source.fill(&mut buffer, group);
        written += group;
        let (cpu, wall) = (cpu_time_ns(), Instant::now());
        store.write(&mut buffer, written as u64).unwrap();
        store.maintain(START_US).unwrap();
        cpu_ns += cpu_time_ns() - cpu;
        wall_ns += wall.elapsed().as_nanos();
    }
    let open_bytes = size(store, dir.path());
    let store = Embedded::open(dir.path(), &config()).unwrap();
    let cpu = cpu_time_ns();
    while store.maintain(source.now_us + 2 * DAY_US).unwrap() == Maintenance::More {}
    let closing_ns = cpu_time_ns() - cpu;
    let closed_bytes = size(store, dir.path());
    let each = |total: u128| total as f64 / written as f64;
    println!(
        "{series:>6} {group:>9} {written:>11} {:>14.0} {:>11.0} {:>11.2} {:>14.0} {:>15.2}",
        each(cpu_ns),
        each(wall_ns),
        each(open_bytes.into()),
        each(closing_ns),
        each(closed_bytes.into()),
    );
}

fn config() -> Config {
    Config {
        kind: Kind::Embedded,
        directory: "store".to_owned(),
        cache_mb: 128,
        readers: 4,
        reader_timeout_ms: 10_000,
        hold_readings_max: 0,
        hold_ms: 0,
        close_after_h: 3,
        retention_days: 0,
        wal_mb_max: 64,
        maintenance_interval_ms: 1_000,
    }
}

/// Bytes in use, without free pages, once the log is in the file.
fn size(store: Embedded, dir: &Path) -> u64 {
    drop(store);
    let connection = rusqlite::Connection::open(dir.join("store.db")).unwrap();
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap() as u64;
    (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")
}

/// Readings of sensors that all report every ten seconds, with one decimal, as a random walk.
struct Source {
    tenths: Vec<i64>,
    next: usize,
    now_us: i64,
    random: u64,
}

impl Source {
    fn new(series: usize) -> Self {
        Self { tenths: vec![215; series], next: 0, now_us: START_US, random: 88_172_645_463_325_252 }
    }

    fn fill(&mut self, buffer: &mut Vec<Reading>, count: usize) {
        buffer.clear();
        for _ in 0..count {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let tenths = &mut self.tenths[self.next];
            *tenths += (self.random % 7) as i64 - 3;
            buffer.push(Reading {
                series: SeriesId::new(EquipmentNumber(self.next as u32 + 1), MetricNumber(1)),
                timestamp_us: self.now_us,
                value: *tenths as f64 / 10.0,
                quality: Quality::Good,
            });
            self.next += 1;
            if self.next == self.tenths.len() {
                self.next = 0;
                self.now_us += 10_000_000;
            }
        }
    }
}

fn cpu_time_ns() -> u128 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name in brackets: user and system time are fields 14 and 15 of proc(5), in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u128>().unwrap() + fields[12].parse::<u128>().unwrap()) * 10_000_000
}
