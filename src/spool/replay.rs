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
    payload_bytes: usize,
    /// Everything up to this position has been read, or is lost.
    pub(super) upto: u64,
    pub(super) bytes_read: u64,
    /// Damage that was not known.
    pub(super) damage: Vec<Damage>,
    /// All damaged stretches of the segment, from offset to offset.
    pub(super) gaps: Vec<(u64, u64)>,
}

/// Where in a segment reading stopped, and why.
enum Stop {
    /// The caller has what it wants.
    Enough,
    /// The chunk is used up.
    Chunk,
    /// A frame of so many bytes goes beyond the chunk.
    Cut { total: usize },
    /// No frame where one should be.
    Damage,
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
        let mut out = Replayed { gaps: segment.gaps.clone(), ..Replayed::default() };
        let mut chunk_bytes = CHUNK_BYTES;
        while place.last < segment.last {
            let left = segment.end.saturating_sub(place.offset);
            let len = left.min(chunk_bytes as u64) as usize;
            let mut chunk = vec![0; len];
            read_at_most(&place.file, &mut chunk, len, place.offset).map_err(failed)?;
            out.bytes_read += chunk.len() as u64;
            match place.take_from(&Bytes::from(chunk), left, after, bytes_max, &mut out) {
                Stop::Enough => break,
                Stop::Chunk => chunk_bytes = CHUNK_BYTES,
                Stop::Cut { total } => chunk_bytes = CHUNK_BYTES.max(total),
                Stop::Damage => place.step_over_damage(segment, &mut out)?,
            }
        }
        out.upto = place.last;
        Ok(out)
    }
}

impl Place {
    /// Takes the records of `chunk`, which begins here; the segment has `left` bytes from here on.
    fn take_from(&mut self, chunk: &Bytes, left: u64, after: u64, bytes_max: usize, out: &mut Replayed) -> Stop {
        let seed = frame::seed(self.first);
        let mut at = 0;
        let stop = loop {
            let here = &chunk[at..];
            let beyond = left - at as u64;
            match frame::parse(here, seed, self.last) {
                Parsed::Record(frame) => {
                    if frame.position > after {
                        let payload_bytes = out.payload_bytes + frame.payload.len();
                        if payload_bytes > bytes_max && !out.blocks.is_empty() {
                            break Stop::Enough;
                        }
                        out.payload_bytes = payload_bytes;
                        out.blocks.push(Block { position: frame.position, record: chunk.slice_ref(frame.payload) });
                    }
                    at += frame.total;
                    self.last = frame.position;
                }
                Parsed::Partial { total } if total > here.len() && total as u64 <= beyond => {
                    break Stop::Cut { total };
                }
                _ if here.is_empty() && at > 0 => break Stop::Chunk,
                // So short a rest does not even say how long the frame is.
                Parsed::Nothing if at > 0 && here.len() < frame::HEADER_BYTES && (here.len() as u64) < beyond => {
                    break Stop::Chunk;
                }
                _ => break Stop::Damage,
            }
        };
        self.offset += at as u64;
        stop
    }

    /// No frame begins here: goes on behind the damaged stretch, which is looked for if it is not known yet.
    fn step_over_damage(&mut self, segment: &Segment, out: &mut Replayed) -> Result<(), Error> {
        let known = |gaps: &[(u64, u64)], offset| gaps.iter().find(|(from, _)| *from == offset).map(|(_, to)| *to);
        if known(&out.gaps, self.offset).is_none() {
            look_again(segment, out)?;
        }
        match known(&out.gaps, self.offset) {
            Some(to) if to < segment.end => self.offset = to,
            _ => self.last = segment.last,
        }
        Ok(())
    }
}

/// A record that was whole when it was written, or when the spool was opened, is not any more: finds out what remains.
fn look_again(segment: &Segment, out: &mut Replayed) -> Result<(), Error> {
    let failed = |source| Error::ReadSegment { path: segment.path.clone(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(&segment.path).map_err(failed)?;
    read_at_most(&file, &mut bytes, segment.end as usize, 0).map_err(failed)?;
    let scanned = scan(&bytes, segment.first, None);
    let mut lost = |place: (u64, u64), after, before| {
        if !out.gaps.contains(&place) {
            out.gaps.push(place);
            out.damage.push(Damage { segment: segment.path.clone(), after, before: Some(before), acknowledged: true });
        }
    };
    for gap in &scanned.gaps {
        lost((gap.from as u64, gap.to as u64), gap.after, gap.before);
    }
    if scanned.last < segment.last || scanned.tail != Tail::Clean {
        lost((scanned.end as u64, segment.end), scanned.last, segment.last + 1);
    }
    Ok(())
}
