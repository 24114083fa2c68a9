//! The equipment registry as CSV (RFC 4180), out and in again byte for byte.
//!
//! A cell that a spreadsheet would take for a formula, or that begins with an apostrophe itself, is written with an
//! apostrophe in front; one apostrophe in front of a cell is taken away on the way in. So whatever partners call their
//! sensors harms nobody who opens the file, and comes back as it was.

use std::collections::HashMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use csv::{ByteRecord, ReaderBuilder, Terminator, WriterBuilder};
use http::{HeaderMap, header::CONTENT_TYPE};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{
    Admin,
    body::Bounded,
    caller::Administrator,
    export::{self, End, send},
    parameters::Parameters,
    problem::Problem,
};
use crate::{
    control::{BulkCall, BulkSummary, BulkUpsert, Equipment, EquipmentFilter, EquipmentPatch, FieldError, Refusal},
    model::{ProblemCode, RequestId},
    rest::{
        equipment::filter,
        equipment_bulk::{BulkError, status_of},
    },
};

/// The columns, in the order of the export. An import may leave out and reorder.
const COLUMNS: [&str; 9] =
    ["id", "integration_id", "kind", "type", "external_id", "name", "room", "location", "status"];
/// Equipment read and written at a time.
const CHUNK: usize = 1_000;

/// `GET /admin/v1/equipment/export`
pub(super) async fn export(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let integration_id = parameters.id("integration_id")?;
    let filter = EquipmentFilter { integration_id, ..filter(&mut parameters)? };
    parameters.read("format", "csv", |format| (format == "csv").then_some(()))?;
    parameters.finish()?;
    export::streamed(&admin, "attachment; filename=\"equipment.csv\"", move |admin, sender| async move {
        send(&sender, line(COLUMNS)).await?;
        let mut after = None;
        loop {
            let found = admin.control.equipment_after(actor.organisation_id, filter.clone(), after, CHUNK).await;
            let found = found.map_err(End::broken)?;
            let is_last = found.len() < CHUNK;
            after = found.last().map(|equipment| equipment.number).or(after);
            send(
                &sender,
                found.iter().map(|equipment| line(cells(equipment).each_ref().map(String::as_str))).collect(),
            )
            .await?;
            if is_last {
                return Ok(());
            }
        }
    })
}

fn cells(equipment: &Equipment) -> [String; 9] {
    let text = |text: &Option<String>| text.as_deref().map(guarded).unwrap_or_default();
    [
        equipment.id.to_string(),
        equipment.integration_id.to_string(),
        equipment.kind.as_str().to_owned(),
        text(&equipment.type_name),
        text(&equipment.external_id),
        text(&equipment.name),
        text(&equipment.room),
        text(&equipment.location),
        if equipment.retired { "retired" } else { "active" }.to_owned(),
    ]
}

fn line(cells: [&str; 9]) -> String {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(cells).expect("a text in memory takes any row");
    let bytes = writer.into_inner().expect("a text in memory takes any row");
    String::from_utf8(bytes).expect("cells are texts")
}

/// `text` as no spreadsheet takes it for a formula: they look past spaces, and know the wide forms as well.
fn guarded(text: &str) -> String {
    const BEGINNINGS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let is_formula = text.trim_start().starts_with(BEGINNINGS);
    if is_formula || text.starts_with('\'') { format!("'{text}") } else { text.to_owned() }
}

/// The reverse.
fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').unwrap_or(cell)
}

/// What an import did, or would do.
#[derive(Serialize, ToSchema)]
#[schema(as = EquipmentImportResult)]
pub(super) struct ImportResult {
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    /// Whether nothing was saved because nothing should be.
    validate_only: bool,
    /// Rows of the file, without its first line.
    received: usize,
    accepted: usize,
    /// Of those accepted: registered.
    created: usize,
    /// Of those accepted: changed.
    updated: usize,
    /// Of those accepted: as they were already.
    unchanged: usize,
    rejected: usize,
    /// The rejected rows, in the order of the file.
    errors: Vec<ImportError>,
}

/// A row that was rejected.
#[derive(Serialize, ToSchema)]
#[schema(as = EquipmentImportError)]
pub(super) struct ImportError {
    /// The line of the file on which the row begins; the names of the columns are on line 1.
    line: u64,
    #[serde(flatten)]
    error: BulkError,
}

