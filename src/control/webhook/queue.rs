//! The queue on its way out: what is due, what became of it, and what is thrown away.

use std::{collections::HashSet, net::IpAddr};

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::{
    find_live, judge, outbox,
    secret::{Sealed, WebhookSecret},
};
use crate::{
    control::{
        Control, Error, Registrar,
        audit::{self, AuditEntry, Target},
        db::{Tx, now_us},
        webhook::secret::Keys,
    },
    model::{DeliveryId, EventId, IntegrationId, OrganisationId, RequestId, WebhookEvent, WebhookId},
};

/// Deliveries that one step of the clean-up looks at, so that the writer is never held for long.
const CLEAN_UP_ROWS: u32 = 500;

/// Something to send now.
#[derive(Debug, Clone)]
pub struct DueDelivery {
    /// Its number in the queue.
    pub seq: i64,
    /// The event: `webhook-id`.
    pub event_id: EventId,
    /// To whom.
    pub webhook_id: WebhookId,
    /// Whose.
    pub integration_id: IntegrationId,
    /// Where to.
    pub url: String,
    /// Signs it; none: the key that opens it is gone.
    pub secret: Option<WebhookSecret>,
    /// What is sent, to the byte.
    pub body: String,
    /// Attempts of the schedule that have failed.
    pub failures: u32,
    /// Somebody asked for it: one attempt, no more.
    pub is_replay: bool,
}

/// What became of one attempt.
#[derive(Debug, Clone)]
pub struct AttemptReport {
    /// Which delivery.
    pub seq: i64,
    /// When it began, in microseconds (Unix).
    pub at_us: i64,
    /// The URL, without its query.
    pub target: String,
    /// The address that was connected to, or would have been.
    pub address: Option<IpAddr>,
    /// The status answered.
    pub status: Option<u16>,
    /// The class of error.
    pub error: Option<&'static str>,
    /// From the start to the answer or the error.
    pub latency_us: u64,
    /// The beginning of the answer's body.
    pub response: Option<String>,
    /// What follows.
    pub verdict: Verdict,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Delivered,
    /// Again at this time, in microseconds (Unix).
    Retry {
        /// When.
        at_us: i64,
    },
    /// Given up.
    Dead,
    /// Given up, and nothing more is to be sent there: 410.
    Gone,
}

impl Control {
    /// What is to be sent now: of each subscription the oldest, at most `per_target` at a time together with
    /// what is `busy`, and at most `limit` in all. Subscriptions of suspended integrations wait (A16).
    ///
    /// # Errors
    /// Those of the database.
    pub async fn due_webhooks(
        &self,
        busy: HashSet<i64>,
        per_target: usize,
        limit: usize,
    ) -> Result<Vec<DueDelivery>, Error> {
        let keys = self.inner.webhook_keys.clone();
        self.read(move |connection| due(connection, &keys, &busy, per_target, limit)).await
    }

