//! Where the broker is, and how a socket to it is opened: TCP, or TLS by rustls.

use std::{fmt, fs, io, net::IpAddr, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use zeroize::Zeroizing;

use super::{Config, Error, error::LinkError};

/// A socket to the broker.
pub(super) type Wire = Either<TcpStream, TlsStream<TcpStream>>;

/// `bridge.url`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Address {
    /// `mqtt://host[:port]` or `mqtts://host[:port]`, nothing else in it: a password in a URL ends up in logs.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("bridge.url must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]: {why}");
        if url.contains('@') {
            return Err(refused("user and password belong in bridge.username and bridge.password_file"));
        }
        let (is_tls, rest) = match url.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => return Err(refused(&format!("it is {url:?}"))),
        };
        // A colon within brackets belongs to an IPv6 address.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (rest, Some(if is_tls { 8_883 } else { 1_883 })),
        };
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '[', ']', ' ']);
        match port.filter(|port| *port != 0 && is_host) {
            Some(port) => Ok(Self { is_tls, host: host.to_owned(), port }),
            None => Err(refused(&format!("it is {url:?}"))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "mqtts" } else { "mqtt" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// The broker, with what is needed to reach it.
#[derive(Debug)]
pub(super) struct Broker {
    address: Address,
    ca_file: PathBuf,
    pub(super) username: String,
    password_file: PathBuf,
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Broker {
    /// The broker of `config`. Files are read for every connection, so that renewed ones are used; here it is only
    /// seen that they can be.
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let broker = Self {
            address: Address::parse(&config.url).map_err(Error::Config)?,
            ca_file: config.ca_file.clone(),
            username: config.username.clone(),
            password_file: config.password_file.clone(),
        };
        broker.password()?;
        broker.tls()?;
        Ok(broker)
    }

    /// The password, without the line's end; none where none is configured.
    pub(super) fn password(&self) -> Result<Option<Zeroizing<String>>, Error> {
        if self.password_file.as_os_str().is_empty() {
            return Ok(None);
        }
        let read = fs::read_to_string(&self.password_file).map(Zeroizing::new);
        let text = read.map_err(|source| Error::Password { path: self.password_file.clone(), source })?;
        Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
    }

    /// Opens a socket; the address is that of the broker as it is seen from here.
    pub(super) async fn dial(&self) -> Result<(Wire, IpAddr), LinkError> {
        let tls = self.tls()?;
        let tcp = TcpStream::connect((self.address.host.as_str(), self.address.port)).await.map_err(LinkError::Dial)?;
        tcp.set_nodelay(true).map_err(LinkError::Dial)?;
        let peer = tcp.peer_addr().map_err(LinkError::Dial)?.ip().to_canonical();
        let wire = match tls {
            None => Either::Left(tcp),
            Some(config) => {
                let name = ServerName::try_from(self.address.host.clone())
                    .map_err(|error| LinkError::Dial(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
                Either::Right(TlsConnector::from(config).connect(name, tcp).await.map_err(LinkError::Dial)?)
            }
        };
        Ok((wire, peer))
    }

    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, Error> {
        if !self.address.is_tls {
            return Ok(None);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = if self.ca_file.as_os_str().is_empty() {
            builder.with_platform_verifier()?.with_no_client_auth()
        } else {
            builder.with_root_certificates(self.authorities()?).with_no_client_auth()
        };
        Ok(Some(Arc::new(config)))
    }

    fn authorities(&self) -> Result<RootCertStore, Error> {
        let failed = |source| Error::Authorities { path: self.ca_file.clone(), source };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&self.ca_file).map_err(failed)? {
            roots.add(certificate.map_err(failed)?)?;
        }
        if roots.is_empty() { Err(failed(rustls_pki_types::pem::Error::NoItemsFound)) } else { Ok(roots) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_as_it_was_read() {
        for (url, printed) in [
            ("mqtt://127.0.0.1:18", "mqtt://127.0.0.1:18"),
            ("mqtt://broker.example", "mqtt://broker.example:1883"),
            ("mqtts://broker.example", "mqtts://broker.example:8883"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtts://[2001:db8::1]:9", "mqtts://[2001:db8::1]:9"),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.to_string(), printed);
        }
    }
}
