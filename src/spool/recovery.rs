//! What a start finds in the directory: read once, judged, tidied.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use super::{
    Config, Damage, Error,
    cursor::{Cursor, Mark},
    damage::copy_aside,
    file::{Disk, forget, read_at_most},
    frame,
    lock::Lock,
    log::Log,
    scan::{Scanned, Tail, scan, scan_sound},
    segment::{self, FIRST_FRAME, Header, Segment},
};

/// A spool that can go on.
pub(super) struct Recovered {
    pub(super) lock: Lock,
    pub(super) cursor: Cursor,
    pub(super) log: Log,
    pub(super) next_position: u64,
    pub(super) damage: Vec<Damage>,
}

/// Brings the spool in `dir` into a state in which it can be read and appended to.
pub(super) fn recover(disk: &dyn Disk, dir: &Path, config: &Config) -> Result<Recovered, Error> {
    let directory = |source| Error::Directory { path: dir.to_owned(), source };
    make_dir(disk, dir).map_err(directory)?;
    let lock = Lock::take(dir)?;
    let mut cursor = Cursor::open(dir)?;
    // It may be newer in memory than on disk, and decides what is dropped below.
    cursor.sync()?;
    let started = Instant::now();
    let mut listing = list(dir).map_err(directory)?;
    let is_new = listing.segments.is_empty() && cursor.mark().is_none();
    let mut found = Recovery {
        disk,
        dir,
        config,
        released: cursor.mark().map(|mark| mark.released),
        segments: VecDeque::new(),
        damage: Vec::new(),
        last: 0,
        used: 0,
        jump: 0,
        buffer: Vec::new(),
    };
    let headers = found.headers(&mut listing.segments)?;
    for (index, (path, first)) in listing.segments.iter().enumerate() {
        let sealed_at = headers.get(index + 1).copied().flatten().map(|header| header.previous);
        found.segment(path, *first, headers[index], sealed_at, index + 1 == listing.segments.len())?;
    }
    let marked = cursor.mark().map_or(0, |mark| mark.used.max(mark.released));
    let used = if is_new { start_of_new() } else { found.used.max(marked) + found.jump };
    if used > marked || cursor.mark().is_none() {
        let before = found.segments.front().map_or(used, |segment| segment.first - 1);
        cursor.write(Mark { released: cursor.mark().map_or(before, |mark| mark.released), used })?;
    }
    let spares = tidy_spares(disk, listing.spares, config);
    for damage in &found.damage {
        damage.report();
    }
    let records: u64 = found.segments.iter().map(|segment| segment.records).sum();
    let bytes: u64 = found.segments.iter().map(|segment| segment.end).sum();
    let elapsed_ms = started.elapsed().as_millis() as u64;
    tracing::info!(path = %dir.display(), segments = found.segments.len(), records, bytes, elapsed_ms, "spool opened");
    let synced = found.last.max(cursor.mark().map_or(used, |mark| mark.released));
    let log = Log::new(found.segments, spares, synced);
    Ok(Recovered { lock, cursor, log, next_position: used + 1, damage: found.damage })
}

/// Where the positions of a new spool begin: above those of any spool that was here before it, since those began the
/// same way and no spool takes a million records a second for long. A store that remembers the old ones is then not
/// misled.
fn start_of_new() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_micros() as u64)
}

/// Makes `dir` and what is missing above it, and sees to it that they are still there after a power cut.
fn make_dir(disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(dir)?;
    for path in missing {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => disk.sync_dir(parent)?,
            _ => disk.sync_dir(Path::new("."))?,
        }
    }
    Ok(())
}

struct Listing {
    segments: Vec<(PathBuf, u64)>,
    spares: Vec<PathBuf>,
}

fn list(dir: &Path) -> std::io::Result<Listing> {
    let mut listing = Listing { segments: Vec::new(), spares: Vec::new() };
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(first) = segment::first_of(&path) {
            listing.segments.push((path, first));
        } else if segment::is_spare(&path) {
            listing.spares.push(path);
        }
    }
    listing.segments.sort_by_key(|(_, first)| *first);
    Ok(listing)
}

/// Keeps the spares that can be used and removes the others.
fn tidy_spares(disk: &dyn Disk, spares: Vec<PathBuf>, config: &Config) -> Vec<PathBuf> {
    let mut kept = Vec::new();
    for path in spares {
        let whole = path.extension().is_some_and(|extension| extension == "spare")
            && fs::metadata(&path).is_ok_and(|metadata| metadata.len() == config.segment_bytes);
        if whole && kept.len() < config.spare_segments {
            kept.push(path);
        } else {
            forget(disk, &path);
        }
    }
    kept
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    config: &'a Config,
    released: Option<u64>,
    segments: VecDeque<Segment>,
    damage: Vec<Damage>,
    /// Position of the last record known of.
    last: u64,
    /// No record gets a position up to this one.
    used: u64,
    /// How many positions to leave out, because records that are gone may have had them.
    jump: u64,
    buffer: Vec<u8>,
}

