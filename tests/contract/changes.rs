//! What differs between two OpenAPI documents, one fact a line, and which of it breaks a client that was written for the
//! first one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One difference.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    is_breaking: bool,
    text: String,
}

impl Change {
    pub(crate) fn is_breaking(&self) -> bool {
        self.is_breaking
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_breaking { "BREAKING " } else { "" })?;
        f.write_str(&self.text)
    }
}

/// Who reads a part of the document: what callers send, what they are answered, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
    Both,
    Words,
}

/// Keys whose values are for people.
const WORDS: &[&str] = &["description", "summary", "example", "examples", "title", "info", "tags", "servers"];
/// Limits: beyond them a request is refused. Whether a smaller number is narrower.
const UPPER: &[&str] = &["maxLength", "maximum", "maxItems"];
const LOWER: &[&str] = &["minLength", "minimum", "minItems"];
const OTHER_LIMITS: &[&str] = &["pattern", "format", "const", "additionalProperties", "exclusiveMinimum"];

/// All differences, those that break first. What is gone or new as a whole is one difference.
pub(crate) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let (old, new) = (facts(before), facts(after));
    let of_both = |starts: fn(&[String]) -> bool| -> BTreeSet<String> {
        [before, after].into_iter().flat_map(|document| reach(document, starts)).collect()
    };
    let (requests, responses) = (of_both(is_request), of_both(|path| !is_request(path)));
    let side = |path: &[String]| side(path, &requests, &responses);
    let mut changes = Vec::new();
    for (path, value) in &old {
        match new.get(path) {
            Some(other) if other != value => changes.push((path, altered(path, value, other, side(path)))),
            Some(_) => {}
            None => changes.push((path, removed(path, value, side(path)))),
        }
    }
    let mut changes = whole(changes, &new);
    let added = new.iter().filter(|(path, _)| !old.contains_key(*path));
    let added = added.map(|(path, value)| (path, added_fact(path, value, side(path), &old)));
    changes.extend(whole(added.collect(), &old));
    changes.sort_by(|one, two| two.is_breaking.cmp(&one.is_breaking).then_with(|| one.text.cmp(&two.text)));
    changes
}

/// One difference for all that belong to something that `other` does not have: it breaks if one of them does.
fn whole(changes: Vec<(&Path, Change)>, other: &BTreeMap<Path, Value>) -> Vec<Change> {
    let mut tops: BTreeMap<Path, Change> = BTreeMap::new();
    for (path, change) in changes {
        let depth = (1..path.len()).find(|depth| !other.contains_key(&path[..*depth])).unwrap_or(path.len());
        match tops.get_mut(&path[..depth]) {
            Some(top) => top.is_breaking |= change.is_breaking,
            None => drop(tops.insert(path.clone(), change)),
        }
    }
    tops.into_values().collect()
}

type Path = Vec<String>;

/// The document as facts: each scalar by its path. Lists of scalars are sets; parameters go by their names.
fn facts(document: &Value) -> BTreeMap<Path, Value> {
    let mut facts = BTreeMap::new();
    collect(document, &mut Vec::new(), &mut facts);
    facts
}

fn collect(part: &Value, path: &mut Path, facts: &mut BTreeMap<Path, Value>) {
    // Things that have parts are facts themselves, so that one that is gone is seen.
    let value = if part.is_object() || part.is_array() { Value::Null } else { part.clone() };
    facts.insert(path.clone(), value);
    let mut within = |name: String, part: &Value| {
        path.push(name);
        collect(part, path, facts);
        path.pop();
    };
    match part {
        Value::Object(members) => members.iter().for_each(|(name, part)| within(name.clone(), part)),
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                let name = match (part["in"].as_str(), part["name"].as_str()) {
                    (Some(place), Some(name)) => format!("{place} {name}"),
                    _ if part.is_object() || part.is_array() => index.to_string(),
                    _ => part.as_str().map_or_else(|| part.to_string(), str::to_owned),
                };
                within(name, part);
            }
        }
        _ => {}
    }
}

fn is_request(path: &[String]) -> bool {
    path.iter().any(|name| name == "requestBody" || name == "parameters")
}

