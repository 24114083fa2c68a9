//! Readings that did not get into the store: looked at, sent again, let go. Each call that changes something stands in
//! the audit log before it does.

use std::collections::HashMap;

use axum::{Json, extract::State};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    Admin, body::Fields, caller::Administrator, page::List, parameters::Parameters, path::Id, problem::Problem, time,
};
use crate::{
    control::{
        Actor, Equipment, EquipmentFilter,
        audit::Target,
        page::{PAGE_DEFAULT, PAGE_MAX},
    },
    model::{EquipmentNumber, IntegrationId, ProblemCode, RequestId},
    quarantine::{Error, Filter, Held, Item, ItemId, Kind, Outcome, Place},
};

/// Keeps the cursors of this list out of others.
const CURSOR: &str = "quarantine:";
/// Items of one replay or discard, at most.
const ITEMS_MAX: usize = 500;
/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 4_000;

/// A reading that is held, with the reason.
#[derive(Serialize, ToSchema)]
#[schema(as = QuarantineItem)]
pub(super) struct ItemView {
    id: String,
    /// `refused`: by the store, after it was accepted. `rejected`: when it came, and kept.
    kind: &'static str,
    /// Why.
    reason: String,
    /// The entry code of a rejected one.
    code: Option<String>,
    /// The field that is to blame for a rejected one.
    field: Option<String>,
    /// Null: what came cannot be read.
    #[schema(value_type = Option<String>, format = Uuid)]
    integration_id: Option<IntegrationId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    request_id: Option<RequestId>,
    received_at: Option<String>,
    /// When it was put here; of a rejected one that came several times, when last.
    held_at: String,
    equipment_id: Option<String>,
    external_id: Option<String>,
    metric: Option<String>,
    /// Of a refused one; a rejected one has it in `entry`, if anywhere.
    timestamp: Option<String>,
    /// Of a refused one.
    value: Option<f64>,
    /// Of a refused one.
    quality: Option<&'static str>,
    /// A rejected one as it was sent, byte for byte.
    entry: Option<String>,
    /// `http` or `mqtt`, of a rejected one.
    transport: Option<String>,
    /// How often the same rejected one came.
    seen: Option<u32>,
    /// How often a rejected one was sent again and rejected again.
    replays: Option<u32>,
    last_replayed_at: Option<String>,
    /// Bytes that cannot be read.
    unreadable_bytes: Option<usize>,
}

/// What a replay did.
#[derive(Serialize, ToSchema)]
#[schema(as = QuarantineReplay)]
pub(super) struct ReplayView {
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    /// Durable now, and no longer held.
    replayed: usize,
    /// Still held.
    held: usize,
    /// Not held, or no longer.
    missing: usize,
    /// Whether there are more that the filter lets through: call again.
    more: bool,
    items: Vec<OutcomeView>,
}

/// What became of one item.
#[derive(Serialize, ToSchema)]
#[schema(as = QuarantineOutcome)]
pub(super) struct OutcomeView {
    id: String,
    /// `replayed`, `missing`, `rejected`, `not_active` or `unavailable`.
    outcome: &'static str,
    /// The entry code, or the problem's.
    code: Option<&'static str>,
    message: Option<String>,
}

/// What a discard did.
#[derive(Serialize, ToSchema)]
#[schema(as = QuarantineDiscard)]
pub(super) struct DiscardView {
    #[schema(value_type = String, format = Uuid)]
    request_id: RequestId,
    discarded: usize,
    /// Not held, or no longer.
    missing: usize,
    /// Whether there are more that the filter lets through: call again.
    more: bool,
}

/// `GET /admin/v1/quarantine`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<ItemView>>, Problem> {
    let asked = Asked {
        integration_id: parameters.id("integration_id")?,
        kind: parameters.read("kind", "refused or rejected", Kind::parse)?,
        code: parameters.text("code")?,
        external_id: parameters.text("external_id")?,
        request_id: parameters.id("request_id")?,
        from_us: parameters.time("from")?,
        to_us: parameters.time("to")?,
    };
    let page = parameters.page()?;
    parameters.finish()?;
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::parameter("limit must be a whole number from 1 to 200."));
    }
    let after = page.cursor.as_deref().map(place).transpose()?.unwrap_or_default();
    let filter = asked.filter(&admin, &actor).await?;
    let limit = limit as usize;
    let mut items = admin.quarantine.list(filter, after, limit + 1).await?;
    let goes_on = items.len() > limit;
    items.truncate(limit);
    let next_cursor =
        items.last().filter(|_| goes_on).map(|item| URL_SAFE_NO_PAD.encode(format!("{CURSOR}{}", item.id)));
    Ok(Json(List { items: shown(&admin, &actor, items).await?, next_cursor }))
}

