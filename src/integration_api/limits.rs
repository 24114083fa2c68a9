//! What an integration may, and what of it is left (S227, S230, S231).

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Parts, caller::Caller};
use crate::{
    auth::RateState,
    model::{EquipmentKind, Scope},
    rest::time,
};

/// What a batch may be, by the configuration.
#[derive(Debug, Clone, Copy)]
pub struct BatchTerms {
    /// Readings of a batch.
    pub readings_max: usize,
    /// Bytes of a body, plain or once inflated.
    pub body_bytes_max: usize,
    /// Bytes of a compressed body, as sent.
    pub compressed_bytes_max: usize,
    /// How old a reading may be, in seconds.
    pub timestamp_past_max_s: u32,
    /// How far ahead of the server's clock a reading may be, in seconds.
    pub timestamp_future_max_s: u32,
}

/// What a session over MQTT may do, by the configuration.
#[derive(Debug, Clone, Copy)]
pub struct MqttTerms {
    /// PUBLISH packets with QoS 1 in flight.
    pub receive_maximum: u16,
    /// Bytes of a packet.
    pub packet_bytes_max: usize,
    /// Sessions of an integration at the same time.
    pub sessions_max: usize,
    /// The longest keep-alive, in seconds.
    pub keep_alive_max_s: u16,
}

/// The limits of the caller, and what is left of them. Asking costs one request, as every call does; the figures are
/// those behind it, the same as in the headers of the answer.
#[derive(Serialize, ToSchema)]
#[schema(as = Limits)]
pub(crate) struct LimitsView {
    /// Requests a minute, over all connections, addresses and both transports together. A batch is one request.
    requests_per_minute: WindowView,
    /// Requests a UTC day; null: no quota.
    daily_quota: Option<QuotaView>,
    /// The temporary limit that is in force now.
    temporary: Option<TemporaryView>,
    /// The wider time window for readings that is in force now.
    backfill: Option<BackfillView>,
    batch: BatchView,
    /// Null: MQTT is not served.
    mqtt: Option<MqttView>,
    /// What may be measured.
    metrics: Vec<MetricView>,
    /// What the integration may do.
    scopes: Vec<&'static str>,
    server_time: String,
}

/// The state of the minute's window.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitsWindow)]
pub(crate) struct WindowView {
    limit: u32,
    remaining: u32,
    /// Unix second at which the window ends.
    reset: u64,
}

/// The state of the day's quota.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitsQuota)]
pub(crate) struct QuotaView {
    limit: u32,
    used: u32,
    remaining: u32,
    /// Unix second of the next 00:00 UTC.
    reset: u64,
}

/// A limit that ends by itself.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitsTemporary)]
pub(crate) struct TemporaryView {
    /// Requests a minute while it lasts.
    rpm: u32,
    until: String,
}

/// A time window that ends by itself.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitsBackfill)]
pub(crate) struct BackfillView {
    /// The oldest timestamp allowed while it lasts.
    window_start: String,
    until: String,
}

/// What a batch may be.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitsBatch)]
pub(crate) struct BatchView {
    readings_max: usize,
    /// Plain, or once inflated.
    body_bytes_max: usize,
    /// Compressed, as sent.
    compressed_bytes_max: usize,
    timestamp_window: TimestampWindowView,
}

/// Which timestamps a batch sent now may have.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitsTimestampWindow)]
pub(crate) struct TimestampWindowView {
    from: String,
    to: String,
    /// Without a backfill grant.
    past_max_seconds: u32,
    future_max_seconds: u32,
}

/// What a session over MQTT may do.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitsMqtt)]
pub(crate) struct MqttView {
    receive_maximum: u16,
    packet_bytes_max: usize,
    sessions_max: usize,
    keep_alive_max_seconds: u16,
}

/// A metric, and which kinds of equipment may report it.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitsMetric)]
pub(crate) struct MetricView {
    name: String,
    /// What is stored.
    unit: String,
    /// Other units that are converted.
    units: Vec<String>,
    min: f64,
    max: f64,
    #[schema(value_type = Vec<String>)]
    kinds: Vec<EquipmentKind>,
}

/// `GET /v1/limits`
pub(super) async fn show(State(parts): State<Parts>, caller: Caller) -> Json<LimitsView> {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let now_s = u64::try_from(now_us / 1_000_000).unwrap_or(0);
    let integration = &caller.principal.integration;
    let facts = integration.facts();
    let RateState { limit, remaining, reset_s } = caller.rate;
    let quota = facts.daily_quota.map(|limit| {
        let (used, reset) = integration.quota_used(now_s);
        QuotaView { limit, used, remaining: limit.saturating_sub(used), reset }
    });
    let temporary = facts.temporary_limit.filter(|limit| now_us < limit.until_us);
    let backfill = facts.backfill.filter(|grant| now_us < grant.until_us);
    let metric = |metric: &crate::model::Metric| MetricView {
        name: metric.name.clone(),
        unit: metric.unit.clone(),
        units: metric.units.iter().map(|unit| unit.name.clone()).collect(),
        min: metric.min,
        max: metric.max,
        kinds: metric.kinds.clone(),
    };
    Json(LimitsView {
        requests_per_minute: WindowView { limit, remaining, reset: reset_s },
        daily_quota: quota,
        temporary: temporary.map(|limit| TemporaryView { rpm: limit.rpm, until: time::format(limit.until_us) }),
        batch: batch(&parts.batch, now_us, backfill.map(|grant| grant.window_start_us)),
        backfill: backfill.map(|grant| BackfillView {
            window_start: time::format(grant.window_start_us),
            until: time::format(grant.until_us),
        }),
        mqtt: parts.mqtt.map(|terms| MqttView {
            receive_maximum: terms.receive_maximum,
            packet_bytes_max: terms.packet_bytes_max,
            sessions_max: terms.sessions_max,
            keep_alive_max_seconds: terms.keep_alive_max_s,
        }),
        metrics: parts.metrics.iter().map(metric).collect(),
        scopes: facts.scopes.iter().map(Scope::as_str).collect(),
        server_time: time::format(now_us),
    })
}

fn batch(terms: &BatchTerms, now_us: i64, backfill_start_us: Option<i64>) -> BatchView {
    let earliest_us = now_us - i64::from(terms.timestamp_past_max_s) * 1_000_000;
    let latest_us = now_us + i64::from(terms.timestamp_future_max_s) * 1_000_000;
    BatchView {
        readings_max: terms.readings_max,
        body_bytes_max: terms.body_bytes_max,
        compressed_bytes_max: terms.compressed_bytes_max,
        timestamp_window: TimestampWindowView {
            from: time::format(backfill_start_us.map_or(earliest_us, |start_us| start_us.min(earliest_us))),
            to: time::format(latest_us),
            past_max_seconds: terms.timestamp_past_max_s,
            future_max_seconds: terms.timestamp_future_max_s,
        },
    }
}
