//! What the headers decide about a body before a byte of it is read: its type, its encoding, its size.

use http::{HeaderMap, header::CONTENT_TYPE};

use super::{body::announced, inflate::Encoding, refusal::Refusal};
use crate::model::ProblemCode;

/// A body as the headers announce it, found acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) encoding: Encoding,
    pub(super) announced: Option<usize>,
    /// Bytes that may be sent.
    pub(super) bytes_max: usize,
}

/// Limits of a body, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Plain, or once inflated.
    pub(super) plain: usize,
    /// Compressed, as sent.
    pub(super) compressed: usize,
}

impl Content {
    /// Judges a JSON body's headers.
    ///
    /// # Errors
    /// 415 for another type or encoding, 413 where the announced length is over its limit.
    pub(super) fn of_json(headers: &HeaderMap, limits: Limits) -> Result<Self, Refusal> {
        if !is_json(headers) {
            return Err(Refusal::new(ProblemCode::UnsupportedMediaType));
        }
        Self::of_any(headers, limits)
    }

    /// Judges a body's headers, whatever its type.
    ///
    /// # Errors
    /// 415 for another encoding, 413 where the announced length is over its limit.
    pub(super) fn of_any(headers: &HeaderMap, limits: Limits) -> Result<Self, Refusal> {
        let encoding = Encoding::of(headers).ok_or_else(|| Refusal::new(ProblemCode::UnsupportedEncoding))?;
        let bytes_max = match encoding {
            Encoding::Identity => limits.plain,
            Encoding::Gzip | Encoding::Zstd => limits.compressed,
        };
        let announced = announced(headers);
        if announced.is_some_and(|length| length > bytes_max) {
            return Err(Refusal::new(ProblemCode::BodyTooLarge));
        }
        Ok(Self { encoding, announced, bytes_max })
    }
}

/// `application/json`, once, in UTF-8 if it says a charset at all.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    if value == "application/json" {
        return true;
    }
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';');
    let essence = parts.next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
        && parts.all(|parameter| match parameter.trim().split_once('=') {
            Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
                charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use http::{
        HeaderName,
        header::{CONTENT_ENCODING, CONTENT_LENGTH},
    };

    use super::*;

    fn check(lines: &[(HeaderName, &str)]) -> Result<Content, ProblemCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        Content::of_json(&headers, Limits { plain: 100, compressed: 10 }).map_err(|refusal| refusal.problem)
    }

    #[test]
    fn json_in_utf_8_and_nothing_else() {
        for value in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; profile=x",
        ] {
            assert!(check(&[(CONTENT_TYPE, value)]).is_ok(), "{value}");
        }
        for value in ["", "text/json", "application/json; charset=latin1", "application/jsonx", "application/x-ndjson"]
        {
            assert_eq!(check(&[(CONTENT_TYPE, value)]), Err(ProblemCode::UnsupportedMediaType), "{value}");
        }
        assert_eq!(check(&[]), Err(ProblemCode::UnsupportedMediaType));
        let twice = [(CONTENT_TYPE, "application/json"), (CONTENT_TYPE, "application/json")];
        assert_eq!(check(&twice), Err(ProblemCode::UnsupportedMediaType));
    }

    #[test]
    fn the_limit_is_that_of_the_encoding() {
        let json = (CONTENT_TYPE, "application/json");
        let length = |value| (CONTENT_LENGTH, value);
        assert_eq!(check(&[json.clone(), length("100")]).unwrap().announced, Some(100));
        assert_eq!(check(&[json.clone(), length("101")]), Err(ProblemCode::BodyTooLarge));
        let gzip = (CONTENT_ENCODING, "gzip");
        assert_eq!(check(&[json.clone(), gzip.clone(), length("11")]), Err(ProblemCode::BodyTooLarge));
        assert_eq!(check(&[json.clone(), gzip]).unwrap().bytes_max, 10);
        assert_eq!(check(&[json, (CONTENT_ENCODING, "br")]), Err(ProblemCode::UnsupportedEncoding));
    }
}
