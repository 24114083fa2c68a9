//! What paths there are, and what each asks of its caller.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};

use super::{edge::READINGS_PATH, pages::Pages};
use crate::model::Scope;

/// The routes besides batches. Built by the composition root out of rooms that this one does not know.
#[derive(Debug, Default)]
pub struct Surface {
    /// The OpenAPI document, served at `/openapi.json`.
    pub openapi: Bytes,
    /// The AsyncAPI document, served at `/asyncapi.json`; empty where MQTT is not served.
    pub asyncapi: Bytes,
    /// Routes for anybody: the token issuer's.
    pub open: Vec<OpenRoutes>,
    /// Routes behind the same gate as batches.
    pub resources: Vec<Resource>,
}

/// Routes without credentials. Each request has in its extensions the `model::RequestId` and, as
/// `axum::extract::ConnectInfo<SocketAddr>`, the true address of the caller. Its body is read, and bounded by
/// `http.public_body_bytes_max`, before the router sees it.
#[derive(Debug)]
pub struct OpenRoutes {
    /// Their name in metrics and records, from a closed set.
    pub name: &'static str,
    /// Paths that begin with this are the router's, e.g. `/oauth/`.
    pub prefix: &'static str,
    /// Answers them. A `model::ProblemCode` in a response's extensions makes it a problem body.
    pub router: axum::Router,
}

/// One resource of the integration API behind authentication, window, quota and scope. Each request has in its
/// extensions an `Arc<auth::Principal>`, the `auth::RateState` after it was charged, the `model::RequestId`, and the
/// caller's address as `ConnectInfo`. Its body is JSON, inflated, and within `http.body_bytes_max`.
///
/// A read whose caller was suspended meanwhile answers 401. A write must judge status and key once more itself, in the
/// transaction that makes it durable. A POST may carry an `Idempotency-Key`.
#[derive(Debug)]
pub struct Resource {
    /// Its name in metrics and records, from a closed set.
    pub name: &'static str,
    /// Its path, e.g. `/v1/equipment`: this and everything below it are the router's.
    pub path: &'static str,
    /// What GET and HEAD need; none: any integration may.
    pub read: Option<Scope>,
    /// What every other method needs; none: any integration may.
    pub write: Option<Scope>,
    /// Answers them. A `model::Problem` in a response's extensions makes it a problem body, and so does a 404 or 405 of
    /// the router itself.
    pub router: axum::Router,
}

/// Where a request with credentials goes.
pub(super) enum Route<'a> {
    Readings,
    Resource(&'a Resource),
    /// One of the pages, by a method that it does not have.
    Page,
    Unknown,
}

/// The surface, ready to be asked.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) pages: Pages,
    open: Vec<OpenRoutes>,
    resources: Vec<Resource>,
}

impl Routes {
    pub(super) fn new(surface: Surface) -> Self {
        let Surface { openapi, asyncapi, open, resources } = surface;
        Self { pages: Pages::new(openapi, asyncapi), open, resources }
    }

    pub(super) fn open(&self, path: &str) -> Option<&OpenRoutes> {
        self.open.iter().find(|routes| path.starts_with(routes.prefix))
    }

    pub(super) fn find(&self, path: &str) -> Route<'_> {
        if path == READINGS_PATH {
            return Route::Readings;
        }
        let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match self.resources.iter().find(|resource| below(resource.path)) {
            Some(resource) => Route::Resource(resource),
            None if self.pages.has(path) => Route::Page,
            None => Route::Unknown,
        }
    }
}

impl Route<'_> {
    /// The scope that a call of it needs.
    pub(super) fn scope(&self, method: &Method) -> Option<Scope> {
        match self {
            Route::Readings => Some(Scope::SensorsWrite),
            Route::Resource(resource) if method == Method::GET || method == Method::HEAD => resource.read,
            Route::Resource(resource) => resource.write,
            Route::Page | Route::Unknown => None,
        }
    }
}

/// Whether a router's answer is its bare "no such path" or "no such method", without a body of its own making.
pub(super) fn is_bare(status: StatusCode, headers: &HeaderMap) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) && !headers.contains_key(CONTENT_TYPE)
}
