//! Acknowledgements in the order in which the messages came (MQTT 5, 4.6), however fast each of them was stored.

use std::collections::VecDeque;

use mqtt_client::ManualAck;
use tokio::{task::JoinHandle, time::Instant};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is durable, or refused for good: the broker need not keep it.
    Settled,
    /// It can be stored later, by us or by another node; the cause is a word for the log.
    Unsettled(&'static str),
}

/// A message that is being worked on.
#[derive(Debug)]
struct Pending {
    ack: ManualAck,
    arrived: Instant,
    work: JoinHandle<Verdict>,
}

/// The messages of one connection that await their acknowledgement, oldest first.
#[derive(Debug, Default)]
pub(super) struct Acks(VecDeque<Pending>);

impl Acks {
    /// A message that has just come, and the task that works on it.
    pub(super) fn push(&mut self, ack: ManualAck, work: JoinHandle<Verdict>) {
        self.0.push_back(Pending { ack, arrived: Instant::now(), work });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The oldest message's verdict, once there is one; waits for ever while there is no message. Cancel-safe.
    pub(super) async fn next(&mut self) -> (ManualAck, Instant, Verdict) {
        let Some(oldest) = self.0.front_mut() else { return std::future::pending().await };
        let verdict = match (&mut oldest.work).await {
            Ok(verdict) => verdict,
            Err(error) => {
                // Again and again at each node, if the broker kept it: one message must not stop all others for good.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "A message was dropped: its handling ended by a panic."
                );
                Verdict::Settled
            }
        };
        let Some(Pending { ack, arrived, .. }) = self.0.pop_front() else { return std::future::pending().await };
        (ack, arrived, verdict)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mqtt_client::PubAck;
    use tokio::{sync::oneshot, time::timeout};

    use super::*;
    use crate::telemetry::task;

    fn ack(packet_id: u16) -> ManualAck {
        ManualAck::PubAck(PubAck::new(packet_id, None))
    }

    fn packet_id(ack: &ManualAck) -> u16 {
        match ack {
            ManualAck::PubAck(ack) => ack.pkid,
            ManualAck::PubRec(ack) => ack.pkid,
        }
    }

    // MQTT 5, [MQTT-4.6.0-2]
    #[tokio::test]
    async fn the_first_to_come_is_the_first_to_be_acknowledged() {
        let mut acks = Acks::default();
        let (first, wait) = oneshot::channel::<()>();
        acks.push(
            ack(1),
            task::spawn("first", async {
                wait.await.expect("told");
                Verdict::Settled
            }),
        );
        acks.push(ack(2), task::spawn("second", async { Verdict::Unsettled("later") }));
        acks.push(ack(3), task::spawn("third", async { panic!("poison") }));
        assert!(timeout(Duration::from_millis(50), acks.next()).await.is_err(), "the second waits for the first");
        first.send(()).expect("it waits");
        for (expected, verdict) in [(1, Verdict::Settled), (2, Verdict::Unsettled("later")), (3, Verdict::Settled)] {
            let (ack, _, got) = acks.next().await;
            assert_eq!((packet_id(&ack), got), (expected, verdict));
        }
        assert_eq!(acks.len(), 0);
    }
}
