//! The records that are written together.

use std::collections::HashSet;

use crate::{
    model::{
        Reading,
        record::{self, DecodeError, RecordHeader},
    },
    spool::Block,
};

/// Where a reading stands: the position of its record, and its place in it.
pub(super) type Origin = (u64, u32);

/// A group at hand. It keeps its records, because a store may leave the readings in any order.
#[derive(Debug, Default)]
pub(super) struct Group {
    blocks: Vec<Block>,
    /// What the store is to take: those of all records that can be decoded, without those that it has refused.
    pub(super) readings: Vec<Reading>,
    refused: HashSet<Origin>,
    oldest_received_us: Option<i64>,
}

/// A record that cannot be decoded.
#[derive(Debug)]
pub(super) struct Undecodable {
    pub(super) block: Block,
    pub(super) error: DecodeError,
}

impl Group {
    /// Takes `blocks` in place of what was there, and gives those back that cannot be decoded.
    pub(super) fn fill(&mut self, blocks: Vec<Block>) -> Vec<Undecodable> {
        self.blocks = blocks;
        self.refused.clear();
        self.oldest_received_us = None;
        self.readings.clear();
        let mut undecodable = Vec::new();
        for block in &self.blocks {
            let before = self.readings.len();
            match record::decode(&block.record, &mut self.readings) {
                Ok(header) => {
                    let received_us = header.received_at_us;
                    self.oldest_received_us =
                        Some(self.oldest_received_us.map_or(received_us, |us| us.min(received_us)));
                }
                Err(error) => {
                    self.readings.truncate(before);
                    undecodable.push(Undecodable { block: block.clone(), error });
                }
            }
        }
        undecodable
    }

    /// Position of the last record.
    pub(super) fn upto(&self) -> Option<u64> {
        self.blocks.last().map(|block| block.position)
    }

    /// When the earliest of its batches was received, microseconds since the Unix epoch.
    pub(super) const fn oldest_received_us(&self) -> Option<i64> {
        self.oldest_received_us
    }

    /// Puts the readings back into their order, without those that were refused.
    pub(super) fn restore(&mut self) {
        self.readings.clear();
        let Self { blocks, readings, refused, .. } = self;
        visit(blocks, refused, |_, _, reading| readings.push(reading));
    }

    /// The readings at `indices` of the group in its order, each with where it stands. None where an index is none.
    pub(super) fn pick(&self, indices: &[usize]) -> Option<Vec<(Origin, RecordHeader, Reading)>> {
        let wanted: HashSet<usize> = indices.iter().copied().collect();
        let (mut picked, mut index) = (Vec::new(), 0);
        visit(&self.blocks, &self.refused, |origin, header, reading| {
            if wanted.contains(&index) {
                picked.push((origin, *header, reading));
            }
            index += 1;
        });
        (!wanted.is_empty() && picked.len() == wanted.len()).then_some(picked)
    }

    /// Leaves these out from now on.
    pub(super) fn refuse(&mut self, origins: impl Iterator<Item = Origin>) {
        self.refused.extend(origins);
        self.restore();
    }
}

/// Calls `each` for every reading that can be decoded and was not refused, in order.
fn visit(blocks: &[Block], refused: &HashSet<Origin>, mut each: impl FnMut(Origin, &RecordHeader, Reading)) {
    let mut readings = Vec::new();
    for block in blocks {
        readings.clear();
        let Ok(header) = record::decode(&block.record, &mut readings) else { continue };
        for (ordinal, reading) in (0..).zip(&readings) {
            let origin = (block.position, ordinal);
            if !refused.contains(&origin) {
                each(origin, &header, *reading);
            }
        }
    }
}