/// `POST /admin/v1/equipment/import`
pub(super) async fn import(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
    headers: HeaderMap,
    Bounded(body): Bounded,
) -> Result<Response, Problem> {
    let validate_only = parameters.read("validate_only", "true or false", |text| text.parse().ok())?.unwrap_or(false);
    parameters.finish()?;
    if !is_csv(&headers) {
        let detail = "Send Content-Type: text/csv.";
        return Err(Problem::new(ProblemCode::UnsupportedMediaType).with_detail(detail));
    }
    let File { lines, mut call } = File::read(&body, admin.config.import_rows_max)?;
    call.validate_only = validate_only;
    let summary = admin.control.bulk_upsert_equipment(actor, call).await?;
    Ok(answer(actor.request_id, validate_only, &lines, summary))
}

fn answer(request_id: RequestId, validate_only: bool, lines: &[u64], summary: BulkSummary) -> Response {
    let (accepted, rejected) = (summary.accepted.len(), summary.rejected.len());
    let error = |refusal: Refusal| ImportError {
        line: lines.get(refusal.index).copied().unwrap_or_default(),
        error: BulkError::from(refusal),
    };
    let result = ImportResult {
        request_id,
        validate_only,
        received: lines.len(),
        accepted,
        created: summary.created,
        updated: summary.updated,
        unchanged: summary.unchanged,
        rejected,
        errors: summary.rejected.into_iter().map(error).collect(),
    };
    (status_of(accepted, rejected), Json(result)).into_response()
}

fn is_csv(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let mut parts = value.split(';').map(str::trim);
        let utf_8 = |charset: &str| charset.trim_matches('"').eq_ignore_ascii_case("utf-8");
        parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("text/csv"))
            && parts.all(|part| part.to_ascii_lowercase().strip_prefix("charset=").is_none_or(utf_8))
    })
}

/// A file, read.
#[derive(Debug)]
struct File {
    /// On which line each row begins.
    lines: Vec<u64>,
    call: BulkCall,
}

impl File {
    fn read(body: &Bytes, rows_max: usize) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(ProblemCode::MalformedCsv).with_detail(detail);
        // Spreadsheets put a byte order mark in front.
        let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(text);
        let header = reader.byte_headers().map_err(|error| malformed(format!("The first line: {error}.")))?.clone();
        let columns = columns(&header).map_err(malformed)?;
        let mut file = Self { lines: Vec::new(), call: BulkCall::default() };
        let (mut record, mut lines) = (ByteRecord::new(), Lines { text, at: 0, line: 1 });
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(malformed(format!("Behind line {}: {error}.", lines.line))),
            }
            if file.lines.len() == rows_max {
                let detail = format!("At most {rows_max} rows in one file; nothing was saved.");
                return Err(Problem::new(ProblemCode::BatchTooLarge).with_detail(detail));
            }
            let index = file.lines.len();
            file.lines.push(lines.of(record.position().map_or(0, csv::Position::byte)));
            match row(&columns, &record) {
                Ok(upsert) => file.call.entries.push((index, upsert)),
                Err(error) => file.call.refused.push(Refusal { index, error }),
            }
        }
        if file.lines.is_empty() {
            return Err(Problem::new(ProblemCode::EmptyBatch).with_detail("The file has no row."));
        }
        file.call.body_hash = hex::encode(Sha256::digest(body));
        Ok(file)
    }
}

/// Counts lines. The reader's own count is off by one behind a CRLF, whose second half it leaves to the next row.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the row that begins at `byte`, or behind the ends of lines there. Later rows are asked for later.
    fn of(&mut self, byte: u64) -> u64 {
        let begin = usize::try_from(byte).unwrap_or(self.text.len()).clamp(self.at, self.text.len());
        let blank = self.text[begin..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = &self.text[self.at..begin + blank];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = begin + blank;
        self.line
    }
}

/// The columns that the first line names.
fn columns(header: &ByteRecord) -> Result<Vec<&'static str>, String> {
    let mut columns = Vec::new();
    for name in header {
        let Some(column) = COLUMNS.into_iter().find(|column| column.as_bytes() == name) else {
            let name = String::from_utf8_lossy(name);
            return Err(format!("The first line names {name:?}, which is none of {}.", COLUMNS.join(", ")));
        };
        if columns.contains(&column) {
            return Err(format!("The first line names {column} twice."));
        }
        columns.push(column);
    }
    if columns.is_empty() {
        return Err(format!("The first line must name columns: {}.", COLUMNS.join(", ")));
    }
    Ok(columns)
}

