//! Who acts.

use std::net::IpAddr;

use rusqlite::Connection;

use super::Error;
use crate::model::{OrganisationId, RequestId, UserId};

/// The administrator behind a call, as the audit log will name them.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// Who. Separation of duties compares this id and nothing else (S068).
    pub user_id: UserId,
    /// The organisation that they act in; they see no other.
    pub organisation_id: OrganisationId,
    /// Where the call came from; none: the server's own command line.
    pub ip: Option<IpAddr>,
    /// The call.
    pub request_id: RequestId,
}

impl Actor {
    /// Whether the actor still is an active member with `administration_integrations_access`, as of this transaction
    /// (S001, S078).
    pub(super) fn require_permission(&self, connection: &Connection) -> Result<(), Error> {
        let holds: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM administrators WHERE organisation_id = ?1 AND user_id = ?2)")?
            .query_row((self.organisation_id, self.user_id), |row| row.get(0))?;
        if holds { Ok(()) } else { Err(Error::PermissionDenied) }
    }
}
