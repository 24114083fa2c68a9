//! Members of the organisation.

use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    body::Fields,
    caller::Administrator,
    etag::{IfMatch, located, tagged},
    page::{List, list},
    parameters::Parameters,
    path::Id,
    problem::Problem,
    time,
};
use crate::{
    control::{NewUser, PERMISSION, Standing, User, UserPatch},
    model::UserId,
};

/// A member of the organisation.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserView {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    email: String,
    name: String,
    /// `administration_integrations_access`, or nothing.
    permissions: Vec<&'static str>,
    /// Given, but not yet confirmed by another administrator.
    permissions_pending: Vec<&'static str>,
    active: bool,
    /// The user has a one-time password and has to set their own.
    password_change_required: bool,
    /// The `ETag`.
    version: u64,
    created_at: String,
    last_login_at: Option<String>,
}

/// A user with the password that is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct UserWithPassword {
    #[serde(flatten)]
    user: UserView,
    /// To be changed at the first sign-in.
    one_time_password: String,
}

/// Held and pending permissions, as lists.
pub(super) fn permissions(standing: Standing) -> (Vec<&'static str>, Vec<&'static str>) {
    match standing {
        Standing::None => (vec![], vec![]),
        Standing::Pending => (vec![], vec![PERMISSION]),
        Standing::Held => (vec![PERMISSION], vec![]),
    }
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let (permissions, permissions_pending) = permissions(user.permission);
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            permissions,
            permissions_pending,
            active: user.active,
            password_change_required: user.must_change_password,
            version: user.version,
            created_at: time::format(user.created_at_us),
            last_login_at: time::format_some(user.last_login_at_us),
        }
    }
}

fn shown(user: User) -> Response {
    tagged(user.version, Json(UserView::from(user)))
}

/// `GET /admin/v1/users`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<UserView>>, Problem> {
    let page = parameters.page()?;
    parameters.finish()?;
    Ok(list(admin.control.users(actor.organisation_id, page).await?))
}

/// `GET /admin/v1/users/{id}`
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<UserId>,
) -> Result<Response, Problem> {
    Ok(shown(admin.control.user(actor.organisation_id, id).await?))
}

/// `POST /admin/v1/users`
pub(super) async fn create(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let new = NewUser {
        email: fields.text("email").unwrap_or_default(),
        name: fields.text("name").unwrap_or_default(),
        permission: permission(&mut fields).unwrap_or(false),
    };
    fields.finish()?;
    let (user, password) = admin.control.create_user(actor, new).await?;
    let (version, path) = (user.version, format!("/admin/v1/users/{}", user.id));
    let body = UserWithPassword { user: user.into(), one_time_password: password.expose().to_owned() };
    Ok(located(&path, tagged(version, (StatusCode::CREATED, Json(body)))))
}

/// `PATCH /admin/v1/users/{id}`
pub(super) async fn update(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<UserId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let patch = UserPatch {
        email: fields.text("email"),
        name: fields.text("name"),
        permission: permission(&mut fields),
        active: fields.flag("active"),
    };
    fields.finish()?;
    Ok(shown(admin.control.update_user(actor, id, patch, version).await?))
}

/// `POST /admin/v1/users/{id}/confirm`
pub(super) async fn confirm(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<UserId>,
    IfMatch(version): IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    fields.finish()?;
    Ok(shown(admin.control.confirm_user(actor, id, version).await?))
}

/// `POST /admin/v1/users/{id}/password-reset`
pub(super) async fn reset_password(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<UserId>,
    IfMatch(version): IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    fields.finish()?;
    let (user, password) = admin.control.reset_password(actor, id, version).await?;
    let version = user.version;
    let body = UserWithPassword { user: user.into(), one_time_password: password.expose().to_owned() };
    Ok(tagged(version, Json(body)))
}

/// Whether the list of permissions names the one that there is.
fn permission(fields: &mut Fields) -> Option<bool> {
    let names = fields.texts("permissions")?;
    for index in (0..names.len()).filter(|index| names[*index] != PERMISSION) {
        fields.refuse::<()>(&format!("permissions[{index}]"), "must be administration_integrations_access");
    }
    Some(!names.is_empty())
}
