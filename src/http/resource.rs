//! Calls that a router of another room answers: handed over with their body read, and their answers mended and kept.

use std::{net::SocketAddr, sync::Arc};

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION},
    request::Parts,
};
use http_body_util::{BodyExt, Either};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::{
    body::{UNANNOUNCED_BYTES, announced},
    content::Content,
    edge::Edge,
    exchange::Exchange,
    finish::Finish,
    idempotency::{self, Answer, Claim, Running},
    readings::{IDEMPOTENCY_REPLAYED, head},
    refusal::Refusal,
    reply::{ReplyBody, full},
    seam::Door,
    surface::{Resource, is_bare},
};
use crate::{
    auth::{Cause, Principal},
    ingest::Intake,
    model::{Problem, ProblemCode, RequestId},
};

/// Headers of an answer that are kept with it.
const KEPT_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, ETAG, LOCATION];

/// Where a call comes from and what it is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) request_id: RequestId,
    pub(super) caller: SocketAddr,
}

impl<D: Door, I: Intake> Edge<D, I> {
    /// The rest of the order of checks for a resource, from type and size to the answer.
    pub(super) async fn call_resource(
        &self,
        exchange: &mut Exchange,
        caller: SocketAddr,
        resource: &Resource,
        principal: Principal,
        mut parts: Parts,
        body: Incoming,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let content = if has_body(&parts.headers) {
            Content::of_json(&parts.headers, self.limits())?
        } else {
            Content::of_any(&parts.headers, self.limits())?
        };
        let bytes = content.announced.unwrap_or(if has_body(&parts.headers) { UNANNOUNCED_BYTES } else { 0 });
        let mut room = self.capacity.take(principal.facts.id, bytes).await?;
        let named = if parts.method == Method::POST { idempotency::named(&parts.headers)? } else { None };
        let named = named.map(|named| {
            // The path is part of the route: the same key on another object is another request.
            idempotency::key_of(principal.facts.id, &format!("{} {}", resource.name, parts.uri.path()), named)
        });
        let body = self.read_body(exchange, content, self.limits(), body, Some(&mut room)).await?;
        let now_s = exchange.now_us / 1_000_000;
        let running = match named {
            None => None,
            Some(key) => {
                match self.idempotency.claim(key, idempotency::fingerprint_of_call(&parts.headers, &body), now_s) {
                    Claim::Mine(running) => Some(running),
                    Claim::Replay(answer) => return replay(&answer, exchange.request_id),
                    Claim::InProgress => return Err(Refusal::new(ProblemCode::IdempotencyInProgress)),
                    Claim::Reused => return Err(Refusal::new(ProblemCode::IdempotencyKeyReused)),
                }
            }
        };
        let call = Call { request_id: exchange.request_id, caller };
        let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
        let pass = principal.pass();
        parts.extensions.insert(Arc::new(principal));
        if let Some(rate) = exchange.rate {
            parts.extensions.insert(rate);
        }
        let router = resource.router.clone();
        // A write that was begun is finished, and its answer kept, even if the caller hangs up.
        let response = Finish::new(async move {
            let _room = room;
            let response = forward(call, router, parts, body).await?;
            match running {
                None => Ok(response),
                Some(running) => keep(response, running, call.request_id, now_s).await,
            }
        })
        .await?;
        if is_read && !pass.still_valid() {
            return Err(Refusal::new(ProblemCode::Unauthorized).because(Cause::ChangedInFlight.as_str()));
        }
        Ok(response)
    }
}

/// Whether the header announces a body. Over HTTP/2 one may come unannounced; it is then read as well.
fn has_body(headers: &HeaderMap) -> bool {
    announced(headers).map_or(headers.contains_key(http::header::TRANSFER_ENCODING), |length| length > 0)
}

/// Hands a request whose body is read to a router, and mends the answers that the router makes by itself.
pub(super) async fn forward(
    call: Call,
    router: axum::Router,
    mut parts: Parts,
    body: Bytes,
) -> Result<Response<ReplyBody>, Refusal> {
    parts.extensions.insert(call.request_id);
    parts.extensions.insert(ConnectInfo(call.caller));
    let request = Request::from_parts(parts, axum::body::Body::from(body));
    let mut response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let allow = response.headers_mut().remove(ALLOW);
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Err(Refusal { allow, ..Refusal::from(problem) });
    }
    if let Some(problem) = response.extensions().get::<ProblemCode>() {
        return Err(Refusal::new(*problem));
    }
    if is_bare(response.status(), response.headers()) {
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(Refusal { allow, ..Refusal::new(ProblemCode::MethodNotAllowed) });
        }
        return Err(Refusal::new(ProblemCode::NotFound));
    }
    Ok(response.map(Either::Right))
}

