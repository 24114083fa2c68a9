//! Sends the whole file in batches of 500: every other one over HTTP, as a controller would, the rest over MQTT, as a
//! gateway would.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Client;
use serde_json::{Value, json};

use super::{
    dataset::{Row, SERIES},
    gateway,
    onboarding::Onboarded,
    say,
};

/// Readings in a batch: as many as the contract allows.
const BATCH: usize = 500;
/// Tries of one batch before the demo gives up.
const TRIES_MAX: u32 = 8;

/// What was sent.
pub(super) struct Sent {
    pub(super) readings: u64,
    pub(super) http_batches: u64,
    pub(super) mqtt_batches: u64,
    pub(super) took: Duration,
}

/// Sends every value of every row. All of them have to be accepted.
pub(super) async fn send(onboarded: &Onboarded, rows: &[Row]) -> Result<Sent> {
    let readings: Vec<Value> = rows.iter().flat_map(entries).collect();
    let (mut http, mut mqtt) = (Vec::new(), Vec::new());
    for (number, batch) in readings.chunks(BATCH).enumerate() {
        let is_for_mqtt = onboarded.mqtt_url.is_some() && number % 2 == 1;
        if is_for_mqtt { &mut mqtt } else { &mut http }.push(batch);
    }
    say(&format!("6. {} readings of one winter, in batches of {BATCH}:", readings.len()));
    let started = Instant::now();
    post(onboarded, &http).await?;
    say(&format!("   {} batches over HTTP: each answered, and on disk.", http.len()));
    if !mqtt.is_empty() {
        gateway::publish(onboarded, &mqtt).await?;
        say(&format!("   {} batches over MQTT: each acknowledged (QoS 1), and on disk.", mqtt.len()));
    }
    Ok(Sent {
        readings: readings.len() as u64,
        http_batches: http.len() as u64,
        mqtt_batches: mqtt.len() as u64,
        took: started.elapsed(),
    })
}

async fn post(onboarded: &Onboarded, batches: &[&[Value]]) -> Result<()> {
    let client = Client::new();
    for (number, batch) in batches.iter().enumerate() {
        let accepted = post_batch(&client, onboarded, &json!({"readings": batch})).await?;
        ensure!(accepted == batch.len() as u64, "batch {number}: {accepted} of {} readings were accepted", batch.len());
    }
    Ok(())
}

fn entries(row: &Row) -> Vec<Value> {
    let timestamp = row.timestamp_s;
    let one = |(value, (metric, external_id, unit)): (f64, (&str, &str, &str))| json!({"external_id": external_id, "metric": metric, "value": value, "unit": unit, "timestamp": timestamp});
    row.values.into_iter().zip(SERIES).map(one).collect()
}

/// Sends one batch, again after a wait where the server asks for it: sending the same readings twice stores them once.
async fn post_batch(client: &Client, onboarded: &Onboarded, body: &Value) -> Result<u64> {
    for _ in 0..TRIES_MAX {
        let response = client
            .post(format!("{}/v1/sensors/readings", onboarded.http_url))
            .bearer_auth(&onboarded.token)
            .header("X-API-Key", &onboarded.api_key)
            .json(body)
            .send()
            .await
            .context("no answer to a batch")?;
        let status = response.status().as_u16();
        if status == 429 || status == 503 {
            let wait_s =
                response.headers().get("retry-after").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
            tokio::time::sleep(Duration::from_secs(wait_s.unwrap_or(1))).await;
            continue;
        }
        let answer: Value = response.json().await.context("a batch's answer")?;
        ensure!(status == 200, "a batch answered {status}: {answer}");
        return answer["accepted"].as_u64().context("the answer says how many were accepted");
    }
    bail!("a batch was put off {TRIES_MAX} times")
}
