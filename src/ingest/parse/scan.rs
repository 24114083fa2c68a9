//! The first reader: what senders send, in one pass over the bytes, without a copy.
//!
//! It may only say yes. At anything it does not know by heart (a nested value, an escape in a field's name, bytes that
//! are not JSON) it gives up, and the next reader starts anew. So a mistake here can make a batch slow, and only a
//! body that it takes whole is its own responsibility.
//!
//! Each function takes the position it starts at and gives the one behind what it read, so that the position lives in
//! a register: kept in a field, it costs a third more.

use super::{
    Outline, Readings,
    entry::{Entry, Field, Sink, Value},
    number,
};

/// Reads all of `text`, or gives up.
pub(super) fn read(text: &str, readings_max: usize, sink: &mut impl Sink) -> Option<Outline> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), readings_max, escaped: Vec::new() };
    let (outline, at) = match scanner.token(0)? {
        (b'[', at) => {
            let (count, at) = scanner.readings(at, sink)?;
            (Outline { readings: Readings::Array(count), batch_id: None }, at)
        }
        (b'{', at) => scanner.top_level(at, sink)?,
        _ => return None,
    };
    scanner.token(at).is_none().then_some(outline)
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    readings_max: usize,
    /// Fields of the entry at hand that had an escape, with their text.
    escaped: Vec<(Field, String)>,
}

