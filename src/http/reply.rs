//! The body of a reply, and the headers that every reply has.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{Either, Full};

use crate::{auth::RateState, model::RequestId};

/// A whole body, as our own routes answer, or whatever a router streams.
pub(super) type ReplyBody = Either<Full<Bytes>, axum::body::Body>;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(super) const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub(super) const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// `bytes` as a body.
pub(super) fn full(bytes: impl Into<Bytes>) -> ReplyBody {
    Either::Left(Full::new(bytes.into()))
}

/// Adds request id and rate figures (S218). All four values share one buffer.
pub(super) fn stamp(headers: &mut HeaderMap, request_id: RequestId, rate: RateState) {
    let mut text = BytesMut::with_capacity(96);
    let mut hyphenated = uuid::Uuid::encode_buffer();
    text.extend_from_slice(request_id.as_uuid().as_hyphenated().encode_lower(&mut hyphenated).as_bytes());
    let mut ends = [text.len(), 0, 0, 0];
    for (end, figure) in ends[1..].iter_mut().zip([u64::from(rate.limit), u64::from(rate.remaining), rate.reset_s]) {
        write!(text, "{figure}").expect("a buffer in memory takes any text");
        *end = text.len();
    }
    let text = text.freeze();
    let mut begin = 0;
    let names = [X_REQUEST_ID, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET];
    for (name, end) in names.into_iter().zip(ends) {
        let value = HeaderValue::from_maybe_shared(text.slice(begin..end)).expect("digits and letters are a value");
        headers.insert(name, value);
        begin = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_headers_say_what_they_should() {
        let id = RequestId::generate();
        for rate in [
            RateState { limit: 60, remaining: 0, reset_s: 1_767_607_260 },
            RateState { limit: u32::MAX, remaining: u32::MAX, reset_s: u64::MAX },
        ] {
            let mut headers = HeaderMap::new();
            stamp(&mut headers, id, rate);
            assert_eq!(headers[X_REQUEST_ID], id.to_string());
            assert_eq!(headers[X_RATELIMIT_LIMIT], rate.limit.to_string());
            assert_eq!(headers[X_RATELIMIT_REMAINING], rate.remaining.to_string());
            assert_eq!(headers[X_RATELIMIT_RESET], rate.reset_s.to_string());
        }
    }
}
