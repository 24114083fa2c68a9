//! Statements thrown at random at the database, without the program: whatever passes, no illegal state is reached.

use proptest::prelude::*;

use super::{lifecycle::in_status, *};
use crate::model::Status;

/// Columns that a hand might try to write, each with values to try. `:ann` and `:bob` hold the permission, `:eve` is a
/// member without it, `:zoe` an administrator of another organisation.
const COLUMNS: &[(&str, &[&str])] = &[
    ("status", &["'requested'", "'approved'", "'active'", "'suspended'", "'revoked'", "'gone'", "NULL"]),
    ("requested_by", PEOPLE),
    ("approved_by", PEOPLE),
    ("activated_by", PEOPLE),
    ("suspended_by", PEOPLE),
    ("reactivated_by", PEOPLE),
    ("revoked_by", PEOPLE),
    ("edited_by", PEOPLE),
    ("approved_at_us", &["1", "NULL"]),
    ("suspend_reason", &["'a reason'", "' '", "NULL"]),
    ("slot", &["1", "2", "3", "20", "21", "NULL"]),
    ("key_generation", &["0", "1", "2", "3", "staged_generation", "NULL"]),
    ("staged_generation", &["1", "2", "3", "NULL"]),
    ("client_issuer", &["'embedded'", "NULL"]),
    ("client_id", &["'c'", "NULL"]),
    ("organisation_id", &["randomblob(16)", ":their_organisation"]),
    ("scopes", &["'[\"crm:read\"]'", "'[]'", "'{}'"]),
    ("version", &["version", "1", "version + 2"]),
];
const PEOPLE: &[&str] = &[":ann", ":bob", ":eve", ":zoe", "NULL", "randomblob(16)"];

const BY_HAND: &[&str] = &[
    "DELETE FROM integrations",
    "DELETE FROM api_keys",
    "DELETE FROM audit_entries",
    "DELETE FROM user_permissions",
    "REPLACE INTO integrations SELECT * FROM integrations",
    "UPDATE OR REPLACE integrations SET id = (SELECT max(id) FROM integrations), version = version + 1",
    "UPDATE OR IGNORE integrations SET status = 'active', version = version + 1, approved_by = :ann",
    "REPLACE INTO api_keys SELECT hash, hash_algorithm, integration_id, 1, prefix, 1, issued_by, NULL FROM api_keys",
    "INSERT INTO api_keys SELECT randomblob(32), hash_algorithm, integration_id, generation + 1, prefix, 1, issued_by,
     NULL FROM api_keys",
    "UPDATE user_permissions SET state = 'held' WHERE user_id = :eve",
    "INSERT INTO user_permissions (user_id, permission, state, origin, granted_at_us)
     VALUES (:eve, 'administration_integrations_access', 'held', 'bootstrap', 0)",
    "INSERT INTO user_permissions (user_id, permission, state, origin, granted_by, granted_at_us)
     VALUES (:eve, 'administration_integrations_access', 'pending', 'grant', :eve, 0)",
    "UPDATE users SET organisation_id = :their_organisation",
    "UPDATE audit_entries SET body = replace(body, 'integration_suspend', 'integration_approve')",
];

fn statements() -> impl Strategy<Value = String> {
    let column = (0..COLUMNS.len()).prop_flat_map(|column| {
        let (name, values) = COLUMNS[column];
        (0..values.len()).prop_map(move |value| format!("{name} = {}", values[value]))
    });
    let sets = proptest::collection::vec(column, 1..6);
    let update = (sets, 0..5usize, any::<bool>()).prop_map(|(mut sets, which, counts)| {
        sets.sort();
        sets.dedup_by_key(|set| set.split(' ').next().map(str::to_owned));
        if counts && !sets.iter().any(|set| set.starts_with("version")) {
            sets.push("version = version + 1".to_owned());
        }
        format!("UPDATE integrations SET {} WHERE id = :id{which}", sets.join(", "))
    });
    let by_hand = (0..BY_HAND.len()).prop_map(|index| BY_HAND[index].to_owned());
    prop_oneof![5 => update, 1 => by_hand]
}

/// What no statement may bring about.
const ILLEGAL: &[(&str, &str)] = &[
    ("approved by the requester", "SELECT count(*) FROM integrations WHERE approved_by = requested_by"),
    ("reactivated by the suspender", "SELECT count(*) FROM integrations WHERE reactivated_by = suspended_by"),
    (
        "live without an approval",
        "SELECT count(*) FROM integrations WHERE status IN ('approved', 'active', 'suspended') AND approved_by IS NULL",
    ),
    (
        "approved by nobody who may",
        "SELECT count(*) FROM integrations i WHERE approved_by IS NOT NULL AND NOT EXISTS (
           SELECT 1 FROM administrators a WHERE a.user_id = approved_by AND a.organisation_id = i.organisation_id)",
    ),
    (
        "suspended without a reason",
        "SELECT count(*) FROM integrations WHERE status = 'suspended'
        AND (suspended_by IS NULL OR coalesce(trim(suspend_reason), '') = '')",
    ),
    (
        "counted without a place",
        "SELECT count(*) FROM integrations WHERE (status IN ('active', 'suspended')) <> (slot IS NOT NULL)",
    ),
    (
        "a permission nobody confirmed",
        "SELECT count(*) FROM user_permissions WHERE state = 'held' AND origin = 'grant'
        AND (confirmed_by IS NULL OR confirmed_by = granted_by OR confirmed_by = user_id)",
    ),
];

async fn throw(statements: Vec<String>) {
    let bed = Bed::new(embedded()).await;
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let eve = bed.member("[]").await;
    let zoe = add_user(&bed.control, add_organisation(&bed.control).await, PERMISSION).await;
    let mut integrations = Vec::new();
    for status in Status::ALL {
        integrations.push(in_status(&bed, status, ann, bob).await);
    }
    let sql = bed.sql();
    sql.pragma_update(None, "foreign_keys", false).unwrap();
    let literal = |uuid: uuid::Uuid| format!("x'{}'", uuid.simple());
    let count = |query: &str| sql.query_row(query, [], |row| row.get::<_, u64>(0)).unwrap();
    let audited = count("SELECT count(*) FROM audit_entries");
    for statement in statements {
        let mut filled = statement.clone();
        for (index, integration) in integrations.iter().enumerate() {
            filled = filled.replace(&format!(":id{index}"), &literal(integration.id.as_uuid()));
        }
        for (name, value) in [
            (":ann", ann.user_id.as_uuid()),
            (":bob", bob.user_id.as_uuid()),
            (":eve", eve.user_id.as_uuid()),
            (":zoe", zoe.user_id.as_uuid()),
            (":their_organisation", zoe.organisation_id.as_uuid()),
        ] {
            filled = filled.replace(name, &literal(value));
        }
        // Most are refused; what passes must leave everything legal.
        let outcome = sql.execute(&filled, []);
        for (what, query) in ILLEGAL {
            assert_eq!(count(query), 0, "{what} after {statement}: {outcome:?}");
        }
        assert_eq!(count("SELECT count(*) FROM integrations"), Status::ALL.len() as u64, "{statement}");
        assert_eq!(count("SELECT count(*) FROM audit_entries"), audited, "{statement}");
        let revoked = &integrations[Status::ALL.len() - 1];
        assert_eq!(bed.get(revoked.id).await, *revoked, "{statement}");
    }
    assert!(bed.control.verify_audit(bed.organisation_id).await.unwrap().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    // S128, S141, S151
    #[test]
    fn no_statement_leads_to_an_illegal_state(statements in proptest::collection::vec(statements(), 20..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(throw(statements));
    }
}
