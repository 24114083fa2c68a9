//! An integration as the hot path sees it.

use std::{fmt, sync::Arc};

use ipnet::IpNet;

use super::{ClientKey, IntegrationId, OrganisationId, ScopeSet};

/// Requests a minute that a new integration gets (S215).
pub const RPM_DEFAULT: u32 = 60;
/// The largest limit that can be set, in requests a minute (S216).
pub const RPM_MAX: u32 = 10_000;
/// The largest daily quota: the largest limit, all day (A28).
pub const DAILY_QUOTA_MAX: u32 = RPM_MAX * 60 * 24;
/// Entries of an IP allowlist, at most (S243).
pub const ALLOWLIST_ENTRIES_MAX: usize = 50;
/// Active and Suspended integrations of one organisation, at most (S153, S154).
pub const INTEGRATIONS_MAX: usize = 20;

/// Where an integration stands in its life (000:111–122).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Awaits a second administrator.
    Requested,
    /// Approved, without credentials.
    Approved,
    /// May call.
    Active,
    /// Disabled for now; everything but the key is kept.
    Suspended,
    /// Disabled for ever.
    Revoked,
}

impl Status {
    /// All five, in order of life.
    pub const ALL: [Self; 5] = [Self::Requested, Self::Approved, Self::Active, Self::Suspended, Self::Revoked];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// The status called `name`, exactly as spelled.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit that ends by itself (A25).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemporaryLimit {
    /// Requests a minute while it lasts.
    pub rpm: u32,
    /// First microsecond (Unix) at which it no longer holds.
    pub until_us: i64,
}

/// A wider time window that ends by itself: the sender may deliver history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillGrant {
    /// Oldest timestamp allowed while it lasts, in microseconds (Unix).
    pub window_start_us: i64,
    /// First microsecond (Unix) at which it no longer holds.
    pub until_us: i64,
}

/// Everything changeable that a request is judged by. One value, replaced as a whole (H2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrationFacts {
    /// Which integration.
    pub id: IntegrationId,
    /// Whose.
    pub organisation_id: OrganisationId,
    /// Only an Active one may call.
    pub status: Status,
    /// Generation of the one live key; 0 where none is live. A key of another generation is dead for ever.
    pub key_generation: u64,
    /// What it may do.
    pub scopes: ScopeSet,
    /// Requests a minute, 1 … [`RPM_MAX`].
    pub rpm: u32,
    /// A temporary limit in place of `rpm`.
    pub temporary_limit: Option<TemporaryLimit>,
    /// Requests a UTC day; none: unlimited (S233).
    pub daily_quota: Option<u32>,
    /// A wider time window for readings.
    pub backfill: Option<BackfillGrant>,
    /// Networks it may call from; none: any (S237). An empty list lets nobody in (S247).
    pub allowlist: Option<Arc<[IpNet]>>,
    /// The OAuth client bound to it (A19).
    pub client: Option<ClientKey>,
    /// Whether readings that are rejected are kept for a while, to be sent again.
    pub keep_rejected: bool,
}

impl IntegrationFacts {
    /// An Active integration of nobody, in its first generation, with the default limit, for benches and tests of
    /// rooms that have no control plane.
    #[doc(hidden)]
    #[must_use]
    pub fn assumed(id: IntegrationId, scopes: ScopeSet) -> Self {
        Self {
            id,
            organisation_id: OrganisationId::generate(),
            status: Status::Active,
            key_generation: 1,
            scopes,
            rpm: 60,
            temporary_limit: None,
            daily_quota: None,
            backfill: None,
            allowlist: None,
            client: None,
            keep_rejected: false,
        }
    }
}

/// The immutable fact behind a key: whose it is, and which of its keys. Also true of dead keys, so that the log can
/// say `key_superseded` (S203).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFact {
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// Whose.
    pub integration_id: IntegrationId,
    /// 1 for the first key of the integration, one more for each later one.
    pub generation: u64,
}
