//! The spool as its users see it, on a real directory, with faults where the file system can have them.

mod damage;
mod faults;
mod faulty;

use std::{path::Path, sync::Arc, time::Duration};

use super::*;

/// Small segments, so that a test goes through several.
fn config() -> Config {
    Config {
        segment_bytes: 16 << 10,
        spare_segments: 2,
        bytes_max: 1 << 30,
        free_disk_bytes_min: 0,
        queue_records_max: 1000,
        queue_bytes_max: 64 << 20,
        group_bytes_max: 1 << 20,
        tail_bytes_max: 1 << 20,
        drained_keep_s: 0,
        sync: true,
    }
}

/// A record that says which one it is.
fn record(number: u64) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.resize(8 + (number % 7) as usize * 150, number as u8);
    record
}

fn number(block: &Block) -> u64 {
    let number = u64::from_le_bytes(*block.record.first_chunk().expect("every record starts with its number"));
    assert_eq!(block.record, record(number), "the record is as it was appended");
    number
}

async fn append(writer: &Writer, number: u64) -> Result<Receipt, AppendError> {
    writer.append(record(number), Box::new(())).await
}

async fn append_all(writer: &Writer, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let mut positions = Vec::new();
    for number in numbers {
        positions.push(append(writer, number).await.unwrap().position());
    }
    positions
}

/// Everything that is ready, in order.
async fn read_all(reader: &mut Reader) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    loop {
        let blocks = reader.next(5000, Duration::ZERO).await.unwrap();
        if blocks.is_empty() {
            break;
        }
        all.extend(blocks);
    }
    assert!(all.is_sorted_by(|a, b| a.position < b.position), "positions rise");
    all
}

async fn read_numbers(reader: &mut Reader) -> Vec<u64> {
    read_all(reader).await.iter().map(number).collect()
}

fn segment_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| segment::first_of(path).is_some());
    files.sort();
    files
}

#[tokio::test]
async fn what_was_appended_comes_out_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    let positions = append_all(&writer, 0..200).await;
    let blocks = read_all(&mut reader).await;
    assert_eq!(blocks.iter().map(|block| block.position).collect::<Vec<_>>(), positions);
    assert_eq!(blocks.iter().map(number).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    assert!(segment_files(dir.path()).len() > 3, "several segments were made");
}

#[tokio::test]
async fn what_was_not_released_comes_again_after_a_restart_and_what_was_does_not() {
    // The complaint about others: a restart sends the whole buffer once more.
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    let positions = append_all(&writer, 0..100).await;
    assert_eq!(read_numbers(&mut reader).await.len(), 100);
    reader.release(positions[59]);
    drop((writer, reader));

    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    assert_eq!(reader.released(), positions[59]);
    let more = append_all(&writer, 100..120).await;
    assert!(more[0] > positions[99], "no position is used twice");
    assert_eq!(read_numbers(&mut reader).await, (60..120).collect::<Vec<_>>());
}

#[tokio::test]
async fn positions_rise_even_when_every_segment_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..4 {
        let (writer, mut reader) = open(dir.path(), &config()).unwrap();
        let positions = append_all(&writer, round * 50..round * 50 + 50).await;
        assert!(positions[0] > last);
        last = positions[49];
        assert_eq!(read_numbers(&mut reader).await.len(), 50);
        reader.release(last);
        drop((writer, reader));
        if round % 2 == 1 {
            segment_files(dir.path()).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        }
    }
}

#[tokio::test]
async fn drained_segments_are_dropped_or_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    for round in 0..10 {
        append_all(&writer, round * 100..round * 100 + 100).await;
        let blocks = read_all(&mut reader).await;
        assert_eq!(blocks.iter().map(number).collect::<Vec<_>>(), (round * 100..round * 100 + 100).collect::<Vec<_>>());
        reader.release(blocks[99].position);
        assert_eq!(segment_files(dir.path()).len(), 1, "only the one that is written");
    }
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(files <= 5, "lock, cursor, a segment, two spares: {files}");
}

