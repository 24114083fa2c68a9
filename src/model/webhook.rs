//! Webhooks: what subscribers are told, and where it may be sent.

use std::fmt;

use ipnet::IpNet;
use url::{Host, Url};

mod reach;

pub use reach::{Reach, reach};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What subscribers can be told of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum WebhookEvent {
            $($(#[$doc])* $name,)*
        }

        impl WebhookEvent {
            const EVERY: &[Self] = &[$(Self::$name,)*];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

events! {
    /// Readings of a batch were refused; summed up over a few seconds.
    ReadingsRejected = "readings.rejected",
    /// Readings were accepted, but the store refused them; likewise.
    ReadingsQuarantined = "readings.quarantined",
    /// 80 % of the daily quota are used.
    QuotaNearlyUsed = "quota.nearly_used",
    /// All of the daily quota is used.
    QuotaUsedUp = "quota.used_up",
    /// The integration was suspended; told once it is reactivated, because nothing is sent meanwhile.
    IntegrationSuspended = "integration.suspended",
    /// It was reactivated.
    IntegrationReactivated = "integration.reactivated",
    /// It was revoked, for good.
    IntegrationRevoked = "integration.revoked",
    /// Its API key was regenerated.
    KeyRegenerated = "integration.key_regenerated",
    /// Equipment was registered.
    EquipmentCreated = "equipment.created",
    /// Equipment was changed, or returned from retirement.
    EquipmentUpdated = "equipment.updated",
    /// Equipment was retired.
    EquipmentRetired = "equipment.retired",
    /// Somebody asked for a test. Cannot be subscribed to: it comes to the subscription that was asked for.
    Test = "webhook.test",
}

impl WebhookEvent {
    /// Those that can be subscribed to.
    pub fn subscribable() -> impl Iterator<Item = Self> {
        Self::EVERY.iter().copied().filter(|event| *event != Self::Test)
    }

    /// The event called `name`, exactly as spelled.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::EVERY.iter().copied().find(|event| event.as_str() == name)
    }
}

/// Bytes of a target's URL, at most, whatever the configuration says.
pub const URL_BYTES_MAX: usize = 2_048;

/// Where it may be sent, by the configuration.
#[derive(Debug, Clone, Default)]
pub struct TargetRules {
    /// Also `http`, any port, and addresses of private networks and of this machine.
    pub allow_private: bool,
    /// Ports that may be sent to; with `allow_private` any.
    pub ports: Vec<u16>,
    /// Private networks that may be sent to in any case.
    pub allowed_networks: Vec<IpNet>,
}

impl TargetRules {
    /// Whether `ip` may be sent to (S311).
    #[must_use]
    pub fn allows(&self, ip: std::net::IpAddr) -> bool {
        let ip = ip.to_canonical();
        match reach(ip) {
            Reach::Public => true,
            Reach::Private => self.allow_private || self.allowed_networks.iter().any(|network| network.contains(&ip)),
            Reach::Never => false,
        }
    }
}

/// Why a URL is no target; each is a sentence about the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say it")]
pub enum TargetError {
    #[error("must be an absolute URL with a host, https://example.com/hook for example")]
    NotAUrl,
    #[error("must have at most 2048 bytes")]
    TooLong,
    #[error("must begin with https://")]
    Scheme,
    #[error("must not contain a user name or password: deliveries are signed instead")]
    UserInfo,
    #[error("must not contain a fragment (#)")]
    Fragment,
    #[error("uses a port that webhooks may not be sent to")]
    Port,
    #[error("leads to an address that webhooks may not be sent to")]
    Address,
    #[error("leads to this service itself")]
    Itself,
}

impl TargetError {
    /// The class of error in the delivery log.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Address => "address_refused",
            Self::Itself => "own_address_refused",
            _ => "url_refused",
        }
    }
}

/// Where one subscription is sent to: judged by its form, and by its address where the host is one. Names are judged
/// by what they resolve to, at every connection.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookTarget(Url);

impl WebhookTarget {
    /// Judges `text` (S311). What browsers take for an address is one here too: `0x7f.1`, `2130706433`,
    /// `[::ffff:7f00:1]`.
    ///
    /// # Errors
    /// Why not.
    pub fn parse(text: &str, rules: &TargetRules) -> Result<Self, TargetError> {
        if text.len() > URL_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(TargetError::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| TargetError::NotAUrl)?;
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        match url.scheme() {
            "https" => {}
            "http" if rules.allow_private => {}
            _ => return Err(TargetError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() || text.contains('@') && has_userinfo(text) {
            return Err(TargetError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        let port = url.port_or_known_default().ok_or(TargetError::Port)?;
        if port == 0 || (!rules.allow_private && !rules.ports.contains(&port)) {
            return Err(TargetError::Port);
        }
        match url.host().ok_or(TargetError::NotAUrl)? {
            Host::Ipv4(ip) if !rules.allows(ip.into()) => return Err(TargetError::Address),
            Host::Ipv6(ip) if !rules.allows(ip.into()) => return Err(TargetError::Address),
            Host::Domain(name) if !name_allowed(name, rules) => return Err(TargetError::Address),
            _ => {}
        }
        Ok(Self(url))
    }

    /// The URL as it is sent to.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// A name, or an address.
    #[must_use]
    pub fn host(&self) -> Host<&str> {
        self.0.host().expect("judged")
    }

    /// The port, also where it is the scheme's own.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().expect("judged")
    }

    /// What stands in the `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// What stands in the request line.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// For logs: without the query, where receivers may have put a token of theirs.
    #[must_use]
    pub fn without_query(&self) -> &str {
        &self.0[..url::Position::AfterPath]
    }
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebhookTarget").field(&self.without_query()).finish()
    }
}

/// An empty user name (`https://@host/`) leaves no trace in the parsed URL.
fn has_userinfo(text: &str) -> bool {
    let rest = text.split_once(':').map_or(text, |(_, rest)| rest).trim_start_matches(['/', '\\']);
    rest.split(['/', '?', '#', '\\']).next().is_some_and(|authority| authority.contains('@'))
}

/// Names that never lead out of a machine or a cloud. All others are judged by what they resolve to.
fn name_allowed(name: &str, rules: &TargetRules) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() || name == "metadata" || name == "metadata.google.internal" {
        return false;
    }
    let is_local = name == "localhost" || name.ends_with(".localhost") || !name.contains('.');
    rules.allow_private || !is_local || !rules.allowed_networks.is_empty()
}

#[cfg(test)]
mod tests;
