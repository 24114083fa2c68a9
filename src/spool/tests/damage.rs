//! Files that a crash, a bad disk or a person has changed.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn flip(path: &PathBuf, at: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_kill_in_mid_group_loses_nothing_that_was_acknowledged() {
    // A kill leaves what a copy of the directory holds at that moment.
    let dir = tempfile::tempdir().unwrap();
    let (writer, _reader) = open(dir.path(), &config()).unwrap();
    for round in 0..20 {
        append_all(&writer, round * 10..round * 10 + 10).await;
        let pending: Vec<_> = (1000..1030).map(|number| writer.append(record(number), Box::new(()))).collect();
        let copy = copy_of(dir.path());
        drop(pending);
        let (reopened, mut reader) = open(copy.path(), &config()).unwrap();
        let numbers = read_numbers(&mut reader).await;
        let acked: Vec<_> = numbers.iter().copied().filter(|number| *number < 1000).collect();
        assert_eq!(acked, (0..round * 10 + 10).collect::<Vec<_>>());
        assert!(reopened.damage().is_empty(), "{:?}", reopened.damage());
    }
}

#[tokio::test]
async fn a_flipped_bit_costs_its_record_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader) = open(dir.path(), &config()).unwrap();
    let positions = append_all(&writer, 0..100).await;
    drop((writer, reader));
    let first_segment = &segment_files(dir.path())[0];
    flip(first_segment, 64 + 24 + 3, 2);
    let found = fs::read(first_segment).unwrap();

    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    assert_eq!(read_numbers(&mut reader).await, (1..100).collect::<Vec<_>>());
    let damage = Damage {
        segment: first_segment.clone(),
        after: positions[0] - 1,
        before: Some(positions[1]),
        acknowledged: true,
    };
    assert_eq!(writer.damage(), [damage]);
    let copy = dir.path().join("corrupt").join(first_segment.file_name().unwrap());
    assert_eq!(fs::read(copy).unwrap(), found);
}

#[tokio::test]
async fn damage_to_the_last_record_is_told_from_a_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader) = open(dir.path(), &config()).unwrap();
    let positions = append_all(&writer, 0..3).await;
    drop((writer, reader));
    let path = &segment_files(dir.path())[0];
    let place = 64 + frame::total(record(0).len()) + frame::total(record(1).len());
    let torn = copy_of(dir.path());
    let bytes = fs::read(path).unwrap();
    fs::write(torn.path().join(path.file_name().unwrap()), &bytes[..place + 100]).unwrap();
    let (writer, mut reader) = open(torn.path(), &config()).unwrap();
    assert!(writer.damage().is_empty(), "a write that was cut off had not been acknowledged");
    assert_eq!(read_numbers(&mut reader).await, [0, 1]);
    assert!(append(&writer, 3).await.unwrap().position() > positions[2]);

    flip(path, place + 50, 0);
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    assert_eq!(writer.damage().len(), 1);
    assert!(!writer.damage()[0].acknowledged, "it cannot be told");
    assert_eq!(read_numbers(&mut reader).await, [0, 1]);
    assert!(append(&writer, 3).await.unwrap().position() > positions[2], "its position is not used again");
}

#[tokio::test]
async fn a_missing_segment_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader) = open(dir.path(), &config()).unwrap();
    append_all(&writer, 0..200).await;
    drop((writer, reader));
    let files = segment_files(dir.path());
    for index in [0, 2] {
        let copy = copy_of(dir.path());
        fs::remove_file(copy.path().join(files[index].file_name().unwrap())).unwrap();
        let (writer, mut reader) = open(copy.path(), &config()).unwrap();
        assert_eq!(writer.damage().len(), 1, "file {index}");
        assert!(writer.damage()[0].acknowledged);
        assert!(read_numbers(&mut reader).await.len() > 100);
    }
}

#[tokio::test]
async fn damage_that_happens_while_the_spool_is_open_is_found_by_the_reader() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &Config { tail_bytes_max: 0, ..config() }).unwrap();
    append_all(&writer, 0..100).await;
    let files = segment_files(dir.path());
    flip(&files[1], 64 + 30, 1);
    flip(&files[2], 64 + 9, 6);
    let numbers = read_numbers(&mut reader).await;
    assert_eq!(numbers.len(), 98, "{numbers:?}");
    assert_eq!(writer.damage().len(), 2);
    let last = numbers.len();
    reader.seek(0);
    assert_eq!(read_numbers(&mut reader).await.len(), last);
    assert_eq!(writer.damage().len(), 2, "told once");
}

