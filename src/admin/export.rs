//! A range of readings as CSV, streamed whole: the memory that it takes does not grow with the range.

use std::{
    fmt::Write,
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
    model::ProblemCode,
    store::{self, Store},
};

/// Rows read and written at a time.
const CHUNK_ROWS: usize = 2_000;
/// Such chunks that wait for a slow reader.
const CHUNKS_WAITING: usize = 2;
/// Seconds after which a refused export is worth repeating.
const RETRY_AFTER_S: u64 = 5;

/// The answer; the rows follow as the caller reads them.
pub(super) fn csv(admin: &Admin, series: &Found, range: Range) -> Result<Response, Problem> {
    let permit = permit(admin)?;
    let (sender, receiver) = channel();
    let store = Arc::clone(&admin.store);
    let names = Names::of(series);
    drop(spawn_blocking(move || {
        let _permit = permit;
        if let Err(error) = write(&*store, &names, range, &sender) {
            break_off(&error, &sender);
        }
    }));
    Ok(answer(receiver, "text/csv; charset=utf-8", "attachment; filename=\"readings.csv\""))
}

/// One of the exports that may run at once.
pub(super) fn permit(admin: &Admin) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&admin.exports).try_acquire_owned().map_err(|_| {
        let busy = Problem::new(ProblemCode::Overloaded).with_detail("As many exports are running as are allowed.");
        Problem { retry_after_s: Some(RETRY_AFTER_S), ..busy }
    })
}

/// Where an export's thread puts its chunks, and where the answer takes them from.
pub(super) fn channel() -> (Sender, Rows) {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    (sender, Rows(receiver))
}

/// The head of the answer is out: only a broken body can say that it is not whole.
pub(super) fn break_off(error: &(dyn std::error::Error + 'static), sender: &Sender) {
    tracing::error!(error, "an export broke off");
    drop(sender.blocking_send(Err(Broken)));
}

/// The answer with `rows` as its body.
pub(super) fn answer(rows: Rows, content_type: &'static str, disposition: &'static str) -> Response {
    let mut response = Body::new(rows).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response
}

/// What stands in every row.
struct Names {
    columns: String,
}

impl Names {
    fn of(series: &Found) -> Self {
        let equipment = &series.equipment;
        let external_id = equipment.external_id.as_deref().unwrap_or_default();
        let columns = format!(
            ",{},{},{},{}\r\n",
            equipment.id,
            cell(external_id),
            cell(&series.metric.name),
            cell(&series.metric.unit)
        );
        Self { columns }
    }
}

pub(super) type Sender = mpsc::Sender<Result<Bytes, Broken>>;

fn write(store: &dyn Store, names: &Names, range: Range, sender: &Sender) -> Result<(), store::Error> {
    match range.resolution_us {
        None => write_readings(store, names, range, sender),
        Some(resolution_us) => {
            let Range { series, from_us, to_us, .. } = range;
            let steps = Steps { series, next_us: from_us, to_us, resolution_us };
            write_steps(store, names, steps, sender)
        }
    }
}

fn write_readings(store: &dyn Store, names: &Names, range: Range, sender: &Sender) -> Result<(), store::Error> {
    let mut text = String::from("timestamp,value,quality,equipment_id,external_id,metric,unit\r\n");
    let mut after_us = None;
    loop {
        let points = store.range(range.series, range.from_us, range.to_us, after_us, CHUNK_ROWS)?;
        after_us = points.last().map(|point| point.timestamp_us);
        for point in &points {
            let (timestamp, quality) = (time::format(point.timestamp_us), point.quality.as_str());
            write_row(&mut text, format_args!("{timestamp},{},{quality}{}", point.value, names.columns));
        }
        let is_last = points.len() < CHUNK_ROWS;
        if sender.blocking_send(Ok(std::mem::take(&mut text).into())).is_err() || is_last {
            return Ok(());
        }
    }
}

fn write_steps(store: &dyn Store, names: &Names, mut steps: Steps, sender: &Sender) -> Result<(), store::Error> {
    let mut text = String::from("timestamp,value,min,max,first,last,count,equipment_id,external_id,metric,unit\r\n");
    loop {
        let found = steps.some(store, CHUNK_ROWS)?;
        for step in found.iter().flatten() {
            let timestamp = time::format(step.start_us);
            let (mean, min, max, first, last) = (step.mean, step.min, step.max, step.first, step.last);
            let (count, columns) = (step.count, &names.columns);
            write_row(&mut text, format_args!("{timestamp},{mean},{min},{max},{first},{last},{count}{columns}"));
        }
        if sender.blocking_send(Ok(std::mem::take(&mut text).into())).is_err() || found.is_none() {
            return Ok(());
        }
    }
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
