//! What the OpenAPI documents of both APIs say in the same way: which refusals a call can answer and with which
//! headers, closed sets of values, times, and names of calls. Pure: a document in, the same document out, complete.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ProblemCode;

/// A header of answers: name, what it means, and the schema of its value as JSON.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// As it is written in the document.
    pub name: &'static str,
    /// For people.
    pub meaning: &'static str,
    /// A JSON schema.
    pub schema: &'static str,
    /// Whether an answer of the statuses in question always has it.
    pub is_certain: bool,
}

/// Where an object was made.
pub const LOCATION: Header = Header {
    name: "Location",
    meaning: "The new object's path.",
    schema: r#"{"type":"string","format":"uri-reference"}"#,
    is_certain: true,
};

/// The version of an object.
pub const ETAG: Header = Header {
    name: "ETag",
    meaning: "The object's version, for If-Match.",
    schema: r#"{"type":"string","pattern":"^\"[0-9]+\"$"}"#,
    is_certain: true,
};

/// An answer that was kept.
pub const REPLAYED: Header = Header {
    name: "Idempotency-Replayed",
    meaning: "The answer was kept for this Idempotency-Key; nothing was done again.",
    schema: r#"{"type":"string","const":"true"}"#,
    is_certain: false,
};

/// The id that every answer has.
pub const REQUEST_ID: Header = Header {
    name: "X-Request-Id",
    meaning: "The request's id: finds it in the logs.",
    schema: r#"{"type":"string","format":"uuid"}"#,
    is_certain: true,
};

/// With 429 and 503.
pub const RETRY_AFTER: Header = Header {
    name: "Retry-After",
    meaning: "Seconds until it is worth another try.",
    schema: r#"{"type":"integer","minimum":1}"#,
    is_certain: true,
};

/// With 401.
pub const WWW_AUTHENTICATE: Header = Header {
    name: "WWW-Authenticate",
    meaning: "What the call wants to see (RFC 6750 §3).",
    schema: r#"{"type":"string"}"#,
    is_certain: true,
};

/// Where a schema says more than a Rust type does: the schema or the path, its property or parameter, and JSON that is
/// merged into it.
pub type Refinement = (&'static str, &'static str, Value);

/// One of these, and no other.
pub fn one_of<T: Into<Value>>(values: impl IntoIterator<Item = T>) -> Value {
    json!({"enum": values.into_iter().map(Into::into).collect::<Vec<Value>>()})
}

/// One line that people write: not blank, at most `chars_max` characters, no control characters.
#[must_use]
pub fn line(chars_max: usize) -> Value {
    const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";
    json!({"minLength": 1, "maxLength": chars_max, "pattern": format!(r"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*$")})
}

/// Prose that people write: not blank, at most `chars_max` characters, no control characters but tabs and ends of line.
#[must_use]
pub fn prose(chars_max: usize) -> Value {
    const CONTROL: &str = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f";
    json!({"minLength": 1, "maxLength": chars_max, "pattern": format!(r"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*$")})
}

/// What one call can be refused for besides: `METHOD /path` and the codes.
pub type OwnRefusals = (&'static str, &'static [ProblemCode]);

/// What another room adds to the document of an API, whose router stands behind that API's edge.
pub struct Part {
    /// What is derived from its types.
    pub document: utoipa::openapi::OpenApi,
    /// See [`Api::own_refusals`].
    pub own_refusals: Vec<OwnRefusals>,
    /// See [`Api::properties`].
    pub properties: Vec<Refinement>,
    /// See [`Api::parameters`].
    pub parameters: Vec<Refinement>,
    /// See [`Api::schemas`].
    pub schemas: Vec<(&'static str, Value)>,
    /// See [`Api::own_headers`].
    pub own_headers: Vec<(&'static str, &'static str, Header)>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

/// What is special about one API.
pub struct Api {
    /// Headers of every answer.
    pub headers: Vec<Header>,
    /// What any call of its kind can be refused for.
    pub refusals: fn(&Call<'_>) -> Vec<ProblemCode>,
    /// What single calls can be refused for besides, by `METHOD /path`.
    pub own_refusals: Vec<OwnRefusals>,
    /// What the properties of schemas can be.
    pub properties: Vec<Refinement>,
    /// What the parameters of paths can be; `*` is every path that has the parameter.
    pub parameters: Vec<Refinement>,
    /// What whole schemas say besides: merged into them. An `examples` of each stands here, too.
    pub schemas: Vec<(&'static str, Value)>,
    /// Schemas of request bodies in which unknown fields are ignored; in all others they are refused.
    pub lenient: &'static [&'static str],
    /// Headers of single answers besides: `METHOD /path`, status, header.
    pub own_headers: Vec<(&'static str, &'static str, Header)>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// A call of the document.
#[derive(Debug)]
pub struct Call<'a> {
    /// `GET` and so on.
    pub method: &'a str,
    /// With its `{parameters}`.
    pub path: &'a str,
    operation: &'a Value,
}

impl Call<'_> {
    /// Whether it needs no credentials.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.operation["security"].as_array().is_some_and(|ways| ways.contains(&json!({})) || ways.is_empty())
    }

    /// Whether it reads a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        ["POST", "PUT", "PATCH"].contains(&self.method)
    }