/// `GET /admin/v1/quarantine/{id}`
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<ItemId>,
) -> Result<Json<ItemView>, Problem> {
    let item = own(&admin, &actor, id).await?.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    let view = shown(&admin, &actor, vec![item]).await?.pop();
    view.map(Json).ok_or_else(|| Problem::new(ProblemCode::NotFound))
}

/// `POST /admin/v1/quarantine/replay`
pub(super) async fn replay(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut fields: Fields,
) -> Result<Json<ReplayView>, Problem> {
    let chosen = Chosen::read(&mut fields);
    let reason = fields.text("reason");
    check_reason(&mut fields, reason.as_deref(), false);
    fields.finish()?;
    let Selection { items, missing, more } = chosen.select(&admin, &actor).await?;
    if !items.is_empty() {
        audit(&admin, &actor, "quarantine_replay", &items, reason).await?;
    }
    let outcomes = admin.quarantine.replay(items).await?;
    let view = |(id, outcome): (ItemId, Outcome)| {
        let (name, code, message) = match outcome {
            Outcome::Replayed => ("replayed", None, None),
            Outcome::Missing => ("missing", None, None),
            Outcome::Rejected { code, message } => ("rejected", Some(code), Some(message)),
            Outcome::NotActive => {
                ("not_active", None, Some("the integration is not active: nothing of it is stored".to_owned()))
            }
            Outcome::Unavailable(problem) => ("unavailable", Some(problem.code()), Some(problem.remedy().to_owned())),
        };
        OutcomeView { id: id.to_string(), outcome: name, code, message }
    };
    let mut items: Vec<OutcomeView> = outcomes.into_iter().map(view).collect();
    items.extend(missing.into_iter().map(|id| view((id, Outcome::Missing))));
    let count = |outcome: &str| items.iter().filter(|item| item.outcome == outcome).count();
    let (replayed, missing) = (count("replayed"), count("missing"));
    let held = items.len() - replayed - missing;
    Ok(Json(ReplayView { request_id: actor.request_id, replayed, held, missing, more, items }))
}

/// `POST /admin/v1/quarantine/discard`
pub(super) async fn discard(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut fields: Fields,
) -> Result<Json<DiscardView>, Problem> {
    let chosen = Chosen::read(&mut fields);
    let reason = fields.text("reason");
    check_reason(&mut fields, reason.as_deref(), true);
    fields.finish()?;
    let Selection { items, missing, more } = chosen.select(&admin, &actor).await?;
    if !items.is_empty() {
        audit(&admin, &actor, "quarantine_discard", &items, reason).await?;
    }
    let asked = items.len() + missing.len();
    let discarded = admin.quarantine.discard(items.into_iter().map(|item| item.id).collect()).await?;
    Ok(Json(DiscardView { request_id: actor.request_id, discarded, missing: asked - discarded, more }))
}

/// A discard loses a reading for good: it needs a reason.
fn check_reason(fields: &mut Fields, reason: Option<&str>, is_needed: bool) {
    let is_blank = reason.is_none_or(|reason| reason.trim().is_empty());
    if (is_needed || reason.is_some()) && is_blank && !fields.refuses("reason") {
        fields.refuse::<()>("reason", "must be given, and not be blank");
    }
    if reason.is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        fields.refuse::<()>("reason", "must have at most 4000 characters");
    }
}

