//! What this room needs of auth, so that its own tests can stand at the socket with stand-ins behind it.

use std::{future::Future, net::IpAddr};

use http::HeaderMap;

use crate::{
    auth::{Authenticator, Call, Denial, Principal, RateState},
    model::Scope,
};

/// Lets callers in: [`Authenticator`] in the service.
pub trait Door: Send + Sync + 'static {
    /// The true address behind `peer`.
    fn client_addr(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr;
    /// The figures shown to strangers.
    fn anonymous_rate(&self, addr: IpAddr, now_us: i64) -> RateState;
    /// Everything up to and including the IP allowlist.
    fn authenticate(&self, headers: &HeaderMap, call: &Call) -> impl Future<Output = Result<Principal, Denial>> + Send;
    /// Charges window and quota, then judges the scope.
    ///
    /// # Errors
    /// 429 or 403.
    #[allow(clippy::result_large_err, reason = "auth's own type; a refusal is not the hot path")]
    fn admit(&self, principal: &Principal, scope: Option<Scope>, now_us: i64) -> Result<RateState, Denial>;
}

impl Door for Authenticator {
    fn client_addr(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.client_addr(peer, headers)
    }

    fn anonymous_rate(&self, addr: IpAddr, now_us: i64) -> RateState {
        self.anonymous_rate(addr, now_us)
    }

    async fn authenticate(&self, headers: &HeaderMap, call: &Call) -> Result<Principal, Denial> {
        self.authenticate(headers, call).await
    }

    fn admit(&self, principal: &Principal, scope: Option<Scope>, now_us: i64) -> Result<RateState, Denial> {
        self.admit(principal, scope, now_us)
    }
}
