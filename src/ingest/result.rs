//! The answer to a judged batch, the same over both transports (S272).

use crate::{
    journal::Counts,
    model::{EntryCode, RejectedEntry, RequestId},
};

/// One entry that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryError {
    /// Its place in the request's array, from 0 (S259).
    pub index: u32,
    /// The sender's own name for it, where it sent a valid one.
    pub id: Option<Box<str>>,
    /// Why.
    pub code: EntryCode,
    /// The field that is to blame, where it is one.
    pub field: Option<&'static str>,
    /// The same in a sentence for people. Echoes at most 64 characters of the input, never a control character.
    pub message: String,
    /// Whether the same entry can succeed later without being changed.
    pub retryable: bool,
}

/// A batch that was read and judged. What it calls accepted is durable, unless it was to be validated only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchResult {
    /// Entries of the batch: `accepted + rejected` (S264).
    pub received: u32,
    /// Entries stored.
    pub accepted: u32,
    /// Accepted entries whose equipment, metric and timestamp an earlier one had, as far as that is known at once.
    pub duplicates: u32,
    /// Entries refused; as many as `errors`.
    pub rejected: u32,
    /// The refused entries, in the order of their index.
    pub errors: Vec<EntryError>,
    /// The first of the refused entries, for the API log.
    pub rejections: Vec<RejectedEntry>,
    /// The payload's own `batch_id`, where it had one of 1 to 128 characters. Answered over MQTT only.
    pub batch_id: Option<String>,
}

impl BatchResult {
    /// The HTTP status: 200 none rejected, 207 some, 422 all (A32).
    #[must_use]
    pub const fn status(&self) -> u16 {
        match (self.accepted, self.rejected) {
            (_, 0) => 200,
            (0, _) => 422,
            _ => 207,
        }
    }

    /// The counts, for the journal.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        let Self { received, accepted, duplicates, rejected, .. } = *self;
        Counts { received, accepted, duplicates, rejected }
    }

    /// The body over HTTP.
    #[must_use]
    pub fn to_json(&self, request_id: RequestId) -> Vec<u8> {
        self.render(request_id, None)
    }

    /// The message over MQTT: the HTTP body, and `batch_id` where the payload had one.
    #[must_use]
    pub fn to_mqtt_json(&self, request_id: RequestId) -> Vec<u8> {
        self.render(request_id, self.batch_id.as_deref())
    }

    fn render(&self, request_id: RequestId, batch_id: Option<&str>) -> Vec<u8> {
        let text: usize = self.errors.iter().map(|e| e.message.len() + e.id.as_ref().map_or(0, |id| id.len())).sum();
        let mut out = Vec::with_capacity(320 + text + self.errors.len() * 128);
        out.extend_from_slice(b"{\"request_id\":");
        let mut hyphenated = uuid::Uuid::encode_buffer();
        write_string(&mut out, request_id.as_uuid().as_hyphenated().encode_lower(&mut hyphenated));
        if let Some(batch_id) = batch_id {
            out.extend_from_slice(b",\"batch_id\":");
            write_string(&mut out, batch_id);
        }
        for (name, count) in [
            (&b",\"received\":"[..], self.received),
            (b",\"accepted\":", self.accepted),
            (b",\"duplicates\":", self.duplicates),
            (b",\"rejected\":", self.rejected),
        ] {
            out.extend_from_slice(name);
            write_number(&mut out, count);
        }
        out.extend_from_slice(b",\"errors\":[");
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            error.write(&mut out);
        }
        out.extend_from_slice(b"]}");
        out
    }
}

impl EntryError {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"index\":");
        write_number(out, self.index);
        if let Some(id) = &self.id {
            out.extend_from_slice(b",\"id\":");
            write_string(out, id);
        }
        out.extend_from_slice(b",\"code\":");
        write_string(out, self.code.as_str());
        if let Some(field) = self.field {
            out.extend_from_slice(b",\"field\":");
            write_string(out, field);
        }
        out.extend_from_slice(b",\"message\":");
        write_string(out, &self.message);
        out.extend_from_slice(if self.retryable { b",\"retryable\":true}" } else { b",\"retryable\":false}" });
    }
}

fn write_number(out: &mut Vec<u8>, number: u32) {
    let (mut digits, mut at, mut rest) = ([0; 10], 10, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `text` as a JSON string. What lies between two characters that need an escape is copied as it is.
fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut copied = 0;
    for (i, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x00..=0x1f | 0x7f => &[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]],
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[copied..i]);
        out.extend_from_slice(escape);
        copied = i + 1;
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
