//! Members.

use utoipa::ToSchema;

use super::{Paging, Version};
use crate::admin::{
    page::List,
    users::{UserView, UserWithPassword},
};

#[derive(ToSchema)]
pub(super) struct NewUser {
    email: String,
    name: String,
    /// `administration_integrations_access`, or nothing. Stays pending until another administrator confirms.
    #[schema(nullable = false)]
    permissions: Option<Vec<String>>,
}

#[derive(ToSchema)]
#[schema(as = UserPatch)]
pub(super) struct Patch {
    #[schema(nullable = false)]
    email: Option<String>,
    #[schema(nullable = false)]
    name: Option<String>,
    /// Gives the permission (pending) or takes it away (at once; their sessions end).
    #[schema(nullable = false)]
    permissions: Option<Vec<String>>,
    /// Deactivates, which ends their sessions, or activates.
    #[schema(nullable = false)]
    active: Option<bool>,
}

/// List the members.
#[utoipa::path(get, path = "/admin/v1/users", tag = "users", params(Paging),
    responses((status = 200, description = "A page.", body = List<UserView>)))]
pub(super) fn index() {}

/// Make a member, with a one-time password.
#[utoipa::path(post, path = "/admin/v1/users", tag = "users", request_body = NewUser,
    responses((status = 201, description = "Made; the password is shown this once.", body = UserWithPassword)))]
pub(super) fn create() {}

/// Read a member.
#[utoipa::path(get, path = "/admin/v1/users/{id}", tag = "users", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The member.", body = UserView)))]
pub(super) fn show() {}

/// Change a member.
#[utoipa::path(patch, path = "/admin/v1/users/{id}", tag = "users", params(("id" = uuid::Uuid, Path), Version),
    request_body = Patch, responses((status = 200, description = "As it stands now.", body = UserView)))]
pub(super) fn update() {}

/// Confirm what another administrator started: a permission, or the reset of a holder's password.
///
/// Possible once the user has set a password of their own (409 before). Whoever started it, and the user, cannot (403
/// `self_confirmation`).
#[utoipa::path(post, path = "/admin/v1/users/{id}/confirm", tag = "users",
    params(("id" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "The permission is held.", body = UserView)))]
pub(super) fn confirm() {}

/// Give a member a new one-time password; their sessions end. A holder's permission is pending from now on.
#[utoipa::path(post, path = "/admin/v1/users/{id}/password-reset", tag = "users",
    params(("id" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "Reset; the password is shown this once.", body = UserWithPassword)))]
pub(super) fn reset_password() {}
