//! The few things that the spool asks of the file system, behind a trait so that tests can make each of them fail.

use std::{
    fmt, fs,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::fs::FallocateFlags;

use super::segment::PAGE;

/// One write takes at most this many pieces (`IOV_MAX`).
const PIECES_MAX: usize = 1024;

/// A file that the spool writes.
pub(super) trait File: Send + Sync + fmt::Debug {
    /// Writes some of `pieces` at `offset` and says how many bytes.
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Waits until the written bytes are on disk.
    fn sync_data(&self) -> io::Result<()>;
    /// The same, with the file's size and the rest that the file system knows of it.
    fn sync_all(&self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes the file `len` bytes long and sets the space for them aside.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// A file system.
pub(super) trait Disk: Send + Sync + fmt::Debug {
    /// Makes the file at `path`, empty, in place of what may be there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens what is at `path` for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Gives the file another name, in place of what may have it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Waits until the names in `dir` are on disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that are free for us in the file system of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// The real file system.
#[derive(Debug)]
pub(super) struct OsDisk;

impl File for fs::File {
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let pieces = pieces.get(..PIECES_MAX).unwrap_or(pieces);
        Ok(rustix::io::pwritev(self, pieces, offset)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, len) {
            // Not every file system can; there a full disk shows at the write instead, which is dealt with as well.
            Err(rustix::io::Errno::OPNOTSUPP) => self.set_len(len),
            other => Ok(other?),
        }
    }
}

impl Disk for OsDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let system = rustix::fs::statvfs(dir)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}

/// Writes all of `pieces` at `offset`, in as many goes as it takes.
///
/// # Errors
/// Of the write that failed; what came before it may be in the file.
pub(super) fn write_all(file: &dyn File, mut pieces: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        match file.write_at(pieces, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut pieces, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads `len` bytes of `file` at `offset` into `buffer`; fewer at the end of the file. What the disk cannot read comes
/// as zeros, a page at a time: to the reader of frames that is damage like any other, and the rest is delivered.
pub(super) fn read_at_most(file: &fs::File, buffer: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
    read_around(|buffer, offset| file.read_at(buffer, offset), buffer, len, offset)
}

fn read_around(
    read: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    buffer: &mut Vec<u8>,
    len: usize,
    offset: u64,
) -> io::Result<()> {
    buffer.resize(len, 0);
    let (mut filled, mut by_page) = (0, false);
    while filled < len {
        let at = offset + filled as u64;
        let page_end = filled + PAGE - (at % PAGE as u64) as usize;
        let to = if by_page { page_end.min(len) } else { len };
        match read(&mut buffer[filled..to], at) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somewhere in this stretch: page by page, then.
            Err(error) if is_unreadable(&error) && !by_page => by_page = true,
            Err(error) if is_unreadable(&error) => {
                tracing::error!(offset = at, %error, "the disk cannot read a part of the spool");
                buffer[filled..to].fill(0);
                filled = to;
            }
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(())
}

fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Whether `error` says that there is no room, rather than that the disk is broken.
pub(super) fn is_for_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Removes a file that is of no use; that it stays is no harm but for its space.
pub(super) fn forget(disk: &dyn Disk, path: &Path) {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a spool file that is no longer needed cannot be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_cannot_read_comes_as_zeros_and_the_rest_as_it_is() {
        let bytes: Vec<u8> = (0..10 * PAGE).map(|at| (at % 251) as u8 + 1).collect();
        let bad = 3 * PAGE..4 * PAGE;
        let read = |buffer: &mut [u8], at: u64| {
            let at = at as usize;
            let to = (at + buffer.len()).min(bytes.len());
            if at < bad.end && to > bad.start {
                return Err(io::Error::from(rustix::io::Errno::IO));
            }
            buffer[..to - at].copy_from_slice(&bytes[at..to]);
            Ok(to - at)
        };
        for offset in [0, 64, 3 * PAGE, 3 * PAGE + 17, 5 * PAGE] {
            let mut buffer = Vec::new();
            read_around(read, &mut buffer, 9 * PAGE, offset as u64).unwrap();
            let mut wanted = bytes.clone();
            wanted[bad.clone()].fill(0);
            assert_eq!(buffer, wanted[offset..(offset + 9 * PAGE).min(bytes.len())], "from {offset}");
        }
        let broken = |_: &mut [u8], _: u64| Err(io::Error::from(rustix::io::Errno::BADF));
        assert!(read_around(broken, &mut Vec::new(), 10, 0).is_err());
    }
}
