//! Blocks: many entries in one row, with what is needed to pass over those that a question cannot be about.

use rusqlite::{Connection, Transaction, params};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::{
    Error,
    entry::{self, Head},
    rollup::owner,
};

/// Entries at which a block is closed.
const ENTRIES_MAX: u32 = 512;
/// Bytes at which it is closed.
const BYTES_MAX: usize = 128 * 1_024;
/// Bytes that a block may have once it is inflated; more is damage.
const INFLATED_MAX: usize = 4 << 20;
/// Little is gained by more, and it is paid for by every request.
const ZSTD_LEVEL: i32 = 1;

/// A block that is being filled, or waits to be written.
#[derive(Debug)]
pub(super) struct Block {
    first_seq: u64,
    count: u32,
    pub(super) raw: Vec<u8>,
    first_us: i64,
    last_us: i64,
    present: FxHashMap<Uuid, Presence>,
}

/// What a block says of one integration.
#[derive(Debug, Default)]
struct Presence {
    statuses: u64,
    rejected: u64,
    readings: Option<(i64, i64)>,
}

impl Block {
    pub(super) fn new(first_seq: u64) -> Self {
        let (first_us, last_us) = (i64::MAX, i64::MIN);
        Self { first_seq, count: 0, raw: Vec::new(), first_us, last_us, present: FxHashMap::default() }
    }

    pub(super) fn add(&mut self, kind: u8, body: &[u8], head: &Head<'_>) {
        self.raw.push(kind);
        self.raw.extend_from_slice(&u16::try_from(body.len()).unwrap_or(0).to_le_bytes());
        self.raw.extend_from_slice(body);
        self.count += 1;
        let (at_us, key) = match head {
            Head::Request(request) => (request.at_us, owner(request.integration_id)),
            Head::Batch(batch) => (batch.received_at_us, owner(Some(batch.integration_id))),
        };
        self.first_us = self.first_us.min(at_us);
        self.last_us = self.last_us.max(at_us);
        let presence = self.present.entry(key).or_default();
        match head {
            Head::Request(request) => {
                presence.statuses |= status_bit(request.status);
                presence.rejected += request.counts.map_or(0, |counts| u64::from(counts.rejected));
            }
            Head::Batch(batch) => {
                if let Some((min, max)) = batch.contents.span() {
                    let (from, to) = presence.readings.unwrap_or((min, max));
                    presence.readings = Some((from.min(min), to.max(max)));
                }
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= ENTRIES_MAX || self.raw.len() >= BYTES_MAX
    }

    pub(super) fn write(
        &self,
        transaction: &Transaction<'_>,
        compressor: &mut zstd::bulk::Compressor<'_>,
    ) -> Result<(), Error> {
        let data = compressor.compress(&self.raw)?;
        transaction
            .prepare_cached("REPLACE INTO block (first_seq, count, first_us, last_us) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![self.first_seq, self.count, self.first_us, self.last_us])?;
        transaction
            .prepare_cached("REPLACE INTO block_data (first_seq, data) VALUES (?1, ?2)")?
            .execute(params![self.first_seq, data])?;
        let mut put = transaction.prepare_cached(
            "REPLACE INTO presence (integration, first_seq, statuses, rejected, reading_min_us, reading_max_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for (owner, presence) in &self.present {
            put.execute(params![
                owner.as_bytes(),
                self.first_seq,
                presence.statuses.cast_signed(),
                presence.rejected,
                presence.readings.map(|(min, _)| min),
                presence.readings.map(|(_, max)| max),
            ])?;
        }
        Ok(())
    }
}

pub(super) fn compressor() -> Result<zstd::bulk::Compressor<'static>, Error> {
    Ok(zstd::bulk::Compressor::new(ZSTD_LEVEL)?)
}

/// A bit for a status, so that a block without it is passed over: those between 200 and 299 and every other hundred
/// have 16 bits each. Two statuses may share one.
pub(super) fn status_bit(status: u16) -> u64 {
    let class = (status / 100).clamp(2, 5) - 2;
    1 << (class * 16 + status % 100 % 16)
}

/// The frames of a block.
pub(super) fn load(connection: &Connection, first_seq: u64) -> Result<Vec<u8>, Error> {
    let data: Vec<u8> = connection
        .prepare_cached("SELECT data FROM block_data WHERE first_seq = ?1")?
        .query_row([first_seq], |row| row.get(0))?;
    zstd::bulk::decompress(&data, INFLATED_MAX).map_err(|_| Error::Damaged("a block of requests"))
}

/// The frames of a block, each with its place in the log.
pub(super) fn places(raw: &[u8], first_seq: u64) -> impl Iterator<Item = (u64, u8, &[u8])> {
    (first_seq..).zip(entry::frames(raw)).map(|(seq, (kind, body))| (seq, kind, body))
}
