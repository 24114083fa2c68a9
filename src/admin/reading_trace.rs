//! Where is my reading? Refused, quarantined, waiting, stored or replaced, and by which request: as exactly as the API
//! log, the store, the quarantine and the spool together know it, and no more than that.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    caller::Administrator,
    parameters::Parameters,
    problem::Problem,
    series::{Series, named},
    store::ask,
    time,
};
use crate::{
    model::{EquipmentId, IntegrationId, Metric, ProblemCode, Reading, RequestId, SeriesId},
    request_log::{Carried, Entry, Refused, Traced, Wanted},
};

/// Longest time that one call looks at, in microseconds: 31 days.
const PERIOD_MAX_US: i64 = 31 * 86_400_000_000;
/// Stored readings of a metric that one call gives.
const POINTS_MAX: usize = 1_000;

/// What is between the spool and the store.
pub trait Delivered: Send + Sync {
    /// The position in the spool up to which everything can be read from the store, or is in quarantine.
    fn written(&self) -> u64;
    /// What of `series` with `from_us` ≤ time < `to_us` the store refused, each with its request and the reason.
    ///
    /// # Errors
    /// When the quarantine cannot be read, in words.
    fn quarantined(
        &self,
        series: &[SeriesId],
        from_us: i64,
        to_us: i64,
    ) -> Result<Vec<(RequestId, Reading, String)>, String>;
}

/// What is known of a reading.
#[derive(Serialize, ToSchema)]
#[schema(as = ReadingTrace)]
pub(super) struct TraceView {
    /// `stored`, `waiting_in_spool`, `quarantined`, `refused`, `perhaps_refused` (entries or whole requests were
    /// refused that may have held it) or `not_seen`.
    outcome: &'static str,
    /// The same in a sentence, with what can be done.
    summary: String,
    #[schema(value_type = String, format = Uuid)]
    integration_id: IntegrationId,
    #[schema(value_type = String, format = Uuid)]
    equipment_id: EquipmentId,
    external_id: Option<String>,
    /// What the store has.
    stored: Vec<StoredView>,
    /// The requests that brought it, in the order in which the store takes them: the last one wins.
    accepted_in: Vec<AcceptedView>,
    /// The entries that were refused.
    refused_in: Vec<RefusedView>,
    /// What the store would not take.
    quarantined: Vec<QuarantinedView>,
    /// Requests of the integration that were refused as a whole around the time, newest first: what they held is not
    /// known.
    refused_requests: Vec<RefusedRequestView>,
    /// Whether everything was looked into; if not, ask for a shorter time.
    complete: bool,
}

/// A stored reading.
#[derive(Serialize, ToSchema)]
#[schema(as = TracedReading)]
pub(super) struct StoredView {
    metric: String,
    timestamp: String,
    value: f64,
    quality: &'static str,
}

/// A request that brought the reading, or may have.
#[derive(Serialize, ToSchema)]
#[schema(as = TracedAcceptance)]
pub(super) struct AcceptedView {
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    received_at: String,
    /// Readings that the request stored.
    accepted: u32,
    /// Position in the spool.
    position: u64,
    /// Whether the batch had the reading for certain; if not, its equipment, metrics and span of time fit.
    certain: bool,
    /// `waiting_in_spool`, `stored`, `replaced`, or `stored_or_replaced` where a later one may have it, too; `absent`
    /// where the store has no such reading (it may have been past its retention, or the batch did not have it).
    state: &'static str,
    /// The later request whose reading took its place, where that is certain.
    #[schema(value_type = Option<String>, format = Uuid)]
    replaced_by: Option<RequestId>,
}

/// A refused entry that was the reading, or may have been.
#[derive(Serialize, ToSchema)]
#[schema(as = TracedRefusal)]
pub(super) struct RefusedView {
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    received_at: String,
    /// Null: the request refused more entries than are listed one by one, and this may be among them.
    index: Option<u32>,
    code: Option<String>,
    metric: Option<String>,
    timestamp: Option<String>,
    certain: bool,
}

