//! Publishes batches over MQTT 5, as a gateway would: several in flight, each acknowledged once it is on disk, and its
//! result read on a topic of the gateway's own.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use mqtt_client::{
    AsyncClient, Broker, Event, EventLoop, MqttOptions, Packet, PublishNotice, PublishOptions, PublishProperties, QoS,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};

use super::onboarding::Onboarded;
use crate::{model::topic, telemetry::task};

/// Publishes that wait for their PUBACK at once; fewer than the Receive Maximum.
const IN_FLIGHT: u16 = 8;
/// Tries of one batch, and connections lost in a row, before the demo gives up.
const TRIES_MAX: u32 = 8;
/// How long the last results may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to the service, kept up in the background.
struct Gateway {
    client: AsyncClient,
    topic: String,
    response_topic: String,
    /// Number of the batch, and how many of its readings were accepted.
    results: mpsc::Receiver<(usize, u64)>,
    connection: tokio::task::JoinHandle<()>,
}

/// Publishes the batches in order. Every reading of them has to be accepted.
pub(super) async fn publish(onboarded: &Onboarded, batches: &[&[Value]]) -> Result<()> {
    let mut gateway = Gateway::connect(onboarded, batches.len() * TRIES_MAX as usize).await?;
    let mut under_way: VecDeque<(usize, PublishNotice)> = VecDeque::new();
    for number in 0..batches.len() {
        if under_way.len() >= usize::from(IN_FLIGHT)
            && let Some((first, notice)) = under_way.pop_front()
        {
            gateway.settle(first, batches[first], notice).await?;
        }
        under_way.push_back((number, gateway.send(number, batches[number]).await?));
    }
    for (number, notice) in under_way {
        gateway.settle(number, batches[number], notice).await?;
    }
    let checked = time::timeout(PATIENCE, gateway.check(batches)).await.context("results are missing")?;
    gateway.connection.abort();
    checked
}

impl Gateway {
    async fn connect(onboarded: &Onboarded, results_max: usize) -> Result<Self> {
        let url = onboarded.mqtt_url.as_deref().context("MQTT is not served")?;
        let (host, port) = url.trim_start_matches("mqtt://").rsplit_once(':').context("an address with a port")?;
        let broker = Broker::tcp(host.trim_matches(['[', ']']), port.parse().context("a port")?);
        let mut options = MqttOptions::new("demo-gateway", broker);
        options
            .set_credentials(&onboarded.api_key, onboarded.token.clone().into_bytes())
            .set_keep_alive(60)
            .set_outgoing_inflight_upper_limit(IN_FLIGHT);
        let (client, events) = AsyncClient::builder(options).capacity(usize::from(IN_FLIGHT)).build();
        // Room for all of them: they are looked at once everything is sent.
        let (tell, results) = mpsc::channel(results_max.max(1));
        let connection = task::spawn("demo gateway", keep_up(events, tell));
        let topic = topic::readings_pattern(&onboarded.integration_id);
        let response_topic = format!("{}/demo-gateway", topic::results_pattern(&onboarded.integration_id));
        let subscribed = client.subscribe_tracked(response_topic.as_str(), QoS::AtLeastOnce).await?;
        subscribed.wait_completion_async().await.context("the results could not be subscribed to")?;
        Ok(Self { client, topic, response_topic, results, connection })
    }

    async fn send(&self, number: usize, batch: &[Value]) -> Result<PublishNotice> {
        let properties = PublishProperties {
            response_topic: Some(self.response_topic.clone()),
            correlation_data: Some(number.to_string().into()),
            ..PublishProperties::default()
        };
        let payload = json!({"readings": batch}).to_string();
        let options = PublishOptions::at_least_once().properties(properties);
        self.client.publish_tracked(self.topic.as_str(), payload, options).await.context("a publish")
    }

    /// Waits for the PUBACK of a batch, and sends it again where there is none or it says "later": sending the same
    /// readings twice stores them once.
    async fn settle(&self, number: usize, batch: &[Value], first: PublishNotice) -> Result<()> {
        let mut notice = first;
        for attempt in 1..=TRIES_MAX {
            match notice.wait_completion_async().await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(number, attempt, %error, "A batch is published again."),
            }
            time::sleep(Duration::from_millis(250 * u64::from(attempt))).await;
            notice = self.send(number, batch).await?;
        }
        bail!("batch {number} over MQTT was not acknowledged in {TRIES_MAX} tries")
    }

    /// Compares what the results call accepted with what was sent. A batch that was sent twice has two results.
    async fn check(&mut self, batches: &[&[Value]]) -> Result<()> {
        let mut missing: std::collections::BTreeSet<usize> = (0..batches.len()).collect();
        while !missing.is_empty() {
            let (number, accepted) = self.results.recv().await.context("the connection ended before the results")?;
            let sent = batches.get(number).context("a result of no batch of ours")?.len() as u64;
            ensure!(accepted == sent, "batch {number} over MQTT: {accepted} of {sent} readings were accepted");
            missing.remove(&number);
        }
        Ok(())
    }
}

/// Keeps the connection up, and passes results on.
async fn keep_up(mut events: EventLoop, tell: mpsc::Sender<(usize, u64)>) {
    let mut lost = 0;
    while lost < TRIES_MAX {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(result))) => {
                lost = 0;
                if let Some(result) = read(&result)
                    && tell.send(result).await.is_err()
                {
                    return;
                }
            }
            Ok(_) => lost = 0,
            Err(error) => {
                lost += 1;
                tracing::debug!(%error, "The demo's gateway connects again.");
                time::sleep(Duration::from_millis(250 * u64::from(lost))).await;
            }
        }
    }
}

/// Which batch a result is of, and how many readings it calls accepted.
fn read(result: &mqtt_client::Publish) -> Option<(usize, u64)> {
    let number = result.properties.as_ref()?.correlation_data.as_ref()?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    let body: Value = serde_json::from_slice(&result.payload).ok()?;
    Some((number, body["accepted"].as_u64().unwrap_or(0)))
}
