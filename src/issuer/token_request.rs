//! What is asked of the token end point, and by whom (RFC 6749 §2.3.1, §4.4; JSON as Auth0 takes it).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::answer::Refusal;

/// Longest client id, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// A readable request for a token by client credentials. Its secret cannot be printed.
pub(super) struct TokenRequest {
    pub(super) client_id: String,
    pub(super) client_secret: Zeroizing<String>,
    pub(super) audience: Option<String>,
    /// Scopes asked for; none: all that the client has.
    pub(super) scope: Option<String>,
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// The body's fields. Others are ignored, as RFC 6749 §3.2 has it; one given twice is refused.
#[derive(Default, Deserialize)]
struct Fields {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
}

impl TokenRequest {
    /// Reads headers and body.
    ///
    /// # Errors
    /// `invalid_request`, `invalid_client` or `unsupported_grant_type`.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let fields = Fields::read(headers, body)?;
        match fields.grant_type.as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err(Refusal::UnsupportedGrantType),
            None => return Err(Refusal::InvalidRequest("grant_type is missing")),
        }
        let (client_id, client_secret) = match basic_credentials(headers)? {
            Some(_) if fields.client_secret.is_some() => {
                return Err(Refusal::InvalidRequest("give the client's secret once: by HTTP Basic or in the body"));
            }
            Some((id, _)) if fields.client_id.as_ref().is_some_and(|other| *other != id) => {
                return Err(Refusal::InvalidRequest("client_id differs from that of HTTP Basic"));
            }
            Some((id, secret)) => (id, secret),
            None => (
                fields.client_id.ok_or(Refusal::NoClient)?,
                Zeroizing::new(fields.client_secret.ok_or(Refusal::NoClient)?),
            ),
        };
        if client_id.is_empty() || client_id.len() > CLIENT_ID_BYTES_MAX || client_id.contains(char::is_control) {
            return Err(Refusal::InvalidClient);
        }
        Ok(Self { client_id, client_secret, audience: fields.audience, scope: fields.scope })
    }
}

impl Fields {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            serde_json::from_slice(body).map_err(|_| Refusal::InvalidRequest("the body is not a JSON object of texts"))
        } else if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Self::read_form(body)
        } else {
            Err(Refusal::InvalidRequest("the body must be application/x-www-form-urlencoded or application/json"))
        }
    }

    fn read_form(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let value = value.into_owned();
            let given_before = match name.as_ref() {
                "grant_type" => fields.grant_type.replace(value).is_some(),
                "client_id" => fields.client_id.replace(value).is_some(),
                "client_secret" => fields.client_secret.replace(value).is_some(),
                "audience" => fields.audience.replace(value).is_some(),
                "scope" => fields.scope.replace(value).is_some(),
                _ => false,
            };
            if given_before {
                return Err(Refusal::InvalidRequest("a parameter is given twice"));
            }
        }
        Ok(fields)
    }
}

/// Id and secret of `Authorization: Basic`, none without that header. Another scheme is a client that failed to
/// authenticate (RFC 6749 §5.2).
fn basic_credentials(headers: &HeaderMap) -> Result<Option<(String, Zeroizing<String>)>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::InvalidRequest("the Authorization header is given twice"));
    }
    let refused = || Refusal::InvalidClient;
    let (scheme, encoded) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(refused());
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| refused())?);
    let text = str::from_utf8(&decoded).map_err(|_| refused())?;
    let (id, secret) = text.split_once(':').ok_or_else(refused)?;
    // RFC 6749 §2.3.1: both are form-encoded before they become a user name and a password.
    let id = form_decoded(id);
    Ok(Some((id, Zeroizing::new(form_decoded(secret)))))
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}
