//! Request bodies: a template compiled once, filled per batch, compressed where the profile says so.

use std::io::Write as _;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use jiff::Timestamp;

use crate::plan::{Fault, Plan, Reading};
use crate::profile::{BodyForm, Encoding};

#[derive(Debug, Clone)]
enum Token {
    Literal(Vec<u8>),
    Id,
    ExternalId,
    Metric,
    Value,
    Unit,
    /// RFC 3339.
    Timestamp,
    /// An epoch number: microseconds times the first, divided by the second.
    Epoch(i64, i64),
}

/// A compiled body template.
#[derive(Debug, Clone)]
pub struct Template {
    prefix: Vec<u8>,
    entry: Vec<Token>,
    separator: Vec<u8>,
    suffix: Vec<u8>,
    encoding: Encoding,
}

impl Template {
    /// Compiles `form`.
    ///
    /// # Errors
    ///
    /// When the entry names an unknown field.
    pub fn new(form: &BodyForm, encoding: Encoding) -> Result<Self> {
        Ok(Self {
            prefix: form.prefix.clone().into_bytes(),
            entry: compile(&form.entry)?,
            separator: form.separator.clone().into_bytes(),
            suffix: form.suffix.clone().into_bytes(),
            encoding,
        })
    }

    /// The body of a batch, ready for the wire.
    ///
    /// # Errors
    ///
    /// When compression fails.
    pub fn encode(&self, plan: &Plan, integration: u32, batch: u64, revision: u8) -> Result<Bytes> {
        let mut out = Vec::with_capacity(128 * plan.readings_per_batch as usize + 64);
        out.extend_from_slice(&self.prefix);
        let mut filler = Filler {
            plan,
            integration,
            stamp_us: i64::MIN,
            stamp: Vec::with_capacity(32),
            named: u32::MAX,
            name: Vec::with_capacity(32),
        };
        for (index, reading) in plan.batch(integration, batch, revision).enumerate() {
            if index > 0 {
                out.extend_from_slice(&self.separator);
            }
            filler.entry(&mut out, &self.entry, index, &reading);
        }
        out.extend_from_slice(&self.suffix);
        compress(out, self.encoding)
    }
}

struct Filler<'a> {
    plan: &'a Plan,
    integration: u32,
    /// The last time that was written out, and how: neighbours share it.
    stamp_us: i64,
    stamp: Vec<u8>,
    /// The last sensor that was written out, and how: its metrics follow one another.
    named: u32,
    name: Vec<u8>,
}

impl Filler<'_> {
    fn entry(&mut self, out: &mut Vec<u8>, tokens: &[Token], index: usize, reading: &Reading) {
        for token in tokens {
            match token {
                Token::Literal(text) => out.extend_from_slice(text),
                Token::Id => {
                    out.push(b'a');
                    write_number(out, index as u64 + 1);
                }
                Token::ExternalId => self.external_id(out, reading),
                Token::Metric => out.extend_from_slice(match reading.fault {
                    Some(Fault::UnknownMetric) => b"gravity",
                    _ => self.plan.metrics[reading.metric].name.as_bytes(),
                }),
                Token::Value => write_value(out, reading),
                Token::Unit => out.extend_from_slice(self.plan.metrics[reading.metric].unit.as_bytes()),
                Token::Timestamp => self.timestamp(out, reading),
                Token::Epoch(multiply, divide) => {
                    write_number(out, (reading.timestamp_us / divide * multiply).unsigned_abs());
                }
            }
        }
    }

    fn external_id(&mut self, out: &mut Vec<u8>, reading: &Reading) {
        if reading.fault == Some(Fault::UnknownEquipment) {
            out.extend_from_slice(b"nobody-here");
            return;
        }
        if self.named != reading.sensor {
            self.named = reading.sensor;
            self.name.clear();
            match &self.plan.names {
                Some(names) => self.name.extend_from_slice(names[reading.sensor as usize].as_bytes()),
                None => write_name(&mut self.name, self.plan.sensor_number(self.integration, reading.sensor)),
            }
        }
        out.extend_from_slice(&self.name);
    }

    fn timestamp(&mut self, out: &mut Vec<u8>, reading: &Reading) {
        if reading.fault == Some(Fault::TooOld) {
            out.extend_from_slice(b"2001-01-01T00:00:00Z");
            return;
        }
        if self.stamp_us != reading.timestamp_us {
            self.stamp_us = reading.timestamp_us;
            self.stamp.clear();
            let at = Timestamp::from_microsecond(reading.timestamp_us).unwrap_or(Timestamp::UNIX_EPOCH);
            write!(self.stamp, "{at}").expect("a Vec takes what is written");
        }
        out.extend_from_slice(&self.stamp);
    }
}

/// As [`Plan::external_id`] has it, without a detour over a `String`.
fn write_name(out: &mut Vec<u8>, mut number: u64) {
    if number >= 10_000_000 {
        out.push(b's');
        write_number(out, number);
        return;
    }
    let mut name = *b"s0000000";
    for digit in name[1..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&name);
}

