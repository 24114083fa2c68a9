//! The API log in sums: over time, by address, by the hour of the day (S291, S292, S294).

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::filter::whose;
use crate::{
    admin::{
        Admin,
        caller::Administrator,
        page::{List, whole},
        parameters::Parameters,
        problem::Problem,
        readings::resolution,
        time,
    },
    model::IntegrationId,
    request_log::{Count, HourOfDay, STEPS_MAX, Seen},
};

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
/// How far back a call looks that does not say.
const PERIOD_US: i64 = 24 * HOUR_US;

/// What happened within a step of time.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogCount)]
pub(in crate::admin) struct CountView {
    /// The begin of the step.
    start: String,
    requests: u64,
    /// Requests refused because window or quota was used up.
    rate_limited: u64,
    /// Requests answered with 400 or above; null where the step is shorter than an hour.
    refused: Option<u64>,
    /// Readings accepted; likewise.
    accepted: Option<u64>,
    /// Readings refused; likewise.
    rejected: Option<u64>,
}

impl From<Count> for CountView {
    fn from(count: Count) -> Self {
        Self {
            start: time::format(count.start_us),
            requests: count.requests,
            rate_limited: count.rate_limited,
            refused: count.by_hour.map(|hour| hour.refused),
            accepted: count.by_hour.map(|hour| hour.accepted),
            rejected: count.by_hour.map(|hour| hour.rejected),
        }
    }
}

/// What happened within an hour of the day, over all days of a period.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogHour)]
pub(in crate::admin) struct HourView {
    /// 0 to 23, UTC.
    hour: u8,
    requests: u64,
    refused: u64,
    /// On how many days there was any request in this hour.
    days: u64,
}

/// An address that requests came from.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestLogAddress)]
pub(in crate::admin) struct AddressView {
    ip: String,
    /// Requests in the period.
    requests: u64,
    /// Refused ones among them.
    refused: u64,
    /// When it was seen for the first time at all, as far as is remembered.
    first_seen_at: String,
    /// When it was last seen in the period.
    last_seen_at: String,
    /// Seen for the first time in the period.
    new: bool,
}

impl From<Seen> for AddressView {
    fn from(seen: Seen) -> Self {
        Self {
            ip: seen.sum.addr.to_string(),
            requests: seen.sum.requests,
            refused: seen.sum.refused,
            first_seen_at: time::format(seen.first_ever_us),
            last_seen_at: time::format(seen.sum.last_us),
            new: seen.is_new,
        }
    }
}

/// `GET /admin/v1/request-log/counts`
pub(in crate::admin) async fn counts(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<CountView>>, Problem> {
    let integration_id = parameters.id::<IntegrationId>("integration_id")?;
    let period = period(&mut parameters)?;
    let form = "whole minutes or hours, for example 1m, 5m, 1h, 1d";
    let step_us = parameters.read("step", form, |text| resolution(text).filter(|us| is_step(*us)))?.unwrap_or(HOUR_US);
    parameters.finish()?;
    if (period.1 - period.0) / step_us > STEPS_MAX as i64 {
        return Err(Problem::parameter("There are more than 10,000 steps from from to to: take a longer step."));
    }
    let whose = whose(&admin, actor.organisation_id, integration_id).await?;
    let counts = admin.request_log.counts(whose, period, step_us).await?;
    Ok(whole(counts.into_iter().map(CountView::from)))
}

/// `GET /admin/v1/request-log/hours`
pub(in crate::admin) async fn hours(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<HourView>>, Problem> {
    let integration_id = parameters.id::<IntegrationId>("integration_id")?;
    let period = period(&mut parameters)?;
    parameters.finish()?;
    let whose = whose(&admin, actor.organisation_id, integration_id).await?;
    let day = admin.request_log.hours_of_day(whose, period).await?;
    let view = |(hour, sum): (u8, HourOfDay)| {
        let HourOfDay { requests, refused, days } = sum;
        HourView { hour, requests, refused, days }
    };
    Ok(whole((0..).zip(day).map(view)))
}

/// `GET /admin/v1/request-log/addresses`
pub(in crate::admin) async fn addresses(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<AddressView>>, Problem> {
    let integration_id = parameters.id::<IntegrationId>("integration_id")?;
    let is_new = parameters.read("new", "true or false", |text| text.parse::<bool>().ok())?;
    let period = period(&mut parameters)?;
    parameters.finish()?;
    let integration_id = integration_id.ok_or_else(|| Problem::parameter("integration_id must be given."))?;
    whose(&admin, actor.organisation_id, Some(integration_id)).await?;
    let seen = admin.request_log.addresses(integration_id, period).await?;
    let wanted = seen.into_iter().filter(|seen| is_new.is_none_or(|new| seen.is_new == new));
    Ok(whole(wanted.map(AddressView::from)))
}

/// `from` and `to`; the last day where nothing is said.
fn period(parameters: &mut Parameters) -> Result<(i64, i64), Problem> {
    let to_us = parameters.time("to")?.unwrap_or_else(|| jiff::Timestamp::now().as_microsecond() + 1);
    let from_us = parameters.time("from")?.unwrap_or(to_us.saturating_sub(PERIOD_US));
    if from_us > to_us {
        return Err(Problem::parameter("from must not be after to."));
    }
    Ok((from_us, to_us))
}

/// A step is of whole minutes that make up an hour, or of whole hours.
fn is_step(us: i64) -> bool {
    let is_part = us < HOUR_US && us % MINUTE_US == 0 && HOUR_US % us == 0;
    is_part || (us >= HOUR_US && us % HOUR_US == 0)
}
