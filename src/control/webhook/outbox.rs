//! Events on their way in: written for every subscription that wants them, in the transaction of what they tell of.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::queue;
use crate::{
    control::{Control, Equipment, Error, db::Tx},
    model::{DeliveryId, EventId, IntegrationId, RequestId, WebhookEvent, WebhookId},
    telemetry::metrics::WEBHOOK_EVENTS_DROPPED_TOTAL,
};

/// Pieces of equipment that one event names at most, so that its body stays below 20 kB.
const EQUIPMENT_PER_EVENT_MAX: usize = 40;

/// What is sent, in this order.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: String,
    data: Value,
}

/// What happened to readings of one integration in a few seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingsNotice {
    /// Whose.
    pub integration_id: IntegrationId,
    /// [`WebhookEvent::ReadingsRejected`] or [`WebhookEvent::ReadingsQuarantined`].
    pub event: WebhookEvent,
    /// When the first and the last came, microseconds since the Unix epoch.
    pub span_us: (i64, i64),
    /// How many readings.
    pub readings: u64,
    /// By code, as far as known of each.
    pub codes: BTreeMap<&'static str, u64>,
    /// Requests that they came with, and the first of their ids.
    pub requests: u64,
    /// See `requests`.
    pub request_ids: Vec<RequestId>,
}

/// How far an integration has come with its daily quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaNotice {
    /// Whose.
    pub integration_id: IntegrationId,
    /// Days since 1970-01-01.
    pub utc_day: u64,
    /// Requests used.
    pub used: u32,
    /// Of so many.
    pub limit: u32,
}

/// Writes `event` of `integration_id` for each subscription that wants it.
pub(in crate::control) fn emit(
    tx: &Tx<'_>,
    integration_id: IntegrationId,
    event: WebhookEvent,
    data: &Value,
    request_id: Option<RequestId>,
) -> Result<(), Error> {
    let mut statement = tx.prepare_cached(
        "SELECT id FROM webhooks WHERE integration_id = ?1 AND enabled = 1 AND deleted_at_us IS NULL
             AND EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?2)",
    )?;
    let wanted = statement.query_map((integration_id, event), |row| row.get(0))?;
    let event_id = EventId::generate();
    for webhook_id in wanted.collect::<Result<Vec<WebhookId>, _>>()? {
        enqueue(tx, webhook_id, event_id, event, data, request_id)?;
    }
    Ok(())
}

/// Writes one event for one subscription; none: its queue is full, which is counted.
pub(super) fn enqueue(
    tx: &Tx<'_>,
    webhook_id: WebhookId,
    event_id: EventId,
    event: WebhookEvent,
    data: &Value,
    request_id: Option<RequestId>,
) -> Result<Option<DeliveryId>, Error> {
    let queued: u32 = tx
        .prepare_cached("SELECT count(*) FROM webhook_deliveries WHERE webhook_id = ?1 AND state = 'pending'")?
        .query_row([webhook_id], |row| row.get(0))?;
    if queued >= tx.webhook_queue_max {
        metrics::counter!(WEBHOOK_EVENTS_DROPPED_TOTAL, "reason" => "queue_full").increment(1);
        return Ok(None);
    }
    let timestamp = jiff::Timestamp::from_microsecond(tx.now_us).map_or_else(|_| String::new(), |at| at.to_string());
    let body = Body { r#type: event.as_str(), timestamp, data: data.clone() };
    let body = serde_json::to_string(&body).expect("texts and numbers serialise");
    let id = DeliveryId::generate();
    tx.prepare_cached(
        "INSERT INTO webhook_deliveries (id, event_id, webhook_id, type, body, request_id, state, created_at_us,
             next_at_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, ?7)",
    )?
    .execute((id, event_id, webhook_id, event, body, request_id, tx.now_us))?;
    tx.wake_webhooks();
    Ok(Some(id))
}

/// Tells of a step of an integration's life.
pub(in crate::control) fn emit_status(
    tx: &Tx<'_>,
    integration_id: IntegrationId,
    event: WebhookEvent,
    details: &Value,
    request_id: RequestId,
) -> Result<(), Error> {
    let mut data = json!({ "integration_id": integration_id });
    if let (Some(data), Some(details)) = (data.as_object_mut(), details.as_object()) {
        data.extend(details.clone());
    }
    emit(tx, integration_id, event, &data, Some(request_id))
}

