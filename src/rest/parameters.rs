//! Query parameters. An unknown or doubled one is refused: a filter that is silently ignored shows the wrong data.

use std::{collections::BTreeMap, str::FromStr};

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::{problem::Problem, time};
use crate::control::PageRequest;

/// The parameters that no handler has taken yet.
#[derive(Debug)]
pub(crate) struct Parameters(BTreeMap<String, Vec<String>>);

impl<A: Sync> FromRequestParts<A> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &A) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::parameter("The query of the URL cannot be read."))?;
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            values.entry(name).or_default().push(value);
        }
        Ok(Self(values))
    }
}

impl Parameters {
    /// The one value of `name`, if it is given.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(mut values) = self.0.remove(name) else { return Ok(None) };
        match (values.pop(), values.is_empty()) {
            (Some(value), true) => Ok(Some(value)),
            _ => Err(Problem::parameter(format!("{name} is given more than once."))),
        }
    }

    /// All values of `name`: given several times, or separated by commas.
    pub(crate) fn texts(&mut self, name: &str) -> Vec<String> {
        let values = self.0.remove(name).unwrap_or_default();
        values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
    }

    /// The value of `name`, read by `read`; `form` says what it must be.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        form: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| Problem::parameter(format!("{name} must be {form}.")))
    }

    /// One of our ids.
    pub(crate) fn id<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        self.read(name, "an id (UUID)", |text| text.parse().ok())
    }

    /// A time in RFC 3339, in microseconds (Unix). A plus sign that a client forgot to escape has become a space.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        let form = "a time in RFC 3339, 2026-01-05T10:00:00Z for example";
        self.read(name, form, |text| time::parse(&text.replace(' ', "+")))
    }

    /// `cursor` and `limit`.
    pub(crate) fn page(&mut self) -> Result<PageRequest, Problem> {
        let limit = self.read("limit", "a whole number from 1 to 200", |text| text.parse().ok())?;
        Ok(PageRequest { cursor: self.text("cursor")?, limit })
    }

    /// Ends the reading: refused where something is left.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::parameter(format!("{name:?} is not a parameter of this call."))),
        }
    }
}
