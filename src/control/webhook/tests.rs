use std::collections::HashSet;

use rusqlite::Connection;

use super::*;
use crate::{
    control::{
        EquipmentPatch, PageRequest,
        integration::{ReactivateWith, SuspendCategory},
        tests::{Bed, embedded},
    },
    model::{DeliveryId, webhook::TargetRules},
};

fn target(url: &str) -> WebhookTarget {
    WebhookTarget::parse(url, &TargetRules { allow_private: true, ..TargetRules::default() }).unwrap()
}

fn wanting(events: &[WebhookEvent]) -> NewWebhook {
    NewWebhook {
        target: target("https://receiver.example.com/hook"),
        events: events.iter().map(|event| event.as_str().to_owned()).collect(),
        description: None,
    }
}

/// An active integration of a bed with two administrators.
async fn active(bed: &Bed) -> (crate::control::Actor, crate::control::Actor, IntegrationId) {
    let (ann, bob) = (bed.administrator().await, bed.administrator().await);
    let id = bed.active(ann, bob).await.0.id;
    (ann, bob, id)
}

async fn log(bed: &Bed, integration_id: IntegrationId, id: WebhookId) -> Vec<WebhookDelivery> {
    bed.control
        .webhook_deliveries(bed.organisation_id, integration_id, id, None, PageRequest::default())
        .await
        .unwrap()
        .items
}

async fn due(bed: &Bed) -> Vec<DueDelivery> {
    bed.control.due_webhooks(HashSet::new(), 10, 100).await.unwrap()
}

fn report(due: &DueDelivery, verdict: Verdict, at_us: i64) -> AttemptReport {
    AttemptReport {
        seq: due.seq,
        at_us,
        target: "https://receiver.example.com/hook".to_owned(),
        address: Some("192.0.2.7".parse().unwrap()),
        status: Some(500),
        error: Some("status"),
        latency_us: 5,
        response: None,
        verdict,
    }
}

fn sensor(external_id: &str) -> EquipmentPatch {
    EquipmentPatch {
        kind: Some("sensor".to_owned()),
        external_id: Some(Some(external_id.to_owned())),
        ..EquipmentPatch::default()
    }
}

// An event is written with its change or not at all; only by those who want it.
#[tokio::test]
async fn no_change_without_its_event_and_no_event_without_its_change() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob, id) = active(&bed).await;
    let all: Vec<WebhookEvent> = WebhookEvent::subscribable().collect();
    let (every, _) = bed.control.create_webhook(ann, id, wanting(&all)).await.unwrap();
    let (one, _) = bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::EquipmentRetired])).await.unwrap();
    let made = bed.control.create_equipment(ann, Some(id), sensor("a")).await.unwrap();
    // Refused: the external id is taken.
    assert!(bed.control.create_equipment(ann, Some(id), sensor("a")).await.is_err());
    let named = EquipmentPatch { name: Some(Some("Bench 4".to_owned())), ..EquipmentPatch::default() };
    bed.control.update_equipment(ann, made.id, named.clone(), None).await.unwrap();
    // Nothing changes.
    bed.control.update_equipment(ann, made.id, named, None).await.unwrap();
    let retired = EquipmentPatch { status: Some("retired".to_owned()), ..EquipmentPatch::default() };
    bed.control.update_equipment(ann, made.id, retired, None).await.unwrap();
    bed.control.regenerate_key(ann, id, None, None).await.unwrap();
    bed.control.suspend(ann, id, None, "odd".to_owned(), Some(SuspendCategory::ContractPause)).await.unwrap();
    // Refused: who suspended.
    assert!(bed.control.reactivate(ann, id, None, ReactivateWith::Generate, None).await.is_err());
    bed.control.reactivate(bob, id, None, ReactivateWith::Generate, None).await.unwrap();
    let mut told: Vec<&str> = log(&bed, id, every.id).await.iter().map(|one| one.event.as_str()).collect();
    told.reverse();
    let expected = [
        "equipment.created",
        "equipment.updated",
        "equipment.retired",
        "integration.key_regenerated",
        "integration.suspended",
        "integration.reactivated",
    ];
    assert_eq!(told, expected);
    assert_eq!(log(&bed, id, one.id).await.len(), 1);
    bed.control.revoke(ann, id, None, None).await.unwrap();
    let newest = log(&bed, id, every.id).await;
    assert_eq!((newest[0].event, newest[0].state.as_str()), (WebhookEvent::IntegrationRevoked, "pending"));
    assert!(newest[1..].iter().all(|one| one.state == "discarded"));
}

