//! A batch with a handful of deliberately broken readings, so that partial success can be seen.

use anyhow::{Context, Result, ensure};
use reqwest::{Client, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{onboarding::Onboarded, say};

/// What became of the batch.
pub(super) struct Partial {
    pub(super) received: u64,
    pub(super) accepted: u64,
    /// Index, code and message of each refused entry.
    pub(super) refused: Vec<(u64, String, String)>,
}

/// Posts eight readings, six of them broken. The two good ones carry the time of this call, which is in no row of
/// the file; they are posted `validate_only`, so that the comparison with the file stays exact.
pub(super) async fn post(onboarded: &Onboarded) -> Result<Partial> {
    say("5. A batch in which six of eight readings are broken (checked, not stored):");
    let now = jiff::Timestamp::now().to_string();
    // 1e400 and the like cannot be written with a JSON library, so the body is put together as text.
    let entry = |external_id: &str, metric: &str, value: &str, timestamp: &str| {
        format!(
            r#"{{"external_id":{},"metric":"{metric}","value":{value},"timestamp":"{timestamp}"}}"#,
            json!(external_id)
        )
    };
    let entries = [
        entry("BLW-TEMP-1", "temperature", "21.5", &now),
        entry("BLW-RH-1", "humidity", "141", &now),
        entry("BLW-TEMP-1", "temperature", "1e400", &now),
        entry("NO-SUCH-SENSOR", "temperature", "21.5", &now),
        entry("BLW-TEMP-1", "temperature", "21.5", "2036-02-07T06:28:16Z"),
        entry("BLW-TEMP-1", "temperature", "\"warm\"", &now),
        entry("BLW-TEMP-1", "loudness", "3", &now),
        entry("BLW-CO2-1", "co2", "812", &now),
    ];
    let body = format!(r#"{{"readings":[{}]}}"#, entries.join(","));
    let response = Client::new()
        .post(format!("{}/v1/sensors/readings?validate_only=true", onboarded.http_url))
        .bearer_auth(&onboarded.token)
        .header("X-API-Key", &onboarded.api_key)
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .send()
        .await
        .context("the batch with broken readings")?;
    ensure!(response.status() == 207, "partial success answers 207, not {}", response.status());
    let answer: Value = response.json().await?;
    let refused = answer["errors"].as_array().context("errors is a list")?;
    let text = |error: &Value, name: &str| error[name].as_str().unwrap_or_default().to_owned();
    let partial = Partial {
        received: answer["received"].as_u64().unwrap_or(0),
        accepted: answer["accepted"].as_u64().unwrap_or(0),
        refused: refused
            .iter()
            .map(|error| (error["index"].as_u64().unwrap_or(0), text(error, "code"), text(error, "message")))
            .collect(),
    };
    for (index, code, message) in &partial.refused {
        say(&format!("   entry {index}: {code}: {message}"));
    }
    ensure!(partial.accepted == 2 && partial.refused.len() == 6, "two readings are good and six are broken");
    Ok(partial)
}
