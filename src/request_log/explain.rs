//! One request explained: every check of `api.md` §3 in its order, how it went, and what an administrator can do.

use super::{Batch, Entry};
use crate::{journal::BRIDGE_ROUTE, model::ProblemCode};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It let the request through.
    Passed,
    /// It refused it.
    Failed,
    /// The request was refused, or its caller gone, before.
    NotReached,
    /// Requests of this kind are not checked for it.
    NotApplicable,
}

impl Verdict {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotReached => "not_reached",
            Self::NotApplicable => "not_applicable",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, from a closed set.
    pub name: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was observed.
    pub detail: String,
}

/// A request explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The checks in their order.
    pub checks: Vec<Check>,
    /// What happened, in a sentence.
    pub summary: String,
    /// What an administrator can do; empty where nothing has to be done.
    pub advice: Vec<&'static str>,
}

macro_rules! steps {
    ($($step:ident $name:literal;)*) => {
        /// The checks, in the order of `api.md` §3.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        enum Step { $($step,)* }

        impl Step {
            const ALL: &'static [Self] = &[$(Self::$step,)*];

            const fn name(self) -> &'static str {
                match self { $(Self::$step => $name,)* }
            }
        }
    };
}

steps! {
    Connection "connection_limits";
    RequestId "request_id";
    ClientAddress "client_address";
    FailureLimiter "failure_limiter";
    Credentials "credentials_present";
    Token "token";
    Key "api_key";
    Status "integration_status";
    Generation "key_generation";
    Binding "client_binding";
    Allowlist "ip_allowlist";
    Window "rate_window";
    Quota "daily_quota";
    Scope "scope";
    Form "method_type_size";
    Capacity "capacity";
    Body "body";
    Gate "status_and_key_again";
}

/// Explains `entry`; `batch` is what it stored, where something was.
#[must_use]
pub fn explain(entry: &Entry, batch: Option<&Batch>) -> Explanation {
    let kind = Kind::of(entry);
    let failed = failed(entry);
    let reached = reached(entry, failed);
    let checks = Step::ALL.iter().map(|step| {
        let verdict = match failed {
            Some(failed) if failed == *step => Verdict::Failed,
            _ if !kind.has(*step) => Verdict::NotApplicable,
            _ if *step < reached || is_judged(entry, *step) => Verdict::Passed,
            _ => Verdict::NotReached,
        };
        Check { name: step.name(), verdict, detail: detail(entry, *step, verdict, kind, batch) }
    });
    Explanation { checks: checks.collect(), summary: summary(entry, batch), advice: advice(entry).to_vec() }
}

/// Which checks a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A call with credentials.
    Call,
    /// A page, or the token end point: anybody may call it.
    Open,
    /// The opening of an MQTT session.
    Connect,
    /// A message on a session, whose CONNECT was checked.
    Publish,
    /// A message that a broker passes on.
    Relayed,
}

impl Kind {
    fn of(entry: &Entry) -> Self {
        match (entry.method.as_str(), entry.route.as_str()) {
            ("CONNECT", _) => Self::Connect,
            (_, BRIDGE_ROUTE) => Self::Relayed,
            ("PUBLISH", _) => Self::Publish,
            _ if entry.scope.is_none() && entry.status != 401 && entry.integration_id.is_none() => Self::Open,
            _ => Self::Call,
        }
    }

    const fn has(self, step: Step) -> bool {
        match self {
            Self::Call => true,
            Self::Open => {
                matches!(step, Step::Connection | Step::RequestId | Step::ClientAddress | Step::Form | Step::Body)
            }
            Self::Connect => !matches!(step, Step::Window | Step::Quota | Step::Capacity | Step::Body | Step::Gate),
            Self::Publish => !matches!(step, Step::FailureLimiter),
            Self::Relayed => !matches!(step, Step::FailureLimiter | Step::Connection),
        }
    }
}

/// The check that refused it.
fn failed(entry: &Entry) -> Option<Step> {
    let cause = entry.cause.as_deref().unwrap_or_default();
    let by_cause = match cause {
        "too_many_failures" => Some(Step::FailureLimiter),
        "missing_credential" => Some(Step::Credentials),
        "key_malformed" | "key_unknown" => Some(Step::Key),
        "integration_not_active" => Some(Step::Status),
        "key_superseded" => Some(Step::Generation),
        "credential_mismatch" => Some(Step::Binding),
        "ip_not_allowed" => Some(Step::Allowlist),
        "rate_limited" => Some(Step::Window),
        "daily_quota_exceeded" => Some(Step::Quota),
        "insufficient_scope" => Some(Step::Scope),
        "changed_in_flight" | "committed_before_suspend" => Some(Step::Gate),
        "will" | "auth_method" | "client_id" => Some(Step::Connection),
        "foreign_topic" => Some(Step::Form),
        _ => None,
    };
    by_cause.or_else(|| {
        let code = entry.code.as_deref()?;
        let problem = ProblemCode::ALL.iter().find(|problem| problem.code() == code);
        match problem {
            Some(problem) => by_code(*problem),
            None => None,
        }
    })
}

