use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use self::mint::{AUDIENCE, CLIENT, ISSUER, Mint, RSA, auth0_claims, jwks as document, rfc9068_claims, unsigned};
use super::*;
use crate::{
    auth::jwks::{self, InProcess},
    model::ProblemCode,
};

pub(in crate::auth) mod mint;

/// Spoils a header or claims.
type Change = fn(&mut Value);
type ConfigChange = fn(&mut Config);
type IssuerChange = fn(&mut IssuerConfig);

pub(in crate::auth) fn config() -> Config {
    Config {
        leeway_s: 30,
        lifetime_max_s: 3_600,
        lifetime_enforced: true,
        token_bytes_max: 8_192,
        cache_tokens_max: 1_000,
        cache_ttl_max_s: 600,
        keys: jwks::Config {
            refresh_s: 600,
            refresh_min_s: 60,
            fetch_timeout_ms: 5_000,
            wait_ms: 2_000,
            stale_max_s: 86_400,
        },
    }
}

pub(in crate::auth) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn now_s() -> u64 {
    u64::try_from(now_us() / 1_000_000).expect("after 1970")
}

fn issuer(profile: Profile, algorithms: &[Algorithm]) -> IssuerConfig {
    IssuerConfig { profile, algorithms: algorithms.to_vec(), ..IssuerConfig::embedded(ISSUER, AUDIENCE) }
}

/// A verifier for one issuer whose keys are `keys`, fetched.
async fn verifier(config: &Config, issuer: IssuerConfig, keys: Vec<Value>) -> Verifier {
    let keys = document(&keys);
    let source = Arc::new(InProcess::new(move || keys.clone()));
    let trusted = vec![TrustedIssuer::in_process(issuer, source)];
    let verifier = Verifier::new(config, trusted, None, Health::default()).expect("a verifier");
    verifier.start(&CancellationToken::new());
    while verifier.issuers[0].keys.current(now_us()).is_none() {
        tokio::task::yield_now().await;
    }
    verifier
}

async fn auth0() -> Verifier {
    verifier(&config(), issuer(Profile::Auth0, &[Algorithm::RS256]), vec![RSA[0].jwk()]).await
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = auth0_claims(now_s());
    change(&mut claims);
    claims
}

// S177, S183: the shapes that are accepted
#[tokio::test]
async fn a_token_in_auth0s_shape_is_believed() {
    let verifier = auth0().await;
    let claims = auth0_claims(now_s());
    let token = verifier.verify(&RSA[0].token(&claims), now_us()).await.expect("genuine");
    assert_eq!(token.client, ClientKey { issuer: ISSUER.to_owned(), client_id: CLIENT.to_owned() });
    assert_eq!(token.subject, format!("{CLIENT}@clients"));
    assert_eq!(token.expires_s, claims["exp"].as_u64().expect("a number"));
    assert_eq!(token.scopes().collect::<Vec<_>>(), ["sensors:write", "equipment:read"]);
    let accepted: &[(&str, Change)] = &[
        ("no typ", |header| {
            header.as_object_mut().expect("an object").remove("typ");
        }),
        ("typ in lower case", |header| header["typ"] = "jwt".into()),
        ("typ of RFC 9068", |header| header["typ"] = "at+JWT".into()),
        ("keys that it brings itself are not looked at", |header| {
            header["jku"] = "https://evil.test/jwks".into();
            header["x5u"] = "https://evil.test/cert".into();
        }),
    ];
    for (name, change) in accepted {
        let token = RSA[0].token_with("RS256", &claims, change);
        assert!(verifier.verify(&token, now_us()).await.is_ok(), "{name}");
    }
    let accepted: &[(&str, Change)] = &[
        ("one of several audiences", |claims| claims["aud"] = json!(["https://tenant.test/userinfo", AUDIENCE])),
        ("sub without @clients", |claims| claims["sub"] = CLIENT.into()),
        ("no gty", |claims| {
            claims.as_object_mut().expect("an object").remove("gty");
        }),
        ("moments with fractions", |claims| {
            claims["exp"] = json!(claims["exp"].as_u64().expect("a number") as f64 + 0.5);
        }),
        ("nbf in the past", |claims| claims["nbf"] = claims["iat"].clone()),
        ("nbf within the leeway", |claims| claims["nbf"] = json!(claims["iat"].as_u64().expect("a number") + 25)),
        ("permissions", |claims| claims["permissions"] = json!(["sensors:write"])),
        ("client_id too, the same", |claims| claims["client_id"] = CLIENT.into()),
    ];
    for (name, change) in accepted {
        let token = RSA[0].token(&changed(change));
        assert!(verifier.verify(&token, now_us()).await.is_ok(), "{name}");
    }
}