/// A string behind its opening quote.
enum Text<'a> {
    Plain(&'a str),
    /// With its quotes, escapes and all.
    Escaped(&'a str),
}

impl<'a> Scanner<'a> {
    fn top_level(&mut self, mut at: usize, sink: &mut impl Sink) -> Option<(Outline, usize)> {
        let mut outline = Outline { readings: Readings::Absent, batch_id: None };
        loop {
            at = self.expect(b'"', at)?;
            let (Text::Plain(name), behind) = self.string(at)? else { return None };
            at = self.expect(b':', behind)?;
            match name {
                "readings" if outline.readings != Readings::Absent => return None,
                "readings" => {
                    let (count, behind) = self.readings(self.expect(b'[', at)?, sink)?;
                    outline.add(Readings::Array(count));
                    at = behind;
                }
                "batch_id" => (outline.batch_id, at) = self.batch_id(at)?,
                _ => at = self.ignored(at)?,
            }
            match self.token(at)? {
                (b',', behind) => at = behind,
                (b'}', behind) => return Some((outline, behind)),
                _ => return None,
            }
        }
    }

    fn batch_id(&self, at: usize) -> Option<(Option<String>, usize)> {
        let (b'"', at) = self.token(at)? else { return Some((None, self.ignored(at)?)) };
        Some(match self.string(at)? {
            (Text::Plain(text), behind) => (super::batch_id(text), behind),
            (Text::Escaped(token), behind) => (super::batch_id(&unescape(token)?), behind),
        })
    }

    /// A value that nobody wants, as long as it is not nested.
    fn ignored(&self, at: usize) -> Option<usize> {
        match self.token(at)? {
            (b'"', at) => {
                let (text, behind) = self.string(at)?;
                if let Text::Escaped(token) = text {
                    unescape(token)?;
                }
                Some(behind)
            }
            (_, behind) => self.bare(behind - 1).map(|(_, behind)| behind),
        }
    }

    /// The entries behind `[`, and their number. Those beyond `readings_max` are read and dropped: a broken body is
    /// called broken, however long it is.
    fn readings(&mut self, mut at: usize, sink: &mut impl Sink) -> Option<(usize, usize)> {
        let mut count = 0;
        let mut entry = Entry::default();
        loop {
            entry.clear();
            at = self.entry(self.expect(b'{', at)?, &mut entry)?;
            if count < self.readings_max {
                self.hand_over(count, &entry, sink);
            }
            self.escaped.clear();
            count += 1;
            match self.token(at)? {
                (b',', behind) => at = behind,
                (b']', behind) => return Some((count, behind)),
                _ => return None,
            }
        }
    }

    #[inline]
    fn hand_over(&self, index: usize, entry: &Entry<'a>, sink: &mut impl Sink) {
        if self.escaped.is_empty() {
            return sink.entry(index, entry);
        }
        let mut entry: Entry<'_> = *entry;
        for (field, text) in &self.escaped {
            entry.resolve(*field, text);
        }
        sink.entry(index, &entry);
    }

    /// The fields behind `{`.
    #[inline]
    fn entry(&mut self, at: usize, entry: &mut Entry<'a>) -> Option<usize> {
        let mut at = match self.token(at)? {
            (b'"', behind) => behind,
            (b'}', behind) => return Some(behind),
            _ => return None,
        };
        loop {
            at = match self.field(at) {
                Some((field, behind)) => self.value(behind, field, entry)?,
                None => self.unknown_field(at)?,
            };
            if self.starts_with(b",\"", at) {
                at += 2;
                continue;
            }
            match self.token(at)? {
                (b',', behind) => at = self.expect(b'"', behind)?,
                (b'}', behind) => return Some(behind),
                _ => return None,
            }
        }
    }

    /// A known field's name behind its opening quote, with its closing quote.
    #[inline]
    fn field(&self, at: usize) -> Option<(Field, usize)> {
        let rest = self.bytes.get(at..)?;
        // Each comparison has a length of its own, so that it becomes one or two loads in place of a call.
        let (len, field) = match rest.first()? {
            b'i' if rest.starts_with(b"id\"") => (3, Field::Id),
            b'e' if rest.starts_with(b"external_id\"") => (12, Field::ExternalId),
            b'e' if rest.starts_with(b"equipment_id\"") => (13, Field::EquipmentId),
            b'm' if rest.starts_with(b"metric\"") => (7, Field::Metric),
            b'v' if rest.starts_with(b"value\"") => (6, Field::Value),
            b'u' if rest.starts_with(b"unit\"") => (5, Field::Unit),
            b't' if rest.starts_with(b"timestamp\"") => (10, Field::Timestamp),
            b'q' if rest.starts_with(b"quality\"") => (8, Field::Quality),
            _ => return None,
        };
        Some((field, at + len))
    }

    /// Another field, from behind its opening quote to behind its value. An escape may hide a known name.
    #[cold]
    fn unknown_field(&self, at: usize) -> Option<usize> {
        let (Text::Plain(_), behind) = self.string(at)? else { return None };
        self.ignored(self.expect(b':', behind)?)
    }

    /// The colon and what stands behind it, put into `entry` right where it was read: a value handed from function to
    /// function is copied in pieces, and waiting for the pieces costs more than reading them.
    #[inline(always)]
    fn value(&mut self, at: usize, field: Field, entry: &mut Entry<'a>) -> Option<usize> {
        let start = if self.starts_with(b":\"", at) {
            at + 2
        } else {
            match self.token(self.expect(b':', at)?)? {
                (b'"', behind) => behind,
                (_, behind) => {
                    if let Some((number, behind)) = number::scan_short(self.bytes, behind - 1) {
                        entry.set(field, Value::Number(number));
                        return Some(behind);
                    }
                    return self.odd_value(behind - 1, field, entry);
                }
            }
        };
        match self.string(start)? {
            (Text::Plain(text), behind) => {
                entry.set(field, Value::Text(text));
                Some(behind)
            }
            (Text::Escaped(token), behind) => {
                let text = unescape(token)?;
                // Of a field given twice the first stands, and the entry is refused for it anyway.
                if matches!(entry.get(field), Value::Absent) {
                    self.escaped.push((field, text));
                }
                entry.set(field, Value::Garbled);
                Some(behind)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn odd_value(&self, at: usize, field: Field, entry: &mut Entry<'a>) -> Option<usize> {
        let (value, behind) = self.bare(at)?;
        entry.set(field, value);
        Some(behind)
    }

    /// A number, `true`, `false` or `null`.
    fn bare(&self, at: usize) -> Option<(Value<'a>, usize)> {
        match self.bytes.get(at)? {
            b't' if self.starts_with(b"true", at) => Some((Value::Bool, at + 4)),
            b'f' if self.starts_with(b"false", at) => Some((Value::Bool, at + 5)),
            b'n' if self.starts_with(b"null", at) => Some((Value::Null, at + 4)),
            _ => number::scan(self.bytes, at).map(|(number, behind)| (Value::Number(number), behind)),
        }
    }

    /// From behind the opening quote to behind the closing one. A byte below 0x20 is not JSON.
    #[inline(always)]
    fn string(&self, start: usize) -> Option<(Text<'a>, usize)> {
        let mut at = start;
        while let Some(chunk) = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let hits = special(u64::from_le_bytes(*chunk));
            if hits == 0 {
                at += 8;
                continue;
            }
            at += (hits.trailing_zeros() / 8) as usize;
            if self.bytes.get(at) == Some(&b'"') {
                return Some((Text::Plain(self.text.get(start..at)?), at + 1));
            }
            break;
        }
        self.odd_string(start, at)
    }

    /// A string that has escapes, or ends within the last eight bytes of the body; plain up to `at`.
    #[cold]
    #[inline(never)]
    fn odd_string(&self, start: usize, mut at: usize) -> Option<(Text<'a>, usize)> {
        let mut escaped = false;
        loop {
            match *self.bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    at += 2;
                }
                0..0x20 => return None,
                _ => at += 1,
            }
        }
        if escaped {
            return Some((Text::Escaped(self.text.get(start - 1..=at)?), at + 1));
        }
        Some((Text::Plain(self.text.get(start..at)?), at + 1))
    }

    #[inline(always)]
    fn starts_with<const N: usize>(&self, expected: &[u8; N], at: usize) -> bool {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk::<N>) == Some(expected)
    }

    /// The next byte that is not white space, and the position behind it.
    #[inline(always)]
    fn token(&self, mut at: usize) -> Option<(u8, usize)> {
        loop {
            let byte = *self.bytes.get(at)?;
            at += 1;
            if byte > b' ' {
                return Some((byte, at));
            }
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                // A control character is no token: nobody expects it.
                return Some((byte, at));
            }
        }
    }

    #[inline(always)]
    fn expect(&self, byte: u8, at: usize) -> Option<usize> {
        let (found, behind) = self.token(at)?;
        (found == byte).then_some(behind)
    }
}

/// The text of a string token. The library decides whether its escapes are any.
fn unescape(token: &str) -> Option<String> {
    serde_json::from_str(token).ok()
}

/// The high bit of the first byte that is a quote, a backslash or below 0x20, in a word of eight; bits above it may be
/// set as well.
#[inline(always)]
const fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // Turning bit 1 over makes 0x20 of the quote and keeps what is below 0x20 there: one comparison for both.
    let turned = word ^ (ONES * 2);
    let backslash = word ^ (ONES * b'\\' as u64);
    let hits = (turned.wrapping_sub(ONES * 0x21) & !turned) | (backslash.wrapping_sub(ONES) & !backslash);
    hits & HIGH
}
