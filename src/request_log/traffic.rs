//! What an integration did in a period, from the sums: for reviews, limits, and the eye of an administrator.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{
    Error,
    rollup::{self, AddressSum, HOUR_US, Hour, Outcome, ScopeSum},
};
use crate::model::IntegrationId;

const DAY_HOURS: i64 = 24;

/// The traffic of one integration. The sums are by the hour (UTC), so the period is widened to whole hours.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// Begin of the period as counted, microseconds since the Unix epoch.
    pub from_us: i64,
    /// Its end, exclusive.
    pub to_us: i64,
    /// Requests and, over MQTT, CONNECTs.
    pub requests: u64,
    /// Those answered with 400 or above, or not at all.
    pub refused: u64,
    /// Those charged to window and quota.
    pub charged: u64,
    /// Those over HTTP, and those over MQTT.
    pub http: u64,
    /// See `http`.
    pub mqtt: u64,
    /// Readings accepted.
    pub accepted: u64,
    /// Accepted ones whose key an earlier one had, as far as known at once.
    pub duplicates: u64,
    /// Readings refused.
    pub rejected: u64,
    /// The first request in the period, microseconds since the Unix epoch.
    pub first_us: Option<i64>,
    /// The last.
    pub last_us: Option<i64>,
    /// How often each status, code and cause came, the most frequent first.
    pub outcomes: Vec<Outcome>,
    /// What became of each scope that was asked for, by name.
    pub scopes: Vec<ScopeSum>,
    /// Most requests within one minute of the clock that got as far as the window, those refused for it included.
    pub peak_rpm: u32,
    /// The same for 95 of 100 minutes with any such request.
    pub p95_rpm: u32,
    /// Their mean over the minutes with any.
    pub mean_rpm: f64,
    /// Requests refused because window or quota was used up (429).
    pub rate_limited: u64,
    /// The day (days since 1970-01-01, UTC) with most charged requests, and how many: what a quota is held against.
    pub busiest_day: Option<(i64, u64)>,
    /// Where requests came from, the most frequent first.
    pub addresses: Vec<AddressSum>,
    /// Requests from addresses that the sums do not name one by one.
    pub unnamed_requests: u64,
}

/// Reads the traffic of `integration_id`.
pub(super) fn read(
    connection: &Connection,
    integration_id: IntegrationId,
    from_us: i64,
    to_us: i64,
) -> Result<Traffic, Error> {
    let hours = rollup::hours(connection, rollup::owner(Some(integration_id)), from_us, to_us)?;
    let mut traffic = Traffic {
        from_us: from_us.div_euclid(HOUR_US).saturating_mul(HOUR_US),
        to_us: to_us.saturating_add(HOUR_US - 1).div_euclid(HOUR_US).saturating_mul(HOUR_US),
        ..Traffic::default()
    };
    let mut minutes: Vec<u32> = Vec::new();
    let mut days: BTreeMap<i64, u64> = BTreeMap::new();
    for (number, hour) in &hours {
        traffic.add(hour);
        minutes.extend(hour.demand.iter().filter(|count| **count > 0));
        *days.entry(number.div_euclid(DAY_HOURS)).or_default() += hour.charged;
    }
    minutes.sort_unstable();
    if let Some(peak) = minutes.last() {
        traffic.peak_rpm = *peak;
        traffic.p95_rpm = minutes[(minutes.len() * 95).div_ceil(100) - 1];
        traffic.mean_rpm = minutes.iter().map(|count| f64::from(*count)).sum::<f64>() / minutes.len() as f64;
    }
    traffic.busiest_day = days.into_iter().filter(|(_, used)| *used > 0).max_by_key(|(day, used)| (*used, -*day));
    traffic.outcomes.sort_by_key(|outcome| std::cmp::Reverse(outcome.count));
    traffic.scopes.sort_by(|a, b| a.scope.cmp(&b.scope));
    traffic.addresses.sort_by_key(|address| std::cmp::Reverse(address.requests));
    Ok(traffic)
}

impl Traffic {
    fn add(&mut self, hour: &Hour) {
        self.requests += hour.requests;
        self.refused += hour.refused;
        self.charged += hour.charged;
        self.http += hour.http;
        self.mqtt += hour.mqtt;
        self.accepted += hour.accepted;
        self.duplicates += hour.duplicates;
        self.rejected += hour.rejected;
        self.unnamed_requests += hour.unnamed;
        self.first_us = Some(self.first_us.map_or(hour.first_us, |us| us.min(hour.first_us)));
        self.last_us = Some(self.last_us.map_or(hour.last_us, |us| us.max(hour.last_us)));
        self.rate_limited += hour.limited.iter().map(|count| u64::from(*count)).sum::<u64>();
        for outcome in &hour.outcomes {
            let same = |known: &&mut Outcome| {
                known.status == outcome.status && known.code == outcome.code && known.cause == outcome.cause
            };
            match self.outcomes.iter_mut().find(same) {
                Some(known) => known.count += outcome.count,
                None => self.outcomes.push(outcome.clone()),
            }
        }
        for scope in &hour.scopes {
            match self.scopes.iter_mut().find(|known| known.scope == scope.scope) {
                Some(known) => {
                    known.uses += scope.uses;
                    known.denied += scope.denied;
                    known.last_used_us = known.last_used_us.max(scope.last_used_us);
                }
                None => self.scopes.push(scope.clone()),
            }
        }
        for address in &hour.addresses {
            match self.addresses.iter_mut().find(|known| known.addr == address.addr) {
                Some(known) => known.merge(address),
                None => self.addresses.push(address.clone()),
            }
        }
    }
}
