//! Sums over time, over the hours of the day, and by address: what shows that something is unusual.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{
    Error,
    rollup::{self, AddressSum, HOUR_US, Hour},
};
use crate::model::IntegrationId;

const MINUTE_US: i64 = 60_000_000;
/// Steps of one answer, at most.
pub const STEPS_MAX: usize = 10_000;

/// What happened within one step of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Its begin, microseconds since the Unix epoch: a multiple of the step.
    pub start_us: i64,
    /// Requests.
    pub requests: u64,
    /// Those refused because window or quota was used up.
    pub rate_limited: u64,
    /// What is known by the hour only: none where the step is shorter.
    pub by_hour: Option<HourCount>,
}

/// The rest of a [`Count`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HourCount {
    /// Requests answered with 400 or above, or not at all.
    pub refused: u64,
    /// Readings accepted.
    pub accepted: u64,
    /// Readings refused.
    pub rejected: u64,
}

/// What happened within one hour of the day (UTC), over all days of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HourOfDay {
    /// Requests.
    pub requests: u64,
    /// Those refused.
    pub refused: u64,
    /// On how many days there was any.
    pub days: u64,
}

/// An address that requests of an integration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The sums within the period.
    pub sum: AddressSum,
    /// When it was seen for the first time at all, microseconds since the Unix epoch, as far as is remembered.
    pub first_ever_us: i64,
    /// Whether that was within the period.
    pub is_new: bool,
}

/// The non-empty steps of a period, earliest first. A step is a multiple of a minute, and from an hour on of an hour.
pub(super) fn counts(
    connection: &Connection,
    owners: &[Uuid],
    (from_us, to_us): (i64, i64),
    step_us: i64,
) -> Result<Vec<Count>, Error> {
    let mut steps: BTreeMap<i64, Count> = BTreeMap::new();
    for (number, hour) in all_hours(connection, owners, from_us, to_us)? {
        let begin_us = number * HOUR_US;
        if step_us >= HOUR_US {
            let count = step(&mut steps, begin_us, step_us);
            count.requests += hour.requests;
            count.rate_limited += sum(&hour.limited);
            let rest = count.by_hour.get_or_insert_default();
            rest.refused += hour.refused;
            rest.accepted += hour.accepted;
            rest.rejected += hour.rejected;
            continue;
        }
        for (minute, requests) in (0..).zip(&hour.all) {
            let at_us = begin_us + minute * MINUTE_US;
            if *requests > 0 && at_us + MINUTE_US > from_us && at_us < to_us {
                let count = step(&mut steps, at_us, step_us);
                count.requests += u64::from(*requests);
                let limited = usize::try_from(minute).ok().and_then(|minute| hour.limited.get(minute));
                count.rate_limited += u64::from(limited.copied().unwrap_or(0));
            }
        }
    }
    Ok(steps.into_values().take(STEPS_MAX).collect())
}

fn step(steps: &mut BTreeMap<i64, Count>, at_us: i64, step_us: i64) -> &mut Count {
    let start_us = at_us.div_euclid(step_us) * step_us;
    steps.entry(start_us).or_insert(Count { start_us, ..Count::default() })
}

fn sum(minutes: &[u32]) -> u64 {
    minutes.iter().map(|count| u64::from(*count)).sum()
}

/// The 24 hours of the day over a period, which is widened to whole hours.
pub(super) fn hours_of_day(
    connection: &Connection,
    owners: &[Uuid],
    (from_us, to_us): (i64, i64),
) -> Result<[HourOfDay; 24], Error> {
    let mut day = [HourOfDay::default(); 24];
    let mut seen = std::collections::BTreeSet::new();
    for (number, hour) in all_hours(connection, owners, from_us, to_us)? {
        let Some(place) = usize::try_from(number.rem_euclid(24)).ok().and_then(|place| day.get_mut(place)) else {
            continue;
        };
        place.requests += hour.requests;
        place.refused += hour.refused;
        place.days += u64::from(seen.insert(number));
    }
    Ok(day)
}

/// Where requests of an integration came from, the most frequent first.
pub(super) fn addresses(
    connection: &Connection,
    integration_id: IntegrationId,
    (from_us, to_us): (i64, i64),
) -> Result<Vec<Seen>, Error> {
    let owner = rollup::owner(Some(integration_id));
    let mut sums: BTreeMap<std::net::IpAddr, AddressSum> = BTreeMap::new();
    for (_, hour) in rollup::hours(connection, owner, from_us, to_us)? {
        for sum in hour.addresses {
            match sums.entry(sum.addr) {
                std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().merge(&sum),
                std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(sum)),
            }
        }
    }
    let mut ever = connection.prepare_cached("SELECT address, first_us FROM address WHERE integration = ?1")?;
    let ever: BTreeMap<String, i64> =
        ever.query_map(params![owner.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut seen: Vec<Seen> = sums
        .into_values()
        .map(|sum| {
            let first_ever_us = ever.get(&sum.addr.to_string()).copied().unwrap_or(sum.first_us);
            Seen { is_new: first_ever_us >= from_us, first_ever_us, sum }
        })
        .collect();
    seen.sort_by_key(|seen| std::cmp::Reverse(seen.sum.requests));
    Ok(seen)
}

fn all_hours(
    connection: &Connection,
    owners: &[Uuid],
    from_us: i64,
    to_us: i64,
) -> Result<impl Iterator<Item = (i64, Hour)> + use<>, Error> {
    let mut all = Vec::new();
    for owner in owners {
        all.extend(rollup::hours(connection, *owner, from_us, to_us)?);
    }
    Ok(all.into_iter())
}
