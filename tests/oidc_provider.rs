//! A token issuer that we did not write (the npm package `oidc-provider`), trusted by configuration alone: discovery,
//! key set, tokens by RFC 9068, rotation, outage and cold start.
//!
//! Needs node and npm. Without them the tests say so and pass; where `CI=true`, they fail.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use sensorgate::{
    auth::{
        jwks::InProcess,
        jwt::{IssuerConfig, TokenError, TrustedIssuer, Verifier},
    },
    config::Config,
    issuer::Issuer,
    model::{ClientKey, ScopeSet},
    telemetry::health::Health,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const AUDIENCE: &str = "urn:sensorgate:test";
const CLIENT: &str = "greenhouse-1";
const SECRET: &str = "a-secret-of-the-test-and-nowhere-else";
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oidc-provider");

/// The package installed below `target`, once for all tests; or why it cannot be had.
fn installed() -> Result<&'static Path, String> {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    INSTALLED.get_or_init(install).as_deref().map_err(Clone::clone)
}

fn install() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider");
    let fail = |error: io::Error| error.to_string();
    fs::create_dir_all(&dir).map_err(fail)?;
    for name in ["package.json", "package-lock.json", "server.mjs"] {
        fs::copy(Path::new(FIXTURE).join(name), dir.join(name)).map_err(fail)?;
    }
    let (lock, stamp) = (fs::read(dir.join("package-lock.json")).map_err(fail)?, dir.join("node_modules/.installed"));
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(dir);
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let npm =
        Command::new("npm").args(arguments).current_dir(&dir).output().map_err(|error| format!("npm: {error}"))?;
    if !npm.status.success() {
        return Err(format!("npm ci: {}", String::from_utf8_lossy(&npm.stderr)));
    }
    fs::write(stamp, lock).map_err(fail)?;
    Ok(dir)
}

/// The provider as a process of its own, ended with the test.
struct Provider {
    process: Child,
    issuer: String,
}

impl Provider {
    /// Starts it; none, after saying so, when it cannot be had on this machine.
    fn start(algorithm: &str) -> Option<Self> {
        match installed().and_then(|dir| Self::spawn(dir, algorithm)) {
            Ok(provider) => Some(provider),
            Err(reason) => {
                let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
                assert!(!in_ci, "oidc-provider is needed in CI: {reason}");
                // Past the test's captured output: a skipped test must be seen.
                writeln!(io::stderr(), "SKIPPED tests/oidc_provider.rs: no oidc-provider here: {reason}")
                    .expect("standard error is open");
                None
            }
        }
    }

    fn spawn(dir: &Path, algorithm: &str) -> Result<Self, String> {
        let mut process = Command::new("node")
            .arg("server.mjs")
            .current_dir(dir)
            .env("TEST_AUDIENCE", AUDIENCE)
            .env("TEST_ALGORITHM", algorithm)
            .env("TEST_CLIENT_ID", CLIENT)
            .env("TEST_CLIENT_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("node: {error}"))?;
        let stdout = process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("node: {error}"))?;
        let mut provider = Self { process, issuer: String::new() };
        let issuer = line.trim().strip_prefix("serving ").ok_or("node ended before it served")?;
        issuer.clone_into(&mut provider.issuer);
        Ok(provider)
    }

    fn stop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    async fn rotate(&self) {
        let answer = reqwest::Client::new().post(format!("{}/test/rotate", self.issuer)).send().await;
        assert_eq!(answer.expect("an answer").status(), 204);
    }

    /// A token for `resource`, as any client would get it.
    async fn token(&self, resource: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("resource", resource), ("scope", "sensors:write")];
        let request = reqwest::Client::new().post(format!("{}/token", self.issuer)).basic_auth(CLIENT, Some(SECRET));
        let answer = request.form(&form).send().await.expect("an answer");
        let body: Value = answer.json().await.expect("JSON");
        body["access_token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // Both fail when it was stopped by the test.
        let _stopped = self.process.kill().and_then(|()| self.process.wait().map(drop));
    }
}

/// The configuration that an operator would write, checked as at a start.
fn configured(dir: &Path, issuer: &str, algorithm: &str) -> Config {
    let file = dir.join("sensorgate.toml");
    let text = format!(
        "[[auth.issuers]]\nissuer = \"{issuer}\"\naudiences = [\"{AUDIENCE}\"]\nprofile = \"rfc9068\"\n\
         algorithms = [\"{algorithm}\"]\n[auth.tokens.keys]\nrefresh_min_s = 1\n"
    );
    fs::write(&file, text).expect("written");
    Config::load(Some(&file), []).expect("a configuration")
}