// S120: what waits for a suspended integration is not due; each subscription gets its turn, the oldest first.
#[tokio::test]
async fn what_is_due() {
    let bed = Bed::new(embedded()).await;
    let (ann, bob, id) = active(&bed).await;
    let mut webhooks = Vec::new();
    for _ in 0..2 {
        webhooks
            .push(bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::EquipmentCreated])).await.unwrap().0.id);
    }
    for name in ["a", "b", "c"] {
        bed.control.create_equipment(ann, Some(id), sensor(name)).await.unwrap();
    }
    let all = due(&bed).await;
    assert_eq!(all.len(), 6);
    let one_each = bed.control.due_webhooks(HashSet::new(), 1, 100).await.unwrap();
    assert_eq!(one_each.len(), 2);
    assert!(one_each.iter().all(|one| one.body.contains("\"a\"") && one.secret.is_some()));
    let busy: HashSet<i64> = one_each.iter().map(|one| one.seq).collect();
    assert_eq!(bed.control.due_webhooks(busy.clone(), 1, 100).await.unwrap().len(), 0, "each has one on its way");
    let second = bed.control.due_webhooks(busy, 2, 100).await.unwrap();
    assert!(second.len() == 2 && second.iter().all(|one| one.body.contains("\"b\"")), "{second:?}");
    assert_eq!(bed.control.due_webhooks(HashSet::new(), 10, 4).await.unwrap().len(), 4);
    let far_us = crate::control::db::now_us() + 60_000_000;
    let later = report(&all[0], Verdict::Retry { at_us: far_us }, 0);
    bed.control.report_webhook_attempt(later, 1_000_000_000_000).await.unwrap();
    assert_eq!(due(&bed).await.len(), 5);
    bed.control.suspend(ann, id, None, "odd".to_owned(), None).await.unwrap();
    assert_eq!(due(&bed).await.len(), 0);
    assert!(!bed.control.webhook_may_be_sent(all[1].seq).await.unwrap());
    bed.control.reactivate(bob, id, None, ReactivateWith::Generate, None).await.unwrap();
    assert_eq!(due(&bed).await.len(), 5);
    let off = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
    bed.control.update_webhook(ann, id, webhooks[0], off, None).await.unwrap();
    let rest = due(&bed).await;
    assert!(rest.iter().all(|one| one.webhook_id == webhooks[1]));
    bed.control.delete_webhook(ann, id, webhooks[1], None).await.unwrap();
    assert_eq!(due(&bed).await.len(), 0);
    assert!(!bed.control.webhook_may_be_sent(rest[0].seq).await.unwrap());
}

// S310: who fails for too long, or says 410, is disabled, and that stands in the audit log.
#[tokio::test]
async fn a_target_that_fails_for_too_long_is_disabled() {
    let bed = Bed::new(embedded()).await;
    let (ann, _, id) = active(&bed).await;
    let (webhook, _) = bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::EquipmentCreated])).await.unwrap();
    bed.control.create_equipment(ann, Some(id), sensor("a")).await.unwrap();
    let one = due(&bed).await.remove(0);
    let retry = Verdict::Retry { at_us: 0 };
    let day_us = 86_400_000_000;
    bed.control.report_webhook_attempt(report(&one, retry, day_us), 86_400).await.unwrap();
    bed.control.report_webhook_attempt(report(&one, Verdict::Delivered, day_us + 1), 86_400).await.unwrap();
    bed.control.create_equipment(ann, Some(id), sensor("b")).await.unwrap();
    let two = due(&bed).await.remove(0);
    bed.control.report_webhook_attempt(report(&two, retry, day_us * 2 - 1), 86_400).await.unwrap();
    let failing = bed.control.webhook(bed.organisation_id, id, webhook.id).await.unwrap();
    assert_eq!((failing.enabled, failing.failing_since_us), (true, Some(day_us * 2 - 1)), "one that arrived ends it");
    bed.control.report_webhook_attempt(report(&two, retry, day_us * 3 - 1), 86_400).await.unwrap();
    let disabled = bed.control.webhook(bed.organisation_id, id, webhook.id).await.unwrap();
    assert_eq!((disabled.enabled, disabled.disabled_cause.as_deref()), (false, Some("failing")));
    let actions: Vec<String> = audited(&bed.sql());
    assert!(actions.contains(&"webhook_disable".to_owned()), "{actions:?}");
    // What had waited goes out once it is enabled again.
    let on = WebhookPatch { enabled: Some(true), ..WebhookPatch::default() };
    bed.control.update_webhook(ann, id, webhook.id, on, None).await.unwrap();
    let again = due(&bed).await;
    assert_eq!((again.len(), again[0].failures), (1, 2));
}

fn audited(connection: &Connection) -> Vec<String> {
    let mut statement = connection.prepare("SELECT action FROM audit_entries ORDER BY seq").unwrap();
    let actions = statement.query_map([], |row| row.get(0)).unwrap();
    actions.collect::<Result<_, _>>().unwrap()
}

