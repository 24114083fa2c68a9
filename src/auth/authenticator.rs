//! The checks, in the order of `api.md` §3. One for both edges.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use http::HeaderMap;

use super::{
    Cause, ClientAddr, Config, Credential, Denial, Integration, Principal, RateState, Registry, allowlist,
    failures::Failures,
    jwt::{TokenError, VerifiedToken, Verifier},
    session::{NotOpened, Session, SessionRequest, Sessions},
};
use crate::model::{ApiKey, IntegrationFacts, ProblemCode, RequestId, Scope, Status};

/// Seconds that a caller should wait for the keys of an issuer that cannot be reached.
const ISSUER_RETRY_S: u64 = 5;

/// One call, as the edge knows it before anybody is believed.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The true address of the caller, by [`Authenticator::client_addr`].
    pub addr: IpAddr,
    /// Our id of the request.
    pub request_id: RequestId,
    /// Now, in microseconds since the Unix epoch.
    pub now_us: i64,
}

impl Call {
    fn now_s(&self) -> u64 {
        seconds(self.now_us)
    }
}

/// Lets callers in, or tells why not.
#[derive(Debug)]
pub struct Authenticator {
    registry: Arc<Registry>,
    verifier: Arc<Verifier>,
    client_addr: ClientAddr,
    failures: Failures,
}

impl Authenticator {
    /// Over the integrations of `registry` and the issuers of `verifier`.
    #[must_use]
    pub fn new(registry: Arc<Registry>, verifier: Arc<Verifier>, config: &Config) -> Self {
        let per_minute = NonZeroU32::new(config.failures_per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            registry,
            verifier,
            client_addr: ClientAddr::new(config.trusted_proxies.clone()),
            failures: Failures::new(per_minute, config.failing_addresses_max),
        }
    }

    /// The true address behind `peer` (S250).
    #[must_use]
    pub fn client_addr(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.client_addr.resolve(peer, headers)
    }

    /// The figures shown to who has not proved both credentials (A23).
    #[must_use]
    pub fn anonymous_rate(&self, addr: IpAddr, now_us: i64) -> RateState {
        self.failures.rate_state(addr, seconds(now_us))
    }

    /// Everything up to and including the IP allowlist. Neither a 401 nor an IP 403 costs the integration anything
    /// (A27), and every 401 counts against the address.
    ///
    /// # Errors
    /// The first check that fails.
    pub async fn authenticate(&self, headers: &HeaderMap, call: &Call) -> Result<Principal, Denial> {
        match Credential::from_headers(headers) {
            Some(credential) => self.authenticate_credential(&credential, call).await,
            None => {
                self.shut_out(call)?;
                let denial = self.refuse(call, ProblemCode::MissingCredential, Cause::MissingCredential, None);
                let api_key = Credential::api_key_of(headers).unwrap_or_default();
                Err(self.count_failure(self.attribute(denial, api_key), call))
            }
        }
    }

    /// The same for credentials that came another way than in headers (MQTT's CONNECT).
    ///
    /// # Errors
    /// The first check that fails.
    pub async fn authenticate_credential(&self, credential: &Credential<'_>, call: &Call) -> Result<Principal, Denial> {
        self.shut_out(call)?;
        self.identify_caller(credential, call).await.map_err(|denial| self.count_failure(denial, call))
    }

    /// The same for a message that a trusted relay (an MQTT broker) passes on: `call.addr` is the relay's, which the
    /// allowlist is held against. Failures are neither counted nor consulted, because all senders share that address
    /// and one of them must not shut the others out.
    ///
    /// # Errors
    /// The first check that fails.
    pub async fn authenticate_relayed(&self, credential: &Credential<'_>, call: &Call) -> Result<Principal, Denial> {
        self.identify_caller(credential, call).await
    }

    /// Token, key, status, binding, allowlist: who it is, whatever became of others at the same address.
    async fn identify_caller(&self, credential: &Credential<'_>, call: &Call) -> Result<Principal, Denial> {
        self.prove(credential, call).await.map_err(|denial| self.attribute(denial, credential.api_key))
    }