    /// Whether the delivery `seq` still is to be sent, as of now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn webhook_may_be_sent(&self, seq: i64) -> Result<bool, Error> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT EXISTS (
                     SELECT 1 FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
                       JOIN integrations i ON i.id = w.integration_id
                     WHERE d.seq = ?1 AND d.state = 'pending' AND w.enabled = 1 AND w.deleted_at_us IS NULL
                       AND i.status IN ('active', 'revoked'))",
            )?;
            Ok(statement.query_row([seq], |row| row.get(0))?)
        })
        .await
    }

    /// Waits until something may have become due since the last call.
    pub async fn webhooks_woken(&self) {
        self.inner.webhook_wake.notified().await;
    }

    /// Writes down what became of an attempt. A subscription whose attempts have failed for `failing_max_s` seconds
    /// without one that arrived is disabled.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn report_webhook_attempt(&self, report: AttemptReport, failing_max_s: u64) -> Result<(), Error> {
        self.write(move |tx| self::report(tx, &report, failing_max_s)).await
    }

    /// Puts a delivery into the queue once more: a new attempt with the same event id (S310).
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of the person.
    pub async fn replay_webhook_delivery(
        &self,
        actor: impl Into<Registrar>,
        integration_id: IntegrationId,
        id: WebhookId,
        delivery_id: DeliveryId,
    ) -> Result<(), Error> {
        let actor = actor.into();
        self.write(move |tx| {
            judge(tx, &actor, integration_id, "webhook_replay_refused", Target::Webhook(id))?;
            find_live(tx, &actor, integration_id, id, None)?;
            let state: String = tx
                .prepare_cached("SELECT state FROM webhook_deliveries WHERE id = ?1 AND webhook_id = ?2")?
                .query_row((delivery_id, id), |row| row.get(0))
                .optional()?
                .ok_or(Error::NotFound("delivery"))?;
            // What waits for its next attempt keeps the rest of its schedule.
            tx.prepare_cached(
                "UPDATE webhook_deliveries SET next_at_us = ?2, is_replay = (state <> 'pending' OR is_replay),
                     state = 'pending' WHERE id = ?1",
            )?
            .execute((delivery_id, tx.now_us))?;
            tx.wake_webhooks();
            let after = json!({ "integration_id": integration_id, "delivery_id": delivery_id, "state_before": state });
            let entry = actor.entry("webhook_replay", Target::Webhook(id));
            audit::append(tx, AuditEntry { after: Some(after), ..entry })
        })
        .await
    }

    /// Puts a test event into the queue of one subscription.
    ///
    /// # Errors
    /// [`Error::Unready`] for one that is disabled or whose queue is full, and those of the person.
    pub async fn test_webhook(
        &self,
        actor: impl Into<Registrar>,
        integration_id: IntegrationId,
        id: WebhookId,
        request_id: RequestId,
    ) -> Result<DeliveryId, Error> {
        let actor = actor.into();
        self.write(move |tx| {
            judge(tx, &actor, integration_id, "webhook_test_refused", Target::Webhook(id))?;
            let webhook = find_live(tx, &actor, integration_id, id, None)?;
            if !webhook.enabled {
                return Err(Error::Unready("the webhook is disabled: PATCH enabled to true first"));
            }
            let data = json!({ "integration_id": integration_id, "webhook_id": id });
            let event_id = EventId::generate();
            outbox::enqueue(tx, id, event_id, WebhookEvent::Test, &data, Some(request_id))?
                .ok_or(Error::Unready("the queue of the webhook is full"))
        })
        .await
    }

    /// Throws away what waits for a subscription; gives how many (A16).
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of the person.
    pub async fn discard_webhook_queue(
        &self,
        actor: impl Into<Registrar>,
        integration_id: IntegrationId,
        id: WebhookId,
    ) -> Result<u64, Error> {
        let actor = actor.into();
        self.write(move |tx| {
            judge(tx, &actor, integration_id, "webhook_discard_refused", Target::Webhook(id))?;
            find_live(tx, &actor, integration_id, id, None)?;
            let discarded = discard(tx, id)?;
            let after = json!({ "integration_id": integration_id, "discarded": discarded });
            let entry = actor.entry("webhook_discard", Target::Webhook(id));
            audit::append(tx, AuditEntry { after: Some(after), ..entry })?;
            Ok(discarded)
        })
        .await
    }

    /// Gives up what has waited too long, and removes what was logged too long ago. Some rows at a time; says whether
    /// there may be more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn clean_up_webhooks(&self) -> Result<bool, Error> {
        let terms = self.inner.webhook_terms.clone();
        self.write(move |tx| {
            let ago = |s: u64| tx.now_us.saturating_sub(i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(1_000_000));
            let expired = tx
                .prepare_cached(
                    "UPDATE webhook_deliveries SET state = 'dead' WHERE seq IN (
                         SELECT seq FROM webhook_deliveries INDEXED BY webhook_deliveries_old
                         WHERE created_at_us < ?1 AND state = 'pending' AND is_replay = 0 LIMIT ?2)",
                )?
                .execute((ago(terms.queue_retention_s), CLEAN_UP_ROWS))?;
            let old = tx
                .prepare_cached(
                    "DELETE FROM webhook_deliveries WHERE seq IN (
                         SELECT seq FROM webhook_deliveries WHERE created_at_us < ?1 AND state <> 'pending' LIMIT ?2)",
                )?
                .execute((ago(terms.log_retention_s), CLEAN_UP_ROWS))?;
            let many = tx
                .prepare_cached(
                    "DELETE FROM webhook_deliveries WHERE seq IN (
                         SELECT d.seq FROM webhooks w JOIN webhook_deliveries d ON d.webhook_id = w.id
                         WHERE d.state <> 'pending' AND d.seq <= (
                           SELECT seq FROM webhook_deliveries WHERE webhook_id = w.id
                           ORDER BY seq DESC LIMIT 1 OFFSET ?1) LIMIT ?2)",
                )?
                .execute((terms.log_rows_max, CLEAN_UP_ROWS))?;
            Ok([expired, old, many].contains(&(CLEAN_UP_ROWS as usize)))
        })
        .await
    }

    /// Deliveries that wait, of all subscriptions.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn webhook_queue_length(&self) -> Result<u64, Error> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        })
        .await
    }
}

