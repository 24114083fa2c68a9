//! An integration as administrators see it.

mod allowlist;
mod approval;
mod client;
mod contact;
mod create;
mod credentials;
mod grant;
mod key;
mod lifecycle;
mod list;
mod patch;
mod row;
mod warning;
mod widening;

pub(super) use {list::in_use, row::load};

use std::sync::Arc;

use ipnet::IpNet;
use rusqlite::Connection;

pub use self::{
    allowlist::AllowlistUpdate,
    client::VerifiedClient,
    contact::{CONTACTS_MAX, Contact},
    create::NewIntegration,
    credentials::{Credentials, IssuedKey},
    grant::{GrantKind, GrantRequest},
    lifecycle::{ReactivateWith, SuspendCategory},
    list::{IntegrationFilter, IntegrationPage},
    patch::IntegrationPatch,
    warning::Warning,
    widening::PendingScopes,
};
use super::{Control, Error, Issuers, Vendor};
use crate::model::{
    ClientKey, IntegrationFacts, IntegrationId, KeyFact, OrganisationId, Scope, ScopeSet, Status, UserId,
    integration::{BackfillGrant, TemporaryLimit},
};

/// An integration, whole. Times are microseconds (Unix, UTC). Nothing in it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Whose.
    pub organisation_id: OrganisationId,
    /// Where it stands.
    pub status: Status,
    /// Goes up by one with every change: the ETag.
    pub version: u64,
    /// From the registry; never changes.
    pub vendor: Vendor,
    /// What people call it.
    pub name: String,
    /// Why it exists (S031).
    pub description: String,
    /// The member who answers for it.
    pub owner_id: UserId,
    /// The partner's people (A37).
    pub contacts: Vec<Contact>,
    /// What it may do, in the order given.
    pub scopes: Vec<Scope>,
    /// Requests a minute.
    pub rpm: u32,
    /// Requests a UTC day; none: unlimited.
    pub daily_quota: Option<u32>,
    /// Whether readings that are rejected are kept for a while.
    pub keep_rejected: bool,
    /// Where it may call from.
    pub allowlist: Allowlist,
    /// A limit in place of `rpm` for some time.
    pub temporary_limit: Option<TemporaryLimit>,
    /// Why.
    pub temporary_reason: Option<String>,
    /// A wider time window for some time.
    pub backfill: Option<BackfillGrant>,
    /// Why.
    pub backfill_reason: Option<String>,
    /// The OAuth client, once there is one.
    pub client: Option<BoundClient>,
    /// The newest key that ever was live; live while the status is Active.
    pub key: Option<KeyView>,
    /// The key that waits for reactivation (A2).
    pub staged_key: Option<KeyView>,
    /// When one of its keys was last used, in coarse steps.
    pub last_used_at_us: Option<i64>,
    /// Who requested it, and when it was created.
    pub requested: Deed,
    /// Who approved it.
    pub approved: Option<Deed>,
    /// The scopes as approved, to show beside those of now.
    pub approved_scopes: Option<Vec<Scope>>,
    /// Who activated it.
    pub activated: Option<Deed>,
    /// The last suspension.
    pub suspended: Option<Deed>,
    /// Its reason, byte for byte.
    pub suspend_reason: Option<String>,
    /// Its category.
    pub suspend_category: Option<SuspendCategory>,
    /// Who ended the last suspension; none while it lasts.
    pub reactivated: Option<Deed>,
    /// Who revoked it.
    pub revoked: Option<Deed>,
    /// Why, where said.
    pub revoke_reason: Option<String>,
    /// Sensitive scopes that wait for a second administrator.
    pub scopes_pending: Option<PendingScopes>,
    /// Why sensitive scopes are needed, as last given.
    pub justification: Option<String>,
    /// When it last changed.
    pub updated_at_us: i64,
    /// Members other than the requester who could approve it (S007).
    pub eligible_approvers: u32,
    /// What deserves a second look.
    pub warnings: Vec<Warning>,
}

/// Who did something, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    /// Who.
    pub by: UserId,
    /// When, in microseconds (Unix).
    pub at_us: i64,
}

/// What may be shown of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// The first 16 characters (S198).
    pub prefix: String,
    /// When it was issued, in microseconds (Unix).
    pub issued_at_us: i64,
    /// 1 for the first key of the integration.
    pub generation: u64,
    /// When it was last used, in coarse steps.
    pub last_used_at_us: Option<i64>,
}

/// Networks that an integration may call from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowlist {
    /// Off: any address may call (S237).
    pub enabled: bool,
    /// Normalised, without duplicates.
    pub entries: Vec<IpNet>,
}

/// The OAuth client of an integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundClient {
    /// The external issuer's `iss`; none: the embedded issuer.
    pub issuer: Option<String>,
    /// The client's id there.
    pub client_id: String,
}

impl Integration {
    /// The scopes as a set.
    #[must_use]
    pub fn scope_set(&self) -> ScopeSet {
        self.scopes.iter().copied().collect()
    }

    /// Generation of the newest key that ever was live; 0: none was.
    fn key_generation(&self) -> u64 {
        self.key.as_ref().map_or(0, |key| key.generation)
    }

    /// What requests are judged by.
    pub(super) fn facts(&self, issuers: &Issuers) -> IntegrationFacts {
        let client = self.client.as_ref().and_then(|client| {
            let issuer = client.issuer.clone().or_else(|| issuers.embedded.clone())?;
            Some(ClientKey { issuer, client_id: client.client_id.clone() })
        });
        IntegrationFacts {
            id: self.id,
            organisation_id: self.organisation_id,
            status: self.status,
            key_generation: if self.status == Status::Active { self.key_generation() } else { 0 },
            scopes: self.scope_set(),
            rpm: self.rpm,
            temporary_limit: self.temporary_limit,
            daily_quota: self.daily_quota,
            backfill: self.backfill,
            allowlist: self.allowlist.enabled.then(|| Arc::from(self.allowlist.entries.as_slice())),
            client,
            keep_rejected: self.keep_rejected,
        }
    }
}

impl Control {
    /// The integration `id` of `organisation_id`.
    pub async fn integration(&self, organisation_id: OrganisationId, id: IntegrationId) -> Result<Integration, Error> {
        self.read(move |connection| row::load(connection, organisation_id, id)).await
    }

    /// Every integration and every key, dead ones too, for the auth snapshot at start.
    pub async fn facts(&self) -> Result<(Vec<IntegrationFacts>, Vec<KeyFact>), Error> {
        let issuers = self.inner.issuers.clone();
        self.read(move |connection| {
            // One snapshot for both: no key without its integration.
            let connection = connection.unchecked_transaction()?;
            Ok((all_facts(&connection, &issuers)?, all_keys(&connection)?))
        })
        .await
    }
}

fn all_facts(connection: &Connection, issuers: &Issuers) -> Result<Vec<IntegrationFacts>, Error> {
    let mut statement = connection.prepare(&row::select("TRUE"))?;
    let mut rows = statement.query([])?;
    let mut facts = Vec::new();
    while let Some(row) = rows.next()? {
        facts.push(row::read(row)?.facts(issuers));
    }
    Ok(facts)
}

fn all_keys(connection: &Connection) -> Result<Vec<KeyFact>, Error> {
    let mut statement = connection.prepare("SELECT hash, integration_id, generation FROM api_keys")?;
    let keys = statement
        .query_map([], |row| Ok(KeyFact { hash: row.get(0)?, integration_id: row.get(1)?, generation: row.get(2)? }))?;
    Ok(keys.collect::<Result<_, _>>()?)
}
