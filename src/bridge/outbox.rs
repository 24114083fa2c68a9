//! What senders are told, on a connection of its own: a result that the broker takes slowly must not hold up the
//! acknowledgements. Results are for whoever listens: what cannot be sent in time is dropped and counted.

use std::sync::Arc;

use bytes::Bytes;
use mqtt_client::{PublishOptions, PublishProperties, QoS};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    broker::Broker,
    error::LinkError,
    link::{Link, Session},
    meters::Meters,
};
use crate::model::Backoff;

/// What a waiting reply takes besides its texts, in bytes.
const REPLY_OVERHEAD_BYTES: usize = 256;

/// One message to a sender.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) topic: String,
    pub(super) correlation_data: Option<Bytes>,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

impl Reply {
    fn bytes(&self) -> usize {
        let correlation = self.correlation_data.as_ref().map_or(0, Bytes::len);
        REPLY_OVERHEAD_BYTES + self.topic.len() + correlation + self.body.len()
    }
}

type Waiting = (Reply, OwnedSemaphorePermit);

/// Takes replies in.
#[derive(Debug, Clone)]
pub(super) struct Replies {
    queue: mpsc::Sender<Waiting>,
    /// Bytes that may still wait.
    free: Arc<Semaphore>,
    meters: Arc<Meters>,
}

impl Replies {
    /// Hands a reply over, or drops it where too much waits already. Never blocks.
    pub(super) fn send(&self, reply: Reply) {
        let bytes = u32::try_from(reply.bytes()).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.free).try_acquire_many_owned(bytes);
        let is_queued = permit.is_ok_and(|permit| self.queue.try_send((reply, permit)).is_ok());
        if !is_queued {
            self.meters.results_dropped.increment(1);
        }
    }
}

/// The replies that wait, and who sends them.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Receiver<Waiting>,
    meters: Arc<Meters>,
}

impl Outbox {
    pub(super) fn new(config: &Config, meters: &Arc<Meters>) -> (Self, Replies) {
        let bytes_max = config.results_queue_bytes_max as usize;
        // So many that it is the bytes that run out.
        let (sender, queue) = mpsc::channel(bytes_max.div_ceil(REPLY_OVERHEAD_BYTES));
        let free = Arc::new(Semaphore::new(bytes_max));
        let replies = Replies { queue: sender, free, meters: Arc::clone(meters) };
        (Self { queue, meters: Arc::clone(meters) }, replies)
    }

    /// Sends until `shutdown`, and then what still waits.
    pub(super) async fn run(
        mut self,
        config: Arc<Config>,
        broker: Arc<Broker>,
        client_id: String,
        shutdown: CancellationToken,
    ) {
        let mut backoff = Backoff::new(config.reconnect_min(), config.reconnect_max());
        let mut is_known = false;
        loop {
            let opening = Link::open(&broker, &client_id, Session::Outbox(&config), self.meters.dropped.clone());
            let Some(opened) = shutdown.run_until_cancelled(opening).await else { return };
            let ended = match opened {
                Ok(link) => {
                    (is_known, backoff) = (false, Backoff::new(config.reconnect_min(), config.reconnect_max()));
                    self.send_on(link, &config, &shutdown).await
                }
                Err(error) => Err(error),
            };
            let Err(error) = ended else { return };
            if !is_known {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%broker, error, "No connection for results; trying again in silence.");
            }
            is_known = true;
            if shutdown.run_until_cancelled(tokio::time::sleep(backoff.pause())).await.is_none() {
                return;
            }
        }
    }

    /// Sends on one connection until it is lost, or until the last reply after `shutdown`.
    async fn send_on(
        &mut self,
        mut link: Link,
        config: &Config,
        shutdown: &CancellationToken,
    ) -> Result<(), LinkError> {
        loop {
            let (reply, _permit) = tokio::select! {
                biased;
                lost = link.lost() => return Err(lost),
                Some(waiting) = self.queue.recv() => waiting,
                // After those that wait, because the order of the branches is kept.
                () = shutdown.cancelled() => {
                    link.close(config.stop_grace()).await;
                    return Ok(());
                }
            };
            let properties = PublishProperties {
                payload_format_indicator: Some(1),
                content_type: Some(reply.content_type.to_owned()),
                correlation_data: reply.correlation_data,
                ..PublishProperties::default()
            };
            let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
            let client = link.client.clone();
            tokio::select! {
                sent = client.publish(reply.topic, reply.body, options) => {
                    let counter = if sent.is_ok() { &self.meters.results_sent } else { &self.meters.results_dropped };
                    counter.increment(1);
                }
                lost = link.lost() => {
                    self.meters.results_dropped.increment(1);
                    return Err(lost);
                }
            }
        }
    }
}
