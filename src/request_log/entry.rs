//! One entry, as it is queued and kept: a frame of bytes.
//!
//! A frame is a kind, the length of the rest (u16, little endian), and the rest. Numbers are of 7 bits a byte, a text
//! stands behind its length, and an absent one is empty. Kind 1 is a request, kind 2 what a stored batch holds.

use std::net::IpAddr;

use uuid::Uuid;

use crate::{
    journal::{Counts, Record, Stored},
    model::{
        Contents, IntegrationId, RequestId,
        varint::{Bytes, put, put_signed},
    },
};

const REQUEST: u8 = 1;
const BATCH: u8 = 2;
/// Bytes of the sentence that the caller was told, at most.
const MESSAGE_BYTES_MAX: usize = 512;

/// A request, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log: a later one was answered later.
    pub seq: u64,
    /// Our name for it.
    pub request_id: RequestId,
    /// The caller's own name for it.
    pub client_request_id: Option<String>,
    /// Whose it was; none where nobody can be named.
    pub integration_id: Option<IntegrationId>,
    /// Which of the integration's keys.
    pub key_generation: Option<u64>,
    /// When it came, microseconds since the Unix epoch.
    pub at_us: i64,
    /// From its header to the answer's.
    pub latency_us: u64,
    /// `http` or `mqtt`.
    pub transport: String,
    /// Where it came from.
    pub addr: IpAddr,
    /// The method, or the packet.
    pub method: String,
    /// The route, from a closed set.
    pub route: String,
    /// The scope that it needed.
    pub scope: Option<String>,
    /// Whether that was granted; none where it did not get that far.
    pub granted: Option<bool>,
    /// The status answered.
    pub status: u16,
    /// The problem's code.
    pub code: Option<String>,
    /// The exact cause.
    pub cause: Option<String>,
    /// The sentence that the caller was told.
    pub message: Option<String>,
    /// Bytes of the body as sent.
    pub body_bytes: u64,
    /// What became of the readings.
    pub counts: Option<Counts>,
    /// The first of the refused entries.
    pub rejected: Vec<Rejected>,
    /// Limit, what was left of it, and its reset (Unix seconds), as the answer said.
    pub rate: Option<(u32, u32, u64)>,
}

/// A refused entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the batch, from 0.
    pub index: u32,
    /// Why.
    pub code: String,
    /// The partner's name for the equipment.
    pub external_id: Option<String>,
    /// Our id for it, as given.
    pub equipment_id: Option<String>,
    /// The metric, as given.
    pub metric: Option<String>,
    /// When it was measured, microseconds since the Unix epoch.
    pub timestamp_us: Option<i64>,
}

/// A stored batch, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The request that brought it.
    pub request_id: RequestId,
    /// Whose it is.
    pub integration_id: IntegrationId,
    /// When it came, microseconds since the Unix epoch.
    pub received_at_us: i64,
    /// Its position in the spool.
    pub position: u64,
    /// Readings in it.
    pub accepted: u32,
    /// Which.
    pub contents: Contents,
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Frame {
    Request(Box<Entry>),
    Batch(Batch),
}

