//! A gateway behind a broker: an MQTT 5 client that publishes batches and listens for their results.

use std::time::Duration;

use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{Packet, Publish, PublishProperties},
    },
};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::Integration;

/// How long a single thing may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A connected gateway.
pub struct Gateway {
    pub client: AsyncClient,
    acked: watch::Receiver<usize>,
    results: mpsc::Receiver<Publish>,
    pump: JoinHandle<()>,
}

impl Gateway {
    /// Connects to the broker at `port`, and subscribes to `filter` where one is given.
    pub async fn connect(port: u16, name: &str, filter: Option<&str>) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(5)).set_max_packet_size(Some(4 << 20));
        let (client, events) = AsyncClient::new(options, 100);
        let (acks, acked) = watch::channel(0);
        let (sender, results) = mpsc::channel(10_000);
        let (ready, mut is_ready) = mpsc::channel(1);
        if let Some(filter) = filter {
            client.subscribe(filter, QoS::AtLeastOnce).await.expect("queued");
        }
        #[allow(clippy::disallowed_methods, reason = "a test has no named tasks")]
        let pump = tokio::spawn(pump(events, acks, sender, ready, filter.is_some()));
        timeout(PATIENCE, is_ready.recv()).await.expect("connected in time").expect("connected");
        Self { client, acked, results, pump }
    }

    /// Publishes `body` at QoS 1 to `topic` with these user properties.
    pub async fn publish(&self, topic: &str, body: &Value, properties: PublishProperties) {
        let body = body.to_string();
        self.client.publish_with_properties(topic, QoS::AtLeastOnce, false, body, properties).await.expect("queued");
    }

    /// Publishes a batch of `integration` as it should be.
    pub async fn send(&self, integration: &Integration, body: &Value) {
        self.publish(&readings(integration), body, credentials(integration)).await;
    }

    /// How many publishes the broker has acknowledged, to be watched.
    pub fn acked(&self) -> watch::Receiver<usize> {
        self.acked.clone()
    }

    /// Waits until the broker has acknowledged `count` publishes.
    pub async fn wait_for_acks(&mut self, count: usize) {
        let waiting = self.acked.wait_for(|acked| *acked >= count);
        timeout(PATIENCE, waiting).await.expect("acknowledged in time").expect("connected");
    }

    /// The next result: topic, body and correlation data.
    pub async fn result(&mut self) -> (String, Value, Option<Vec<u8>>) {
        let message = timeout(PATIENCE, self.results.recv()).await.expect("a result in time").expect("connected");
        self.open(message)
    }

    fn open(&self, message: Publish) -> (String, Value, Option<Vec<u8>>) {
        let topic = String::from_utf8(message.topic.to_vec()).expect("UTF-8");
        let body = serde_json::from_slice(&message.payload).expect("JSON");
        let correlation = message.properties.and_then(|properties| properties.correlation_data);
        (topic, body, correlation.map(|data| data.to_vec()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn pump(
    mut events: EventLoop,
    acks: watch::Sender<usize>,
    results: mpsc::Sender<Publish>,
    ready: mpsc::Sender<()>,
    subscribes: bool,
) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::PubAck(_))) => acks.send_modify(|acked| *acked += 1),
            Ok(Event::Incoming(Packet::Publish(message))) => results.try_send(message).expect("few results"),
            Ok(Event::Incoming(Packet::ConnAck(_))) if !subscribes => ready.try_send(()).unwrap_or_default(),
            Ok(Event::Incoming(Packet::SubAck(_))) => ready.try_send(()).unwrap_or_default(),
            Ok(_) => {}
            // The library connects again at the next call.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Where an integration publishes.
pub fn readings(integration: &Integration) -> String {
    format!("grq/v1/{}/readings", integration.id)
}

/// Where it is answered.
pub fn results(integration: &Integration) -> String {
    format!("grq/v1/{}/results", integration.id)
}

/// The user properties that every message needs.
pub fn credentials(integration: &Integration) -> PublishProperties {
    let bearer = format!("Bearer {}", integration.token);
    PublishProperties {
        user_properties: vec![
            ("api_key".to_owned(), integration.api_key.clone()),
            ("authorization".to_owned(), bearer),
        ],
        ..PublishProperties::default()
    }
}
