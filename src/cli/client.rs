//! The administrators' API as the commands call it: one place for addresses, credentials, pages and refusals.

use std::{collections::BTreeMap, io::Write, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, Response, StatusCode, Url, header};
use serde_json::{Value, value::RawValue};

use super::error::{Error, Problem, Refusal, Result};

/// How long to try to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for the next bytes of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest page that the service gives.
pub(super) const PAGE_MAX: usize = 200;

/// A connection to one service, as one administrator or as nobody.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    /// Without a slash at the end.
    base: String,
    token: Option<String>,
}

/// An answer of the service, word for word and read.
#[derive(Debug)]
pub(super) struct Answer {
    /// The entity tag to send back as If-Match.
    pub(super) etag: Option<String>,
    pub(super) text: String,
    pub(super) json: Value,
}

/// A list, all its pages together.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Word for word.
    pub(super) items: Vec<Box<RawValue>>,
    /// The same, read.
    pub(super) values: Vec<Value>,
    /// Whether the service has more than was asked for.
    pub(super) has_more: bool,
    /// What stood beside the items of the first page.
    pub(super) beside: BTreeMap<String, Value>,
}

/// A request that is being put together.
pub(super) struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<(&'static str, Vec<u8>)>,
    if_match: Option<String>,
    hint: Option<String>,
}

/// `text` as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string().replace("%2D", "-")
}

impl Client {
    /// A client for `base`. Redirects are not followed: credentials go where they were meant to go.
    ///
    /// # Errors
    /// When this machine's certificates cannot be read.
    pub(super) fn new(base: &Url, token: Option<String>) -> Result<Self> {
        let url = base.as_str().trim_end_matches('/').to_owned();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sensorgate-cli/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT);
        if base.scheme() == "http" {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|source| Error::Unreachable { url: url.clone(), source })?;
        Ok(Self { http, base: url, token })
    }

    /// The same service with another session.
    pub(super) fn with_token(&self, token: String) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    /// Where the service is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        let path = path.into();
        Call { client: self, method, path, query: Vec::new(), body: None, if_match: None, hint: None }
    }

    pub(super) fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(super) fn post(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub(super) fn put(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::PUT, path)
    }

    pub(super) fn patch(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::PATCH, path)
    }

    pub(super) fn delete(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::DELETE, path)
    }
}