/// One row, or the first thing wrong with it. A column that the file does not have stays as it is; an empty cell
/// empties the field, and where the field cannot be empty it stays.
fn row(columns: &[&'static str], record: &ByteRecord) -> Result<BulkUpsert, FieldError> {
    if record.len() != columns.len() {
        let message = format!("the row has {} cells, the first line {}", record.len(), columns.len());
        return Err(FieldError::new("columns", message));
    }
    let mut cells = HashMap::new();
    for (column, cell) in columns.iter().zip(record) {
        let text = std::str::from_utf8(cell).map_err(|_| FieldError::new(*column, "must be UTF-8"))?;
        cells.insert(*column, unguarded(text));
    }
    let given = |name: &str| cells.get(name).copied().filter(|cell| !cell.is_empty());
    let nullable =
        |name: &str| cells.get(name).map(|cell| Some(*cell).filter(|cell| !cell.is_empty()).map(str::to_owned));
    let not_an_id = |name: &'static str| FieldError::new(name, "must be an id (UUID)");
    Ok(BulkUpsert {
        id: given("id").map(str::parse).transpose().map_err(|_| not_an_id("id"))?,
        integration_id: given("integration_id").map(str::parse).transpose().map_err(|_| not_an_id("integration_id"))?,
        fields: EquipmentPatch {
            kind: given("kind").map(str::to_owned),
            type_name: nullable("type"),
            external_id: nullable("external_id"),
            name: nullable("name"),
            room: nullable("room"),
            location: nullable("location"),
            status: given("status").map(str::to_owned),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<File, ProblemCode> {
        File::read(&Bytes::copy_from_slice(text.as_bytes()), 3).map_err(|problem| problem.code)
    }

    #[test]
    fn a_file_needs_known_columns_and_rows() {
        for (text, code) in [
            ("", ProblemCode::MalformedCsv),
            ("kind;name\r\nsensor;a\r\n", ProblemCode::MalformedCsv),
            ("kind,colour\r\n", ProblemCode::MalformedCsv),
            ("kind,kind\r\n", ProblemCode::MalformedCsv),
            ("kind,name\r\n", ProblemCode::EmptyBatch),
            ("kind\r\na\r\nb\r\nc\r\nd\r\n", ProblemCode::BatchTooLarge),
        ] {
            assert_eq!(read(text).err(), Some(code), "{text:?}");
        }
    }

    #[test]
    fn rows_know_their_lines_and_bad_ones_harm_no_neighbour() {
        let text = "\u{feff}kind,name,id\nsensor,\"two\nlines\",\n\nsensor,x\nsensor,,nobody\n";
        assert_eq!(read(&text.replace('\n', "\r\n")).expect("a file").lines, [2, 5, 6]);
        let file = read(text).expect("a file");
        assert_eq!(file.lines, [2, 5, 6]);
        let refused: Vec<_> = file.call.refused.iter().map(|one| (one.index, one.error.field.as_str())).collect();
        assert_eq!(refused, [(1, "columns"), (2, "id")]);
        assert_eq!(file.call.entries[0].1.fields.name, Some(Some("two\nlines".to_owned())));
        assert_eq!(file.call.entries[0].1.fields.room, None, "a column that is not there");
    }

    #[test]
    fn types_of_csv_are_told_apart() {
        for (value, good) in [
            ("text/csv", true),
            ("Text/CSV; charset=UTF-8; header=present", true),
            ("text/csv; charset=latin1", false),
            ("application/json", false),
            ("text/csvx", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(is_csv(&headers), good, "{value}");
        }
    }

    proptest! {
        // S282: whatever a text is, it comes back byte for byte, and no spreadsheet computes with it.
        #[test]
        fn a_cell_comes_back_as_it_went(text in "[=+@' \\-\t\"',a-c＝é]{0,12}") {
            let written = line([&guarded(&text), "b", "", "", "", "", "", "", "active"]);
            let mut reader = ReaderBuilder::new().has_headers(false).from_reader(written.as_bytes());
            let record = reader.byte_records().next().unwrap().unwrap();
            let cell = std::str::from_utf8(&record[0]).unwrap();
            prop_assert_eq!(unguarded(cell), text);
            prop_assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '＝']), "{}", cell);
        }
    }
}
