//! Connections: one accept loop for every port of the service, and HTTP over it.
//!
//! This room owns what happens before a request exists: how many connections there may be, in all and from one
//! address; whether a PROXY header or a TLS handshake comes first and how long it may take; when a silent, slow or
//! old connection ends; and how the port is drained at shutdown. It knows nothing of credentials or routes: the edges
//! (`http`, `mqtt`, `admin`) hand it a service or a connection handler and must not import one another (ADR 5).

mod accept;
mod address_cap;
mod config;
mod connection;
mod http1;
mod http2;
mod instruments;
mod proxy;
mod serve;
mod service;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use accept::{Connection, Port, accept};
pub use config::{Config, TlsFiles};
pub use serve::serve;
pub use stream::Stream;
pub use tls::Tls;

use std::{net::SocketAddr, path::PathBuf};

/// Who is at the other end of a connection; every request has it in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The TCP peer or, where the port takes PROXY headers, the address that a trusted proxy named. Canonical: never
    /// an IPv4 address in IPv6 clothes.
    pub addr: SocketAddr,
}

/// What can go wrong before the port is open; afterwards nothing here fails as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate or key file cannot be read.
    #[error("read TLS file {path}")]
    TlsRead {
        /// The file as configured.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no PEM, or has no certificate or no private key in it.
    #[error("find PEM items in TLS file {path}")]
    TlsPem {
        /// The file as configured.
        path: PathBuf,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key are readable but do not serve: they do not fit each other, or the kind is not supported.
    #[error("use TLS certificate {path}")]
    TlsUse {
        /// The certificate file as configured.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}
