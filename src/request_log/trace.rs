//! Which requests may have brought a reading, and which refused it.

use rusqlite::{Connection, params};

use super::{
    Batch, Entry, Error, Filter, Rejected, block,
    entry::{self, Frame},
    search,
};
use crate::model::{Holds, IntegrationId, RequestId, SeriesId};

/// A reading cannot have come earlier than this before its own time: senders' clocks are wrong, but not by more.
const EARLY_US: i64 = 86_400_000_000;
/// Blocks that one search looks into.
const BLOCKS_MAX: usize = 2_000;
/// Candidates that one search gives.
const CANDIDATES_MAX: usize = 100;
/// Requests refused as a whole around the time that are named.
const REFUSED_MAX: usize = 20;
/// How long after its time a reading is expected, for requests whose contents nobody knows.
const AFTER_US: i64 = 3_600_000_000;

/// A reading that somebody misses.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose.
    pub integration_id: IntegrationId,
    /// The series that it would be of: one, or one for each metric.
    pub series: Vec<SeriesId>,
    /// What the sender calls its equipment.
    pub external_id: Option<String>,
    /// What we call it.
    pub equipment_id: String,
    /// The metric, where it is named.
    pub metric: Option<String>,
    /// Not before, microseconds since the Unix epoch.
    pub from_us: i64,
    /// Before.
    pub to_us: i64,
}

/// A stored batch that has it, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The batch.
    pub batch: Batch,
    /// Whether that is certain.
    pub is_certain: bool,
}

/// A refused entry that is it, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The request.
    pub request_id: RequestId,
    /// When that came, microseconds since the Unix epoch.
    pub at_us: i64,
    /// The entry; none where the request refused more entries than are listed one by one.
    pub entry: Option<Rejected>,
    /// Whether that is certain: metric and time fit, and both are known.
    pub is_certain: bool,
}

/// Everything that the log knows of a reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traced {
    /// In the order of the spool: of one key the last one that has it won.
    pub carried: Vec<Carried>,
    /// Newest first.
    pub refused: Vec<Refused>,
    /// Requests refused as a whole around the time: what they held is not known.
    pub refused_whole: Vec<Entry>,
    /// Whether there was more to look into than one search does.
    pub is_cut: bool,
}

/// Looks for `wanted`.
pub(super) fn trace(connection: &Connection, wanted: &Wanted) -> Result<Traced, Error> {
    let mut traced = Traced::default();
    let mut statement = connection.prepare_cached(
        "SELECT p.first_seq FROM presence p JOIN block b ON b.first_seq = p.first_seq
         WHERE p.integration = ?1 AND b.last_us >= ?2
           AND (p.rejected > 0 OR (p.reading_min_us < ?4 AND p.reading_max_us >= ?3))
         ORDER BY p.first_seq DESC",
    )?;
    let earliest_us = wanted.from_us.saturating_sub(EARLY_US);
    let owner = wanted.integration_id.as_uuid();
    let mut rows = statement.query(params![owner.as_bytes(), earliest_us, wanted.from_us, wanted.to_us])?;
    let mut loaded = 0;
    while let Some(row) = rows.next()? {
        loaded += 1;
        if loaded > BLOCKS_MAX || traced.carried.len() + traced.refused.len() >= CANDIDATES_MAX {
            traced.is_cut = true;
            break;
        }
        let first_seq: u64 = row.get(0)?;
        let raw = block::load(connection, first_seq)?;
        for (seq, kind, body) in block::places(&raw, first_seq) {
            match entry::read(kind, body, seq) {
                Some(Frame::Batch(batch)) => traced.carried.extend(wanted.carried(batch)),
                Some(Frame::Request(entry)) => traced.refused.extend(wanted.refused(&entry)),
                None => {}
            }
        }
    }
    traced.carried.sort_by_key(|carried| carried.batch.position);
    traced.refused.sort_by_key(|refused| std::cmp::Reverse(refused.at_us));
    let filter = Filter {
        integrations: vec![wanted.integration_id],
        status: Some((400, 599)),
        scope: Some(crate::model::Scope::SensorsWrite.as_str().to_owned()),
        from_us: Some(wanted.from_us.saturating_sub(AFTER_US / 6)),
        to_us: Some(wanted.to_us.saturating_add(AFTER_US)),
        ..Filter::default()
    };
    let found = search::page(connection, &filter, None, REFUSED_MAX)?;
    traced.refused_whole = found.entries.into_iter().filter(|entry| entry.counts.is_none()).collect();
    Ok(traced)
}

impl Wanted {
    fn carried(&self, batch: Batch) -> Option<Carried> {
        if batch.integration_id != self.integration_id {
            return None;
        }
        let holds = self.series.iter().map(|series| batch.contents.holds(*series, self.from_us, self.to_us)).max()?;
        (holds != Holds::No).then_some(Carried { batch, is_certain: holds == Holds::Yes })
    }

    fn refused(&self, entry: &Entry) -> Vec<Refused> {
        let counts = entry.counts.unwrap_or_default();
        if entry.integration_id != Some(self.integration_id) || counts.rejected == 0 {
            return Vec::new();
        }
        let (request_id, at_us) = (entry.request_id, entry.at_us);
        let listed = entry.rejected.iter().filter_map(|rejected| {
            let is_certain = self.is_it(rejected)?;
            Some(Refused { request_id, at_us, entry: Some(rejected.clone()), is_certain })
        });
        let mut found: Vec<_> = listed.collect();
        let is_near = (self.from_us - AFTER_US / 6..self.to_us.saturating_add(AFTER_US)).contains(&at_us);
        if found.is_empty() && is_near && counts.rejected as usize > entry.rejected.len() {
            found.push(Refused { request_id, at_us, entry: None, is_certain: false });
        }
        found
    }

    /// Whether `rejected` is the reading: certainly, perhaps, or (none) not.
    fn is_it(&self, rejected: &Rejected) -> Option<bool> {
        let names_it = match (&rejected.external_id, &rejected.equipment_id) {
            (Some(external), _) => self.external_id.as_ref() == Some(external),
            (None, Some(ours)) => self.equipment_id.eq_ignore_ascii_case(ours),
            (None, None) => return None,
        };
        let fits_metric = match (&self.metric, &rejected.metric) {
            (Some(wanted), Some(has)) => wanted == has,
            _ => true,
        };
        let fits_time = rejected.timestamp_us.is_none_or(|time| (self.from_us..self.to_us).contains(&time));
        (names_it && fits_metric && fits_time)
            .then_some(rejected.timestamp_us.is_some() && (self.metric.is_none() || rejected.metric.is_some()))
    }
}
