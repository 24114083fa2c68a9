//! What the two credentials cost: a token seen before, a token never seen, a key, and a token made.

use std::{
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use sensorgate::{
    auth::{
        jwks::InProcess,
        jwt::{self, IssuerConfig, TrustedIssuer, Verifier},
    },
    config::Config,
    issuer::Issuer,
    model::{ApiKey, Scope, ScopeSet},
    telemetry::health::Health,
};
use tokio_util::sync::CancellationToken;

fn verifier(tokens: &jwt::Config, issuer: &Arc<Issuer>) -> Verifier {
    let keys = issuer.clone();
    let source = Arc::new(InProcess::new(move || keys.jwks()));
    let config = IssuerConfig::embedded(issuer.name(), issuer.audience());
    let trusted = vec![TrustedIssuer::in_process(config, source)];
    let verifier = Verifier::new(tokens, trusted, None, Health::default()).expect("a verifier");
    verifier.start(&CancellationToken::new());
    verifier
}

/// Drives a future that has nothing to wait for.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn token(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config::load(None, []).expect("the defaults");
    let now_us = jiff::Timestamp::now().as_microsecond();
    let issuer = Issuer::open(&dir.path().join("keys"), &config.issuer, None, now_us).expect("an issuer");
    let issuer = Arc::new(issuer);
    let scopes: ScopeSet = Scope::ALL.into_iter().take(4).collect();
    let issued = issuer.sign("0199b1c0-0000-7000-8000-000000000000", scopes, now_us).expect("signed").access_token;

    let remembering = verifier(&config.auth.tokens, &issuer);
    runtime.block_on(remembering.verify(&issued, now_us)).expect("genuine");
    let tokens = jwt::Config { cache_tokens_max: 0, ..config.auth.tokens.clone() };
    let forgetful = verifier(&tokens, &issuer);
    runtime.block_on(forgetful.verify(&issued, now_us)).expect("genuine");
    let key = ApiKey::generate_with(getrandom::fill).expect("random bytes");

    let mut group = c.benchmark_group("token");
    group.measurement_time(Duration::from_secs(3));
    group.bench_function("seen before", |b| b.iter(|| ready(remembering.verify(black_box(&issued), now_us)).is_ok()));
    group.bench_function("never seen", |b| b.iter(|| ready(forgetful.verify(black_box(&issued), now_us)).is_ok()));
    group.bench_function("made", |b| b.iter(|| issuer.sign("client", scopes, now_us).is_ok()));
    group.bench_function("key", |b| b.iter(|| ApiKey::parse(black_box(key.expose())).map(|key| key.hash())));
    group.finish();
}

criterion_group!(benches, token);
criterion_main!(benches);
