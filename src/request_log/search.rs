//! Finding requests: newest first, block by block, passing over those that cannot hold what is looked for.

use std::{net::IpAddr, ops::ControlFlow};

use ipnet::IpNet;
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{
    Batch, Entry, Error, block,
    entry::{self, Frame},
    rollup::{HOUR_US, owner},
};
use crate::model::{IntegrationId, RequestId};

/// Blocks that one page looks into: where nothing is found, it ends in a cursor, not in a long wait.
const BLOCKS_MAX: usize = 400;
/// Microseconds around the time in a request's id within which the request came.
const ID_SLACK_US: i64 = 5_000_000;

/// Which requests. All that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose: those of these integrations.
    pub integrations: Vec<IntegrationId>,
    /// Those of nobody in particular, too.
    pub with_unattributed: bool,
    /// Our name for it.
    pub request_id: Option<RequestId>,
    /// The caller's name for it.
    pub client_request_id: Option<String>,
    /// The statuses from and to, both inclusive.
    pub status: Option<(u16, u16)>,
    /// The code.
    pub code: Option<String>,
    /// The exact cause.
    pub cause: Option<String>,
    /// The network it came from.
    pub network: Option<IpNet>,
    /// The scope that it needed.
    pub scope: Option<String>,
    /// `http` or `mqtt`.
    pub transport: Option<String>,
    /// Not before this, microseconds since the Unix epoch.
    pub from_us: Option<i64>,
    /// Before this.
    pub to_us: Option<i64>,
    /// Hours of the day (UTC), the end exclusive; where the first is the later one, over midnight.
    pub hours: Option<(u8, u8)>,
}

/// A page of requests, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// They.
    pub entries: Vec<Entry>,
    /// The place before which the next page begins; none: this was the last.
    pub next_before: Option<u64>,
}

impl Filter {
    fn owns(&self, id: Option<IntegrationId>) -> bool {
        id.map_or(self.with_unattributed, |id| self.integrations.contains(&id))
    }

    /// The time within which the requests came that are looked for.
    fn time(&self) -> (i64, i64) {
        let (mut from, mut to) = (self.from_us.unwrap_or(i64::MIN), self.to_us.unwrap_or(i64::MAX));
        if let Some((seconds, nanos)) = self.request_id.and_then(|id| id.as_uuid().get_timestamp()).map(|t| t.to_unix())
        {
            let at_us = i64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000) + i64::from(nanos) / 1_000;
            from = from.max(at_us.saturating_sub(ID_SLACK_US));
            to = to.min(at_us.saturating_add(ID_SLACK_US));
        }
        (from, to)
    }

    fn fits(&self, entry: &Entry) -> bool {
        let same = |wanted: &Option<String>, has: Option<&str>| wanted.as_deref().is_none_or(|text| has == Some(text));
        self.owns(entry.integration_id)
            && self.request_id.is_none_or(|id| id == entry.request_id)
            && same(&self.client_request_id, entry.client_request_id.as_deref())
            && self.status.is_none_or(|(from, to)| (from..=to).contains(&entry.status))
            && same(&self.code, entry.code.as_deref())
            && same(&self.cause, entry.cause.as_deref())
            && self.network.is_none_or(|network| is_in(network, entry.addr))
            && same(&self.scope, entry.scope.as_deref())
            && same(&self.transport, Some(&entry.transport))
            && self.from_us.is_none_or(|from| entry.at_us >= from)
            && self.to_us.is_none_or(|to| entry.at_us < to)
            && self.hours.is_none_or(|hours| is_hour_in(hours, entry.at_us))
    }

    fn status_bits(&self) -> u64 {
        self.status.map_or(u64::MAX, |(from, to)| (from..=to).map(block::status_bit).fold(0, |all, bit| all | bit))
    }
}

/// An IPv4 address that came over an IPv6 socket is the same address.
fn is_in(network: IpNet, addr: IpAddr) -> bool {
    network.contains(&addr) || network.contains(&addr.to_canonical())
}

fn is_hour_in((from, to): (u8, u8), at_us: i64) -> bool {
    let hour = u8::try_from(at_us.rem_euclid(24 * HOUR_US) / HOUR_US).unwrap_or(0);
    if from <= to { (from..to).contains(&hour) } else { hour >= from || hour < to }
}