/// Tells of a revocation, and ends what waited: of an integration that was Active the last word is still sent; of one
/// that was suspended nothing leaves any more (A16).
pub(in crate::control) fn emit_revoked(
    tx: &Tx<'_>,
    integration_id: IntegrationId,
    was_active: bool,
    request_id: RequestId,
) -> Result<(), Error> {
    let mut statement = tx.prepare_cached("SELECT id FROM webhooks WHERE integration_id = ?1")?;
    let all = statement.query_map([integration_id], |row| row.get(0))?;
    for webhook_id in all.collect::<Result<Vec<WebhookId>, _>>()? {
        queue::discard(tx, webhook_id)?;
    }
    if was_active {
        let details = json!({ "status": "revoked" });
        emit_status(tx, integration_id, WebhookEvent::IntegrationRevoked, &details, request_id)?;
    }
    Ok(())
}

/// Tells of equipment, in as many events as it needs.
pub(in crate::control) fn emit_equipment(
    tx: &Tx<'_>,
    event: WebhookEvent,
    equipment: &[&Equipment],
    request_id: RequestId,
) -> Result<(), Error> {
    let mut by_integration: BTreeMap<IntegrationId, Vec<Value>> = BTreeMap::new();
    for one in equipment {
        let named = json!({ "id": one.id, "external_id": one.external_id });
        by_integration.entry(one.integration_id).or_default().push(named);
    }
    for (integration_id, named) in by_integration {
        for some in named.chunks(EQUIPMENT_PER_EVENT_MAX) {
            let data = json!({ "integration_id": integration_id, "equipment": some });
            emit(tx, integration_id, event, &data, Some(request_id))?;
        }
    }
    Ok(())
}

impl Control {
    /// Writes what happened to readings, summed up, for whoever wants to know. In the background.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn emit_readings_notices(&self, notices: Vec<ReadingsNotice>) -> Result<(), Error> {
        if notices.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            for notice in &notices {
                let (from, to) = notice.span_us;
                let time =
                    |us| jiff::Timestamp::from_microsecond(us).map_or_else(|_| String::new(), |at| at.to_string());
                let data = json!({
                    "integration_id": notice.integration_id,
                    "from": time(from),
                    "to": time(to),
                    "readings": notice.readings,
                    "codes": notice.codes,
                    "requests": notice.requests,
                    "request_ids": notice.request_ids,
                });
                emit(tx, notice.integration_id, notice.event, &data, notice.request_ids.first().copied())?;
            }
            Ok(())
        })
        .await
    }

    /// Writes who has nearly used, or used up, the daily quota: each once a day, also over a restart.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn emit_quota_notices(&self, notices: Vec<QuotaNotice>) -> Result<(), Error> {
        if notices.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            for notice in &notices {
                tell_quota(tx, notice)?;
            }
            Ok(())
        })
        .await
    }
}

impl QuotaNotice {
    /// 1: 80 % are used, 2: all of it; none: less.
    #[must_use]
    pub fn level(&self) -> Option<u8> {
        let (used, limit) = (u64::from(self.used), u64::from(self.limit));
        match () {
            () if limit == 0 || used * 5 < limit * 4 => None,
            () if used < limit => Some(1),
            () => Some(2),
        }
    }
}

fn tell_quota(tx: &Tx<'_>, notice: &QuotaNotice) -> Result<(), Error> {
    let Some(level) = notice.level() else { return Ok(()) };
    let fresh = tx
        .prepare_cached(
            "INSERT INTO webhook_quota_notices (integration_id, utc_day, level)
             SELECT id, ?2, ?3 FROM integrations WHERE id = ?1
             ON CONFLICT (integration_id) DO UPDATE SET utc_day = excluded.utc_day, level = excluded.level
               WHERE (excluded.utc_day, excluded.level) > (utc_day, level)",
        )?
        .execute((notice.integration_id, notice.utc_day, level))?;
    if fresh == 0 {
        return Ok(());
    }
    let event = if level == 1 { WebhookEvent::QuotaNearlyUsed } else { WebhookEvent::QuotaUsedUp };
    let day_us = i64::try_from(notice.utc_day).unwrap_or(0).saturating_mul(86_400_000_000);
    let day = jiff::Timestamp::from_microsecond(day_us).map_or_else(|_| String::new(), |at| at.to_string());
    let data = json!({
        "integration_id": notice.integration_id,
        "utc_day": day.get(..10),
        "used": notice.used,
        "limit": notice.limit,
    });
    emit(tx, notice.integration_id, event, &data, None)
}