#[tokio::test]
async fn a_damaged_header_or_cursor_loses_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    append_all(&writer, 0..100).await;
    let blocks = reader.next(1 << 20, Duration::ZERO).await.unwrap();
    reader.release(blocks[3].position);
    drop((writer, reader));
    let files = segment_files(dir.path());
    flip(&files[0], 20, 3);
    flip(&files[files.len() - 1], 9, 3);
    fs::write(dir.path().join("cursor"), [7; 9000]).unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    assert_eq!(read_numbers(&mut reader).await, (0..100).collect::<Vec<_>>());
    append(&writer, 100).await.unwrap();
}

#[tokio::test]
async fn a_reused_file_whose_new_name_was_lost_is_not_taken_for_damage() {
    // Power was cut after the header was written and before the directory was.
    let dir = tempfile::tempdir().unwrap();
    let keep = Config { drained_keep_s: 3600, ..config() };
    let (writer, mut reader) = open(dir.path(), &keep).unwrap();
    append_all(&writer, 0..100).await;
    let blocks = read_all(&mut reader).await;
    reader.release(blocks[99].position);
    drop((writer, reader));
    let files = segment_files(dir.path());
    let mut bytes = fs::read(&files[0]).unwrap();
    let first = blocks[99].position + 1;
    let page = segment::Header { first, previous: first - 1 }.first_page();
    bytes[..page.len()].copy_from_slice(&page);
    fs::write(&files[0], bytes).unwrap();
    let (writer, mut reader) = open(dir.path(), &keep).unwrap();
    assert_eq!((writer.damage(), read_all(&mut reader).await), (Vec::new(), Vec::new()));
    assert_eq!(append(&writer, 100).await.unwrap().position(), first);
}

#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    AppendTogether(u8),
    Release(prop::sample::Index),
    Reopen,
    Crash { cut: prop::sample::Index },
    Flip { place: prop::sample::Index, bit: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..30).prop_map(Step::Append),
        4 => (1u8..30).prop_map(Step::AppendTogether),
        2 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => Just(Step::Reopen),
        2 => any::<prop::sample::Index>().prop_map(|cut| Step::Crash { cut }),
        1 => (any::<prop::sample::Index>(), 0u8..8).prop_map(|(place, bit)| Step::Flip { place, bit }),
    ]
}

/// The spool beside a model of it: which records were acknowledged, and which a flip has hit.
struct Model {
    dir: tempfile::TempDir,
    config: Config,
    spool: Option<(Writer, Reader)>,
    /// Position and number of everything acknowledged.
    acked: Vec<(u64, u64)>,
    next_number: u64,
    released: u64,
    flips: usize,
    /// Whether damage was ever told.
    reported: bool,
}

impl Model {
    async fn run(&mut self, step: Step) {
        let (writer, reader) = self.spool.as_mut().unwrap();
        match step {
            Step::Append(count) => {
                for _ in 0..count {
                    self.acked.push((append(writer, self.next_number).await.unwrap().position(), self.next_number));
                    self.next_number += 1;
                }
            }
            Step::AppendTogether(count) => {
                let numbers = self.next_number..self.next_number + u64::from(count);
                let appends: Vec<_> = numbers.clone().map(|n| (n, writer.append(record(n), Box::new(())))).collect();
                self.next_number = numbers.end;
                for (number, append) in appends {
                    self.acked.push((append.await.unwrap().position(), number));
                }
            }
            Step::Release(index) => {
                let upto = index.get(&self.acked).0;
                while reader.next(4000, Duration::ZERO).await.unwrap().last().is_some_and(|last| last.position < upto) {
                }
                reader.release(upto);
                self.released = reader.released();
            }
            Step::Reopen => self.reopen(),
            Step::Crash { cut } => self.crash(cut),
            Step::Flip { place, bit } => self.flip(place, bit),
        }
    }

    fn reopen(&mut self) {
        self.spool = None;
        self.spool = Some(open(self.dir.path(), &self.config).unwrap());
    }

