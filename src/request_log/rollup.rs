//! Sums of an hour: what is left of requests once they themselves are gone, and what questions about months read.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, entry::RequestHead};
use crate::model::IntegrationId;

/// Microseconds of an hour.
pub(super) const HOUR_US: i64 = 3_600_000_000;
/// Addresses that the sums of one hour name; more are counted together.
const HOUR_ADDRESSES_MAX: usize = 64;
/// Combinations of status, code and cause that the sums of one hour name.
const OUTCOMES_MAX: usize = 256;

/// Addresses of all integrations that wait to be saved.
const UNSAVED_ADDRESSES_MAX: usize = 65_536;

/// What one integration did within one hour (UTC).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Hour {
    pub(super) requests: u64,
    /// Those that were answered with 400 or above, or not at all.
    pub(super) refused: u64,
    /// Those that were charged to window and quota.
    pub(super) charged: u64,
    pub(super) http: u64,
    pub(super) mqtt: u64,
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) rejected: u64,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) scopes: Vec<ScopeSum>,
    /// By minute, as far as the last one with any.
    pub(super) all: Vec<u32>,
    /// Those that got as far as the window, 429 included: what a limit has to be held against.
    pub(super) demand: Vec<u32>,
    pub(super) limited: Vec<u32>,
    pub(super) addresses: Vec<AddressSum>,
    /// Requests from addresses beyond those named.
    pub(super) unnamed: u64,
}

/// How often one outcome came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The status answered.
    pub status: u16,
    /// The code, empty where it was no refusal.
    pub code: String,
    /// The exact cause, likewise.
    pub cause: String,
    /// How often.
    pub count: u64,
}

/// What became of one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeSum {
    /// On the wire: `sensors:write`.
    pub scope: String,
    /// Requests that it let through.
    pub uses: u64,
    /// Requests that were refused because it was not granted.
    pub denied: u64,
    /// When it last let one through, microseconds since the Unix epoch; 0: never.
    pub last_used_us: i64,
}

/// What came from one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSum {
    /// Which.
    pub addr: IpAddr,
    /// Requests.
    pub requests: u64,
    /// Those of them that were refused.
    pub refused: u64,
    /// The first, microseconds since the Unix epoch.
    pub first_us: i64,
    /// The last, likewise.
    pub last_us: i64,
}

impl AddressSum {
    const fn new(addr: IpAddr, at_us: i64) -> Self {
        Self { addr, requests: 0, refused: 0, first_us: at_us, last_us: at_us }
    }

    fn add(&mut self, at_us: i64, is_refused: bool) {
        self.requests += 1;
        self.refused += u64::from(is_refused);
        self.first_us = self.first_us.min(at_us);
        self.last_us = self.last_us.max(at_us);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.refused += other.refused;
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
    }
}

impl Hour {
    fn add(&mut self, head: &RequestHead<'_>) {
        let is_refused = head.status >= 400;
        self.first_us = if self.requests == 0 { head.at_us } else { self.first_us.min(head.at_us) };
        self.last_us = self.last_us.max(head.at_us);
        self.requests += 1;
        self.refused += u64::from(is_refused);
        if head.transport == "mqtt" {
            self.mqtt += 1
        } else {
            self.http += 1
        }
        if let Some(counts) = head.counts {
            self.accepted += u64::from(counts.accepted);
            self.duplicates += u64::from(counts.duplicates);
            self.rejected += u64::from(counts.rejected);
        }
        let minute = usize::try_from(head.at_us.rem_euclid(HOUR_US) / 60_000_000).unwrap_or(0);
        raise(&mut self.all, minute);
        let (is_limited, is_charged) = (is_limited(head), is_charged(head));
        if is_limited || is_charged {
            raise(&mut self.demand, minute);
        }
        if is_limited {
            raise(&mut self.limited, minute);
        }
        self.charged += u64::from(is_charged);
        self.add_outcome(head);
        self.add_scope(head);
        let has_room = self.addresses.len() < HOUR_ADDRESSES_MAX;
        match self.addresses.iter_mut().find(|sum| sum.addr == head.addr) {
            Some(sum) => sum.add(head.at_us, is_refused),
            None if has_room => {
                let mut sum = AddressSum::new(head.addr, head.at_us);
                sum.add(head.at_us, is_refused);
                self.addresses.push(sum);
            }
            None => self.unnamed += 1,
        }
    }

