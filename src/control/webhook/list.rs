//! The delivery log of one subscription (S303, S304).

use rusqlite::Connection;

use super::find;
use crate::{
    control::{Control, Error, Page, PageRequest},
    model::{DeliveryId, EventId, IntegrationId, OrganisationId, RequestId, WebhookEvent, WebhookId},
};

/// Keeps the cursors of this list out of others.
const CURSOR: &str = "webhook-deliveries:";
/// Attempts of a delivery that are shown, the newest: replays can make many.
const ATTEMPTS_SHOWN_MAX: u32 = 20;

/// Where a delivery can stand.
pub const DELIVERY_STATES: [&str; 4] = ["pending", "delivered", "dead", "discarded"];

/// An event on its way to a subscription. Times are microseconds (Unix, UTC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDelivery {
    /// Its id, for a replay.
    pub id: DeliveryId,
    /// The event's: the `webhook-id` of every attempt.
    pub event_id: EventId,
    /// What it tells of.
    pub event: WebhookEvent,
    /// One of [`DELIVERY_STATES`].
    pub state: String,
    /// When the event was written.
    pub created_at_us: i64,
    /// When it is tried next, while it is pending.
    pub next_attempt_at_us: Option<i64>,
    /// The call that the event came of.
    pub request_id: Option<RequestId>,
    /// Attempts ever made.
    pub attempts_made: u32,
    /// The newest of them, newest first.
    pub attempts: Vec<WebhookAttempt>,
    seq: i64,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// 1 for the first.
    pub attempt: u32,
    /// When it began.
    pub at_us: i64,
    /// The URL, without its query.
    pub target: String,
    /// The address that was connected to, or would have been.
    pub address: Option<String>,
    /// The status answered.
    pub status: Option<u16>,
    /// The class of error.
    pub error: Option<String>,
    /// From the start to the answer or the error.
    pub latency_us: u64,
    /// The beginning of the answer's body.
    pub response: Option<String>,
}

impl Control {
    /// The deliveries of a subscription, newest first; with `state` only those that stand there.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidParameter`].
    pub async fn webhook_deliveries(
        &self,
        organisation_id: OrganisationId,
        integration_id: IntegrationId,
        id: WebhookId,
        state: Option<&'static str>,
        request: PageRequest,
    ) -> Result<Page<WebhookDelivery>, Error> {
        let limit = request.limit()?;
        let before = request.after(CURSOR)?.map(|key| key.try_into().map(i64::from_be_bytes)).transpose();
        let before = before.map_err(|_| Error::InvalidParameter("cursor is not one that this list gave out"))?;
        self.read(move |connection| {
            find(connection, organisation_id, integration_id, id)?;
            let mut deliveries = deliveries(connection, id, state, before.unwrap_or(i64::MAX), limit + 1)?;
            add_attempts(connection, &mut deliveries)?;
            Ok(Page::cut(deliveries, limit, CURSOR, |one| one.seq.to_be_bytes().to_vec()))
        })
        .await
    }
}

fn deliveries(
    connection: &Connection,
    id: WebhookId,
    state: Option<&'static str>,
    before: i64,
    limit: usize,
) -> Result<Vec<WebhookDelivery>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, id, event_id, type, state, created_at_us, next_at_us, request_id, attempts FROM webhook_deliveries
         WHERE webhook_id = ?1 AND seq < ?2 AND (?3 IS NULL OR state = ?3) ORDER BY seq DESC LIMIT ?4",
    )?;
    let rows = statement.query_map((id, before, state, limit), |row| {
        let state: String = row.get(4)?;
        Ok(WebhookDelivery {
            seq: row.get(0)?,
            id: row.get(1)?,
            event_id: row.get(2)?,
            event: row.get(3)?,
            created_at_us: row.get(5)?,
            next_attempt_at_us: if state == "pending" { Some(row.get(6)?) } else { None },
            state,
            request_id: row.get(7)?,
            attempts_made: row.get(8)?,
            attempts: Vec::new(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn add_attempts(connection: &Connection, deliveries: &mut [WebhookDelivery]) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "SELECT attempt, at_us, target, address, status, error, latency_us, response FROM webhook_attempts
         WHERE delivery_seq = ?1 ORDER BY attempt DESC LIMIT ?2",
    )?;
    for delivery in deliveries {
        let rows = statement.query_map((delivery.seq, ATTEMPTS_SHOWN_MAX), |row| {
            Ok(WebhookAttempt {
                attempt: row.get(0)?,
                at_us: row.get(1)?,
                target: row.get(2)?,
                address: row.get(3)?,
                status: row.get(4)?,
                error: row.get(5)?,
                latency_us: row.get(6)?,
                response: row.get(7)?,
            })
        })?;
        delivery.attempts = rows.collect::<Result<_, _>>()?;
    }
    Ok(())
}