impl Call<'_> {
    /// A parameter of the URL, where there is a value.
    pub(super) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    pub(super) fn body(mut self, media_type: &'static str, bytes: Vec<u8>) -> Self {
        self.body = Some((media_type, bytes));
        self
    }

    /// Refused with 412 when the object is no longer the one with this tag.
    pub(super) fn if_match(mut self, tag: Option<&str>) -> Self {
        self.if_match = tag.map(str::to_owned);
        self
    }

    /// What to say beside a 404.
    pub(super) fn or_see(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The answer.
    ///
    /// # Errors
    /// When nobody answers, or the service refuses.
    pub(super) async fn send(self) -> Result<Answer> {
        let url = self.url();
        let response = self.response().await?;
        let etag = text_of(&response, &header::ETAG);
        let text = response.text().await.map_err(|source| Error::Unreachable { url: url.clone(), source })?;
        let json = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|error| Error::Strange { url, what: error.to_string() })?
        };
        Ok(Answer { etag, text, json })
    }

    /// The answer's body, piece by piece into `out`; how many bytes it was.
    ///
    /// # Errors
    /// When nobody answers, the service refuses, or `out` does not take it.
    pub(super) async fn download(self, out: &mut dyn Write) -> Result<u64> {
        let url = self.url();
        let mut response = self.response().await?;
        let mut bytes = 0;
        while let Some(piece) =
            response.chunk().await.map_err(|source| Error::Unreachable { url: url.clone(), source })?
        {
            out.write_all(&piece)?;
            bytes += piece.len() as u64;
        }
        out.flush()?;
        Ok(bytes)
    }

    /// The items of as many pages as it takes for `limit` of them; all without one.
    ///
    /// # Errors
    /// When nobody answers, the service refuses, or the answer is no list.
    pub(super) async fn pages(self, limit: Option<usize>) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut cursor: Option<String> = None;
        loop {
            let missing = limit.map_or(PAGE_MAX, |limit| (limit - listing.items.len()).min(PAGE_MAX));
            let call = Self {
                query: self.query.clone(),
                path: self.path.clone(),
                method: self.method.clone(),
                body: None,
                if_match: None,
                hint: self.hint.clone(),
                client: self.client,
            };
            let answer = call.query("limit", Some(missing)).query("cursor", cursor).send().await?;
            cursor = listing
                .add(&answer)
                .ok_or_else(|| Error::Strange { url: self.url(), what: "there are no items in it".to_owned() })?;
            let is_full = limit.is_some_and(|limit| listing.items.len() >= limit);
            listing.has_more = cursor.is_some();
            if cursor.is_none() || is_full {
                return Ok(listing);
            }
        }
    }

    /// The items of a list that comes whole.
    ///
    /// # Errors
    /// As [`Call::pages`].
    pub(super) async fn whole(self) -> Result<Listing> {
        let url = self.url();
        let mut listing = Listing::default();
        let answer = self.send().await?;
        let none = || Error::Strange { url, what: "there are no items in it".to_owned() };
        listing.has_more = listing.add(&answer).ok_or_else(none)?.is_some();
        Ok(listing)
    }

    fn url(&self) -> String {
        format!("{}{}", self.client.base, self.path)
    }

    async fn response(self) -> Result<Response> {
        let mut url = self.url();
        if !self.query.is_empty() {
            let pairs = self.query.iter().map(|(name, value)| (*name, value.as_str()));
            url = format!("{url}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
        }
        let mut request = self.client.http.request(self.method, url);
        if let Some(token) = &self.client.token {
            request = request.bearer_auth(token);
        }
        if let Some(tag) = self.if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        if let Some((media_type, bytes)) = self.body {
            request = request.header(header::CONTENT_TYPE, media_type).body(bytes);
        }
        let base = &self.client.base;
        let response = request.send().await.map_err(|source| Error::Unreachable { url: base.clone(), source })?;
        // Where all entries of a bulk call are refused, the answer is a 422 that says which: no problem.
        let is_json = |media_type: String| media_type == "application/json";
        let is_answer = response.status().is_success()
            || (response.status() == StatusCode::UNPROCESSABLE_ENTITY
                && text_of(&response, &header::CONTENT_TYPE).is_some_and(is_json));
        if is_answer { Ok(response) } else { Err(refused(base, self.hint, response).await) }
    }
}

impl Listing {
    /// A list out of a part of another answer.
    pub(super) fn of(items: &[Value]) -> Self {
        let raw = |value: &Value| RawValue::from_string(value.to_string()).expect("a value is written as JSON");
        Self { items: items.iter().map(raw).collect(), values: items.to_vec(), ..Self::default() }
    }

    /// Adds a page; gives the cursor of the next one. None where the answer is no list.
    fn add(&mut self, answer: &Answer) -> Option<Option<String>> {
        let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&answer.text).ok()?;
        self.items.extend(serde_json::from_str::<Vec<Box<RawValue>>>(fields.remove("items")?.get()).ok()?);
        self.values.extend(answer.json["items"].as_array()?.iter().cloned());
        let is_first = self.beside.is_empty();
        if is_first && let Some(object) = answer.json.as_object() {
            let others = object.iter().filter(|(name, _)| !["items", "next_cursor"].contains(&name.as_str()));
            self.beside.extend(others.map(|(name, value)| (name.clone(), value.clone())));
        }
        Some(answer.json["next_cursor"].as_str().map(str::to_owned))
    }
}

fn text_of(response: &Response, name: &header::HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The error for an answer that is no success, with what to do about it.
async fn refused(base: &str, hint: Option<String>, response: Response) -> Error {
    let status = response.status();
    let wait_s = text_of(&response, &header::RETRY_AFTER);
    let text = response.text().await.unwrap_or_default();
    let Some(mut problem) = serde_json::from_str::<Problem>(&text).ok().filter(|problem| !problem.code.is_empty())
    else {
        let what = format!("HTTP {status}");
        return Error::Strange { url: base.to_owned(), what };
    };
    let hint = match problem.code.as_str() {
        "not_signed_in" => {
            problem.detail = format!("You are not signed in to {base}, or your session has ended.");
            Some(format!("Sign in: sensorgate login --url {base}"))
        }
        "password_change_required" => Some("Set a password of your own: sensorgate password".to_owned()),
        "version_conflict" => Some("Look at it again, then repeat the command.".to_owned()),
        _ if status == StatusCode::NOT_FOUND => hint,
        _ => wait_s.map(|wait_s| format!("Try again in {wait_s} s.")),
    };
    Error::Refused(Box::new(Refusal { problem, hint }))
}
