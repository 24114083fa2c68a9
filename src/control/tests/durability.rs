//! Crashes, restarts, and what is saved on the side.

use std::path::PathBuf;

use super::{lifecycle::Try, *};
use crate::{
    control::{KeyUsage, QuotaUsage},
    model::{MetricNumber, Status},
};

/// The database and the first `wal_bytes` of its log, as a crash at that moment leaves them.
fn crashed(bed: &Bed, wal_bytes: Option<usize>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let wal = std::fs::read(bed.path().join("control.db-wal")).unwrap();
    std::fs::copy(bed.path().join("control.db"), dir.path().join("control.db")).unwrap();
    std::fs::write(dir.path().join("control.db-wal"), &wal[..wal_bytes.unwrap_or(wal.len())]).unwrap();
    let path = dir.path().to_owned();
    (dir, path)
}

fn wal_bytes(bed: &Bed) -> usize {
    usize::try_from(std::fs::metadata(bed.path().join("control.db-wal")).unwrap().len()).unwrap()
}

// S152: what was answered stands after a crash.
#[tokio::test]
async fn an_acknowledged_transition_survives_a_crash() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.requested(ann).await.id;
    for action in [Try::Approve, Try::Activate, Try::Regenerate, Try::Suspend] {
        action.run(&bed, bob, id, None).await.unwrap();
        let (_dir, path) = crashed(&bed, None);
        std::fs::create_dir(path.join("audit")).unwrap();
        for file in std::fs::read_dir(bed.path().join("audit")).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), path.join("audit").join(file.file_name())).unwrap();
        }
        let reopened = Control::open(&path, &config(), embedded()).unwrap();
        assert_eq!(reopened.integration(bed.organisation_id, id).await.unwrap(), bed.get(id).await, "{action:?}");
        assert!(reopened.verify_audit(bed.organisation_id).await.unwrap().is_ok());
    }
}

// S089: wherever the log is cut, status, key and audit entry are there together or not at all.
#[tokio::test]
async fn a_crash_leaves_a_transition_whole_or_undone() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.approved(ann, bob).await.id;
    let from = wal_bytes(&bed);
    Try::Activate.run(&bed, ann, id, None).await.unwrap();
    Try::Suspend.run(&bed, ann, id, None).await.unwrap();
    Try::Reactivate.run(&bed, bob, id, None).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let to = wal_bytes(&bed);
    assert!(to > from + 4_096, "no checkpoint came between: {from} to {to}");
    for cut in (from..=to).step_by(1_031).chain([to]) {
        let (_dir, path) = crashed(&bed, Some(cut));
        let sql = Connection::open(path.join("control.db")).unwrap();
        let read = "SELECT i.status, i.version, (SELECT count(*) FROM api_keys), (SELECT max(seq) FROM audit_entries),
                           (SELECT prefix IS NOT NULL FROM api_keys k WHERE k.generation = i.key_generation)
                    FROM integrations i";
        let state: (Status, u64, u64, u64, Option<bool>) =
            sql.query_row(read, [], |row| TryFrom::try_from(row)).unwrap();
        let expected = match state.1 {
            2 => (Status::Approved, 2, 0, 2, None),
            3 => (Status::Active, 3, 1, 3, Some(true)),
            // What was cut is told by a transaction of its own.
            4 => (Status::Suspended, 4, 1, state.3.clamp(4, 5), Some(true)),
            _ => (Status::Active, 5, 2, 6, Some(true)),
        };
        assert_eq!(state, expected, "cut at {cut}");
        seen.insert(state.1);
    }
    assert_eq!(seen, [2, 3, 4, 5].into());
}

// S232
#[tokio::test]
async fn used_quota_survives_a_restart_and_never_goes_back_within_a_day() {
    let bed = Bed::new(embedded()).await;
    let ann = bed.administrator().await;
    let integration_id = bed.requested(ann).await.id;
    let usage = |utc_day, used| QuotaUsage { integration_id, utc_day, used };
    for (save, expected) in [
        (usage(20_000, 7), usage(20_000, 7)),
        (usage(20_000, 5), usage(20_000, 7)),
        (usage(19_999, 99), usage(20_000, 7)),
        (usage(20_001, 1), usage(20_001, 1)),
    ] {
        bed.control.save_quota_usage(vec![save]).await.unwrap();
        let reopened = Control::open(bed.path(), &config(), embedded()).unwrap();
        assert_eq!(reopened.quota_usage().await.unwrap(), [expected]);
    }
    // What is unknown is passed over; the rest is saved.
    let unknown = QuotaUsage { integration_id: IntegrationId::generate(), ..usage(20_001, 1) };
    bed.control.save_quota_usage(vec![unknown, usage(20_001, 2)]).await.unwrap();
    assert_eq!(bed.control.quota_usage().await.unwrap(), [usage(20_001, 2)]);
    assert_eq!(bed.get(integration_id).await.version, 1);
}

// S210
#[tokio::test]
async fn the_last_use_of_a_key_is_shown_and_only_grows() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let before = bed.active(ann, bob).await.0;
    let integration_id = before.id;
    assert_eq!(before.last_used_at_us, None);
    bed.control.regenerate_key(ann, integration_id, None, None).await.unwrap();
    let used = |generation, last_used_at_us| KeyUsage { integration_id, generation, last_used_at_us };
    bed.control.save_key_usage(vec![used(1, 900), used(2, 700), used(2, 600), used(9, 999)]).await.unwrap();
    let after = bed.get(integration_id).await;
    assert_eq!((after.last_used_at_us, after.key.unwrap().last_used_at_us), (Some(900), Some(700)));
    assert_eq!(after.version, before.version + 1);
}

#[tokio::test]
async fn a_metric_keeps_its_number_for_ever() {
    let bed = Bed::new(embedded()).await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let numbers = |numbers: &[u16]| numbers.iter().map(|number| MetricNumber(*number)).collect::<Vec<_>>();
    let assigned = bed.control.metric_numbers(names(&["temperature", "humidity"])).await.unwrap();
    assert_eq!(assigned, numbers(&[1, 2]));
    let reopened = Control::open(bed.path(), &config(), embedded()).unwrap();
    let assigned = reopened.metric_numbers(names(&["vpd", "humidity", "vpd"])).await.unwrap();
    assert_eq!(assigned, numbers(&[3, 2, 3]));
    for statement in ["UPDATE metrics SET number = 9 WHERE number = 1", "DELETE FROM metrics WHERE number = 1"] {
        assert!(bed.sql().execute(statement, []).is_err(), "{statement}");
    }
}

// Files that hold hashes and personal data are the owner's alone.
#[tokio::test]
async fn the_database_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::new(embedded()).await;
    for name in ["control.db", "control.db-wal", "audit/signing.key"] {
        let mode = std::fs::metadata(bed.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}
