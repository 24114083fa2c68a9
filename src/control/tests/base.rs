//! The database itself.

use rusqlite::Connection;

use super::*;
use crate::{control::audit::Target, model::ProblemCode};

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let bed = Bed::new(embedded()).await;
    let path = bed.dir;
    drop(bed.control);
    Connection::open(path.path().join("control.db")).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let error = Control::open(path.path(), &config(), embedded()).unwrap_err();
    assert!(matches!(error, Error::SchemaTooNew { found: 999, .. }), "{error}");
}

#[tokio::test]
async fn entries_follow_each_other_and_the_head() {
    let bed = Bed::new(embedded()).await;
    let actor = bed.administrator().await;
    let target = Target::User(actor.user_id);
    for _ in 0..3 {
        bed.control.audit_refusal(actor, "test_refused", target, ProblemCode::PermissionDenied).await.unwrap();
    }
    let entries: u64 = bed.sql().query_row("SELECT count(*) FROM audit_entries", [], |row| row.get(0)).unwrap();
    assert_eq!(entries, 3);
    let head = std::fs::read_to_string(bed.path().join(format!("audit/{}.head", bed.organisation_id))).unwrap();
    assert!(head.contains("\"seq\": 3"), "{head}");
}
