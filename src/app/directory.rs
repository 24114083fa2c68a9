//! The embedded issuer joined to the control plane, to the key cache and to the integration API's port.

use std::{net::SocketAddr, sync::Arc};

use axum::extract::ConnectInfo;

use crate::{
    auth::jwks::{InProcess, KeySource},
    control::Control,
    http::OpenRoutes,
    issuer::{self, Client, ClientDirectory, Issuer, LookingUp},
    model::api_key::ClientSecret,
};

/// The clients of the embedded issuer are those of Active integrations.
struct Clients(Control);

impl ClientDirectory for Clients {
    fn authenticate<'a>(&'a self, client_id: &'a str, client_secret: &'a str) -> LookingUp<'a> {
        Box::pin(async move {
            let Ok(secret) = ClientSecret::parse(client_secret) else { return Ok(None) };
            let found = self.0.verify_client(client_id.to_owned(), secret).await?;
            Ok(found.map(|client| Client { client_id: client.client_id, scopes: client.scopes }))
        })
    }
}

/// The issuer's keys, without a network.
pub(super) fn keys(issuer: &Arc<Issuer>) -> Arc<dyn KeySource> {
    let issuer = Arc::clone(issuer);
    Arc::new(InProcess::new(move || issuer.jwks()))
}

/// The issuer's paths on the integration API's port.
pub(super) fn routes(issuer: Arc<Issuer>, control: Control) -> [OpenRoutes; 2] {
    let address_of: issuer::AddressOf = Arc::new(|parts| {
        parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(addr)| addr.ip().to_canonical())
    });
    let router = issuer::router(issuer, Arc::new(Clients(control)), address_of);
    [
        OpenRoutes { name: "token", prefix: "/oauth/", router: router.clone() },
        OpenRoutes { name: "issuer", prefix: "/.well-known/", router },
    ]
}
