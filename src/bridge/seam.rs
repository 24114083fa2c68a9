//! What this room needs of auth, so that its own tests can stand at the broker's side with stand-ins behind.

use std::future::Future;

use crate::{
    auth::{Authenticator, Call, Credential, Denial, Principal, RateState},
    model::Scope,
};

/// Lets senders in: [`Authenticator`] in the service.
pub trait Door: Send + Sync + 'static {
    /// Everything up to and including the IP allowlist, which is held against the broker's address.
    fn authenticate(
        &self,
        credential: &Credential<'_>,
        call: &Call,
    ) -> impl Future<Output = Result<Principal, Denial>> + Send;
    /// Charges window and quota, then judges the scope.
    ///
    /// # Errors
    /// 429 or 403.
    #[allow(clippy::result_large_err, reason = "auth's own type; a refusal is not the hot path")]
    fn admit(&self, principal: &Principal, scope: Scope, now_us: i64) -> Result<RateState, Denial>;
}

impl Door for Authenticator {
    async fn authenticate(&self, credential: &Credential<'_>, call: &Call) -> Result<Principal, Denial> {
        self.authenticate_relayed(credential, call).await
    }

    fn admit(&self, principal: &Principal, scope: Scope, now_us: i64) -> Result<RateState, Denial> {
        self.admit(principal, Some(scope), now_us)
    }
}