/// Claims that a genuine signature does not save. Each case is a row of the table of what the library lets pass, or
/// of what we demand beyond it.
const REFUSED_CLAIMS: &[(&str, Change, TokenError)] = &[
    ("no iss", |c| drop(c.as_object_mut().expect("an object").remove("iss")), TokenError::WrongIssuer),
    ("iss of another", |c| c["iss"] = "https://evil.test/".into(), TokenError::WrongIssuer),
    ("iss without slash", |c| c["iss"] = ISSUER.trim_end_matches('/').into(), TokenError::WrongIssuer),
    ("iss is a list with ours", |c| c["iss"] = json!(["https://evil.test/", ISSUER]), TokenError::WrongIssuer),
    ("iss is an object", |c| c["iss"] = json!({"a": ISSUER}), TokenError::WrongIssuer),
    ("iss is null", |c| c["iss"] = Value::Null, TokenError::WrongIssuer),
    ("no aud", |c| drop(c.as_object_mut().expect("an object").remove("aud")), TokenError::MissingClaim("aud")),
    ("aud is a number", |c| c["aud"] = json!(42), TokenError::MissingClaim("aud")),
    ("aud is null", |c| c["aud"] = Value::Null, TokenError::MissingClaim("aud")),
    ("aud of another", |c| c["aud"] = "https://other.test/".into(), TokenError::WrongAudience),
    ("aud is an empty list", |c| c["aud"] = json!([]), TokenError::WrongAudience),
    ("aud is a list of others", |c| c["aud"] = json!(["a", "b"]), TokenError::WrongAudience),
    ("aud is a list with a number", |c| c["aud"] = json!([AUDIENCE, 1]), TokenError::MissingClaim("aud")),
    ("no exp", |c| drop(c.as_object_mut().expect("an object").remove("exp")), TokenError::MissingClaim("exp")),
    ("exp is a text", |c| c["exp"] = c["exp"].to_string().into(), TokenError::MissingClaim("exp")),
    ("exp without end", |c| c["exp"] = json!(1e18), TokenError::InvalidClaim),
    ("exp is negative", |c| c["exp"] = json!(-1), TokenError::MissingClaim("exp")),
    ("no sub", |c| drop(c.as_object_mut().expect("an object").remove("sub")), TokenError::MissingClaim("sub")),
    ("sub is empty", |c| c["sub"] = "".into(), TokenError::InvalidClaim),
    ("sub is a person", |c| c["sub"] = "auth0|5f7c".into(), TokenError::NotMachine),
    ("sub of another client", |c| c["sub"] = "client-2@clients".into(), TokenError::NotMachine),
    ("sub begins with the client", |c| c["sub"] = format!("{CLIENT}x").into(), TokenError::NotMachine),
    ("gty of a person", |c| c["gty"] = "password".into(), TokenError::NotMachine),
    ("no azp", |c| drop(c.as_object_mut().expect("an object").remove("azp")), TokenError::MissingClaim("client id")),
    ("azp is empty", |c| c["azp"] = "".into(), TokenError::InvalidClaim),
    ("client_id of another", |c| c["client_id"] = "client-2".into(), TokenError::ClientMismatch),
    ("no iat", |c| drop(c.as_object_mut().expect("an object").remove("iat")), TokenError::MissingClaim("iat")),
    ("iat is a text", |c| c["iat"] = "1".into(), TokenError::InvalidClaim),
    ("nbf is a text", |c| c["nbf"] = "1".into(), TokenError::InvalidClaim),
    ("scope is a list", |c| c["scope"] = json!(["sensors:write"]), TokenError::InvalidClaim),
    ("permissions of numbers", |c| c["permissions"] = json!([1]), TokenError::InvalidClaim),
];

// S183–S185
#[tokio::test]
async fn a_genuine_signature_does_not_save_wrong_claims() {
    let verifier = auth0().await;
    for (name, change, error) in REFUSED_CLAIMS {
        let token = RSA[0].token(&changed(change));
        assert_eq!(verifier.verify(&token, now_us()).await.expect_err(name), *error, "{name}");
        // Never remembered: the same answer, by the same way.
        assert_eq!(verifier.verify(&token, now_us()).await.expect_err(name), *error, "{name}, again");
    }
    verifier.cache.run_pending_tasks();
    assert_eq!(verifier.cache.entry_count(), 0);
}

