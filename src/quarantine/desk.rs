//! Looking at what is held, sending it again, letting it go.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{
    Error, Rejections,
    item::{Entry, Filter, Held, Item, ItemId, Kind},
    keeper::now_us,
};
use crate::{
    auth::{Principal, Registry},
    delivery::{self, Quarantine, Search, What},
    ingest::{Ingest, Submission, Transport},
    model::{IntegrationId, ProblemCode, RequestId, Status},
    spool::Writer,
};

/// What the desk works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What the store refused.
    pub refused: Arc<Quarantine>,
    /// What was rejected and kept.
    pub rejected: Rejections,
    /// Who may send.
    pub registry: Arc<Registry>,
    /// Judges what was rejected once more.
    pub intake: Arc<Ingest>,
    /// Takes what was accepted before.
    pub writer: Writer,
}

/// The quarantine as an administrator sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    parts: Parts,
}

/// Behind which item a list goes on: what the store refused comes first, then what was rejected, each oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub ItemId);

impl Default for Place {
    fn default() -> Self {
        Self(ItemId::Refused(0))
    }
}

/// What became of one item that was to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, and no longer held.
    Replayed,
    /// It is not held, or no longer: nothing was done.
    Missing,
    /// It was rejected again, and stays with the new reason.
    Rejected {
        /// The entry's code.
        code: &'static str,
        /// In a sentence for people.
        message: String,
    },
    /// Its integration is not Active: nothing of it may become durable.
    NotActive,
    /// It cannot be made durable now.
    Unavailable(ProblemCode),
}

/// Entries of one batch: whose, when it came, in which request.
type BatchOf = (IntegrationId, i64, RequestId);

impl Desk {
    /// A desk over `parts`.
    #[must_use]
    pub const fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The items behind `after` that `filter` lets through, at most `limit`.
    ///
    /// # Errors
    /// When one of the files cannot be read.
    pub async fn list(&self, filter: Filter, after: Place, limit: usize) -> Result<Vec<Item>, Error> {
        let Parts { refused, rejected, .. } = self.parts.clone();
        spawn_blocking(move || {
            let mut items = Vec::new();
            let after_rejected = match after.0 {
                ItemId::Rejected(number) => number,
                ItemId::Refused(number) => {
                    items = list_refused(&refused, &filter, number, limit)?;
                    0
                }
            };
            if items.len() < limit {
                items.extend(rejected.0.list(&filter, after_rejected, limit - items.len())?);
            }
            Ok(items)
        })
        .await?
    }