    /// Whether it has a parameter `in` the query, the path or a header.
    #[must_use]
    pub fn has_parameter(&self, place: &str) -> bool {
        self.parameters().any(|parameter| parameter["in"] == place)
    }

    /// Whether it takes an `Idempotency-Key`.
    #[must_use]
    pub fn takes_idempotency_key(&self) -> bool {
        self.parameters().any(|parameter| parameter["name"] == "Idempotency-Key")
    }

    /// What it is about.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.operation["tags"][0].as_str().unwrap_or_default()
    }

    /// Whether it takes `If-Match`.
    #[must_use]
    pub fn takes_version(&self) -> bool {
        self.parameters().any(|parameter| parameter["name"] == "If-Match")
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.operation["parameters"].as_array().into_iter().flatten()
    }
}

/// `document` with everything that `api` knows about it.
///
/// # Panics
/// Where `api` names a call, schema or property that the document does not have: the tests would not pass then.
#[must_use]
pub fn complete(mut document: Value, api: &Api) -> Value {
    for (schema, property, more) in &api.properties {
        let place = property_of(&mut document["components"]["schemas"][schema], property);
        merge(place.unwrap_or_else(|| panic!("{schema}.{property} is not in the document")), more);
    }
    for (schema, more) in &api.schemas {
        let place = document["components"]["schemas"].get_mut(schema);
        merge(place.unwrap_or_else(|| panic!("{schema} is not in the document")), more);
    }
    for (path, parameter, more) in &api.parameters {
        let found = refine_parameter(&mut document["paths"], path, parameter, more);
        assert!(found > 0, "{path} has no parameter {parameter}");
    }
    close_requests(&mut document, api.lenient);
    for (name, _) in &api.own_refusals {
        let (method, path) = name.split_once(' ').expect("a method and a path");
        let known = &document["paths"][path][method.to_lowercase()];
        assert!(known.is_object(), "{name} is not in the document");
    }
    let mut shared = Map::new();
    let paths = document["paths"].as_object_mut().expect("a document has paths");
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().expect("a path has calls") {
            let method = method.to_uppercase();
            let codes = refusals(api, &Call { method: &method, path, operation });
            name(operation);
            answer_headers(operation, api, &format!("{method} {path}"));
            refuse(operation, api, codes, &mut shared);
        }
    }
    document["components"]["responses"] = Value::Object(shared);
    refine(&mut document["components"]["schemas"]);
    document
}

/// `POST /v1/…` and the like, without doubles, in the order of the documentation.
fn refusals(api: &Api, call: &Call<'_>) -> Vec<ProblemCode> {
    let mut codes = (api.refusals)(call);
    let key = format!("{} {}", call.method, call.path);
    codes.extend(api.own_refusals.iter().filter(|(name, _)| *name == key).flat_map(|(_, own)| *own));
    ProblemCode::ALL.iter().copied().filter(|code| codes.contains(code)).collect()
}

/// Calls are named by what they are about and what they do, in one word: `integrations_approve`.
fn name(operation: &mut Value) {
    let tag = operation["tags"][0].as_str().unwrap_or("api");
    let verb = match operation["operationId"].as_str().unwrap_or_default() {
        "index" => "list",
        "show" => "get",
        verb => verb,
    };
    operation["operationId"] = if verb.starts_with(tag) { verb.into() } else { format!("{tag}_{verb}").into() };
}

fn property_of<'a>(schema: &'a mut Value, property: &str) -> Option<&'a mut Value> {
    if schema.get("allOf").is_some() {
        let parts = schema["allOf"].as_array_mut()?;
        return parts.iter_mut().find_map(|part| part.get_mut("properties")?.get_mut(property));
    }
    schema.get_mut("properties")?.get_mut(property)
}

/// Says more of a parameter of a path, or of all paths (`*`); at how many places it was found.
fn refine_parameter(paths: &mut Value, path: &str, name: &str, more: &Value) -> usize {
    let mut found = 0;
    let items = paths.as_object_mut().into_iter().flatten().filter(|(known, _)| path == "*" || known.as_str() == path);
    for call in items.filter_map(|(_, item)| item.as_object_mut()).flat_map(|item| item.values_mut()) {
        let parameters = call.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["name"] == name) {
            merge(&mut parameter["schema"], more);
            found += 1;
        }
    }
    found
}

