//! What the black-box tests share: the real binary on free ports and an own directory, a facility with two
//! administrators, and calls as any client would make them.

pub mod broker;
pub mod cli;
pub mod facility;
pub mod five;
pub mod gateway;
pub mod issuer;
pub mod mosquitto;
pub mod mqtt;
pub mod receiver;
pub mod rumqttc_client;
pub mod server;
pub mod wire;

pub use facility::{Answer, Facility, Integration};
pub use server::Server;

/// A batch of `count` temperature readings of `external_id`, one a second, the last of them at `last_s`.
pub fn batch(external_id: &str, count: usize, last_s: i64) -> serde_json::Value {
    let reading = |n: usize| {
        serde_json::json!({
            "external_id": external_id, "metric": "temperature", "value": 20.0 + n as f64 / 100.0, "unit": "C",
            "timestamp": last_s - (count - 1 - n) as i64,
        })
    };
    serde_json::json!({"readings": (0..count).map(reading).collect::<Vec<_>>()})
}

/// Now, in whole seconds since the Unix epoch.
pub fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Says that a test ends here because of what this machine lacks; where `CI=true` that is a failure.
pub fn skip(why: &str) {
    let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!strict, "needed where CI=true: {why}");
    // Past the test's captured output: a skipped test must be seen.
    std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIPPED: {why}\n"))
        .expect("standard error is open");
}
