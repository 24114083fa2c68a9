//! The rooms that equipment is in (S284).

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    caller::Administrator,
    page::{List, list},
    parameters::Parameters,
    problem::Problem,
};
use crate::control::Room;

/// A room that equipment names, with what is in it.
#[derive(Serialize, ToSchema)]
#[schema(as = Room)]
pub(super) struct RoomView {
    /// As the equipment has it, byte for byte.
    room: String,
    /// Pieces in it that are active.
    active: u32,
    /// Pieces in it that are retired.
    retired: u32,
    /// Different locations within it.
    locations: u32,
    /// Integrations with equipment in it.
    integrations: u32,
}

impl From<Room> for RoomView {
    fn from(room: Room) -> Self {
        let Room { name, active, retired, locations, integrations } = room;
        Self { room: name, active, retired, locations, integrations }
    }
}

/// `GET /admin/v1/rooms`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<RoomView>>, Problem> {
    let integration_id = parameters.id("integration_id")?;
    let page = parameters.page()?;
    parameters.finish()?;
    Ok(list(admin.control.rooms(actor.organisation_id, integration_id, page).await?))
}