/// Writes `record` as a frame into `out`.
pub(super) fn write_request(record: &Record<'_>, out: &mut Vec<u8>) {
    let start = begin(REQUEST, out);
    out.extend_from_slice(record.request_id.as_uuid().as_bytes());
    let flags = u8::from(record.integration_id.is_some())
        | u8::from(record.key_generation.is_some()) << 1
        | u8::from(record.addr.is_ipv6()) << 2
        | u8::from(record.rate.is_some()) << 3
        | u8::from(record.readings.is_some()) << 4
        | u8::from(record.granted.is_some()) << 5
        | u8::from(record.granted == Some(true)) << 6;
    out.push(flags);
    out.extend_from_slice(&record.at_us.to_le_bytes());
    if let Some(id) = record.integration_id {
        out.extend_from_slice(id.as_uuid().as_bytes());
    }
    if let Some(generation) = record.key_generation {
        put(generation, out);
    }
    match record.addr {
        IpAddr::V4(addr) => out.extend_from_slice(&addr.octets()),
        IpAddr::V6(addr) => out.extend_from_slice(&addr.octets()),
    }
    out.extend_from_slice(&record.status.to_le_bytes());
    put(u64::try_from(record.latency.as_micros()).unwrap_or(u64::MAX), out);
    put(record.body_bytes as u64, out);
    put_text(record.transport, out);
    put_text(record.method, out);
    put_text(record.route, out);
    put_text(record.scope.map_or("", |scope| scope.as_str()), out);
    put_text(record.code.unwrap_or_default(), out);
    put_text(record.cause.unwrap_or_default(), out);
    put_text(cut(record.message.unwrap_or_default(), MESSAGE_BYTES_MAX), out);
    put_text(record.client_request_id.unwrap_or_default(), out);
    if let Some(rate) = record.rate {
        put(rate.limit.into(), out);
        put(rate.remaining.into(), out);
        put(rate.reset_s, out);
    }
    if let Some(counts) = record.readings {
        for count in [counts.received, counts.accepted, counts.duplicates, counts.rejected] {
            put(count.into(), out);
        }
    }
    put(record.rejected.len() as u64, out);
    for rejected in record.rejected {
        put(rejected.index.into(), out);
        put_text(rejected.code.as_str(), out);
        for text in [&rejected.external_id, &rejected.equipment_id, &rejected.metric] {
            put_text(text.as_deref().unwrap_or_default(), out);
        }
        out.push(rejected.timestamp_us.is_some().into());
        put_signed(rejected.timestamp_us.unwrap_or_default(), out);
    }
    end(start, out);
}

/// Writes `stored` as a frame into `out`.
pub(super) fn write_batch(stored: &Stored<'_>, out: &mut Vec<u8>) {
    let start = begin(BATCH, out);
    out.extend_from_slice(stored.request_id.as_uuid().as_bytes());
    out.extend_from_slice(stored.integration_id.as_uuid().as_bytes());
    out.extend_from_slice(&stored.received_at_us.to_le_bytes());
    put(stored.position, out);
    put(stored.accepted.into(), out);
    out.extend_from_slice(stored.contents.as_bytes());
    end(start, out);
}

/// The frames of `bytes`, each with its kind; ends where they do, or at what is none.
pub(super) fn frames(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = Bytes(bytes);
    std::iter::from_fn(move || {
        let kind = rest.byte()?;
        let length = u16::from_le_bytes(rest.array()?);
        Some((kind, rest.take(length.into())?))
    })
}

/// Reads a whole frame.
pub(super) fn read(kind: u8, body: &[u8], seq: u64) -> Option<Frame> {
    let mut bytes = Bytes(body);
    match kind {
        REQUEST => read_request(&mut bytes, seq).map(Box::new).map(Frame::Request),
        BATCH => read_batch(&mut bytes).map(Frame::Batch),
        _ => None,
    }
}

/// Calls `visit` with what the sums need of a frame, which is read without copying a text.
pub(super) fn read_head<'a>(kind: u8, body: &'a [u8]) -> Option<Head<'a>> {
    let mut bytes = Bytes(body);
    match kind {
        REQUEST => read_request_head(&mut bytes).map(|(_, head, _)| Head::Request(head)),
        BATCH => {
            let batch = read_batch(&mut bytes)?;
            Some(Head::Batch(batch))
        }
        _ => None,
    }
}

/// What the sums need.
#[derive(Debug)]
pub(super) enum Head<'a> {
    Request(RequestHead<'a>),
    Batch(Batch),
}

/// A request, as far as the sums need it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestHead<'a> {
    pub(super) integration_id: Option<IntegrationId>,
    pub(super) key_generation: Option<u64>,
    pub(super) at_us: i64,
    pub(super) addr: IpAddr,
    pub(super) status: u16,
    pub(super) latency_us: u64,
    pub(super) body_bytes: u64,
    pub(super) transport: &'a str,
    pub(super) method: &'a str,
    pub(super) route: &'a str,
    pub(super) scope: &'a str,
    pub(super) granted: Option<bool>,
    pub(super) code: &'a str,
    pub(super) cause: &'a str,
    pub(super) message: &'a str,
    pub(super) client_request_id: &'a str,
    pub(super) rate: Option<(u32, u32, u64)>,
    pub(super) counts: Option<Counts>,
}

