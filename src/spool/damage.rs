//! Records that were written and cannot be read any more.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Copies of damaged segments that are kept; beyond that it is the disk that needs looking at, not the copies.
const COPIES_MAX: usize = 16;

/// A damaged stretch of a segment. Its neighbours on both sides are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment; a copy of it, as it was found, is in the spool's directory `corrupt`.
    pub segment: PathBuf,
    /// The lost records have positions above this,
    pub after: u64,
    /// and below this, where it is known.
    pub before: Option<u64>,
    /// Whether they had certainly been acknowledged. Otherwise they may have been.
    pub acknowledged: bool,
}

impl Damage {
    /// Tells the operator.
    pub(super) fn report(&self) {
        let (path, after, before) = (self.segment.display(), self.after, self.before);
        if self.acknowledged {
            tracing::error!(
                %path, after, before,
                "acknowledged records are damaged and lost; the rest goes on. The disk is at fault; a copy is kept in `corrupt`"
            );
        } else {
            tracing::warn!(
                %path, after, before,
                "records at the end of a group are damaged; they may have been acknowledged. A copy is kept in `corrupt`"
            );
        }
    }
}

/// Keeps a copy of the damaged `segment` as it was found, in `corrupt`, unless there is one.
pub(super) fn copy_aside(dir: &Path, segment: &Path) {
    let Some(name) = segment.file_name() else { return };
    let corrupt = dir.join("corrupt");
    let copy = corrupt.join(name);
    if copy.exists() || copies(dir) >= COPIES_MAX {
        return;
    }
    if let Err(error) = fs::create_dir_all(&corrupt).and_then(|()| fs::copy(segment, &copy)) {
        // Better to go on without the copy than not at all: the records around the damage are waiting.
        tracing::warn!(path = %segment.display(), %error, "a damaged segment could not be copied to `corrupt`");
        fs::remove_file(&copy).ok();
    }
}

/// How many copies of damaged segments wait for someone to look at them.
pub(super) fn copies(dir: &Path) -> usize {
    fs::read_dir(dir.join("corrupt")).map_or(0, Iterator::count)
}
