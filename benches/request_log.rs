//! What the API log adds to a batch, its writer included: CPU time of the whole process for the same batches with the
//! log off and on, in turns within one run, because machines drift.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod batch;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use sensorgate::{
    auth::{Integration, Principal, RateState},
    ingest::{Ingest, Submission, Transport},
    journal::{Journal, Record},
    model::{IntegrationFacts, IntegrationId, RequestId, Scope, ScopeSet},
    request_log::RequestLog,
    spool::{self, Reader},
    telemetry::health::Health,
};
use tokio::runtime::Runtime;

const ROUNDS: usize = 7;

/// CPU time of this process so far: `utime` and `stime` of `/proc/self/stat`, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

/// Takes everything out as delivery does, but without a store behind it.
fn drain(mut reader: Reader, done: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    while !done.load(Relaxed) {
        let next = reader.next(24_000_000, Duration::from_millis(100));
        if let Some(last) = runtime.block_on(next).expect("readable").last() {
            reader.release(last.position);
        }
    }
}

/// One way in, with its spool and, where it has one, its log.
struct Way {
    ingest: Ingest,
    log: Option<RequestLog>,
    principal: Principal,
    done: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Way {
    fn new(with_log: bool) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut config: spool::Config = batch::section("spool");
        (config.sync, config.free_disk_bytes_min) = (false, 0);
        let (writer, reader) = spool::open(&dir.path().join("spool"), &config).expect("a spool");
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let reader = Some(thread::spawn(move || drain(reader, &flag)));
        let facts = IntegrationFacts::assumed(IntegrationId::generate(), ScopeSet::EMPTY);
        let integration = Arc::new(Integration::new(facts));
        *integration.equipment.write() = batch::equipment(integration.facts().id);
        let principal = Principal::assumed(integration, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut ingest = Ingest::new(batch::section("ingest"), batch::metrics(), writer);
        let log = with_log
            .then(|| RequestLog::start(dir.path(), &batch::section("request_log"), Health::default()).expect("a log"));
        if let Some(log) = &log {
            ingest = ingest.with_journal(Arc::new(log.clone()));
        }
        Self { ingest, log, principal, done, reader, _dir: dir }
    }

    /// CPU time of `count` batches, with everything that is left to be written.
    fn run(&self, runtime: &Runtime, body: &Bytes, count: u32) -> Duration {
        let before = cpu();
        for _ in 0..count {
            self.one(runtime, body);
        }
        if let Some(log) = &self.log {
            runtime.block_on(log.traffic(self.principal.facts.id, 0, 1)).expect("an answer");
        }
        cpu() - before
    }

    fn one(&self, runtime: &Runtime, body: &Bytes) {
        let request_id = RequestId::generate();
        let submission = Submission {
            body: body.clone(),
            received_at_us: batch::RECEIVED_AT_US,
            request_id,
            validate_only: false,
            transport: Transport::Http,
        };
        let result = runtime.block_on(self.ingest.submit(&self.principal, submission)).expect("a result");
        assert!(result.rejected == 0 && result.accepted > 0);
        let Some(log) = &self.log else { return };
        log.record(&Record {
            transport: "http",
            request_id,
            client_request_id: None,
            at_us: jiff::Timestamp::now().as_microsecond(),
            integration_id: Some(self.principal.facts.id),
            key_generation: Some(1),
            addr: self.principal.addr,
            method: "POST",
            route: "readings",
            scope: Some(Scope::SensorsWrite),
            granted: Some(true),
            status: 200,
            code: None,
            cause: None,
            message: None,
            latency: Duration::from_micros(700),
            body_bytes: body.len(),
            readings: Some(result.counts()),
            rejected: &result.rejections,
            rate: Some(RateState { limit: 10_000, remaining: 7_000, reset_s: 1_767_614_460 }),
        });
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        self.reader.take().map(thread::JoinHandle::join);
    }
}

fn compare(runtime: &Runtime, name: &str, body: &Bytes, count: u32) {
    let ways = [Way::new(false), Way::new(true)];
    for way in &ways {
        way.run(runtime, body, count / 10);
    }
    let mut more: Vec<f64> = Vec::new();
    let mut without = Vec::new();
    for _ in 0..ROUNDS {
        let [off, on] =
            [&ways[0], &ways[1]].map(|way| way.run(runtime, body, count).as_secs_f64() * 1e6 / f64::from(count));
        more.push(on - off);
        without.push(off);
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (more, without) = (median(&mut more), median(&mut without));
    println!("{name}: {without:.2} us of CPU in ingest and spool without the log, {more:.2} us more with it");
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let whole = batch::contract();
    let first = whole.find("},").expect("more than one reading") + 1;
    let single = format!("{}]}}", &whole[..first]);
    compare(&runtime, "500 readings", &Bytes::from(whole), 8_000);
    compare(&runtime, "1 reading", &Bytes::from(single), 40_000);
}