impl Recovery<'_> {
    /// The header of each segment, where it is sound. A drained file that was given a later header, but whose new
    /// name was lost in a power cut, leaves the list: nothing in it was ever acknowledged under that header.
    fn headers(&mut self, segments: &mut Vec<(PathBuf, u64)>) -> Result<Vec<Option<Header>>, Error> {
        let mut headers = Vec::new();
        let mut renamed = Vec::new();
        for (path, first) in &*segments {
            self.read(path, FIRST_FRAME)?;
            let header = Header::decode(&self.buffer);
            if header.is_some_and(|header| header.first > *first) {
                forget(self.disk, path);
                renamed.push(*first);
            } else {
                headers.push(header.filter(|header| header.first == *first));
            }
        }
        segments.retain(|(_, first)| !renamed.contains(first));
        Ok(headers)
    }

    fn read(&mut self, path: &Path, bytes: usize) -> Result<u64, Error> {
        let failed = |source| Error::ReadSegment { path: path.to_owned(), source };
        let file = fs::File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        read_at_most(&file, &mut self.buffer, bytes.min(len as usize), 0).map_err(failed)?;
        Ok(len)
    }

    /// Judges one segment. `sealed_at` is the last position that it must have, by the header of a later one.
    fn segment(
        &mut self,
        path: &Path,
        first: u64,
        header: Option<Header>,
        sealed_at: Option<u64>,
        is_newest: bool,
    ) -> Result<(), Error> {
        let damages_before = self.damage.len();
        self.check_chain(path, header);
        if let (Some(released), Some(last)) = (self.released, sealed_at)
            && last <= released
            && self.config.drained_keep_s == 0
        {
            self.last = self.last.max(last);
            self.used = self.used.max(last);
            forget(self.disk, path);
            return Ok(());
        }
        let (file_bytes, scanned) = self.scan(path, first, sealed_at)?;
        let blank = header.is_none() && scanned.records == 0;
        if header.is_none() && !(blank && is_newest) {
            tracing::error!(path = %path.display(), "the header of a segment is damaged; its records are read all the same");
        }
        if self.damage.len() > damages_before {
            copy_aside(self.dir, path);
        }
        self.used = self.used.max(scanned.last);
        if scanned.records == 0 {
            // The next append makes it anew.
            self.last = self.last.max(header.map_or(0, |header| header.previous));
            forget(self.disk, path);
            return Ok(());
        }
        self.last = self.last.max(scanned.last);
        let whole = !is_newest || self.seal(path, first, &scanned)?;
        self.segments.push_back(Segment {
            path: path.to_owned(),
            first,
            last: scanned.last,
            end: scanned.end as u64,
            records: scanned.records,
            gaps: scanned.gaps.iter().map(|gap| (gap.from as u64, gap.to as u64)).collect(),
            drained_at: None,
            reusable: whole && file_bytes == self.config.segment_bytes,
        });
        Ok(())
    }

    /// Reads the segment once if it is sound, and once more if it is not. Gives its size and what is in it.
    fn scan(&mut self, path: &Path, first: u64, sealed_at: Option<u64>) -> Result<(u64, Scanned), Error> {
        let failed = |source| Error::ReadSegment { path: path.to_owned(), source };
        if let Some(last) = sealed_at {
            let file = fs::File::open(path).map_err(failed)?;
            if let Some(scanned) = scan_sound(&file, first, last).map_err(failed)? {
                return Ok((file.metadata().map_err(failed)?.len(), scanned));
            }
        }
        let file_bytes = self.read(path, usize::MAX)?;
        let scanned = scan(&self.buffer, first, sealed_at);
        self.judge(path, first, &scanned, sealed_at);
        Ok((file_bytes, scanned))
    }

    /// A header names the last record before its segment: has it been seen, or been released?
    fn check_chain(&mut self, path: &Path, header: Option<Header>) {
        let Some(header) = header else { return };
        if self.segments.is_empty()
            && let Some(released) = self.released
            && self.last.max(released) < header.previous
        {
            let (segment, before) = (path.to_owned(), Some(header.previous + 1));
            self.damage.push(Damage { segment, after: released, before, acknowledged: true });
        }
    }

    fn judge(&mut self, path: &Path, first: u64, scanned: &Scanned, sealed_at: Option<u64>) {
        let segment = || path.to_owned();
        for gap in &scanned.gaps {
            let (after, before) = (gap.after, Some(gap.before));
            self.damage.push(Damage { segment: segment(), after, before, acknowledged: gap.acknowledged });
        }
        if let Some(last) = sealed_at {
            if scanned.last < last {
                let (after, before) = (scanned.last, Some(last + 1));
                self.damage.push(Damage { segment: segment(), after, before, acknowledged: true });
            }
            return;
        }
        let rest = self.buffer.len().saturating_sub(scanned.end);
        match scanned.tail {
            Tail::Clean => {}
            Tail::Torn => {
                tracing::info!(
                    path = %path.display(), first, offset = scanned.end,
                    "the write of a group was cut off; nothing of it had been acknowledged, and it is cut away"
                );
                self.jump = (rest / frame::FRAME_BYTES_MIN) as u64 + 1;
            }
            Tail::Damaged { before } => {
                let (after, before) = (scanned.last, Some(before));
                self.damage.push(Damage { segment: segment(), after, before, acknowledged: false });
                self.jump = (rest / frame::FRAME_BYTES_MIN) as u64 + 1;
            }
        }
    }

    /// Ends the newest segment behind its last record, and makes sure that what is handed out from it is on disk. Says
    /// whether the file kept its size.
    fn seal(&self, path: &Path, first: u64, scanned: &Scanned) -> Result<bool, Error> {
        let cut = |source| Error::CutSegment { path: path.to_owned(), source };
        let file = self.disk.open(path).map_err(cut)?;
        let whole = scanned.tail == Tail::Clean;
        if !whole {
            file.truncate(scanned.end as u64).map_err(cut)?;
        }
        segment::end_at(&*file, first, scanned.last, scanned.end as u64).and_then(|()| file.sync_all()).map_err(cut)?;
        Ok(whole)
    }
}