fn started(
    config: &Config,
    saved_dir: Option<&Path>,
    more: Option<TrustedIssuer>,
    stop: &CancellationToken,
) -> Verifier {
    let trusted = config.auth.issuers.iter().cloned().map(TrustedIssuer::remote).chain(more).collect();
    let verifier = Verifier::new(&config.auth.tokens, trusted, saved_dir, Health::default()).expect("a verifier");
    verifier.start(stop);
    verifier
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// The verdict that `token` comes to in the end: a new key is fetched within `refresh_min_s`.
async fn settled(verifier: &Verifier, token: &str) -> Result<(), TokenError> {
    let started = Instant::now();
    loop {
        let verdict = verifier.verify(token, now_us()).await.map(drop);
        if verdict != Err(TokenError::UnknownKey) || started.elapsed() > Duration::from_secs(20) {
            return verdict;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn tampered(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{message}.{other}{}", &signature[1..])
}

// S183, S184, S186, S187
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_we_did_not_write_is_trusted_by_configuration_alone() {
    let Some(mut provider) = Provider::start("RS256") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let config = configured(dir.path(), &provider.issuer, "RS256");
    let (stop, saved) = (CancellationToken::new(), dir.path().join("keys"));
    let verifier = started(&config, Some(&saved), None, &stop);

    let good = provider.token(AUDIENCE).await;
    let verified = verifier.verify(&good, now_us()).await.expect("genuine");
    let client = ClientKey { issuer: provider.issuer.clone(), client_id: CLIENT.to_owned() };
    assert_eq!(verified.client, client);
    assert_eq!(verified.scopes().collect::<Vec<_>>(), ["sensors:write"]);
    let refused = async |token: &str| verifier.verify(token, now_us()).await.expect_err("refused");
    assert_eq!(refused(&tampered(&good)).await, TokenError::BadSignature);
    assert_eq!(refused(&provider.token("urn:other").await).await, TokenError::WrongAudience);
    assert_eq!(refused(&provider.token("urn:long").await).await, TokenError::LifetimeTooLong);

    // The provider changes its key: tokens with the new one are believed soon, those with the old one no more.
    provider.rotate().await;
    let (rotated, spare) = (provider.token(AUDIENCE).await, provider.token(AUDIENCE).await);
    assert_eq!(settled(&verifier, &rotated).await, Ok(()));
    assert_eq!(refused(&good).await, TokenError::UnknownKey);

    // The provider is gone: its keys go on, also after a restart; without any there is nothing to judge by.
    provider.stop();
    assert_eq!(verifier.verify(&spare, now_us()).await.map(drop), Ok(()));
    let cold_start = async || started(&config, Some(&saved), None, &stop).verify(&spare, now_us()).await.map(drop);
    let (began, mut verdict) = (Instant::now(), cold_start().await);
    // Keys are saved beside the path of a request, a moment after they are used.
    while verdict.is_err() && began.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        verdict = cold_start().await;
    }
    assert_eq!(verdict, Ok(()));
    let empty = started(&config, None, None, &stop);
    assert_eq!(empty.verify(&spare, now_us()).await.expect_err("no keys"), TokenError::KeysUnavailable);
    stop.cancel();
}

// S188: the embedded issuer beside it, with a client of the same name
#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_issuer_and_the_provider_have_each_their_own_clients() {
    let Some(provider) = Provider::start("ES256") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let config = configured(dir.path(), &provider.issuer, "ES256");
    let issuer = Issuer::open(&dir.path().join("issuer"), &config.issuer, None, now_us()).expect("an issuer");
    let issuer = Arc::new(issuer);
    let embedded = {
        let issuer_keys = issuer.clone();
        let source = Arc::new(InProcess::new(move || issuer_keys.jwks()));
        TrustedIssuer::in_process(IssuerConfig::embedded(issuer.name(), issuer.audience()), source)
    };
    let stop = CancellationToken::new();
    let verifier = started(&config, None, Some(embedded), &stop);

    let theirs = verifier.verify(&provider.token(AUDIENCE).await, now_us()).await.expect("the provider's");
    let token = issuer.issue(CLIENT, ScopeSet::default(), now_us()).await.expect("a token");
    let ours = verifier.verify(&token.access_token, now_us()).await.expect("ours");
    assert_eq!(theirs.client.client_id, ours.client.client_id);
    assert_ne!(theirs.client, ours.client);
    assert_eq!(ours.client.issuer, issuer.name());
    stop.cancel();
}
