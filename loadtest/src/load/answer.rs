//! Whether an answer says what it should about the batch it answers.

use serde::Deserialize;

use crate::connection::Answer;
use crate::measure::End;
use crate::plan::Plan;

#[derive(Debug, Deserialize)]
struct BatchResult {
    received: u32,
    accepted: u32,
    rejected: u32,
    #[serde(default)]
    errors: Vec<EntryError>,
}

#[derive(Debug, Deserialize)]
struct EntryError {
    index: u32,
}

#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
}

/// How a batch ended.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) end: End,
    /// What it is counted under.
    pub(super) label: String,
    /// What does not fit in the answer, if anything.
    pub(super) misfit: Option<String>,
}

/// How a request ended. A `trusting` judge takes a 2xx at its word.
pub(super) fn judge(answer: &Answer, plan: &Plan, trusting: bool, batch: (u32, u64)) -> Judged {
    let (end, label) = end_of(answer, plan.readings_per_batch, trusting);
    let misfit = if trusting { None } else { misfit(answer, end, plan, batch) };
    Judged { end, label, misfit }
}

fn end_of(answer: &Answer, readings: u32, trusting: bool) -> (End, String) {
    let status = answer.status;
    match status {
        200..300 | 422 if trusting && status != 422 => {
            (End::Acked { accepted: readings, rejected: 0 }, status.to_string())
        }
        200 | 207 | 422 => match counts(answer) {
            Some((accepted, rejected)) => (End::Acked { accepted, rejected }, status.to_string()),
            None => (End::Failed, label(answer)),
        },
        429 | 503 => (End::Refused, label(answer)),
        400..500 => (End::Failed, label(answer)),
        _ => (End::Unknown, label(answer)),
    }
}

fn misfit(answer: &Answer, end: End, plan: &Plan, (integration, batch): (u32, u64)) -> Option<String> {
    let End::Acked { accepted, rejected } = end else { return None };
    let faults = plan.faults_in(integration, batch);
    let expected_status = match faults {
        0 => 200,
        all if all == plan.readings_per_batch => 422,
        _ => 207,
    };
    let fits = accepted == plan.readings_per_batch - faults && rejected == faults && answer.status == expected_status;
    if fits && faults == 0 {
        return None;
    }
    let result: Option<BatchResult> = serde_json::from_slice(&answer.body).ok();
    let listed: Option<Vec<u32>> = result.as_ref().map(|result| result.errors.iter().map(|e| e.index).collect());
    let wanted: Vec<u32> = plan
        .batch(integration, batch, 0)
        .enumerate()
        .filter(|(_, reading)| reading.fault.is_some())
        .map(|(index, _)| index as u32)
        .collect();
    let counts_agree = result.is_some_and(|result| {
        result.accepted == accepted && result.rejected == rejected && result.received == accepted + rejected
    });
    if fits && counts_agree && listed.as_ref() == Some(&wanted) {
        return None;
    }
    Some(format!(
        "batch {batch} of integration {integration}: status {}, accepted {accepted}, rejected {rejected}, \
         errors at {listed:?}; expected status {expected_status}, {faults} rejected at {wanted:?}",
        answer.status
    ))
}

fn counts(answer: &Answer) -> Option<(u32, u32)> {
    if let (Some(accepted), Some(rejected)) = (answer.accepted, answer.rejected) {
        return Some((accepted, rejected));
    }
    let result: BatchResult = serde_json::from_slice(&answer.body).ok()?;
    Some((result.accepted, result.rejected))
}

fn label(answer: &Answer) -> String {
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => format!("{} {}", answer.status, problem.code),
        Err(_) => answer.status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, accepted: None, rejected: None, retry_after: None, body: body.to_owned().into() }
    }

    #[test]
    fn statuses_end_as_the_contract_says() {
        let counted = r#"{"received":5,"accepted":4,"rejected":1,"errors":[{"index":2}]}"#;
        for (status, body, end, label) in [
            (200, r#"{"received":5,"accepted":5,"rejected":0}"#, End::Acked { accepted: 5, rejected: 0 }, "200"),
            (207, counted, End::Acked { accepted: 4, rejected: 1 }, "207"),
            (429, r#"{"code":"rate_limited"}"#, End::Refused, "429 rate_limited"),
            (503, r#"{"code":"spool_full"}"#, End::Refused, "503 spool_full"),
            (401, r#"{"code":"unauthorized"}"#, End::Failed, "401 unauthorized"),
            (422, r#"{"code":"idempotency_key_reused"}"#, End::Failed, "422 idempotency_key_reused"),
            (500, "oops", End::Unknown, "500"),
        ] {
            assert_eq!(end_of(&answer(status, body), 5, false), (end, label.to_owned()));
        }
        assert_eq!(end_of(&answer(204, ""), 5, true).0, End::Acked { accepted: 5, rejected: 0 });
    }

    #[test]
    fn a_wrong_index_or_count_is_seen() {
        let plan = plan(|profile| profile.data.bad_share = 0.25);
        let batch = (0..).find(|batch| plan.faults_in(0, *batch) == 1).unwrap();
        let index = plan.batch(0, batch, 0).position(|reading| reading.fault.is_some()).unwrap();
        let body = |index| format!(r#"{{"received":5,"accepted":4,"rejected":1,"errors":[{{"index":{index}}}]}}"#);
        let check = |status, body: &str| judge(&answer(status, body), &plan, false, (0, batch)).misfit;
        assert_eq!(check(207, &body(index)), None);
        assert!(check(207, &body(index + 1)).is_some());
        assert!(check(200, &body(index)).is_some());
        assert!(check(200, r#"{"received":5,"accepted":5,"rejected":0,"errors":[]}"#).is_some());
    }
}
