//! Ranges of readings as CSV, streamed whole: the memory that it takes does not grow with the range.

use std::{
    error::Error,
    fmt::Write,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderValue,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE},
};
use http_body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::spawn_blocking,
};

use super::{
    Admin,
    problem::Problem,
    readings::{Range, Steps},
    series::Found,
    time,
};
use crate::{
    control::{Equipment, EquipmentFilter},
    model::{Metric, OrganisationId, ProblemCode, SeriesId},
    store::Store,
    telemetry::task,
};

/// Equipment looked up at a time.
const CHUNK_EQUIPMENT: usize = 500;
/// Rows read and written at a time.
const CHUNK_ROWS: usize = 2_000;
/// Such chunks that wait for a slow reader.
const CHUNKS_WAITING: usize = 2;
/// Seconds after which a refused export is worth repeating.
const RETRY_AFTER_S: u64 = 5;

/// One series, or one metric of everything that a filter lets through.
pub(super) enum Source {
    One(Box<Found>),
    Many(OrganisationId, Box<EquipmentFilter>, Metric),
}

/// The answer; the rows follow as the caller reads them, series by series. `range` is that of each series.
pub(super) fn csv(admin: &Admin, source: Source, range: Range) -> Result<Response, Problem> {
    streamed(admin, "attachment; filename=\"readings.csv\"", move |admin, sender| async move {
        send(&sender, head(range).to_owned()).await?;
        let (organisation_id, filter, metric) = match source {
            Source::One(found) => return write(&admin, found.equipment, found.metric, range, sender).await,
            Source::Many(organisation_id, filter, metric) => (organisation_id, *filter, metric),
        };
        let mut after = None;
        loop {
            let found = admin.control.equipment_after(organisation_id, filter.clone(), after, CHUNK_EQUIPMENT).await;
            let found = found.map_err(End::broken)?;
            let is_last = found.len() < CHUNK_EQUIPMENT;
            after = found.last().map(|equipment| equipment.number).or(after);
            for equipment in found {
                write(&admin, equipment, metric.clone(), range, sender.clone()).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    })
}

/// A CSV file that `write` makes while the caller reads it.
pub(super) fn streamed<F, W>(admin: &Admin, disposition: &'static str, write: F) -> Result<Response, Problem>
where
    F: FnOnce(Admin, Sender) -> W,
    W: Future<Output = Result<(), End>> + Send + 'static,
{
    let permit = permit(admin)?;
    let (sender, rows) = channel();
    let writing = write(admin.clone(), sender.clone());
    task::spawn("export", async move {
        let _permit = permit;
        if let Err(End::Broken(error)) = writing.await {
            said(&*error);
            drop(sender.send(Err(Broken)).await);
        }
    });
    Ok(answer(rows, "text/csv; charset=utf-8", disposition))
}

/// One of the exports that may run at once.
pub(super) fn permit(admin: &Admin) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&admin.exports).try_acquire_owned().map_err(|_| {
        let busy = Problem::new(ProblemCode::Overloaded).with_detail("As many exports are running as are allowed.");
        Problem { retry_after_s: Some(RETRY_AFTER_S), ..busy }
    })
}

/// Where an export puts its chunks, and where the answer takes them from.
pub(super) fn channel() -> (Sender, Rows) {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    (sender, Rows(receiver))
}

/// The head of the answer is out: only a broken body can say that it is not whole.
pub(super) fn break_off(error: &(dyn Error + 'static), sender: &Sender) {
    said(error);
    drop(sender.blocking_send(Err(Broken)));
}

fn said(error: &(dyn Error + 'static)) {
    tracing::error!(error, "an export broke off");
}

/// The answer with `rows` as its body.
pub(super) fn answer(rows: Rows, content_type: &'static str, disposition: &'static str) -> Response {
    let mut response = Body::new(rows).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response
}

/// Why an export ends before its last row.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody reads it any more.
    Unread,
    /// What it is made of cannot be read.
    Broken(Box<dyn Error + Send + Sync>),
}

impl End {
    pub(super) fn broken(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Broken(Box::new(error))
    }
}

/// Hands `text` to the reader, however slow they are.
pub(super) async fn send(sender: &Sender, text: String) -> Result<(), End> {
    sender.send(Ok(text.into())).await.map_err(|_| End::Unread)
}

fn head(range: Range) -> &'static str {
    if range.resolution_us.is_some() {
        "timestamp,value,min,max,first,last,count,equipment_id,external_id,metric,unit\r\n"
    } else {
        "timestamp,value,quality,equipment_id,external_id,metric,unit\r\n"
    }
}

/// The rows of one series, read on a blocking thread.
async fn write(admin: &Admin, equipment: Equipment, metric: Metric, range: Range, sender: Sender) -> Result<(), End> {
    let store = Arc::clone(&admin.store);
    let written = spawn_blocking(move || {
        let series = SeriesId::new(equipment.number, metric.number);
        let names = Names::of(&equipment, &metric);
        match range.resolution_us {
            None => write_readings(&*store, &names, series, range, &sender),
            Some(resolution_us) => {
                let Range { from_us, to_us, .. } = range;
                write_steps(&*store, &names, Steps { series, next_us: from_us, to_us, resolution_us }, &sender)
            }
        }
    });
    written.await.map_err(End::broken)?
}

/// What stands in every row.
struct Names {
    columns: String,
}

impl Names {
    fn of(equipment: &Equipment, metric: &Metric) -> Self {
        let external_id = equipment.external_id.as_deref().unwrap_or_default();
        let columns =
            format!(",{},{},{},{}\r\n", equipment.id, cell(external_id), cell(&metric.name), cell(&metric.unit));
        Self { columns }
    }
}

/// The way to the reader.
pub(super) type Sender = mpsc::Sender<Result<Bytes, Broken>>;

fn write_readings(
    store: &dyn Store,
    names: &Names,
    series: SeriesId,
    range: Range,
    sender: &Sender,
) -> Result<(), End> {
    let (mut text, mut after_us) = (String::new(), None);
    loop {
        let points = store.range(series, range.from_us, range.to_us, after_us, CHUNK_ROWS).map_err(End::broken)?;
        after_us = points.last().map(|point| point.timestamp_us);
        for point in &points {
            let (timestamp, quality) = (time::format(point.timestamp_us), point.quality.as_str());
            write_row(&mut text, format_args!("{timestamp},{},{quality}{}", point.value, names.columns));
        }
        sender.blocking_send(Ok(std::mem::take(&mut text).into())).map_err(|_| End::Unread)?;
        if points.len() < CHUNK_ROWS {
            return Ok(());
        }
    }
}

fn write_steps(store: &dyn Store, names: &Names, mut steps: Steps, sender: &Sender) -> Result<(), End> {
    let mut text = String::new();
    while let Some(found) = steps.some(store, CHUNK_ROWS).map_err(End::broken)? {
        for step in found {
            let timestamp = time::format(step.start_us);
            let (mean, min, max, first, last) = (step.mean, step.min, step.max, step.first, step.last);
            let (count, columns) = (step.count, &names.columns);
            write_row(&mut text, format_args!("{timestamp},{mean},{min},{max},{first},{last},{count}{columns}"));
        }
        sender.blocking_send(Ok(std::mem::take(&mut text).into())).map_err(|_| End::Unread)?;
    }
    Ok(())
}

fn write_row(text: &mut String, row: std::fmt::Arguments<'_>) {
    text.write_fmt(row).expect("a text in memory takes any row");
}

/// A text as a CSV cell (RFC 4180) that no spreadsheet takes for a formula: partners choose their external ids.
pub(super) fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let safe = if is_formula { format!("'{text}") } else { text.to_owned() };
    if safe.contains([',', '"', '\n', '\r']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

/// The store could not be read to the end.
#[derive(Debug, thiserror::Error)]
#[error("the export broke off")]
pub(super) struct Broken;

/// Rows as the thread that reads the store hands them over.
pub(super) struct Rows(mpsc::Receiver<Result<Bytes, Broken>>);

impl http_body::Body for Rows {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_is_quoted_and_never_a_formula() {
        for (text, expected) in [
            ("AA:BB:01", "AA:BB:01"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("@SUM(1)", "'@SUM(1)"),
            ("-2", "'-2"),
            ("+1", "'+1"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1,2", "\"'=1,2\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected, "{text}");
        }
    }
}