/// Keeps `response` for its idempotency key. Only what a router has done comes here: what it refused, it can be asked
/// again.
async fn keep(
    response: Response<ReplyBody>,
    running: Running,
    request_id: RequestId,
    now_s: i64,
) -> Result<Response<ReplyBody>, Refusal> {
    // What shows a secret is on no disk, not even for a repeated call.
    if response.headers().get(CACHE_CONTROL).is_some_and(|value| value == "no-store") {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return Err(Refusal::new(ProblemCode::Internal).because("answer_broke_off"));
    };
    let body = body.to_bytes();
    let answer = Answer {
        status: parts.status.as_u16(),
        accepted: 0,
        rejected: 0,
        tail: Kept::new(&parts.headers, &body, request_id).to_bytes(),
    };
    running.answered(answer, now_s);
    Ok(Response::from_parts(parts, full(body)))
}

fn replay(answer: &Answer, request_id: RequestId) -> Result<Response<ReplyBody>, Refusal> {
    let unreadable = || Refusal::new(ProblemCode::Internal).because("kept_answer_unreadable");
    let (headers, body) = Kept::read(&answer.tail).ok_or_else(unreadable)?.answered_again(request_id);
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|_| unreadable())?;
    *response.headers_mut() = headers;
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// An answer as it is kept: some of its headers, and its body without the request id that it may begin with.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    headers: Vec<(String, String)>,
    begins_with_request_id: bool,
    body: Bytes,
}

impl Kept {
    fn new(headers: &HeaderMap, body: &Bytes, request_id: RequestId) -> Self {
        let texts = KEPT_HEADERS
            .iter()
            .filter_map(|name| Some((name.as_str().to_owned(), headers.get(name)?.to_str().ok()?.to_owned())));
        let head = head(request_id);
        let begins_with_request_id = body.starts_with(&head);
        let body = if begins_with_request_id { body.slice(head.len()..) } else { body.clone() };
        Self { headers: texts.collect(), begins_with_request_id, body }
    }

    /// A line of JSON about it, then the body.
    fn to_bytes(&self) -> Bytes {
        let line = serde_json::json!({ "headers": self.headers, "request_id": self.begins_with_request_id });
        [line.to_string().as_bytes(), b"\n", &self.body].concat().into()
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line: serde_json::Value = serde_json::from_slice(&bytes[..end]).ok()?;
        Some(Self {
            headers: serde_json::from_value(line.get("headers")?.clone()).ok()?,
            begins_with_request_id: line.get("request_id")?.as_bool()?,
            body: bytes.slice(end + 1..),
        })
    }

    fn answered_again(self, request_id: RequestId) -> (HeaderMap, Bytes) {
        let headers = self
            .headers
            .iter()
            .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?)));
        let body =
            if self.begins_with_request_id { [&head(request_id)[..], &self.body].concat().into() } else { self.body };
        (headers.collect(), body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_answer_comes_back_with_a_request_id_of_its_own() {
        let (first, second) = (RequestId::generate(), RequestId::generate());
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ETAG, HeaderValue::from_static("\"1\"")),
            (http::header::DATE, HeaderValue::from_static("now")),
        ]);
        for (sent, again) in [
            ("{\"id\":7}\n".to_owned(), "{\"id\":7}\n".to_owned()),
            (
                format!("{{\"request_id\":\"{first}\",\"received\":1}}"),
                format!("{{\"request_id\":\"{second}\",\"received\":1}}"),
            ),
        ] {
            let kept = Kept::new(&headers, &Bytes::from(sent), first);
            let read = Kept::read(&kept.to_bytes()).expect("our own form");
            assert_eq!(read, kept);
            let (headers, body) = read.answered_again(second);
            assert_eq!(body, again);
            assert_eq!(headers.len(), 2, "{headers:?}");
        }
        assert_eq!(Kept::read(&Bytes::from_static(b"{}")), None);
    }
}
