//! Who acts.

use std::net::IpAddr;

use rusqlite::Connection;

use super::{
    Error,
    audit::{AuditEntry, Target},
    db::Tx,
    integration,
};
use crate::model::{IntegrationId, OrganisationId, RequestId, Scope, Status, UserId};

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

/// An integration that acts on what is its own, as the audit log will name it.
#[derive(Debug, Clone, Copy)]
pub struct IntegrationActor {
    /// Which; it sees nothing of others.
    pub integration_id: IntegrationId,
    /// Its organisation.
    pub organisation_id: OrganisationId,
    /// Which of its keys the call came with.
    pub key_generation: u64,
    /// Where the call came from.
    pub ip: IpAddr,
    /// The call.
    pub request_id: RequestId,
}

impl IntegrationActor {
    /// Whether status, key and scope are still what let the call in, as of this transaction. A suspend, revoke or
    /// regenerate commits before it returns, and commits follow one another: so nothing that it shuts out is changed
    /// afterwards (S115).
    pub(super) fn require(&self, connection: &Connection, scope: Scope) -> Result<(), Error> {
        let now = integration::load(connection, self.organisation_id, self.integration_id)?;
        let generation = now.key.as_ref().map(|key| key.generation);
        if now.status != Status::Active || generation != Some(self.key_generation) {
            return Err(Error::NoLongerValid);
        }
        if now.scopes.contains(&scope) { Ok(()) } else { Err(Error::ScopeMissing(scope)) }
    }
}

/// Who registers and changes equipment, and keeps webhooks.
#[derive(Debug, Clone, Copy)]
pub enum Registrar {
    /// An administrator, any of their organisation's.
    Administrator(Actor),
    /// An integration, its own.
    Integration(IntegrationActor),
}

impl From<Actor> for Registrar {
    fn from(actor: Actor) -> Self {
        Self::Administrator(actor)
    }
}

impl From<IntegrationActor> for Registrar {
    fn from(actor: IntegrationActor) -> Self {
        Self::Integration(actor)
    }
}

impl Registrar {
    pub(super) const fn organisation_id(&self) -> OrganisationId {
        match self {
            Self::Administrator(actor) => actor.organisation_id,
            Self::Integration(actor) => actor.organisation_id,
        }
    }

    /// The one integration whose equipment exists for them; none: all of the organisation's.
    pub(super) const fn own_integration(&self) -> Option<IntegrationId> {
        match self {
            Self::Administrator(_) => None,
            Self::Integration(actor) => Some(actor.integration_id),
        }
    }

    /// Judges, as of this transaction, whether they may. An administrator's refused attempt is audited as
    /// `refused_action`; an integration's stands in the API log, as every refused request does.
    pub(super) fn require(&self, tx: &Tx<'_>, refused_action: &'static str, target: Target) -> Result<(), Error> {
        self.require_scope(tx, Scope::EquipmentWrite, refused_action, target)
    }

    /// The same where an integration needs `scope`.
    pub(super) fn require_scope(
        &self,
        tx: &Tx<'_>,
        scope: Scope,
        refused_action: &'static str,
        target: Target,
    ) -> Result<(), Error> {
        match self {
            Self::Administrator(actor) => {
                tx.attempt(actor, refused_action, target);
                actor.require_permission(tx)
            }
            Self::Integration(actor) => actor.require(tx, scope),
        }
    }

    /// The call that they act by.
    pub(super) const fn request_id(&self) -> RequestId {
        match self {
            Self::Administrator(actor) => actor.request_id,
            Self::Integration(actor) => actor.request_id,
        }
    }

    /// They did `action` to `target`.
    pub(super) fn entry(&self, action: &'static str, target: Target) -> AuditEntry {
        match self {
            Self::Administrator(actor) => AuditEntry::by(actor, action, target),
            Self::Integration(actor) => AuditEntry::by_integration(actor, action, target),
        }
    }
}
