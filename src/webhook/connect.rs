//! A connection to a target: to an address that was judged, over TLS unless the target is plain `http`. No proxy, no
//! pool: no two subscriptions ever share one.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::{Config, Error};
use crate::model::WebhookTarget;

pub(super) type Wire = Either<TcpStream, TlsStream<TcpStream>>;

/// How targets prove who they are.
pub(super) fn tls(config: &Config) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    if config.ca_file.as_os_str().is_empty() {
        return Ok(Arc::new(match builder.clone().with_platform_verifier() {
            Ok(builder) => builder.with_no_client_auth(),
            // Readings must be taken all the same; attempts fail with tls_failed.
            Err(error) => {
                tracing::error!(%error, "The system's certificates cannot be read: no webhook is sent by https.");
                builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
            }
        }));
    }
    let failed = |source| Error::CaFile { path: config.ca_file.clone(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&config.ca_file).map_err(failed)? {
        roots.add(certificate.map_err(failed)?)?;
    }
    if roots.is_empty() {
        return Err(failed(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// What went wrong, as the delivery log names it.
#[derive(Debug)]
pub(super) enum Failed {
    Connect,
    Tls,
}

/// Connects to the first of `addresses` that answers; says which one it was, or the last one tried.
pub(super) async fn open(
    target: &WebhookTarget,
    addresses: &[SocketAddr],
    tls: &Arc<ClientConfig>,
) -> (Option<SocketAddr>, Result<Wire, Failed>) {
    let mut tried = None;
    for address in addresses {
        tried = Some(*address);
        if let Ok(tcp) = TcpStream::connect(address).await {
            return (tried, secure(target, tcp, tls).await.map_err(|_| Failed::Tls));
        }
    }
    (tried, Err(Failed::Connect))
}

async fn secure(target: &WebhookTarget, tcp: TcpStream, tls: &Arc<ClientConfig>) -> io::Result<Wire> {
    tcp.set_nodelay(true)?;
    if !target.is_https() {
        return Ok(Either::Left(tcp));
    }
    let name = match target.host() {
        url::Host::Domain(name) => {
            ServerName::try_from(name.trim_end_matches('.').to_owned()).map_err(io::Error::other)?
        }
        url::Host::Ipv4(ip) => ServerName::IpAddress(std::net::IpAddr::V4(ip).into()),
        url::Host::Ipv6(ip) => ServerName::IpAddress(std::net::IpAddr::V6(ip).into()),
    };
    Ok(Either::Right(TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await?))
}
