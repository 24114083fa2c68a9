//! Results on their way to the sessions of an integration that subscribed to them. A session that is slow loses
//! results; nobody waits for it.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    Config,
    packet::Qos,
    topic::{self, Topics},
};
use crate::model::IntegrationId;

/// A result, as it goes to everybody who subscribed.
#[derive(Debug)]
pub(super) struct Message {
    /// The topic of results, or the publish's own response topic.
    pub(super) topic: Box<str>,
    pub(super) payload: Bytes,
    /// `application/json`, or `application/problem+json` for a refusal.
    pub(super) content_type: &'static str,
    pub(super) correlation: Option<Bytes>,
    /// Its bytes in memory, given back when nobody has it any more.
    _room: OwnedSemaphorePermit,
}

/// A message for one session, at the QoS that it subscribed with.
pub(super) type Delivery = (Arc<Message>, Qos);

/// What the sessions of one integration share.
#[derive(Debug)]
pub(super) struct Audience {
    pub(super) topics: Topics,
    /// Bytes that its publishes may hold at once.
    pub(super) bytes: Arc<Semaphore>,
    /// Bytes that its results may hold at once.
    results_bytes: Arc<Semaphore>,
    seats: RwLock<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    last_number: u64,
    seats: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    number: u64,
    filters: Vec<(Box<str>, Qos)>,
    mailbox: mpsc::Sender<Delivery>,
}

impl Audience {
    fn new(integration: IntegrationId, config: &Config) -> Self {
        Self {
            topics: Topics::of(integration),
            bytes: Arc::new(Semaphore::new(config.integration_bytes_max)),
            results_bytes: Arc::new(Semaphore::new(config.results_bytes_max)),
            seats: RwLock::default(),
        }
    }

    /// Whether anybody would be told something on `topic`: a result that nobody wants is not even written.
    pub(super) fn is_wanted(&self, topic: &str) -> bool {
        self.seats.read().seats.iter().any(|seat| seat.granted(topic).is_some())
    }

    /// A message, unless too many are in memory already because subscribers are slow.
    pub(super) fn message(
        &self,
        topic: Box<str>,
        (payload, content_type): (Vec<u8>, &'static str),
        correlation: Option<Bytes>,
    ) -> Option<Message> {
        let bytes = payload.len() + topic.len() + correlation.as_ref().map_or(0, Bytes::len);
        let room = Arc::clone(&self.results_bytes).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Message { topic, payload: payload.into(), content_type, correlation, _room: room })
    }

    /// Puts `message` into the mailbox of everybody who wants it; in how many there was no place.
    pub(super) fn tell(&self, message: &Arc<Message>) -> u64 {
        let mut dropped = 0;
        for seat in &self.seats.read().seats {
            if let Some(qos) = seat.granted(&message.topic)
                && seat.mailbox.try_send((Arc::clone(message), qos)).is_err()
            {
                dropped += 1;
            }
        }
        dropped
    }
}

impl Seat {
    /// The highest QoS among the filters that match.
    fn granted(&self, topic: &str) -> Option<Qos> {
        self.filters.iter().filter(|(filter, _)| topic::matches(filter, topic)).map(|(_, qos)| *qos).max()
    }
}

/// One session's subscriptions; it leaves its seat when dropped.
#[derive(Debug)]
pub(super) struct Subscriptions {
    audience: Arc<Audience>,
    number: u64,
    mailbox: mpsc::Receiver<Delivery>,
}

impl Subscriptions {
    pub(super) fn new(audience: &Arc<Audience>, queue_max: usize) -> Self {
        let (sender, mailbox) = mpsc::channel(queue_max);
        let mut table = audience.seats.write();
        table.last_number += 1;
        let number = table.last_number;
        table.seats.push(Seat { number, filters: Vec::new(), mailbox: sender });
        drop(table);
        Self { audience: Arc::clone(audience), number, mailbox }
    }

    /// Adds `filter`, or changes its QoS. False when there are `max` others already.
    pub(super) fn add(&self, filter: &str, qos: Qos, max: usize) -> bool {
        let mut table = self.audience.seats.write();
        let Some(seat) = table.seats.iter_mut().find(|seat| seat.number == self.number) else { return false };
        if let Some(known) = seat.filters.iter_mut().find(|(known, _)| **known == *filter) {
            known.1 = qos;
        } else if seat.filters.len() < max {
            seat.filters.push((filter.into(), qos));
        } else {
            return false;
        }
        true
    }

    /// Takes `filter` away; whether it was there.
    pub(super) fn remove(&self, filter: &str) -> bool {
        let mut table = self.audience.seats.write();
        let Some(seat) = table.seats.iter_mut().find(|seat| seat.number == self.number) else { return false };
        let before = seat.filters.len();
        seat.filters.retain(|(known, _)| **known != *filter);
        seat.filters.len() < before
    }

    /// The next message. Cancel-safe.
    pub(super) async fn next(&mut self) -> Delivery {
        match self.mailbox.recv().await {
            Some(delivery) => delivery,
            // The sender lives in our seat, which we leave last.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.audience.seats.write().seats.retain(|seat| seat.number != self.number);
    }
}

/// The audiences of all integrations that have sessions.
#[derive(Debug, Default)]
pub(super) struct Audiences {
    by_integration: Mutex<FxHashMap<IntegrationId, Weak<Audience>>>,
}

impl Audiences {
    /// The audience of `integration`, made if it has none. As many are remembered as there are integrations.
    pub(super) fn of(&self, integration: IntegrationId, config: &Config) -> Arc<Audience> {
        let mut known = self.by_integration.lock();
        if let Some(audience) = known.get(&integration).and_then(Weak::upgrade) {
            return audience;
        }
        let audience = Arc::new(Audience::new(integration, config));
        known.insert(integration, Arc::downgrade(&audience));
        audience
    }
}
