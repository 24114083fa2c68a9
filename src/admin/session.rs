//! Signing in and out, oneself, one's password.

use std::time::Duration;

use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{Admin, body::Fields, caller::SignedIn, problem::Problem, request::Origin, users};
use crate::{
    control::{self, PASSWORD_BYTES_MAX, Password},
    model::{OrganisationId, ProblemCode, UserId},
    telemetry::metrics::ADMIN_LOGINS_TOTAL,
};

/// How long a sign-in waits while others are being looked at.
const SIGN_IN_WAIT: Duration = Duration::from_secs(10);

/// A session's token, shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessToken {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds until the session ends for good; it ends earlier when idle.
    expires_in: u64,
    /// The password is a one-time one: nothing but `POST /admin/v1/password` works before it is changed.
    password_change_required: bool,
}

/// The caller.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    email: String,
    name: String,
    #[schema(value_type = String, format = Uuid)]
    organisation_id: OrganisationId,
    /// What the caller may do: `administration_integrations_access`, or nothing.
    permissions: Vec<&'static str>,
    /// What awaits another administrator's confirmation.
    permissions_pending: Vec<&'static str>,
    password_change_required: bool,
}

/// `POST /admin/v1/login`
pub(super) async fn login(
    State(admin): State<Admin>,
    origin: Origin,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let email = required(&mut fields, "email");
    let password = Password::new(required(&mut fields, "password"));
    fields.finish()?;
    let outcome = |outcome: &'static str| metrics::counter!(ADMIN_LOGINS_TOTAL, "outcome" => outcome).increment(1);
    let throttled = || {
        let wait_s = admin.throttle.wait_s(origin.ip, &email)?;
        outcome("throttled");
        Some(Problem { retry_after_s: Some(wait_s), ..Problem::new(ProblemCode::TooManyFailures) })
    };
    if let Some(problem) = throttled() {
        return Err(problem);
    }
    let Ok(permit) = timeout(SIGN_IN_WAIT, admin.sign_ins.acquire()).await else {
        return Err(Problem { retry_after_s: Some(1), ..Problem::new(ProblemCode::Overloaded) });
    };
    let _one_of_few = permit.expect("the semaphore is never closed");
    // Once more: of a burst only as many as there are permits may be hashed before its failures count.
    if let Some(problem) = throttled() {
        return Err(problem);
    }
    let Some(signed_in) = admin.control.sign_in(&email, password, origin.ip, origin.request_id).await? else {
        admin.throttle.count(origin.ip, &email);
        outcome("failed");
        return Err(Problem::new(ProblemCode::LoginFailed));
    };
    outcome("ok");
    Ok(Json(AccessToken {
        access_token: signed_in.token.expose().to_owned(),
        token_type: "Bearer",
        expires_in: signed_in.expires_in_s,
        password_change_required: signed_in.must_change_password,
    }))
}

/// `POST /admin/v1/logout`
pub(super) async fn logout(
    State(admin): State<Admin>,
    SignedIn { session, origin }: SignedIn,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    fields.finish()?;
    admin.control.sign_out(&session, origin.ip, origin.request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /admin/v1/me`
pub(super) async fn me(SignedIn { session, .. }: SignedIn) -> Json<Me> {
    let (permissions, permissions_pending) = users::permissions(session.permission);
    Json(Me {
        id: session.user_id,
        email: session.email,
        name: session.name,
        organisation_id: session.organisation_id,
        permissions,
        permissions_pending,
        password_change_required: session.must_change_password,
    })
}

/// `POST /admin/v1/password`
pub(super) async fn change_password(
    State(admin): State<Admin>,
    SignedIn { session, origin }: SignedIn,
    mut fields: Fields,
) -> Result<StatusCode, Problem> {
    let current = text(&mut fields, "current_password").map(Password::new);
    let new = Password::new(required(&mut fields, "new_password"));
    fields.finish()?;
    if let Some(wait_s) = admin.throttle.wait_s(origin.ip, &session.email) {
        return Err(Problem { retry_after_s: Some(wait_s), ..Problem::new(ProblemCode::TooManyFailures) });
    }
    let changed = admin.control.change_password(&session, current, new, origin.ip, origin.request_id).await;
    // A stolen session must not become a way to guess the password.
    if let Err(control::Error::Invalid(errors)) = &changed
        && errors.iter().any(|error| error.field == "current_password")
    {
        admin.throttle.count(origin.ip, &session.email);
    }
    changed?;
    Ok(StatusCode::NO_CONTENT)
}

/// A text that must be given.
fn required(fields: &mut Fields, name: &str) -> String {
    text(fields, name).unwrap_or_else(|| {
        if !fields.refuses(name) {
            fields.refuse::<()>(name, "must be given");
        }
        String::new()
    })
}

/// A text that is no longer than any password or address.
fn text(fields: &mut Fields, name: &str) -> Option<String> {
    let text = fields.nullable_text(name).flatten()?;
    if text.len() <= 4 * PASSWORD_BYTES_MAX { Some(text) } else { fields.refuse(name, "is too long") }
}