    async fn prove(&self, credential: &Credential<'_>, call: &Call) -> Result<Principal, Denial> {
        if credential.api_key.is_empty() || credential.token.is_empty() {
            return Err(self.refuse(call, ProblemCode::MissingCredential, Cause::MissingCredential, None));
        }
        let token = match self.verifier.verify(credential.token, call.now_us).await {
            Ok(token) => token,
            Err(error) => return Err(self.refuse_token(call, &error)),
        };
        let (integration, generation) = self.identify(credential.api_key, call)?;
        let facts = integration.facts();
        self.check_live(&facts, generation, call)?;
        self.check_binding(&facts, &token, call)?;
        let now_s = call.now_s();
        if !allowlist::allows(facts.allowlist.as_deref(), call.addr) {
            return Err(Denial {
                problem: ProblemCode::IpNotAllowed,
                cause: Cause::IpNotAllowed,
                rate: integration.rate_state(now_s),
                retry_after_s: None,
                detail: Some(format!("Your address {} is not on the integration's allowlist.", call.addr)),
                integration_id: Some(facts.id),
                key_generation: Some(generation),
            });
        }
        integration.touch(now_s);
        Ok(Principal::new(integration, facts, generation, call.addr, token.expires_s))
    }

    /// Opens a session that outlives this call: both credentials, status, binding, address and scope are judged now,
    /// and it ends when one of them changes. It costs nothing in the window (`api.md` §2).
    ///
    /// # Errors
    /// The first check that fails, or that the integration has its full number of sessions, or opens them too often.
    pub async fn open_session(
        &self,
        credential: &Credential<'_>,
        call: &Call,
        request: &SessionRequest<'_>,
    ) -> Result<Session, NotOpened> {
        let principal = self.authenticate_credential(credential, call).await.map_err(NotOpened::Denied)?;
        if !principal.facts.scopes.contains(request.scope) {
            let rate = principal.integration.rate_state(call.now_s());
            return Err(NotOpened::Denied(scope_missing(&principal, request.scope, rate)));
        }
        Sessions::open(&principal, request, call.now_us).map_err(|not_opened| {
            let cause = match not_opened {
                NotOpened::Denied(denial) => return NotOpened::Denied(denial),
                NotOpened::Full => "sessions_max",
                NotOpened::TooOften => "connects_per_minute",
            };
            NotOpened::Denied(Denial {
                problem: ProblemCode::TooManySessions,
                cause: Cause::TooManySessions(cause),
                rate: principal.integration.rate_state(call.now_s()),
                retry_after_s: None,
                detail: None,
                integration_id: Some(principal.facts.id),
                key_generation: Some(principal.generation),
            })
        })
    }

    /// Charges the minute window and the daily quota with one request, then judges the scope (A27).
    ///
    /// # Errors
    /// 429 where a limit is used up; 403 where `scope` was not granted.
    pub fn admit(&self, principal: &Principal, scope: Option<Scope>, now_us: i64) -> Result<RateState, Denial> {
        let now_s = seconds(now_us);
        let integration = &principal.integration;
        let denied = |problem, cause, rate: RateState, retry_after_s| Denial {
            problem,
            cause,
            rate,
            retry_after_s,
            detail: None,
            integration_id: Some(principal.facts.id),
            key_generation: Some(principal.generation),
        };
        let wait_s = |rate: &RateState| Some(rate.reset_s.saturating_sub(now_s).max(1));
        let rate = integration
            .window
            .take(integration.rpm(now_s), now_s)
            .map_err(|rate| denied(ProblemCode::RateLimited, Cause::RateLimited, rate, wait_s(&rate)))?;
        integration
            .quota
            .take(principal.facts.daily_quota, now_s)
            .map_err(|rate| denied(ProblemCode::DailyQuotaExceeded, Cause::DailyQuotaExceeded, rate, wait_s(&rate)))?;
        match scope {
            Some(scope) if !integration.facts().scopes.contains(scope) => Err(scope_missing(principal, scope, rate)),
            _ => Ok(rate),
        }
    }

