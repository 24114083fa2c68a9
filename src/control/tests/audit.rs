//! Tampering with the audit log, and what it says of refusals.

use super::{
    lifecycle::{Try, in_status},
    *,
};
use crate::{
    control::audit::{AuditFilter, Entry, Fault, Verdict, proof},
    model::Status,
};

async fn entries(bed: &Bed) -> Vec<Entry> {
    bed.control.audit_log(bed.organisation_id, AuditFilter::default(), Default::default()).await.unwrap().items
}

async fn verify(bed: &Bed) -> Verdict {
    bed.control.verify_audit(bed.organisation_id).await.unwrap()
}

/// A log of 9 entries, and a prompt whose hand has taken the triggers away.
async fn log_and_tamperer() -> (Bed, Connection) {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = in_status(&bed, Status::Suspended, ann, bob).await.id;
    for action in [Try::Update, Try::Regenerate, Try::Revoke] {
        action.run(&bed, bob, id, None).await.unwrap();
    }
    let sql = bed.sql();
    sql.execute_batch("DROP TRIGGER audit_follows; DROP TRIGGER audit_is_fixed; DROP TRIGGER audit_stays;").unwrap();
    let verdict = verify(&bed).await;
    assert_eq!((verdict.is_ok(), verdict.entries, verdict.head.unwrap().seq), (true, 9, 9));
    (bed, sql)
}

// S288: any edit of the database shows, by the entry where it begins.
#[tokio::test]
async fn every_edit_of_an_entry_is_found() {
    for (tampering, first_bad) in [
        ("UPDATE audit_entries SET body = replace(body, 'odd traffic', 'ODD traffic') WHERE seq = 4", 4),
        ("UPDATE audit_entries SET hash = zeroblob(32) WHERE seq = 2", 2),
        ("DELETE FROM audit_entries WHERE seq = 3", 3),
        ("DELETE FROM audit_entries WHERE seq = 1", 1),
        ("DELETE FROM audit_entries WHERE seq >= 6", 6),
        ("DELETE FROM audit_entries", 1),
        (
            "UPDATE audit_entries SET seq = 100 WHERE seq = 2; UPDATE audit_entries SET seq = 2 WHERE seq = 3;
             UPDATE audit_entries SET seq = 3 WHERE seq = 100",
            2,
        ),
        (
            "INSERT INTO audit_entries (organisation_id, seq, body, hash)
             SELECT organisation_id, 10, body, hash FROM audit_entries WHERE seq = 9",
            10,
        ),
    ] {
        let (bed, sql) = log_and_tamperer().await;
        sql.execute_batch(tampering).unwrap();
        let verdict = verify(&bed).await;
        assert_eq!(verdict.first_bad_seq, Some(first_bad), "{tampering}: {verdict:?}");
        assert!(!verdict.is_ok());
    }
}

// S288: flipping any single bit of any body shows.
#[tokio::test]
async fn every_flipped_bit_is_found() {
    let (bed, sql) = log_and_tamperer().await;
    let body: Vec<u8> =
        sql.query_row("SELECT CAST(body AS BLOB) FROM audit_entries WHERE seq = 3", [], |row| row.get(0)).unwrap();
    let put = |bytes: &[u8]| {
        sql.execute("UPDATE audit_entries SET body = CAST(?1 AS TEXT) WHERE seq = 3", [bytes]).unwrap();
    };
    // The generated columns refuse what is no JSON, so only flips that still are can be stored at all.
    let mut stored = 0;
    for index in (0..body.len()).step_by(7) {
        let mut flipped = body.clone();
        flipped[index] ^= 1 << (index % 7);
        if sql.execute("UPDATE audit_entries SET body = CAST(?1 AS TEXT) WHERE seq = 3", [&flipped]).is_ok() {
            stored += 1;
            assert_eq!(verify(&bed).await.first_bad_seq, Some(3), "bit of byte {index}");
        }
        put(&body);
    }
    assert!(stored > 10, "{stored}");
    assert!(verify(&bed).await.is_ok());
}

/// Rewrites every body from `from` on by `edit`, and computes the chain anew, as somebody who knows how it is made.
fn recompute(sql: &Connection, edit: impl Fn(String) -> String) {
    use sha2::{Digest, Sha256};
    let mut previous = [0u8; 32];
    let rows: Vec<(u64, String)> = sql
        .prepare("SELECT seq, body FROM audit_entries ORDER BY seq")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (seq, body) in rows {
        let body = edit(body);
        let text = [b"sensorgate-audit-v1".as_slice(), &seq.to_be_bytes(), &previous, body.as_bytes()].concat();
        previous = Sha256::digest(text).into();
        sql.execute("UPDATE audit_entries SET body = ?1, hash = ?2 WHERE seq = ?3", (body, previous, seq)).unwrap();
    }
}

