//! Versions as entity tags: `ETag` on the way out, `If-Match` on the way in.

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue,
    header::{ETAG, IF_MATCH, LOCATION},
    request::Parts,
};

use super::problem::Problem;

/// A version that no object has: it meets nothing.
const NO_VERSION: u64 = 0;

/// The version that the caller has read, if they say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<A: Sync> FromRequestParts<A> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &A) -> Result<Self, Problem> {
        of(&parts.headers).map(Self)
    }
}

/// The version in `headers`.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => read(value),
        (Some(_), Some(_)) => Err(Problem::parameter("If-Match is given more than once.")),
    }
}

/// `"7"`; also without quotes, as people type it. `*` is any version. A tag that is not ours meets no version, and so
/// does a weak one: If-Match compares strongly (RFC 9110 §13.1.1).
fn read(value: &HeaderValue) -> Result<Option<u64>, Problem> {
    let text = value.to_str().map_or("", str::trim);
    if text == "*" {
        return Ok(None);
    }
    if text.is_empty() || text.contains(',') {
        return Err(Problem::parameter("If-Match must be one entity tag, or *."));
    }
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    Ok(Some(bare.parse().unwrap_or(NO_VERSION)))
}

/// `answer` with the object's version as its entity tag.
pub(crate) fn tagged(version: u64, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let tag = HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header value");
    response.headers_mut().insert(ETAG, tag);
    response
}

/// `answer` to the making of an object, with the object's path.
pub(crate) fn located(path: &str, mut answer: Response) -> Response {
    let path = HeaderValue::from_str(path).expect("a path with a UUID is a header value");
    answer.headers_mut().insert(LOCATION, path);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_versions() {
        let read = |text: &str| read(&HeaderValue::from_str(text).unwrap()).ok();
        assert_eq!(read("\"7\""), Some(Some(7)));
        assert_eq!(read("7"), Some(Some(7)));
        assert_eq!(read("*"), Some(None));
        assert_eq!(read("W/\"7\""), Some(Some(NO_VERSION)));
        assert_eq!(read("\"abc\""), Some(Some(NO_VERSION)));
        assert_eq!(read("\"7\", \"8\""), None);
        assert_eq!(read(""), None);
    }
}
