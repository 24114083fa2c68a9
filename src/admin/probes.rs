//! For machines that watch the process: `/livez`, `/readyz`, `/metrics`. Open to everybody who reaches the port.

use axum::{Json, extract::State, response::IntoResponse};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;

/// Whether the process can do its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// What is missing.
    reasons: Vec<Reason>,
    /// What does not work though the process is ready: readings are taken all the same.
    degraded: Vec<Reason>,
}

/// One part that cannot do its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Reason {
    component: &'static str,
    reason: String,
}

/// `GET /livez`: the process answers.
pub(super) async fn livez() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "alive" }))
}

/// `GET /readyz`: 200 where everything works, 503 with reasons where not.
pub(super) async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let board = |entries: Vec<(&'static str, String)>| {
        entries.into_iter().map(|(component, reason)| Reason { component, reason }).collect::<Vec<_>>()
    };
    let (reasons, degraded) = (board(admin.health.complaints()), board(admin.health.degradations()));
    let (code, status) =
        if reasons.is_empty() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    (code, Json(Readiness { status, reasons, degraded }))
}

/// `GET /metrics`: Prometheus text.
pub(super) async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (admin.render_metrics)())
}