/// A reading in quarantine.
#[derive(Serialize, ToSchema)]
#[schema(as = TracedQuarantine)]
pub(super) struct QuarantinedView {
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    metric: Option<String>,
    timestamp: String,
    value: f64,
    reason: String,
}

/// A request refused as a whole.
#[derive(Serialize, ToSchema)]
#[schema(as = TracedRefusedRequest)]
pub(super) struct RefusedRequestView {
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    received_at: String,
    status: u16,
    code: Option<String>,
    cause: Option<String>,
}

/// `GET /admin/v1/readings/trace`
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<TraceView>, Problem> {
    let series = Series::named_by(&mut parameters)?;
    let metric = parameters.text("metric")?;
    let times = [parameters.time("timestamp")?, parameters.time("from")?, parameters.time("to")?];
    parameters.finish()?;
    let (from_us, to_us) = period(times)?;
    let metrics: Vec<Metric> = match &metric {
        Some(name) => vec![named(&admin, name)?.clone()],
        None => admin.metrics.iter().cloned().collect(),
    };
    let equipment = series.equipment(&admin, actor.organisation_id).await?;
    let series: Vec<SeriesId> = metrics.iter().map(|one| SeriesId::new(equipment.number, one.number)).collect();
    // Read before the store: what is written after this shows as stored, never as lost.
    let written = admin.delivered.written();
    let wanted = Wanted {
        integration_id: equipment.integration_id,
        series: series.clone(),
        external_id: equipment.external_id.clone(),
        equipment_id: equipment.id.to_string(),
        metric,
        from_us,
        to_us,
    };
    let traced = admin.request_log.trace(wanted).await?;
    let stored = stored(&admin, metrics, &series, (from_us, to_us)).await?;
    let quarantined = quarantined(&admin, series, (from_us, to_us)).await?;
    let accepted_in = accepted(&traced.carried, written, !stored.is_empty());
    let (outcome, summary) = outcome(&traced, &accepted_in, !stored.is_empty(), !quarantined.is_empty());
    Ok(Json(TraceView {
        outcome,
        summary,
        integration_id: equipment.integration_id,
        equipment_id: equipment.id,
        external_id: equipment.external_id,
        stored,
        accepted_in,
        refused_in: traced.refused.iter().map(RefusedView::from).collect(),
        quarantined,
        refused_requests: traced.refused_whole.iter().map(RefusedRequestView::from).collect(),
        complete: !traced.is_cut,
    }))
}

/// `timestamp`, which is one microsecond, or `from` and `to`.
fn period(times: [Option<i64>; 3]) -> Result<(i64, i64), Problem> {
    match <(Option<i64>, Option<i64>, Option<i64>)>::from(times) {
        (Some(at), None, None) => Ok((at, at.saturating_add(1))),
        (None, Some(from), Some(to)) if from >= to => Err(Problem::parameter("from must be before to.")),
        (None, Some(from), Some(to)) if to.saturating_sub(from) > PERIOD_MAX_US => {
            Err(Problem::parameter("from and to must not be more than 31 days apart."))
        }
        (None, Some(from), Some(to)) => Ok((from, to)),
        _ => Err(Problem::parameter("Give timestamp, or from and to.")),
    }
}

async fn stored(
    admin: &Admin,
    metrics: Vec<Metric>,
    series: &[SeriesId],
    (from_us, to_us): (i64, i64),
) -> Result<Vec<StoredView>, Problem> {
    let series = series.to_vec();
    ask(admin, move |store| {
        let mut found = Vec::new();
        for (metric, series) in metrics.iter().zip(series) {
            let points = store.range(series, from_us, to_us, None, POINTS_MAX)?;
            found.extend(points.into_iter().map(|point| StoredView {
                metric: metric.name.clone(),
                timestamp: time::format(point.timestamp_us),
                value: point.value,
                quality: point.quality.as_str(),
            }));
        }
        Ok(found)
    })
    .await
}

