//! parse: the contract's form, 500 readings a body. `simd_json_typed` is the floor that the whole path is compared
//! with in `docs/performance.md`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sensorgate::ingest::{
    config::Parser,
    parse::{
        Reader,
        entry::{Entry, Sink},
        parse,
    },
};
use serde::Deserialize;

#[path = "batch/mod.rs"]
mod batch;

struct Dropped;

impl Sink for Dropped {
    fn restart(&mut self) {}
    fn entry(&mut self, _index: usize, entry: &Entry<'_>) {
        black_box(entry);
    }
    fn not_an_object(&mut self, _index: usize) {}
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow)]
    readings: Vec<TypedReading<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "reading them is the point")]
struct TypedReading<'a> {
    id: Option<&'a str>,
    external_id: Option<&'a str>,
    metric: &'a str,
    value: f64,
    unit: Option<&'a str>,
    timestamp: Option<&'a str>,
}

fn benches(c: &mut Criterion) {
    let contract = batch::contract();
    let spaced = contract.replace("\":", "\": ").replace(",\"", ", \"");
    let escaped = contract.replace("\"C\"", "\"\\u00b0C\"");
    let nested = contract.replace("{\"id\"", "{\"x\":[1],\"id\"");
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(batch::READINGS));
    for (name, body, reader) in [
        ("contract", &contract, Reader::Scanner),
        ("spaced", &spaced, Reader::Scanner),
        ("escaped_unit", &escaped, Reader::Scanner),
        ("nested_extra", &nested, Reader::SimdJson),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let parsed = parse(black_box(body.as_bytes()), 500, Parser::Fast, &mut Dropped).expect("a batch");
                assert_eq!(parsed.reader, reader);
            });
        });
    }
    group.bench_function("serde_json_alone", |b| {
        b.iter(|| parse(black_box(contract.as_bytes()), 500, Parser::SerdeJson, &mut Dropped).expect("a batch"));
    });
    let (mut copy, mut buffers) = (Vec::new(), simd_json::Buffers::new(contract.len()));
    group.bench_function("simd_json_typed", |b| {
        b.iter(|| {
            copy.clear();
            copy.extend_from_slice(contract.as_bytes());
            let typed: Typed<'_> = simd_json::serde::from_slice_with_buffers(&mut copy, &mut buffers).expect("a batch");
            black_box(typed.readings.len());
        });
    });
    group.finish();
}

criterion_group!(parse_benches, benches);
criterion_main!(parse_benches);
