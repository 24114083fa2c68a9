//! A hand at the SQL prompt, without the program: the database itself refuses.

use super::{
    lifecycle::{Try, in_status},
    *,
};
use crate::model::Status;

struct Prompt {
    sql: Connection,
    id: IntegrationId,
    ann: UserId,
    bob: UserId,
}

impl Prompt {
    /// The statements run with `:id`, `:ann` (requester and suspender) and `:bob` filled in; the refusal.
    fn refused(&self, statement: &str) -> String {
        self.execute(statement).expect_err(statement).to_string()
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<usize> {
        let literal = |uuid: uuid::Uuid| format!("x'{}'", uuid.simple());
        let filled = statement
            .replace(":id", &literal(self.id.as_uuid()))
            .replace(":ann", &literal(self.ann.as_uuid()))
            .replace(":bob", &literal(self.bob.as_uuid()));
        self.sql.execute(&filled, [])
    }
}

async fn prompt(bed: &Bed, status: Status, ann: Actor, bob: Actor) -> Prompt {
    let id = in_status(bed, status, ann, bob).await.id;
    let sql = bed.sql();
    // As the command-line tool has it by default.
    sql.pragma_update(None, "foreign_keys", false).unwrap();
    Prompt { sql, id, ann: ann.user_id, bob: bob.user_id }
}

const APPROVE: &str = "UPDATE integrations SET status = 'approved', version = version + 1, approved_at_us = 1, ";
const ACTIVATE: &str =
    "UPDATE integrations SET status = 'active', version = version + 1, client_issuer = 'embedded', client_id = 'c', ";
const REACTIVATE: &str = "UPDATE integrations SET status = 'active', version = version + 1, reactivated_at_us = 1, ";
const UPDATE: &str = "UPDATE integrations SET version = version + 1, ";

// S026, S066, S068, S128, S137, S141, S147, S151, S153: each statement with the words it is refused by.
#[tokio::test]
async fn the_rules_hold_without_the_program() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let cases: &[(Status, &str, &str, &str)] = &[
        (Status::Requested, APPROVE, "approved_by = :ann", "sod_approve"),
        (Status::Requested, APPROVE, "approved_by = NULL", "administrator"),
        (Status::Requested, APPROVE, "approved_by = randomblob(16)", "administrator"),
        (Status::Requested, APPROVE, "approved_by = :bob, requested_by = :bob", "immutable"),
        (Status::Requested, APPROVE, "requested_by = :bob, approved_by = :ann", "immutable"),
        (
            Status::Requested,
            ACTIVATE,
            "activated_by = :bob, approved_by = :bob",
            "illegal transition|stays dead|administrator",
        ),
        (Status::Requested, UPDATE, "status = 'suspended'", "illegal transition|administrator"),
        (Status::Requested, UPDATE, "approved_by = :bob", "by the transition alone"),
        (Status::Requested, UPDATE, "organisation_id = randomblob(16)", "immutable"),
        (Status::Requested, UPDATE, "vendor = 'SAP'", "immutable"),
        (Status::Requested, UPDATE, "rpm = 0", "CHECK"),
        (Status::Requested, UPDATE, "rpm = 10001", "CHECK"),
        (Status::Requested, UPDATE, "daily_quota = 0", "CHECK"),
        (Status::Requested, UPDATE, "name = '  '", "CHECK"),
        (Status::Requested, UPDATE, "allowlist_enabled = 1", "allowlist_filled"),
        (Status::Requested, UPDATE, "owner_id = randomblob(16)", "active member"),
        (Status::Requested, UPDATE, "slot = 1", "slot_iff_counted"),
        (Status::Requested, "UPDATE integrations SET ", "rpm = 9", "the version"),
        (Status::Approved, UPDATE, "approved_by = :ann", "by the transition alone"),
        (Status::Approved, ACTIVATE, "activated_by = :bob, slot = 1", "stays dead"),
        (Status::Approved, ACTIVATE, "activated_by = :bob, slot = 1, key_generation = 1", "newest key"),
        (Status::Active, UPDATE, "status = 'suspended', suspended_by = :bob", "needs_reason"),
        (Status::Active, UPDATE, "status = 'suspended', suspended_by = :bob, suspend_reason = ' '", "needs_reason"),
        (Status::Active, UPDATE, "status = 'suspended', suspend_reason = 'x'", "administrator"),
        (Status::Active, UPDATE, "status = 'requested', slot = NULL", "illegal transition|administrator"),
        (Status::Active, UPDATE, "slot = 21", "CHECK"),
        (Status::Active, UPDATE, "slot = NULL", "slot_iff_counted"),
        (Status::Active, UPDATE, "key_generation = 7", "newest key"),
        (Status::Active, UPDATE, "key_generation = 0", "stays dead"),
        (Status::Active, UPDATE, "client_id = 'mine'", "client of an active"),
        (Status::Active, UPDATE, "staged_generation = 2", "staged_is_newer"),
        (Status::Suspended, REACTIVATE, "reactivated_by = :ann", "stays dead"),
        (Status::Suspended, REACTIVATE, "reactivated_by = :bob", "stays dead"),
        (Status::Suspended, UPDATE, "suspended_by = :bob", "by the transition alone"),
        (Status::Suspended, UPDATE, "reactivated_by = :bob", "by the transition alone"),
        (Status::Suspended, UPDATE, "key_generation = 2", "stays dead"),
        (Status::Suspended, UPDATE, "suspend_reason = ''", "needs_reason"),
        (Status::Revoked, UPDATE, "status = 'active', slot = 1", "terminal|stays dead"),
        (Status::Revoked, UPDATE, "description = 'x'", "terminal"),
    ];
    for (status, begin, set, words) in cases {
        let prompt = prompt(&bed, *status, ann, bob).await;
        let before = bed.get(prompt.id).await;
        let statement = format!("{begin}{set} WHERE id = :id");
        let refusal = prompt.refused(&statement);
        // Which trigger speaks first is SQLite's choice.
        assert!(words.split('|').any(|words| refusal.contains(words)), "{status}: {statement}: {refusal}");
        assert_eq!(bed.get(prompt.id).await, before, "{statement}");
        bed.control.revoke(bob, prompt.id, None, None).await.ok();
    }
    // The statements themselves are sound: with the right person they pass.
    let prompt = prompt(&bed, Status::Requested, ann, bob).await;
    assert_eq!(prompt.execute(&format!("{APPROVE}approved_by = :bob WHERE id = :id")).unwrap(), 1);
}

