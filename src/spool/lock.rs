//! One process at a time: an advisory lock that the system drops when its holder dies, however it dies.

use std::{fs, path::Path};

use rustix::{fs::FlockOperation, io::Errno};

use super::Error;

/// Held while the spool is open.
#[derive(Debug)]
pub(super) struct Lock {
    file: fs::File,
}

impl Drop for Lock {
    /// Closing the file would do, but not while a process that is just being started still has a copy of it.
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

impl Lock {
    /// Takes the lock of the spool in `dir`.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process, or another part of this one, holds it.
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("lock");
        let lock = |source| Error::Lock { path: path.clone(), source };
        let file =
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(lock)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(Errno::WOULDBLOCK) => Err(Error::InUse { path: dir.to_owned() }),
            Err(errno) => Err(lock(errno.into())),
        }
    }
}
