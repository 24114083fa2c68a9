//! The log on a directory of its own, with records as the edges make them.

mod faults;

use std::{net::IpAddr, time::Duration};

use tempfile::TempDir;

use super::{Config, Filter, RequestLog, Traffic};
use crate::{
    auth::RateState,
    journal::{Counts, Journal, Record, Stored},
    model::{
        Contents, EntryCode, IntegrationId, MetricNumber, Quality, Reading, RejectedEntry, RequestId, Scope, SeriesId,
        equipment::EquipmentNumber,
    },
    telemetry::health::Health,
};

/// A minute that lies well within its hour.
const MINUTE_US: i64 = 60_000_000;

pub(super) fn config() -> Config {
    let file: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
    file["request_log"].clone().try_into().unwrap()
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// A log, and what keeps it.
pub(super) struct Bench {
    pub(super) log: RequestLog,
    pub(super) health: Health,
    pub(super) dir: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(&config())
    }

    pub(super) fn with(config: &Config) -> Self {
        let (dir, health) = (tempfile::tempdir().unwrap(), Health::default());
        let log = RequestLog::start(dir.path(), config, health.clone()).unwrap();
        Self { log, health, dir }
    }

    /// Ends the log and begins it anew on the same directory.
    pub(super) async fn restarted(self) -> Self {
        self.restarted_with(&config()).await
    }

    pub(super) async fn restarted_with(self, config: &Config) -> Self {
        let Self { log, health, dir } = self;
        log.stop().await;
        Self { log: RequestLog::start(dir.path(), config, health.clone()).unwrap(), health, dir }
    }
}

/// A good request of `id` at `at_us`.
pub(super) fn request(id: IntegrationId, at_us: i64) -> Record<'static> {
    Record {
        transport: "http",
        request_id: RequestId::generate(),
        client_request_id: None,
        at_us,
        integration_id: Some(id),
        key_generation: Some(1),
        addr: IpAddr::from([192, 0, 2, 1]),
        method: "POST",
        route: "readings",
        scope: Some(Scope::SensorsWrite),
        granted: Some(true),
        status: 200,
        code: None,
        cause: None,
        message: None,
        latency: Duration::from_micros(750),
        body_bytes: 1_234,
        readings: Some(Counts { received: 2, accepted: 2, duplicates: 1, rejected: 0 }),
        rejected: &[],
        rate: Some(RateState { limit: 60, remaining: 59, reset_s: 1_767_607_260 }),
    }
}

