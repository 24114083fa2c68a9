//! TLS for a port: TLS 1.2 and 1.3 by rustls, and certificates that can be renewed without a restart.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{Error, TlsFiles};
use crate::telemetry::metrics::LISTENER_CERTIFICATE_RELOADS_TOTAL;

/// A port's certificate and key, as they are on disk now. Cheap to clone; all clones see a renewal.
#[derive(Debug, Clone)]
pub struct Tls {
    current: Arc<ArcSwap<ServerConfig>>,
    files: TlsFiles,
    alpn: &'static [&'static str],
    loaded: [u8; 32],
}

impl Tls {
    /// Reads certificate chain and key (PEM). `alpn` are the application protocols offered, the preferred one first.
    ///
    /// # Errors
    /// [`Error::TlsRead`], [`Error::TlsPem`] or [`Error::TlsUse`], by what failed.
    pub fn load(files: &TlsFiles, alpn: &'static [&'static str]) -> Result<Self, Error> {
        let material = Material::read(files)?;
        let config = material.server_config(files, alpn)?;
        let loaded = material.digest();
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(config)), files: files.clone(), alpn, loaded })
    }

    /// What the next handshake uses.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Looks at the files again and again until `shutdown`, and swaps a renewed certificate in. The content is
    /// compared rather than the time of change, because secrets are often renewed by swapping a symbolic link.
    pub(super) async fn watch(mut self, shutdown: CancellationToken) {
        let period = Duration::from_secs(self.files.reload_s);
        while shutdown.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
            let (files, alpn, loaded) = (self.files.clone(), self.alpn, self.loaded);
            let renewal = tokio::task::spawn_blocking(move || renewal(&files, alpn, &loaded)).await;
            match renewal {
                Ok((seen, Some(Ok(config)))) => {
                    self.loaded = seen;
                    self.current.store(Arc::new(config));
                    metrics::counter!(LISTENER_CERTIFICATE_RELOADS_TOTAL, "result" => "ok").increment(1);
                    tracing::info!(file = %self.files.certificate_file.display(), "TLS certificate renewed");
                }
                Ok((seen, Some(Err(error)))) => {
                    // Remembered as seen, so that one bad file is one line in the log and not one a period.
                    self.loaded = seen;
                    metrics::counter!(LISTENER_CERTIFICATE_RELOADS_TOTAL, "result" => "failed").increment(1);
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "renewed TLS certificate cannot be used; the old one stays in use");
                }
                Ok((_, None)) | Err(_) => {}
            }
        }
    }
}

/// The files' digest, and what to do if it is not `loaded`. An unreadable file has the digest of nothing.
fn renewal(files: &TlsFiles, alpn: &[&str], loaded: &[u8; 32]) -> ([u8; 32], Option<Result<ServerConfig, Error>>) {
    match Material::read(files) {
        Ok(material) => {
            let seen = material.digest();
            (seen, (seen != *loaded).then(|| material.server_config(files, alpn)))
        }
        Err(error) => ([0; 32], (*loaded != [0; 32]).then_some(Err(error))),
    }
}

/// The two files' bytes.
struct Material {
    certificates: Vec<u8>,
    private_key: zeroize::Zeroizing<Vec<u8>>,
}

impl Material {
    fn read(files: &TlsFiles) -> Result<Self, Error> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| Error::TlsRead { path: path.to_owned(), source });
        Ok(Self {
            certificates: read(&files.certificate_file)?,
            private_key: zeroize::Zeroizing::new(read(&files.private_key_file)?),
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.certificates.len().to_be_bytes());
        hash.update(&self.certificates);
        hash.update(&*self.private_key);
        hash.finalize().into()
    }

    fn server_config(&self, files: &TlsFiles, alpn: &[&str]) -> Result<ServerConfig, Error> {
        let in_pem = |path: &PathBuf| {
            let path = path.clone();
            move |source: pem::Error| Error::TlsPem { path, source }
        };
        let in_use = |source| Error::TlsUse { path: files.certificate_file.clone(), source };
        let chain = CertificateDer::pem_slice_iter(&self.certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(in_pem(&files.certificate_file))?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key).map_err(in_pem(&files.private_key_file))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(in_use)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(in_use)?;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        // Tickets keep the state of a resumable session at the client: a reconnecting fleet costs us no memory.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(in_use)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}
