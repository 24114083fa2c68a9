//! Reading back: a range of one series, as it is or in steps, as JSON in pages or as CSV whole.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    caller::Administrator,
    export::{self, Source},
    parameters::Parameters,
    problem::Problem,
    room_readings,
    series::{Series, named},
    store::ask,
    time,
};
use crate::{
    model::SeriesId,
    store::{self, Bucket, Point, Store},
};

/// Items of a page, at most.
pub(super) const POINTS_MAX: usize = 10_000;
/// Items of a page unless the caller says otherwise.
const POINTS_DEFAULT: usize = 1_000;
/// What is said of a cursor of another list.
pub(super) const UNKNOWN_CURSOR: &str = "cursor must be one that this list gave out.";
/// Keeps the cursors of this list out of others.
const CURSOR: &str = "readings:";
/// Longest step, in seconds: 366 days.
const RESOLUTION_MAX_S: i64 = 366 * 86_400;
/// Gaps in the data that one page of steps jumps over, at most.
const GAPS_MAX: usize = 1_000;

/// A page of readings of one series, earliest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ReadingList {
    items: Vec<Item>,
    /// For `cursor` of the next call; null: this was the last page.
    next_cursor: Option<String>,
}

/// A reading, or with `resolution` what happened within a step.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Item {
    /// One reading.
    Reading {
        /// RFC 3339, UTC.
        timestamp: String,
        /// In the metric's own unit.
        value: f64,
        /// `good`, `uncertain` or `bad`.
        quality: &'static str,
    },
    /// One step; readings of quality `bad` do not count.
    Step {
        /// The beginning of the step.
        timestamp: String,
        /// The mean.
        value: f64,
        min: f64,
        max: f64,
        first: f64,
        last: f64,
        /// Readings in the step.
        count: u64,
    },
}

impl From<Point> for Item {
    fn from(point: Point) -> Self {
        let timestamp = time::format(point.timestamp_us);
        Self::Reading { timestamp, value: point.value, quality: point.quality.as_str() }
    }
}

impl From<Bucket> for Item {
    fn from(bucket: Bucket) -> Self {
        Self::Step {
            timestamp: time::format(bucket.start_us),
            value: bucket.mean,
            min: bucket.min,
            max: bucket.max,
            first: bucket.first,
            last: bucket.last,
            count: bucket.count,
        }
    }
}

/// Which readings of a series, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// Inclusive.
    pub(super) from_us: i64,
    /// Exclusive.
    pub(super) to_us: i64,
    /// Length of a step; none: the readings themselves.
    pub(super) resolution_us: Option<i64>,
}

/// `GET /admin/v1/readings`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let series = Series::named_by(&mut parameters)?;
    let metric = parameters.text("metric")?.ok_or_else(|| Problem::parameter("metric must be given."))?;
    let from_us = parameters.time("from")?.unwrap_or(i64::MIN);
    let to_us = parameters.time("to")?.unwrap_or(i64::MAX);
    let resolution_us = parameters.read("resolution", "seconds, or for example 30s, 5m, 1h, 1d", resolution)?;
    let is_csv = parameters
        .read("format", "json or csv", |format| match format {
            "json" => Some(false),
            "csv" => Some(true),
            _ => None,
        })?
        .unwrap_or(false);
    let limit = parameters.read("limit", "a whole number from 1 to 10000", points)?;
    let place = parameters.text("cursor")?;
    parameters.finish()?;
    if from_us > to_us {
        return Err(Problem::parameter("from must not be after to."));
    }
    if is_csv && (limit.is_some() || place.is_some()) {
        return Err(Problem::parameter("CSV comes whole: limit and cursor are for JSON."));
    }
    let limit = limit.unwrap_or(POINTS_DEFAULT);
    let range = Range { from_us, to_us, resolution_us };
    if let Series::Many(filter) = series {
        let metric = named(&admin, &metric)?.clone();
        if filter.room.is_none() {
            return Err(Problem::parameter("external_id must be given beside integration_id, or room."));
        }
        if is_csv {
            let source = Source::Many(actor.organisation_id, Box::new(filter), metric);
            return export::csv(&admin, source, range);
        }
        let query = room_readings::Query { organisation_id: actor.organisation_id, filter, metric, from_us, to_us };
        if resolution_us.is_some() {
            return Err(Problem::parameter("Of a room, resolution is for CSV."));
        }
        return room_readings::page(&admin, &query, place.as_deref(), limit).await;
    }
    let cursor = place.map(|text| cursor(&text).ok_or_else(|| Problem::parameter(UNKNOWN_CURSOR))).transpose()?;
    let found = series.found(&admin, actor.organisation_id, &metric).await?;
    if is_csv {
        return export::csv(&admin, Source::One(Box::new(found)), range);
    }
    let page = ask(&admin, move |store| page(store, found.id, range, cursor, limit)).await?;
    Ok(Json(page).into_response())
}

