//! A file system that fails on demand.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use parking_lot::Mutex;

use crate::spool::file::{Disk, File, OsDisk};

/// What fails next. Each fault but `free_bytes` and `write_bytes_max` happens once.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The next write fails with this, after having written `write_bytes_before` bytes.
    pub(super) write: Mutex<Option<io::ErrorKind>>,
    pub(super) write_bytes_before: AtomicU64,
    /// A write takes at most so many bytes; 0 means any number.
    pub(super) write_bytes_max: AtomicU64,
    pub(super) sync: Mutex<Option<io::ErrorKind>>,
    pub(super) truncate: Mutex<Option<io::ErrorKind>>,
    pub(super) allocate: Mutex<Option<io::ErrorKind>>,
    /// Free bytes to report; 0 means what there is.
    pub(super) free_bytes: AtomicU64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct FaultyDisk(pub(super) Arc<Faults>);

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn File>,
    faults: Arc<Faults>,
}

fn fail(fault: &Mutex<Option<io::ErrorKind>>) -> io::Result<()> {
    fault.lock().take().map_or(Ok(()), |kind| Err(kind.into()))
}

impl File for FaultyFile {
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let kind = *self.faults.write.lock();
        if let Some(kind) = kind {
            let before = self.faults.write_bytes_before.load(SeqCst) as usize;
            if before == 0 {
                self.faults.write.lock().take();
                return Err(kind.into());
            }
            let written = self.file.write_at(&[IoSlice::new(&whole[..before.min(whole.len())])], offset)?;
            self.faults.write_bytes_before.fetch_sub(written as u64, SeqCst);
            return Ok(written);
        }
        let most = match self.faults.write_bytes_max.load(SeqCst) {
            0 => whole.len(),
            most => whole.len().min(most as usize),
        };
        self.file.write_at(&[IoSlice::new(&whole[..most])], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        fail(&self.faults.sync)?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        fail(&self.faults.sync)?;
        self.file.sync_all()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        fail(&self.faults.truncate)?;
        self.file.truncate(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        fail(&self.faults.allocate)?;
        self.file.allocate(len)
    }
}

impl FaultyDisk {
    fn wrap(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(FaultyFile { file, faults: Arc::clone(&self.0) })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(OsDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(OsDisk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        match self.0.free_bytes.load(SeqCst) {
            0 => OsDisk.free_bytes(dir),
            free => Ok(free),
        }
    }
}