const fn by_code(problem: ProblemCode) -> Option<Step> {
    use ProblemCode as P;
    match problem {
        P::TokenExpired | P::TokenInvalid | P::IssuerUnavailable => Some(Step::Token),
        P::MissingCredential => Some(Step::Credentials),
        P::Unauthorized => Some(Step::Key),
        P::TooManyFailures => Some(Step::FailureLimiter),
        P::IpNotAllowed => Some(Step::Allowlist),
        P::RateLimited => Some(Step::Window),
        P::DailyQuotaExceeded => Some(Step::Quota),
        P::InsufficientScope => Some(Step::Scope),
        P::TooManySessions => Some(Step::Connection),
        P::NotFound | P::MethodNotAllowed | P::UnsupportedMediaType | P::UnsupportedEncoding | P::TopicForbidden => {
            Some(Step::Form)
        }
        P::Overloaded | P::SpoolFull | P::StorageUnavailable | P::ShuttingDown => Some(Step::Capacity),
        // A fault of ours can happen anywhere.
        P::Internal => None,
        _ => Some(Step::Body),
    }
}

/// The first check that the request did not get to.
fn reached(entry: &Entry, failed: Option<Step>) -> Step {
    if let Some(failed) = failed {
        return failed;
    }
    if entry.status < 400 || entry.counts.is_some() {
        return Step::Gate;
    }
    // The caller hung up, or a fault of ours: what is known is how far it had come.
    match (entry.granted, entry.integration_id) {
        (Some(_), _) => Step::Form,
        (None, Some(_)) if entry.key_generation.is_some() => Step::Window,
        _ => Step::FailureLimiter,
    }
}

/// The last check is passed where the request was answered with success; nothing stands behind it.
fn is_judged(entry: &Entry, step: Step) -> bool {
    step == Step::Gate && (entry.status < 400 || entry.counts.is_some())
}

fn detail(entry: &Entry, step: Step, verdict: Verdict, kind: Kind, batch: Option<&Batch>) -> String {
    match verdict {
        Verdict::NotReached => return String::new(),
        Verdict::NotApplicable => return not_applicable(kind).to_owned(),
        Verdict::Passed if kind == Kind::Publish && (Step::Connection..=Step::Allowlist).contains(&step) => {
            if step != Step::RequestId && step != Step::ClientAddress {
                return "Checked when the session was opened, and again whenever an administrator changed something."
                    .to_owned();
            }
        }
        Verdict::Passed | Verdict::Failed => {}
    }
    let is_failed = verdict == Verdict::Failed;
    match step {
        Step::RequestId => format!("{}", entry.request_id),
        Step::ClientAddress if kind == Kind::Relayed => format!("{}, the broker's", entry.addr),
        Step::ClientAddress => entry.addr.to_string(),
        Step::Allowlist if is_failed => format!("{} is not on the integration's allowlist.", entry.addr),
        Step::Window | Step::Quota => window(entry, is_failed),
        Step::Scope => scope(entry),
        Step::Body => body(entry),
        Step::Gate if is_failed && entry.cause.as_deref() == Some("committed_before_suspend") => {
            "The batch was already on disk when status or key changed: it is stored, and was answered 401.".to_owned()
        }
        Step::Gate => match batch {
            Some(batch) => format!("Stored {} readings at position {} of the spool.", batch.accepted, batch.position),
            None => String::new(),
        },
        _ if is_failed => entry.cause.clone().unwrap_or_default(),
        _ => String::new(),
    }
}

const fn not_applicable(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "Anybody may call this.",
        Kind::Connect => "A CONNECT costs nothing in the window and carries no batch.",
        Kind::Publish => "Only a CONNECT can fail to authenticate.",
        Kind::Relayed => "The message came by a broker, whose senders share one connection.",
        Kind::Call => "",
    }
}

fn window(entry: &Entry, is_failed: bool) -> String {
    match entry.rate {
        Some((limit, remaining, reset_s)) if is_failed || entry.granted.is_some() => {
            let reset = i64::try_from(reset_s).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            let reset = reset.map_or_else(String::new, |reset| format!(", reset at {reset}"));
            format!("limit {limit}, {remaining} left{reset}")
        }
        _ => String::new(),
    }
}

fn scope(entry: &Entry) -> String {
    match (&entry.scope, entry.granted) {
        (Some(scope), Some(false)) => format!("{scope} is needed and was not granted."),
        (Some(scope), _) => format!("{scope} is needed and granted."),
        (None, _) => "No scope is needed.".to_owned(),
    }
}

fn body(entry: &Entry) -> String {
    let bytes = entry.body_bytes;
    match entry.counts {
        Some(counts) => format!(
            "{bytes} bytes; {} readings received, {} accepted (of them {} duplicates), {} rejected.",
            counts.received, counts.accepted, counts.duplicates, counts.rejected
        ),
        None => format!("{bytes} bytes"),
    }
}