/// What is done to which of them, before it is done.
async fn audit(
    admin: &Admin,
    actor: &Actor,
    action: &'static str,
    items: &[Item],
    reason: Option<String>,
) -> Result<(), Problem> {
    let about = |item: &Item| {
        json!({
            "id": item.id.to_string(),
            "integration_id": item.integration_id,
            "request_id": item.request_id,
            "reason": item.reason,
        })
    };
    let after = json!({ "count": items.len(), "items": items.iter().map(about).collect::<Vec<Value>>() });
    let target = Target::Organisation(actor.organisation_id);
    Ok(admin.control.audit_action(*actor, action, target, after, reason).await?)
}

/// Conditions as a call has them.
#[derive(Debug, Default)]
struct Asked {
    integration_id: Option<IntegrationId>,
    kind: Option<Kind>,
    code: Option<String>,
    external_id: Option<String>,
    request_id: Option<RequestId>,
    from_us: Option<i64>,
    to_us: Option<i64>,
}

impl Asked {
    /// The same within the actor's organisation (S008).
    async fn filter(self, admin: &Admin, actor: &Actor) -> Result<Filter, Problem> {
        let mut integrations = admin.control.integration_ids(actor.organisation_id).await?;
        if let Some(id) = self.integration_id {
            if !integrations.contains(&id) {
                return Err(Problem::new(ProblemCode::NotFound));
            }
            integrations = vec![id];
        }
        let mut equipment = Vec::new();
        if let Some(external_id) = &self.external_id {
            let filter = EquipmentFilter {
                integration_id: self.integration_id,
                external_id: Some(external_id.clone()),
                ..EquipmentFilter::default()
            };
            let found = admin.control.equipment_after(actor.organisation_id, filter, None, ITEMS_MAX).await?;
            equipment = found.iter().map(|one| one.number).collect();
        }
        Ok(Filter {
            integrations,
            with_unreadable: self.integration_id.is_none() && is_alone(admin).await?,
            kind: self.kind,
            code: self.code,
            external_id: self.external_id,
            equipment,
            request_id: self.request_id,
            from_us: self.from_us,
            to_us: self.to_us,
        })
    }
}

/// What cannot be read could be anybody's: it is shown where there is one organisation only.
async fn is_alone(admin: &Admin) -> Result<bool, Problem> {
    Ok(admin.control.organisations().await?.len() == 1)
}

/// The item, if it is one of the actor's organisation.
async fn own(admin: &Admin, actor: &Actor, id: ItemId) -> Result<Option<Item>, Problem> {
    let Some(item) = admin.quarantine.get(id).await? else { return Ok(None) };
    let is_own = match item.integration_id {
        Some(integration_id) => admin.control.integration_ids(actor.organisation_id).await?.contains(&integration_id),
        None => is_alone(admin).await?,
    };
    Ok(Some(item).filter(|_| is_own))
}

/// The items that a body names: `ids`, or a `filter`.
struct Chosen {
    ids: Option<Vec<ItemId>>,
    asked: Option<Asked>,
    limit: usize,
}

/// Those of them that are held.
struct Selection {
    items: Vec<Item>,
    missing: Vec<ItemId>,
    more: bool,
}

impl Chosen {
    fn read(fields: &mut Fields) -> Self {
        let ids = fields.texts("ids").map(|texts| {
            let mut ids = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                match text.parse() {
                    Ok(id) => ids.push(id),
                    Err(_) => {
                        fields.refuse::<()>(&format!("ids[{index}]"), "must be an id of the quarantine");
                    }
                }
            }
            ids.sort_unstable();
            ids.dedup();
            ids
        });
        if ids.as_ref().is_some_and(|ids| ids.is_empty() || ids.len() > ITEMS_MAX) && !fields.has_refusals() {
            fields.refuse::<()>("ids", "must have 1 to 500 elements");
        }
        let asked = fields.object("filter", Asked::read);
        if ids.is_some() == asked.is_some() && !fields.has_refusals() {
            fields.refuse::<()>("ids", "either ids or a filter must be given");
        }
        let limit = fields.integer("limit").unwrap_or(ITEMS_MAX as i64);
        let limit = usize::try_from(limit).ok().filter(|limit| (1..=ITEMS_MAX).contains(limit));
        if limit.is_none() {
            fields.refuse::<()>("limit", "must be a whole number from 1 to 500");
        }
        Self { ids, asked, limit: limit.unwrap_or(ITEMS_MAX) }
    }

    async fn select(self, admin: &Admin, actor: &Actor) -> Result<Selection, Problem> {
        let (mut items, mut missing) = (Vec::new(), Vec::new());
        if let Some(asked) = self.asked {
            let filter = asked.filter(admin, actor).await?;
            items = admin.quarantine.list(filter, Place::default(), self.limit + 1).await?;
            let more = items.len() > self.limit;
            items.truncate(self.limit);
            return Ok(Selection { items, missing, more });
        }
        for id in self.ids.unwrap_or_default() {
            match own(admin, actor, id).await? {
                Some(item) => items.push(item),
                None => missing.push(id),
            }
        }
        Ok(Selection { items, missing, more: false })
    }
}

