//! A token issuer of the test's own, for tokens that live as short as a test likes.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::now_s;

const AUDIENCE: &str = "urn:sensorgate:test";
/// The one client that it knows.
pub const CLIENT: &str = "greenhouse-1";

/// The issuer; it serves its key until it is dropped.
pub struct Issuer {
    pub url: String,
    keys: Ed25519KeyPair,
    work: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Issuer {
    pub async fn start() -> Self {
        let keys = Ed25519KeyPair::generate().expect("a key");
        let x = URL_SAFE_NO_PAD.encode(keys.public_key().as_ref());
        let jwks =
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1", "use": "sig", "alg": "EdDSA"}]});
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        #[allow(clippy::disallowed_methods, reason = "a test's task ends with the test")]
        let work = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                // One small request in one piece; whoever hangs up early is not served.
                let _asked = stream.read(&mut [0; 4096]).await;
                let body = jwks.to_string();
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
                let _served = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await;
            }
        });
        Self { url, keys, work }
    }

    /// The value of `auth.issuers` that trusts it.
    pub fn setting(&self) -> String {
        format!(
            "[{{issuer = \"{0}\", audiences = [\"{AUDIENCE}\"], profile = \"rfc9068\", algorithms = [\"EdDSA\"], \
             jwks_url = \"{0}jwks\"}}]",
            self.url
        )
    }

    /// A token for its client that ends at `expires_s`.
    pub fn token(&self, expires_s: i64) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "1"}));
        let claims = part(json!({
            "iss": self.url, "aud": AUDIENCE, "sub": CLIENT, "client_id": CLIENT, "iat": now_s(), "exp": expires_s,
            "jti": expires_s.to_string(), "scope": "sensors:write",
        }));
        let message = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.keys.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}
