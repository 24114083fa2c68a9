//! The quarterly access review.

use utoipa::ToSchema;

use super::{Paging, Version};
use crate::admin::access_reviews::{ReviewList, ReviewView};

#[derive(ToSchema)]
#[schema(as = NewAccessReview)]
pub(super) struct NewReview {
    /// Begin of the period, RFC 3339.
    from: String,
    /// Its end, exclusive; not in the future, at most 366 days after `from`.
    to: String,
}

#[derive(ToSchema)]
#[schema(as = AccessReviewAnswers)]
pub(super) struct NewAnswers {
    answers: Vec<NewAnswer>,
}

#[derive(ToSchema)]
#[schema(as = AccessReviewAnswer)]
pub(super) struct NewAnswer {
    /// `in_use`, `scopes`, `credentials`, `rate_limits`, `ip_allowlist` or `contacts`.
    question: String,
    /// About this integration; left out: about the whole.
    integration_id: Option<uuid::Uuid>,
    /// Nothing has to be done.
    ok: bool,
    /// What was found; needed where something has to be done. At most 2,000 characters.
    note: Option<String>,
}

/// List the reviews, and when the next is due.
#[utoipa::path(get, path = "/admin/v1/access-reviews", tag = "access-reviews", params(Paging),
    responses((status = 200, description = "A page, without the reports.", body = ReviewList)))]
pub(super) fn index() {}

/// Generate a review of all active and suspended integrations.
#[utoipa::path(post, path = "/admin/v1/access-reviews", tag = "access-reviews", request_body = NewReview,
    responses((status = 201, description = "Generated, with its report.", body = ReviewView)))]
pub(super) fn create() {}

/// Read a review, or take it out as a file.
///
/// With `format` it is an export and stands in the audit log. The report is as it was generated, byte for byte.
#[utoipa::path(get, path = "/admin/v1/access-reviews/{id}", tag = "access-reviews",
    params(("id" = uuid::Uuid, Path), ("format" = Option<String>, Query, description = "`json`, `csv` or `html`")),
    responses((status = 200, description = "The review.", content(
        (ReviewView = "application/json"), (String = "text/csv"), (String = "text/html")))))]
pub(super) fn show() {}

/// Record answers to the six questions, for the whole or for one integration.
#[utoipa::path(post, path = "/admin/v1/access-reviews/{id}/answers", tag = "access-reviews",
    params(("id" = uuid::Uuid, Path), Version), request_body = NewAnswers,
    responses((status = 200, description = "As it stands now.", body = ReviewView)))]
pub(super) fn answer() {}

/// Sign a review off. Nothing of it changes afterwards.
#[utoipa::path(post, path = "/admin/v1/access-reviews/{id}/sign-off", tag = "access-reviews",
    params(("id" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "Signed off.", body = ReviewView)))]
pub(super) fn sign() {}
