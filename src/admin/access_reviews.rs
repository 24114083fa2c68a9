//! The quarterly access review: generate, answer, sign off, export (S315–S325).

mod file;
mod report;

use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use super::{
    Admin,
    body::Fields,
    caller::Administrator,
    etag::{IfMatch, located, tagged},
    parameters::Parameters,
    path::Id,
    problem::Problem,
    time,
};
use crate::{
    control::review::{AccessReview, NewAnswer, QUESTIONS, Schedule, quarter_after},
    model::{AccessReviewId, IntegrationId, UserId},
};

/// A review.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessReview)]
pub(super) struct ReviewView {
    #[schema(value_type = String, format = Uuid)]
    id: AccessReviewId,
    from: String,
    /// Exclusive.
    to: String,
    generated_at: String,
    #[schema(value_type = String, format = Uuid)]
    generated_by: UserId,
    /// SHA-256 of the bytes of `report`, as it stands in the audit log.
    report_sha256: String,
    answers: Vec<AnswerView>,
    #[schema(value_type = Option<String>, format = Uuid)]
    signed_by: Option<UserId>,
    signed_at: Option<String>,
    /// When the next review is due, once this one is signed off: three months after its period.
    next_review_due: String,
    /// The organisation's next review is late.
    overdue: bool,
    version: u64,
    /// As it was generated, byte for byte; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    report: Option<Box<RawValue>>,
}

/// An answer to one of the six questions.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessReviewFinding)]
pub(super) struct AnswerView {
    /// Its name.
    question: String,
    /// Null: about the whole.
    #[schema(format = Uuid)]
    integration_id: Option<String>,
    /// Nothing has to be done.
    ok: bool,
    note: String,
    #[schema(value_type = String, format = Uuid)]
    by: UserId,
    at: String,
}

/// Reviews, and when the next is due.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessReviewList)]
pub(super) struct ReviewList {
    items: Vec<ReviewView>,
    next_cursor: Option<String>,
    /// Three months after the last period that was signed off, or after the organisation began.
    next_review_due: String,
    overdue: bool,
}

fn view(review: AccessReview, schedule: Schedule, with_report: bool) -> ReviewView {
    let answers = review.answers.into_iter().map(|(key, answer)| {
        let (question, integration_id) = match key.split_once('/') {
            Some((question, id)) => (question.to_owned(), Some(id.to_owned())),
            None => (key, None),
        };
        let at = time::format(answer.at_us);
        AnswerView { question, integration_id, ok: answer.ok, note: answer.note, by: answer.by, at }
    });
    ReviewView {
        id: review.id,
        from: time::format(review.from_us),
        to: time::format(review.to_us),
        generated_at: time::format(review.generated.at_us),
        generated_by: review.generated.by,
        report_sha256: review.sha256,
        answers: answers.collect(),
        signed_by: review.signed.map(|deed| deed.by),
        signed_at: review.signed.map(|deed| time::format(deed.at_us)),
        next_review_due: time::format(quarter_after(review.to_us)),
        overdue: schedule.is_overdue,
        version: review.version,
        report: with_report.then(|| RawValue::from_string(review.report).expect("the database holds JSON alone")),
    }
}

async fn shown(admin: &Admin, actor: crate::control::Actor, review: AccessReview) -> Result<Response, Problem> {
    let schedule = admin.control.review_schedule(actor.organisation_id).await?;
    Ok(tagged(review.version, Json(view(review, schedule, true))))
}

/// `GET /admin/v1/access-reviews`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<ReviewList>, Problem> {
    let page = parameters.page()?;
    parameters.finish()?;
    let found = admin.control.access_reviews(actor.organisation_id, page).await?;
    let schedule = admin.control.review_schedule(actor.organisation_id).await?;
    Ok(Json(ReviewList {
        items: found.items.into_iter().map(|review| view(review, schedule, false)).collect(),
        next_cursor: found.next_cursor,
        next_review_due: time::format(schedule.due_us),
        overdue: schedule.is_overdue,
    }))
}

/// `POST /admin/v1/access-reviews`
pub(super) async fn create(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let (from_us, to_us) = (fields.required_time("from"), fields.required_time("to"));
    fields.finish()?;
    let material = admin.control.review_material(actor, from_us, to_us).await?;
    let mut traffic = Vec::with_capacity(material.integrations.len());
    for integration in &material.integrations {
        traffic.push(admin.request_log.traffic(integration.id, from_us, to_us).await?);
    }
    let at_us = material.at_us;
    let report = report::write(actor.user_id, (from_us, to_us), &material, &traffic);
    let review = admin.control.store_review(actor, (from_us, to_us), at_us, report).await?;
    let (path, version) = (format!("/admin/v1/access-reviews/{}", review.id), review.version);
    let schedule = admin.control.review_schedule(actor.organisation_id).await?;
    Ok(located(&path, tagged(version, (StatusCode::CREATED, Json(view(review, schedule, true))))))
}

/// `GET /admin/v1/access-reviews/{id}`: with `format` an export, which is audited.
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<AccessReviewId>,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let format = parameters
        .read("format", "json, csv or html", |name| ["json", "csv", "html"].into_iter().find(|known| *known == name))?;
    parameters.finish()?;
    let Some(format) = format else {
        let review = admin.control.access_review(actor.organisation_id, id).await?;
        return shown(&admin, actor, review).await;
    };
    let review = admin.control.export_review(actor, id, format).await?;
    if format == "json" {
        return shown(&admin, actor, review).await;
    }
    let report: Value = serde_json::from_str(&review.report).expect("the database holds JSON alone");
    Ok(if format == "csv" { file::csv(&review, &report) } else { file::html(&review, &report) })
}

/// `POST /admin/v1/access-reviews/{id}/answers`
pub(super) async fn answer(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<AccessReviewId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let answers = fields.objects("answers", |answer| NewAnswer {
        question: answer.text("question").unwrap_or_default(),
        integration_id: match answer.nullable_text("integration_id").flatten() {
            Some(text) => {
                text.parse::<IntegrationId>().ok().or_else(|| answer.refuse("integration_id", "must be an id (UUID)"))
            }
            None => None,
        },
        ok: answer.required_flag("ok"),
        note: answer.nullable_text("note").flatten().unwrap_or_default(),
    });
    if answers.as_ref().is_none_or(Vec::is_empty) && !fields.has_refusals() {
        fields.refuse::<()>("answers", "must be a list with at least one answer");
    }
    fields.finish()?;
    let review = admin.control.answer_review(actor, id, version, answers.unwrap_or_default()).await?;
    shown(&admin, actor, review).await
}

/// `POST /admin/v1/access-reviews/{id}/sign-off`
pub(super) async fn sign(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<AccessReviewId>,
    IfMatch(version): IfMatch,
) -> Result<Response, Problem> {
    let review = admin.control.sign_review(actor, id, version).await?;
    shown(&admin, actor, review).await
}

/// The question behind a name.
fn question(name: &str) -> &'static str {
    QUESTIONS.iter().find(|(known, _)| *known == name).map_or("", |(_, question)| question)
}
