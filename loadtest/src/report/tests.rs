use super::figures::Figures;
use super::goals::{median, number, shipped};
use super::*;
use crate::ledger::Verdict;

fn figures(ack_cpu_ns: f64, lost: u64) -> Figures {
    Figures {
        integrations: 1,
        sensors: 1,
        offered_requests_per_s: None,
        measured_s: 10.0,
        acked: 1_000,
        acked_in_all: 1_200,
        rejected: 0,
        acked_requests: 10,
        requests: 10,
        body_bytes_per_request: 59_000.0,
        response: Default::default(),
        service: Default::default(),
        lateness: Default::default(),
        response_curve: vec![(0.0, 300), (0.9, 900), (0.99, 2_000)],
        cpu_ns: ack_cpu_ns + 50.0,
        ack_cpu_ns,
        ticks_cpu_ns: ack_cpu_ns,
        cpu_to_store_ns: f64::NAN,
        by_thread_ns: BTreeMap::from([("http".to_owned(), ack_cpu_ns)]),
        generator_cpu_ns: 30.0,
        cores_busy: 1.0,
        rss_peak_bytes: 50_000_000,
        rss_end_bytes: 40_000_000,
        outcomes: BTreeMap::from([("200".to_owned(), 12)]),
        miscounted: 0,
        miscounted_examples: Vec::new(),
        seconds: vec![Default::default(); 12],
        looks: Vec::new(),
        facts: figures::Facts {
            verdict: Some(Verdict { right: 1_200 - lost, lost, ..Verdict::default() }),
            ..Default::default()
        },
    }
}

fn entry(name: &str, runs: Vec<Figures>) -> Entry {
    Entry { runs, ..Entry::new(Profile::load(name).unwrap()) }
}

#[test]
fn a_ratio_is_taken_round_by_round_and_then_the_median() {
    let ours = entry("main", vec![figures(300.0, 0), figures(900.0, 0), figures(260.0, 0)]);
    let floor = entry("floor_parse", vec![figures(200.0, 0), figures(600.0, 0), figures(200.0, 0)]);
    let report = Report::new(vec![floor, ours], &shipped().unwrap());
    let find = |of: &str, per: Option<&str>| {
        report.goals.iter().find(|goal| goal.of == of && goal.per.as_deref() == per).unwrap()
    };
    let ratio = find("main.ack_cpu_ns", Some("floor_parse.ack_cpu_ns"));
    assert_eq!(ratio.values, [1.5, 1.5, 1.3]);
    assert_eq!((ratio.value, ratio.mark()), (Some(1.5), "miss"));
    let absolute = find("main.ack_cpu_ns", None);
    assert_eq!((absolute.value, absolute.mark()), (Some(300.0), "pass"));
    let missing = find("sensors_1m.ack_cpu_ns", Some("sensors_10k.ack_cpu_ns"));
    assert_eq!((missing.value, missing.mark()), (None, "not run"));
    assert!(report.promises_kept);
}

#[test]
fn a_loss_or_a_failed_run_breaks_the_promise() {
    let goals = shipped().unwrap();
    assert!(!Report::new(vec![entry("main", vec![figures(1.0, 0), figures(1.0, 1)])], &goals).promises_kept);
    let mut failed = entry("main", vec![figures(1.0, 0)]);
    failed.failures.push("round 2: it ended".to_owned());
    assert!(!Report::new(vec![failed], &goals).promises_kept);
    let mut miscounted = figures(1.0, 0);
    miscounted.miscounted = 1;
    assert!(!Report::new(vec![entry("main", vec![miscounted])], &goals).promises_kept);
}

#[test]
fn the_page_stands_alone_and_says_what_happened() {
    let entries = vec![entry("floor_parse", vec![figures(200.0, 0)]), entry("main", vec![figures(300.0, 7)])];
    let report = Report::new(entries, &shipped().unwrap());
    let page = html::page(&report);
    assert!(page.contains("7 lost") && page.contains("floor_parse") && page.contains("<svg"));
    assert!(!page.contains("NaN") && !page.contains("src=") && !page.contains("href=\"http"));
    let svg = html::main_chart(&report).standalone();
    assert!(svg.starts_with("<svg xmlns") && svg.contains("floor_parse") && !svg.contains("prefers-color-scheme"));
    assert!(report.summary().contains("7 lost"));
    serde_json::to_string(&report).unwrap();
}

#[test]
fn medians_and_numbers() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median(Vec::new()), None);
    assert_eq!(number(1.234, ""), "1.23");
    assert_eq!(number(253.4, "ns"), "253 ns");
}
