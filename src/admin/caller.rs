//! Who calls: extractors that let a handler run for the right people only. A handler that takes none of them is open
//! to everybody, and there are few of those (`router.rs` names them).

use axum::extract::{FromRequestParts, OriginalUri};
use http::{header::AUTHORIZATION, request::Parts};

use super::{Admin, problem::Problem, request::Origin};
use crate::{
    control::{Actor, Session, Standing, TOKEN_PREFIX, audit::Target},
    model::{AccessReviewId, EquipmentId, IntegrationId, ProblemCode, UserId},
};

/// Longest token that is looked at, in bytes: longer ones are not ours.
const TOKEN_BYTES_MAX: usize = 256;

/// Anybody with a live session, also with a one-time password.
pub(super) struct SignedIn {
    pub(super) session: Session,
    pub(super) origin: Origin,
}

/// Anybody with a live session and a password of their own.
pub(super) struct Member;

/// Somebody with the permission `administration_integrations_access` (S001).
pub(super) struct Administrator(pub(super) Actor);

impl FromRequestParts<Admin> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Admin) -> Result<Self, Problem> {
        Ok(*parts.extensions.get::<Self>().expect("the outermost layer puts it there"))
    }
}

/// Only tokens of our own sessions open this API: integrations' keys and tokens never do, whatever they may do
/// elsewhere (S004).
impl FromRequestParts<Admin> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Problem> {
        let origin = Origin::from_request_parts(parts, admin).await?;
        let not_signed_in = || Problem::new(ProblemCode::NotSignedIn);
        let token = bearer(parts).ok_or_else(not_signed_in)?;
        let session = admin.control.session(token).await?.ok_or_else(not_signed_in)?;
        Ok(Self { session, origin })
    }
}

impl FromRequestParts<Admin> for Member {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Problem> {
        own_password(SignedIn::from_request_parts(parts, admin).await?).map(|_| Self)
    }
}

impl FromRequestParts<Admin> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Problem> {
        let SignedIn { session, origin } = own_password(SignedIn::from_request_parts(parts, admin).await?)?;
        let (organisation_id, user_id) = (session.organisation_id, session.user_id);
        let actor = Actor { user_id, organisation_id, ip: origin.ip, request_id: origin.request_id };
        if session.permission != Standing::Held {
            // Within a nested router the plain URI has lost its beginning.
            let path = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.path());
            let target = target(path).unwrap_or(Target::Organisation(organisation_id));
            let code = ProblemCode::PermissionDenied;
            admin.control.audit_refusal(actor, "admin_call_refused", target, code).await?;
            return Err(Problem::new(code));
        }
        Ok(Self(actor))
    }
}

fn own_password(signed_in: SignedIn) -> Result<SignedIn, Problem> {
    if signed_in.session.must_change_password {
        return Err(Problem::new(ProblemCode::PasswordChangeRequired));
    }
    Ok(signed_in)
}

/// The token of the one `Authorization: Bearer` header, if it looks like one of ours.
fn bearer(parts: &Parts) -> Option<&str> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let is_ours = token.starts_with(TOKEN_PREFIX) && token.len() <= TOKEN_BYTES_MAX;
    (scheme.eq_ignore_ascii_case("bearer") && is_ours).then_some(token)
}

/// What a path is about, for the audit log.
fn target(path: &str) -> Option<Target> {
    let mut parts = path.strip_prefix("/admin/v1/")?.split('/');
    let (noun, id) = (parts.next()?, parts.next()?);
    match noun {
        "integrations" => id.parse::<IntegrationId>().ok().map(Target::Integration),
        "equipment" => id.parse::<EquipmentId>().ok().map(Target::Equipment),
        "access-reviews" => id.parse::<AccessReviewId>().ok().map(Target::AccessReview),
        "users" => id.parse::<UserId>().ok().map(Target::User),
        _ => None,
    }
}
