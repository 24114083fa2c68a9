//! Equipment in lists, and all of it at the start of the process.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::{COLUMNS, Equipment, equipment_row};
use crate::{
    control::{Control, Error, Page, PageRequest},
    model::{EquipmentFacts, EquipmentKind, EquipmentNumber, IntegrationId, OrganisationId},
};

/// Keeps the cursors of this list out of others.
const CURSOR: &str = "equipment:";
/// Equipment handed over at a time when the process starts.
const EXPORT_CHUNK: usize = 10_000;

/// Which equipment a list shows.
#[derive(Debug, Clone, Default)]
pub struct EquipmentFilter {
    /// Of this integration.
    pub integration_id: Option<IntegrationId>,
    /// With this external id, byte for byte.
    pub external_id: Option<String>,
    /// Of this kind.
    pub kind: Option<EquipmentKind>,
    /// Of this type.
    pub type_name: Option<String>,
    /// Retired, or not.
    pub retired: Option<bool>,
    /// In this room, byte for byte.
    pub room: Option<String>,
    /// At this location, byte for byte.
    pub location: Option<String>,
    /// With this text in its name, external id, room or location, whatever the case.
    pub q: Option<String>,
}

impl Control {
    /// Equipment of `organisation_id` in order of registration.
    pub async fn equipment_list(
        &self,
        organisation_id: OrganisationId,
        filter: EquipmentFilter,
        request: PageRequest,
    ) -> Result<Page<Equipment>, Error> {
        let limit = request.limit()?;
        let after = request.after(CURSOR)?.map(|key| key.try_into().map(u32::from_be_bytes)).transpose();
        let after = after.map_err(|_| Error::InvalidParameter("cursor is not one that this list gave out"))?;
        self.read(move |connection| {
            let after = after.map(EquipmentNumber);
            let equipment = list(connection, organisation_id, &filter, after, limit + 1)?;
            Ok(Page::cut(equipment, limit, CURSOR, |one| one.number.0.to_be_bytes().to_vec()))
        })
        .await
    }

    /// Equipment of `organisation_id` from number `after` on, for callers who count in numbers, at most `limit`.
    pub async fn equipment_after(
        &self,
        organisation_id: OrganisationId,
        filter: EquipmentFilter,
        after: Option<EquipmentNumber>,
        limit: usize,
    ) -> Result<Vec<Equipment>, Error> {
        self.read(move |connection| list(connection, organisation_id, &filter, after, limit)).await
    }

    /// The equipment of `organisation_id` that has these numbers.
    pub async fn equipment_by_numbers(
        &self,
        organisation_id: OrganisationId,
        numbers: Vec<EquipmentNumber>,
    ) -> Result<Vec<Equipment>, Error> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM equipment WHERE number = ?1 AND organisation_id = ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = Vec::new();
            for number in numbers {
                found.extend(statement.query_row((number.0, organisation_id), equipment_row).optional()?);
            }
            Ok(found)
        })
        .await
    }

    /// All equipment of all organisations, a few thousand pieces at a time, for the start of the process. `visit` runs
    /// on a blocking thread.
    pub async fn each_equipment<F>(&self, mut visit: F) -> Result<(), Error>
    where
        F: FnMut(Vec<EquipmentFacts>) + Send + 'static,
    {
        self.read(move |connection| {
            let mut statement = connection
                .prepare("SELECT number, id, integration_id, kind, external_id, status = 'retired' FROM equipment")?;
            let mut rows = statement.query([])?;
            let mut chunk = Vec::with_capacity(EXPORT_CHUNK);
            while let Some(row) = rows.next()? {
                chunk.push(EquipmentFacts {
                    number: EquipmentNumber(row.get(0)?),
                    id: row.get(1)?,
                    integration_id: row.get(2)?,
                    kind: row.get(3)?,
                    external_id: row.get::<_, Option<String>>(4)?.map(Arc::from),
                    retired: row.get(5)?,
                });
                if chunk.len() == EXPORT_CHUNK {
                    visit(std::mem::replace(&mut chunk, Vec::with_capacity(EXPORT_CHUNK)));
                }
            }
            visit(chunk);
            Ok(())
        })
        .await
    }
}

fn list(
    connection: &Connection,
    organisation_id: OrganisationId,
    filter: &EquipmentFilter,
    after: Option<EquipmentNumber>,
    limit: usize,
) -> Result<Vec<Equipment>, Error> {
    let mut sql = format!("SELECT {COLUMNS} FROM equipment WHERE organisation_id = :org AND number > :after");
    let after = after.map_or(0, |number| number.0);
    let pattern = filter.q.as_deref().map(like_pattern);
    let mut values: Vec<(&str, &dyn rusqlite::ToSql)> =
        vec![(":org", &organisation_id), (":after", &after), (":limit", &limit)];
    // Written out by hand, so that each filter meets its index and none is there for nothing.
    if let Some(id) = &filter.integration_id {
        sql.push_str(" AND integration_id = :integration");
        values.push((":integration", id));
    }
    if let Some(external_id) = &filter.external_id {
        sql.push_str(" AND external_id = :external");
        values.push((":external", external_id));
    }
    if let Some(kind) = &filter.kind {
        sql.push_str(" AND kind = :kind");
        values.push((":kind", kind));
    }
    if let Some(type_name) = &filter.type_name {
        sql.push_str(" AND type = :type");
        values.push((":type", type_name));
    }
    if let Some(retired) = &filter.retired {
        sql.push_str(" AND (status = 'retired') = :retired");
        values.push((":retired", retired));
    }
    if let Some(room) = &filter.room {
        sql.push_str(" AND room = :room");
        values.push((":room", room));
    }
    if let Some(location) = &filter.location {
        sql.push_str(" AND location = :location");
        values.push((":location", location));
    }
    if let Some(pattern) = &pattern {
        sql.push_str(
            " AND (name LIKE :q ESCAPE '\\' OR external_id LIKE :q ESCAPE '\\' OR room LIKE :q ESCAPE '\\'
                OR location LIKE :q ESCAPE '\\')",
        );
        values.push((":q", pattern));
    }
    sql.push_str(" ORDER BY number LIMIT :limit");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(values.as_slice(), equipment_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A LIKE pattern that means `text` anywhere, with `\` as its escape.
fn like_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
