use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use super::*;
use crate::model::Scope;

mod endpoint;

type Change = fn(&mut Config);

const START_S: u64 = 1_790_000_000;
const DAY_S: u64 = 86_400;

fn config() -> Config {
    Config {
        enabled: true,
        url: "https://sensorgate.test/".to_owned(),
        audience: "https://sensorgate.test/api".to_owned(),
        token_lifetime_s: 3_600,
        rotation_days: 30,
        publish_lead_s: 3_600,
        address_requests_per_minute: 1_000,
        client_tokens_per_minute: 1_000,
        limited_keys_max: 1_000,
        body_bytes_max: 4_096,
        signing_max: 2,
        signing_wait_ms: 2_000,
    }
}

fn at(seconds: u64) -> i64 {
    i64::try_from(seconds).expect("fits") * 1_000_000
}

fn open(dir: &Path) -> Issuer {
    Issuer::open(dir, &config(), None, at(START_S)).expect("an issuer")
}

fn kids(issuer: &Issuer) -> Vec<String> {
    let document: Value = serde_json::from_slice(&issuer.jwks()).expect("JSON");
    let keys = document["keys"].as_array().expect("a list");
    keys.iter().map(|key| key["kid"].as_str().expect("a text").to_owned()).collect()
}

fn parts(token: &str) -> (Value, Value) {
    let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON");
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    (part(parts[0]), part(parts[1]))
}

fn signer(issuer: &Issuer, now_s: u64) -> String {
    let token = issuer.sign("c", ScopeSet::default(), at(now_s)).expect("signed");
    parts(&token.access_token).0["kid"].as_str().expect("a text").to_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).expect("readable").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

// S182: the shape of Auth0's tokens
#[test]
fn a_token_has_auth0s_shape_and_a_good_signature() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = open(&dir.path().join("keys"));
    let scopes = [Scope::parse("sensors:write"), Scope::parse("equipment:read")].into_iter().flatten().collect();
    let token = issuer.sign("client-1", scopes, at(START_S) + 999_999).expect("signed");
    let (header, claims) = parts(&token.access_token);
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": kids(&issuer)[0]}));
    let scope = claims["scope"].as_str().expect("a text");
    assert_eq!(scope, token.scope);
    let mut words: Vec<_> = scope.split(' ').collect();
    words.sort_unstable();
    assert_eq!(words, ["equipment:read", "sensors:write"]);
    assert_eq!(
        claims,
        json!({
            "iss": "https://sensorgate.test/", "sub": "client-1@clients", "aud": "https://sensorgate.test/api",
            "iat": START_S, "exp": START_S + 3_600, "gty": "client-credentials", "azp": "client-1", "scope": scope,
        })
    );
    assert_eq!(token.expires_in_s, 3_600);
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&issuer.jwks()).expect("a JWKS");
    let key = jsonwebtoken::DecodingKey::from_jwk(&keys.keys[0]).expect("a key");
    let (message, signature) = token.access_token.rsplit_once('.').expect("three parts");
    let rs256 = jsonwebtoken::Algorithm::RS256;
    assert!(jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, rs256).expect("judged"));
    let bare = issuer.sign("client-1", ScopeSet::default(), at(START_S)).expect("signed");
    assert_eq!(parts(&bare.access_token).1.get("scope"), None);
    assert!(!format!("{token:?}").contains(&token.access_token), "a token cannot be printed");
}

#[test]
fn the_name_of_a_key_is_its_thumbprint() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = open(dir.path().join("keys").as_path());
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&issuer.jwks()).expect("a JWKS");
    let thumbprint = keys.keys[0].thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).expect("RFC 7638");
    assert_eq!(kids(&issuer), [thumbprint]);
    let jwk: Value = serde_json::from_slice::<Value>(&issuer.jwks()).expect("JSON")["keys"][0].take();
    let names: Vec<_> = jwk.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"], "nothing private is published");
}

#[test]
fn keys_are_private_files_and_outlive_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("issuer/keys");
    let first = kids(&open(&keys));
    assert_eq!(mode(&keys), 0o700);
    let [file] = &files(&keys)[..] else { panic!("one file") };
    assert_eq!(mode(file), 0o600);
    assert!(file.to_str().expect("a text").contains(&first[0]));
    // A start that broke off while it wrote a key, and a file that somebody left.
    fs::write(keys.join("001790000000-x.new"), "half").expect("written");
    fs::write(keys.join("README"), "a note").expect("written");
    assert_eq!(kids(&open(&keys)), first);
    assert!(!keys.join("001790000000-x.new").exists());
    assert!(keys.join("README").exists());
}

#[test]
fn keys_that_others_may_read_stop_the_start_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("keys");
    drop(open(&keys));
    let file = files(&keys).remove(0);
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
    for (path, bad, good) in
        [(&file, 0o640, 0o600), (&file, 0o604, 0o600), (&keys, 0o750, 0o700), (&keys, 0o701, 0o700)]
    {
        chmod(path, bad);
        let error = Issuer::open(&keys, &config(), None, at(START_S)).expect_err("refused").to_string();
        assert!(error.contains(&format!("{} has mode {bad:o}", path.display())), "{error}");
        chmod(path, good);
    }
    drop(open(&keys));
}