/// Schemas that are reached from the parts of calls that `starts` says.
fn reach(document: &Value, starts: impl Fn(&[String]) -> bool) -> BTreeSet<String> {
    const PREFIX: &str = "#/components/schemas/";
    let all = facts(document);
    let target = |path: &Path, value: &Value| {
        let text = value.as_str().filter(|_| path.last().is_some_and(|name| name == "$ref"))?;
        Some(text.strip_prefix(PREFIX)?.to_owned())
    };
    let first = |path: &Path, at: usize, name: &str| path.get(at).is_some_and(|known| known == name);
    let is_start =
        |path: &Path| first(path, 0, "paths") || (first(path, 0, "components") && first(path, 1, "responses"));
    let mut reached: BTreeSet<String> = all
        .iter()
        .filter(|(path, _)| is_start(path) && starts(path))
        .filter_map(|(path, value)| target(path, value))
        .collect();
    loop {
        let within = |path: &Path| path.len() > 2 && path[1] == "schemas" && reached.contains(&path[2]);
        let next: Vec<String> =
            all.iter().filter(|(path, _)| within(path)).filter_map(|(path, value)| target(path, value)).collect();
        let before = reached.len();
        reached.extend(next);
        if reached.len() == before {
            return reached;
        }
    }
}

fn side(path: &[String], requests: &BTreeSet<String>, responses: &BTreeSet<String>) -> Side {
    // A property may have such a name as well, and is no word then.
    let mut names = path.iter().enumerate();
    if names.any(|(at, name)| WORDS.contains(&name.as_str()) && (at == 0 || path[at - 1] != "properties")) {
        return Side::Words;
    }
    if path.len() > 2 && path[0] == "components" && path[1] == "schemas" {
        return match (requests.contains(&path[2]), responses.contains(&path[2])) {
            (true, false) => Side::Request,
            (false, true) => Side::Response,
            _ => Side::Both,
        };
    }
    if is_request(path) { Side::Request } else { Side::Response }
}

fn change(is_breaking: bool, what: &str, path: &[String], more: &str) -> Change {
    Change { is_breaking, text: format!("{what}: {}{more}", path.join(" › ")) }
}

fn key(path: &[String]) -> &str {
    path.last().map_or("", String::as_str)
}

/// Whether the fact is an element of the list called `name`.
fn is_in(path: &[String], name: &str) -> bool {
    path.len() > 1 && path[path.len() - 2] == name && !(path.len() > 2 && path[path.len() - 3] == "properties")
}

fn is_limit(name: &str) -> bool {
    UPPER.contains(&name) || LOWER.contains(&name) || OTHER_LIMITS.contains(&name)
}

fn removed(path: &[String], value: &Value, side: Side) -> Change {
    let is_breaking = match side {
        Side::Words => false,
        // A limit or a need that is lifted lets more through.
        Side::Request => !(is_limit(key(path)) || is_in(path, "required") || key(path) == "required"),
        // Fewer values are no surprise; a field that need not come any more is one.
        Side::Response => !(is_limit(key(path)) || is_in(path, "enum")),
        Side::Both => !is_limit(key(path)),
    };
    change(is_breaking, "removed", path, &scalar(value))
}

fn added_fact(path: &[String], value: &Value, side: Side, old: &BTreeMap<Path, Value>) -> Change {
    let is_new = |depth: usize| !old.keys().any(|known| known.starts_with(&path[..depth]));
    // What belongs to a call, schema or parameter that is new itself demands nothing of those who do not use it.
    let is_of_new_call = path[0] == "paths" && path.len() > 3 && is_new(3);
    let is_of_new_schema = path[0] == "components" && path.len() > 3 && is_new(3);
    let narrows =
        is_limit(key(path)) || is_in(path, "required") || (key(path) == "required" && *value == Value::Bool(true));
    let is_breaking = match side {
        Side::Words | Side::Response => false,
        Side::Request | Side::Both => narrows && !is_of_new_call && !is_of_new_schema && !is_of_new_property(path, old),
    } || (key(path) != "security"
        && path[0] == "paths"
        && path.iter().any(|name| name == "security")
        && !is_of_new_call);
    change(is_breaking, "added", path, &scalar(value))
}

/// Limits of a property that nobody sends yet.
fn is_of_new_property(path: &[String], old: &BTreeMap<Path, Value>) -> bool {
    let Some(at) = path.iter().rposition(|name| name == "properties") else { return false };
    at + 1 < path.len() && !old.keys().any(|known| known.starts_with(&path[..=at + 1]))
}

fn altered(path: &[String], before: &Value, after: &Value, side: Side) -> Change {
    let name = key(path);
    let rose = after.as_f64() > before.as_f64();
    let is_breaking = match side {
        Side::Words => false,
        Side::Request if UPPER.contains(&name) => !rose,
        Side::Request if LOWER.contains(&name) => rose,
        Side::Request if name == "required" => *after == Value::Bool(true),
        Side::Response if UPPER.contains(&name) || LOWER.contains(&name) => false,
        _ => name != "default",
    };
    change(is_breaking, "changed", path, &format!(" from {before} to {after}"))
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) | Value::Null => String::new(),
        value => format!(" = {value}"),
    }
}