#[tokio::test]
async fn a_reader_behind_what_is_kept_in_memory_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &Config { tail_bytes_max: 3000, ..config() }).unwrap();
    append_all(&writer, 0..150).await;
    let mut seen: Vec<u64> = Vec::new();
    for next in 150..400 {
        append(&writer, next).await.unwrap();
        if next % 3 == 0 {
            seen.extend(reader.next(2000, Duration::ZERO).await.unwrap().iter().map(number));
        }
    }
    seen.extend(read_numbers(&mut reader).await);
    assert_eq!(seen, (0..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_can_go_back_to_what_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    let positions = append_all(&writer, 0..80).await;
    read_all(&mut reader).await;
    for from in [40, 0, 79] {
        reader.seek(positions[from]);
        assert_eq!(read_numbers(&mut reader).await, (from as u64..80).collect::<Vec<_>>());
    }
    reader.seek(positions[79] + 1);
    assert!(read_all(&mut reader).await.is_empty());
    assert_eq!(append_all(&writer, 80..81).await.len(), 1);
    assert_eq!(read_numbers(&mut reader).await, [80]);
}

#[tokio::test]
async fn appenders_at_once_share_a_sync_and_each_gets_its_own_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let writer = writer.clone();
            crate::telemetry::task::spawn("append", async move {
                (append(&writer, number).await.unwrap().position(), number)
            })
        })
        .collect();
    let mut acked = Vec::new();
    for task in tasks {
        acked.push(task.await.unwrap());
    }
    acked.sort_unstable();
    let read: Vec<_> = read_all(&mut reader).await.iter().map(|block| (block.position, number(block))).collect();
    assert_eq!(read, acked);
}

#[tokio::test]
async fn a_dropped_future_does_not_stop_its_append() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    drop(writer.append(record(7), Box::new(())));
    append(&writer, 8).await.unwrap();
    assert_eq!(read_numbers(&mut reader).await, [7, 8]);
}

#[tokio::test]
async fn a_hold_is_kept_until_its_record_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _reader) = open(dir.path(), &config()).unwrap();
    let hold = Arc::new(());
    let append = writer.append(record(1), Box::new(Arc::clone(&hold)));
    append.await.unwrap();
    assert_eq!(Arc::strong_count(&hold), 1, "dropped before the receipt is given");
    writer.shutdown().await;
    assert_eq!(writer.append(record(2), Box::new(Arc::clone(&hold))).await, Err(AppendError::ShuttingDown));
    assert_eq!(Arc::strong_count(&hold), 1);
}

#[tokio::test]
async fn a_shutdown_writes_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader) = open(dir.path(), &config()).unwrap();
    let waiting: Vec<_> = (0..50).map(|number| writer.append(record(number), Box::new(()))).collect();
    writer.shutdown().await;
    for append in waiting {
        append.await.unwrap();
    }
    drop((writer, reader));
    let (_writer, mut reader) = open(dir.path(), &config()).unwrap();
    assert_eq!(read_numbers(&mut reader).await.len(), 50);
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_where() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), &config()).unwrap();
    let refusal = open(dir.path(), &config()).unwrap_err();
    assert!(matches!(refusal, Error::InUse { .. }));
    assert!(refusal.to_string().contains(dir.path().to_str().unwrap()), "{refusal}");
    drop(spool);
    open(dir.path(), &config()).unwrap();
}

#[tokio::test]
async fn limits_refuse_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &Config { bytes_max: 40 << 10, ..config() }).unwrap();
    let mut number = 0;
    let refusal = loop {
        match append(&writer, number).await {
            Ok(_) => number += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(
        (refusal, writer.append(vec![0; 2000], Box::new(())).await),
        (AppendError::Full, Err(AppendError::Full))
    );
    // Room again as soon as the store has taken something.
    let blocks = read_all(&mut reader).await;
    assert_eq!(blocks.len() as u64, number);
    reader.release(blocks[blocks.len() - 1].position);
    assert_eq!(writer.headroom(), Ok(()));
    append(&writer, number).await.unwrap();
}

#[tokio::test]
async fn positions_can_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    let first = append(&writer, 1).await.unwrap().position();
    reader.skip_positions(first + 1000);
    assert_eq!(append(&writer, 2).await.unwrap().position(), first + 1001);
    drop(writer);
    reader.skip_positions(first + 5000);
    drop(reader);
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    assert_eq!(append(&writer, 3).await.unwrap().position(), first + 5001);
    assert_eq!(read_numbers(&mut reader).await, [1, 2, 3]);
    assert!(writer.damage().is_empty());
}

#[tokio::test]
async fn the_reader_waits_for_enough_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    assert!(reader.next(100, Duration::from_millis(20)).await.unwrap().is_empty());
    let bytes = record(0).len() + record(1).len();
    // Neither of the two alone is enough; both end the wait long before its time.
    let (blocks, ..) =
        tokio::join!(reader.next(bytes, Duration::from_secs(3600)), append(&writer, 0), append(&writer, 1));
    assert_eq!(blocks.unwrap().len(), 2);
    append(&writer, 2).await.unwrap();
    assert_eq!(reader.next(1_000_000, Duration::from_millis(20)).await.unwrap().len(), 1);
}