/// A page of at most `limit` requests that stand before `before`.
pub(super) fn page(
    connection: &Connection,
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) -> Result<Found, Error> {
    let mut found = Found::default();
    let mut loaded = 0;
    walk(connection, filter, before, |first_seq, raw| {
        loaded += 1;
        let mut entries = Vec::new();
        for (seq, kind, body) in block::places(raw, first_seq) {
            if before.is_none_or(|before| seq < before)
                && let Some(Frame::Request(entry)) = entry::read(kind, body, seq)
                && filter.fits(&entry)
            {
                entries.push(*entry);
            }
        }
        for entry in entries.into_iter().rev() {
            if found.entries.len() == limit {
                found.next_before = found.entries.last().map(|last: &Entry| last.seq);
                return ControlFlow::Break(());
            }
            found.entries.push(entry);
        }
        if loaded >= BLOCKS_MAX {
            found.next_before = Some(first_seq);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The request called `id`, where `filter` lets one see it, and what its batch held if one was stored.
pub(super) fn one(connection: &Connection, filter: &Filter) -> Result<Option<(Entry, Option<Batch>)>, Error> {
    let (mut found, mut stored) = (None, None);
    walk(connection, filter, None, |first_seq, raw| {
        for (seq, kind, body) in block::places(raw, first_seq) {
            match entry::read(kind, body, seq) {
                Some(Frame::Request(entry)) if filter.fits(&entry) => found = Some(*entry),
                Some(Frame::Batch(batch)) if Some(batch.request_id) == filter.request_id => stored = Some(batch),
                _ => {}
            }
        }
        // The batch is told before the answer is, so that it stands earlier, perhaps in the block before.
        if found.is_some() && stored.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found.map(|entry| (entry, stored)))
}

/// Calls `visit` with the first place and the frames of every block that may hold what `filter` wants, newest first.
fn walk(
    connection: &Connection,
    filter: &Filter,
    before: Option<u64>,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (from_us, to_us) = filter.time();
    let (bits, before) = (filter.status_bits(), before.map_or(i64::MAX, |seq| i64::try_from(seq).unwrap_or(i64::MAX)));
    let only = match filter.integrations.as_slice() {
        [one] if !filter.with_unattributed => Some(one.as_uuid()),
        _ => None,
    };
    // For one integration its own list of blocks is the shorter one.
    let sql = match only {
        Some(_) => {
            "SELECT b.first_seq, p.statuses FROM presence p JOIN block b ON b.first_seq = p.first_seq
             WHERE p.integration = ?4 AND p.first_seq < ?1 AND b.last_us >= ?2 AND b.first_us < ?3
             ORDER BY p.first_seq DESC"
        }
        None => {
            "SELECT first_seq, NULL FROM block WHERE first_seq < ?1 AND last_us >= ?2 AND first_us < ?3 AND ?4 IS NOT ''
             ORDER BY first_seq DESC"
        }
    };
    let owner = only.unwrap_or_default();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![before, from_us, to_us, owner.as_bytes()])?;
    while let Some(row) = rows.next()? {
        let first_seq: u64 = row.get(0)?;
        let may_hold = match row.get::<_, Option<i64>>(1)? {
            Some(statuses) => statuses.cast_unsigned() & bits != 0,
            None => may_hold(connection, filter, first_seq, bits)?,
        };
        if may_hold && visit(first_seq, &block::load(connection, first_seq)?).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn may_hold(connection: &Connection, filter: &Filter, first_seq: u64, bits: u64) -> Result<bool, Error> {
    let mut statement = connection.prepare_cached("SELECT integration, statuses FROM presence WHERE first_seq = ?1")?;
    let mut rows = statement.query([first_seq])?;
    while let Some(row) = rows.next()? {
        let id = Uuid::from_bytes(row.get(0)?);
        let id = (id != owner(None)).then(|| IntegrationId::from_uuid(id));
        if filter.owns(id) && row.get::<_, i64>(1)?.cast_unsigned() & bits != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    // S294: hours of the day in UTC, the end exclusive, and over midnight where the first is the later one.
    #[test]
    fn hours_of_the_day() {
        let at = |hour: i64| hour * HOUR_US + 1;
        assert!(is_hour_in((6, 18), at(6)) && !is_hour_in((6, 18), at(18)) && !is_hour_in((6, 18), at(5)));
        assert!(is_hour_in((22, 6), at(23)) && is_hour_in((22, 6), at(5)) && !is_hour_in((22, 6), at(6)));
        assert!(is_hour_in((22, 24), at(23)) && !is_hour_in((7, 7), at(7)));
    }

    // S292
    #[test]
    fn networks_of_both_families() {
        let network: IpNet = "10.0.0.0/8".parse().unwrap();
        for (addr, expected) in [("10.9.8.7", true), ("::ffff:10.9.8.7", true), ("11.0.0.1", false), ("::1", false)] {
            assert_eq!(is_in(network, addr.parse().unwrap()), expected, "{addr}");
        }
    }
}
