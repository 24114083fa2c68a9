//! `POST /v1/sensors/readings`: from an admitted request to the answer of its batch.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use hyper::body::Incoming;

use super::{
    body::{self, UNANNOUNCED_BYTES},
    capacity::Room,
    content::{Content, Limits},
    edge::Edge,
    exchange::Exchange,
    finish::Finish,
    idempotency::{self, Answer, Claim, Running},
    inflate::{Encoding, Failure, inflate},
    instruments::READINGS_ROUTE,
    refusal::Refusal,
    reply::{ReplyBody, full},
    seam::Door,
};
use crate::{
    auth::Principal,
    ingest::{BatchResult, Intake, Refused, Submission, Transport},
    journal::Counts,
    model::{ProblemCode, RejectedEntry, RequestId},
};

const X_READINGS_ACCEPTED: HeaderName = HeaderName::from_static("x-readings-accepted");
const X_READINGS_REJECTED: HeaderName = HeaderName::from_static("x-readings-rejected");
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Compressed bodies beyond this are inflated off the threads that serve connections.
const INFLATE_INLINE_BYTES_MAX: usize = 16 * 1_024;

/// A batch that was judged: its answer, and what the journal keeps of it.
struct Judged {
    body: Bytes,
    answer: Answer,
    counts: Counts,
    rejected: Vec<RejectedEntry>,
}

impl<D: Door, I: Intake> Edge<D, I> {
    /// The rest of the order of checks, from type and size to the answer.
    pub(super) async fn post_readings(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        principal: Principal,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let content = Content::of_json(&parts.headers, self.limits())?;
        let validate_only = validate_only(parts.uri.query());
        if validate_only != Ok(true) {
            self.intake.ready()?;
        }
        let integration_id = principal.facts.id;
        let mut room = self.capacity.take(integration_id, content.announced.unwrap_or(UNANNOUNCED_BYTES)).await?;
        let validate_only = validate_only.map_err(|NotBoolean| invalid_validate_only())?;
        let named = idempotency::named(&parts.headers)?;
        let body = self.read_body(exchange, content, self.limits(), body, Some(&mut room)).await?;
        let now_s = exchange.now_us / 1_000_000;
        let running = match named {
            None => None,
            Some(named) => {
                let key = idempotency::key_of(integration_id, READINGS_ROUTE, named);
                match self.idempotency.claim(key, idempotency::fingerprint_of(&body, validate_only), now_s) {
                    Claim::Mine(running) => Some(running),
                    Claim::Replay(answer) => return Ok(replay(exchange, &answer)),
                    Claim::InProgress => return Err(Refusal::new(ProblemCode::IdempotencyInProgress)),
                    Claim::Reused => return Err(Refusal::new(ProblemCode::IdempotencyKeyReused)),
                }
            }
        };
        let submission = Submission {
            body,
            received_at_us: exchange.now_us,
            request_id: exchange.request_id,
            validate_only,
            transport: Transport::Http,
        };
        // From here on it is finished even if the caller hangs up.
        let judged = Finish::new(Arc::clone(self).submit(principal, submission, room, running, now_s)).await?;
        exchange.readings = Some(judged.counts);
        exchange.rejected = judged.rejected;
        Ok(reply(judged.body, &judged.answer))
    }

    /// Hands the batch in, and keeps the answer for its idempotency key.
    async fn submit(
        self: Arc<Self>,
        principal: Principal,
        submission: Submission,
        room: Room,
        running: Option<Running>,
        now_s: i64,
    ) -> Result<Judged, Refused> {
        let request_id = submission.request_id;
        let mut result = self.intake.submit(&principal, submission).await?;
        drop(room);
        let (body, answer) = render(&result, request_id);
        if let Some(running) = running {
            running.answered(answer.clone(), now_s);
        }
        let rejected = std::mem::take(&mut result.rejections);
        Ok(Judged { body, answer, counts: result.counts(), rejected })
    }

