//! The first reader: what senders send, in one pass over the bytes, without a copy.
//!
//! It may only say yes. At anything it does not know by heart (a nested value, an escape in a field's name, bytes that
//! are not JSON) it gives up, and the next reader starts anew. So a mistake here can make a batch slow, and only a
//! body that it takes whole is its own responsibility.

use super::{
    Outline, Readings,
    entry::{Entry, Field, Sink, Value},
    number,
};

/// Reads all of `text`, or gives up.
pub(super) fn read(text: &str, readings_max: usize, sink: &mut impl Sink) -> Option<Outline> {
    let mut cursor = Cursor { text, bytes: text.as_bytes(), at: 0, escaped: Vec::new() };
    let outline = match cursor.next()? {
        b'[' => Outline { readings: Readings::Array(cursor.readings(readings_max, sink)?), batch_id: None },
        b'{' => cursor.top_level(readings_max, sink)?,
        _ => return None,
    };
    cursor.skip_space();
    (cursor.at == cursor.bytes.len()).then_some(outline)
}

struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Fields of the entry at hand that had an escape, with their text.
    escaped: Vec<(Field, String)>,
}

/// A string behind its opening quote.
enum Text<'a> {
    Plain(&'a str),
    /// With its quotes, escapes and all.
    Escaped(&'a str),
}

impl<'a> Cursor<'a> {
    fn top_level(&mut self, readings_max: usize, sink: &mut impl Sink) -> Option<Outline> {
        let mut outline = Outline { readings: Readings::Absent, batch_id: None };
        loop {
            self.expect(b'"')?;
            let Text::Plain(name) = self.string()? else { return None };
            self.expect(b':')?;
            match name {
                "readings" => {
                    if outline.readings != Readings::Absent {
                        return None;
                    }
                    self.expect(b'[')?;
                    outline.add(Readings::Array(self.readings(readings_max, sink)?));
                }
                "batch_id" => outline.batch_id = self.batch_id()?,
                _ => self.ignored()?,
            }
            match self.next()? {
                b',' => {}
                b'}' => return Some(outline),
                _ => return None,
            }
        }
    }

    fn batch_id(&mut self) -> Option<Option<String>> {
        if self.peek_token()? != b'"' {
            self.ignored()?;
            return Some(None);
        }
        self.at += 1;
        Some(match self.string()? {
            Text::Plain(text) => super::batch_id(text),
            Text::Escaped(token) => super::batch_id(&unescape(token)?),
        })
    }

    /// A value that nobody wants, as long as it is not nested.
    fn ignored(&mut self) -> Option<()> {
        if self.peek_token()? == b'"' {
            self.at += 1;
            return match self.string()? {
                Text::Plain(_) => Some(()),
                Text::Escaped(token) => unescape(token).map(drop),
            };
        }
        self.bare().map(drop)
    }

    /// The entries behind `[`, and their number. Those beyond `readings_max` are read and dropped: a broken body is
    /// called broken, however long it is.
    fn readings(&mut self, readings_max: usize, sink: &mut impl Sink) -> Option<usize> {
        let mut count = 0;
        loop {
            self.expect(b'{')?;
            let mut entry = Entry::default();
            self.entry(&mut entry)?;
            if count < readings_max {
                self.hand_over(count, &entry, sink);
            }
            self.escaped.clear();
            count += 1;
            match self.next()? {
                b',' => {}
                b']' => return Some(count),
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
    fn entry(&mut self, entry: &mut Entry<'a>) -> Option<()> {
        if self.peek_token()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.expect(b'"')?;
            let Some(field) = self.field()? else {
                self.expect(b':')?;
                self.ignored()?;
                match self.next()? {
                    b',' => continue,
                    b'}' => return Some(()),
                    _ => return None,
                }
            };
            self.expect(b':')?;
            let value = self.value(field, entry)?;
            entry.set(field, value);
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// The field's name behind its opening quote, and the closing quote.
    #[inline]
    fn field(&mut self) -> Option<Option<Field>> {
        let rest = self.bytes.get(self.at..)?;
        let (name, field): (&[u8], _) = match rest.first()? {
            b'i' => (b"id\"", Field::Id),
            b'e' if rest.get(1) == Some(&b'x') => (b"external_id\"", Field::ExternalId),
            b'e' => (b"equipment_id\"", Field::EquipmentId),
            b'm' => (b"metric\"", Field::Metric),
            b'v' => (b"value\"", Field::Value),
            b'u' => (b"unit\"", Field::Unit),
            b't' => (b"timestamp\"", Field::Timestamp),
            b'q' => (b"quality\"", Field::Quality),
            _ => (b"\"", Field::Id),
        };
        if name.len() > 1 && rest.starts_with(name) {
            self.at += name.len();
            return Some(Some(field));
        }
        match self.string()? {
            Text::Plain(_) => Some(None),
            Text::Escaped(_) => None,
        }
    }

    #[inline]
    fn value(&mut self, field: Field, entry: &Entry<'a>) -> Option<Value<'a>> {
        if self.peek_token()? != b'"' {
            return self.bare();
        }
        self.at += 1;
        match self.string()? {
            Text::Plain(text) => Some(Value::Text(text)),
            Text::Escaped(token) => {
                let text = unescape(token)?;
                // Of a field given twice the first stands, and the entry is refused for it anyway.
                if matches!(entry.get(field), Value::Absent) {
                    self.escaped.push((field, text));
                }
                Some(Value::Garbled)
            }
        }
    }

    /// A number, `true`, `false` or `null`.
    #[inline]
    fn bare(&mut self) -> Option<Value<'a>> {
        let rest = self.bytes.get(self.at..)?;
        let (word, value): (&[u8], _) = match rest.first()? {
            b't' => (b"true", Value::Bool),
            b'f' => (b"false", Value::Bool),
            b'n' => (b"null", Value::Null),
            _ => {
                let (number, end) = number::scan(self.bytes, self.at)?;
                self.at = end;
                return Some(Value::Number(number));
            }
        };
        self.at += word.len();
        rest.starts_with(word).then_some(value)
    }

    /// From behind the opening quote to behind the closing one. A byte below 0x20 is not JSON.
    #[inline]
    fn string(&mut self) -> Option<Text<'a>> {
        let start = self.at;
        let mut at = start;
        loop {
            let hits = match self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
                Some(chunk) => special(u64::from_le_bytes(*chunk)),
                None => return self.string_near_the_end(at),
            };
            if hits == 0 {
                at += 8;
                continue;
            }
            at += (hits.trailing_zeros() / 8) as usize;
            if self.bytes[at] != b'"' {
                return self.escaped_string(at);
            }
            self.at = at + 1;
            return self.text.get(start..at).map(Text::Plain);
        }
    }

    #[cold]
    fn string_near_the_end(&mut self, mut at: usize) -> Option<Text<'a>> {
        let start = self.at;
        loop {
            match *self.bytes.get(at)? {
                b'"' => break,
                b'\\' | 0..0x20 => return self.escaped_string(at),
                _ => at += 1,
            }
        }
        self.at = at + 1;
        self.text.get(start..at).map(Text::Plain)
    }

    /// Goes on at the first byte that is neither plain nor the closing quote.
    #[cold]
    fn escaped_string(&mut self, mut at: usize) -> Option<Text<'a>> {
        let start = self.at - 1;
        loop {
            match *self.bytes.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                0..0x20 => return None,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        self.text.get(start..=at).map(Text::Escaped)
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space, left in place.
    #[inline]
    fn peek_token(&mut self) -> Option<u8> {
        self.skip_space();
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is not white space, taken.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek_token()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }
}

/// The text of a string token. The library decides whether its escapes are any.
fn unescape(token: &str) -> Option<String> {
    serde_json::from_str(token).ok()
}

/// The high bit of the first byte that is a quote, a backslash or below 0x20, in a word of eight; bits above it may be
/// set as well.
#[inline]
const fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let hits = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    hits & HIGH
}