async fn quarantined(
    admin: &Admin,
    series: Vec<SeriesId>,
    (from_us, to_us): (i64, i64),
) -> Result<Vec<QuarantinedView>, Problem> {
    let delivered = std::sync::Arc::clone(&admin.delivered);
    let found = tokio::task::spawn_blocking(move || delivered.quarantined(&series, from_us, to_us)).await;
    let rows = match found {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => {
            tracing::warn!(error, "the quarantine cannot be read");
            return Err(Problem::new(ProblemCode::StorageUnavailable).with_detail("The quarantine cannot be read now."));
        }
        Err(_panic) => return Err(Problem::new(ProblemCode::Internal)),
    };
    let view = |(request_id, reading, reason): (RequestId, Reading, String)| QuarantinedView {
        request_id,
        metric: admin.metrics.by_number(reading.series.metric()).map(|metric| metric.name.clone()),
        timestamp: time::format(reading.timestamp_us),
        value: reading.value,
        reason,
    };
    Ok(rows.into_iter().map(view).collect())
}

/// `carried` stands in the order of the spool: of one key the last batch that has it wins.
fn accepted(carried: &[Carried], written: u64, is_stored: bool) -> Vec<AcceptedView> {
    let state = |place: usize, one: &Carried| {
        let later = &carried[place + 1..];
        let winner = later.iter().rev().find(|other| other.is_certain && other.batch.position <= written);
        if one.batch.position > written {
            ("waiting_in_spool", None)
        } else if !is_stored {
            ("absent", None)
        } else if let Some(winner) = winner {
            ("replaced", Some(winner.batch.request_id))
        } else if later.iter().any(|other| other.batch.position <= written) {
            ("stored_or_replaced", None)
        } else {
            ("stored", None)
        }
    };
    carried
        .iter()
        .enumerate()
        .map(|(place, one)| {
            let (state, replaced_by) = state(place, one);
            AcceptedView {
                request_id: one.batch.request_id,
                received_at: time::format(one.batch.received_at_us),
                accepted: one.batch.accepted,
                position: one.batch.position,
                certain: one.is_certain,
                state,
                replaced_by,
            }
        })
        .collect()
}

fn outcome(
    traced: &Traced,
    accepted: &[AcceptedView],
    is_stored: bool,
    is_quarantined: bool,
) -> (&'static str, String) {
    let waits = accepted.iter().any(|one| one.state == "waiting_in_spool");
    let certainly_refused = traced.refused.iter().any(|refused| refused.is_certain);
    let (outcome, summary) = if is_stored {
        ("stored", "The store has it; the last request in accepted_in brought it.")
    } else if is_quarantined {
        ("quarantined", "It was accepted, and the store would not take it: the reason stands beside it in quarantine.")
    } else if waits {
        ("waiting_in_spool", "It was accepted and is durable in the spool; the store has not taken it yet.")
    } else if certainly_refused {
        ("refused", "Its entry was refused: the code says why, and the sender was told.")
    } else if !traced.refused.is_empty() || !traced.refused_whole.is_empty() {
        (
            "perhaps_refused",
            "It was not stored. Entries or whole requests of that time were refused that may have held it.",
        )
    } else if accepted.is_empty() {
        ("not_seen", "No request that is still in the log brought it. Ask the sender for the request id of its answer.")
    } else {
        ("not_seen", "The requests in accepted_in may have held it, but the store has no such reading.")
    };
    (outcome, summary.to_owned())
}

impl From<&Refused> for RefusedView {
    fn from(refused: &Refused) -> Self {
        let entry = refused.entry.as_ref();
        Self {
            request_id: refused.request_id,
            received_at: time::format(refused.at_us),
            index: entry.map(|entry| entry.index),
            code: entry.map(|entry| entry.code.clone()),
            metric: entry.and_then(|entry| entry.metric.clone()),
            timestamp: time::format_some(entry.and_then(|entry| entry.timestamp_us)),
            certain: refused.is_certain,
        }
    }
}

impl From<&Entry> for RefusedRequestView {
    fn from(entry: &Entry) -> Self {
        Self {
            request_id: entry.request_id,
            received_at: time::format(entry.at_us),
            status: entry.status,
            code: entry.code.clone(),
            cause: entry.cause.clone(),
        }
    }
}
