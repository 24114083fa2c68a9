//! JSON bodies, read field by field, so that everything wrong with one is said at once.
//!
//! Broken JSON is 400; a field that is unknown or has the wrong type is 422 and named. What a value must be beyond its
//! type is the control plane's to say.

use std::str::FromStr;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{
    Api,
    problem::{FieldProblem, Problem},
    time,
};
use crate::model::ProblemCode;

/// A body as it arrived, of any type. Bounded in bytes and time.
pub(crate) struct Bounded(pub(crate) Bytes);

/// Likewise, JSON by its header, or empty.
pub(crate) struct RawBody(pub(crate) Bytes);

impl<A: Api> FromRequest<A> for Bounded {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &A) -> Result<Self, Problem> {
        let body = Limited::new(request.into_body(), api.body_bytes_max()).collect();
        let read = tokio::time::timeout(api.body_timeout(), body).await;
        let bytes = match read {
            Err(_) => return Err(Problem::new(ProblemCode::RequestTimeout)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Problem::new(ProblemCode::BodyTooLarge)),
            // The connection broke: nobody is left to read the answer.
            Ok(Err(_)) => return Err(Problem::new(ProblemCode::RequestTimeout)),
            Ok(Ok(collected)) => collected.to_bytes(),
        };
        Ok(Self(bytes))
    }
}

impl<A: Api> FromRequest<A> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &A) -> Result<Self, Problem> {
        let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|value| {
            let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            media_type.eq_ignore_ascii_case("application/json")
        });
        let Bounded(bytes) = Bounded::from_request(request, api).await?;
        if !bytes.is_empty() && !is_json {
            return Err(Problem::new(ProblemCode::UnsupportedMediaType));
        }
        Ok(Self(bytes))
    }
}

/// The fields of a JSON object. An empty body has none.
#[derive(Debug)]
pub(crate) struct Fields {
    object: Map<String, Value>,
    /// In front of every name in an error: `contacts[2].`.
    prefix: String,
    errors: Vec<FieldProblem>,
}

impl<A: Api> FromRequest<A> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &A) -> Result<Self, Problem> {
        let RawBody(bytes) = RawBody::from_request(request, api).await?;
        Self::read(&bytes)
    }
}

impl Fields {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.is_empty() {
            return Ok(Self::of(Map::new(), String::new()));
        }
        let Object(object) = serde_json::from_slice(bytes)
            .map_err(|error| Problem::new(ProblemCode::MalformedJson).with_detail(format!("The body: {error}.")))?;
        Ok(Self::of(object, String::new()))
    }

    pub(crate) fn of(object: Map<String, Value>, prefix: String) -> Self {
        Self { object, prefix, errors: Vec::new() }
    }

    /// A text that may be left out, but not be null.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.object.remove(name)? {
            Value::String(text) => Some(text),
            _ => self.refuse(name, "must be a text"),
        }
    }

    /// A text that may be left out, or null.
    pub(crate) fn nullable_text(&mut self, name: &str) -> Option<Option<String>> {
        match self.object.remove(name)? {
            Value::String(text) => Some(Some(text)),
            Value::Null => Some(None),
            _ => self.refuse(name, "must be a text or null"),
        }
    }

    /// A whole number that may be left out, but not be null.
    pub(crate) fn integer(&mut self, name: &str) -> Option<i64> {
        let value = self.object.remove(name)?;
        whole(&value).or_else(|| self.refuse(name, "must be a whole number"))
    }

    /// A whole number that may be left out, or null.
    pub(crate) fn nullable_integer(&mut self, name: &str) -> Option<Option<i64>> {
        match self.object.remove(name)? {
            Value::Null => Some(None),
            value => whole(&value).map(Some).or_else(|| self.refuse(name, "must be a whole number or null")),
        }
    }

    /// True or false, or left out.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.object.remove(name)?;
        value.as_bool().or_else(|| self.refuse(name, "must be true or false"))
    }

    /// True or false; refused where it is left out.
    pub(crate) fn required_flag(&mut self, name: &str) -> bool {
        if !self.object.contains_key(name) {
            self.refuse::<()>(name, "must be given");
        }
        self.flag(name).unwrap_or_default()
    }

    /// A list of texts, or left out.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for (index, value) in self.list(name)?.into_iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text),
                _ => {
                    self.refuse::<()>(&format!("{name}[{index}]"), "must be a text");
                }
            }
        }
        Some(texts)
    }

    /// A list of anything, or left out.
    pub(crate) fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        match self.object.remove(name)? {
            Value::Array(values) => Some(values),
            _ => self.refuse(name, "must be a list"),
        }
    }

    /// A list of objects, each read by `read`, or left out.
    pub(crate) fn objects<T>(&mut self, name: &str, read: impl Fn(&mut Self) -> T) -> Option<Vec<T>> {
        let mut objects = Vec::new();
        for (index, value) in self.list(name)?.into_iter().enumerate() {
            let Value::Object(object) = value else {
                self.refuse::<()>(&format!("{name}[{index}]"), "must be an object");
                continue;
            };
            let mut fields = Self::of(object, format!("{}{name}[{index}].", self.prefix));
            objects.push(read(&mut fields));
            self.errors.extend(fields.refusals());
        }
        Some(objects)
    }

    /// An object, read by `read`, or left out.
    pub(crate) fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Value::Object(object) = self.object.remove(name)? else { return self.refuse(name, "must be an object") };
        let mut fields = Self::of(object, format!("{}{name}.", self.prefix));
        let read = read(&mut fields);
        self.errors.extend(fields.refusals());
        Some(read)
    }

    /// One of our ids, or left out.
    pub(crate) fn id<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        text.parse().ok().or_else(|| self.refuse(name, "must be an id (UUID)"))
    }

    /// A time in RFC 3339, in microseconds (Unix), or left out, or null.
    pub(crate) fn nullable_time(&mut self, name: &str) -> Option<Option<i64>> {
        match self.nullable_text(name)? {
            None => Some(None),
            Some(text) => time::parse(&text)
                .map(Some)
                .or_else(|| self.refuse(name, "must be a time in RFC 3339, 2026-01-05T10:00:00Z for example")),
        }
    }

    /// A time in RFC 3339, in microseconds (Unix); refused where it is left out.
    pub(crate) fn required_time(&mut self, name: &str) -> i64 {
        if self.object.get(name).is_none_or(Value::is_null) {
            self.refuse::<()>(name, "must be given");
        }
        self.nullable_time(name).flatten().unwrap_or_default()
    }

    /// Notes that the field `name` is refused.
    pub(crate) fn refuse<T>(&mut self, name: &str, message: &str) -> Option<T> {
        self.errors.push(FieldProblem { field: format!("{}{name}", self.prefix), message: message.to_owned() });
        None
    }

    /// Whether anything was wrong so far.
    pub(crate) fn has_refusals(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Whether the field `name` was refused.
    pub(crate) fn refuses(&self, name: &str) -> bool {
        self.errors.iter().any(|error| error.field.strip_prefix(&self.prefix) == Some(name))
    }

    /// All that was wrong, unknown fields included.
    pub(crate) fn refusals(self) -> Vec<FieldProblem> {
        let Self { object, prefix, mut errors } = self;
        let unknown = object.into_iter().map(|(name, _)| FieldProblem {
            field: format!("{prefix}{name}"),
            message: "is not a field of this call".to_owned(),
        });
        errors.extend(unknown);
        errors
    }

    /// Ends the reading: refused where anything was wrong.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let errors = self.refusals();
        if errors.is_empty() { Ok(()) } else { Err(Problem::fields(errors)) }
    }
}