#[test]
fn a_damaged_or_foreign_key_stops_the_start_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("keys");
    drop(open(&keys));
    let file = files(&keys).remove(0);
    let good = fs::read(&file).expect("readable");
    let refused = |path: &Path| {
        let error = Issuer::open(&keys, &config(), None, at(START_S)).expect_err("refused");
        assert!(matches!(&error, Error::ForeignKey { path: named } if named == path), "{error:?}");
        assert!(!error.to_string().contains("PRIVATE"), "{error}");
    };
    fs::write(&file, &good[..good.len() / 2]).expect("written");
    refused(&file);
    fs::write(&file, b"").expect("written");
    refused(&file);
    fs::write(&file, &good).expect("written");
    // Under another name it would be another key: its tokens would name one that nobody knows.
    for name in ["001790000000-other.pem", "key.pem", "1-2.pem"] {
        let renamed = keys.join(name);
        fs::rename(&file, &renamed).expect("renamed");
        refused(&renamed);
        fs::rename(&renamed, &file).expect("renamed");
    }
    drop(open(&keys));
}

// The issue's "rotation": published in time, used, retired when its last token is dead
#[test]
fn keys_rotate_by_the_clock() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("keys");
    let issuer = open(&keys);
    let first = kids(&issuer).remove(0);
    let turn_s = START_S + 30 * DAY_S;
    assert!(!issuer.rotate(at(turn_s - 3_601)).expect("rotated"), "nothing to do before the lead");
    assert!(issuer.rotate(at(turn_s - 3_600)).expect("rotated"));
    let [_, second] = &kids(&issuer)[..] else { panic!("the next one is published") };
    assert_eq!(files(&keys).len(), 2);
    assert!(!issuer.rotate(at(turn_s - 3_599)).expect("rotated"), "once");
    assert_eq!(signer(&issuer, turn_s - 1), first, "published, not yet used");
    assert_eq!(signer(&issuer, turn_s), *second);
    // The first key's last token was signed a second before the turn.
    let dead_s = turn_s + 3_600 + 60 + JWKS_MAX_AGE_S;
    assert!(!issuer.rotate(at(dead_s - 1)).expect("rotated"));
    assert_eq!(kids(&issuer).len(), 2);
    assert!(issuer.rotate(at(dead_s)).expect("rotated"));
    assert_eq!(kids(&issuer), *std::slice::from_ref(second));
    assert_eq!(files(&keys).len(), 1);
    // The directory is the whole state.
    let again = Issuer::open(&keys, &config(), None, at(dead_s)).expect("an issuer");
    assert_eq!(kids(&again), *std::slice::from_ref(second));
    assert_eq!(signer(&again, dead_s), *second);
}

#[test]
fn a_key_overdue_after_a_long_stop_is_published_before_it_is_used_all_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("keys");
    let first = kids(&open(&keys)).remove(0);
    let late_s = START_S + 400 * DAY_S;
    let issuer = Issuer::open(&keys, &config(), None, at(late_s)).expect("an issuer");
    assert_eq!(kids(&issuer).len(), 2);
    assert_eq!(signer(&issuer, late_s + 3_599), first);
    assert_ne!(signer(&issuer, late_s + 3_600), first);
}

#[test]
fn a_clock_that_steps_back_neither_loses_nor_piles_up_keys() {
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("keys");
    let first = kids(&open(&keys));
    let issuer = Issuer::open(&keys, &config(), None, at(START_S - 1_000 * DAY_S)).expect("an issuer");
    assert_eq!(kids(&issuer), first);
    assert_eq!(signer(&issuer, START_S - 1_000 * DAY_S), first[0]);
    assert!(!issuer.rotate(0).expect("rotated"));
    assert!(!issuer.rotate(-1).expect("rotated"));
}

#[tokio::test]
async fn signatures_wait_their_turn_and_not_for_ever() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { signing_max: 1, signing_wait_ms: 20, ..config() };
    let keys = dir.path().join("keys");
    let issuer = Arc::new(Issuer::open(&keys, &config, None, at(START_S)).expect("an issuer"));
    assert!(issuer.issue("c", ScopeSet::default(), at(START_S)).await.is_ok());
    let _busy = issuer.signing.clone().acquire_owned().await.expect("open");
    let refused = issuer.issue("c", ScopeSet::default(), at(START_S)).await.expect_err("no turn");
    assert!(matches!(refused, Error::Busy));
}

#[test]
fn the_configuration_is_refused_by_key() {
    config().check().expect("the test's own");
    let refused: &[(Change, &str)] = &[
        (|config| config.url = "https://a.test".to_owned(), "issuer.url"),
        (|config| config.url = "ftp://a.test/".to_owned(), "issuer.url"),
        (|config| config.url = "https://a.test/?q=/".to_owned(), "issuer.url"),
        (|config| config.audience = String::new(), "issuer.audience"),
        (|config| config.token_lifetime_s = 0, "issuer.token_lifetime_s = 0"),
        (|config| config.rotation_days = 0, "issuer.rotation_days = 0"),
        (|config| config.publish_lead_s = 60, "issuer.publish_lead_s = 60"),
        (|config| config.client_tokens_per_minute = 0, "issuer.client_tokens_per_minute = 0"),
        (|config| config.body_bytes_max = 0, "issuer.body_bytes_max = 0"),
    ];
    for (change, word) in refused {
        let mut config = config();
        change(&mut config);
        let refusal = config.check().expect_err(word);
        assert!(refusal.contains(word), "{refusal}");
    }
}