impl Asked {
    fn read(fields: &mut Fields) -> Self {
        let kind = fields.text("kind");
        let kind =
            kind.and_then(|kind| Kind::parse(&kind).or_else(|| fields.refuse("kind", "must be refused or rejected")));
        Self {
            integration_id: fields.id("integration_id"),
            kind,
            code: fields.text("code"),
            external_id: fields.text("external_id"),
            request_id: fields.id("request_id"),
            from_us: fields.nullable_time("from").flatten(),
            to_us: fields.nullable_time("to").flatten(),
        }
    }
}

fn place(cursor: &str) -> Result<Place, Problem> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        std::str::from_utf8(&bytes).ok()?.strip_prefix(CURSOR)?.parse().ok()
    };
    read().map(Place).ok_or_else(|| Problem::parameter("cursor must be one that this list gave out."))
}

async fn shown(admin: &Admin, actor: &Actor, items: Vec<Item>) -> Result<Vec<ItemView>, Problem> {
    let numbers: Vec<EquipmentNumber> = items
        .iter()
        .filter_map(|item| match &item.held {
            Held::Reading(reading) => Some(reading.series.equipment()),
            _ => None,
        })
        .collect();
    let known = if numbers.is_empty() {
        HashMap::new()
    } else {
        let found = admin.control.equipment_by_numbers(actor.organisation_id, numbers).await?;
        found.into_iter().map(|one| (one.number, one)).collect()
    };
    Ok(items.into_iter().map(|item| view(admin, item, &known)).collect())
}

fn view(admin: &Admin, item: Item, known: &HashMap<EquipmentNumber, Equipment>) -> ItemView {
    let kind = match item.id {
        ItemId::Refused(_) => Kind::Refused,
        ItemId::Rejected(_) => Kind::Rejected,
    };
    let mut view = ItemView {
        id: item.id.to_string(),
        kind: kind.as_str(),
        reason: item.reason,
        code: None,
        field: None,
        integration_id: item.integration_id,
        request_id: item.request_id,
        received_at: time::format_some(item.received_us),
        held_at: time::format(item.held_us),
        equipment_id: None,
        external_id: None,
        metric: None,
        timestamp: None,
        value: None,
        quality: None,
        entry: None,
        transport: None,
        seen: None,
        replays: None,
        last_replayed_at: None,
        unreadable_bytes: None,
    };
    match item.held {
        Held::Reading(reading) => {
            let equipment = known.get(&reading.series.equipment());
            view.equipment_id = equipment.map(|equipment| equipment.id.to_string());
            view.external_id = equipment.and_then(|equipment| equipment.external_id.clone());
            view.metric = admin.metrics.by_number(reading.series.metric()).map(|metric| metric.name.clone());
            view.timestamp = Some(time::format(reading.timestamp_us));
            view.value = Some(reading.value);
            view.quality = Some(reading.quality.as_str());
        }
        Held::Unreadable(bytes) => view.unreadable_bytes = Some(bytes),
        Held::Entry(entry) => {
            let entry = *entry;
            view.code = Some(entry.code);
            view.field = entry.field;
            view.equipment_id = entry.equipment_id;
            view.external_id = entry.external_id;
            view.metric = entry.metric;
            view.entry = Some(entry.json);
            view.transport = Some(entry.transport);
            view.seen = Some(entry.seen);
            view.replays = Some(entry.replays);
            view.last_replayed_at = time::format_some(entry.replayed_us);
        }
    }
    view
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a call of the quarantine failed");
        Self::new(ProblemCode::Internal)
    }
}