// S310: a replay is a new attempt with the same event id, whatever became of the delivery before.
#[tokio::test]
async fn a_replay_keeps_the_event() {
    let bed = Bed::new(embedded()).await;
    let (ann, _, id) = active(&bed).await;
    let (webhook, _) = bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::EquipmentCreated])).await.unwrap();
    bed.control.create_equipment(ann, Some(id), sensor("a")).await.unwrap();
    let first = due(&bed).await.remove(0);
    bed.control.report_webhook_attempt(report(&first, Verdict::Dead, 7), 86_400_000).await.unwrap();
    assert_eq!(due(&bed).await.len(), 0);
    let delivery = log(&bed, id, webhook.id).await.remove(0);
    bed.control.replay_webhook_delivery(ann, id, webhook.id, delivery.id).await.unwrap();
    let again = due(&bed).await.remove(0);
    assert_eq!((again.event_id, again.body, again.is_replay), (first.event_id, first.body, true));
    let unknown = bed.control.replay_webhook_delivery(ann, id, webhook.id, DeliveryId::generate()).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn everything_has_a_limit() {
    let bed = Bed::new(embedded()).await;
    let (ann, _, id) = active(&bed).await;
    let mut webhooks = Vec::new();
    for _ in 0..3 {
        webhooks
            .push(bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::EquipmentCreated])).await.unwrap().0.id);
    }
    let more = bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::EquipmentCreated])).await;
    assert!(matches!(more, Err(Error::WebhookLimit(3))));
    bed.control.delete_webhook(ann, id, webhooks[2], None).await.unwrap();
    bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::Test])).await.expect_err("nobody subscribes to tests");
    let delivered = |seq| {
        let sql = bed.sql();
        sql.execute("UPDATE webhook_deliveries SET state = 'delivered' WHERE seq = ?1", [seq]).unwrap();
    };
    for n in 0..110 {
        bed.control.test_webhook(ann, id, webhooks[0], ann.request_id).await.map(|_| ()).unwrap_or_else(|error| {
            assert!(n >= 100 && matches!(error, Error::Unready(_)), "{n}: {error}");
        });
    }
    let queued = bed.control.webhook(bed.organisation_id, id, webhooks[0]).await.unwrap().queued;
    assert_eq!(queued, 100, "the queue is full");
    // What has waited too long is given up, what was logged too long ago or is too much goes.
    bed.sql().execute("UPDATE webhook_deliveries SET created_at_us = 1 WHERE seq <= 10", []).unwrap();
    while bed.control.clean_up_webhooks().await.unwrap() {}
    let states: u32 = bed
        .sql()
        .query_row("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(states, 90);
    (11..=100).for_each(delivered);
    for _ in 0..60 {
        bed.control.test_webhook(ann, id, webhooks[0], ann.request_id).await.unwrap();
    }
    while bed.control.clean_up_webhooks().await.unwrap() {}
    let rows: u32 = bed.sql().query_row("SELECT count(*) FROM webhook_deliveries", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 100, "the oldest made room");
}

// S312: a notice of a quota is given once a day for each step, also over a restart.
#[tokio::test]
async fn a_quota_is_told_of_once() {
    let bed = Bed::new(embedded()).await;
    let (ann, _, id) = active(&bed).await;
    let events = [WebhookEvent::QuotaNearlyUsed, WebhookEvent::QuotaUsedUp];
    let (webhook, _) = bed.control.create_webhook(ann, id, wanting(&events)).await.unwrap();
    let notice = |utc_day, used| QuotaNotice { integration_id: id, utc_day, used, limit: 10 };
    for (day, used) in [(1, 7), (1, 8), (1, 9), (1, 10), (1, 10), (1, 8), (2, 3), (2, 10), (2, 9)] {
        bed.control.emit_quota_notices(vec![notice(day, used)]).await.unwrap();
    }
    let mut told: Vec<(WebhookEvent, String)> =
        log(&bed, id, webhook.id).await.into_iter().map(|one| (one.event, one.id.to_string())).collect();
    told.reverse();
    let told: Vec<WebhookEvent> = told.into_iter().map(|(event, _)| event).collect();
    assert_eq!(told, [WebhookEvent::QuotaNearlyUsed, WebhookEvent::QuotaUsedUp, WebhookEvent::QuotaUsedUp]);
    assert_eq!(due(&bed).await[0].body.matches("1970-01-02").count(), 1);
}

// S303: a page leads to the next, and each subscription has its own log.
#[tokio::test]
async fn the_log_comes_in_pages() {
    let bed = Bed::new(embedded()).await;
    let (ann, _, id) = active(&bed).await;
    let (webhook, _) = bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::EquipmentCreated])).await.unwrap();
    let (other, _) = bed.control.create_webhook(ann, id, wanting(&[WebhookEvent::EquipmentCreated])).await.unwrap();
    for _ in 0..5 {
        bed.control.test_webhook(ann, id, webhook.id, ann.request_id).await.unwrap();
    }
    bed.control.test_webhook(ann, id, other.id, ann.request_id).await.unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let request = PageRequest { cursor, limit: Some(2) };
        let control = &bed.control;
        let page = control.webhook_deliveries(bed.organisation_id, id, webhook.id, None, request).await.unwrap();
        seen.extend(page.items.into_iter().map(|one| one.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let whole: Vec<_> = log(&bed, id, webhook.id).await.into_iter().map(|one| one.id).collect();
    assert_eq!((seen.len(), &seen), (5, &whole));
    assert_eq!(log(&bed, id, other.id).await.len(), 1);
}
