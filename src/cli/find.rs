//! Objects by the names that people give them: id, the beginning of one, name, e-mail address, external id.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    client::segment,
    context::Context,
    error::{Error, Result},
    options::Form,
    table,
};

/// Shortest beginning of an id that is looked for.
const PREFIX_MIN: usize = 4;

/// An object that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) json: Value,
}

impl Found {
    fn new(json: Value) -> Self {
        Self { id: json["id"].as_str().unwrap_or_default().to_owned(), json }
    }

    /// The entity tag of what was found.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.json["version"])
    }

    /// Its name, for a sentence.
    pub(super) fn name(&self) -> String {
        table::text(&self.json["name"])
    }

    /// Name and id, for a sentence.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.name(), self.id)
    }
}

/// The integration with this id, unique beginning of an id, or name.
///
/// # Errors
/// When there is none, or more than one.
pub(super) async fn integration(cx: &Context, given: &str) -> Result<Found> {
    let see = "sensorgate integrations list shows what there is.";
    if is_id(given) {
        let path = format!("/admin/v1/integrations/{}", segment(given));
        return Ok(Found::new(cx.client.get(path).or_see(see).send().await?.json));
    }
    let all = cx.client.get("/admin/v1/integrations").pages(None).await?.values;
    let named = |one: &&Value| one["name"].as_str() == Some(given);
    // A name may have been used before: what is revoked gives way to what is not.
    let is_live = |one: &&Value| one["status"].as_str() != Some("revoked");
    let lives: Vec<&Value> = all.iter().filter(named).filter(is_live).collect();
    let found = if lives.is_empty() { all.iter().filter(named).collect() } else { lives };
    let found = if found.is_empty() { with_prefix(&all, given) } else { found };
    only("integration", given, &found, see)
}

/// The id of the integration of a filter, if it has one.
///
/// # Errors
/// As [`integration`].
pub(super) async fn integration_id(cx: &Context, given: Option<&str>) -> Result<Option<String>> {
    match given {
        Some(given) => Ok(Some(integration(cx, given).await?.id)),
        None => Ok(None),
    }
}

/// The user with this id or e-mail address.
///
/// # Errors
/// When there is none.
pub(super) async fn user(cx: &Context, given: &str) -> Result<Found> {
    let see = "sensorgate users list shows who there is.";
    if is_id(given) {
        let path = format!("/admin/v1/users/{}", segment(given));
        return Ok(Found::new(cx.client.get(path).or_see(see).send().await?.json));
    }
    let all = cx.client.get("/admin/v1/users").pages(None).await?.values;
    let has_address = |one: &&Value| one["email"].as_str().is_some_and(|email| email.eq_ignore_ascii_case(given));
    let found: Vec<&Value> = all.iter().filter(has_address).collect();
    let found = if found.is_empty() { with_prefix(&all, given) } else { found };
    only("user", given, &found, see)
}

/// The equipment with this id, or this external id, within `integration` if it is given.
///
/// # Errors
/// When there is none, or more than one.
pub(super) async fn equipment(cx: &Context, given: &str, integration: Option<&str>) -> Result<Found> {
    let see = "sensorgate equipment list shows what there is.";
    if is_id(given) && integration.is_none() {
        let path = format!("/admin/v1/equipment/{}", segment(given));
        return Ok(Found::new(cx.client.get(path).or_see(see).send().await?.json));
    }
    let integration_id = integration_id(cx, integration).await?;
    let call = cx.client.get("/admin/v1/equipment").query("external_id", Some(given));
    let all = call.query("integration_id", integration_id).pages(None).await?.values;
    only("equipment", given, &all.iter().collect::<Vec<_>>(), see)
}

/// Names by id, for people who cannot read ids.
pub(super) type Names = BTreeMap<String, String>;

/// E-mail addresses by user id.
pub(super) async fn people(cx: &Context) -> Names {
    names(cx, "/admin/v1/users", "email").await
}

/// Names by integration id.
pub(super) async fn integration_names(cx: &Context) -> Names {
    names(cx, "/admin/v1/integrations", "name").await
}

async fn names(cx: &Context, path: &str, name: &str) -> Names {
    if cx.out.form != Form::Table {
        return Names::new();
    }
    // Where they cannot be had, the ids are shown.
    let listing = cx.client.get(path).pages(None).await.unwrap_or_default();
    let pair = |one: &Value| Some((one["id"].as_str()?.to_owned(), one[name].as_str()?.to_owned()));
    listing.values.iter().filter_map(pair).collect()
}

/// The name in place of the id, where it is known.
pub(super) fn named(names: &Names, id: &Value) -> Value {
    let name = id.as_str().and_then(|id| names.get(id));
    name.map_or_else(|| id.clone(), |name| Value::from(name.as_str()))
}

/// Whether `text` is a whole id.
pub(super) fn is_id(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok()
}

/// Those whose id begins so.
pub(super) fn with_prefix<'a>(all: &'a [Value], given: &str) -> Vec<&'a Value> {
    let is_prefix = given.len() >= PREFIX_MIN;
    let begins = |one: &&Value| one["id"].as_str().is_some_and(|id| id.starts_with(&given.to_ascii_lowercase()));
    if is_prefix { all.iter().filter(begins).collect() } else { Vec::new() }
}

/// The one that was found.
///
/// # Errors
/// When there is none, or more than one.
pub(super) fn only(noun: &str, given: &str, found: &[&Value], see: &str) -> Result<Found> {
    match found {
        [one] => Ok(Found::new((*one).clone())),
        [] => Err(Error::NotFound(format!("There is no {noun} {given:?}.\n  {see}"))),
        several => {
            let ids: Vec<String> = several.iter().take(10).map(|one| table::text(&one["id"])).collect();
            let count = several.len();
            Err(Error::usage(format!("{given:?} could be {count} of them; give the id: {}", ids.join(", "))))
        }
    }
}
