//! All paths of the port.
//!
//! Open to everybody who reaches the port: `/livez`, `/readyz`, `/metrics`, `/openapi.json` and the sign-in. Every
//! other handler takes one of the extractors of `caller.rs`.

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{delete, get, patch, post},
};

use http::{HeaderName, header::ALLOW};

use super::{
    Admin, access_reviews, allowlist, audit, audit_export, caller::SignedIn, catalogue, equipment, equipment_csv,
    grants, handover, integrations, latest, lifecycle, openapi, probes, problem::Problem, quarantine, reading_trace,
    readings, request, request_log, rooms, session, users,
};
use crate::{model::ProblemCode, rest::webhook};

/// The service of the administrators' port, for [`crate::listener::serve`].
pub fn router(admin: Admin) -> Router {
    let integration = Router::new()
        .route("/", get(integrations::show).patch(integrations::update))
        .route("/approve", post(lifecycle::approve))
        .route("/activate", post(lifecycle::activate))
        .route("/suspend", post(lifecycle::suspend))
        .route("/reactivate", post(lifecycle::reactivate))
        .route("/revoke", post(lifecycle::revoke))
        .route("/api-key", post(lifecycle::regenerate_key))
        .route("/scopes/confirm", post(integrations::confirm_scopes))
        .route("/scopes/decline", post(integrations::decline_scopes))
        .route("/handover", get(handover::show))
        .route("/ip-allowlist", get(allowlist::show).put(allowlist::replace))
        .route("/grants", post(grants::create).merge(delete(grants::end)))
        .route("/history", get(audit::history))
        .nest("/webhooks", webhook::router());
    let v1 = Router::new()
        .route("/login", post(session::login).fallback(only_post))
        .route("/logout", post(session::logout))
        .route("/me", get(session::me))
        .route("/password", post(session::change_password))
        .route("/users", get(users::index).post(users::create))
        .route("/users/{id}", get(users::show).merge(patch(users::update)))
        .route("/users/{id}/confirm", post(users::confirm))
        .route("/users/{id}/password-reset", post(users::reset_password))
        .route("/vendors", get(catalogue::vendors))
        .route("/scopes", get(catalogue::scopes))
        .route("/taxonomies/equipment-types", get(catalogue::equipment_types))
        .route("/integrations", get(integrations::index).post(integrations::create))
        .nest("/integrations/{id}", integration)
        .route("/audit-log", get(audit::index))
        .route("/audit-log/verify", get(audit::verify))
        .route("/audit-log/checkpoints", get(audit::checkpoints))
        .route("/audit-log/export", get(audit_export::export))
        .route("/access-reviews", get(access_reviews::index).post(access_reviews::create))
        .route("/access-reviews/{id}", get(access_reviews::show))
        .route("/access-reviews/{id}/answers", post(access_reviews::answer))
        .route("/access-reviews/{id}/sign-off", post(access_reviews::sign))
        .route("/equipment", get(equipment::index).post(equipment::create))
        .route("/equipment/bulk", post(equipment::upsert))
        .route("/equipment/export", get(equipment_csv::export))
        .route("/equipment/import", post(equipment_csv::import))
        .route("/equipment/{id}", get(equipment::show).merge(patch(equipment::update)))
        .route("/equipment/{id}/retire", post(equipment::retire))
        .route("/quarantine", get(quarantine::index))
        .route("/quarantine/replay", post(quarantine::replay))
        .route("/quarantine/discard", post(quarantine::discard))
        .route("/quarantine/{id}", get(quarantine::show))
        .route("/rooms", get(rooms::index))
        .route("/readings", get(readings::index))
        .route("/readings/latest", get(latest::index))
        .route("/readings/trace", get(reading_trace::show))
        .route("/request-log", get(request_log::index))
        .route("/request-log/counts", get(request_log::sums::counts))
        .route("/request-log/hours", get(request_log::sums::hours))
        .route("/request-log/addresses", get(request_log::sums::addresses))
        .route("/request-log/{id}", get(request_log::show));
    Router::new()
        .nest("/admin/v1", v1)
        .route("/openapi.json", get(openapi::serve).fallback(only_get))
        .route("/livez", get(probes::livez).fallback(only_get))
        .route("/readyz", get(probes::readyz).fallback(only_get))
        .route("/metrics", get(probes::metrics).fallback(only_get))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(admin.clone(), request::layer))
        .with_state(admin)
}

/// Nobody learns without a session which paths there are.
async fn unknown_path(_: SignedIn) -> Problem {
    Problem::new(ProblemCode::NotFound)
}

async fn unknown_method(_: SignedIn) -> Problem {
    Problem::new(ProblemCode::MethodNotAllowed)
}

/// What is open to everybody says so, whatever the method.
async fn only_get() -> ([(HeaderName, &'static str); 1], Problem) {
    ([(ALLOW, "GET,HEAD")], Problem::new(ProblemCode::MethodNotAllowed))
}

async fn only_post() -> ([(HeaderName, &'static str); 1], Problem) {
    ([(ALLOW, "POST")], Problem::new(ProblemCode::MethodNotAllowed))
}