/// A refusal with this status, code and cause.
pub(super) fn refusal(id: IntegrationId, at_us: i64, status: u16, cause: &'static str) -> Record<'static> {
    Record {
        status,
        code: Some(cause),
        cause: Some(cause),
        message: Some("Do something else."),
        granted: (cause == "insufficient_scope").then_some(false),
        readings: None,
        ..request(id, at_us)
    }
}

fn own(id: IntegrationId) -> Filter {
    Filter { integrations: vec![id], ..Filter::default() }
}

// S295, S297: what was recorded comes back whole, and at once.
#[tokio::test]
async fn an_entry_comes_back_as_it_was() {
    let (bench, id) = (Bench::new(), IntegrationId::generate());
    let rejected = [RejectedEntry {
        index: 7,
        code: EntryCode::ValueOutOfRange,
        external_id: Some("AA:BB:01".into()),
        equipment_id: None,
        metric: Some("humidity".into()),
        timestamp_us: Some(-5),
    }];
    let addr: IpAddr = "2001:db8::7".parse().unwrap();
    let record = Record {
        client_request_id: Some("mine-1"),
        addr,
        readings: Some(Counts { received: 9, accepted: 8, duplicates: 2, rejected: 1 }),
        rejected: &rejected,
        ..refusal(id, now_us(), 207, "")
    };
    bench.log.record(&record);
    let found = bench.log.search(own(id), None, 10).await.unwrap();
    let entry = &found.entries[0];
    assert_eq!((entry.request_id, entry.integration_id, entry.addr), (record.request_id, Some(id), addr));
    assert_eq!((entry.at_us, entry.latency_us, entry.body_bytes), (record.at_us, 750, 1_234));
    assert_eq!((entry.client_request_id.as_deref(), entry.message.as_deref()), (Some("mine-1"), record.message));
    assert_eq!((entry.scope.as_deref(), entry.granted, entry.key_generation), (Some("sensors:write"), None, Some(1)));
    assert_eq!((entry.counts, entry.rate), (record.readings, Some((60, 59, 1_767_607_260))));
    let kept = &entry.rejected[0];
    assert_eq!((kept.index, kept.code.as_str(), kept.timestamp_us), (7, "value_out_of_range", Some(-5)));
    assert_eq!((kept.external_id.as_deref(), kept.metric.as_deref()), (Some("AA:BB:01"), Some("humidity")));
    assert_eq!((found.entries.len(), found.next_before), (1, None));
}

// S290, S299: pages in a stable order while others are added, over many blocks, none missing and none twice.
#[tokio::test]
async fn pages_hold_everything_once() {
    let (bench, id, other) = (Bench::new(), IntegrationId::generate(), IntegrationId::generate());
    let begin = now_us();
    let mut recorded = Vec::new();
    for n in 0..3_000 {
        let record = request(id, begin + n);
        recorded.push(record.request_id);
        bench.log.record(&record);
        if n % 3 == 0 {
            bench.log.record(&request(other, begin + n));
        }
        if n % 500 == 0 {
            bench.log.search(own(id), None, 1).await.unwrap();
        }
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = bench.log.search(own(id), before, 170).await.unwrap();
        seen.extend(page.entries.iter().map(|entry| entry.request_id));
        bench.log.record(&request(id, begin + 10_000));
        match page.next_before {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    recorded.reverse();
    assert_eq!(seen, recorded);
    for (name, id) in [("first", recorded[2_999]), ("last", recorded[0])] {
        let (found, _) = bench.log.find(Filter { request_id: Some(id), ..own(other) }).await.unwrap().unzip();
        assert!(found.is_none(), "{name}: another's is not found");
    }
}

// S236, S316, S317, S319, S320: what a review reads, exact, and the same after a restart.
#[tokio::test]
async fn traffic_is_counted_by_scope_status_minute_day_and_address() {
    let (bench, id) = (Bench::new(), IntegrationId::generate());
    let hour = now_us() / 3_600_000_000 * 3_600_000_000 - 7_200_000_000;
    for minute in 0..10 {
        for n in 0..=minute {
            bench.log.record(&request(id, hour + minute * MINUTE_US + n));
        }
    }
    let far: IpAddr = [203, 0, 113, 9].into();
    for n in 0..5 {
        bench.log.record(&refusal(id, hour + 9 * MINUTE_US + n, 429, "rate_limited"));
        bench.log.record(&Record { addr: far, ..refusal(id, hour + n, 401, "key_superseded") });
    }
    let equipment = Record { scope: Some(Scope::EquipmentRead), ..refusal(id, hour, 403, "insufficient_scope") };
    bench.log.record(&equipment);
    let traffic = bench.log.traffic(id, hour, hour + 1).await.unwrap();
    assert_eq!((traffic.requests, traffic.refused, traffic.charged), (66, 11, 56));
    assert_eq!((traffic.peak_rpm, traffic.p95_rpm, traffic.rate_limited), (15, 15, 5));
    // 55 good ones, 5 over the limit and the one without the scope, over ten minutes.
    assert!((traffic.mean_rpm - 6.1).abs() < 1e-9, "{}", traffic.mean_rpm);
    assert_eq!(traffic.busiest_day.map(|(_, used)| used), Some(56));
    assert_eq!((traffic.accepted, traffic.duplicates), (110, 55));
    let scopes: Vec<_> = traffic.scopes.iter().map(|sum| (sum.scope.as_str(), sum.uses, sum.denied)).collect();
    assert_eq!(scopes, [("equipment:read", 0, 1), ("sensors:write", 55, 0)]);
    assert_eq!(traffic.scopes[1].last_used_us, hour + 9 * MINUTE_US + 9);
    let addresses: Vec<_> = traffic.addresses.iter().map(|sum| (sum.addr, sum.requests, sum.refused)).collect();
    assert_eq!(addresses, [([192, 0, 2, 1].into(), 61, 6), (far, 5, 5)]);
    assert_eq!((traffic.first_us, traffic.last_us), (Some(hour), Some(hour + 9 * MINUTE_US + 9)));
    let superseded = traffic.outcomes.iter().find(|outcome| outcome.cause == "key_superseded").unwrap();
    assert_eq!((superseded.status, superseded.count), (401, 5));
    let bench = bench.restarted().await;
    assert_eq!(bench.log.traffic(id, hour, hour + 1).await.unwrap(), traffic);
    let nothing = bench.log.traffic(IntegrationId::generate(), hour, hour + 1).await.unwrap();
    assert_eq!(nothing, Traffic { from_us: traffic.from_us, to_us: traffic.to_us, ..Traffic::default() });
}

// S298: requests of nobody in particular are kept within their limit, and nobody else finds them.
#[tokio::test]
async fn strangers_are_bounded_and_apart() {
    let bench = Bench::with(&Config { unattributed_per_minute: 10, ..config() });
    let id = IntegrationId::generate();
    let at_us = now_us();
    for _ in 0..50 {
        bench.log.record(&Record { integration_id: None, ..refusal(id, at_us, 401, "key_unknown") });
    }
    bench.log.record(&refusal(id, at_us, 401, "key_superseded"));
    let count = |filter: Filter| {
        let log = bench.log.clone();
        async move { log.search(filter, None, 100).await.unwrap().entries.len() }
    };
    assert_eq!(count(own(id)).await, 1);
    assert_eq!(count(Filter { with_unattributed: true, ..own(id) }).await, 11);
    assert_eq!(count(Filter { with_unattributed: true, ..Filter::default() }).await, 10);
}

// S290–S294: every filter holds back exactly the others.
#[tokio::test]
async fn filters_find_what_they_say() {
    let (bench, id) = (Bench::new(), IntegrationId::generate());
    let noon = now_us() / 86_400_000_000 * 86_400_000_000 - 43_200_000_000;
    let wanted = Record {
        client_request_id: Some("theirs"),
        transport: "mqtt",
        addr: [10, 1, 2, 3].into(),
        scope: Some(Scope::EquipmentWrite),
        ..refusal(id, noon, 403, "insufficient_scope")
    };
    bench.log.record(&wanted);
    for n in 0..20 {
        bench.log.record(&request(id, noon + 3_600_000_000 + n));
    }
    let filters: [(&str, Filter); 10] = [
        ("status", Filter { status: Some((400, 499)), ..own(id) }),
        ("code", Filter { code: Some("insufficient_scope".to_owned()), ..own(id) }),
        ("cause", Filter { cause: Some("insufficient_scope".to_owned()), ..own(id) }),
        ("network", Filter { network: Some("10.0.0.0/8".parse().unwrap()), ..own(id) }),
        ("scope", Filter { scope: Some("equipment:write".to_owned()), ..own(id) }),
        ("transport", Filter { transport: Some("mqtt".to_owned()), ..own(id) }),
        ("to", Filter { to_us: Some(noon + 1), ..own(id) }),
        ("hours", Filter { hours: Some((12, 13)), ..own(id) }),
        ("client_request_id", Filter { client_request_id: Some("theirs".to_owned()), ..own(id) }),
        ("request_id", Filter { to_us: None, from_us: None, ..own(id) }),
    ];
    for (name, filter) in filters {
        let found = bench.log.search(filter, None, 100).await.unwrap().entries;
        let expected = if name == "request_id" { 21 } else { 1 };
        assert_eq!(found.len(), expected, "{name}");
        assert_eq!(found.last().map(|entry| entry.request_id), Some(wanted.request_id), "{name}");
    }
}

/// A reading of equipment 5, metric 1.
fn reading(timestamp_us: i64) -> Reading {
    let series = SeriesId::new(EquipmentNumber(5), MetricNumber(1));
    Reading { series, timestamp_us, value: 1.0, quality: Quality::Good }
}

// S295: a request is found by its id, with what it stored.
#[tokio::test]
async fn a_request_is_found_with_its_batch() {
    let (bench, id) = (Bench::new(), IntegrationId::generate());
    let record = request(id, now_us());
    let contents = Contents::of(&[reading(1), reading(2)], 0);
    bench.log.stored(&Stored {
        request_id: record.request_id,
        integration_id: id,
        received_at_us: record.at_us,
        position: 77,
        accepted: 2,
        contents: &contents,
    });
    bench.log.record(&record);
    let filter = Filter { request_id: Some(record.request_id), ..own(id) };
    let (entry, batch) = bench.log.find(filter).await.unwrap().unwrap();
    assert_eq!(entry.request_id, record.request_id);
    let batch = batch.unwrap();
    assert_eq!((batch.position, batch.accepted, batch.contents), (77, 2, contents));
}