fn write_value(out: &mut Vec<u8>, reading: &Reading) {
    match reading.fault {
        Some(Fault::OutOfRange) => out.extend_from_slice(b"-999"),
        Some(Fault::NotANumber) => out.extend_from_slice(b"\"n/a\""),
        Some(Fault::TooLargeForF64) => out.extend_from_slice(b"1e400"),
        Some(Fault::Nested) => out.extend_from_slice(b"[1,[2]]"),
        _ => {
            write_number(out, (reading.value_tenths / 10).unsigned_abs());
            out.push(b'.');
            out.push(b'0' + (reading.value_tenths % 10) as u8);
        }
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

fn compile(entry: &str) -> Result<Vec<Token>> {
    const FIELDS: [(&str, Token); 10] = [
        ("{id}", Token::Id),
        ("{external_id}", Token::ExternalId),
        ("{metric}", Token::Metric),
        ("{value}", Token::Value),
        ("{unit}", Token::Unit),
        ("{timestamp}", Token::Timestamp),
        ("{timestamp_s}", Token::Epoch(1, 1_000_000)),
        ("{timestamp_ms}", Token::Epoch(1, 1_000)),
        ("{timestamp_us}", Token::Epoch(1, 1)),
        ("{timestamp_ns}", Token::Epoch(1_000, 1)),
    ];
    let mut tokens = Vec::new();
    let mut literal = Vec::new();
    let mut rest = entry;
    while let Some(first) = rest.chars().next() {
        if let Some((name, token)) = FIELDS.iter().find(|(name, _)| rest.starts_with(name)) {
            if !literal.is_empty() {
                tokens.push(Token::Literal(std::mem::take(&mut literal)));
            }
            tokens.push(token.clone());
            rest = &rest[name.len()..];
        } else {
            literal.extend_from_slice(&rest.as_bytes()[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
        }
    }
    if !literal.is_empty() {
        tokens.push(Token::Literal(literal));
    }
    if !tokens.iter().any(|token| matches!(token, Token::Value)) {
        bail!("the entry template has no {{value}}");
    }
    Ok(tokens)
}

fn compress(plain: Vec<u8>, encoding: Encoding) -> Result<Bytes> {
    let packed = match encoding {
        Encoding::Identity => plain,
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).and_then(|()| encoder.finish()).context("gzip failed")?
        }
        Encoding::Zstd => zstd::bulk::compress(&plain, 1).context("zstd failed")?,
    };
    Ok(Bytes::from(packed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;
    use crate::profile::Profile;

    fn template(encoding: Encoding) -> Template {
        Template::new(&Profile::load("main").unwrap().data.body, encoding).unwrap()
    }

    #[test]
    fn a_body_has_the_form_of_the_contract_and_the_values_of_the_plan() {
        let plan = plan(|_| ());
        let body = template(Encoding::Identity).encode(&plan, 1, 3, 0).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let readings = json["readings"].as_array().unwrap();
        assert_eq!(readings.len(), 5);
        for (index, (sent, planned)) in readings.iter().zip(plan.batch(1, 3, 0)).enumerate() {
            assert_eq!(sent["id"], format!("a{}", index + 1));
            assert_eq!(sent["external_id"], plan.external_id(1, planned.sensor));
            assert_eq!(sent["metric"], plan.metrics[planned.metric].name);
            assert_eq!(sent["value"].as_f64().unwrap().to_bits(), planned.value().to_bits());
            let at: Timestamp = sent["timestamp"].as_str().unwrap().parse().unwrap();
            assert_eq!(at.as_microsecond(), planned.timestamp_us);
        }
    }

    #[test]
    fn names_are_written_as_the_plan_has_them() {
        for number in [0, 7, 1_234_567, 9_999_999, 10_000_000, 123_456_789] {
            let mut name = Vec::new();
            write_name(&mut name, number);
            assert_eq!(String::from_utf8(name).unwrap(), format!("s{number:07}"));
        }
    }

    #[test]
    fn a_batch_of_500_has_about_the_size_of_the_contracts_example() {
        let plan = plan(|profile| profile.data.readings_per_batch = 500);
        let body = template(Encoding::Identity).encode(&plan, 0, 0, 0).unwrap();
        assert!((55_000..62_000).contains(&body.len()), "{}", body.len());
    }

    #[test]
    fn every_fault_is_in_the_body_and_harms_only_its_own_entry() {
        let plan = plan(|profile| {
            profile.data.bad_share = 0.5;
            profile.data.readings_per_batch = 200;
        });
        let body = template(Encoding::Identity).encode(&plan, 0, 0, 0).unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        for part in ["-999", "\"n/a\"", "1e400", "[1,[2]]", "nobody-here", "gravity", "2001-01-01"] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn compressed_bodies_inflate_to_the_plain_one() {
        let plan = plan(|_| ());
        let plain = template(Encoding::Identity).encode(&plan, 0, 7, 0).unwrap();
        let gzip = template(Encoding::Gzip).encode(&plan, 0, 7, 0).unwrap();
        let mut inflated = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut inflated).unwrap();
        assert_eq!(inflated, plain);
        let zstd = template(Encoding::Zstd).encode(&plan, 0, 7, 0).unwrap();
        assert_eq!(zstd::bulk::decompress(&zstd, 1 << 20).unwrap(), plain);
    }

    #[test]
    fn another_servers_format_is_a_template_too() {
        let form = BodyForm {
            prefix: String::new(),
            entry: "{metric},sensor={external_id} value={value} {timestamp_ns}".into(),
            separator: "\n".into(),
            suffix: "\n".into(),
            content_type: "text/plain".into(),
        };
        let plan = plan(|_| ());
        let body = Template::new(&form, Encoding::Identity).unwrap().encode(&plan, 0, 0, 0).unwrap();
        let line = std::str::from_utf8(&body).unwrap().lines().next().unwrap().to_owned();
        let expected =
            format!("temperature,sensor=s0000000 value={} {}", plan.reading(0, 0, 0).value(), plan.start_us * 1_000);
        assert_eq!(line.replace(".0 ", " "), expected);
    }
}