/// Says more of `schema`, or of its items where it is a list and `more` is not about lists.
fn merge(schema: &mut Value, more: &Value) {
    let is_of_items =
        schema["items"].is_object() && !more.as_object().is_some_and(|more| more.contains_key("maxItems"));
    let may_be_null = schema["type"].as_array().is_some_and(|types| types.contains(&json!("null")));
    let place = if is_of_items { &mut schema["items"] } else { &mut *schema };
    for (key, value) in more.as_object().into_iter().flatten() {
        place[key] = value.clone();
    }
    let values = place.get_mut("enum").and_then(Value::as_array_mut).filter(|_| may_be_null && !is_of_items);
    if let Some(values) = values {
        values.push(Value::Null);
    }
}

/// Bodies of requests have no fields but those that are described, wherever an unknown one is refused.
fn close_requests(document: &mut Value, lenient: &[&str]) {
    let mut names: Vec<String> = Vec::new();
    for call in document["paths"].as_object().into_iter().flatten().flat_map(|(_, item)| item.as_object()).flatten() {
        references(&call.1["requestBody"], &mut names);
    }
    let mut done = 0;
    while let Some(name) = names.get(done).cloned() {
        done += 1;
        let schema = &mut document["components"]["schemas"][&name];
        if schema["properties"].is_object() && !lenient.contains(&name.as_str()) {
            schema["additionalProperties"] = false.into();
        }
        references(schema, &mut names);
    }
}

/// Adds the schemas that `part` refers to and that are not in `names` yet.
fn references(part: &Value, names: &mut Vec<String>) {
    match part {
        Value::Array(parts) => parts.iter().for_each(|part| references(part, names)),
        Value::Object(members) => {
            let name = part["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/"));
            if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
                names.push(name.to_owned());
            }
            members.values().for_each(|member| references(member, names));
        }
        _ => {}
    }
}

fn described(header: &Header) -> Value {
    let schema: Value = serde_json::from_str(header.schema).expect("a schema is JSON");
    json!({"description": header.meaning, "required": header.is_certain, "schema": schema})
}

fn answer_headers(operation: &mut Value, api: &Api, call: &str) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        for header in &api.headers {
            response["headers"][header.name] = described(header);
        }
        let own = api.own_headers.iter().filter(|(name, at, _)| *name == call && at == status);
        for (_, _, header) in own {
            response["headers"][header.name] = described(header);
        }
    }
}

/// Adds an answer for each status that `codes` have: one that other calls share, or a second body of one that the call
/// describes itself.
fn refuse(operation: &mut Value, api: &Api, codes: Vec<ProblemCode>, shared: &mut Map<String, Value>) {
    let mut by_status: BTreeMap<u16, Vec<ProblemCode>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let own = &mut operation["responses"][status.to_string()];
        if own.is_object() {
            own["content"]["application/problem+json"] = body(status, &codes);
            continue;
        }
        let name: Vec<String> = codes.iter().map(|code| format!("{code:?}")).collect();
        let name = name.join("Or");
        *own = json!({"$ref": format!("#/components/responses/{name}")});
        shared.entry(name).or_insert_with(|| response(api, status, &codes));
    }
}

fn response(api: &Api, status: u16, codes: &[ProblemCode]) -> Value {
    let of_status = match status {
        401 => Some(WWW_AUTHENTICATE),
        429 | 503 => Some(RETRY_AFTER),
        _ => None,
    };
    let headers = api.headers.iter().chain(&of_status);
    let headers: Map<String, Value> = headers.map(|header| (header.name.to_owned(), described(header))).collect();
    let sentences: Vec<String> = codes.iter().map(|code| format!("`{}`: {}", code.code(), code.cause())).collect();
    json!({
        "description": sentences.join(" "),
        "headers": headers,
        "content": {"application/problem+json": body(status, codes)},
    })
}

fn body(status: u16, codes: &[ProblemCode]) -> Value {
    let names: Vec<&str> = codes.iter().map(|code| code.code()).collect();
    let first = codes[0];
    json!({
        "schema": {"allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"status": {"const": status}, "code": {"enum": names}}},
        ]},
        "example": {
            "type": format!("https://sensorgate.example/problems/{}", first.code()),
            "title": first.title(),
            "status": status,
            "detail": first.remedy(),
            "code": first.code(),
            "request_id": "0197f2b4-6c1e-7d3a-9b52-3f8e1c6a7d90",
        },
    })
}

/// Names by which a time is known, besides those that end in `_at`.
const TIMES: &[&str] = &["at", "until", "from", "to", "window_start", "expires_at"];

/// What follows from the names of properties: times are RFC 3339.
fn refine(schema: &mut Value) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(refine),
        Value::Object(members) => {
            for (name, property) in members.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
                let is_text = property["type"] == "string" || property["type"] == json!(["string", "null"]);
                let is_time = name.ends_with("_at") || TIMES.contains(&name.as_str());
                if is_text && is_time && property.get("enum").is_none() {
                    property["format"] = "date-time".into();
                }
            }
            members.values_mut().for_each(refine);
        }
        _ => {}
    }
}
