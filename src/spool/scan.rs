//! Reads a segment's bytes once and says what is in them: whole records, damaged stretches, how it ends.

use std::{fs, io};

use super::{
    file::read_at_most,
    frame::{self, ALIGNMENT, Parsed},
    segment::FIRST_FRAME,
};

/// Bytes read at once: few enough to stay in the processor's cache between the reading and the checksum.
const PIECE_BYTES: usize = 256 << 10;

/// What a segment holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Whole records.
    pub(super) records: u64,
    /// Position of the last whole record; one below the segment's first position if there is none.
    pub(super) last: u64,
    /// Offset behind the last whole record.
    pub(super) end: usize,
    /// Damaged stretches before it.
    pub(super) gaps: Vec<Gap>,
    /// What stands behind it.
    pub(super) tail: Tail,
}

/// A damaged stretch with whole records behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// Offset where it begins.
    pub(super) from: usize,
    /// Offset of the next whole record.
    pub(super) to: usize,
    /// The lost records have positions above this,
    pub(super) after: u64,
    /// and below this.
    pub(super) before: u64,
    /// Whether the records behind it were written after the lost ones had been synced, so that those were acknowledged.
    pub(super) acknowledged: bool,
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// As it was left after a group.
    Clean,
    /// In a write that was cut off: nothing of it was acknowledged.
    Torn,
    /// In records that were written whole and are damaged now. They may have been acknowledged.
    Damaged {
        /// They have positions below this.
        before: u64,
    },
}

/// Scans `bytes`, a segment whose first position is `first`. `sealed_at` is its last position where a later segment
/// says so: then the search ends at the end mark that agrees.
pub(super) fn scan(bytes: &[u8], first: u64, sealed_at: Option<u64>) -> Scanned {
    let seed = frame::seed(first);
    let mut scanned = Scanned { records: 0, last: first - 1, end: FIRST_FRAME, gaps: Vec::new(), tail: Tail::Clean };
    let mut offset = FIRST_FRAME;
    loop {
        let here = bytes.get(offset..).unwrap_or_default();
        let end_position = match frame::parse(here, seed, scanned.last) {
            Parsed::Record(frame) => {
                scanned.records += 1;
                scanned.last = frame.position;
                offset += frame.total;
                scanned.end = offset;
                continue;
            }
            Parsed::End { position } => Some(position),
            Parsed::Partial { .. } | Parsed::Nothing => None,
        };
        let clean = end_position.is_some() || here.is_empty();
        if clean && sealed_at.is_some_and(|last| scanned.last >= last) {
            return scanned;
        }
        match resync(bytes, offset + ALIGNMENT, seed, scanned.last) {
            Found::Record { offset: to, position, group_first } => {
                let expected = end_position.unwrap_or(scanned.last + 1);
                scanned.gaps.push(Gap {
                    from: offset,
                    to,
                    after: scanned.last,
                    before: position,
                    acknowledged: group_first > expected,
                });
                offset = to;
            }
            Found::End { position } if !clean => {
                scanned.tail = Tail::Damaged { before: position };
                return scanned;
            }
            Found::Nothing if !clean && !is_blank(here) => {
                scanned.tail = Tail::Torn;
                return scanned;
            }
            Found::End { .. } | Found::Nothing => return scanned,
        }
    }
}

/// The same for a segment in which nothing is damaged, read a piece at a time: every record up to the one at
/// `sealed_at`, and the end mark. None where anything else is found, and [`scan`] has to have a look.
pub(super) fn scan_sound(file: &fs::File, first: u64, sealed_at: u64) -> io::Result<Option<Scanned>> {
    let seed = frame::seed(first);
    let mut scanned = Scanned { records: 0, last: first - 1, end: FIRST_FRAME, gaps: Vec::new(), tail: Tail::Clean };
    let (mut piece, mut piece_bytes) = (Vec::new(), PIECE_BYTES);
    loop {
        read_at_most(file, &mut piece, piece_bytes, scanned.end as u64)?;
        let mut at = 0;
        piece_bytes = loop {
            match frame::parse(&piece[at..], seed, scanned.last) {
                Parsed::Record(frame) => {
                    scanned.records += 1;
                    scanned.last = frame.position;
                    at += frame.total;
                }
                Parsed::End { .. } => {
                    scanned.end += at;
                    return Ok(Some(scanned).filter(|scanned| scanned.last == sealed_at));
                }
                Parsed::Partial { total } if total > piece.len() - at && piece.len() == piece_bytes => {
                    break PIECE_BYTES.max(total);
                }
                Parsed::Nothing if at > 0 && piece.len() - at < frame::HEADER_BYTES => break PIECE_BYTES,
                Parsed::Partial { .. } | Parsed::Nothing => return Ok(None),
            }
        };
        scanned.end += at;
    }
}

enum Found {
    Record { offset: usize, position: u64, group_first: u64 },
    End { position: u64 },
    Nothing,
}

