//! The list of an organisation's integrations.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::{Integration, row};
use crate::{
    control::{
        Control, Error, Vendor,
        page::{Page, PageRequest},
    },
    model::{IntegrationId, OrganisationId, Status, integration::INTEGRATIONS_MAX},
};

/// Characters of a search, at most.
const QUERY_CHARS_MAX: usize = 200;

/// Which integrations; all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct IntegrationFilter {
    /// Only of this status.
    pub status: Option<Status>,
    /// Only of this vendor.
    pub vendor: Option<Vendor>,
    /// Only with this in name or description; upper and lower case of A–Z are one.
    pub q: Option<String>,
}

/// A page of integrations, in the order they were created, and how many of the organisation's places are taken (S158).
#[derive(Debug, Clone)]
pub struct IntegrationPage {
    /// The page.
    pub page: Page<Integration>,
    /// Active and Suspended integrations.
    pub used: u32,
    /// Places in all.
    pub limit: u32,
}

impl Control {
    /// The integrations of `organisation_id` that `filter` lets through.
    pub async fn integrations(
        &self,
        organisation_id: OrganisationId,
        filter: IntegrationFilter,
        request: PageRequest,
    ) -> Result<IntegrationPage, Error> {
        let limit = request.limit()?;
        let after = request.after("integration:")?;
        if filter.q.as_ref().is_some_and(|q| q.chars().count() > QUERY_CHARS_MAX) {
            return Err(Error::InvalidParameter("q must have at most 200 characters"));
        }
        self.read(move |connection| {
            let connection = connection.unchecked_transaction()?;
            let mut statement = connection.prepare_cached(&format!(
                "{} ORDER BY i.id LIMIT :limit",
                row::select(
                    "i.organisation_id = :organisation_id
                       AND (:after IS NULL OR i.id > :after)
                       AND (:status IS NULL OR i.status = :status)
                       AND (:vendor IS NULL OR i.vendor = :vendor)
                       AND (:q IS NULL OR instr(lower(i.name), lower(:q)) OR instr(lower(i.description), lower(:q)))"
                )
            ))?;
            let items = statement
                .query_map(
                    rusqlite::named_params! {
                        ":organisation_id": organisation_id,
                        ":after": after,
                        ":status": filter.status,
                        ":vendor": filter.vendor.map(|vendor| vendor.name),
                        ":q": filter.q,
                        ":limit": limit + 1,
                    },
                    row::read,
                )?
                .collect::<Result<Vec<_>, _>>()?;
            let page = Page::cut(items, limit, "integration:", |item| item.id.as_uuid().as_bytes().to_vec());
            let used = connection
                .prepare_cached("SELECT count(*) FROM integrations WHERE organisation_id = ?1 AND slot IS NOT NULL")?
                .query_row([organisation_id], |row| row.get(0))?;
            Ok(IntegrationPage { page, used, limit: INTEGRATIONS_MAX as u32 })
        })
        .await
    }
}

/// All integrations of `organisation_id` that are Active or Suspended, in the order they were created (S315).
pub(in crate::control) fn in_use(
    connection: &Connection,
    organisation_id: OrganisationId,
) -> Result<Vec<Integration>, Error> {
    let sql = row::select("i.organisation_id = ?1 AND i.slot IS NOT NULL");
    let mut statement = connection.prepare_cached(&format!("{sql} ORDER BY i.id"))?;
    let found = statement.query_map([organisation_id], row::read)?.collect::<Result<_, _>>()?;
    Ok(found)
}

impl Control {
    /// The ids of all integrations of `organisation_id`, revoked ones too: whose log entries its members may see.
    pub async fn integration_ids(&self, organisation_id: OrganisationId) -> Result<Vec<IntegrationId>, Error> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT id FROM integrations WHERE organisation_id = ?1")?;
            let ids = statement.query_map([organisation_id], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(ids)
        })
        .await
    }

    /// The shown beginnings of the keys with these generations, as far as there are such keys (S198).
    pub async fn key_prefixes(
        &self,
        keys: Vec<(IntegrationId, u64)>,
    ) -> Result<HashMap<(IntegrationId, u64), String>, Error> {
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT prefix FROM api_keys WHERE integration_id = ?1 AND generation = ?2")?;
            let mut prefixes = HashMap::new();
            for key in keys {
                if let Some(prefix) = statement.query_row(key, |row| row.get(0)).optional()? {
                    prefixes.insert(key, prefix);
                }
            }
            Ok(prefixes)
        })
        .await
    }

    /// The same for every key of these integrations.
    pub async fn all_key_prefixes(
        &self,
        ids: Vec<IntegrationId>,
    ) -> Result<HashMap<(IntegrationId, u64), String>, Error> {
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT generation, prefix FROM api_keys WHERE integration_id = ?1")?;
            let mut prefixes = HashMap::new();
            for id in ids {
                let mut rows = statement.query([id])?;
                while let Some(row) = rows.next()? {
                    prefixes.insert((id, row.get(0)?), row.get(1)?);
                }
            }
            Ok(prefixes)
        })
        .await
    }
}
