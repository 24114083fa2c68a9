//! What an ack means when the disk is full or damaged, and answers that are kept for a repeated key.

use std::{fs, path::PathBuf, process::Command};

use reqwest::Method;

use crate::support::{Facility, Integration, batch, facility::send, now_s};

async fn facility(variables: &[(&str, &str)]) -> (Facility, Integration) {
    let facility = Facility::with(variables).await;
    let sender = facility.busy_sender().await;
    (facility, sender)
}

// S263: no room: 503 with Retry-After before anything is accepted; a judgement needs no room.
#[tokio::test]
async fn a_full_disk_is_refused_early_and_can_be_tried_again() {
    let (mut facility, sender) = facility(&[("SENSORGATE__SPOOL__FREE_DISK_BYTES_MIN", "1125899906842624")]).await;
    facility.server.expect_error("free disk");
    let answer = facility.ingest(&sender, &batch("s", 3, now_s())).await.expect(503);
    assert_eq!(answer.code(), "spool_full");
    assert!(answer.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s >= 1)));
    assert_eq!(answer.json["accepted"], serde_json::Value::Null);
    let request = facility.request(&sender, Method::POST, "/v1/sensors/readings?validate_only=true");
    send(request.json(&batch("s", 3, now_s()))).await.expect(200);
    assert!(facility.stored(&sender, "s", "temperature", 0).await.is_empty());
    let ready = send(facility.client.get(format!("{}/readyz", facility.server.admin_url))).await.expect(503);
    assert!(ready.text.contains("spool"), "{}", ready.text);
    facility.server.set("SENSORGATE__SPOOL__FREE_DISK_BYTES_MIN", "0");
    facility.server.kill_9();
    facility.server.restart();
    facility.ingest(&sender, &batch("s", 3, now_s())).await.expect(200);
}

fn segments(facility: &Facility) -> Vec<PathBuf> {
    let entries = fs::read_dir(facility.server.data.join("spool")).expect("the spool's directory");
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect()
}

/// Where the bytes of `needle` stand in `file`.
fn find(file: &[u8], needle: &[u8]) -> Option<usize> {
    file.windows(needle.len()).position(|window| window == needle)
}

// A flipped bit in the spool: that batch is reported and missing, every other one is there.
#[tokio::test]
async fn a_flipped_bit_harms_one_batch_only_and_is_reported() {
    let (mut facility, sender) = facility(&[]).await;
    facility.server.expect_error("spool");
    let last_s = now_s() - 10_000;
    for n in 0..5 {
        facility.ingest(&sender, &batch("s", 10, last_s + n * 10)).await.expect(200);
    }
    facility.server.kill_9();
    let damaged_us = ((last_s + 20) * 1_000_000).to_le_bytes();
    let mut hit = false;
    for path in segments(&facility) {
        let mut bytes = fs::read(&path).expect("a segment");
        if let Some(at) = find(&bytes, &damaged_us) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("written");
            hit = true;
        }
    }
    assert!(hit, "the batch stands in the spool");
    facility.server.restart();
    let stored = facility.stored(&sender, "s", "temperature", 40).await;
    let times: Vec<i64> = stored.iter().map(|(at, _)| *at).collect();
    let expected: Vec<i64> =
        (last_s - 9..=last_s + 40).filter(|at| !(last_s + 11..=last_s + 20).contains(at)).collect();
    assert_eq!(times, expected);
    assert!(facility.server.log().contains("ERROR"), "the operator is told");
}

// A real full disk, where the test may mount one: what was acked before is there after a restart with more room.
#[tokio::test]
async fn a_disk_that_runs_full_loses_nothing_that_was_acked() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=40m", "sensorgate-test"])
        .arg(folder.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("SKIPPED: a small file system cannot be mounted here");
        return;
    }
    let (mut facility, sender) = facility(&[
        ("SENSORGATE__SPOOL__SEGMENT_BYTES", "4194304"),
        ("SENSORGATE__SPOOL__GROUP_BYTES_MAX", "1048576"),
        ("SENSORGATE__SPOOL__FREE_DISK_BYTES_MIN", "0"),
        ("SENSORGATE__STORE__HOLD_MS", "3600000"),
        ("SENSORGATE__STORE__HOLD_READINGS_MAX", "10000000"),
    ])
    .await;
    facility.server.expect_error("spool");
    facility.server.expect_error("disk");
    let spool = facility.server.data.join("spool");
    facility.server.kill_9();
    fs::rename(&spool, folder.path().join("spool"))
        .or_else(|_| copy(&spool, &folder.path().join("spool")))
        .expect("moved");
    fs::remove_dir_all(&spool).or_else(|_| fs::remove_file(&spool)).ok();
    std::os::unix::fs::symlink(folder.path().join("spool"), &spool).expect("linked");
    facility.server.restart();
    let first_s = now_s() - 500_000;
    let (mut acked, mut is_full) = (0, false);
    for n in 0..4_000 {
        let answer = facility.ingest(&sender, &batch("s", 500, first_s + n * 500 % 490_000)).await;
        match answer.status {
            200 => acked += 1,
            503 => {
                is_full = true;
                break;
            }
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert!(is_full && acked > 10, "{acked} batches were acked");
    facility.server.kill_9();
    facility.server.restart();
    let expected = (acked * 500).min(490_000);
    let stored = facility.stored(&sender, "s", "temperature", expected as usize).await;
    assert!(stored.len() >= expected as usize, "{} of {expected}", stored.len());
    facility.server.kill_9();
    Command::new("umount").arg("-l").arg(folder.path()).status().expect("unmounted");
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

// api.md §1: a repeated key brings the same answer, another body under it is refused.
#[tokio::test]
async fn an_idempotency_key_brings_the_answer_back() {
    let (facility, sender) = facility(&[]).await;
    let post = |key: &str, body: serde_json::Value| {
        let request = facility.request(&sender, Method::POST, "/v1/sensors/readings").header("Idempotency-Key", key);
        send(request.json(&body))
    };
    let body = batch("s", 3, now_s());
    let first = post("a-key", body.clone()).await.expect(200);
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = post("a-key", body.clone()).await.expect(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.json["accepted"], first.json["accepted"]);
    assert_eq!(again.json["duplicates"], 0, "the stored answer, not a new judgement");
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    let other = post("a-key", batch("s", 4, now_s())).await.expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    let long = "k".repeat(256);
    assert_eq!(post(&long, body).await.expect(400).code(), "idempotency_key_invalid");
}