/// The next whole record above `last` at or behind `from`, or else the last end mark.
fn resync(bytes: &[u8], from: usize, seed: u32, last: u64) -> Found {
    let mut end = Found::Nothing;
    let mut offset = from;
    while let Some(here) = bytes.get(offset..).filter(|here| here.len() >= frame::HEADER_BYTES) {
        if frame::looks_like_one(here) {
            match frame::parse(here, seed, last) {
                Parsed::Record(frame) => {
                    return Found::Record { offset, position: frame.position, group_first: frame.group_first };
                }
                Parsed::End { position } => end = Found::End { position },
                Parsed::Partial { .. } | Parsed::Nothing => {}
            }
        }
        offset += ALIGNMENT;
    }
    end
}

/// Space that was set aside and never written.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().take(frame::HEADER_BYTES).all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::frame::PADDING;

    /// A segment from position 100 with groups of the sizes given, each record 100 bytes of its position's low byte.
    fn segment(groups: &[u64]) -> (Vec<u8>, Vec<usize>) {
        let (first, seed) = (100, frame::seed(100));
        let (mut bytes, mut places, mut position) = (vec![0; FIRST_FRAME], Vec::new(), first);
        for size in groups {
            for index in 0..*size {
                let payload = [position as u8; 100];
                places.push(bytes.len());
                bytes.extend_from_slice(&frame::record_header(seed, position, index as u32, &payload));
                bytes.extend_from_slice(&payload);
                bytes.extend_from_slice(&PADDING[..frame::padding(100)]);
                position += 1;
            }
        }
        places.push(bytes.len());
        bytes.extend_from_slice(&frame::end_mark(seed, position));
        bytes.resize(bytes.len() + 500, 0);
        (bytes, places)
    }

    #[test]
    fn an_undamaged_segment_is_read_whole() {
        let (bytes, places) = segment(&[1, 3, 2]);
        let scanned = scan(&bytes, 100, None);
        assert_eq!(scanned, Scanned { records: 6, last: 105, end: places[6], gaps: vec![], tail: Tail::Clean });
        assert_eq!(scan(&bytes, 100, Some(105)), scanned);
    }

    #[test]
    fn a_damaged_record_before_a_later_group_was_acknowledged() {
        let (mut bytes, places) = segment(&[1, 3, 2]);
        bytes[places[2] + 30] ^= 1;
        let scanned = scan(&bytes, 100, None);
        assert_eq!((scanned.records, scanned.last, scanned.tail), (5, 105, Tail::Clean));
        // Records 103 (same group) follows: whether 102 was acknowledged cannot be told from it.
        let gap = Gap { from: places[2], to: places[3], after: 101, before: 103, acknowledged: false };
        assert_eq!(scanned.gaps, [gap]);
        bytes[places[3] + 30] ^= 1;
        let gap = Gap { from: places[2], to: places[4], after: 101, before: 104, acknowledged: true };
        assert_eq!(scan(&bytes, 100, None).gaps, [gap]);
    }

    #[test]
    fn a_damaged_length_does_not_hide_what_follows() {
        let (mut bytes, places) = segment(&[1, 1, 1]);
        bytes[places[1] + 9] = 0xff;
        let scanned = scan(&bytes, 100, None);
        assert_eq!((scanned.records, scanned.last, scanned.gaps.len()), (2, 102, 1));
    }

    #[test]
    fn the_three_ends_are_told_apart() {
        let (bytes, places) = segment(&[1, 2]);
        let mut torn = bytes.clone();
        torn[places[2] + 50..].fill(0);
        let scanned = scan(&torn, 100, None);
        assert_eq!((scanned.last, scanned.end, scanned.tail), (101, places[2], Tail::Torn));
        torn.truncate(places[2] + 70);
        assert_eq!(scan(&torn, 100, None).tail, Tail::Torn);
        torn.truncate(places[2]);
        assert_eq!(scan(&torn, 100, None).tail, Tail::Clean);
        let mut damaged = bytes;
        damaged[places[2] + 50] ^= 4;
        let scanned = scan(&damaged, 100, None);
        assert_eq!((scanned.last, scanned.end, scanned.tail), (101, places[2], Tail::Damaged { before: 103 }));
    }

    #[test]
    fn remains_of_an_earlier_use_are_a_torn_end_at_most() {
        let (bytes, places) = segment(&[1, 1]);
        let mut reused = vec![0; FIRST_FRAME];
        reused.extend_from_slice(&bytes[FIRST_FRAME..]);
        assert_eq!(scan(&reused, 300, None).records, 0);
        // The file now starts at 300 and holds one record of its own, whose write was cut off before its end mark.
        let own = frame::record_header(frame::seed(300), 300, 0, &[1; 100]);
        reused[places[0]..places[0] + 24].copy_from_slice(&own);
        reused[places[0] + 24..places[0] + 124].fill(1);
        let scanned = scan(&reused, 300, None);
        assert_eq!((scanned.records, scanned.last, scanned.gaps.len(), scanned.tail), (1, 300, 0, Tail::Torn));
    }

    #[test]
    fn records_behind_an_end_mark_are_found() {
        let (mut bytes, places) = segment(&[1, 1, 1]);
        let stale = frame::end_mark(frame::seed(100), 101);
        bytes[places[1]..places[1] + 24].copy_from_slice(&stale);
        let scanned = scan(&bytes, 100, None);
        assert_eq!((scanned.records, scanned.last), (2, 102));
        assert!(scanned.gaps[0].acknowledged);
    }
}