// S128: with a staged key in place only the person is wrong.
#[tokio::test]
async fn the_suspender_cannot_reactivate_by_sql() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let prompt = prompt(&bed, Status::Suspended, ann, bob).await;
    Try::Regenerate.run(&bed, ann, prompt.id, None).await.unwrap();
    let keep = "key_generation = staged_generation, staged_generation = NULL WHERE id = :id";
    for (who, words) in [
        ("reactivated_by = :ann", "sod_reactivate"),
        ("reactivated_by = NULL", "administrator"),
        ("reactivated_by = :ann, suspended_by = :bob", "by the transition alone"),
        ("reactivated_by = :ann, suspended_by = NULL", "by the transition alone"),
    ] {
        let refusal = prompt.refused(&format!("{REACTIVATE}{who}, {keep}"));
        assert!(refusal.contains(words), "{who}: {refusal}");
    }
    assert_eq!(prompt.execute(&format!("{REACTIVATE}reactivated_by = :bob, {keep}")).unwrap(), 1);
}

// S026, S141, S147, S154, S156: rows cannot be put in, taken out or replaced to get round a rule.
#[tokio::test]
async fn rows_cannot_be_planted_deleted_or_replaced() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let columns = "id, organisation_id, status, vendor, name, description, owner_id, requested_by, requested_at_us,
                   updated_at_us";
    let prompt = prompt(&bed, Status::Active, ann, bob).await;
    let other = bed.active(ann, bob).await.0;
    let copy = |id: &str, status: &str| {
        format!(
            "({columns}) SELECT {id}, organisation_id, {status}, vendor, name, description, owner_id, requested_by, 1, 1
             FROM integrations WHERE id = :id"
        )
    };
    for (statement, words) in [
        (format!("INSERT INTO integrations {}", copy("randomblob(16)", "'active'")), "begins in status requested"),
        (format!("INSERT INTO integrations {}", copy("randomblob(16)", "'approved'")), "begins in status requested"),
        (format!("INSERT OR REPLACE INTO integrations {}", copy("id", "'requested'")), "never replaced"),
        ("DELETE FROM integrations WHERE id = :id".to_owned(), "never deleted"),
        (format!("{UPDATE} slot = (SELECT slot FROM integrations WHERE id <> :id) WHERE id = :id"), "UNIQUE"),
        ("UPDATE api_keys SET hash = zeroblob(32) WHERE integration_id = :id".to_owned(), "never changed"),
        ("DELETE FROM api_keys WHERE integration_id = :id".to_owned(), "never deleted"),
        (
            "INSERT OR REPLACE INTO api_keys SELECT hash, hash_algorithm, integration_id, 2, prefix, 1, issued_by, NULL
             FROM api_keys WHERE integration_id = :id"
                .to_owned(),
            "never replaced",
        ),
        (
            "INSERT INTO api_keys SELECT zeroblob(32), hash_algorithm, integration_id, 5, prefix, 1, issued_by, NULL
             FROM api_keys WHERE integration_id = :id"
                .to_owned(),
            "without a gap",
        ),
        ("UPDATE audit_entries SET body = '{}'".to_owned(), "never changed"),
        ("DELETE FROM audit_entries".to_owned(), "never deleted"),
        (
            "INSERT OR REPLACE INTO audit_entries (organisation_id, seq, body, hash)
             SELECT organisation_id, 1, body, hash FROM audit_entries WHERE seq = 2"
                .to_owned(),
            "without a gap",
        ),
        ("UPDATE metrics SET number = 9".to_owned(), ""),
    ] {
        match prompt.execute(&statement) {
            Err(refusal) => assert!(refusal.to_string().contains(words), "{statement}: {refusal}"),
            Ok(rows) => assert!(words.is_empty() && rows == 0, "{statement}: {rows} rows"),
        }
    }
    assert_eq!(bed.get(prompt.id).await.status, Status::Active);
    assert_eq!(bed.get(other.id).await, other);
}