// S177–S179, S185
#[tokio::test]
async fn time_is_judged_by_the_clock_that_is_given() {
    let verifier = auth0().await;
    let at = now_s();
    let second = |offset: i64| i64::try_from(at).expect("fits").saturating_add(offset) * 1_000_000;
    let token = |iat: i64, exp: i64, nbf: Option<i64>| {
        let moment = |offset: i64| json!(i64::try_from(at).expect("fits") + offset);
        let mut claims = auth0_claims(at);
        claims["iat"] = moment(iat);
        claims["exp"] = moment(exp);
        if let Some(nbf) = nbf {
            claims["nbf"] = moment(nbf);
        }
        RSA[0].token(&claims)
    };
    let cases = [
        (token(0, 3_600, None), 3_629, None),
        (token(0, 3_600, None), 3_630, Some(TokenError::Expired)),
        (token(0, 3_600, None), 999_999, Some(TokenError::Expired)),
        (token(-3_600, 0, None), 30, Some(TokenError::Expired)),
        (token(0, 3_630, None), 0, None),
        (token(0, 3_631, None), 0, Some(TokenError::LifetimeTooLong)),
        (token(0, 86_400, None), 0, Some(TokenError::LifetimeTooLong)),
        (token(-90_000, -3_600, None), 0, Some(TokenError::LifetimeTooLong)),
        (token(30, 3_600, None), 0, None),
        (token(31, 3_600, None), 0, Some(TokenError::IssuedInFuture)),
        (token(0, 3_600, Some(30)), 0, None),
        (token(0, 3_600, Some(31)), 0, Some(TokenError::NotYetValid)),
        (token(100, 99, None), 0, Some(TokenError::InvalidClaim)),
    ];
    for (case, (token, offset, error)) in cases.iter().enumerate() {
        // Twice, since the second time it may come from the cache.
        for _ in 0..2 {
            assert_eq!(verifier.verify(token, second(*offset)).await.err(), *error, "case {case}");
        }
    }
    // S177: a token in the cache ends when it ends, and a clock that steps back makes nothing worse.
    let token = token(0, 3_600, None);
    for (offset, error) in [(0, None), (3_630, Some(TokenError::Expired)), (10, None)] {
        assert_eq!(verifier.verify(&token, second(offset)).await.err(), error, "at {offset}");
    }
}

// S178, A21
#[tokio::test]
async fn a_long_life_is_allowed_only_where_the_configuration_says_so() {
    let config = Config { lifetime_enforced: false, ..config() };
    let verifier = verifier(&config, issuer(Profile::Auth0, &[Algorithm::RS256]), vec![RSA[0].jwk()]).await;
    let long = RSA[0].token(&changed(|claims| claims["exp"] = json!(now_s() + 86_400)));
    assert!(verifier.verify(&long, now_us()).await.is_ok());
    let endless = RSA[0].token(&changed(|claims| claims["exp"] = json!(1e18)));
    assert_eq!(verifier.verify(&endless, now_us()).await.expect_err("refused"), TokenError::InvalidClaim);
}

