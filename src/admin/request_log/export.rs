//! The API log whole, as NDJSON or CSV: streamed, so that its memory does not grow with what is found (S295).

use std::{fmt::Write, ops::ControlFlow};

use axum::response::Response;

use super::{EntryView, Prefixes};
use crate::{
    admin::{
        Admin,
        export::{Sender, answer, break_off, cell, channel, permit},
        problem::Problem,
    },
    request_log::{Entry, Filter},
    telemetry::task,
};

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180, safe for spreadsheets.
    Csv,
}

const COLUMNS: &str = "request_id,client_request_id,at,latency_us,transport,integration_id,key_prefix,ip,method,route,scope,\
    scope_outcome,status,code,cause,message,body_bytes,received,accepted,duplicates,rejected\r\n";

impl Format {
    /// None for `json`, which comes in pages.
    pub(super) fn parse(text: &str) -> Option<Option<Self>> {
        match text {
            "json" => Some(None),
            "ndjson" => Some(Some(Self::Ndjson)),
            "csv" => Some(Some(Self::Csv)),
            _ => None,
        }
    }
}

/// The answer; the rows follow as the caller reads them.
pub(super) async fn stream(admin: &Admin, filter: Filter, format: Format) -> Result<Response, Problem> {
    let permit = permit(admin)?;
    // All keys of those integrations: an export does not ask the control plane for each chunk.
    let prefixes = admin.control.all_key_prefixes(filter.integrations.clone()).await?;
    let (sender, rows) = channel();
    let log = admin.request_log.clone();
    task::spawn("request_log_export", async move {
        let _permit = permit;
        if format == Format::Csv && sender.send(Ok(COLUMNS.into())).await.is_err() {
            return;
        }
        let to = sender.clone();
        let exported = log.export(filter, move |entries| hand_over(&entries, &prefixes, format, &to)).await;
        if let Err(error) = exported {
            drop(tokio::task::spawn_blocking(move || break_off(&error, &sender)).await);
        }
    });
    Ok(match format {
        Format::Ndjson => answer(rows, "application/x-ndjson", "attachment; filename=\"request-log.ndjson\""),
        Format::Csv => answer(rows, "text/csv; charset=utf-8", "attachment; filename=\"request-log.csv\""),
    })
}

fn hand_over(entries: &[Entry], prefixes: &Prefixes, format: Format, to: &Sender) -> ControlFlow<()> {
    let mut text = String::new();
    for entry in entries {
        let view = EntryView::new(entry, prefixes);
        match format {
            Format::Ndjson => {
                text += &serde_json::to_string(&view).expect("texts and numbers can be written as JSON");
                text.push('\n');
            }
            Format::Csv => write_row(&view, &mut text),
        }
    }
    if text.is_empty() || to.blocking_send(Ok(text.into())).is_ok() {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

fn write_row(view: &EntryView, text: &mut String) {
    let some = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
    let number = |count: Option<u32>| count.map_or_else(String::new, |count| count.to_string());
    let cells = [
        view.request_id.to_string(),
        some(&view.client_request_id),
        view.at.clone(),
        view.latency_us.to_string(),
        view.transport.clone(),
        view.integration_id.map_or_else(String::new, |id| id.to_string()),
        some(&view.key_prefix),
        view.ip.clone(),
        cell(&view.method),
        view.route.clone(),
        some(&view.scope),
        view.scope_outcome.unwrap_or_default().to_owned(),
        view.status.to_string(),
        some(&view.code),
        some(&view.cause),
        some(&view.message),
        view.body_bytes.to_string(),
        number(view.received),
        number(view.accepted),
        number(view.duplicates),
        number(view.rejected),
    ];
    write!(text, "{}\r\n", cells.join(",")).expect("a text in memory takes any row");
}
