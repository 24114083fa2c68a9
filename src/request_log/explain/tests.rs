//! Every cause and every code has a check that refused it, a meaning and an advice.

use crate::{
    auth::Cause,
    journal::Counts,
    model::{IntegrationId, ProblemCode, RequestId},
    request_log::{Check, Entry, Explanation, Verdict, explain},
};

fn entry(status: u16, code: &str, cause: &str) -> Entry {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Entry {
        seq: 0,
        request_id: RequestId::generate(),
        client_request_id: None,
        integration_id: Some(IntegrationId::generate()),
        key_generation: Some(1),
        at_us: 0,
        latency_us: 0,
        transport: "http".to_owned(),
        addr: [203, 0, 113, 9].into(),
        method: "POST".to_owned(),
        route: "readings".to_owned(),
        scope: some("sensors:write"),
        granted: None,
        status,
        code: some(code),
        cause: some(cause),
        message: None,
        body_bytes: 10,
        counts: None,
        rejected: Vec::new(),
        rate: Some((60, 0, 1_767_607_260)),
    }
}

fn failed(explanation: &Explanation) -> Vec<&'static str> {
    explanation.checks.iter().filter(|check| check.verdict == Verdict::Failed).map(|check| check.name).collect()
}

const CAUSES: [(Cause, ProblemCode, &str); 13] = [
    (Cause::MissingCredential, ProblemCode::MissingCredential, "credentials_present"),
    (Cause::TooManyFailures, ProblemCode::TooManyFailures, "failure_limiter"),
    (Cause::Token("expired"), ProblemCode::TokenExpired, "token"),
    (Cause::KeyMalformed, ProblemCode::Unauthorized, "api_key"),
    (Cause::KeyUnknown, ProblemCode::Unauthorized, "api_key"),
    (Cause::KeySuperseded, ProblemCode::Unauthorized, "key_generation"),
    (Cause::IntegrationNotActive, ProblemCode::Unauthorized, "integration_status"),
    (Cause::CredentialMismatch, ProblemCode::Unauthorized, "client_binding"),
    (Cause::IpNotAllowed, ProblemCode::IpNotAllowed, "ip_allowlist"),
    (Cause::RateLimited, ProblemCode::RateLimited, "rate_window"),
    (Cause::DailyQuotaExceeded, ProblemCode::DailyQuotaExceeded, "daily_quota"),
    (Cause::InsufficientScope, ProblemCode::InsufficientScope, "scope"),
    (Cause::ChangedInFlight, ProblemCode::Unauthorized, "status_and_key_again"),
];

// S326, S328: the exact check that refused, everything before it passed, nothing behind it reached.
#[test]
fn every_cause_fails_its_own_check() {
    for (cause, code, check) in CAUSES {
        let explanation = explain(&entry(code.status(), code.code(), cause.as_str()), None);
        assert_eq!(failed(&explanation), [check], "{cause:?}");
        let place = explanation.checks.iter().position(|one| one.name == check).unwrap();
        let (before, behind) = (&explanation.checks[..place], &explanation.checks[place + 1..]);
        assert!(before.iter().all(|check| check.verdict == Verdict::Passed), "{cause:?}: {before:?}");
        assert!(behind.iter().all(|check| check.verdict == Verdict::NotReached), "{cause:?}: {behind:?}");
        assert!(!explanation.advice.is_empty() && !explanation.summary.is_empty(), "{cause:?}");
    }
    let meanings: std::collections::HashSet<_> = CAUSES
        .iter()
        .map(|(cause, code, _)| explain(&entry(code.status(), code.code(), cause.as_str()), None).summary)
        .collect();
    assert_eq!(meanings.len(), CAUSES.len(), "each cause is told apart");
}

// Every refusal of ingest and of the edges, by its code alone.
#[test]
fn every_code_of_the_integration_api_is_explained() {
    for problem in ProblemCode::ALL {
        let explanation = explain(&entry(problem.status(), problem.code(), problem.code()), None);
        assert_eq!(failed(&explanation).len(), usize::from(*problem != ProblemCode::Internal), "{problem:?}");
        assert!(!explanation.advice.is_empty(), "{problem:?}");
    }
}

fn check<'a>(explanation: &'a Explanation, name: &str) -> &'a Check {
    explanation.checks.iter().find(|check| check.name == name).unwrap()
}

// S328: what was observed stands with the check.
#[test]
fn what_was_observed_is_told() {
    let refused = explain(&entry(403, "ip_not_allowed", "ip_not_allowed"), None);
    assert!(check(&refused, "ip_allowlist").detail.contains("203.0.113.9"));
    let limited = explain(&entry(429, "rate_limited", "rate_limited"), None);
    assert_eq!(check(&limited, "rate_window").detail, "limit 60, 0 left, reset at 2026-01-05T10:01:00Z");
    let denied = Entry { granted: Some(false), ..entry(403, "insufficient_scope", "insufficient_scope") };
    assert_eq!(check(&explain(&denied, None), "scope").detail, "sensors:write is needed and was not granted.");
}

#[test]
fn what_went_well_passed_everything() {
    let counts = Some(Counts { received: 3, accepted: 2, duplicates: 0, rejected: 1 });
    let partial = Entry { granted: Some(true), counts, ..entry(207, "", "") };
    let explanation = explain(&partial, None);
    assert!(explanation.checks.iter().all(|check| check.verdict == Verdict::Passed), "{:?}", explanation.checks);
    assert_eq!(explanation.summary, "Answered 207: 1 of 3 readings were rejected.");
    let page = Entry {
        integration_id: None,
        key_generation: None,
        scope: None,
        route: "pages".to_owned(),
        ..entry(200, "", "")
    };
    let verdicts = explain(&page, None);
    assert_eq!(check(&verdicts, "token").verdict, Verdict::NotApplicable);
    let connect = Entry { method: "CONNECT".to_owned(), granted: Some(true), ..entry(200, "", "") };
    let verdicts = explain(&connect, None);
    assert_eq!(check(&verdicts, "rate_window").verdict, Verdict::NotApplicable);
    assert_eq!(check(&verdicts, "scope").verdict, Verdict::Passed);
}
