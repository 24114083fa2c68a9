//! The steps of the database's schema. A step that has been released is never edited: add the next.

use rusqlite::{Connection, TransactionBehavior};

use super::{Error, config::Policy};

/// Step `n` is at index `n - 1`.
const STEPS: &[&str] = &[
    include_str!("schema/0001_integration.sql"),
    include_str!("schema/0002_member.sql"),
    include_str!("schema/0003_equipment_room.sql"),
    include_str!("schema/0004_keep_rejected.sql"),
    include_str!("schema/0005_widening.sql"),
    include_str!("schema/0006_access_review.sql"),
    include_str!("schema/0007_webhook.sql"),
];

/// Puts the policy of the configuration into the database, or takes it out.
pub(super) fn enforce(connection: &Connection, policy: Policy) -> rusqlite::Result<()> {
    if policy.sensitive_scopes_need_two {
        connection.execute_batch(include_str!("schema/widening_waits.sql"))
    } else {
        connection
            .execute_batch("DROP TRIGGER IF EXISTS widening_waits; DROP TRIGGER IF EXISTS editor_does_not_approve")
    }
}

/// Brings the database to the newest schema, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let found: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > STEPS.len() {
        return Err(Error::SchemaTooNew { found, known: STEPS.len() });
    }
    for (index, step) in STEPS.iter().enumerate().skip(found) {
        let number = index + 1;
        apply(connection, number, step).map_err(|source| Error::Migrate { number, source })?;
    }
    Ok(())
}

fn apply(connection: &mut Connection, number: usize, step: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(step)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}