// api.md §6: the head outside the database shows what the chain alone cannot.
#[tokio::test]
async fn a_chain_computed_anew_does_not_meet_the_head_and_never_will() {
    let (mut bed, sql) = log_and_tamperer().await;
    recompute(&sql, |body| body);
    assert!(verify(&bed).await.is_ok(), "the same bytes make the same chain");
    recompute(&sql, |body| body.replace("odd traffic", "holiday"));
    let unmet = (Some(Fault::HeadUnmet), Some(9));
    let verdict = verify(&bed).await;
    assert_eq!((verdict.fault, verdict.first_bad_seq), unmet);
    // Neither going on nor starting again makes the head follow.
    bed.requested(bed.administrator().await).await;
    bed.control = Control::open(bed.path(), &config(), embedded()).unwrap();
    bed.requested(bed.administrator().await).await;
    let verdict = verify(&bed).await;
    assert_eq!((verdict.fault, verdict.first_bad_seq, verdict.entries), (unmet.0, unmet.1, 11));
}

#[tokio::test]
async fn a_head_that_is_forged_or_gone_is_told() {
    let (bed, _) = log_and_tamperer().await;
    let path = bed.path().join(format!("audit/{}.head", bed.organisation_id));
    let head = std::fs::read_to_string(&path).unwrap();
    for (text, fault) in [
        (head.replace("\"seq\": 9", "\"seq\": 8"), Fault::HeadForged),
        ("{}".to_owned(), Fault::HeadForged),
        (String::new(), Fault::HeadForged),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(verify(&bed).await.fault, Some(fault));
    }
    std::fs::remove_file(&path).unwrap();
    let reopened = Control::open(bed.path(), &config(), embedded()).unwrap();
    assert_eq!(reopened.verify_audit(bed.organisation_id).await.unwrap().fault, Some(Fault::HeadMissing));
    std::fs::write(&path, head).unwrap();
    assert!(verify(&bed).await.is_ok());
}

// A crash between a commit and its head leaves the head behind: it catches up at the next start.
#[tokio::test]
async fn a_head_left_behind_by_a_crash_catches_up() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let integration = bed.requested(ann).await;
    let path = bed.path().join(format!("audit/{}.head", bed.organisation_id));
    let early = std::fs::read(&path).unwrap();
    bed.control.approve(bob, integration.id, None).await.unwrap();
    let late = std::fs::read(&path).unwrap();
    std::fs::write(&path, &early).unwrap();
    let reopened = Control::open(bed.path(), &config(), embedded()).unwrap();
    let verdict = reopened.verify_audit(bed.organisation_id).await.unwrap();
    assert_eq!((verdict.is_ok(), verdict.head.unwrap().seq), (true, 2));
    assert_ne!(std::fs::read(&path).unwrap(), early);
    assert_ne!(early, late);
}

#[tokio::test]
async fn a_signing_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::new(embedded()).await;
    let path = bed.path().join("audit/signing.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = Control::open(bed.path(), &config(), embedded()).unwrap_err();
    assert!(matches!(error, Error::AuditKey { .. }), "{error}");
}

// S096, S109, S206, S254, S285–S287: who, what, from where, why, before and after; refused attempts too.
#[tokio::test]
async fn each_action_and_each_refusal_is_one_entry() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let plain = bed.member("[]").await;
    let ann = Actor { ip: Some("192.0.2.7".parse().unwrap()), ..ann };
    let id = bed.requested(ann).await.id;
    let _ = bed.control.approve(ann, id, None).await.unwrap_err();
    let _ = bed.control.approve(plain, id, None).await.unwrap_err();
    bed.control.approve(bob, id, None).await.unwrap();
    bed.control.activate(ann, id, None).await.unwrap();
    Try::Update.run(&bed, ann, id, None).await.unwrap();
    bed.control.regenerate_key(ann, id, None, Some("routine rotation".to_owned())).await.unwrap();
    bed.control.suspend(ann, id, None, " Späte Anfragen\n".to_owned(), None).await.unwrap();
    let _ = Try::Reactivate.run(&bed, ann, id, None).await.unwrap_err();
    // Refused for its state, not for the person: no entry.
    let _ = Try::Activate.run(&bed, ann, id, None).await.unwrap_err();

    let entries = entries(&bed).await;
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "integration_create",
            "integration_approve_refused",
            "integration_approve_refused",
            "integration_approve",
            "integration_activate",
            "integration_update",
            "integration_api_key_regenerate",
            "integration_cut",
            "integration_suspend",
            "integration_cut",
            "integration_reactivate_refused",
        ]
    );
    let [_, own, plains, .., update, key, _, suspend, _, _] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(own.after, Some(serde_json::json!({ "refused": "self_approval" })));
    assert_eq!(
        (plains.actor, &plains.after),
        (Some(plain.user_id), &Some(serde_json::json!({ "refused": "permission_denied" })))
    );
    assert_eq!((own.actor, own.ip, own.request_id), (Some(ann.user_id), ann.ip, Some(ann.request_id)));
    assert_eq!((own.target_type.as_str(), &own.target), ("integration", &id.to_string()));
    assert_eq!(update.before, Some(serde_json::json!({ "rate_limit_rpm": 60 })));
    assert_eq!(update.after, Some(serde_json::json!({ "rate_limit_rpm": 61 })));
    assert_eq!(key.reason.as_deref(), Some("routine rotation"));
    assert_ne!(key.before, key.after);
    assert_eq!(suspend.reason.as_deref(), Some(" Späte Anfragen\n"));
    let history = bed.control.history(bed.organisation_id, id, Default::default()).await.unwrap();
    assert_eq!(history.items, entries);
}