    fn add_outcome(&mut self, head: &RequestHead<'_>) {
        let is_it = |outcome: &&mut Outcome| {
            outcome.status == head.status && outcome.code == head.code && outcome.cause == head.cause
        };
        let has_room = self.outcomes.len() < OUTCOMES_MAX;
        match self.outcomes.iter_mut().find(is_it) {
            Some(outcome) => outcome.count += 1,
            None if has_room => self.outcomes.push(Outcome {
                status: head.status,
                code: head.code.to_owned(),
                cause: head.cause.to_owned(),
                count: 1,
            }),
            None => {}
        }
    }

    fn add_scope(&mut self, head: &RequestHead<'_>) {
        let Some(granted) = head.granted.filter(|_| !head.scope.is_empty()) else { return };
        let place = self.scopes.iter().position(|sum| sum.scope == head.scope).unwrap_or_else(|| {
            self.scopes.push(ScopeSum { scope: head.scope.to_owned(), uses: 0, denied: 0, last_used_us: 0 });
            self.scopes.len() - 1
        });
        let sum = &mut self.scopes[place];
        if granted {
            sum.uses += 1;
            sum.last_used_us = sum.last_used_us.max(head.at_us);
        } else {
            sum.denied += 1;
        }
    }
}

fn raise(minutes: &mut Vec<u32>, minute: usize) {
    if minutes.len() <= minute {
        minutes.resize(minute + 1, 0);
    }
    minutes[minute] += 1;
}

/// Refused because window or quota was used up.
fn is_limited(head: &RequestHead<'_>) -> bool {
    matches!(head.cause, "rate_limited" | "daily_quota_exceeded")
}

/// Past window and quota: the scope was judged, or there was none to judge (A27). A CONNECT costs nothing.
fn is_charged(head: &RequestHead<'_>) -> bool {
    let is_unproven = head.integration_id.is_none() || head.status == 401 || head.cause == "ip_not_allowed";
    // Refused behind the gate: it was charged long before.
    let was_changed = matches!(head.cause, "changed_in_flight" | "committed_before_suspend");
    head.method != "CONNECT"
        && !is_limited(head)
        && (was_changed || head.granted.is_some() || (!is_unproven && head.scope.is_empty()))
}

/// The sums that are being added to.
#[derive(Debug, Default)]
pub(super) struct Rollups {
    hours: FxHashMap<(Uuid, i64), Held>,
    addresses: FxHashMap<(Uuid, IpAddr), AddressSum>,
}

#[derive(Debug)]
struct Held {
    hour: Hour,
    is_dirty: bool,
}

