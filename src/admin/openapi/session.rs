//! Signing in.

use utoipa::ToSchema;

use crate::admin::session::{AccessToken, Me};

#[derive(ToSchema)]
pub(super) struct Login {
    email: String,
    #[schema(format = Password)]
    password: String,
}

#[derive(ToSchema)]
pub(super) struct PasswordChange {
    /// May be left out while it is a one-time password.
    #[schema(format = Password)]
    current_password: Option<String>,
    /// At least 12 characters.
    #[schema(format = Password, min_length = 12, max_length = 256)]
    new_password: String,
}

/// Sign in.
///
/// Failed attempts are slowed down by address and by account: 429 with Retry-After.
#[utoipa::path(post, path = "/admin/v1/login", tag = "session", security(()), request_body = Login,
    responses((status = 200, description = "The token, shown this once.", body = AccessToken)))]
pub(super) fn login() {}

/// Sign out: the session ends.
#[utoipa::path(post, path = "/admin/v1/logout", tag = "session", responses((status = 204, description = "Signed out.")))]
pub(super) fn logout() {}

/// Who is signed in. Needs no permission.
#[utoipa::path(get, path = "/admin/v1/me", tag = "session",
    responses((status = 200, description = "The caller.", body = Me)))]
pub(super) fn me() {}

/// Set a password of one's own. Needs no permission; ends the user's other sessions.
#[utoipa::path(post, path = "/admin/v1/password", tag = "session", request_body = PasswordChange,
    responses((status = 204, description = "Changed.")))]
pub(super) fn change_password() {}