/// The whole number that `value` is, however it is written: `750.0` is one as well, as JSON Schema has it.
fn whole(value: &Value) -> Option<i64> {
    /// Beyond it a number with a point no longer says which whole number it is.
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    value.as_i64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT_MAX)?;
        #[allow(clippy::cast_possible_truncation, reason = "it is whole, and in range")]
        Some(number as i64)
    })
}

/// A JSON object in which no name stands twice: of two, nobody could say which was meant.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
                let mut object = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if object.contains_key(&name) {
                        return Err(A::Error::custom("a field is given twice"));
                    }
                    object.insert(name, value);
                }
                Ok(Object(object))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        Fields::read(json.as_bytes()).expect_err("refused")
    }

    #[test]
    fn broken_json_is_malformed_and_a_name_stands_once() {
        for json in ["{", "[]", "3", "{\"a\":1,\"a\":2}", "{\"a\":NaN}", "{\"a\":1}x", "\u{feff}{}"] {
            assert_eq!(problem(json).code, ProblemCode::MalformedJson, "{json}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        assert_eq!(problem(&deep).code, ProblemCode::MalformedJson);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let json = r#"{"name":1,"limit":1.5,"quota":"x","on":"yes","scopes":["a",2],"owner":"me",
            "people":[{"name":"A"},{"name":3,"age":4},5],"until":"tomorrow","more":null}"#;
        let mut fields = Fields::read(json.as_bytes()).unwrap();
        assert_eq!(fields.text("name"), None);
        assert_eq!(fields.integer("limit"), None);
        assert_eq!(fields.nullable_integer("quota"), None);
        assert_eq!(fields.flag("on"), None);
        assert_eq!(fields.texts("scopes"), Some(vec!["a".to_owned()]));
        assert_eq!(fields.id::<crate::model::UserId>("owner"), None);
        assert_eq!(fields.objects("people", |f| f.text("name")), Some(vec![Some("A".to_owned()), None]));
        assert_eq!(fields.nullable_time("until"), None);
        let named: Vec<String> = fields.refusals().into_iter().map(|error| error.field).collect();
        let expected = [
            "name",
            "limit",
            "quota",
            "on",
            "scopes[1]",
            "owner",
            "people[1].name",
            "people[1].age",
            "people[2]",
            "until",
            "more",
        ];
        let mut sorted = named.clone();
        sorted.sort();
        let mut wanted: Vec<String> = expected.map(str::to_owned).to_vec();
        wanted.sort();
        assert_eq!(sorted, wanted, "{named:?}");
    }

    // S216: null is no number, 1.5 and "abc" are none; -1 and 0 are for the control plane to refuse.
    #[test]
    fn numbers_are_whole_and_not_null() {
        for (json, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("60.0", Some(60)),
            ("1e3", Some(1_000)),
            ("1.5", None),
            ("1e300", None),
            ("\"abc\"", None),
            ("null", None),
        ] {
            let mut fields = Fields::read(format!("{{\"rpm\":{json}}}").as_bytes()).unwrap();
            assert_eq!(fields.integer("rpm"), value, "{json}");
            assert_eq!(fields.finish().is_ok(), value.is_some(), "{json}");
        }
        let mut fields = Fields::read(b"{\"quota\":null}").unwrap();
        assert_eq!(fields.nullable_integer("quota"), Some(None));
    }
}
