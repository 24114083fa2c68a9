//! Rooms: not objects of their own, but what equipment says where it is (S284).

use rusqlite::Connection;

use crate::{
    control::{Control, Error, Page, PageRequest},
    model::{IntegrationId, OrganisationId},
};

/// Keeps the cursors of this list out of others.
const CURSOR: &str = "rooms:";

/// A room that equipment names, with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// As the equipment has it, byte for byte.
    pub name: String,
    /// Pieces in it that are active.
    pub active: u32,
    /// Pieces in it that are retired.
    pub retired: u32,
    /// Different locations within it.
    pub locations: u32,
    /// Integrations with equipment in it.
    pub integrations: u32,
}

impl Control {
    /// The rooms that equipment of `organisation_id`, or of one of its integrations, is in, in the order of their
    /// bytes.
    pub async fn rooms(
        &self,
        organisation_id: OrganisationId,
        integration_id: Option<IntegrationId>,
        request: PageRequest,
    ) -> Result<Page<Room>, Error> {
        let limit = request.limit()?;
        let after = request.after(CURSOR)?.map(String::from_utf8).transpose();
        let after = after.map_err(|_| Error::InvalidParameter("cursor is not one that this list gave out"))?;
        self.read(move |connection| {
            let rooms = list(connection, organisation_id, integration_id, after.as_deref(), limit + 1)?;
            Ok(Page::cut(rooms, limit, CURSOR, |room| room.name.clone().into_bytes()))
        })
        .await
    }
}

fn list(
    connection: &Connection,
    organisation_id: OrganisationId,
    integration_id: Option<IntegrationId>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Room>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT room, count(*) FILTER (WHERE status = 'active'), count(*) FILTER (WHERE status = 'retired'),
                count(DISTINCT location), count(DISTINCT integration_id)
         FROM equipment
         WHERE organisation_id = ?1 AND room > ?2 AND (?3 IS NULL OR integration_id = ?3)
         GROUP BY room ORDER BY room LIMIT ?4",
    )?;
    // No room is an empty text, so this is before the first.
    let rows = statement.query_map((organisation_id, after.unwrap_or(""), integration_id, limit), |row| {
        Ok(Room {
            name: row.get(0)?,
            active: row.get(1)?,
            retired: row.get(2)?,
            locations: row.get(3)?,
            integrations: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