impl Rollups {
    /// Adds a request; what its hour has so far comes from `connection` where it is not in memory.
    pub(super) fn add(&mut self, head: &RequestHead<'_>, connection: &Connection) -> Result<(), Error> {
        let key = (owner(head.integration_id), head.at_us.div_euclid(HOUR_US));
        let held = match self.hours.entry(key) {
            std::collections::hash_map::Entry::Occupied(held) => held.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Held { hour: load(connection, key)?.unwrap_or_default(), is_dirty: true })
            }
        };
        held.hour.add(head);
        held.is_dirty = true;
        // Strangers' addresses are not remembered one by one beyond their hour.
        let has_room = self.addresses.len() < UNSAVED_ADDRESSES_MAX || self.addresses.contains_key(&(key.0, head.addr));
        if head.integration_id.is_some() && has_room {
            let sum =
                self.addresses.entry((key.0, head.addr)).or_insert_with(|| AddressSum::new(head.addr, head.at_us));
            sum.add(head.at_us, head.status >= 400);
        }
        Ok(())
    }

    /// Whether anything is not saved.
    pub(super) fn is_dirty(&self) -> bool {
        !self.addresses.is_empty() || self.hours.values().any(|held| held.is_dirty)
    }

    /// Writes what has changed. It stays changed until [`Rollups::saved`].
    pub(super) fn save(&self, transaction: &Transaction<'_>, addresses_max: u32) -> Result<(), Error> {
        let mut put = transaction.prepare_cached("REPLACE INTO hour (integration, hour, data) VALUES (?1, ?2, ?3)")?;
        for ((owner, number), held) in self.hours.iter().filter(|(_, held)| held.is_dirty) {
            let data = serde_json::to_vec(&held.hour).map_err(|_| Error::Damaged("sums that cannot be written"))?;
            put.execute(params![owner.as_bytes(), number, data])?;
        }
        for ((owner, addr), sum) in &self.addresses {
            save_address(transaction, *owner, *addr, sum, addresses_max)?;
        }
        Ok(())
    }

    /// What was changed is on disk. Hours that are over for a while leave the memory.
    pub(super) fn saved(&mut self, now_us: i64) {
        self.addresses.clear();
        let oldest = now_us.div_euclid(HOUR_US) - 1;
        self.hours.retain(|(_, number), held| {
            held.is_dirty = false;
            *number >= oldest
        });
    }
}

fn save_address(
    transaction: &Transaction<'_>,
    owner: Uuid,
    addr: IpAddr,
    sum: &AddressSum,
    addresses_max: u32,
) -> Result<(), Error> {
    let changed = transaction
        .prepare_cached(
            "UPDATE address SET requests = requests + ?3, refused = refused + ?4, first_us = min(first_us, ?5),
                 last_us = max(last_us, ?6) WHERE integration = ?1 AND address = ?2",
        )?
        .execute(params![owner.as_bytes(), addr.to_string(), sum.requests, sum.refused, sum.first_us, sum.last_us])?;
    if changed == 0 {
        transaction
            .prepare_cached(
                "INSERT INTO address (integration, address, requests, refused, first_us, last_us)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6
                 WHERE (SELECT count(*) FROM address WHERE integration = ?1) < ?7",
            )?
            .execute(params![
                owner.as_bytes(),
                addr.to_string(),
                sum.requests,
                sum.refused,
                sum.first_us,
                sum.last_us,
                addresses_max
            ])?;
    }
    Ok(())
}

/// Under whose name something is kept; what is nobody's under the nil UUID.
pub(super) fn owner(integration_id: Option<IntegrationId>) -> Uuid {
    integration_id.map_or(Uuid::nil(), |id| id.as_uuid())
}

fn load(connection: &Connection, (owner, number): (Uuid, i64)) -> Result<Option<Hour>, Error> {
    let data: Option<Vec<u8>> = connection
        .prepare_cached("SELECT data FROM hour WHERE integration = ?1 AND hour = ?2")?
        .query_row(params![owner.as_bytes(), number], |row| row.get(0))
        .optional()?;
    data.map(|data| parse(&data)).transpose()
}

pub(super) fn parse(data: &[u8]) -> Result<Hour, Error> {
    serde_json::from_slice(data).map_err(|_| Error::Damaged("the sums of an hour"))
}

/// The sums of `owner` for the hours that meet the time, earliest first.
pub(super) fn hours(connection: &Connection, owner: Uuid, from_us: i64, to_us: i64) -> Result<Vec<(i64, Hour)>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT hour, data FROM hour WHERE integration = ?1 AND hour >= ?2 AND hour < ?3 ORDER BY hour",
    )?;
    let (first, last) = (from_us.div_euclid(HOUR_US), to_us.saturating_sub(1).div_euclid(HOUR_US));
    let mut rows = statement.query(params![owner.as_bytes(), first, last.saturating_add(1)])?;
    let mut hours = Vec::new();
    while let Some(row) = rows.next()? {
        hours.push((row.get(0)?, parse(&row.get::<_, Vec<u8>>(1)?)?));
    }
    Ok(hours)
}
