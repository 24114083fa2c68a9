//! Messages of one connection: each is handed to the desk as it comes, and acknowledged in the order of arrival.

use std::{pin::pin, sync::Arc};

use mqtt_client::{AsyncClient, ManualAck, Publish, QoS, SubscribeReasonCode};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Config,
    acks::{Acks, Verdict},
    broker::Broker,
    desk::Desk,
    error::LinkError,
    link::{Link, Session},
    message::Message,
    meters::Meters,
    seam::Door,
    status::Status,
    turns::Turns,
};
use crate::{ingest::Intake, telemetry::task};

/// Takes messages, one connection after the other.
pub(super) struct Inbox<'a, D, I> {
    pub(super) config: &'a Config,
    pub(super) client_id: &'a str,
    pub(super) desk: &'a Arc<Desk<D, I>>,
    pub(super) status: &'a Status,
    pub(super) meters: &'a Meters,
}

/// One connection that takes messages.
struct Serving<'a, D, I> {
    inbox: &'a Inbox<'a, D, I>,
    acks: Acks,
    turns: Turns,
    /// Messages of QoS 0, which nobody waits for.
    unacknowledged: TaskTracker,
    /// Cancelled at the connection's end: what is still held is not worth holding any more.
    over: CancellationToken,
}

impl<D: Door, I: Intake> Inbox<'_, D, I> {
    /// Connects and takes messages until the connection ends (an error), or until `shutdown` (none).
    pub(super) async fn serve(&self, broker: &Broker, shutdown: &CancellationToken) -> Result<(), LinkError> {
        let opening = Link::open(broker, self.client_id, Session::Inbox(self.config), self.meters.dropped.clone());
        let Some(link) = shutdown.run_until_cancelled(opening).await else { return Ok(()) };
        let mut link = link?;
        let mut serving = Serving {
            inbox: self,
            acks: Acks::default(),
            turns: Turns::default(),
            unacknowledged: TaskTracker::new(),
            over: CancellationToken::new(),
        };
        let _over = serving.over.clone().drop_guard();
        // Messages of a session that the broker has kept may come before the answer does.
        let mut joining = pin!(self.join(link.client.clone()));
        let mut is_joined = false;
        loop {
            // The receive maximum, also with a broker that knows none.
            let has_room = serving.acks.len() < usize::from(self.config.receive_maximum);
            tokio::select! {
                joined = &mut joining, if !is_joined => {
                    joined?;
                    is_joined = true;
                    self.status.taking(self.client_id, &self.config.filter(), link.is_resumed);
                }
                message = link.message(), if has_room => match message {
                    Some(message) => serving.take(&link, message),
                    None => return Err(link.end().await),
                },
                (ack, arrived, verdict) = serving.acks.next() => match verdict {
                    Verdict::Settled => serving.acknowledge(&link, ack, arrived),
                    Verdict::Unsettled(cause) => {
                        // No word about this message, nor about any behind it: the broker sends them again.
                        link.close(self.config.connect_timeout()).await;
                        return Err(LinkError::Held(cause));
                    }
                },
                () = shutdown.cancelled() => break,
            }
        }
        serving.finish(&mut link).await;
        link.close(self.config.stop_grace()).await;
        Ok(())
    }

    /// Subscribes, whether or not the broker has kept a session: it may be that of another configuration. Or leaves.
    async fn join(&self, client: AsyncClient) -> Result<(), LinkError> {
        let filter = self.config.filter();
        let refused = |reason: String| LinkError::NotSubscribed { filter: filter.clone(), reason };
        if self.config.leaving {
            return client.unsubscribe(&filter).await.map_err(|error| refused(error.to_string()));
        }
        let asked = client.subscribe_tracked(&filter, QoS::AtLeastOnce).await;
        let answer = asked.map_err(|error| refused(error.to_string()))?.wait_async();
        let answer = timeout(self.config.connect_timeout(), answer).await.map_err(|_late| LinkError::Timeout)?;
        match answer.map_err(|error| refused(error.to_string()))?.return_codes.first() {
            Some(SubscribeReasonCode::Success(QoS::AtLeastOnce)) => Ok(()),
            Some(SubscribeReasonCode::Success(_)) => Err(refused("it grants another QoS than 1".to_owned())),
            other => Err(refused(format!("{other:?}"))),
        }
    }
}

impl<D: Door, I: Intake> Serving<'_, D, I> {
    fn take(&mut self, link: &Link, publish: Publish) {
        let ack = link.client.prepare_ack(&publish);
        let message = Message::from(publish);
        if message.is_resent {
            self.inbox.meters.resent.increment(1);
        }
        let work = Arc::clone(self.inbox.desk).settle(message, link.peer, self.turns.next(), self.over.clone());
        match ack {
            Some(ack) => {
                self.acks.push(ack, task::spawn("bridge_message", work));
                self.inbox.meters.in_flight.set(self.acks.len() as f64);
            }
            // Nothing bounds how many of these the broker sends, so we do.
            None if self.unacknowledged.len() < usize::from(self.inbox.config.receive_maximum) => {
                drop(task::spawn("bridge_message", self.unacknowledged.track_future(work)));
            }
            None => self.inbox.meters.dropped.increment(1),
        }
    }

    fn acknowledge(&self, link: &Link, ack: ManualAck, arrived: Instant) {
        self.inbox.meters.in_flight.set(self.acks.len() as f64);
        // Refused only where the connection has ended: then the broker sends the message again.
        if link.client.try_manual_ack(ack).is_ok() {
            self.inbox.meters.acknowledged(arrived);
        }
    }

    /// Acknowledges what is being stored, oldest first; takes nothing new.
    async fn finish(&mut self, link: &mut Link) {
        self.over.cancel();
        let until = Instant::now() + self.inbox.config.stop_grace();
        while self.acks.len() > 0 {
            tokio::select! {
                (ack, arrived, verdict) = self.acks.next() => match verdict {
                    Verdict::Settled => self.acknowledge(link, ack, arrived),
                    Verdict::Unsettled(_) => break,
                },
                message = link.message() => if message.is_none() { break },
                () = sleep_until(until) => break,
            }
        }
        self.unacknowledged.close();
        let finished = timeout_at(until, self.unacknowledged.wait()).await;
        if finished.is_err() || self.acks.len() > 0 {
            tracing::info!(messages = self.acks.len(), "Stopped with messages that the broker will send again.");
        }
    }
}

impl<D, I> Drop for Serving<'_, D, I> {
    fn drop(&mut self) {
        self.inbox.meters.in_flight.set(0.0);
    }
}
