//! A compact token taken apart, nothing in it believed yet.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{KID_BYTES_MAX, TokenError};

/// Latest moment that a claim may name, Unix seconds: the end of the year 9999.
const MOMENT_MAX_S: u64 = 253_402_300_799;

/// What the header says. `jku`, `jwk`, `x5u` and `x5c` are never looked at: a token does not bring its own key.
pub(super) struct Header {
    pub(super) algorithm: String,
    pub(super) kid: Option<String>,
    /// In lower case.
    pub(super) kind: Option<String>,
}

/// Header and claims of a token.
pub(super) struct Parts {
    pub(super) header: Header,
    pub(super) claims: Claims,
}

impl Parts {
    /// Exactly three parts, the first two of them JSON objects in base64url.
    pub(super) fn parse(token: &str) -> Result<Self, TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        if signature.is_empty() {
            // An unsigned token (`alg` none) looks like this; its header is still judged first, for the log.
            Header::parse(header)?;
            return Err(TokenError::AlgorithmNotAllowed);
        }
        Ok(Self { header: Header::parse(header)?, claims: Claims(Object::parse(claims)?.0) })
    }
}

impl Header {
    fn parse(text: &str) -> Result<Self, TokenError> {
        let mut object = Object::parse(text)?.0;
        // Whoever marks a header critical demands that it be understood, and we understand none (RFC 7515 §4.1.11).
        if object.contains_key("crit") {
            return Err(TokenError::CriticalHeader);
        }
        let mut text = |name| match object.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Malformed),
        };
        let algorithm = text("alg")?.ok_or(TokenError::Malformed)?;
        let kid = text("kid")?.filter(|kid| kid.len() <= KID_BYTES_MAX);
        Ok(Self { algorithm, kid, kind: text("typ")?.map(|kind| kind.to_ascii_lowercase()) })
    }
}

/// The claims of a token, each read with its type.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// A text that must be there and not be empty.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, TokenError> {
        self.optional_text(name)?.ok_or(TokenError::MissingClaim(name))
    }

    /// A text that, where given, is not empty.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&str>, TokenError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(TokenError::InvalidClaim),
        }
    }

    /// A moment in Unix seconds. RFC 7519 allows fractions: they are cut off.
    pub(super) fn moment_s(&self, name: &str) -> Result<Option<u64>, TokenError> {
        let number = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number,
            Some(_) => return Err(TokenError::InvalidClaim),
        };
        let seconds = match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => whole,
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was just checked")]
            (None, Some(fraction)) if (0.0..=MOMENT_MAX_S as f64).contains(&fraction) => fraction as u64,
            _ => return Err(TokenError::InvalidClaim),
        };
        if seconds <= MOMENT_MAX_S { Ok(Some(seconds)) } else { Err(TokenError::InvalidClaim) }
    }

    /// Whom the token is for: a text, or a list of nothing but texts.
    pub(super) fn is_for(&self, audiences: &[String]) -> Result<bool, TokenError> {
        let is_ours = |value: &Value| value.as_str().map(|text| audiences.iter().any(|ours| ours == text));
        match self.0.get("aud") {
            None | Some(Value::Null) => Err(TokenError::MissingClaim("aud")),
            Some(Value::Array(list)) => {
                let hits: Option<Vec<bool>> = list.iter().map(is_ours).collect();
                Ok(hits.ok_or(TokenError::InvalidClaim)?.contains(&true))
            }
            Some(one) => is_ours(one).ok_or(TokenError::InvalidClaim),
        }
    }

    /// `scope` (a text with blanks) and `permissions` (a list, Auth0 with RBAC), joined with blanks.
    pub(super) fn scope(&self) -> Result<String, TokenError> {
        let mut scope = self.optional_scope()?.to_owned();
        match self.0.get("permissions") {
            None | Some(Value::Null) => {}
            Some(Value::Array(list)) => {
                for permission in list {
                    let permission = permission.as_str().ok_or(TokenError::InvalidClaim)?;
                    scope.extend([" ", permission]);
                }
            }
            Some(_) => return Err(TokenError::InvalidClaim),
        }
        Ok(scope)
    }

    fn optional_scope(&self) -> Result<&str, TokenError> {
        match self.0.get("scope") {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(TokenError::InvalidClaim),
        }
    }
}

/// A JSON object in which no name comes twice: otherwise two readers of one token could see two different claims.
struct Object(Map<String, Value>);

impl Object {
    fn parse(text: &str) -> Result<Self, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
        serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
        let mut map = Map::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name comes twice"));
            }
        }
        Ok(Object(map))
    }
}
