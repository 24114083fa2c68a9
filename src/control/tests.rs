//! What the tests of this room share: a database in a temporary directory, an organisation, its administrators.

mod audit;
mod base;
mod change;
mod credential;
mod durability;
mod fields;
mod lifecycle;
mod race;
mod raw_sql;
mod raw_sql_walk;
mod walk;
mod widening;

use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    Actor, Config, Control, Error, Issuers, PERMISSION, PageRequest, WebhookTerms,
    db::Tx,
    integration::{Credentials, Integration, NewIntegration},
};
use crate::model::{IntegrationId, OrganisationId, RequestId, UserId};

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
        equipment_per_integration_max: 1_000,
        audit_checkpoint_entries: 100,
        audit_checkpoint_interval_s: 3_600,
        audit_checkpoint_copy: Default::default(),
        sensitive_scopes_need_two: false,
        justification_required: false,
        webhook: WebhookTerms {
            key_file: std::path::PathBuf::new(),
            per_integration_max: 3,
            queue_max: 100,
            queue_retention_s: 3_600,
            log_retention_s: 86_400,
            log_rows_max: 100,
        },
    }
}

pub(super) fn embedded() -> Issuers {
    Issuers { embedded: Some("https://issuer.test/".to_owned()), external: vec![] }
}

impl Bed {
    pub(super) async fn new(issuers: Issuers) -> Self {
        Self::with(issuers, config()).await
    }

    pub(super) async fn with(issuers: Issuers, config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::open(dir.path(), &config, issuers).unwrap();
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

    /// A request by `requester` that nothing is wrong with.
    pub(super) async fn requested(&self, requester: Actor) -> Integration {
        self.control.create_integration(requester, request(requester.user_id)).await.unwrap()
    }

    pub(super) async fn approved(&self, requester: Actor, approver: Actor) -> Integration {
        let id = self.requested(requester).await.id;
        self.control.approve(approver, id, None).await.unwrap()
    }

    pub(super) async fn active(&self, requester: Actor, approver: Actor) -> (Integration, Credentials) {
        let id = self.approved(requester, approver).await.id;
        self.control.activate(approver, id, None).await.unwrap()
    }

    pub(super) async fn get(&self, id: IntegrationId) -> Integration {
        self.control.integration(self.organisation_id, id).await.unwrap()
    }

    /// The database as a hand at the SQL prompt has it: a connection of its own, without the program's settings.
    pub(super) fn sql(&self) -> Connection {
        Connection::open(self.path().join("control.db")).unwrap()
    }
}

/// A request that nothing is wrong with.
pub(super) fn request(owner_id: UserId) -> NewIntegration {
    NewIntegration {
        vendor: Some("Custom".to_owned()),
        name: Some("Climate computer, house 3".to_owned()),
        description: Some("Sends the readings of house 3".to_owned()),
        owner_id: Some(owner_id),
        scopes: vec!["sensors:write".to_owned(), "equipment:read".to_owned()],
        ..NewIntegration::default()
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