    fn shut_out(&self, call: &Call) -> Result<(), Denial> {
        let now_s = call.now_s();
        match self.failures.blocked_until_s(call.addr, now_s) {
            None => Ok(()),
            Some(until_s) => Err(Denial {
                problem: ProblemCode::TooManyFailures,
                cause: Cause::TooManyFailures,
                rate: self.failures.rate_state(call.addr, now_s),
                retry_after_s: Some(until_s.saturating_sub(now_s).max(1)),
                detail: None,
                integration_id: None,
                key_generation: None,
            }),
        }
    }

    /// The integration behind the key. The form is checked before anything is hashed.
    fn identify(&self, api_key: &str, call: &Call) -> Result<(Arc<Integration>, u64), Denial> {
        let generic = |cause| self.refuse(call, ProblemCode::Unauthorized, cause, None);
        let key = ApiKey::parse(api_key).map_err(|_| generic(Cause::KeyMalformed))?;
        let entry = self.registry.key(&key.hash()).ok_or_else(|| generic(Cause::KeyUnknown))?;
        Ok((entry.integration, entry.generation))
    }

    fn check_live(&self, facts: &IntegrationFacts, generation: u64, call: &Call) -> Result<(), Denial> {
        let cause = if facts.status != Status::Active {
            Cause::IntegrationNotActive
        } else if facts.key_generation != generation {
            Cause::KeySuperseded
        } else {
            return Ok(());
        };
        Err(self.refuse(call, ProblemCode::Unauthorized, cause, Some(facts)))
    }

    fn check_binding(&self, facts: &IntegrationFacts, token: &VerifiedToken, call: &Call) -> Result<(), Denial> {
        if facts.client.as_ref() == Some(&token.client) {
            return Ok(());
        }
        Err(self.refuse(call, ProblemCode::Unauthorized, Cause::CredentialMismatch, Some(facts)))
    }

    fn refuse_token(&self, call: &Call, error: &TokenError) -> Denial {
        let problem = error.problem();
        if problem != ProblemCode::IssuerUnavailable {
            return self.refuse(call, problem, Cause::Token(error.cause()), None);
        }
        let denial = self.refuse(call, problem, Cause::Token(error.cause()), None);
        Denial { retry_after_s: Some(ISSUER_RETRY_S), ..denial }
    }

    /// A refusal before both credentials are proved: shown the anonymous figures whatever its cause.
    fn refuse(&self, call: &Call, problem: ProblemCode, cause: Cause, facts: Option<&IntegrationFacts>) -> Denial {
        Denial {
            problem,
            cause,
            rate: self.failures.rate_state(call.addr, call.now_s()),
            retry_after_s: None,
            detail: None,
            integration_id: facts.map(|facts| facts.id),
            key_generation: None,
        }
    }

    /// Names the integration that the key is or was of, for the log alone: also where the other credential is what is
    /// wrong (S298). The caller is told nothing else by it.
    fn attribute(&self, denial: Denial, api_key: &str) -> Denial {
        if denial.key_generation.is_some() {
            return denial;
        }
        match ApiKey::parse(api_key).ok().and_then(|key| self.registry.key(&key.hash())) {
            Some(entry) => {
                let integration_id = Some(entry.integration.facts().id);
                Denial { integration_id, key_generation: Some(entry.generation), ..denial }
            }
            None => denial,
        }
    }

    /// Counts a 401 against the address. A 403 proves who it was, and a 503 is our own trouble.
    fn count_failure(&self, denial: Denial, call: &Call) -> Denial {
        if denial.problem.status() != 401 {
            return denial;
        }
        let now_s = call.now_s();
        self.failures.count(call.addr, now_s);
        Denial { rate: self.failures.rate_state(call.addr, now_s), ..denial }
    }
}

