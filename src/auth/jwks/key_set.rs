//! From a JWKS document to the keys that may verify a token: strict about each key, lenient about its neighbours.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Error;
use crate::auth::jwt::Algorithm;

/// Most keys that a document may have; an honest one has two or three.
pub(super) const KEYS_MAX: usize = 64;
/// Longest `kid`, in bytes. It is chosen by whoever made the document, and looked up by whoever made the token.
pub(in crate::auth) const KID_BYTES_MAX: usize = 128;
/// RSA moduli in bits: below is weak, above is slow.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// One key of an issuer, pinned to one algorithm.
pub(in crate::auth) struct Key {
    /// The only algorithm that it verifies.
    pub(in crate::auth) algorithm: Algorithm,
    /// The public key.
    pub(in crate::auth) decoding: DecodingKey,
    /// SHA-256 over algorithm and public key: another key under the same `kid` is another key.
    pub(in crate::auth) fingerprint: [u8; 32],
}

/// The keys of an issuer as one document gave them.
pub(in crate::auth) struct KeySet {
    keys: HashMap<Box<str>, Arc<Key>>,
    /// When the issuer last confirmed them, Unix microseconds.
    pub(in crate::auth) fetched_at_us: i64,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet").field("kids", &self.keys.keys()).field("fetched_at_us", &self.fetched_at_us).finish()
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// What is read of a JWK (RFC 7517). `x5u`, `x5c` and private parts are not looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The usable keys of `document`: signing keys of the trusted `algorithms`, with an unambiguous `kid`. Others are
    /// passed over: an issuer may publish keys that are none of our business.
    ///
    /// # Errors
    /// When it is no JWKS, has too many keys, or no usable one: an empty set never replaces a good one.
    pub(super) fn parse(document: &[u8], algorithms: &[Algorithm], fetched_at_us: i64) -> Result<Self, Error> {
        let Document { keys: listed } = serde_json::from_slice(document).map_err(Error::Document)?;
        if listed.len() > KEYS_MAX {
            return Err(Error::TooManyKeys { count: listed.len() });
        }
        let mut keys: HashMap<Box<str>, Option<Arc<Key>>> = HashMap::new();
        for jwk in listed.into_iter().filter_map(|value| serde_json::from_value::<Jwk>(value).ok()) {
            if jwk.kid.is_empty() || jwk.kid.len() > KID_BYTES_MAX {
                continue;
            }
            if let Some(key) = Key::from_jwk(&jwk, algorithms) {
                // Two keys under one name: nobody can say which is meant, so neither counts.
                keys.entry(jwk.kid.into()).and_modify(|both| *both = None).or_insert_with(|| Some(Arc::new(key)));
            }
        }
        let keys: HashMap<_, _> = keys.into_iter().filter_map(|(kid, key)| Some((kid, key?))).collect();
        if keys.is_empty() { Err(Error::NoUsableKey) } else { Ok(Self { keys, fetched_at_us }) }
    }

    /// The key named `kid`.
    pub(in crate::auth) fn find(&self, kid: &str) -> Option<&Arc<Key>> {
        self.keys.get(kid)
    }

    /// How many keys are usable.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Key {
    fn from_jwk(jwk: &Jwk, trusted: &[Algorithm]) -> Option<Self> {
        let for_signing = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signing {
            return None;
        }
        // A JWK without `alg` takes the first trusted algorithm that its type can have. It never gets two.
        let algorithm = match &jwk.alg {
            Some(name) => trusted.iter().copied().find(|algorithm| algorithm.as_str() == name)?,
            None => trusted.iter().copied().find(|algorithm| algorithm.key_type() == jwk.kty)?,
        };
        if algorithm.key_type() != jwk.kty {
            return None;
        }
        let (decoding, material) = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => rsa(jwk)?,
            Algorithm::ES256 => p256(jwk)?,
            Algorithm::EdDSA => ed25519(jwk)?,
        };
        let fingerprint =
            Sha256::new().chain_update(algorithm.as_str()).chain_update([0]).chain_update(material).finalize().into();
        Some(Self { algorithm, decoding, fingerprint })
    }
}

fn bytes(part: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part?).ok()
}

fn rsa(jwk: &Jwk) -> Option<(DecodingKey, Vec<u8>)> {
    let modulus = unsigned(bytes(jwk.n.as_ref())?);
    let exponent = unsigned(bytes(jwk.e.as_ref())?);
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    // An even modulus is no product of two odd primes; an exponent of 1 would let anybody sign.
    let sound = MODULUS_BITS.contains(&bits)
        && modulus.last()? & 1 == 1
        && exponent.last()? & 1 == 1
        && exponent.as_slice() != [1]
        && exponent.len() <= 8;
    let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    let material = [modulus.as_slice(), &[0], exponent.as_slice()].concat();
    sound.then_some((key, material))
}

/// A big-endian number without leading zeros.
fn unsigned(bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    if zeros == 0 { bytes } else { bytes[zeros..].to_vec() }
}

fn p256(jwk: &Jwk) -> Option<(DecodingKey, Vec<u8>)> {
    let (x, y) = (bytes(jwk.x.as_ref())?, bytes(jwk.y.as_ref())?);
    if jwk.crv.as_deref() != Some("P-256") || x.len() != 32 || y.len() != 32 {
        return None;
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    Some((DecodingKey::from_ec_der(&point), point))
}

fn ed25519(jwk: &Jwk) -> Option<(DecodingKey, Vec<u8>)> {
    let x = bytes(jwk.x.as_ref())?;
    (jwk.crv.as_deref() == Some("Ed25519") && x.len() == 32).then(|| (DecodingKey::from_ed_der(&x), x))
}

#[cfg(test)]
mod tests;
