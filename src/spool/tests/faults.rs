//! Writes and syncs that fail, and disks that fill.

use std::{io::ErrorKind, sync::atomic::Ordering::SeqCst};

use super::{faulty::*, *};
use crate::telemetry::health::Health;

fn open_faulty(dir: &Path, config: &Config) -> (Writer, Reader, FaultyDisk) {
    let disk = FaultyDisk::default();
    let (writer, reader) = open_on(Arc::new(disk.clone()), dir, config).unwrap();
    (writer, reader, disk)
}

/// Waits until the spool takes records again; a test that hangs here has found that it does not.
async fn until_open(writer: &Writer) {
    while writer.headroom().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn short_writes_are_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader, disk) = open_faulty(dir.path(), &config());
    disk.0.write_bytes_max.store(37, SeqCst);
    append_all(&writer, 0..60).await;
    drop(writer);
    assert_eq!(read_numbers(&mut reader).await.len(), 60);
    drop(reader);
    let (_writer, mut reader) = open(dir.path(), &config()).unwrap();
    assert_eq!(read_numbers(&mut reader).await, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_group_that_found_no_room_is_taken_back_and_the_spool_goes_on() {
    for before in [0, 1, 23, 24, 100, 150] {
        let dir = tempfile::tempdir().unwrap();
        let (writer, mut reader, disk) = open_faulty(dir.path(), &config());
        append_all(&writer, 0..5).await;
        disk.0.write_bytes_before.store(before, SeqCst);
        *disk.0.write.lock() = Some(ErrorKind::StorageFull);
        assert_eq!(append(&writer, 99).await, Err(AppendError::DiskFull), "after {before} bytes");
        until_open(&writer).await;
        append_all(&writer, 5..10).await;
        assert_eq!(read_numbers(&mut reader).await, (0..10).collect::<Vec<_>>());
        drop((writer, reader));
        let (writer, mut reader) = open(dir.path(), &config()).unwrap();
        assert_eq!(read_numbers(&mut reader).await, (0..10).collect::<Vec<_>>());
        assert!(writer.damage().is_empty());
    }
}

#[tokio::test]
async fn no_room_for_a_segment_refuses_and_clears() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader, disk) = open_faulty(dir.path(), &config());
    let health = Health::default();
    writer.report_to(health.clone());
    *disk.0.allocate.lock() = Some(ErrorKind::StorageFull);
    assert_eq!(append(&writer, 0).await, Err(AppendError::DiskFull));
    until_open(&writer).await;
    append_all(&writer, 0..3).await;
    assert_eq!(read_numbers(&mut reader).await, [0, 1, 2]);
    assert!(health.complaints().is_empty());
}

#[tokio::test]
async fn too_little_free_space_refuses_before_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _reader, disk) = open_faulty(dir.path(), &Config { free_disk_bytes_min: 1 << 20, ..config() });
    let health = Health::default();
    writer.report_to(health.clone());
    append(&writer, 0).await.unwrap();
    disk.0.free_bytes.store(1 << 19, SeqCst);
    while writer.headroom() != Err(AppendError::DiskFull) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(append(&writer, 1).await, Err(AppendError::DiskFull));
    assert_eq!(health.complaints(), [("spool", "the disk is full".to_owned())]);
    disk.0.free_bytes.store(1 << 21, SeqCst);
    until_open(&writer).await;
    append(&writer, 1).await.unwrap();
}

#[tokio::test]
async fn a_failed_sync_poisons_for_good_and_a_restart_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader, disk) = open_faulty(dir.path(), &config());
    let health = Health::default();
    writer.report_to(health.clone());
    append_all(&writer, 0..5).await;
    *disk.0.sync.lock() = Some(ErrorKind::Other);
    assert_eq!(append(&writer, 5).await, Err(AppendError::Poisoned));
    assert_eq!(append(&writer, 6).await, Err(AppendError::Poisoned));
    assert_eq!(writer.headroom(), Err(AppendError::Poisoned));
    assert_eq!(health.complaints().len(), 1);
    assert_eq!(read_numbers(&mut reader).await, [0, 1, 2, 3, 4], "what is not synced is not handed out");
    drop((writer, reader));
    let (writer, mut reader) = open(dir.path(), &config()).unwrap();
    append_all(&writer, 7..9).await;
    let numbers = read_numbers(&mut reader).await;
    assert!(numbers == [0, 1, 2, 3, 4, 7, 8] || numbers == [0, 1, 2, 3, 4, 5, 7, 8], "{numbers:?}");
}

#[tokio::test]
async fn a_write_that_cannot_be_taken_back_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _reader, disk) = open_faulty(dir.path(), &config());
    append_all(&writer, 0..5).await;
    *disk.0.truncate.lock() = Some(ErrorKind::Other);
    *disk.0.write.lock() = Some(ErrorKind::StorageFull);
    assert_eq!(append(&writer, 5).await, Err(AppendError::Poisoned));
}

#[tokio::test]
async fn a_broken_disk_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader, disk) = open_faulty(dir.path(), &config());
    append_all(&writer, 0..5).await;
    *disk.0.write.lock() = Some(ErrorKind::Other);
    let hold = Arc::new(());
    assert_eq!(writer.append(record(5), Box::new(Arc::clone(&hold))).await, Err(AppendError::Poisoned));
    assert_eq!(Arc::strong_count(&hold), 1, "a refused record holds nothing");
    assert_eq!(read_numbers(&mut reader).await, [0, 1, 2, 3, 4]);
}
