//! The OpenAPI document of this API.
use axum::Json;
pub(super) async fn serve() -> Json<serde_json::Value> {
    Json(serde_json::json!({}))
}