fn points(text: &str) -> Option<usize> {
    text.parse().ok().filter(|limit| (1..=POINTS_MAX).contains(limit))
}

/// `90`, `90s`, `5m`, `1h` or `1d`, in microseconds.
pub(super) fn resolution(text: &str) -> Option<i64> {
    let (number, unit_s) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3_600),
        b'd' => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let seconds = number.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(unit_s)?;
    (1..=RESOLUTION_MAX_S).contains(&seconds).then_some(seconds * 1_000_000)
}

/// The microsecond in a cursor: of the last reading, or the begin of the next step.
pub(super) fn cursor(text: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(i64::from_be_bytes(bytes.strip_prefix(CURSOR.as_bytes())?.try_into().ok()?))
}

fn next_cursor(us: i64) -> String {
    URL_SAFE_NO_PAD.encode([CURSOR.as_bytes(), &us.to_be_bytes()].concat())
}

fn page(
    store: &dyn Store,
    series: SeriesId,
    range: Range,
    cursor: Option<i64>,
    limit: usize,
) -> Result<ReadingList, store::Error> {
    let Range { from_us, to_us, resolution_us } = range;
    let Some(resolution_us) = resolution_us else {
        let points = store.range(series, from_us, to_us, cursor, limit)?;
        let last = points.last().filter(|_| points.len() == limit).map(|point| point.timestamp_us);
        // A full page may be the last one: only a look behind it tells.
        let goes_on = match last {
            Some(last) => !store.range(series, from_us, to_us, Some(last), 1)?.is_empty(),
            None => false,
        };
        let next_cursor = last.filter(|_| goes_on).map(next_cursor);
        return Ok(ReadingList { items: points.into_iter().map(Item::from).collect(), next_cursor });
    };
    let mut steps = Steps { series, next_us: from_us.max(cursor.unwrap_or(i64::MIN)), to_us, resolution_us };
    let mut items = Vec::new();
    for _ in 0..GAPS_MAX {
        let missing = limit - items.len();
        match (missing, steps.some(store, missing.max(1))?) {
            (_, None) => return Ok(ReadingList { items, next_cursor: None }),
            // One more was found behind a full page: it is read again with the next.
            (0, Some(found)) => {
                return Ok(ReadingList {
                    items,
                    next_cursor: found.first().map(|bucket| next_cursor(bucket.start_us)),
                });
            }
            (_, Some(found)) => items.extend(found.into_iter().map(Item::from)),
        }
    }
    Ok(ReadingList { items, next_cursor: Some(next_cursor(steps.next_us)) })
}

/// The steps of a range that have readings, a few at a time. Gaps are jumped over by looking for the next reading, so
/// that a year of nothing costs one look.
pub(super) struct Steps {
    pub(super) series: SeriesId,
    pub(super) next_us: i64,
    pub(super) to_us: i64,
    pub(super) resolution_us: i64,
}

impl Steps {
    /// At least one step and at most `limit`; none: there are no more.
    pub(super) fn some(&mut self, store: &dyn Store, limit: usize) -> Result<Option<Vec<Bucket>>, store::Error> {
        // Readings of quality `bad` make no step: a stretch of them is passed a window at a time.
        while self.next_us < self.to_us {
            let Some(first) = store.range(self.series, self.next_us, self.to_us, None, 1)?.into_iter().next() else {
                return Ok(None);
            };
            let begin_us = first.timestamp_us.div_euclid(self.resolution_us).saturating_mul(self.resolution_us);
            let width_us = self.resolution_us.saturating_mul(i64::try_from(limit).unwrap_or(i64::MAX));
            let end_us = begin_us.saturating_add(width_us).min(self.to_us);
            let from_us = begin_us.max(self.next_us);
            self.next_us = end_us;
            let found = store.downsample(self.series, from_us, end_us, self.resolution_us)?;
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_are_seconds_or_have_a_unit() {
        for (text, seconds) in [
            ("60", Some(60)),
            ("30s", Some(30)),
            ("1m", Some(60)),
            ("5m", Some(300)),
            ("1h", Some(3_600)),
            ("1d", Some(86_400)),
            ("366d", Some(RESOLUTION_MAX_S)),
            ("367d", None),
            ("0", None),
            ("-1", None),
            ("+1m", None),
            ("1.5h", None),
            ("m", None),
            ("", None),
            ("9223372036854775807d", None),
            ("1w", None),
        ] {
            assert_eq!(resolution(text).map(|us| us / 1_000_000), seconds, "{text}");
        }
    }

    #[test]
    fn cursors_come_back_as_they_went() {
        for us in [i64::MIN, -1, 0, 1_767_607_200_000_000, i64::MAX] {
            assert_eq!(cursor(&next_cursor(us)), Some(us));
        }
        assert_eq!(cursor("AAAA"), None);
    }
}