    /// A group that was being written when the process died: any part of its bytes stands behind the last end.
    fn crash(&mut self, cut: prop::sample::Index) {
        let (writer, reader) = self.spool.take().unwrap();
        let log = writer_log_end(&writer);
        drop((writer, reader));
        let Some((path, first, end)) = log else {
            return self.spool = Some(open(self.dir.path(), &self.config).unwrap());
        };
        let mut group = Vec::new();
        let position = self.acked.last().unwrap().0 + 1;
        for index in 0..3 {
            let payload = record(1_000_000 + index);
            group.extend(frame::record_header(frame::seed(first), position + index, index as u32, &payload));
            group.extend_from_slice(&payload);
            group.extend_from_slice(&frame::PADDING[..frame::padding(payload.len())]);
        }
        group.truncate(cut.index(group.len()) + 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len().max(end + group.len()));
        bytes.resize(bytes.len().max(end + group.len()), 0);
        bytes[end..end + group.len()].copy_from_slice(&group);
        fs::write(&path, bytes).unwrap();
        self.spool = Some(open(self.dir.path(), &self.config).unwrap());
    }

    fn flip(&mut self, place: prop::sample::Index, bit: u8) {
        self.spool = None;
        let files = segment_files(self.dir.path());
        if !files.is_empty() {
            let path = &files[place.index(files.len())];
            let len = fs::metadata(path).unwrap().len() as usize;
            flip(path, place.index(len), bit);
            self.flips += 1;
        }
        self.reopen_again();
    }

    fn reopen_again(&mut self) {
        self.spool = Some(open(self.dir.path(), &self.config).unwrap());
    }

    /// Everything acknowledged and not released is there, in order, once, but what flips have hit.
    async fn check(&mut self) {
        let (writer, reader) = self.spool.as_mut().unwrap();
        reader.seek(self.released + 1);
        let blocks = read_all(reader).await;
        // A damaged end is cut, and so is told only once.
        self.reported |= !writer.damage().is_empty();
        let found: Vec<_> = blocks.iter().map(|block| (block.position, number(block))).collect();
        let numbers: std::collections::HashSet<_> = found.iter().map(|(_, number)| *number).collect();
        let wanted = self.acked.iter().filter(|(position, _)| *position > self.released);
        let missing: Vec<_> = wanted.filter(|acked| found.binary_search(acked).is_err()).collect();
        assert!(missing.len() <= self.flips, "missing {missing:?} after {} flips", self.flips);
        if !missing.is_empty() {
            assert!(self.reported, "what is lost is reported: {missing:?}");
        }
        let resent = found.iter().filter(|(_, number)| *number < 1_000_000).count();
        assert!(numbers.len() <= found.len() && resent + missing.len() <= self.acked.len());
        for (position, number) in found.iter().filter(|(_, number)| *number < 1_000_000) {
            assert!(self.acked.contains(&(*position, *number)), "{number} at {position} was never acknowledged there");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]
    /// Any bytes as files: the spool opens, hands out what is whole, and takes new records.
    #[test]
    fn any_bytes_as_files_are_opened(
        splices in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..400)), 1..6
        ),
        file in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        cursor in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (writer, reader) = open(dir.path(), &config()).unwrap();
            append_all(&writer, 0..60).await;
            drop((writer, reader));
            let files = segment_files(dir.path());
            let path = &files[file.index(files.len())];
            let mut bytes = fs::read(path).unwrap();
            for (place, splice) in splices {
                let at = place.index(bytes.len());
                let to = bytes.len().min(at + splice.len());
                bytes.splice(at..to, splice);
            }
            bytes.truncate(cut.index(bytes.len() * 2));
            fs::write(path, bytes).unwrap();
            fs::write(dir.path().join("cursor"), cursor).unwrap();
            fs::write(dir.path().join("00000000000000000001.seg"), b"what is this").unwrap();
            let (writer, mut reader) = open(dir.path(), &config()).unwrap();
            append(&writer, 60).await.unwrap();
            let numbers = read_numbers(&mut reader).await;
            assert!(numbers.is_sorted() && numbers.last() == Some(&60), "{numbers:?}");
        });
    }
}

/// Where the newest segment ends.
fn writer_log_end(writer: &Writer) -> Option<(PathBuf, u64, usize)> {
    let log = writer.shared().log.lock();
    log.segments.back().filter(|segment| segment.records > 0).map(|s| (s.path.clone(), s.first, s.end as usize))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_to_it_the_spool_keeps_what_it_acknowledged(
        steps in prop::collection::vec(step(), 1..14),
        tail_bytes_max in prop_oneof![Just(0usize), Just(2000), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let config = Config { tail_bytes_max, ..config() };
            let spool = Some(open(dir.path(), &config).unwrap());
            let mut model =
                Model { dir, config, spool, acked: Vec::new(), next_number: 0, released: 0, flips: 0, reported: false };
            model.run(Step::Append(1)).await;
            for step in steps {
                model.run(step).await;
                model.check().await;
            }
            model.reopen();
            model.check().await;
        });
    }
}