#[tokio::test]
async fn the_log_is_read_in_pages_and_by_filter() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let first = bed.approved(ann, bob).await.id;
    bed.approved(bob, ann).await;
    let read = async |filter: AuditFilter, cursor: Option<String>| {
        let request = PageRequest { cursor, limit: Some(3) };
        bed.control.audit_log(bed.organisation_id, filter, request).await.unwrap()
    };
    for newest_first in [false, true] {
        let filter = AuditFilter { newest_first, ..Default::default() };
        let page = read(filter.clone(), None).await;
        let rest = read(filter, page.next_cursor).await;
        assert_eq!(rest.next_cursor, None);
        let mut seqs: Vec<u64> = page.items.iter().chain(&rest.items).map(|entry| entry.seq).collect();
        if newest_first {
            seqs.reverse();
        }
        assert_eq!(seqs, [1, 2, 3, 4]);
    }
    let seqs = async |filter| read(filter, None).await.items.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!(seqs(AuditFilter { actor: Some(ann.user_id), ..Default::default() }).await, [1, 4]);
    assert_eq!(seqs(AuditFilter { target: Some(first.to_string()), ..Default::default() }).await, [1, 2]);
    assert_eq!(seqs(AuditFilter { action: Some("integration_approve".into()), ..Default::default() }).await, [2, 4]);
    let at_us = entries(&bed).await[2].at_us;
    assert_eq!(seqs(AuditFilter { from_us: Some(at_us), ..Default::default() }).await, [3, 4]);
    assert_eq!(seqs(AuditFilter { to_us: Some(at_us), ..Default::default() }).await, [1, 2]);
    // Another organisation has a log of its own.
    let other = add_organisation(&bed.control).await;
    assert_eq!(bed.control.audit_log(other, Default::default(), Default::default()).await.unwrap().items, []);
    assert!(bed.control.history(other, first, Default::default()).await.is_err());
    assert!(bed.control.verify_audit(other).await.unwrap().is_ok());
}

fn checkpoints(bed: &Bed) -> Vec<crate::control::audit::Head> {
    crate::control::audit::checkpoint::read(&bed.path().join("audit/checkpoints.ndjson")).unwrap()
}

// S288: a head is kept after so many entries; a chain that was computed anew does not meet it, even where whoever did
// it has the signing key and signed a head for it.
#[tokio::test]
async fn a_chain_computed_anew_and_signed_anew_does_not_meet_an_old_checkpoint() {
    let bed = Bed::with(embedded(), Config { audit_checkpoint_entries: 3, ..config() }).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = in_status(&bed, Status::Suspended, ann, bob).await.id;
    for action in [Try::Update, Try::Regenerate] {
        action.run(&bed, bob, id, None).await.unwrap();
    }
    let kept = checkpoints(&bed);
    assert_eq!(kept.iter().map(|head| head.seq).collect::<Vec<_>>(), [1, 4, 7]);
    assert!(kept.iter().all(|head| head.is_signed(None)));
    assert_eq!(verify(&bed).await.checkpoints, 3);
    let page = bed.control.audit_checkpoints(bed.organisation_id, Default::default()).await.unwrap();
    assert_eq!(page.items, kept);

    let sql = bed.sql();
    sql.execute_batch("DROP TRIGGER audit_is_fixed").unwrap();
    recompute(&sql, |body| body.replace("odd traffic", "holiday"));
    // Whoever has the whole machine signs what they like: without its head and checkpoints the server starts anew.
    std::fs::remove_file(bed.path().join(format!("audit/{}.head", bed.organisation_id))).unwrap();
    std::fs::remove_file(bed.path().join("audit/checkpoints.ndjson")).unwrap();
    let evidence = proof::Evidence { checkpoints: kept, ..Default::default() };
    let found = &proof::of_data_dir(bed.path(), &evidence).unwrap()[0];
    assert_eq!((found.fault, found.first_bad_seq), (Some(Fault::CheckpointUnmet), Some(4)));
}

