//! The third reader: serde_json, which keeps numbers as they were written. It alone may say that a body is not JSON.
//!
//! Values are skipped first and looked at afterwards, entry by entry, so that a number beyond every double, half of a
//! surrogate pair or an array of arrays harms only the entry that holds it. Skipping does not recurse: nesting costs
//! one byte a level.

use std::{borrow::Cow, fmt};

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Outline, Readings, Unreadable,
    entry::{Entry, Field, Sink, Value},
    number,
};

/// Reads all of `text`; an error is final.
pub(super) fn read(text: &str, readings_max: usize, sink: &mut impl Sink) -> Result<Outline, Unreadable> {
    outline(text, readings_max, sink).map_err(|error| Unreadable::NotJson {
        line: error.line(),
        column: error.column(),
        truncated: error.is_eof(),
    })
}

fn outline(text: &str, readings_max: usize, sink: &mut impl Sink) -> Result<Outline, serde_json::Error> {
    // From here on the body is known to be JSON as a whole; what follows takes it apart.
    let body = serde_json::from_str::<&RawValue>(text)?.get();
    let mut outline = Outline { readings: Readings::Absent, batch_id: None };
    match body.as_bytes().first() {
        Some(b'[') => outline.add(Readings::Array(readings(body, readings_max, sink)?)),
        Some(b'{') => each_member(body, |name, value| {
            match decode(name).as_deref() {
                Some("readings") if value.starts_with('[') => {
                    let max = if outline.readings == Readings::Absent { readings_max } else { 0 };
                    outline.add(Readings::Array(readings(value, max, sink)?));
                }
                Some("readings") => outline.add(Readings::NotArray),
                Some("batch_id") => outline.batch_id = decode(value).as_deref().and_then(super::batch_id),
                _ => {}
            }
            Ok(())
        })?,
        _ => {}
    }
    Ok(outline)
}

/// Hands over up to `max` entries of the array `text`; gives the number of all.
fn readings(text: &str, max: usize, sink: &mut impl Sink) -> Result<usize, serde_json::Error> {
    let mut count = 0;
    each_item(text, |item| {
        if count < max {
            hand_over(count, item, sink)?;
        }
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

fn hand_over(index: usize, item: &str, sink: &mut impl Sink) -> Result<(), serde_json::Error> {
    if !item.starts_with('{') {
        sink.not_an_object(index);
        return Ok(());
    }
    let mut entry = Entry::default();
    let mut escaped = Vec::new();
    each_member(item, |name, token| {
        if let Some(field) = decode(name).as_deref().and_then(Field::parse) {
            let value = value(token);
            if value == Value::Garbled && entry.get(field) == Value::Absent {
                escaped.extend(decode(token).map(|text| (field, text)));
            }
            entry.set(field, value);
        }
        Ok(())
    })?;
    let mut entry: Entry<'_> = entry;
    for (field, text) in &escaped {
        entry.resolve(*field, text);
    }
    sink.entry(index, &entry);
    Ok(())
}

/// What `token` is; a string with an escape is [`Value::Garbled`] until it is decoded.
fn value(token: &str) -> Value<'_> {
    match token.as_bytes().first() {
        Some(b'"') => plain(token).map_or(Value::Garbled, Value::Text),
        Some(b'[' | b'{') => Value::Nested,
        Some(b't' | b'f') => Value::Bool,
        Some(b'n') | None => Value::Null,
        Some(_) => {
            let (number, _) = number::scan(token.as_bytes(), 0).expect("both follow the grammar of RFC 8259");
            Value::Number(number)
        }
    }
}

/// The text of a string token without escapes.
fn plain(token: &str) -> Option<&str> {
    token.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
}

/// The text of a string token; none for other tokens, and for half of a surrogate pair.
fn decode(token: &str) -> Option<Cow<'_, str>> {
    if !token.starts_with('"') {
        return None;
    }
    plain(token).map(Cow::Borrowed).or_else(|| serde_json::from_str(token).ok().map(Cow::Owned))
}

fn each_item<'a>(
    array: &'a str,
    visit: impl FnMut(&'a str) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_str(array).deserialize_seq(Items(visit))
}

fn each_member<'a>(
    object: &'a str,
    visit: impl FnMut(&'a str, &'a str) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_str(object).deserialize_map(Members(visit))
}

struct Items<F>(F);

impl<'de, F: FnMut(&'de str) -> Result<(), serde_json::Error>> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            (self.0)(item.get()).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

struct Members<F>(F);

impl<'de, F: FnMut(&'de str, &'de str) -> Result<(), serde_json::Error>> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some((name, value)) = members.next_entry::<&RawValue, &RawValue>()? {
            (self.0)(name.get(), value.get()).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}
