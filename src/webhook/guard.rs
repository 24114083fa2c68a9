//! Where may be sent to: judged when a target is saved, and once more on the addresses that a connection will use.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;
use url::Host;

use crate::model::webhook::{TargetError, TargetRules, WebhookTarget};

/// Addresses of one name that are looked at, at most.
const ADDRESSES_MAX: usize = 16;

/// Addresses on their way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Turns names into addresses.
pub trait Resolve: Send + Sync {
    /// The addresses of `name`.
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a>;
}

/// The operating system's way.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// Why a target was not connected to, or not saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// By its form or its address.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Its name has no address.
    #[error("its name cannot be resolved")]
    Unresolved,
}

/// The rules of the configuration, and where we ourselves listen.
pub struct Guard {
    rules: TargetRules,
    /// Our own listeners, as bound.
    own: Vec<SocketAddr>,
    resolver: Arc<dyn Resolve>,
    resolve_max: Duration,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("rules", &self.rules).field("own", &self.own).finish_non_exhaustive()
    }
}

impl Guard {
    /// Judges by `rules`; `own` are the service's own listeners.
    #[must_use]
    pub fn new(rules: TargetRules, own: Vec<SocketAddr>, resolver: Arc<dyn Resolve>, resolve_max: Duration) -> Self {
        Self { rules, own, resolver, resolve_max }
    }

    /// One that lets anything pass but addresses that are never sent to, for tests.
    #[cfg(test)]
    pub(crate) fn assumed() -> Self {
        let rules = TargetRules { allow_private: true, ..TargetRules::default() };
        Self::new(rules, Vec::new(), Arc::new(SystemResolver), Duration::from_secs(1))
    }

    /// Judges a target that is to be saved, also by what its name resolves to now. A name that does not resolve is let
    /// pass: its attempts fail until it does.
    ///
    /// # Errors
    /// Why it is none; a sentence about the field.
    pub async fn check(&self, url: &str) -> Result<WebhookTarget, TargetError> {
        let target = WebhookTarget::parse(url, &self.rules)?;
        match self.addresses(&target).await {
            Ok(_) | Err(Refused::Unresolved) => Ok(target),
            Err(Refused::Target(error)) => Err(error),
        }
    }

    /// The addresses that `url` may be sent to now, each judged. Whoever connects uses them and resolves no more, so
    /// that a name cannot show another address to the connection than it did here.
    pub(super) async fn admit(&self, url: &str) -> Result<(WebhookTarget, Vec<SocketAddr>), Refused> {
        let target = WebhookTarget::parse(url, &self.rules)?;
        let addresses = self.addresses(&target).await?;
        Ok((target, addresses))
    }

    /// One address that is refused refuses them all: a name that leads inside as well is not to be trusted.
    async fn addresses(&self, target: &WebhookTarget) -> Result<Vec<SocketAddr>, Refused> {
        let ips = match target.host() {
            // No resolver is ever asked about these.
            Host::Ipv4(ip) => vec![IpAddr::V4(ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(ip)],
            Host::Domain(name) => match timeout(self.resolve_max, self.resolver.resolve(name)).await {
                Ok(Ok(ips)) if !ips.is_empty() => ips,
                _ => return Err(Refused::Unresolved),
            },
        };
        let mut addresses = Vec::new();
        for ip in ips.into_iter().take(ADDRESSES_MAX) {
            let ip = ip.to_canonical();
            if !self.rules.allows(ip) {
                return Err(TargetError::Address.into());
            }
            if self.is_own(ip, target.port()) {
                return Err(TargetError::Itself.into());
            }
            addresses.push(SocketAddr::new(ip, target.port()));
        }
        Ok(addresses)
    }

    /// Whether one of our own listeners answers there: the administrators' port would take a request from ourselves
    /// for one from the inside.
    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        self.own.iter().filter(|own| own.port() == port).any(|own| {
            let bound = own.ip().to_canonical();
            bound == ip || ip.is_loopback() && bound.is_loopback() || bound.is_unspecified() && is_of_this_machine(ip)
        })
    }
}

/// Whether the address is one of this machine's: only those can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}