fn scope_missing(principal: &Principal, scope: Scope, rate: RateState) -> Denial {
    Denial {
        problem: ProblemCode::InsufficientScope,
        cause: Cause::InsufficientScope,
        rate,
        retry_after_s: None,
        detail: Some(format!("This call needs the scope {scope}, which the integration was not granted.")),
        integration_id: Some(principal.facts.id),
        key_generation: Some(principal.generation),
    }
}

fn seconds(now_us: i64) -> u64 {
    u64::try_from(now_us / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        auth::{
            jwks::InProcess,
            jwt::{IssuerConfig, TrustedIssuer},
        },
        model::{IntegrationId, KeyFact, ScopeSet},
        telemetry::health::Health,
    };

    fn authenticator(failures_per_minute: u32) -> Authenticator {
        let file: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).expect("the defaults");
        let mut config: Config = file["auth"].clone().try_into().expect("[auth]");
        config.failures_per_minute = failures_per_minute;
        let keys = Arc::new(InProcess::new(|| Bytes::from_static(b"{\"keys\":[]}")));
        let trusted = TrustedIssuer::in_process(IssuerConfig::embedded("https://issuer.test/", "audience"), keys);
        let verifier = Verifier::new(&config.tokens, vec![trusted], None, Health::default()).expect("a verifier");
        Authenticator::new(Arc::new(Registry::new(10)), Arc::new(verifier), &config)
    }

    // S169: a key has no end of its own: what it opens today it opens in a year, and in a hundred.
    #[tokio::test]
    async fn a_key_does_not_age() {
        let authenticator = authenticator(3);
        let key = ApiKey::generate_with(getrandom::fill).expect("the operating system has random bytes");
        let facts = IntegrationFacts::assumed(IntegrationId::generate(), ScopeSet::default());
        let (integration_id, generation) = (facts.id, facts.key_generation);
        authenticator.registry.apply_integration(facts.clone());
        authenticator.registry.apply_keys([KeyFact { hash: key.hash(), integration_id, generation }]);
        for years in [0, 1, 100] {
            let now_us = 1_700_000_000_000_000 + years * 366 * 86_400 * 1_000_000;
            let call = Call { addr: [192, 0, 2, 7].into(), request_id: RequestId::generate(), now_us };
            let (integration, generation) = authenticator.identify(key.expose(), &call).expect("known");
            assert_eq!(integration.facts().id, integration_id);
            authenticator.check_live(&facts, generation, &call).expect("live");
            assert!(authenticator.check_live(&facts, generation + 1, &call).is_err(), "another generation never is");
        }
    }

    // api.md §2 (cluster mode): all senders of a broker share its address, so one of them cannot shut the others out.
    #[tokio::test]
    async fn failures_behind_a_relay_are_neither_counted_nor_consulted() {
        let authenticator = authenticator(3);
        let call =
            Call { addr: [192, 0, 2, 7].into(), request_id: RequestId::generate(), now_us: 1_700_000_000_000_000 };
        let guess = Credential { api_key: "grq_live_guess", token: "a.b.c" };
        for _ in 0..10 {
            let denial = authenticator.authenticate_relayed(&guess, &call).await.expect_err("a guess");
            assert_eq!(denial.problem, ProblemCode::TokenInvalid);
        }
        for _ in 0..4 {
            let denial = authenticator.authenticate_credential(&guess, &call).await.expect_err("a guess");
            assert_eq!(denial.problem, ProblemCode::TokenInvalid, "the relay's failures did not count");
        }
        let denial = authenticator.authenticate_credential(&guess, &call).await.expect_err("shut out");
        assert_eq!(denial.problem, ProblemCode::TooManyFailures);
        let denial = authenticator.authenticate_relayed(&guess, &call).await.expect_err("a guess");
        assert_eq!(denial.problem, ProblemCode::TokenInvalid, "the relay is not shut out for others at its address");
    }
}
