//! Reads records back from segments, for a reader that has fallen behind what is kept in memory.

use std::fs;

use bytes::Bytes;

use super::{
    Block, Damage, Error,
    file::read_at_most,
    frame::{self, Parsed},
    scan::{Tail, scan},
    segment::{FIRST_FRAME, Segment},
};

/// Bytes read at once; records are slices of them.
const CHUNK_BYTES: usize = 1 << 20;

/// A place in a segment file.
#[derive(Debug, Default)]
pub(super) struct Replay {
    open: Option<Place>,
}

#[derive(Debug)]
struct Place {
    first: u64,
    file: fs::File,
    offset: u64,
    /// Position of the last record before `offset`.
    last: u64,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) blocks: Vec<Block>,
    /// Everything up to this position has been read, or is lost.
    pub(super) upto: u64,
    pub(super) bytes_read: u64,
    /// Damage that was not known.
    pub(super) damage: Vec<Damage>,
    /// Where it is.
    pub(super) gaps: Vec<(u64, u64)>,
}

impl Replay {
    /// Records of `segment` behind `after`, as many as fit in `bytes_max`, but at least one if there is one.
    pub(super) fn read(&mut self, segment: &Segment, after: u64, bytes_max: usize) -> Result<Replayed, Error> {
        let failed = |source| Error::ReadSegment { path: segment.path.clone(), source };
        let place = match self.open.take() {
            Some(place) if place.first == segment.first && place.last <= after => place,
            _ => Place {
                first: segment.first,
                file: fs::File::open(&segment.path).map_err(failed)?,
                offset: FIRST_FRAME as u64,
                last: segment.first - 1,
            },
        };
        let place = self.open.insert(place);
        let seed = frame::seed(segment.first);
        let (mut gaps, mut out, mut taken) = (segment.gaps.clone(), Replayed::default(), 0);
        let mut chunk_bytes = CHUNK_BYTES;
        while place.last < segment.last {
            let len = chunk_bytes.min(segment.end.saturating_sub(place.offset) as usize);
            let mut chunk = Vec::new();
            read_at_most(&place.file, &mut chunk, len, place.offset).map_err(failed)?;
            out.bytes_read += chunk.len() as u64;
            let chunk = Bytes::from(chunk);
            let (mut at, whole) = (0, chunk.len() == len);
            let stopped = loop {
                match frame::parse(&chunk[at..], seed, place.last) {
                    Parsed::Record(frame) => {
                        if frame.position > after {
                            taken += frame.payload.len();
                            if taken > bytes_max && !out.blocks.is_empty() {
                                break Stop::Enough;
                            }
                            out.blocks.push(Block { position: frame.position, record: chunk.slice_ref(frame.payload) });
                        }
                        at += frame.total;
                        place.last = frame.position;
                    }
                    _ if at == chunk.len() && at > 0 => break Stop::Chunk,
                    Parsed::Partial { total } if whole && at as u64 + place.offset + total as u64 <= segment.end => {
                        break Stop::Cut { total };
                    }
                    // The head of a frame does not say how long it is before it is here itself.
                    Parsed::Nothing
                        if whole
                            && chunk.len() - at < frame::HEADER_BYTES
                            && place.offset + (len as u64) < segment.end =>
                    {
                        break Stop::Cut { total: frame::HEADER_BYTES };
                    }
                    _ => break Stop::Damage,
                }
            };
            place.offset += at as u64;
            match stopped {
                Stop::Enough => break,
                Stop::Chunk => chunk_bytes = CHUNK_BYTES,
                Stop::Cut { total } => chunk_bytes = CHUNK_BYTES.max(total),
                Stop::Damage => {
                    if !gaps.iter().any(|(from, _)| *from == place.offset) {
                        out.damage.extend(look_again(segment, &mut gaps)?);
                    }
                    match gaps.iter().find(|(from, _)| *from == place.offset) {
                        Some((_, to)) if *to < segment.end => place.offset = *to,
                        _ => place.last = segment.last,
                    }
                }
            }
        }
        out.upto = place.last;
        if gaps.len() > segment.gaps.len() {
            out.gaps = gaps;
        }
        Ok(out)
    }
}

enum Stop {
    /// The caller has what it wants.
    Enough,
    /// The chunk is used up.
    Chunk,
    /// A frame goes beyond the chunk.
    Cut { total: usize },
    /// No frame where one should be.
    Damage,
}

/// A record that was whole when it was written, or when the spool was opened, is not any more: finds out what remains.
fn look_again(segment: &Segment, gaps: &mut Vec<(u64, u64)>) -> Result<Vec<Damage>, Error> {
    let failed = |source| Error::ReadSegment { path: segment.path.clone(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(&segment.path).map_err(failed)?;
    read_at_most(&file, &mut bytes, segment.end as usize, 0).map_err(failed)?;
    let scanned = scan(&bytes, segment.first, None);
    let mut damage = Vec::new();
    let mut lost = |after, before| {
        damage.push(Damage { segment: segment.path.clone(), after, before: Some(before), acknowledged: true });
    };
    for gap in &scanned.gaps {
        let place = (gap.from as u64, gap.to as u64);
        if !gaps.contains(&place) {
            lost(gap.after, gap.before);
            gaps.push(place);
        }
    }
    if scanned.last < segment.last || scanned.tail != Tail::Clean {
        lost(scanned.last, segment.last + 1);
        gaps.push((scanned.end as u64, segment.end));
    }
    Ok(damage)
}
