//! How far delivery has come, and which positions were ever used.
//!
//! Two slots that are written in turn, each checksummed and in a page of its own: whatever becomes of one write, the
//! other slot stands. Written at each release without a sync, synced before a segment is dropped. An old value is
//! harmless: the stores know what they have.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::Error;

const SLOT_STRIDE: u64 = 4096;
const SLOT_BYTES: usize = 40;
const MAGIC: [u8; 4] = *b"SGcu";

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Records up to this position are in the store.
    pub(super) released: u64,
    /// No record gets a position up to this one any more.
    pub(super) used: u64,
}

/// The cursor file.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    file: fs::File,
    sequence: u64,
    mark: Option<Mark>,
}

impl Cursor {
    /// Opens or makes the cursor in `dir`.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("cursor");
        let failed = |source| Error::Cursor { path: path.clone(), source };
        let file =
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let mut newest: Option<(u64, Mark)> = None;
        for slot in 0..2 {
            let mut bytes = Vec::new();
            super::file::read_at_most(&file, &mut bytes, SLOT_BYTES, slot * SLOT_STRIDE).map_err(failed)?;
            newest = newest.into_iter().chain(decode(&bytes)).max_by_key(|(sequence, _)| *sequence);
        }
        if newest.is_none() && file.metadata().map_err(failed)?.len() > 0 {
            tracing::warn!(
                path = %path.display(),
                "the cursor is damaged: everything still in the spool is delivered once more; the store keeps each reading once"
            );
        }
        let (sequence, mark) = newest.map_or((0, None), |(sequence, mark)| (sequence, Some(mark)));
        Ok(Self { path, file, sequence, mark })
    }

    /// What was last written; nothing in a new spool, or where both slots are damaged.
    pub(super) const fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Writes `mark` over the older slot. Survives the process at once, the machine after [`sync`](Self::sync).
    pub(super) fn write(&mut self, mark: Mark) -> Result<(), Error> {
        let sequence = self.sequence + 1;
        self.file
            .write_all_at(&encode(sequence, mark), sequence % 2 * SLOT_STRIDE)
            .map_err(|source| self.failed(source))?;
        (self.sequence, self.mark) = (sequence, Some(mark));
        Ok(())
    }

    /// Waits until what was written is on disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Cursor { path: self.path.clone(), source }
    }
}

fn encode(sequence: u64, mark: Mark) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
    bytes[16..24].copy_from_slice(&mark.released.to_le_bytes());
    bytes[24..32].copy_from_slice(&mark.used.to_le_bytes());
    let crc = crc32fast::hash(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(u64, Mark)> {
    let bytes = bytes.first_chunk::<SLOT_BYTES>()?;
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let (sequence, mark) = (number(8), Mark { released: number(16), used: number(24) });
    (encode(sequence, mark) == *bytes).then_some((sequence, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mark(released: u64) -> Mark {
        Mark { released, used: released + 5 }
    }

    #[test]
    fn the_last_mark_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(dir.path()).unwrap();
        assert_eq!(cursor.mark(), None);
        for released in 1..6 {
            cursor.write(mark(released)).unwrap();
            assert_eq!(Cursor::open(dir.path()).unwrap().mark(), Some(mark(released)));
        }
        cursor.sync().unwrap();
    }

    #[test]
    fn a_damaged_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(dir.path()).unwrap();
        cursor.write(mark(1)).unwrap();
        cursor.write(mark(2)).unwrap();
        cursor.file.write_all_at(&[0xff], 20).unwrap();
        assert_eq!(Cursor::open(dir.path()).unwrap().mark(), Some(mark(1)));
        cursor.file.write_all_at(&[0xff], SLOT_STRIDE + 20).unwrap();
        assert_eq!(Cursor::open(dir.path()).unwrap().mark(), None);
    }
}
