//! Whether a PUBACK and its result say what they should about the batch that they are for.

use serde::Deserialize;

use super::answer::{self, Judged};
use crate::connection::Answer;
use crate::measure::End;
use crate::mqtt::packet::Reason;
use crate::mqtt::session::Receipt;
use crate::plan::Plan;

#[derive(Debug, Deserialize)]
struct Status {
    /// Of a problem; the counts of a judged batch have none.
    status: Option<u16>,
    #[serde(default)]
    accepted: u32,
    #[serde(default)]
    rejected: u32,
}

/// How a publish ended. `wanted_result` says whether the session had subscribed.
pub(super) fn judge(receipt: &Receipt, plan: &Plan, wanted_result: bool, batch: (u32, u64)) -> Judged {
    let mut judged = match &receipt.result {
        Some(result) => judge_result(receipt, result, plan, batch),
        None => judge_reason(receipt, plan, wanted_result, batch),
    };
    judged.label = format!("mqtt {}", judged.label);
    if !receipt.is_in_order {
        judged.misfit.get_or_insert_with(|| format!("batch {batch:?}: its PUBACK came out of order"));
    }
    judged
}

fn judge_result(receipt: &Receipt, result: &bytes::Bytes, plan: &Plan, batch: (u32, u64)) -> Judged {
    let Some(status) = status_of(result) else {
        let misfit = Some(format!("batch {batch:?}: its result is neither counts nor a problem"));
        return Judged { end: End::Unknown, label: "unreadable result".to_owned(), misfit };
    };
    let answer = Answer { status, accepted: None, rejected: None, retry_after: None, body: result.clone() };
    let mut judged = answer::judge(&answer, plan, false, batch);
    if let Some(reason) = receipt.reason
        && Some(reason) != reason_for(status)
    {
        judged.misfit.get_or_insert_with(|| format!("batch {batch:?}: PUBACK {reason:?} with a result of {status}"));
    }
    judged
}

/// The status that HTTP would have answered.
fn status_of(result: &[u8]) -> Option<u16> {
    let Status { status, accepted, rejected } = serde_json::from_slice(result).ok()?;
    status.or(match (accepted, rejected) {
        (0, 0) => None,
        (_, 0) => Some(200),
        (0, _) => Some(422),
        _ => Some(207),
    })
}

/// The reason that belongs to a status. What cannot be stored now is not acknowledged at all.
fn reason_for(status: u16) -> Option<Reason> {
    match status {
        200 | 207 => Some(Reason::Success),
        400 | 413 | 415 | 422 => Some(Reason::PayloadFormatInvalid),
        401 | 403 => Some(Reason::NotAuthorized),
        429 => Some(Reason::QuotaExceeded),
        _ => None,
    }
}

fn judge_reason(receipt: &Receipt, plan: &Plan, wanted_result: bool, batch: (u32, u64)) -> Judged {
    let rejected = plan.faults_in(batch.0, batch.1);
    let accepted = plan.readings_per_batch - rejected;
    let (end, label) = match receipt.reason {
        // Over 3.1.1 a PUBACK says the same for a refusal; only who listens to the results knows.
        None if wanted_result => (End::Unknown, "PUBACK without its result".to_owned()),
        None => (End::Acked { accepted, rejected }, "PUBACK".to_owned()),
        Some(Reason::Success) if wanted_result => {
            (End::Acked { accepted, rejected }, "PUBACK without its result".to_owned())
        }
        Some(Reason::Success) => (End::Acked { accepted, rejected }, "PUBACK".to_owned()),
        Some(reason @ Reason::QuotaExceeded) => (End::Refused, format!("PUBACK {reason:?}")),
        Some(reason) => (End::Failed, format!("PUBACK {reason:?}")),
    };
    let misfit = receipt.is_overdue.then(|| format!("batch {batch:?}: acknowledged, but its result never came"));
    Judged { end, label, misfit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    fn receipt(reason: Option<Reason>, result: Option<&'static str>) -> Receipt {
        Receipt { reason, is_in_order: true, is_overdue: false, result: result.map(|text| text.as_bytes().into()) }
    }

    const STORED: &str = r#"{"request_id":"r","received":5,"accepted":5,"duplicates":0,"rejected":0,"errors":[]}"#;
    const LIMITED: &str = r#"{"status":429,"code":"rate_limited","request_id":"r"}"#;

    #[test]
    fn a_receipt_ends_as_the_contract_says() {
        let plan = plan(|_| ());
        let stored = End::Acked { accepted: 5, rejected: 0 };
        for (reason, result, wanted, end) in [
            (Some(Reason::Success), Some(STORED), true, stored),
            (None, Some(STORED), true, stored),
            (Some(Reason::QuotaExceeded), Some(LIMITED), true, End::Refused),
            (None, Some(LIMITED), true, End::Refused),
            (Some(Reason::Success), None, false, stored),
            (None, None, false, stored),
            // Over 5 the PUBACK is the promise, over 3.1.1 it is one together with the result.
            (Some(Reason::Success), None, true, stored),
            (None, None, true, End::Unknown),
            (Some(Reason::QuotaExceeded), None, false, End::Refused),
            (Some(Reason::NotAuthorized), None, false, End::Failed),
        ] {
            let judged = judge(&receipt(reason, result), &plan, wanted, (0, 0));
            assert_eq!((judged.end, &judged.misfit), (end, &None), "{reason:?} {result:?}");
        }
    }

    #[test]
    fn a_reason_that_does_not_fit_the_result_and_a_puback_out_of_order_are_seen() {
        let plan = plan(|_| ());
        for (reason, result) in [
            (Reason::Success, LIMITED),
            (Reason::QuotaExceeded, STORED),
            (Reason::Success, r#"{"status":503,"code":"spool_full"}"#),
        ] {
            assert!(judge(&receipt(Some(reason), Some(result)), &plan, true, (0, 0)).misfit.is_some(), "{result}");
        }
        let late = Receipt { is_in_order: false, ..receipt(Some(Reason::Success), Some(STORED)) };
        assert!(judge(&late, &plan, true, (0, 0)).misfit.is_some());
        let overdue = Receipt { is_overdue: true, ..receipt(Some(Reason::Success), None) };
        assert!(judge(&overdue, &plan, true, (0, 0)).misfit.is_some());
    }
}