    /// One item, if it is held.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub async fn get(&self, id: ItemId) -> Result<Option<Item>, Error> {
        let Parts { refused, rejected, .. } = self.parts.clone();
        spawn_blocking(move || match id {
            ItemId::Refused(number) => Ok(refused.get(number)?.map(refused_item)),
            ItemId::Rejected(number) => rejected.0.get(number),
        })
        .await?
    }

    /// Sends `items` again. Those that the store refused go by the spool, unjudged, for they were accepted; where the
    /// store refuses one again, it comes back with a new id and the new reason. Those that were rejected are judged
    /// anew, by the time at which they came; who is rejected again stays. To repeat the call is harmless.
    ///
    /// # Errors
    /// When one of the files cannot be read or written; what was done until then is done.
    pub async fn replay(&self, items: Vec<Item>) -> Result<BTreeMap<ItemId, Outcome>, Error> {
        let mut outcomes = BTreeMap::new();
        let mut batches: BTreeMap<BatchOf, Vec<(ItemId, Box<Entry>)>> = BTreeMap::new();
        for item in items {
            match (item.id, item.held) {
                (ItemId::Rejected(_), Held::Entry(entry)) => {
                    let (Some(integration_id), Some(received_us), Some(request_id)) =
                        (item.integration_id, item.received_us, item.request_id)
                    else {
                        continue;
                    };
                    batches.entry((integration_id, received_us, request_id)).or_default().push((item.id, entry));
                }
                (id @ ItemId::Refused(number), _) => {
                    outcomes.insert(id, self.replay_refused(number).await?);
                }
                (ItemId::Rejected(_), _) => {}
            }
        }
        for (batch, entries) in batches {
            for part in entries.chunks(PART_ENTRIES) {
                outcomes.extend(self.replay_rejected(batch, part).await?);
            }
        }
        Ok(outcomes)
    }

    async fn replay_refused(&self, number: i64) -> Result<Outcome, Error> {
        match self.parts.refused.replay(&[number], &self.parts.writer).await {
            Ok(0) => Ok(Outcome::Missing),
            Ok(_) => Ok(Outcome::Replayed),
            Err(delivery::Error::Replay(_)) => Ok(Outcome::Unavailable(ProblemCode::StorageUnavailable)),
            Err(error) => Err(error.into()),
        }
    }

    async fn replay_rejected(
        &self,
        (integration_id, received_at_us, request_id): BatchOf,
        entries: &[(ItemId, Box<Entry>)],
    ) -> Result<Vec<(ItemId, Outcome)>, Error> {
        let all = |outcome: Outcome| entries.iter().map(|(id, _)| (*id, outcome.clone())).collect();
        let integration = self.parts.registry.integration(integration_id);
        let Some(integration) = integration.filter(|one| one.facts().status == Status::Active) else {
            return Ok(all(Outcome::NotActive));
        };
        let principal = Principal::on_behalf(integration, IpAddr::from([127, 0, 0, 1]));
        let texts: Vec<&str> = entries.iter().map(|(_, entry)| entry.json.as_str()).collect();
        let body = Bytes::from(format!("[{}]", texts.join(",")));
        let transport = if entries.iter().all(|(_, entry)| entry.transport == Transport::Mqtt.as_str()) {
            Transport::Mqtt
        } else {
            Transport::Http
        };
        let submission = Submission { body, received_at_us, request_id, validate_only: false, transport };
        let result = match self.parts.intake.submit(&principal, submission).await {
            Ok(result) => result,
            Err(refused) if refused.problem.status() == 401 => return Ok(all(Outcome::NotActive)),
            Err(refused) => return Ok(all(Outcome::Unavailable(refused.problem))),
        };
        let rejected = self.parts.rejected.clone();
        let numbers: Vec<ItemId> = entries.iter().map(|(id, _)| *id).collect();
        spawn_blocking(move || {
            let now_us = now_us();
            let mut outcomes: BTreeMap<ItemId, Outcome> = BTreeMap::new();
            for error in &result.errors {
                let Some(id @ ItemId::Rejected(number)) = numbers.get(error.index as usize).copied() else { continue };
                rejected.0.refused_again(number, error, now_us)?;
                let (code, message) = (error.code.as_str(), error.message.clone());
                outcomes.insert(id, Outcome::Rejected { code, message });
            }
            for id in numbers {
                if let (ItemId::Rejected(number), false) = (id, outcomes.contains_key(&id)) {
                    // Gone meanwhile: another administrator was faster, with the same result.
                    rejected.0.remove(number)?;
                    outcomes.insert(id, Outcome::Replayed);
                }
            }
            Ok(outcomes.into_iter().collect())
        })
        .await?
    }

    /// Lets `ids` go for good; how many were held.
    ///
    /// # Errors
    /// When one of the files cannot be written; those before are gone.
    pub async fn discard(&self, ids: Vec<ItemId>) -> Result<usize, Error> {
        let Parts { refused, rejected, .. } = self.parts.clone();
        spawn_blocking(move || {
            let mut gone = 0;
            for id in ids {
                gone += usize::from(match id {
                    ItemId::Refused(number) => refused.remove(number)?,
                    ItemId::Rejected(number) => rejected.0.remove(number)?,
                });
            }
            Ok(gone)
        })
        .await?
    }
}

/// Entries that are judged together: as many as a batch may have.
const PART_ENTRIES: usize = 500;

fn list_refused(quarantine: &Quarantine, filter: &Filter, after: i64, limit: usize) -> Result<Vec<Item>, Error> {
    // A code is what a rejected entry has.
    if filter.kind == Some(Kind::Rejected) || filter.code.is_some() {
        return Ok(Vec::new());
    }
    let by_equipment = filter.external_id.is_some();
    let search = Search {
        integrations: &filter.integrations,
        with_records: filter.with_unreadable && !by_equipment,
        request_id: filter.request_id,
        equipment: by_equipment.then_some(filter.equipment.as_slice()),
        from_us: filter.from_us,
        to_us: filter.to_us,
    };
    Ok(quarantine.search(&search, after, limit)?.into_iter().map(refused_item).collect())
}

fn refused_item(entry: delivery::Entry) -> Item {
    let (header, held) = match entry.what {
        What::Reading { header, reading, .. } => (Some(header), Held::Reading(reading)),
        What::Record(record) => (None, Held::Unreadable(record.len())),
    };
    Item {
        id: ItemId::Refused(entry.id),
        integration_id: header.map(|header| header.integration_id),
        request_id: header.map(|header| header.request_id),
        received_us: header.map(|header| header.received_at_us),
        held_us: entry.quarantined_us,
        reason: entry.reason,
        held,
    }
}
