//! TLS at the socket.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    super::{Tls, TlsFiles},
    *,
};

/// A new certificate in `dir`; returns it in DER.
fn certify(dir: &Path) -> CertificateDer<'static> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    CertificateDer::from_pem_slice(certified.cert.pem().as_bytes()).unwrap()
}

fn files(dir: &Path) -> TlsFiles {
    TlsFiles { certificate_file: dir.join("cert.pem"), private_key_file: dir.join("key.pem"), reload_s: 1 }
}

async fn start(dir: &Path, config: Config) -> TestPort {
    let tls = Tls::load(&files(dir), &["h2", "http/1.1"]).unwrap();
    TestPort::start(config, Port { tls: Some(tls), ..Port::plain("test") }).await
}

async fn connect(
    port: &TestPort,
    trusted: &CertificateDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, port.connect().await).await
}

async fn get(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(GET.as_bytes()).await.unwrap();
    answer(stream).await
}

#[tokio::test]
async fn both_tls_and_both_http_versions_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = certify(dir.path());
    let port = start(dir.path(), Config { park_after_ms: 20, ..config() }).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for alpn in [&["http/1.1"][..], &[]] {
            let mut client = connect(&port, &certificate, version, alpn).await.unwrap();
            assert!(get(&mut client).await.starts_with("HTTP/1.1 200"));
            until("it is parked", || port.metric("sensorgate_listener_connections_parked") == 1.0).await;
            assert!(get(&mut client).await.starts_with("HTTP/1.1 200"), "parked and back");
        }
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_der(&certificate).unwrap()])
        .resolve("localhost", port.addr)
        .build()
        .unwrap();
    let response = client.get(format!("https://localhost:{}/", port.addr.port())).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
}

#[tokio::test]
async fn silent_and_plain_clients_do_not_keep_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = certify(dir.path());
    let config = Config { first_byte_timeout_ms: 200, handshake_timeout_ms: 500, handshakes_max: 1, ..config() };
    let port = start(dir.path(), config).await;
    let mut silent = port.connect().await;
    let mut half = port.connect().await;
    half.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut plain = port.connect().await;
    send(&mut plain, GET).await;
    // The one handshake place is the half-open one's for a while; who comes waits, or comes again.
    let served = async {
        loop {
            if let Ok(mut client) = connect(&port, &certificate, &rustls::version::TLS13, &[]).await
                && client.write_all(GET.as_bytes()).await.is_ok()
                && answer(&mut client).await.starts_with("HTTP/1.1 200")
            {
                return;
            }
        }
    };
    timeout(PATIENCE, served).await.expect("a place");
    assert_eq!(end(&mut silent).await, "");
    end(&mut half).await;
    end(&mut plain).await;
    until("silence is counted", || port.refused("silent") == 1.0).await;
    until("the half is counted", || port.refused("handshake_timeout") >= 1.0).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let old = certify(dir.path());
    let port = start(dir.path(), config()).await;
    let mut open = connect(&port, &old, &rustls::version::TLS13, &[]).await.unwrap();
    assert!(get(&mut open).await.starts_with("HTTP/1.1 200"));

    std::fs::write(dir.path().join("key.pem"), "no key at all").unwrap();
    let failed = "sensorgate_listener_certificate_reloads_total{result=\"failed\"}";
    until("the broken one is refused", || port.metric(failed) == 1.0).await;
    assert!(connect(&port, &old, &rustls::version::TLS13, &[]).await.is_ok(), "the old one stays");

    let new = certify(dir.path());
    let renewed = "sensorgate_listener_certificate_reloads_total{result=\"ok\"}";
    until("the new one is taken", || port.metric(renewed) == 1.0).await;
    assert!(connect(&port, &new, &rustls::version::TLS13, &[]).await.is_ok());
    assert!(connect(&port, &old, &rustls::version::TLS13, &[]).await.is_err());
    assert!(get(&mut open).await.starts_with("HTTP/1.1 200"), "open connections go on");
}

#[tokio::test]
async fn files_that_cannot_serve_are_named() {
    use super::super::Error;
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Tls::load(&files(dir.path()), &[]), Err(Error::TlsRead { .. })));
    certify(dir.path());
    let key = std::fs::read(dir.path().join("key.pem")).unwrap();
    certify(dir.path());
    assert!(Tls::load(&files(dir.path()), &[]).is_ok());
    std::fs::write(dir.path().join("key.pem"), &key).unwrap();
    assert!(matches!(Tls::load(&files(dir.path()), &[]), Err(Error::TlsUse { .. })), "a key of another certificate");
    std::fs::write(dir.path().join("key.pem"), "").unwrap();
    let error = Tls::load(&files(dir.path()), &[]).unwrap_err();
    assert!(matches!(error, Error::TlsPem { .. }) && error.to_string().contains("key.pem"), "{error}");
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    std::fs::write(dir.path().join("cert.pem"), "").unwrap();
    assert!(Tls::load(&files(dir.path()), &[]).is_err(), "no certificate");
}