fn read_request_head<'a>(bytes: &mut Bytes<'a>) -> Option<(RequestId, RequestHead<'a>, u64)> {
    let request_id = RequestId::from_uuid(Uuid::from_bytes(bytes.array()?));
    let flags = bytes.byte()?;
    let has = |bit: u8| flags & (1 << bit) != 0;
    let at_us = i64::from_le_bytes(bytes.array()?);
    let mut integration_id = None;
    if has(0) {
        integration_id = Some(IntegrationId::from_uuid(Uuid::from_bytes(bytes.array()?)));
    }
    let key_generation = if has(1) { Some(bytes.number()?) } else { None };
    let addr = if has(2) { IpAddr::from(bytes.array::<16>()?) } else { IpAddr::from(bytes.array::<4>()?) };
    let head = RequestHead {
        integration_id,
        key_generation,
        at_us,
        addr,
        status: u16::from_le_bytes(bytes.array()?),
        latency_us: bytes.number()?,
        body_bytes: bytes.number()?,
        transport: bytes.text()?,
        method: bytes.text()?,
        route: bytes.text()?,
        scope: bytes.text()?,
        granted: has(5).then_some(has(6)),
        code: bytes.text()?,
        cause: bytes.text()?,
        message: bytes.text()?,
        client_request_id: bytes.text()?,
        rate: if has(3) { Some((count(bytes)?, count(bytes)?, bytes.number()?)) } else { None },
        counts: if has(4) { Some(counts(bytes)?) } else { None },
    };
    let rejected = bytes.number()?;
    Some((request_id, head, rejected))
}

fn read_request(bytes: &mut Bytes<'_>, seq: u64) -> Option<Entry> {
    let (request_id, head, rejected_count) = read_request_head(bytes)?;
    let mut rejected = Vec::new();
    for _ in 0..rejected_count {
        let (index, code) = (count(bytes)?, bytes.text()?.to_owned());
        let (external_id, equipment_id, metric) = (some(bytes.text()?), some(bytes.text()?), some(bytes.text()?));
        let (has_time, time) = (bytes.byte()? == 1, bytes.signed()?);
        let timestamp_us = has_time.then_some(time);
        rejected.push(Rejected { index, code, external_id, equipment_id, metric, timestamp_us });
    }
    Some(Entry {
        seq,
        request_id,
        client_request_id: some(head.client_request_id),
        integration_id: head.integration_id,
        key_generation: head.key_generation,
        at_us: head.at_us,
        latency_us: head.latency_us,
        transport: head.transport.to_owned(),
        addr: head.addr,
        method: head.method.to_owned(),
        route: head.route.to_owned(),
        scope: some(head.scope),
        granted: head.granted,
        status: head.status,
        code: some(head.code),
        cause: some(head.cause),
        message: some(head.message),
        body_bytes: head.body_bytes,
        counts: head.counts,
        rejected,
        rate: head.rate,
    })
}

fn read_batch(bytes: &mut Bytes<'_>) -> Option<Batch> {
    Some(Batch {
        request_id: RequestId::from_uuid(Uuid::from_bytes(bytes.array()?)),
        integration_id: IntegrationId::from_uuid(Uuid::from_bytes(bytes.array()?)),
        received_at_us: i64::from_le_bytes(bytes.array()?),
        position: bytes.number()?,
        accepted: count(bytes)?,
        contents: Contents::from_bytes(bytes.0),
    })
}

fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[kind, 0, 0]);
    out.len()
}

fn end(start: usize, out: &mut Vec<u8>) {
    // Every text in a frame is bounded, so that its length always fits; what would not is no frame.
    match u16::try_from(out.len() - start) {
        Ok(length) => out[start - 2..start].copy_from_slice(&length.to_le_bytes()),
        Err(_) => out.truncate(start - 3),
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn count(bytes: &mut Bytes<'_>) -> Option<u32> {
    u32::try_from(bytes.number()?).ok()
}

fn counts(bytes: &mut Bytes<'_>) -> Option<Counts> {
    let (received, accepted) = (count(bytes)?, count(bytes)?);
    Some(Counts { received, accepted, duplicates: count(bytes)?, rejected: count(bytes)? })
}
