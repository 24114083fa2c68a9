//! The second reader: simd-json, for JSON that is valid and out of the ordinary.
//!
//! It may only say yes, too. What it refuses need not be wrong: it refuses whole bodies for one number that no double
//! holds, and for nesting beyond its limit.

use std::fmt::Write as _;

use simd_json::{Buffers, Node, StaticNode};

use super::{
    Outline, Readings,
    entry::{Entry, Field, Sink, Value},
    number::{self, Number},
};

/// Nesting that simd-json follows. The contract has three levels.
const DEPTH_MAX: usize = 32;
/// Numbers of fewer digits are all told apart by a double, so that the decimal can be had back from it.
const DIGITS_MAX: usize = 15;

/// Reads all of `body`, or gives up.
pub(super) fn read(body: &[u8], readings_max: usize, sink: &mut impl Sink) -> Option<Outline> {
    if has_long_number(body) {
        return None;
    }
    // simd-json unescapes in place and leaves its input destroyed, on failure too.
    let mut copy = body.to_vec();
    let mut buffers = Buffers::with_max_depth(copy.len(), DEPTH_MAX);
    let tape = simd_json::to_tape_with_buffers(&mut copy, &mut buffers).ok()?;
    let walk = Walk { nodes: &tape.0, readings_max };
    Some(match *walk.nodes.first()? {
        Node::Array { len, .. } => {
            walk.readings(1, len, sink)?;
            Outline { readings: Readings::Array(len), batch_id: None }
        }
        Node::Object { len, .. } => walk.top_level(len, sink)?,
        _ => Outline { readings: Readings::Absent, batch_id: None },
    })
}

/// Whether 16 digits (or points) stand in a row somewhere. Such a run has one of its bytes at every 16th place, so
/// only those are looked at.
fn has_long_number(body: &[u8]) -> bool {
    let is_part = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let run = DIGITS_MAX + 1;
    (run - 1..body.len()).step_by(run).filter(|&at| is_part(&&body[at])).any(|at| {
        let before = body[..at].iter().rev().take(run).take_while(is_part).count();
        let from_here = body[at..].iter().take(run).take_while(is_part).count();
        before + from_here >= run
    })
}

struct Walk<'t, 'a> {
    nodes: &'t [Node<'a>],
    readings_max: usize,
}

impl Walk<'_, '_> {
    fn top_level(&self, len: usize, sink: &mut impl Sink) -> Option<Outline> {
        let mut outline = Outline { readings: Readings::Absent, batch_id: None };
        let mut at = 1;
        for _ in 0..len {
            let Node::String(name) = *self.nodes.get(at)? else { return None };
            let value = at + 1;
            match (name, self.nodes.get(value)?) {
                ("readings", Node::Array { len, .. }) => {
                    if outline.readings == Readings::Absent {
                        self.readings(value + 1, *len, sink)?;
                    }
                    outline.add(Readings::Array(*len));
                }
                ("readings", _) => outline.add(Readings::NotArray),
                ("batch_id", Node::String(text)) => outline.batch_id = super::batch_id(text),
                ("batch_id", _) => outline.batch_id = None,
                _ => {}
            }
            at = self.behind(value)?;
        }
        Some(outline)
    }

    fn readings(&self, first: usize, len: usize, sink: &mut impl Sink) -> Option<()> {
        let mut at = first;
        for index in 0..len.min(self.readings_max) {
            match *self.nodes.get(at)? {
                Node::Object { len, .. } => sink.entry(index, &self.entry(at + 1, len)?),
                _ => sink.not_an_object(index),
            }
            at = self.behind(at)?;
        }
        Some(())
    }

    fn entry(&self, first: usize, len: usize) -> Option<Entry<'_>> {
        let mut entry = Entry::default();
        let mut at = first;
        for _ in 0..len {
            let Node::String(name) = *self.nodes.get(at)? else { return None };
            if let Some(field) = Field::parse(name) {
                entry.set(field, value(self.nodes.get(at + 1)?)?);
            }
            at = self.behind(at + 1)?;
        }
        Some(entry)
    }

    /// Where the value at `at` ends.
    fn behind(&self, at: usize) -> Option<usize> {
        Some(match *self.nodes.get(at)? {
            Node::Array { count, .. } | Node::Object { count, .. } => at + 1 + count,
            Node::String(_) | Node::Static(_) => at + 1,
        })
    }
}

fn value<'t>(node: &Node<'t>) -> Option<Value<'t>> {
    Some(match *node {
        Node::String(text) => Value::Text(text),
        Node::Array { .. } | Node::Object { .. } => Value::Nested,
        Node::Static(StaticNode::Null) => Value::Null,
        Node::Static(StaticNode::Bool(_)) => Value::Bool,
        Node::Static(StaticNode::I64(integer)) => Value::Number(decimal(format_args!("{integer}"))?),
        Node::Static(StaticNode::U64(integer)) => Value::Number(decimal(format_args!("{integer}"))?),
        // So close to zero a double holds fewer digits than 15, or none: what was written cannot be had back.
        Node::Static(StaticNode::F64(double)) if double.abs() < f64::MIN_POSITIVE => return None,
        Node::Static(StaticNode::F64(double)) => Value::Number(decimal(format_args!("{double:e}"))?),
    })
}

/// The number that `shortest` spells: of at most 15 digits it is the one that was written.
fn decimal(shortest: std::fmt::Arguments<'_>) -> Option<Number> {
    let mut spelled = Spelled { bytes: [0; 32], len: 0 };
    spelled.write_fmt(shortest).ok()?;
    number::scan(&spelled.bytes[..spelled.len], 0).map(|(number, _)| number)
}

/// A number's text without an allocation: 17 digits, sign, point and exponent are 24 bytes at most.
struct Spelled {
    bytes: [u8; 32],
    len: usize,
}

impl std::fmt::Write for Spelled {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_digits_in_a_row_are_found_wherever_they_stand() {
        for before in 0..40 {
            for digits in 0..40 {
                let body = format!("{}{}{}", " ".repeat(before), "7".repeat(digits), "x".repeat(before % 7));
                assert_eq!(has_long_number(body.as_bytes()), digits > DIGITS_MAX, "{body:?}");
            }
        }
        assert!(has_long_number(b"[1234567.123456789]"));
        assert!(!has_long_number(b"[1234567.1234567, 12345]"));
    }
}
