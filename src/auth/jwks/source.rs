//! Where a JWKS document comes from: an issuer on the network, or one in this process.

use std::{future::Future, net::IpAddr, pin::Pin};

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Url, redirect::Policy};
use serde::Deserialize;

use super::{Config, Error};

/// Largest answer that is read, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Where OpenID Connect Discovery 1.0 puts its document, below the issuer.
const WELL_KNOWN: &str = ".well-known/openid-configuration";

/// A future that borrows from its source.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Bytes, Error>> + Send + 'a>>;

/// Gives the JWKS document of one issuer as it is now.
pub trait KeySource: Send + Sync {
    /// One attempt. The caller limits its time.
    fn fetch(&self) -> Fetching<'_>;
}

/// The keys of the issuer in this process: no network, the same path from here on.
pub struct InProcess<F>(F);

impl<F: Fn() -> Bytes + Send + Sync> InProcess<F> {
    /// `document` gives the JWKS document as it is now.
    pub const fn new(document: F) -> Self {
        Self(document)
    }
}

impl<F> std::fmt::Debug for InProcess<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InProcess")
    }
}

impl<F: Fn() -> Bytes + Send + Sync> KeySource for InProcess<F> {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async { Ok((self.0)()) })
    }
}

/// The keys of an issuer on the network, found by discovery or at a given address.
#[derive(Debug)]
pub(super) struct Remote {
    client: Client,
    issuer: String,
    jwks_url: Option<Url>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Remote {
    /// For `issuer`; `jwks_url` in place of discovery.
    ///
    /// # Errors
    /// When an address is not fit to fetch keys from.
    pub(super) fn new(client: Client, issuer: &str, jwks_url: Option<&str>) -> Result<Self, Error> {
        let jwks_url = jwks_url.map(safe_url).transpose()?;
        if jwks_url.is_none() {
            safe_url(issuer)?;
        }
        Ok(Self { client, issuer: issuer.to_owned(), jwks_url })
    }

    /// Asked anew at each refresh: an issuer may move its keys.
    async fn discover(&self) -> Result<Url, Error> {
        let url = safe_url(&format!("{}/{WELL_KNOWN}", self.issuer.trim_end_matches('/')))?;
        let found: Discovery =
            serde_json::from_slice(&get(&self.client, url).await?).map_err(Error::DiscoveryDocument)?;
        if found.issuer != self.issuer {
            return Err(Error::DiscoveryIssuer { found: found.issuer });
        }
        safe_url(&found.jwks_uri)
    }
}

impl KeySource for Remote {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async {
            let url = match &self.jwks_url {
                Some(url) => url.clone(),
                None => self.discover().await?,
            };
            get(&self.client, url).await
        })
    }
}

/// The client for all issuers: no redirects, no proxy from the environment, limited in time.
pub(super) fn http_client(config: &Config) -> Result<Client, Error> {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(config.fetch_timeout())
        .connect_timeout(config.fetch_timeout())
        .user_agent(concat!("sensorgate/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(Error::Client)
}

async fn get(client: &Client, url: Url) -> Result<Bytes, Error> {
    let failed = |source| Error::Fetch { source };
    let mut answer = client.get(url).header("accept", "application/json").send().await.map_err(failed)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(Error::Status { status: answer.status().as_u16() });
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// An address that keys may be fetched from: https, or http on this machine's loopback; without a user name.
pub(in crate::auth) fn safe_url(text: &str) -> Result<Url, Error> {
    let unsafe_url = || Error::UnsafeUrl { url: text.to_owned() };
    let url = Url::parse(text).map_err(|_| unsafe_url())?;
    let transport_is_safe = match url.scheme() {
        "https" => true,
        "http" => url.host_str().is_some_and(is_loopback),
        _ => false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if transport_is_safe && plain { Ok(url) } else { Err(unsafe_url()) }
}

fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<IpAddr>().is_ok_and(|addr| addr.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;
