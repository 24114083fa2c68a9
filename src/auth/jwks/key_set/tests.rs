use serde_json::json;

use super::*;
use crate::auth::jwt::tests::mint::{Mint, RSA, jwks};

const ALL: &[Algorithm] = &[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

fn parse(keys: &[Value], algorithms: &[Algorithm]) -> Result<Vec<(String, Algorithm)>, Error> {
    let set = KeySet::parse(&jwks(keys), algorithms, 0)?;
    let mut found: Vec<_> = set.keys.iter().map(|(kid, key)| (kid.to_string(), key.algorithm)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

fn modulus(bytes: usize, first: u8) -> Value {
    let mut n = vec![0xAB; bytes];
    n[0] = first;
    n[bytes - 1] |= 1;
    URL_SAFE_NO_PAD.encode(n).into()
}

#[test]
fn signing_keys_of_trusted_algorithms_are_taken_and_the_rest_passed_over() {
    let rsa = RSA[0].jwk();
    let (ec, ed) = (Mint::p256("ec").jwk(), Mint::ed25519("ed").jwk());
    let secret = json!({"kty": "oct", "kid": "oct", "k": "c2VjcmV0", "alg": "RS256"});
    let good = [("RS256", Algorithm::RS256), ("PS256", Algorithm::PS256)];
    for (name, algorithm) in good {
        let named = with(rsa.clone(), "alg", name.into());
        assert_eq!(parse(&[named], ALL).expect("a set"), [("rsa-0".to_owned(), algorithm)]);
    }
    let all = parse(&[rsa.clone(), ec.clone(), ed.clone(), secret.clone()], ALL).expect("a set");
    let expected = [("ec", Algorithm::ES256), ("ed", Algorithm::EdDSA), ("rsa-0", Algorithm::RS256)];
    assert_eq!(all, expected.map(|(kid, algorithm)| (kid.to_owned(), algorithm)));
    let passed_over = [
        secret,
        ec.clone(),
        with(rsa.clone(), "use", "enc".into()),
        with(rsa.clone(), "key_ops", json!(["sign"])),
        with(rsa.clone(), "alg", "RS512".into()),
        with(rsa.clone(), "alg", "HS256".into()),
        with(rsa.clone(), "alg", "ES256".into()),
        with(rsa.clone(), "kid", Value::Null),
        with(rsa.clone(), "kid", "".into()),
        with(rsa.clone(), "kid", "k".repeat(129).into()),
        with(rsa.clone(), "n", modulus(128, 0xFF)),
        with(rsa.clone(), "n", modulus(256, 0x7F)),
        with(rsa.clone(), "n", modulus(1_025, 0x01)),
        with(rsa.clone(), "n", "AAAA".into()),
        with(rsa.clone(), "n", URL_SAFE_NO_PAD.encode([0xFE; 256]).into()),
        with(rsa.clone(), "n", "not base64url!".into()),
        with(rsa.clone(), "n", Value::Null),
        with(rsa.clone(), "e", "AQ".into()),
        with(rsa.clone(), "e", "AA".into()),
        with(rsa.clone(), "e", "Ag".into()),
        json!("not an object"),
        json!({"kty": "EC", "crv": "secp256k1", "kid": "bitcoin", "x": "AA", "y": "AA"}),
    ];
    for jwk in passed_over {
        let alone = parse(std::slice::from_ref(&jwk), &[Algorithm::RS256]);
        assert!(matches!(alone, Err(Error::NoUsableKey)), "{jwk}");
        let other = parse(&[jwk.clone(), RSA[1].jwk()], &[Algorithm::RS256]).expect("its neighbour is not harmed");
        assert_eq!(other, [("rsa-1".to_owned(), Algorithm::RS256)], "{jwk}");
    }
    // Leading zeros do not make a modulus longer, nor a good one bad.
    let mut padded = vec![0; 4];
    padded.extend(URL_SAFE_NO_PAD.decode(rsa["n"].as_str().expect("a text")).expect("base64url"));
    assert!(parse(&[with(rsa, "n", URL_SAFE_NO_PAD.encode(padded).into())], &[Algorithm::RS256]).is_ok());
    assert!(parse(&[with(ed.clone(), "x", "AAAA".into())], ALL).is_err());
    assert!(parse(&[with(ec, "crv", "P-384".into())], ALL).is_err());
    assert!(parse(&[with(ed, "crv", "Ed448".into())], ALL).is_err());
}

#[test]
fn a_name_that_two_keys_have_names_neither() {
    let twin = with(RSA[1].jwk(), "kid", "rsa-0".into());
    assert!(matches!(parse(&[RSA[0].jwk(), twin.clone()], ALL), Err(Error::NoUsableKey)));
    let third = with(RSA[1].jwk(), "kid", "third".into());
    let rest = parse(&[RSA[0].jwk(), twin.clone(), twin, third], ALL).expect("a set");
    assert_eq!(rest, [("third".to_owned(), Algorithm::RS256)]);
    // A key for encryption is not meant, and does not make the name ambiguous.
    let encryption = with(with(RSA[1].jwk(), "kid", "rsa-0".into()), "use", "enc".into());
    assert_eq!(parse(&[RSA[0].jwk(), encryption], ALL).expect("a set").len(), 1);
}

#[test]
fn a_document_is_refused_as_a_whole_when_it_is_none() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[}"#] {
        assert!(matches!(KeySet::parse(text.as_bytes(), ALL, 0), Err(Error::Document(_))), "{text}");
    }
    assert!(matches!(parse(&[], ALL), Err(Error::NoUsableKey)));
    let many = vec![RSA[0].jwk(); KEYS_MAX + 1];
    assert!(matches!(parse(&many, ALL), Err(Error::TooManyKeys { count: 65 })));
}

#[test]
fn the_fingerprint_is_the_keys_and_its_algorithms() {
    let of = |jwk: Value| KeySet::parse(&jwks(&[jwk]), ALL, 0).expect("a set").find("k").expect("the key").fingerprint;
    let first = with(RSA[0].jwk(), "kid", "k".into());
    assert_eq!(of(first.clone()), of(with(first.clone(), "x5t", "changed".into())));
    assert_ne!(of(first.clone()), of(with(first, "alg", "PS256".into())));
    assert_ne!(of(with(RSA[0].jwk(), "kid", "k".into())), of(with(RSA[1].jwk(), "kid", "k".into())));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        proptest::prop_assert!(KeySet::parse(&bytes, ALL, 0).is_err());
    }
}
