//! The outermost layer: the request's id, what every answer carries, and problems written out.

use std::{net::IpAddr, time::Instant};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS},
};
use tracing::Instrument;

use super::{Admin, problem};
use crate::{
    listener::Peer,
    model::RequestId,
    telemetry::metrics::{ADMIN_REQUEST_SECONDS, ADMIN_REQUESTS_TOTAL},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where a call comes from and what it is called; in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) request_id: RequestId,
    /// The TCP peer, or whom a trusted proxy named in its PROXY header.
    pub(super) ip: Option<IpAddr>,
}

/// Answers carry the id, are never cached (they tell of secrets and of people), and are never guessed at.
pub(super) async fn layer(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let origin =
        Origin { request_id: RequestId::generate(), ip: request.extensions().get::<Peer>().map(|peer| peer.addr.ip()) };
    request.extensions_mut().insert(origin);
    let span = tracing::info_span!(
        "admin", request_id = %origin.request_id, method = %request.method(), path = request.uri().path()
    );
    let response = next.run(request).instrument(span.clone()).await;
    let mut response = span.in_scope(|| {
        let response = problem::written(response, &admin.problems_url, origin.request_id);
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    });
    let class = match response.status().as_u16() {
        ..400 => "ok",
        400..500 => "refused",
        _ => "failed",
    };
    metrics::counter!(ADMIN_REQUESTS_TOTAL, "outcome" => class).increment(1);
    metrics::histogram!(ADMIN_REQUEST_SECONDS).record(begin.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    let id = HeaderValue::from_str(&origin.request_id.to_string()).expect("a UUID is a header value");
    headers.insert(X_REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