fn due(
    connection: &Connection,
    keys: &Keys,
    busy: &HashSet<i64>,
    per_target: usize,
    limit: usize,
) -> Result<Vec<DueDelivery>, Error> {
    let now_us = now_us();
    let mut targets = connection.prepare_cached(
        "SELECT w.id, w.integration_id, w.url, w.secret_key_id, w.secret_sealed
         FROM webhooks w JOIN integrations i ON i.id = w.integration_id
         WHERE w.enabled = 1 AND w.deleted_at_us IS NULL AND i.status IN ('active', 'revoked')
           AND EXISTS (SELECT 1 FROM webhook_deliveries d
                       WHERE d.webhook_id = w.id AND d.state = 'pending' AND d.next_at_us <= ?1)
         ORDER BY random()",
    )?;
    let mut oldest = connection.prepare_cached(
        "SELECT seq, event_id, body, failures, is_replay FROM webhook_deliveries
         WHERE webhook_id = ?1 AND state = 'pending' AND next_at_us <= ?2 ORDER BY next_at_us, seq LIMIT ?3",
    )?;
    let mut due = Vec::new();
    let mut rows = targets.query([now_us])?;
    while let Some(row) = rows.next()? {
        let webhook_id: WebhookId = row.get(0)?;
        let sealed = Sealed { key_id: row.get(3)?, bytes: row.get(4)? };
        let secret = keys.unseal(webhook_id, &sealed);
        // One that is busy is among the oldest, or is not due: it holds a place only where it is met.
        let mut free = per_target;
        let mut some = oldest.query((webhook_id, now_us, per_target + busy.len()))?;
        while let Some(one) = some.next()? {
            if due.len() == limit || free == 0 {
                break;
            }
            free -= 1;
            let seq = one.get(0)?;
            if busy.contains(&seq) {
                continue;
            }
            due.push(DueDelivery {
                seq,
                event_id: one.get(1)?,
                webhook_id,
                integration_id: row.get(1)?,
                url: row.get(2)?,
                secret: secret.clone(),
                body: one.get(2)?,
                failures: one.get(3)?,
                is_replay: one.get(4)?,
            });
        }
    }
    Ok(due)
}

fn report(tx: &Tx<'_>, report: &AttemptReport, failing_max_s: u64) -> Result<(), Error> {
    let found: Option<(WebhookId, u32)> = tx
        .prepare_cached("SELECT webhook_id, attempts FROM webhook_deliveries WHERE seq = ?1")?
        .query_row([report.seq], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((webhook_id, attempts)) = found else { return Ok(()) };
    tx.prepare_cached(
        "INSERT INTO webhook_attempts (delivery_seq, attempt, at_us, target, address, status, error, latency_us, response)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute((
        report.seq,
        attempts + 1,
        report.at_us,
        &report.target,
        report.address.map(|ip| ip.to_string()),
        report.status,
        report.error,
        report.latency_us,
        &report.response,
    ))?;
    let (state, next_at_us) = match report.verdict {
        Verdict::Delivered => ("delivered", report.at_us),
        Verdict::Retry { at_us } => ("pending", at_us),
        Verdict::Dead | Verdict::Gone => ("dead", report.at_us),
    };
    // What was discarded while it was on its way stays discarded; but it did go out, and the attempt says so.
    tx.prepare_cached(
        "UPDATE webhook_deliveries SET attempts = attempts + 1, failures = failures + ?2,
             state = CASE state WHEN 'pending' THEN ?3 ELSE state END, next_at_us = ?4,
             is_replay = CASE ?3 WHEN 'pending' THEN is_replay ELSE 0 END
         WHERE seq = ?1",
    )?
    .execute((report.seq, report.verdict != Verdict::Delivered, state, next_at_us))?;
    judge_health(tx, webhook_id, report, failing_max_s)
}

/// Keeps since when a subscription fails, and disables it when that is too long, or when the target is gone.
fn judge_health(tx: &Tx<'_>, webhook_id: WebhookId, report: &AttemptReport, failing_max_s: u64) -> Result<(), Error> {
    if report.verdict == Verdict::Delivered {
        tx.prepare_cached(
            "UPDATE webhooks SET failing_since_us = NULL WHERE id = ?1 AND failing_since_us IS NOT NULL",
        )?
        .execute([webhook_id])?;
        return Ok(());
    }
    let (organisation_id, integration_id, since_us, enabled): (OrganisationId, IntegrationId, i64, bool) = tx
        .prepare_cached(
            "UPDATE webhooks SET failing_since_us = coalesce(failing_since_us, ?2) WHERE id = ?1
             RETURNING organisation_id, integration_id, failing_since_us, enabled",
        )?
        .query_one((webhook_id, report.at_us), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let failing_us = report.at_us.saturating_sub(since_us);
    let cause = match report.verdict {
        Verdict::Gone => "gone",
        _ if failing_us / 1_000_000 >= i64::try_from(failing_max_s).unwrap_or(i64::MAX) => "failing",
        _ => return Ok(()),
    };
    if !enabled {
        return Ok(());
    }
    tx.prepare_cached(
        "UPDATE webhooks SET enabled = 0, disabled_cause = ?2, version = version + 1, updated_at_us = ?3 WHERE id = ?1",
    )?
    .execute((webhook_id, cause, tx.now_us))?;
    let after = json!({ "integration_id": integration_id, "enabled": false, "disabled_cause": cause });
    let entry = AuditEntry::by_server(organisation_id, "webhook_disable", Target::Webhook(webhook_id));
    audit::append(tx, AuditEntry { after: Some(after), ..entry })
}

/// Throws away what waits for `id`.
pub(super) fn discard(tx: &Tx<'_>, id: WebhookId) -> Result<u64, Error> {
    let sql = "UPDATE webhook_deliveries SET state = 'discarded' WHERE webhook_id = ?1 AND state = 'pending'";
    Ok(tx.prepare_cached(sql)?.execute([id])? as u64)
}
