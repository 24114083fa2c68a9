//! Makes tokens and key sets of every kind, good and bad, without the code that is tested.

use std::sync::LazyLock;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::{Value, json};

pub(in crate::auth) const ISSUER: &str = "https://tenant.test/";
pub(in crate::auth) const AUDIENCE: &str = "https://sensorgate.test/api";
pub(in crate::auth) const CLIENT: &str = "client-1";

/// Two RSA keys, made once for all tests.
pub(in crate::auth) static RSA: LazyLock<[Mint; 2]> = LazyLock::new(|| [Mint::rsa("rsa-0"), Mint::rsa("rsa-1")]);

enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key of an issuer.
pub(in crate::auth) struct Mint {
    kid: String,
    signer: Signer,
}

impl Mint {
    pub(in crate::auth) fn rsa(kid: &str) -> Self {
        Self { kid: kid.to_owned(), signer: Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")) }
    }

    pub(in crate::auth) fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { kid: kid.to_owned(), signer: Signer::P256(pair) }
    }

    pub(in crate::auth) fn ed25519(kid: &str) -> Self {
        Self { kid: kid.to_owned(), signer: Signer::Ed25519(Ed25519KeyPair::generate().expect("a key")) }
    }

    pub(in crate::auth) fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.signer {
            Signer::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({"kty": "RSA", "n": encode(n.big_endian_without_leading_zero()),
                       "e": encode(e.big_endian_without_leading_zero())})
            }
            Signer::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            Signer::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// A token with `claims`, and a header changed by `change`.
    pub(in crate::auth) fn token_with(
        &self,
        algorithm: &str,
        claims: &Value,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let mut header = json!({"alg": algorithm, "typ": "JWT", "kid": self.kid});
        change(&mut header);
        self.sign_parts(algorithm, &header.to_string(), &claims.to_string())
    }

    pub(in crate::auth) fn token(&self, claims: &Value) -> String {
        self.token_with("RS256", claims, |_| {})
    }

    /// A token of these very texts.
    pub(in crate::auth) fn sign_parts(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = unsigned(header, claims);
        let signature = match (&self.signer, algorithm) {
            (Signer::Rsa(pair), "PS256") => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("signed");
                signature
            }
            (Signer::Rsa(pair), _) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("signed");
                signature
            }
            (Signer::P256(pair), _) => {
                pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signed").as_ref().to_vec()
            }
            (Signer::Ed25519(pair), _) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token signed with HMAC, the public key as the secret: the classic confusion.
    pub(in crate::auth) fn confused_token(&self, claims: &Value) -> String {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": self.kid});
        let message = unsigned(&header.to_string(), &claims.to_string());
        let secret = URL_SAFE_NO_PAD.decode(self.jwk()["n"].as_str().expect("RSA")).expect("base64url");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

pub(in crate::auth) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

pub(in crate::auth) fn jwks(jwks: &[Value]) -> Bytes {
    json!({ "keys": jwks }).to_string().into()
}

/// The claims of a token as Auth0 issues it at `now_s`.
pub(in crate::auth) fn auth0_claims(now_s: u64) -> Value {
    json!({
        "iss": ISSUER, "sub": format!("{CLIENT}@clients"), "aud": AUDIENCE, "iat": now_s, "exp": now_s + 3_600,
        "scope": "sensors:write equipment:read", "gty": "client-credentials", "azp": CLIENT,
    })
}

/// The claims of a token by RFC 9068.
pub(in crate::auth) fn rfc9068_claims(now_s: u64) -> Value {
    json!({
        "iss": ISSUER, "sub": CLIENT, "aud": AUDIENCE, "iat": now_s, "exp": now_s + 3_600,
        "jti": "id", "client_id": CLIENT, "scope": "sensors:write",
    })
}
