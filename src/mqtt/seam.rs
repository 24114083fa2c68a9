//! What this room needs of auth and ingest, so that its own tests can stand at the socket with stand-ins behind it.

use std::{net::IpAddr, pin::Pin, sync::Arc};

use http::HeaderMap;

use crate::{
    auth::{Authenticator, Call, Credential, Denial, NotOpened, Principal, RateState, Session, SessionRequest},
    ingest::{BatchResult, Ingest, Refused, Submission},
    model::Scope,
};

/// An answer that takes time.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Lets callers in: [`Authenticator`] in the service.
pub trait Door: Send + Sync + 'static {
    /// The true address behind `peer`, where the connection came with HTTP headers.
    fn client_addr(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr;
    /// Everything that a CONNECT is judged by; costs nothing in the window.
    fn open_session<'a>(
        &'a self,
        credential: &'a Credential<'a>,
        call: &'a Call,
        request: &'a SessionRequest<'a>,
    ) -> Answering<'a, Result<Session, NotOpened>>;
    /// Charges window and quota, then judges the scope.
    ///
    /// # Errors
    /// 429 or 403.
    fn admit(&self, principal: &Principal, now_us: i64) -> Result<RateState, Denial>;
}

impl Door for Authenticator {
    fn client_addr(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.client_addr(peer, headers)
    }

    fn open_session<'a>(
        &'a self,
        credential: &'a Credential<'a>,
        call: &'a Call,
        request: &'a SessionRequest<'a>,
    ) -> Answering<'a, Result<Session, NotOpened>> {
        Box::pin(self.open_session(credential, call, request))
    }

    fn admit(&self, principal: &Principal, now_us: i64) -> Result<RateState, Denial> {
        self.admit(principal, Some(Scope::SensorsWrite), now_us)
    }
}

/// Takes batches in: [`Ingest`] in the service.
pub trait Intake: Send + Sync + 'static {
    /// Judges a batch and makes the good part of it durable. Dropping the answer once it has been polled stops
    /// nothing.
    fn submit(
        self: Arc<Self>,
        principal: Arc<Principal>,
        submission: Submission,
    ) -> Answering<'static, Result<BatchResult, Refused>>;
}

impl Intake for Ingest {
    fn submit(
        self: Arc<Self>,
        principal: Arc<Principal>,
        submission: Submission,
    ) -> Answering<'static, Result<BatchResult, Refused>> {
        Box::pin(async move { Self::submit(&self, &principal, submission).await })
    }
}
