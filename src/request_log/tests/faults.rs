//! A disk that does not work, a file that is broken, a process that is killed: readings never notice.

use std::fs;

use super::{Bench, config, now_us, own, refusal, request};
use crate::{
    journal::Journal,
    model::IntegrationId,
    request_log::{
        Config, RequestLog,
        file::{self, FILE},
        retention,
    },
    telemetry::health::Health,
};

// A file that is none is set aside; the log begins anew, and what was recorded meanwhile is in it.
#[tokio::test]
async fn a_broken_file_is_set_aside() {
    let (dir, id) = (tempfile::tempdir().unwrap(), IntegrationId::generate());
    fs::write(dir.path().join(FILE), vec![0x5a; 8_192]).unwrap();
    let log = RequestLog::start(dir.path(), &config(), Health::default()).unwrap();
    log.record(&request(id, now_us()));
    assert_eq!(log.search(own(id), None, 10).await.unwrap().entries.len(), 1);
    let aside = fs::read_dir(dir.path()).unwrap().filter_map(Result::ok).any(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.starts_with(FILE) && name.contains("broken")
    });
    assert!(aside, "the broken file is kept");
}

// Without a place to write the log waits, says so as degraded and not as unready, and goes on once there is one.
#[tokio::test]
async fn a_disk_that_does_not_work_is_waited_for() {
    let (bench, id) = (Bench::new(), IntegrationId::generate());
    bench.log.record(&request(id, now_us()));
    bench.log.search(own(id), None, 1).await.unwrap();
    let path = bench.dir.path().join(FILE);
    bench.log.stop().await;
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let health = Health::default();
    let log = RequestLog::start(bench.dir.path(), &config(), health.clone()).unwrap();
    log.record(&request(id, now_us()));
    assert!(log.search(own(id), None, 10).await.is_err());
    assert_eq!(health.degradations().len(), 1);
    assert!(health.complaints().is_empty());
    fs::remove_dir(&path).unwrap();
    assert_eq!(log.search(own(id), None, 10).await.unwrap().entries.len(), 1);
    assert!(health.degradations().is_empty());
}

// What was written but not summed before a kill is summed at the next start, once.
#[tokio::test]
async fn sums_catch_up_after_a_kill() {
    let (bench, id) = (Bench::with(&Config { flush_ms: 10, ..config() }), IntegrationId::generate());
    let begin = now_us();
    bench.log.record(&request(id, begin));
    assert_eq!(bench.log.traffic(id, begin, begin + 1).await.unwrap().requests, 1);
    for n in 0..700 {
        bench.log.record(&refusal(id, begin + n, 429, "rate_limited"));
    }
    // A copy of the files while the log is at work is what a kill leaves.
    let copy = tempfile::tempdir().unwrap();
    let is_written = || {
        for suffix in ["", "-wal"] {
            fs::copy(bench.dir.path().join(format!("{FILE}{suffix}")), copy.path().join(format!("{FILE}{suffix}")))
                .unwrap();
        }
        let connection = rusqlite::Connection::open(copy.path().join(FILE)).unwrap();
        connection.query_row("SELECT value FROM meta WHERE name = 'next_seq'", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    while is_written() < 701 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let revived = RequestLog::start(copy.path(), &config(), Health::default()).unwrap();
    let traffic = revived.traffic(id, begin, begin + 1).await.unwrap();
    assert_eq!((traffic.requests, traffic.rate_limited), (701, 700));
    revived.record(&request(id, begin));
    assert_eq!(revived.traffic(id, begin, begin + 1).await.unwrap().requests, 702);
}

// Old requests go by age and by size; the sums stay (A41).
#[tokio::test]
async fn requests_go_and_sums_stay() {
    let small = Config { bytes_max: 200_000, flush_ms: 10, ..config() };
    let (bench, id) = (Bench::with(&small), IntegrationId::generate());
    let now = now_us();
    let long_ago = now - 100 * 86_400_000_000;
    for _ in 0..600 {
        bench.log.record(&request(id, long_ago));
    }
    bench.log.search(own(id), None, 1).await.unwrap();
    for n in 0..30_000 {
        bench.log.record(&request(id, now + n));
        if n % 5_000 == 0 {
            bench.log.search(own(id), None, 1).await.unwrap();
        }
    }
    assert_eq!(bench.log.traffic(id, long_ago, long_ago + 1).await.unwrap().requests, 600);
    let bench = bench.restarted_with(&small).await;
    let connection = file::open_to_read(&bench.dir.path().join(FILE)).unwrap();
    while retention::used(&connection).unwrap() > small.bytes_max {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let found = bench.log.search(own(id), None, 100_000).await.unwrap().entries;
    assert!(!found.is_empty() && found.len() < 30_000, "the newest stay: {}", found.len());
    assert!(found.iter().all(|entry| entry.at_us >= now));
    assert_eq!(bench.log.traffic(id, now, now + 30_000).await.unwrap().requests, 30_000);
}
