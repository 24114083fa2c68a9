//! Probes.

use crate::admin::probes::Readiness;

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "probes", security(()),
    responses((status = 200, description = "Alive.", body = Object)))]
pub(super) fn livez() {}

/// The process can do its work.
#[utoipa::path(get, path = "/readyz", tag = "probes", security(()), responses(
    (status = 200, description = "Ready.", body = Readiness),
    (status = 503, description = "Not ready, and why.", body = Readiness),
))]
pub(super) fn readyz() {}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "probes", security(()),
    responses((status = 200, description = "Prometheus text.", content_type = "text/plain", body = String)))]
pub(super) fn metrics() {}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "probes", security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub(super) fn openapi() {}