    /// Reads and inflates a body.
    pub(super) async fn read_body(
        &self,
        exchange: &mut Exchange,
        content: Content,
        limits: Limits,
        body: Incoming,
        mut room: Option<&mut Room>,
    ) -> Result<Bytes, Refusal> {
        let timeout = self.config.body_timeout();
        let sent = body::read(body, content.announced, content.bytes_max, timeout, room.as_deref_mut()).await?;
        exchange.body_bytes = sent.len();
        if content.encoding == Encoding::Identity {
            return Ok(sent);
        }
        let inflated = self.inflate(content.encoding, sent, limits.plain).await.map_err(|failure| match failure {
            Failure::TooLarge => Refusal::new(ProblemCode::BodyTooLarge).because("inflated_too_large"),
            Failure::Malformed => Refusal::new(ProblemCode::MalformedEncoding),
        })?;
        if let Some(room) = room {
            room.grow_to(inflated.len())?;
        }
        Ok(inflated)
    }

    async fn inflate(&self, encoding: Encoding, sent: Bytes, limit: usize) -> Result<Bytes, Failure> {
        if sent.len() <= INFLATE_INLINE_BYTES_MAX {
            return inflate(encoding, &sent, limit).map(Bytes::from);
        }
        // As many at once as there are cores: each may hold a window of 8 MiB.
        let Ok(_turn) = self.inflating.acquire().await else { return Err(Failure::Malformed) };
        let inflated = tokio::task::spawn_blocking(move || inflate(encoding, &sent, limit)).await;
        inflated.unwrap_or(Err(Failure::Malformed)).map(Bytes::from)
    }
}

/// Whether the query asks for a judgement only. Other parameters are none of ours.
fn validate_only(query: Option<&str>) -> Result<bool, NotBoolean> {
    let mut asked = None;
    for parameter in query.unwrap_or("").split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name != "validate_only" {
            continue;
        }
        let value = match value {
            "true" => true,
            "false" => false,
            _ => return Err(NotBoolean),
        };
        if asked.replace(value).is_some() {
            return Err(NotBoolean);
        }
    }
    Ok(asked.unwrap_or(false))
}

/// The query asks for a judgement in words that are neither yes nor no.
#[derive(Debug, PartialEq, Eq)]
struct NotBoolean;

fn invalid_validate_only() -> Refusal {
    Refusal::new(ProblemCode::InvalidParameter).with_detail("validate_only is true or false, given once.")
}

/// The body, and the same without the request id that it begins with.
fn render(result: &BatchResult, request_id: RequestId) -> (Bytes, Answer) {
    let body = Bytes::from(result.to_json(request_id));
    let tail = body.slice(head(request_id).len().min(body.len())..);
    debug_assert!(body.starts_with(&head(request_id)), "a batch's answer begins with its request id");
    let answer = Answer { status: result.status(), accepted: result.accepted, rejected: result.rejected, tail };
    (body, answer)
}

pub(super) fn head(request_id: RequestId) -> [u8; 52] {
    let mut head = *b"{\"request_id\":\"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx\"";
    request_id.as_uuid().as_hyphenated().encode_lower(&mut head[15..51]);
    head
}

fn replay(exchange: &mut Exchange, answer: &Answer) -> Response<ReplyBody> {
    let body = [&head(exchange.request_id)[..], &answer.tail].concat();
    let (accepted, rejected) = (answer.accepted, answer.rejected);
    exchange.readings = Some(Counts { received: accepted + rejected, accepted, duplicates: 0, rejected });
    let mut response = reply(body.into(), answer);
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    response
}

fn reply(body: Bytes, answer: &Answer) -> Response<ReplyBody> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_READINGS_ACCEPTED, HeaderValue::from(answer.accepted));
    headers.insert(X_READINGS_REJECTED, HeaderValue::from(answer.rejected));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validate_only_is_true_or_false_once() {
        let check = validate_only;
        for query in
            [None, Some(""), Some("validate_only=false"), Some("x=1&validate_onl=true"), Some("x=validate_only")]
        {
            assert_eq!(check(query), Ok(false), "{query:?}");
        }
        assert_eq!(check(Some("a=b&validate_only=true")), Ok(true));
        for query in ["validate_only", "validate_only=", "validate_only=1", "validate_only=true&validate_only=true"] {
            assert_eq!(check(Some(query)), Err(NotBoolean), "{query}");
        }
    }

    #[test]
    fn a_replay_differs_in_its_request_id_only() {
        let (first, second) = (RequestId::generate(), RequestId::generate());
        let result = BatchResult { received: 3, accepted: 3, ..BatchResult::default() };
        let (body, answer) = render(&result, first);
        assert_eq!([&head(first)[..], &answer.tail].concat(), body);
        assert_eq!([&head(second)[..], &answer.tail].concat(), result.to_json(second));
    }
}
