//! A segment file: `{first position, 20 digits}.seg`, a header of 64 bytes, then frames, then an end mark.

use std::{
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    file::{Disk, File, forget, write_all},
    frame,
};

/// Offset of the first frame.
pub(super) const FIRST_FRAME: usize = 64;
/// Writes end at multiples of this, so that a page that is not in memory need not be read before it is written.
pub(super) const PAGE: usize = 4096;
const MAGIC: [u8; 8] = *b"SGSEGMNT";
const VERSION: u32 = 1;

/// The first bytes of a segment: `magic [8] · version u32 · crc u32 · first u64 · previous u64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The records here have this position or a higher one.
    pub(super) first: u64,
    /// Position of the last record before this segment: a gap below it means that a file is missing.
    pub(super) previous: u64,
}

impl Header {
    fn encode(self) -> [u8; FIRST_FRAME] {
        let mut bytes = [0; FIRST_FRAME];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous.to_le_bytes());
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, if it is one of this version and undamaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<FIRST_FRAME>()?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let header = Self { first: number(16), previous: number(24) };
        (header.encode() == *bytes && header.first > header.previous).then_some(header)
    }

    /// The first page of a segment without records.
    pub(super) fn first_page(self) -> Vec<u8> {
        let mut page = self.encode().to_vec();
        page.extend_from_slice(&frame::end_mark(frame::seed(self.first), self.first));
        page.resize(PAGE, 0);
        page
    }
}

/// What is known of a segment while the spool is open.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    /// Position of its last synced record; `first - 1` if there is none.
    pub(super) last: u64,
    /// Offset behind its last synced record.
    pub(super) end: u64,
    /// Synced records.
    pub(super) records: u64,
    /// Damaged stretches, from offset to offset.
    pub(super) gaps: Vec<(u64, u64)>,
    /// When its last record was released.
    pub(super) drained_at: Option<Instant>,
    /// Whether the file has its full size, so that it can be written over.
    pub(super) reusable: bool,
}

impl Segment {
    pub(super) fn empty(dir: &Path, first: u64) -> Self {
        Self {
            path: path(dir, first),
            first,
            last: first - 1,
            end: FIRST_FRAME as u64,
            records: 0,
            gaps: Vec::new(),
            drained_at: None,
            reusable: true,
        }
    }
}

/// The file of the segment that starts at `first`.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// The first position that a file name says, if it is a segment's.
pub(super) fn first_of(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let first = (stem.len() == 20).then(|| stem.parse().ok()).flatten();
    // Half of the numbers are enough, and leave room for sums.
    first.filter(|first| (1..=i64::MAX as u64).contains(first))
}

/// The name under which the drained segment that started at `first` waits to be used again.
pub(super) fn spare_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.spare"))
}

/// Whether `path` is a spare, or a segment that was never finished.
pub(super) fn is_spare(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "spare" || extension == "new")
}

/// Makes the segment of `header` in `dir`, out of `spare` if there is one, else with `bytes` set aside. When this
/// returns, the file and its name are on disk.
///
/// # Errors
/// When the system refuses; nothing of the attempt remains.
pub(super) fn create(
    disk: &dyn Disk,
    dir: &Path,
    header: Header,
    spare: Option<&Path>,
    bytes: u64,
) -> io::Result<Box<dyn File>> {
    let fresh = dir.join(format!("{:020}.new", header.first));
    let source = spare.unwrap_or(&fresh);
    let made = (|| {
        let file = if spare.is_some() { disk.open(source)? } else { disk.create(source)? };
        if spare.is_none() {
            file.allocate(bytes)?;
        }
        write_all(&*file, &mut [io::IoSlice::new(&header.first_page())], 0)?;
        file.sync_all()?;
        disk.rename(source, &path(dir, header.first))?;
        disk.sync_dir(dir)?;
        Ok(file)
    })();
    if made.is_err() {
        forget(disk, source);
    }
    made
}

/// Writes the end mark behind the record at `last`, whose frame ends at `end`.
pub(super) fn end_at(file: &dyn File, first: u64, last: u64, end: u64) -> io::Result<()> {
    write_all(file, &mut [io::IoSlice::new(&frame::end_mark(frame::seed(first), last + 1))], end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_a_damaged_one_does_not() {
        let header = Header { first: 1_794_000_000_000_000, previous: 17 };
        let page = header.first_page();
        assert_eq!((page.len(), Header::decode(&page)), (PAGE, Some(header)));
        for bit in 0..FIRST_FRAME * 8 {
            let mut damaged = page.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(Header::decode(&page[..63]), None);
    }

    #[test]
    fn only_names_of_segments_are_taken_for_segments() {
        assert_eq!(first_of(&path(Path::new("/x"), 42)), Some(42));
        for name in
            ["42.seg", "00000000000000000000.seg", "0000000000000000004x.seg", "cursor", "00000000000000000042.spare"]
        {
            assert_eq!(first_of(Path::new(name)), None, "{name}");
        }
    }
}
