//! What the tests of this room share: a database in a temporary directory, an organisation, its administrators.

use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Actor, Config, Control, Error, Issuers, PERMISSION, db::Tx};
use crate::model::{OrganisationId, RequestId, UserId};

pub(super) struct Bed {
    pub(super) control: Control,
    pub(super) organisation_id: OrganisationId,
    pub(super) dir: TempDir,
}

pub(super) fn config() -> Config {
    Config {
        busy_timeout_ms: 5_000,
        read_connections: 2,
        // As little as argon2id takes: these tests are not about its cost.
        password_memory_kib: 8,
        password_passes: 1,
        password_lanes: 1,
        password_hashes_at_once: 4,
        session_idle_s: 1_800,
        session_absolute_s: 28_800,
    }
}

pub(super) fn embedded() -> Issuers {
    Issuers { embedded: Some("https://issuer.test/".to_owned()), external: vec![] }
}

impl Bed {
    pub(super) async fn new(issuers: Issuers) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::open(dir.path(), &config(), issuers).unwrap();
        let organisation_id = add_organisation(&control).await;
        Self { control, organisation_id, dir }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A member who holds the permission.
    pub(super) async fn administrator(&self) -> Actor {
        self.member(r#"["administration_integrations_access"]"#).await
    }

    pub(super) async fn member(&self, permissions: &'static str) -> Actor {
        add_user(&self.control, self.organisation_id, permissions).await
    }

    /// The database as a hand at the SQL prompt has it: a connection of its own, without the program's settings.
    pub(super) fn sql(&self) -> Connection {
        Connection::open(self.path().join("control.db")).unwrap()
    }
}

pub(super) async fn add_organisation(control: &Control) -> OrganisationId {
    let id = OrganisationId::generate();
    let sql = "INSERT INTO organisations (id, name, name_folded, created_at_us) VALUES (?1, ?2, ?2, 0)";
    control.write(move |tx| Ok(tx.execute(sql, (id, id.to_string()))?)).await.unwrap();
    id
}

pub(super) async fn add_user(control: &Control, organisation_id: OrganisationId, permissions: &'static str) -> Actor {
    let user_id = UserId::generate();
    let sql = "INSERT INTO users (id, organisation_id, email, email_folded, name, password_hash, password_one_time, \
               created_at_us, updated_at_us) VALUES (?1, ?2, ?3, ?3, 'A. Member', '$argon2id$none', 0, 0, 0)";
    let email = format!("{user_id}@example.test");
    let add = move |tx: &Tx<'_>| {
        tx.execute(sql, (user_id, organisation_id, email))?;
        if permissions.contains(PERMISSION) { hold(tx, organisation_id, user_id) } else { Ok(()) }
    };
    control.write(add).await.unwrap();
    Actor { user_id, organisation_id, ip: None, request_id: RequestId::generate() }
}

/// The first two hold the permission as a bootstrap gives it; the first gives it to later ones, the second confirms.
fn hold(tx: &Tx<'_>, organisation_id: OrganisationId, user_id: UserId) -> Result<(), Error> {
    let mut statement = tx.prepare("SELECT user_id FROM administrators WHERE organisation_id = ?1 ORDER BY user_id")?;
    let holders = statement.query_map([organisation_id], |row| row.get(0))?.collect::<Result<Vec<UserId>, _>>()?;
    let insert = "INSERT INTO user_permissions (user_id, permission, state, origin, granted_by, granted_at_us) \
                  VALUES (?1, ?2, ?3, ?4, ?5, 0)";
    let [first, second, ..] = holders[..] else {
        tx.execute(insert, (user_id, PERMISSION, "held", "bootstrap", None::<UserId>))?;
        return Ok(());
    };
    tx.execute(insert, (user_id, PERMISSION, "pending", "grant", first))?;
    let confirm =
        "UPDATE user_permissions SET state = 'held', confirmed_by = ?2, confirmed_at_us = 0 WHERE user_id = ?1";
    tx.execute(confirm, (user_id, second))?;
    Ok(())
}

mod base {
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
}