// S183
#[tokio::test]
async fn only_the_pinned_algorithm_and_the_issuers_key_count() {
    let verifier = auth0().await;
    let claims = auth0_claims(now_s());
    let good = RSA[0].token(&claims);
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let tampered = changed(|claims| claims["azp"] = "client-2".into()).to_string();
    let none = |alg: &str, kid: &str| {
        unsigned(&json!({"alg": alg, "typ": "JWT", "kid": kid}).to_string(), &claims.to_string())
    };
    let crit = |header: &mut Value| header["crit"] = json!(["x"]);
    let cases = [
        ("none, no signature", format!("{}.", none("none", "rsa-0")), TokenError::AlgorithmNotAllowed),
        ("none, a signature", format!("{}.{signature}", none("none", "rsa-0")), TokenError::AlgorithmNotAllowed),
        ("None in capitals", format!("{}.{signature}", none("NONE", "rsa-0")), TokenError::AlgorithmNotAllowed),
        ("HMAC with the public key", RSA[0].confused_token(&claims), TokenError::AlgorithmNotAllowed),
        ("an algorithm not trusted", RSA[0].token_with("PS256", &claims, |_| {}), TokenError::AlgorithmNotAllowed),
        (
            "another key under this name",
            RSA[1].token_with("RS256", &claims, |h| h["kid"] = "rsa-0".into()),
            TokenError::BadSignature,
        ),
        ("no signature", format!("{message}."), TokenError::AlgorithmNotAllowed),
        (
            "other claims",
            format!("{}.{signature}", unsigned(r#"{"alg":"RS256","kid":"rsa-0"}"#, &tampered)),
            TokenError::BadSignature,
        ),
        ("a critical header", RSA[0].token_with("RS256", &claims, crit), TokenError::CriticalHeader),
        (
            "an empty critical header",
            RSA[0].token_with("RS256", &claims, |h| h["crit"] = json!([])),
            TokenError::CriticalHeader,
        ),
        (
            "an ID token's type",
            RSA[0].token_with("RS256", &claims, |h| h["typ"] = "id+jwt".into()),
            TokenError::TypeNotAllowed,
        ),
        ("a type that is no text", RSA[0].token_with("RS256", &claims, |h| h["typ"] = json!(1)), TokenError::Malformed),
        (
            "no kid",
            RSA[0].token_with("RS256", &claims, |h| drop(h.as_object_mut().expect("an object").remove("kid"))),
            TokenError::UnknownKey,
        ),
        (
            "a kid without end",
            RSA[0].token_with("RS256", &claims, |h| h["kid"] = "k".repeat(129).into()),
            TokenError::UnknownKey,
        ),
        (
            "a kid that is a path",
            RSA[0].token_with("RS256", &claims, |h| h["kid"] = "../../etc/passwd".into()),
            TokenError::UnknownKey,
        ),
        ("a kid that is no text", RSA[0].token_with("RS256", &claims, |h| h["kid"] = json!(1)), TokenError::Malformed),
        (
            "alg twice",
            RSA[0].sign_parts("RS256", r#"{"alg":"RS256","alg":"RS256","kid":"rsa-0"}"#, &claims.to_string()),
            TokenError::Malformed,
        ),
        (
            "exp twice",
            RSA[0].sign_parts(
                "RS256",
                r#"{"alg":"RS256","kid":"rsa-0"}"#,
                &format!(r#"{{"exp":{},{}"#, now_s() + 60, &claims.to_string()[1..]),
            ),
            TokenError::Malformed,
        ),
        (
            "azp twice, which the library would not notice",
            RSA[0].sign_parts(
                "RS256",
                r#"{"alg":"RS256","kid":"rsa-0"}"#,
                &format!(r#"{{"azp":"client-2",{}"#, &claims.to_string()[1..]),
            ),
            TokenError::Malformed,
        ),
        ("a signature in another spelling", format!("{message}.{signature}="), TokenError::Malformed),
        (
            "claims that are a list",
            RSA[0].sign_parts("RS256", r#"{"alg":"RS256","kid":"rsa-0"}"#, "[]"),
            TokenError::Malformed,
        ),
        ("one part", "abc".to_owned(), TokenError::Malformed),
        ("two parts", message.to_owned(), TokenError::Malformed),
        ("four parts", format!("{good}.x"), TokenError::Malformed),
        ("empty", String::new(), TokenError::Malformed),
        ("dots", "..".to_owned(), TokenError::Malformed),
        ("too long", "a".repeat(8_193), TokenError::TooLong),
        ("blank behind it", format!("{good} "), TokenError::Malformed),
    ];
    for (name, token, error) in cases {
        assert_eq!(verifier.verify(&token, now_us()).await.expect_err(name), error, "{name}");
    }
    assert!(verifier.verify(&good, now_us()).await.is_ok());
}

#[tokio::test]
async fn expired_is_said_only_of_a_genuine_token() {
    let verifier = auth0().await;
    let expired = changed(|claims| {
        claims["iat"] = json!(now_s() - 7_200);
        claims["exp"] = json!(now_s() - 3_600);
    });
    let genuine = RSA[0].token(&expired);
    assert_eq!(verifier.verify(&genuine, now_us()).await.expect_err("old"), TokenError::Expired);
    let forged = RSA[1].token_with("RS256", &expired, |header| header["kid"] = "rsa-0".into());
    assert_eq!(verifier.verify(&forged, now_us()).await.expect_err("forged"), TokenError::BadSignature);
    assert_eq!(TokenError::Expired.problem(), ProblemCode::TokenExpired);
    assert_eq!(TokenError::Expired.cause(), "token_expired");
    assert_eq!(TokenError::BadSignature.problem(), ProblemCode::TokenInvalid);
    assert_eq!(TokenError::KeysUnavailable.problem(), ProblemCode::IssuerUnavailable);
}

#[tokio::test]
async fn every_trusted_algorithm_verifies_and_only_with_its_own_kind_of_key() {
    let (p256, ed) = (Mint::p256("ec"), Mint::ed25519("ed"));
    let all = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
    let mut pss = RSA[1].jwk();
    pss["alg"] = "PS256".into();
    let keys = vec![RSA[0].jwk(), pss, p256.jwk(), ed.jwk()];
    let verifier = verifier(&config(), issuer(Profile::Auth0, &all), keys).await;
    let claims = auth0_claims(now_s());
    let token = |mint: &Mint, algorithm| mint.token_with(algorithm, &claims, |_| {});
    for (mint, algorithm) in [(&RSA[0], "RS256"), (&RSA[1], "PS256"), (&p256, "ES256"), (&ed, "EdDSA")] {
        assert!(verifier.verify(&token(mint, algorithm), now_us()).await.is_ok(), "{algorithm}");
    }
    // A key is for one algorithm: by its own word, or else for the first that is trusted.
    for (mint, algorithm) in [(&RSA[0], "PS256"), (&RSA[1], "RS256"), (&p256, "RS256"), (&ed, "ES256")] {
        let refused = verifier.verify(&token(mint, algorithm), now_us()).await.expect_err(algorithm);
        assert_eq!(refused, TokenError::AlgorithmNotAllowed, "{algorithm}");
    }
}

#[tokio::test]
async fn the_profile_of_rfc_9068_has_its_own_type_and_client_claim() {
    let keys = vec![RSA[0].jwk()];
    let verifier = verifier(&config(), issuer(Profile::Rfc9068, &[Algorithm::RS256]), keys).await;
    let claims = rfc9068_claims(now_s());
    let at_jwt = |claims: &Value| RSA[0].token_with("RS256", claims, |header| header["typ"] = "at+jwt".into());
    let token = verifier.verify(&at_jwt(&claims), now_us()).await.expect("genuine");
    assert_eq!(token.client.client_id, CLIENT);
    let long_type = |header: &mut Value| header["typ"] = "application/at+jwt".into();
    assert!(verifier.verify(&RSA[0].token_with("RS256", &claims, long_type), now_us()).await.is_ok());
    let plain = verifier.verify(&RSA[0].token(&claims), now_us()).await.expect_err("an ID token has this type");
    assert_eq!(plain, TokenError::TypeNotAllowed);
    let auth0 = verifier.verify(&at_jwt(&auth0_claims(now_s())), now_us()).await.expect_err("no client_id");
    assert_eq!(auth0, TokenError::MissingClaim("client id"));
}

#[tokio::test]
async fn the_client_is_named_by_the_claims_of_the_configuration() {
    let names = vec!["cid".to_owned(), "appid".to_owned()];
    let okta = IssuerConfig { client_id_claims: names, ..issuer(Profile::Auth0, &[Algorithm::RS256]) };
    let verifier = verifier(&config(), okta.clone(), vec![RSA[0].jwk()]).await;
    let verify = async |change: Change| {
        let mut claims = rfc9068_claims(now_s());
        claims.as_object_mut().expect("an object").remove("client_id");
        change(&mut claims);
        verifier.verify(&RSA[0].token(&claims), now_us()).await.map(|token| token.client.client_id.clone())
    };
    assert_eq!(verify(|c| c["cid"] = CLIENT.into()).await, Ok(CLIENT.to_owned()));
    assert_eq!(verify(|c| c["appid"] = CLIENT.into()).await, Ok(CLIENT.to_owned()));
    assert_eq!(verify(|_| {}).await, Err(TokenError::MissingClaim("client id")));
    let two = verify(|c| {
        *c = {
            let mut c = c.clone();
            c["cid"] = CLIENT.into();
            c["appid"] = "b".into();
            c
        }
    })
    .await;
    assert_eq!(two, Err(TokenError::ClientMismatch));
    let other_azp = verify(|c| {
        *c = {
            let mut c = c.clone();
            c["cid"] = CLIENT.into();
            c["azp"] = "b".into();
            c
        }
    })
    .await;
    assert_eq!(other_azp, Err(TokenError::ClientMismatch));
}

#[tokio::test]
async fn subjects_that_are_not_the_client_are_believed_only_where_the_configuration_says_so() {
    let keycloak = IssuerConfig { subject_is_client: false, ..issuer(Profile::Auth0, &[Algorithm::RS256]) };
    let token = RSA[0].token(&changed(|claims| claims["sub"] = "c0ffee-service-account".into()));
    let lenient = verifier(&config(), keycloak, vec![RSA[0].jwk()]).await;
    assert_eq!(lenient.verify(&token, now_us()).await.expect("genuine").client.client_id, CLIENT);
    assert_eq!(auth0().await.verify(&token, now_us()).await.expect_err("refused"), TokenError::NotMachine);
}

/// Two issuers, one key each; both know a client of the same id.
// S188, `research/security.md` §1.5
#[tokio::test]
async fn the_same_client_id_of_two_issuers_is_two_clients() {
    const OTHER: &str = "https://other.test/";
    let of = |name: &str, key: &Mint| {
        let keys = document(&[key.jwk()]);
        let config = IssuerConfig::embedded(name, AUDIENCE);
        TrustedIssuer::in_process(config, Arc::new(InProcess::new(move || keys.clone())))
    };
    let trusted = vec![of(ISSUER, &RSA[0]), of(OTHER, &RSA[1])];
    let verifier = Verifier::new(&config(), trusted, None, Health::default()).expect("a verifier");
    verifier.start(&CancellationToken::new());
    let other = changed(|claims| claims["iss"] = OTHER.into());
    let a = verifier.verify(&RSA[0].token(&auth0_claims(now_s())), now_us()).await.expect("the first's");
    let b = verifier.verify(&RSA[1].token(&other), now_us()).await.expect("the other's");
    assert_eq!(a.client.client_id, b.client.client_id);
    assert_ne!(a.client, b.client);
    // No issuer can speak for the other, whatever name its key has there.
    let crossed = RSA[0].token(&other);
    assert_eq!(verifier.verify(&crossed, now_us()).await.expect_err("crossed"), TokenError::UnknownKey);
    let crossed = RSA[0].token_with("RS256", &other, |header| header["kid"] = "rsa-1".into());
    assert_eq!(verifier.verify(&crossed, now_us()).await.expect_err("crossed"), TokenError::BadSignature);
}

#[test]
fn an_issuer_that_is_given_twice_is_refused() {
    let twice = || {
        let keys = document(&[]);
        let source = Arc::new(InProcess::new(move || keys.clone()));
        TrustedIssuer::in_process(IssuerConfig::embedded(ISSUER, AUDIENCE), source)
    };
    let refused = Verifier::new(&config(), vec![twice(), twice()], None, Health::default()).expect_err("refused");
    assert!(matches!(refused, Error::DuplicateIssuer { issuer } if issuer == ISSUER));
    let one = IssuerConfig::embedded(ISSUER, AUDIENCE);
    let refused = IssuerConfig::check_all(&[one.clone(), one]).expect_err("refused");
    assert!(refused.contains(ISSUER) && refused.contains("twice"), "{refused}");
}

#[test]
fn an_issuers_configuration_is_refused_by_key() {
    let parse = |text: &str| toml::from_str::<IssuerConfig>(text).map_err(|error| error.to_string());
    let good = format!("issuer = '{ISSUER}'\naudiences = ['a']\nprofile = 'auth0'");
    let issuer = parse(&good).expect("an issuer");
    assert_eq!(issuer.algorithms, [Algorithm::RS256]);
    assert!(issuer.subject_is_client);
    IssuerConfig::check_all(std::slice::from_ref(&issuer)).expect("checked");
    assert!(parse(&format!("{good}\nalgorithms = ['HS256']")).is_err(), "HMAC is no choice");
    assert!(parse(&format!("{good}\nunknown = 1")).is_err());
    let refused: &[(IssuerChange, &str)] = &[
        (|issuer| issuer.issuer = String::new(), "issuer"),
        (|issuer| issuer.issuer = "http://tenant.test/".to_owned(), "https"),
        (|issuer| issuer.jwks_url = Some("http://tenant.test/jwks".to_owned()), "https"),
        (|issuer| issuer.audiences.clear(), "audiences"),
        (|issuer| issuer.algorithms.clear(), "algorithms"),
        (|issuer| issuer.client_id_claims = vec![String::new()], "client_id_claims"),
    ];
    for (change, word) in refused {
        let mut issuer = issuer.clone();
        change(&mut issuer);
        let refusal = IssuerConfig::check_all(&[issuer]).expect_err(word);
        assert!(refusal.contains(word), "{refusal}");
    }
}

#[test]
fn every_number_of_the_configuration_has_a_range() {
    config().check().expect("the test's own");
    let refused: &[(ConfigChange, &str)] = &[
        (|config| config.leeway_s = 61, "leeway_s = 61"),
        (|config| config.lifetime_max_s = 0, "lifetime_max_s = 0"),
        (|config| config.token_bytes_max = 1 << 20, "token_bytes_max"),
        (|config| config.cache_ttl_max_s = 0, "cache_ttl_max_s"),
        (|config| config.keys.refresh_s = 0, "keys.refresh_s"),
        (|config| config.keys.refresh_min_s = 0, "keys.refresh_min_s"),
        (|config| config.keys.stale_max_s = 100, "keys.stale_max_s"),
        (|config| config.keys.wait_ms = 60_000, "keys.wait_ms"),
    ];
    for (change, word) in refused {
        let mut config = config();
        change(&mut config);
        let refusal = config.check().expect_err(word);
        assert!(refusal.contains(word), "{refusal}");
    }
}

// S180, S181: any number of a client's tokens at once
#[tokio::test]
async fn a_token_is_verified_once_and_remembered() {
    let verifier = auth0().await;
    let claims = auth0_claims(now_s());
    let tokens = [RSA[0].token(&claims), RSA[0].token(&changed(|claims| claims["jti"] = "b".into()))];
    for token in &tokens {
        let first = verifier.verify(token, now_us()).await.expect("genuine");
        let second = verifier.verify(token, now_us()).await.expect("genuine");
        assert!(Arc::ptr_eq(&first, &second), "from the cache");
    }
    // Another spelling of the same token is another token: it is judged anew.
    let other = format!("{}x", &tokens[0][..tokens[0].len() - 1]);
    assert!(verifier.verify(&other, now_us()).await.is_err());
}

/// A source whose document can be changed, that counts how often it was asked.
pub(in crate::auth) struct ChangingKeys {
    pub(in crate::auth) document: parking_lot::Mutex<Option<Bytes>>,
    pub(in crate::auth) fetches: AtomicUsize,
}

impl ChangingKeys {
    pub(in crate::auth) fn new(keys: &[Value]) -> Arc<Self> {
        Arc::new(Self { document: Some(document(keys)).into(), fetches: AtomicUsize::new(0) })
    }

    pub(in crate::auth) fn set(&self, keys: Option<&[Value]>) {
        *self.document.lock() = keys.map(document);
    }

    pub(in crate::auth) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl KeySource for ChangingKeys {
    fn fetch(&self) -> jwks::Fetching<'_> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { self.document.lock().clone().ok_or(jwks::Error::Status { status: 503 }) })
    }
}

pub(in crate::auth) fn changing_verifier(source: Arc<ChangingKeys>, health: Health) -> Verifier {
    let trusted = vec![TrustedIssuer::in_process(IssuerConfig::embedded(ISSUER, AUDIENCE), source)];
    let verifier = Verifier::new(&config(), trusted, None, health).expect("a verifier");
    verifier.start(&CancellationToken::new());
    verifier
}

// S186
#[tokio::test(start_paused = true)]
async fn however_many_unknown_keys_are_named_there_is_one_fetch_a_minute() {
    let source = ChangingKeys::new(&[RSA[0].jwk()]);
    let verifier = Arc::new(changing_verifier(source.clone(), Health::default()));
    let claims = auth0_claims(now_s());
    assert!(verifier.verify(&RSA[0].token(&claims), now_us()).await.is_ok());
    assert_eq!(source.fetches(), 1);
    let flood = async |names: std::ops::Range<usize>| {
        let mut callers = tokio::task::JoinSet::new();
        for name in names {
            let (verifier, token) = (
                verifier.clone(),
                RSA[0].token_with("RS256", &claims, |header| header["kid"] = format!("k{name}").into()),
            );
            callers.spawn(async move { verifier.verify(&token, now_us()).await.map(drop) });
        }
        for outcome in callers.join_all().await {
            assert_eq!(outcome, Err(TokenError::UnknownKey));
        }
    };
    let began = tokio::time::Instant::now();
    flood(0..20).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for a fetch that has to wait for its own turn");
    assert_eq!(source.fetches(), 1, "the last fetch is less than a minute ago");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(source.fetches(), 2, "asked for by the flood, as soon as it might");
    tokio::time::sleep(Duration::from_secs(61)).await;
    flood(20..40).await;
    assert_eq!(source.fetches(), 3, "one for all of them");
    flood(40..60).await;
    assert_eq!(source.fetches(), 3);
}

// S186: a rotation of the issuer
#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_its_first_token_comes_and_an_old_one_forgotten_with_its_tokens() {
    let source = ChangingKeys::new(&[RSA[0].jwk()]);
    let verifier = changing_verifier(source.clone(), Health::default());
    let claims = auth0_claims(now_s());
    let (old, new) = (RSA[0].token(&claims), RSA[1].token(&claims));
    assert!(verifier.verify(&old, now_us()).await.is_ok());
    tokio::time::sleep(Duration::from_secs(120)).await;
    source.set(Some(&[RSA[1].jwk()]));
    assert!(verifier.verify(&new, now_us()).await.is_ok(), "fetched while the request waits");
    assert_eq!(source.fetches(), 2);
    assert_eq!(verifier.verify(&old, now_us()).await.expect_err("withdrawn"), TokenError::UnknownKey, "though cached");
    // Another key under the same name is another key, though the token is in the cache.
    let mut impostor = RSA[0].jwk();
    impostor["kid"] = "rsa-1".into();
    source.set(Some(&[impostor]));
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(verifier.verify(&new, now_us()).await.expect_err("another key"), TokenError::BadSignature);
}

// S187
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_issuer_is_none_of_ours_while_there_are_keys() {
    let source = ChangingKeys::new(&[RSA[0].jwk()]);
    let health = Health::default();
    let verifier = changing_verifier(source.clone(), health.clone());
    let token = |id: &str| RSA[0].token(&changed(|claims| claims["jti"] = id.into()));
    assert!(verifier.verify(&token("a"), now_us()).await.is_ok());
    assert!(health.complaints().is_empty());
    source.set(None);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(source.fetches() > 10, "it is tried on and on");
    assert!(verifier.verify(&token("b"), now_us()).await.is_ok(), "a token never seen before");
    assert!(health.complaints().is_empty());
    // An answer without keys is an error as well, and drops nothing.
    source.set(Some(&[]));
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert!(verifier.verify(&token("c"), now_us()).await.is_ok());
    // After a day nobody knows any more whether the keys still hold.
    let later_us = now_us() + 90_000 * 1_000_000;
    let late = RSA[0].token(&auth0_claims(now_s() + 90_000));
    assert_eq!(verifier.verify(&late, later_us).await.expect_err("stale"), TokenError::KeysUnavailable);
}

// S187: none cached
#[tokio::test(start_paused = true)]
async fn without_any_keys_the_answer_is_that_the_issuer_is_unavailable() {
    let source = ChangingKeys::new(&[]);
    source.set(None);
    let health = Health::default();
    let verifier = changing_verifier(source.clone(), health.clone());
    let token = RSA[0].token(&auth0_claims(now_s()));
    let refused = verifier.verify(&token, now_us()).await.expect_err("no keys");
    assert_eq!(refused, TokenError::KeysUnavailable);
    let complaints = health.complaints();
    assert!(matches!(&complaints[..], [("token_keys", reason)] if reason.contains(ISSUER)), "{complaints:?}");
    // Neither a stranger's issuer nor rubbish is our trouble.
    let foreign = RSA[0].token(&changed(|claims| claims["iss"] = "https://evil.test/".into()));
    assert_eq!(verifier.verify(&foreign, now_us()).await.expect_err("foreign"), TokenError::WrongIssuer);
    source.set(Some(&[RSA[0].jwk()]));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(verifier.verify(&token, now_us()).await.is_ok(), "it comes back by itself");
    assert!(health.complaints().is_empty());
}

/// A source that never answers, from its second fetch on.
struct Stalling(AtomicUsize);

impl KeySource for Stalling {
    fn fetch(&self) -> jwks::Fetching<'_> {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if !first {
                std::future::pending::<()>().await;
            }
            Ok(document(&[RSA[0].jwk()]))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_slow_issuer_for_two_seconds_and_known_keys_do_not_wait_at_all() {
    let source = Arc::new(Stalling(AtomicUsize::new(0)));
    let trusted = vec![TrustedIssuer::in_process(IssuerConfig::embedded(ISSUER, AUDIENCE), source.clone())];
    let verifier = Verifier::new(&config(), trusted, None, Health::default()).expect("a verifier");
    verifier.start(&CancellationToken::new());
    let claims = auth0_claims(now_s());
    assert!(verifier.verify(&RSA[0].token(&claims), now_us()).await.is_ok());
    tokio::time::sleep(Duration::from_secs(61)).await;
    let started = tokio::time::Instant::now();
    let (unknown, known) = (RSA[1].token(&claims), RSA[0].token(&changed(|claims| claims["jti"] = "b".into())));
    let (refused, (known, known_after)) = tokio::join!(verifier.verify(&unknown, now_us()), async {
        tokio::task::yield_now().await;
        (verifier.verify(&known, now_us()).await, started.elapsed())
    });
    assert_eq!(refused.expect_err("never fetched"), TokenError::UnknownKey);
    assert_eq!(started.elapsed().as_secs(), 2, "the clock of the test stands still but for waiting");
    assert!(known.is_ok());
    assert_eq!(known_after.as_secs(), 0);
    assert_eq!(source.0.load(Ordering::SeqCst), 2);
}

// S187: a cold start during an outage
#[tokio::test]
async fn the_last_keys_outlive_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = document(&[RSA[0].jwk()]);
    let saved = super::super::jwks::tests::saved_keys(dir.path(), ISSUER, &keys, now_us());
    assert!(saved.exists());
    let issuer = IssuerConfig { issuer: ISSUER.to_owned(), ..IssuerConfig::embedded(ISSUER, AUDIENCE) };
    let trusted =
        vec![TrustedIssuer::remote(IssuerConfig { jwks_url: Some("http://127.0.0.1:1/".to_owned()), ..issuer })];
    let verifier = Verifier::new(&config(), trusted, Some(dir.path()), Health::default()).expect("a verifier");
    assert!(verifier.verify(&RSA[0].token(&auth0_claims(now_s())), now_us()).await.is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_refused_without_panic(
        token in "\\PC{0,200}",
        parts in prop::collection::vec("[A-Za-z0-9_-]{0,60}", 0..5),
    ) {
        for text in [token, parts.join(".")] {
            prop_assert!(Parts::parse(&text).is_err() || text.matches('.').count() == 2);
        }
    }

    #[test]
    fn any_claims_are_read_without_panic(header in "\\{[ -~]{0,60}\\}", claims in "\\{[ -~]{0,120}\\}") {
        let token = format!("{}.c2ln", unsigned(&header, &claims));
        if let Ok(parts) = Parts::parse(&token) {
            let _any = parts.claims.moment_s("exp");
            let _any = parts.claims.scope();
            let _any = parts.claims.is_for(&[AUDIENCE.to_owned()]);
        }
    }
}
