//! Many pieces of equipment in one call: partial success, in the shape of the readings' answer (api.md §1).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{body::Fields, equipment::patch, problem::Problem};
use crate::{
    control::{BULK_ITEMS_MAX, BulkCall, BulkSummary, BulkUpsert, EQUIPMENT_LIMIT, FieldError, Refusal},
    model::{EquipmentId, IntegrationId, ProblemCode, RequestId},
};

/// What a bulk call did.
#[derive(Serialize, ToSchema)]
#[schema(as = EquipmentBulkResult)]
pub(crate) struct BulkResult {
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    /// Entries of the call: `accepted` and `rejected` together.
    received: usize,
    accepted: usize,
    /// Of those accepted: registered.
    created: usize,
    /// Of those accepted: changed.
    updated: usize,
    /// Of those accepted: as they were already.
    unchanged: usize,
    rejected: usize,
    /// The accepted entries, by index.
    items: Vec<BulkItem>,
    /// The rejected entries, by index.
    errors: Vec<BulkError>,
}

/// An entry that was accepted.
#[derive(Serialize, ToSchema)]
#[schema(as = EquipmentBulkItem)]
pub(crate) struct BulkItem {
    /// Its place in the call, from 0.
    index: usize,
    #[schema(value_type = String, format = Uuid)]
    id: EquipmentId,
    external_id: Option<String>,
}

/// An entry that was rejected.
#[derive(Serialize, ToSchema)]
#[schema(as = EquipmentBulkError)]
pub(crate) struct BulkError {
    /// Its place in the call, from 0.
    index: usize,
    /// The field's name and `_invalid`; `unknown_field`, `not_an_object`, `equipment_limit`.
    code: String,
    field: Option<String>,
    message: String,
    /// Whether the same entry can succeed later.
    retryable: bool,
}

impl From<Refusal> for BulkError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { index, error: FieldError { field, message } } = refusal;
        let (code, field) = match field.as_str() {
            "" => ("not_an_object".to_owned(), None),
            EQUIPMENT_LIMIT => (EQUIPMENT_LIMIT.to_owned(), None),
            known if KNOWN_FIELDS.contains(&known) => (format!("{known}_invalid"), Some(field)),
            _ => ("unknown_field".to_owned(), Some(field)),
        };
        Self { index, code, field, message, retryable: false }
    }
}

const KNOWN_FIELDS: &[&str] =
    &["columns", "id", "integration_id", "kind", "type", "external_id", "name", "room", "location", "status"];

/// The entries of a call, each readable or refused.
pub(crate) struct Batch {
    /// Entries of the call.
    pub(crate) received: usize,
    /// What is to be done with them.
    pub(crate) call: BulkCall,
}

impl Batch {
    /// Reads `{"equipment":[…]}`; `owner` gives the integration of an entry.
    pub(crate) fn read(body: &[u8], owner: impl Fn(&mut Fields) -> Option<IntegrationId>) -> Result<Self, Problem> {
        let mut fields = Fields::read(body)?;
        let Some(entries) = fields.list("equipment") else {
            if !fields.has_refusals() {
                fields.refuse::<()>("equipment", "must be given");
            }
            return Err(Problem::fields(fields.refusals()));
        };
        fields.finish()?;
        match entries.len() {
            0 => return Err(Problem::new(ProblemCode::EmptyBatch).with_detail("The list of equipment is empty.")),
            1..=BULK_ITEMS_MAX => {}
            _ => {
                let detail = "At most 500 pieces of equipment in one call; nothing was saved.";
                return Err(Problem::new(ProblemCode::BatchTooLarge).with_detail(detail));
            }
        }
        let received = entries.len();
        let (mut good, mut refused) = (Vec::with_capacity(received), Vec::new());
        for (index, entry) in entries.into_iter().enumerate() {
            match read(entry, &owner) {
                Ok(upsert) => good.push((index, upsert)),
                Err(error) => refused.push(Refusal { index, error }),
            }
        }
        let body_hash = hex::encode(Sha256::digest(body));
        Ok(Self { received, call: BulkCall { entries: good, refused, body_hash, validate_only: false } })
    }
}

/// What became of the entries: 200, 207 or 422.
pub(crate) fn answer(request_id: RequestId, received: usize, summary: BulkSummary) -> Response {
    let (accepted, rejected) = (summary.accepted.len(), summary.rejected.len());
    let status = status_of(accepted, rejected);
    let item = |one: crate::control::UpsertedEquipment| BulkItem {
        index: one.index,
        id: one.equipment.id,
        external_id: one.equipment.external_id,
    };
    let result = BulkResult {
        request_id,
        received,
        accepted,
        created: summary.created,
        updated: summary.updated,
        unchanged: summary.unchanged,
        rejected,
        items: summary.accepted.into_iter().map(item).collect(),
        errors: summary.rejected.into_iter().map(BulkError::from).collect(),
    };
    (status, Json(result)).into_response()
}

/// As a batch of readings answers (A32).
pub(crate) fn status_of(accepted: usize, rejected: usize) -> StatusCode {
    match (accepted, rejected) {
        (_, 0) => StatusCode::OK,
        (0, _) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::MULTI_STATUS,
    }
}

/// One entry, or the first thing wrong with it.
fn read(entry: Value, owner: impl Fn(&mut Fields) -> Option<IntegrationId>) -> Result<BulkUpsert, FieldError> {
    let Value::Object(object) = entry else {
        return Err(FieldError::new("", "must be an object"));
    };
    let mut fields = Fields::of(object, String::new());
    let upsert = BulkUpsert {
        id: fields.id::<EquipmentId>("id"),
        integration_id: owner(&mut fields),
        fields: patch(&mut fields),
    };
    match fields.refusals().into_iter().next() {
        None => Ok(upsert),
        Some(error) => Err(FieldError::new(error.field, error.message)),
    }
}