// The checkpoint of the last entry comes with time, where no further entry follows.
#[tokio::test]
async fn a_chain_that_has_grown_gets_its_checkpoint_in_time() {
    let bed = Bed::with(embedded(), Config { audit_checkpoint_interval_s: 0, ..config() }).await;
    let ann = bed.administrator().await;
    bed.requested(ann).await;
    let before = checkpoints(&bed).len();
    bed.control.keep_audit_checkpoints().await.unwrap();
    assert_eq!(checkpoints(&bed).len(), before, "nothing has grown since");
    bed.requested(ann).await;
    assert_eq!(checkpoints(&bed).last().unwrap().seq, 2);
}

// A line that a crash cut short is no checkpoint, and no obstacle.
#[tokio::test]
async fn a_torn_checkpoint_is_dropped_at_the_next_start() {
    let mut bed = Bed::new(embedded()).await;
    bed.requested(bed.administrator().await).await;
    let path = bed.path().join("audit/checkpoints.ndjson");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}{}", &whole[..40])).unwrap();
    bed.control = Control::open(bed.path(), &config(), embedded()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    assert!(verify(&bed).await.is_ok());
    std::fs::write(&path, whole.replacen("\"seq\":1", "\"seq\":2", 1)).unwrap();
    assert!(!verify(&bed).await.is_ok(), "a forged checkpoint is told");
}

/// What somebody does to an exported log. The numbers say where.
fn tamper(lines: &mut Vec<String>, kind: u8, at: usize, how: usize) {
    let at = at % lines.len();
    match kind {
        0 => drop(lines.remove(at)),
        1 => {
            let other = (at + 1 + how % (lines.len() - 1)) % lines.len();
            lines.swap(at, other);
        }
        2 => lines.insert(at, lines[how % lines.len()].clone()),
        _ => {
            let mut bytes = lines[at].clone().into_bytes();
            let place = how % bytes.len();
            bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
            lines[at] = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

// S288: whatever is removed, moved, put in or changed in an export, the proof finds it.
#[tokio::test]
async fn every_change_of_an_exported_log_is_found() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    in_status(&bed, Status::Suspended, ann, bob).await;
    bed.approved(ann, bob).await;
    let stored = bed.control.stored_audit(bed.organisation_id, 0, (None, None), 1_000).await.unwrap();
    let line = |entry: &crate::control::audit::StoredEntry| {
        format!(
            r#"{{"seq":{},"previous":"{}","hash":"{}","entry":{}}}"#,
            entry.seq, entry.previous, entry.hash, entry.body
        )
    };
    let lines: Vec<String> = stored.iter().map(line).collect();
    let head = bed.control.verify_audit(bed.organisation_id).await.unwrap().head.unwrap();
    let evidence = proof::Evidence { checkpoints: vec![head], ..Default::default() };
    let prove = |lines: &[String]| proof::of_lines("export".as_ref(), lines.join("\n").as_bytes(), &evidence);
    let whole = prove(&lines).unwrap();
    assert_eq!((whole.fault, whole.heads_met, whole.entries), (None, 1, lines.len() as u64));
    // A part proves itself from where it begins; a checkpoint behind its end says nothing then.
    let part = proof::Evidence { is_part: true, ..evidence.clone() };
    let middle = proof::of_lines("export".as_ref(), lines[1..3].join("\n").as_bytes(), &part).unwrap();
    assert_eq!((middle.fault, middle.first_seq, middle.entries), (None, 2, 2));
    proptest::proptest!(|(kind in 0_u8..4, at: usize, how: usize)| {
        let mut changed = lines.clone();
        tamper(&mut changed, kind, at, how);
        proptest::prop_assume!(changed != lines);
        // A first entry that is missing leaves a part, which has to begin where the hash before it says.
        let is_found = prove(&changed).map_or(true, |proof| proof.fault.is_some() || proof.first_seq != 1);
        proptest::prop_assert!(is_found, "{changed:#?}");
    });
}