fn summary(entry: &Entry, batch: Option<&Batch>) -> String {
    let cause = entry.cause.as_deref();
    match (entry.status, cause, batch) {
        (499, _, Some(_)) => "The caller hung up before it was answered; its batch was stored all the same.".to_owned(),
        (499, _, None) => "The caller hung up before it was answered.".to_owned(),
        (status, Some(cause), _) => format!("Refused with {status}: {}", meaning(cause, entry)),
        (status, None, _) => match entry.counts {
            Some(counts) if counts.rejected > 0 => {
                format!("Answered {status}: {} of {} readings were rejected.", counts.rejected, counts.received)
            }
            _ => format!("Answered {status}."),
        },
    }
}

/// What a cause means, for an administrator.
fn meaning(cause: &str, entry: &Entry) -> String {
    let text = match cause {
        "missing_credential" => "one of the two credentials was absent, empty, given twice or not of its form.",
        "too_many_failures" => "too many requests from this address had failed to authenticate.",
        "key_malformed" => "the API key has not the form of a key.",
        "key_unknown" => "no integration ever had this API key.",
        "key_superseded" => "the API key is a former one of the integration; a newer one was issued.",
        "integration_not_active" => "the integration was not Active.",
        "credential_mismatch" => "the token belongs to another client than the one bound to the key's integration.",
        "ip_not_allowed" => "the address is not on the integration's allowlist.",
        "rate_limited" => "the requests of this minute's window were used up.",
        "daily_quota_exceeded" => "the requests of this UTC day were used up.",
        "insufficient_scope" => "the scope was not granted.",
        "changed_in_flight" => "status or key changed while the request was in flight; nothing was stored.",
        "committed_before_suspend" => "status or key changed when the batch was already on disk; it is stored.",
        other => {
            let code = entry.code.as_deref().unwrap_or(other);
            let problem = ProblemCode::ALL.iter().find(|problem| problem.code() == code);
            return problem.map_or_else(|| other.to_owned(), |problem| format!("{} ({other})", problem.cause()));
        }
    };
    text.to_owned()
}

/// What an administrator can do.
fn advice(entry: &Entry) -> &'static [&'static str] {
    match (entry.cause.as_deref().unwrap_or_default(), entry.code.as_deref().unwrap_or_default()) {
        ("missing_credential", _) => {
            &["Ask the partner to send both Authorization: Bearer <jwt> and X-API-Key, once each."]
        }
        ("too_many_failures", _) => &[
            "Look for the 401s from this address before this one: they have the cause.",
            "Ask the partner to stop, mend the credentials, and go on after Retry-After.",
        ],
        ("key_malformed", _) => {
            &["Ask the partner whether the key was copied whole, without blanks or quotation marks."]
        }
        ("key_unknown", _) => {
            &["Ask the partner which key is in use, and compare its first 16 characters with key_prefix."]
        }
        ("key_superseded", _) => &[
            "Hand the current key over to the partner; its first 16 characters are the integration's key_prefix.",
            "If nobody knows who still uses the old key, look at the addresses of these requests.",
        ],
        ("integration_not_active", _) => {
            &["Look at the integration's status and history; a suspended one is reactivated by another administrator."]
        }
        ("credential_mismatch", _) => &[
            "Ask the partner to take client id and API key from the same hand-over; each integration has its own pair.",
        ],
        ("ip_not_allowed", _) => &["If the address is the partner's, add it to the integration's allowlist."],
        ("rate_limited", _) => &[
            "Ask the partner to wait until X-RateLimit-Reset and to send larger batches.",
            "If the traffic is right, raise the limit, for some time or for good.",
        ],
        ("daily_quota_exceeded", _) => {
            &["If the traffic is right, raise the daily quota; it begins anew at 00:00 UTC."]
        }
        ("insufficient_scope", _) => {
            &["If the integration should be able to do this, grant the scope; if not, ask why it tries."]
        }
        ("changed_in_flight", _) => &["Nothing has to be done: the batch was not stored, the sender sends it again."],
        ("committed_before_suspend", _) => {
            &["The readings are stored; look at them if the suspension was for an incident."]
        }
        (_, "token_expired") => &["Ask the partner to get a new token when the old one is about to end."],
        (_, "token_invalid") => &[
            "Compare issuer, audience and client of the partner's token request with the hand-over.",
            "The cause names what did not hold.",
        ],
        (_, "issuer_unavailable") => &["Look whether the token issuer can be reached from here; see /readyz."],
        (_, "overloaded") => &["The service had as much in flight as it takes; see operations if it lasts."],
        (_, "spool_full" | "storage_unavailable") => &["The operator has to act: see /readyz and the server's log."],
        (_, "shutting_down") => &["Nothing has to be done: the sender sends it again."],
        (_, "internal") => &["Give the request id to the operator: the server's log has the fault under it."],
        (_, "too_many_sessions") => {
            &["Ask the partner to give each gateway a client id of its own and to connect less often."]
        }
        (_, "") if entry.counts.is_some_and(|counts| counts.rejected > 0) => &[
            "The rejected entries name equipment, metric and code; the partner got the same with a sentence for each.",
        ],
        (_, "") => &[],
        _ => &["Hand the message on to the partner: it says what to mend."],
    }
}

#[cfg(test)]
mod tests;
