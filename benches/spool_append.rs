//! What it costs to make a batch of 500 readings durable: appenders that wait for their receipts, one sync for those that
//! wait together, and a reader that takes everything out again, so that segments are dropped and written over.
//!
//! The time that counts is CPU time of the whole process (user and system), since the waiting is the disk's. It is printed
//! for each case before criterion measures the time that passes.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sensorgate::spool::{self, Reader, Writer};
use tokio::{runtime::Runtime, task::JoinSet};

const READINGS: u64 = 500;
/// 44 bytes of header and 24 a reading.
const RECORD_BYTES: usize = 44 + 24 * READINGS as usize;

fn config(sync: bool) -> spool::Config {
    let config = sensorgate::config::Config::load(None, []).expect("the defaults");
    spool::Config { sync, free_disk_bytes_min: 0, ..config.spool }
}

/// Takes everything out as delivery does: what has come in half a second, but without a store behind it.
fn drain(mut reader: Reader, done: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    while !done.load(Relaxed) {
        let next = reader.next(24_000_000, Duration::from_millis(100));
        if let Some(last) = runtime.block_on(next).expect("readable").last() {
            reader.release(last.position);
        }
    }
}

struct Bench {
    writer: Writer,
    done: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(sync: bool) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let (writer, reader) = spool::open(dir.path(), &config(sync)).expect("a spool");
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let reader = Some(thread::spawn(move || drain(reader, &flag)));
        Self { writer, done, reader, _dir: dir }
    }

    /// `appenders` at once append `batches` in all.
    async fn append(&self, appenders: u64, batches: u64) {
        let mut tasks = JoinSet::new();
        for appender in 0..appenders {
            let writer = self.writer.clone();
            let share = batches / appenders + u64::from(appender < batches % appenders);
            tasks.spawn(async move {
                let record = vec![0x5a; RECORD_BYTES];
                for _ in 0..share {
                    writer.append(record.clone(), Box::new(())).await.expect("durable");
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("no panic");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        self.reader.take().map(thread::JoinHandle::join);
    }
}

/// CPU time of this process so far: `utime` and `stime` of `/proc/self/stat`, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

fn report(runtime: &Runtime, name: &str, bench: &Bench, appenders: u64, batches: u64) {
    let (cpu_before, started) = (cpu(), Instant::now());
    runtime.block_on(bench.append(appenders, batches));
    let (cpu, elapsed) = (cpu() - cpu_before, started.elapsed());
    let readings = (batches * READINGS) as f64;
    println!(
        "{name}: {:.0} ns of CPU a reading, {:.0} readings/s, {:.2} ms a batch at {appenders} appenders",
        cpu.as_nanos() as f64 / readings,
        readings / elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1e3 * appenders as f64 / batches as f64,
    );
}

/// Opening a spool that nobody has read, beside reading its files once.
fn recovery(runtime: &Runtime) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (writer, reader) = spool::open(dir.path(), &config(false)).expect("a spool");
    drop(reader);
    let bench = Bench { writer, done: Arc::default(), reader: None, _dir: dir };
    runtime.block_on(bench.append(16, 40_000));
    let Bench { writer, _dir: dir, .. } = &bench;
    runtime.block_on(writer.shutdown());
    // The lock is the old spool's until it is dropped: the new one opens a copy.
    let copy = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut buffer = Vec::new();
    let mut bytes = 0;
    for entry in fs::read_dir(dir.path()).expect("listed") {
        let path = entry.expect("listed").path();
        bytes += fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    for round in 0..3 {
        let started = Instant::now();
        for entry in fs::read_dir(copy.path()).expect("listed") {
            buffer.clear();
            let mut file = fs::File::open(entry.expect("listed").path()).expect("opened");
            std::io::Read::read_to_end(&mut file, &mut buffer).expect("read");
        }
        let once = started.elapsed();
        let started = Instant::now();
        let opened = spool::open(copy.path(), &config(false)).expect("a spool");
        let recovery = started.elapsed();
        println!("recovery of {} MB, {round}: {recovery:?}, reading once {once:?}", bytes / 1_000_000);
        drop(opened);
    }
}

fn spool_append(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    recovery(&runtime);
    let mut group = c.benchmark_group("spool_append");
    group.throughput(Throughput::Elements(READINGS));
    for (name, sync, appenders) in
        [("16 appenders", true, 16), ("1 appender", true, 1), ("64 appenders", true, 64), ("16, no sync", false, 16)]
    {
        let bench = Bench::new(sync);
        // A segment takes 5,500 batches: the first of these go into files that grow, the others into files written over.
        let batches = if appenders == 1 { 3000 } else { 16_000 };
        report(&runtime, &format!("{name}, new files"), &bench, appenders, batches);
        report(&runtime, &format!("{name}, files written over"), &bench, appenders, 2 * batches);
        group.bench_function(name, |b| {
            b.iter_custom(|batches| {
                let started = Instant::now();
                runtime.block_on(bench.append(appenders, batches));
                started.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500));
    targets = spool_append
}
criterion_main!(benches);
