//! validate: parse + validate, the same + encode, and the whole of `submit` without HTTP (one caller, so every batch
//! waits for a sync of its own: look at the CPU, not at the wall clock).

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sensorgate::{
    auth::{Integration, Principal},
    ingest::{
        Ingest, Submission, Transport,
        config::Parser,
        parse::parse,
        validate::{Judge, Rules, Verdict, Window},
    },
    model::{
        IntegrationFacts, IntegrationId, RequestId, ScopeSet,
        record::{self, RecordHeader},
    },
    spool,
};

#[path = "batch/mod.rs"]
mod batch;

fn benches(c: &mut Criterion) {
    let body = batch::contract();
    let integration_id = IntegrationId::generate();
    let (equipment, metrics) = (batch::equipment(integration_id), batch::metrics());
    let rules = Rules {
        equipment: &equipment,
        metrics: &metrics,
        name_bytes_max: 256,
        received_at_us: batch::RECEIVED_AT_US,
        window: Window::new(batch::RECEIVED_AT_US, 604_800, 600, None),
    };
    let mut verdict = Verdict::new(500);
    let mut group = c.benchmark_group("validate");
    group.throughput(Throughput::Elements(batch::READINGS));
    group.bench_function("parse_and_validate", |b| {
        b.iter(|| {
            parse(black_box(body.as_bytes()), 500, Parser::Fast, &mut Judge::new(rules, &mut verdict))
                .expect("a batch");
            assert_eq!(verdict.readings.len() as u64, batch::READINGS);
        });
    });
    let header =
        RecordHeader { integration_id, request_id: RequestId::generate(), received_at_us: batch::RECEIVED_AT_US };
    group.bench_function("parse_validate_encode", |b| {
        b.iter(|| {
            parse(black_box(body.as_bytes()), 500, Parser::Fast, &mut Judge::new(rules, &mut verdict))
                .expect("a batch");
            let mut record = Vec::new();
            record::encode(&header, &verdict.readings, &mut record);
            record
        });
    });
    let half_wrong = body.replace("\"humidity\",\"value\":", "\"humidity\",\"value\":1");
    group.bench_function("a_third_refused", |b| {
        b.iter(|| {
            parse(black_box(half_wrong.as_bytes()), 500, Parser::Fast, &mut Judge::new(rules, &mut verdict))
                .expect("a batch");
            verdict.errors.len()
        });
    });
    group.finish();
    submit(c, &body);
}

/// The whole way in, without HTTP and without the sync: what the CPU has to do.
fn submit(c: &mut Criterion, body: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let mut config: spool::Config = batch::section("spool");
    config.sync = false;
    let (writer, mut reader) = spool::open(dir.path(), &config).expect("a spool");
    let facts = IntegrationFacts::assumed(IntegrationId::generate(), ScopeSet::EMPTY);
    let integration = Arc::new(Integration::new(facts));
    *integration.equipment.write() = batch::equipment(integration.facts().id);
    let principal = Principal::assumed(integration, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let ingest = Ingest::new(batch::section("ingest"), batch::metrics(), writer);
    let submission = Submission {
        body: Bytes::copy_from_slice(body.as_bytes()),
        received_at_us: batch::RECEIVED_AT_US,
        request_id: RequestId::generate(),
        validate_only: false,
        transport: Transport::Http,
    };
    let mut group = c.benchmark_group("submit");
    group.throughput(Throughput::Elements(batch::READINGS));
    group.bench_function("contract_unsynced", |b| {
        b.iter(|| {
            let result = runtime.block_on(ingest.submit(&principal, submission.clone())).expect("a result");
            if let Ok(blocks) = runtime.block_on(reader.next(1 << 20, std::time::Duration::ZERO))
                && let Some(last) = blocks.last()
            {
                reader.release(last.position);
            }
            result.to_json(submission.request_id)
        });
    });
    group.bench_function("contract_validate_only", |b| {
        let only = Submission { validate_only: true, ..submission.clone() };
        b.iter(|| runtime.block_on(ingest.submit(&principal, only.clone())).expect("a result"));
    });
    group.finish();
}

criterion_group!(validate_benches, benches);
criterion_main!(validate_benches);
