//! Posts the whole file in batches of 500, as a controller would.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Client;
use serde_json::{Value, json};

use super::{
    dataset::{Row, SERIES},
    onboarding::Onboarded,
    say,
};

/// Readings in a batch: as many as the contract allows.
const BATCH: usize = 500;
/// Tries of one batch before the demo gives up.
const TRIES_MAX: u32 = 8;

/// What was sent.
pub(super) struct Posted {
    pub(super) readings: u64,
    pub(super) batches: u64,
    pub(super) took: Duration,
}

/// Posts every value of every row. All of them have to be accepted.
pub(super) async fn post(onboarded: &Onboarded, rows: &[Row]) -> Result<Posted> {
    let readings: Vec<Value> = rows.iter().flat_map(entries).collect();
    say(&format!("6. {} readings of one winter, in batches of {BATCH}:", readings.len()));
    let (client, started) = (Client::new(), Instant::now());
    let batches = readings.len().div_ceil(BATCH);
    for (number, batch) in readings.chunks(BATCH).enumerate() {
        let accepted = post_batch(&client, onboarded, &json!({"readings": batch})).await?;
        ensure!(accepted == batch.len() as u64, "batch {number}: {accepted} of {} readings were accepted", batch.len());
        if (number + 1) % 48 == 0 || number + 1 == batches {
            let sent = (number * BATCH + batch.len()) * 100 / readings.len();
            say(&format!("   {sent:>3} %  {} of {batches} batches on disk", number + 1));
        }
    }
    Ok(Posted { readings: readings.len() as u64, batches: batches as u64, took: started.elapsed() })
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
