//! One record on disk, and the mark behind the last one.
//!
//! ```text
//! magic u32 · crc u32 · length u32 · group index u32 · position u64 · payload · 1 to 8 bytes of 0xA5, up to 8 n
//! ```
//!
//! Little endian. The checksum (CRC-32) covers everything behind itself up to the end of the payload, and starts from
//! the segment's first position: a frame left over from an earlier use of the file can never pass for one of this
//! segment. The group index is the distance to the first record that was written in the same go: it tells whether a
//! damaged record had been synced before a later one was written. Behind each group stands an end mark, a header
//! without payload that carries the next position; the next group overwrites it. So a clean end is told from a torn
//! one.

/// Largest record. A batch of 65,535 readings, the most that the record format can say, has 1.6 MB.
pub const RECORD_BYTES_MAX: usize = 2 << 20;

pub(super) const HEADER_BYTES: usize = 24;
/// Frames start at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
pub(super) const PADDING: [u8; ALIGNMENT] = [0xA5; ALIGNMENT];
const RECORD_MAGIC: [u8; 4] = *b"SGrc";
const END_MAGIC: [u8; 4] = *b"SGnd";
/// Bytes of the smallest frame.
pub(super) const FRAME_BYTES_MIN: usize = HEADER_BYTES + ALIGNMENT;

/// What stands at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A whole, undamaged record.
    Record(Frame<'a>),
    /// A clean end; `position` is that of the next record.
    End { position: u64 },
    /// The head of a record of `total` bytes, of which not all are here.
    Partial { total: usize },
    /// Neither.
    Nothing,
}

/// A whole record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) position: u64,
    /// Position of the first record of its group.
    pub(super) group_first: u64,
    pub(super) payload: &'a [u8],
    /// Bytes to the next frame.
    pub(super) total: usize,
}

/// How many bytes of padding follow `payload_len` bytes.
pub(super) const fn padding(payload_len: usize) -> usize {
    ALIGNMENT - payload_len % ALIGNMENT
}

/// Bytes of a frame with `payload_len` bytes in it.
pub(super) const fn total(payload_len: usize) -> usize {
    HEADER_BYTES + payload_len + padding(payload_len)
}

/// What the checksums of a segment start from.
pub(super) fn seed(first_position: u64) -> u32 {
    crc32fast::hash(&first_position.to_le_bytes())
}

/// The head of the record `payload` at `position`.
pub(super) fn record_header(seed: u32, position: u64, group_index: u32, payload: &[u8]) -> [u8; HEADER_BYTES] {
    header(RECORD_MAGIC, seed, position, group_index, payload)
}

/// The end mark before `position`.
pub(super) fn end_mark(seed: u32, position: u64) -> [u8; HEADER_BYTES] {
    header(END_MAGIC, seed, position, 0, &[])
}

fn header(magic: [u8; 4], seed: u32, position: u64, group_index: u32, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    let len = u32::try_from(payload.len()).expect("records are below RECORD_BYTES_MAX");
    bytes[..4].copy_from_slice(&magic);
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12..16].copy_from_slice(&group_index.to_le_bytes());
    bytes[16..].copy_from_slice(&position.to_le_bytes());
    let crc = checksum(seed, &bytes[8..], payload);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn checksum(seed: u32, head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads what stands at the start of `bytes`, if its position is above `last`; older ones are remains.
pub(super) fn parse(bytes: &[u8], seed: u32, last: u64) -> Parsed<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Parsed::Nothing };
    let [m0, m1, m2, m3, c0, c1, c2, c3, l0, l1, l2, l3, g0, g1, g2, g3, position @ ..] = *head;
    let magic = [m0, m1, m2, m3];
    if magic != RECORD_MAGIC && magic != END_MAGIC {
        return Parsed::Nothing;
    }
    let crc = u32::from_le_bytes([c0, c1, c2, c3]);
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let group_index = u32::from_le_bytes([g0, g1, g2, g3]);
    let position = u64::from_le_bytes(position);
    if position <= last || len > RECORD_BYTES_MAX {
        return Parsed::Nothing;
    }
    let total = total(len);
    let Some(payload) = rest.get(..len) else { return Parsed::Partial { total } };
    if magic == END_MAGIC {
        let whole = len == 0 && checksum(seed, &head[8..], &[]) == crc;
        return if whole { Parsed::End { position } } else { Parsed::Nothing };
    }
    if bytes.len() < total {
        return Parsed::Partial { total };
    }
    if checksum(seed, &head[8..], payload) != crc {
        return Parsed::Nothing;
    }
    Parsed::Record(Frame { position, group_first: position.saturating_sub(group_index.into()), payload, total })
}

/// Whether `bytes` might start a frame: cheap enough to ask at every place of a damaged file.
pub(super) fn looks_like_one(bytes: &[u8]) -> bool {
    matches!(bytes.first_chunk::<4>(), Some(&RECORD_MAGIC | &END_MAGIC))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(seed: u32, position: u64, group_index: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = record_header(seed, position, group_index, payload).to_vec();
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&PADDING[..padding(payload.len())]);
        bytes
    }

    proptest! {
        #[test]
        fn a_record_comes_back(
            payload in prop::collection::vec(any::<u8>(), 0..300), first in 1u64.., more in 0u64..1000,
        ) {
            let position = first.saturating_add(more);
            let bytes = frame(seed(first), position, 0, &payload);
            prop_assert_eq!(bytes.len() % ALIGNMENT, 0);
            prop_assert_eq!(parse(&bytes, seed(first), position - 1), Parsed::Record(Frame {
                position, group_first: position, payload: &payload, total: bytes.len(),
            }));
        }

        #[test]
        fn one_flipped_bit_is_seen(
            payload in prop::collection::vec(any::<u8>(), 1..100), bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = frame(7, 9, 2, &payload);
            let bit = bit.index((HEADER_BYTES + payload.len()) * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let taken = matches!(parse(&bytes, 7, 0), Parsed::Record(_) | Parsed::End { .. });
            prop_assert!(!taken);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, 1, 0);
        }
    }

    #[test]
    fn what_an_earlier_segment_left_is_nothing() {
        let bytes = frame(seed(100), 120, 0, b"old");
        assert_eq!(parse(&bytes, seed(200), 0), Parsed::Nothing);
        assert_eq!(parse(&bytes, seed(100), 199), Parsed::Nothing);
        assert_eq!(parse(&end_mark(seed(100), 121), seed(200), 0), Parsed::Nothing);
        assert_eq!(parse(&end_mark(seed(100), 121), seed(100), 120), Parsed::End { position: 121 });
    }

    #[test]
    fn a_record_cut_short_says_how_long_it_should_be() {
        let bytes = frame(1, 5, 0, b"some payload");
        assert_eq!(parse(&bytes[..30], 1, 0), Parsed::Partial { total: 40 });
        assert_eq!(parse(&bytes[..10], 1, 0), Parsed::Nothing);
    }
}
