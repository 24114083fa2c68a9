use super::*;
use crate::plan::tests::plan;

/// 7 sensors with 3 metrics: 21 series; batches of 5.
fn ledger(batches: u64) -> Ledger {
    let mut ledger = Ledger::new(Arc::new(plan(|_| ())));
    for batch in 0..batches {
        assert_eq!(ledger.books[0].open(), batch);
        ledger.books[0].ack(batch, 0);
    }
    ledger
}

/// What an honest server has of series `k`.
fn stored(ledger: &Ledger, k: u64) -> Vec<Row> {
    let plan = &ledger.plan;
    let readings = ledger.books[0].len() * 5;
    (0..readings)
        .filter(|q| q % plan.series_each() == k && ledger.books[0].is_acked(plan.batch_of(*q)))
        .map(|q| plan.reading(0, q, 0))
        .map(|reading| Row { timestamp_us: reading.timestamp_us, value: reading.value() })
        .collect()
}

#[test]
fn an_honest_server_passes() {
    let ledger = ledger(42);
    let mut verdict = Verdict::default();
    for k in 0..21 {
        verdict.add(ledger.compare(0, k, &stored(&ledger, k)));
    }
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.right, verdict.series), (210, 21));
}

#[test]
fn each_kind_of_fault_is_seen() {
    let ledger = ledger(42);
    let good = stored(&ledger, 4);
    let check = |edit: &dyn Fn(&mut Vec<Row>), expected: [u64; 6]| {
        let mut rows = good.clone();
        edit(&mut rows);
        let v = ledger.compare(0, 4, &rows);
        assert_eq!([v.lost, v.doubled, v.wrong_value, v.unexpected, v.disordered, v.foreign], expected, "{v:?}");
        assert_eq!(v.is_clean(), expected[..5].iter().all(|count| *count == 0));
    };
    check(&|_| (), [0; 6]);
    check(&|rows| rows.retain(|row| *row != good[3]), [1, 0, 0, 0, 0, 0]);
    check(&|rows| rows.truncate(9), [1, 0, 0, 0, 0, 0]);
    check(&|rows| rows.clear(), [10, 0, 0, 0, 0, 0]);
    check(&|rows| rows.insert(3, rows[3]), [0, 1, 0, 0, 0, 0]);
    check(&|rows| rows[2].value += 0.1, [0, 0, 1, 0, 0, 0]);
    check(&|rows| rows.swap(1, 2), [0, 0, 0, 0, 1, 0]);
    let late = good[9].timestamp_us + 5 * ledger.plan.step_us;
    check(&|rows| rows.push(Row { timestamp_us: late, value: 1.0 }), [0, 0, 0, 1, 0, 0]);
    check(&|rows| rows.push(Row { timestamp_us: late + 1, value: 1.0 }), [0, 0, 0, 0, 0, 1]);
}

#[test]
fn an_unknown_outcome_may_be_there_or_not_but_not_with_another_value() {
    let mut ledger = ledger(42);
    let q = 21 * 2 + 4;
    let batch = ledger.plan.batch_of(q);
    ledger.books[0].states[batch as usize] = 0;
    ledger.books[0].unknown(batch, 0);
    let mut rows = stored(&ledger, 4);
    assert_eq!(rows.len(), 9);
    let verdict = ledger.compare(0, 4, &rows);
    assert!(verdict.is_clean() && verdict.unknown_absent == 1 && verdict.right == 9);
    let reading = ledger.plan.reading(0, q, 0);
    rows.insert(2, Row { timestamp_us: reading.timestamp_us, value: reading.value() });
    let verdict = ledger.compare(0, 4, &rows);
    assert!(verdict.is_clean() && verdict.unknown_present == 1);
    rows[2].value += 1.0;
    assert_eq!(ledger.compare(0, 4, &rows).wrong_value, 1);
    // Retried with the same body until acked: now it must be there.
    ledger.books[0].ack(batch, 0);
    assert_eq!(ledger.compare(0, 4, &rows[..2]).lost, 8);
}

#[test]
fn a_refused_batch_must_not_be_there() {
    let mut ledger = ledger(42);
    let rows = stored(&ledger, 4);
    let batch = ledger.plan.batch_of(21 * 2 + 4);
    ledger.books[0].states[batch as usize] = 0;
    assert_eq!(ledger.compare(0, 4, &rows).unexpected, 1);
}

#[test]
fn the_later_revision_wins_once_it_is_acked() {
    let mut book = Book::default();
    book.open();
    book.ack(0, 0);
    book.unknown(0, 0);
    assert_eq!(book.expectation(0), Expectation::Present([true, false]), "a resend of the same changes nothing");
    book.unknown(0, 1);
    assert_eq!(book.expectation(0), Expectation::Present([true, true]));
    book.ack(0, 1);
    assert_eq!(book.expectation(0), Expectation::Present([false, true]));
    assert_eq!(book.expectation(1), Expectation::Absent);
}

#[test]
fn a_broken_entry_must_not_be_there() {
    let mut ledger = Ledger::new(Arc::new(plan(|profile| profile.data.bad_share = 0.5)));
    for batch in 0..42 {
        ledger.books[0].open();
        ledger.books[0].ack(batch, 0);
    }
    let verdict = ledger.compare(0, 4, &stored(&ledger, 4));
    let broken = (0..10).filter(|tick| ledger.plan.reading(0, tick * 21 + 4, 0).fault.is_some()).count() as u64;
    assert!(broken > 0);
    assert_eq!((verdict.unexpected, verdict.right), (broken, 10 - broken));
}
