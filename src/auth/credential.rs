//! The two credentials of a request, taken apart but not yet believed.

use std::fmt;

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

/// Longest header value that is looked at, in bytes (S166).
const VALUE_BYTES_MAX: usize = 8 * 1024;
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// An API key and a token, as they came. Neither can be printed.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    /// The value of `X-API-Key`.
    pub api_key: &'a str,
    /// The token behind `Bearer`.
    pub token: &'a str,
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl<'a> Credential<'a> {
    /// Both headers: present, single, not empty, not over-long, in visible ASCII; the scheme in any case (S159–S166).
    /// Nothing else is a place for a credential: no query, no cookie, no body.
    #[must_use]
    pub fn from_headers(headers: &'a HeaderMap) -> Option<Self> {
        Self::from_texts(single(headers, &API_KEY)?, single(headers, &AUTHORIZATION)?)
    }

    /// The API key alone, where the other header is what is wrong.
    #[must_use]
    pub fn api_key_of(headers: &'a HeaderMap) -> Option<&'a str> {
        single(headers, &API_KEY).filter(|value| is_sane(value))
    }

    /// The same from the two values, each of which came exactly once, under whatever names a protocol has for them.
    #[must_use]
    pub fn from_texts(api_key: &'a str, authorization: &'a str) -> Option<Self> {
        if !is_sane(api_key) || !is_sane(authorization) {
            return None;
        }
        let (scheme, token) = authorization.split_once(' ')?;
        let token = token.trim_matches(' ');
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(Self { api_key, token })
    }
}

fn is_sane(value: &str) -> bool {
    (1..=VALUE_BYTES_MAX).contains(&value.len())
        && value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[(&'static str, &str)]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header value"));
        }
        Credential::from_headers(&headers).map(|c| (c.api_key.to_owned(), c.token.to_owned()))
    }

    // S159–S166
    #[test]
    fn both_headers_once_and_nothing_else() {
        let both = Some(("k".to_owned(), "t".to_owned()));
        assert_eq!(check(&[("authorization", "Bearer t"), ("x-api-key", "k")]), both);
        assert_eq!(check(&[("authorization", "bEARER  t"), ("x-api-key", "k")]), both);
        let long = "a".repeat(VALUE_BYTES_MAX + 1);
        let refused: &[&[(&str, &str)]] = &[
            &[],
            &[("authorization", "Bearer t")],
            &[("x-api-key", "k")],
            &[("authorization", "Bearer "), ("x-api-key", "k")],
            &[("authorization", "Bearer t"), ("x-api-key", "")],
            &[("authorization", "Basic t"), ("x-api-key", "k")],
            &[("authorization", "t"), ("x-api-key", "k")],
            &[("authorization", "Bearer t"), ("authorization", "Bearer t"), ("x-api-key", "k")],
            &[("authorization", "Bearer t"), ("x-api-key", "k"), ("x-api-key", "k")],
            &[("authorization", "Bearer t"), ("x-api-key", &long)],
            &[("cookie", "x-api-key=k"), ("authorization", "Bearer t")],
        ];
        for lines in refused {
            assert_eq!(check(lines), None);
        }
    }

    #[test]
    fn texts_are_held_to_the_same_form() {
        let check = |api_key: &str, authorization: &str| Credential::from_texts(api_key, authorization).is_some();
        assert!(check("k", "Bearer t"));
        let long = "k".repeat(VALUE_BYTES_MAX + 1);
        for (api_key, authorization) in
            [("", "Bearer t"), ("k", ""), ("k", "t"), (&long, "Bearer t"), ("k\u{e9}", "Bearer t")]
        {
            assert!(!check(api_key, authorization), "{api_key:.9} {authorization}");
        }
    }

    #[test]
    fn a_credential_cannot_be_printed() {
        let printed = format!("{:?}", Credential { api_key: "grq_live_x", token: "secret" });
        assert!(!printed.contains("grq_live") && !printed.contains("secret"));
    }
}
