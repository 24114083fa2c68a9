//! The three paths of the issuer: the token end point, discovery, and the published keys.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use serde_json::json;

use super::{
    Issuer, JWKS_MAX_AGE_S,
    answer::{self, Refusal},
    token_request::TokenRequest,
};
use crate::{
    model::{Scope, ScopeSet},
    telemetry::metrics as names,
};

/// Where tokens are asked for.
pub const TOKEN_PATH: &str = "/oauth/token";
/// Where the issuer describes itself (OpenID Connect Discovery 1.0).
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// Where its keys are.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// A client that has shown its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id, as tokens name it.
    pub client_id: String,
    /// What its integration was granted.
    pub scopes: ScopeSet,
}

/// Why the directory could not be asked. For the log.
pub type DirectoryError = Box<dyn std::error::Error + Send + Sync>;

/// A future that borrows from the directory.
pub type LookingUp<'a> = Pin<Box<dyn Future<Output = Result<Option<Client>, DirectoryError>> + Send + 'a>>;

/// Who the clients are. Implemented over the control plane.
pub trait ClientDirectory: Send + Sync {
    /// The client `client_id`, when `client_secret` is its secret and its integration is Active; otherwise none,
    /// whatever the reason.
    fn authenticate<'a>(&'a self, client_id: &'a str, client_secret: &'a str) -> LookingUp<'a>;
}

/// Tells the true address of the caller.
pub type AddressOf = Arc<dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync>;

#[derive(Clone)]
struct Shared {
    issuer: Arc<Issuer>,
    directory: Arc<dyn ClientDirectory>,
    address_of: AddressOf,
}

/// The issuer's paths over HTTP. `address_of` tells whom a request came from.
pub fn router(issuer: Arc<Issuer>, directory: Arc<dyn ClientDirectory>, address_of: AddressOf) -> Router {
    Router::new()
        .route(TOKEN_PATH, post(token))
        .route(DISCOVERY_PATH, get(discovery))
        .route(JWKS_PATH, get(jwks))
        .with_state(Shared { issuer, directory, address_of })
}

async fn token(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (outcome, response) = match shared.token(&parts, body).await {
        Ok(response) => ("issued", response),
        Err(refusal) => (refusal.code(), refusal.into_response()),
    };
    metrics::counter!(names::ISSUER_TOKEN_REQUESTS_TOTAL, "outcome" => outcome).increment(1);
    response
}

impl Shared {
    async fn token(&self, parts: &Parts, body: Body) -> Result<Response, Refusal> {
        let too_many = |retry_after_s| Refusal::TooMany { retry_after_s };
        self.issuer.limits.admit_address((self.address_of)(parts)).map_err(too_many)?;
        let body = to_bytes(body, self.issuer.config.body_bytes_max).await.map_err(|_| Refusal::BodyTooLarge)?;
        let request = TokenRequest::read(&parts.headers, &body)?;
        let found = self.directory.authenticate(&request.client_id, &request.client_secret).await;
        let client = found.map_err(|error| {
            tracing::error!(error = &*error as &dyn std::error::Error, "the clients cannot be looked up: no tokens");
            Refusal::Unavailable
        })?;
        let Some(client) = client else {
            tracing::info!(client_id = request.client_id, "token refused: invalid_client");
            return Err(Refusal::InvalidClient);
        };
        if request.audience.as_ref().is_some_and(|audience| *audience != self.issuer.config.audience) {
            return Err(Refusal::InvalidRequest("the audience is not the one of this service"));
        }
        let scopes = granted(client.scopes, request.scope.as_deref())?;
        self.issuer.limits.admit_client(&client.client_id).map_err(too_many)?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        let token = self.issuer.issue(&client.client_id, scopes, now_us).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "no token can be issued");
            Refusal::Unavailable
        })?;
        Ok(answer::issued(&token))
    }
}

/// All that the client has, or the part of it that it asks for.
fn granted(has: ScopeSet, wanted: Option<&str>) -> Result<ScopeSet, Refusal> {
    let Some(wanted) = wanted.filter(|text| !text.trim().is_empty()) else { return Ok(has) };
    wanted
        .split_ascii_whitespace()
        .map(|name| Scope::parse(name).filter(|scope| has.contains(*scope)).ok_or(Refusal::InvalidScope))
        .collect()
}

async fn discovery(State(shared): State<Shared>) -> Response {
    let issuer = &shared.issuer;
    let base = issuer.public_url().trim_end_matches('/');
    let document = json!({
        "issuer": issuer.name(),
        "token_endpoint": format!("{base}{TOKEN_PATH}"),
        "jwks_uri": format!("{base}{JWKS_PATH}"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "scopes_supported": Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
    });
    public(document.to_string())
}

async fn jwks(State(shared): State<Shared>) -> Response {
    public(shared.issuer.jwks())
}

fn public(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let cached = HeaderValue::try_from(format!("public, max-age={JWKS_MAX_AGE_S}")).expect("digits make a header");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, cached);
    response
}
