//! The audit log as a file: NDJSON, which proves itself (`sensorgate audit verify --file`), or CSV for people.

use std::fmt::Write;

use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use super::{
    Admin,
    caller::Administrator,
    export::{self, Sender, cell},
    parameters::Parameters,
    problem::Problem,
    time,
};
use crate::{
    control::{
        Actor,
        audit::{StoredEntry, Target},
    },
    telemetry::task,
};

/// Entries read and written at a time.
const CHUNK_ENTRIES: usize = 500;

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Ndjson,
    Csv,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// `GET /admin/v1/audit-log/export`
pub(super) async fn export(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let format = parameters.read("format", "ndjson or csv", |format| match format {
        "ndjson" => Some(Format::Ndjson),
        "csv" => Some(Format::Csv),
        _ => None,
    })?;
    let format = format.unwrap_or(Format::Ndjson);
    let period = (parameters.time("from")?, parameters.time("to")?);
    parameters.finish()?;
    let permit = export::permit(&admin)?;
    // Written first, so that the file shows at its end who took it (S325).
    let taken =
        json!({ "format": format.name(), "from": time::format_some(period.0), "to": time::format_some(period.1) });
    let log = Target::Organisation(actor.organisation_id);
    admin.control.audit_action(actor, "audit_log_export", log, taken, None).await?;
    let (sender, rows) = export::channel();
    task::spawn("audit_export", async move {
        let _permit = permit;
        if let Err(error) = send(&admin, actor, format, period, &sender).await {
            // In a thread that may wait: the channel can be full.
            drop(tokio::task::spawn_blocking(move || export::break_off(&error, &sender)));
        }
    });
    Ok(match format {
        Format::Ndjson => export::answer(rows, "application/x-ndjson", "attachment; filename=\"audit-log.ndjson\""),
        Format::Csv => export::answer(rows, "text/csv; charset=utf-8", "attachment; filename=\"audit-log.csv\""),
    })
}

async fn send(
    admin: &Admin,
    actor: Actor,
    format: Format,
    period: (Option<i64>, Option<i64>),
    sender: &Sender,
) -> Result<(), crate::control::Error> {
    let mut text = match format {
        Format::Ndjson => String::new(),
        Format::Csv => CSV_HEAD.to_owned(),
    };
    let mut after = 0;
    loop {
        let entries = admin.control.stored_audit(actor.organisation_id, after, period, CHUNK_ENTRIES).await?;
        for entry in &entries {
            match format {
                Format::Ndjson => write_line(&mut text, entry),
                Format::Csv => write_row(&mut text, entry),
            }
            after = entry.seq;
        }
        let is_last = entries.len() < CHUNK_ENTRIES;
        if sender.send(Ok(std::mem::take(&mut text).into())).await.is_err() || is_last {
            return Ok(());
        }
    }
}

/// `entry` is the stored text, byte for byte: what the hash covers.
fn write_line(text: &mut String, entry: &StoredEntry) {
    let StoredEntry { seq, previous, hash, body } = entry;
    writeln!(text, r#"{{"seq":{seq},"previous":"{previous}","hash":"{hash}","entry":{body}}}"#)
        .expect("a text in memory takes any line");
}

const CSV_HEAD: &str =
    "seq,at,actor,actor_integration,action,target_type,target,before,after,reason,ip,request_id,hash\r\n";

fn write_row(text: &mut String, entry: &StoredEntry) {
    // What cannot be read was not written by this program; the proof says so, the row says what there is.
    let body: Value = serde_json::from_str(&entry.body).unwrap_or_default();
    let at = body["at_us"].as_i64().map(time::format).unwrap_or_default();
    write!(text, "{},{at}", entry.seq).expect("a text in memory takes any row");
    let columns = [
        "actor",
        "actor_integration",
        "action",
        "target_type",
        "target",
        "before",
        "after",
        "reason",
        "ip",
        "request_id",
    ];
    for column in columns {
        let value = match &body[column] {
            Value::Null => String::new(),
            Value::String(value) => cell(value),
            value => cell(&value.to_string()),
        };
        text.push(',');
        text.push_str(&value);
    }
    text.push(',');
    text.push_str(&entry.hash);
    text.push_str("\r\n");
}
