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

/// Who wants what. Thousands of sessions with a topic each must not make one of them slower, so a topic is looked up;
/// only filters with wildcards are gone through, and each of them once however many sessions have it.
#[derive(Debug, Default)]
struct Seats {
    last_number: u64,
    mailboxes: FxHashMap<u64, mpsc::Sender<Delivery>>,
    topics: FxHashMap<Box<str>, Members>,
    patterns: FxHashMap<Box<str>, Members>,
}

/// The sessions that subscribed to one filter, with their QoS.
type Members = FxHashMap<u64, Qos>;

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
        self.seats.read().groups(topic).next().is_some()
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
        let seats = self.seats.read();
        let mut dropped = 0;
        let mut tell = |number: &u64, qos: Qos| {
            let Some(mailbox) = seats.mailboxes.get(number) else { return };
            if mailbox.try_send((Arc::clone(message), qos)).is_err() {
                dropped += 1;
            }
        };
        let mut groups = seats.groups(&message.topic);
        match (groups.next(), groups.next()) {
            (Some(only), None) => only.iter().for_each(|(number, qos)| tell(number, *qos)),
            (Some(first), Some(second)) => {
                // Who matches twice is told once, at the highest QoS (MQTT 5 §3.3.4).
                let mut highest = Members::default();
                for (number, qos) in [first, second].into_iter().chain(groups).flatten() {
                    highest.entry(*number).and_modify(|known| *known = (*known).max(*qos)).or_insert(*qos);
                }
                highest.iter().for_each(|(number, qos)| tell(number, *qos));
            }
            (None, _) => {}
        }
        dropped
    }
}

impl Seats {
    /// The members of each filter that matches `topic`.
    fn groups<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Members> {
        let patterns = self.patterns.iter().filter(|(pattern, _)| topic::matches(pattern, topic));
        self.topics.get(topic).into_iter().chain(patterns.map(|(_, members)| members))
    }

    fn filters(&mut self, filter: &str) -> &mut FxHashMap<Box<str>, Members> {
        if filter.contains(['+', '#']) { &mut self.patterns } else { &mut self.topics }
    }

    fn leave(&mut self, filter: &str, number: u64) {
        let filters = self.filters(filter);
        if let Some(members) = filters.get_mut(filter) {
            members.remove(&number);
            if members.is_empty() {
                filters.remove(filter);
            }
        }
    }
}

/// One session's subscriptions; it leaves its seat when dropped.
#[derive(Debug)]
pub(super) struct Subscriptions {
    audience: Arc<Audience>,
    number: u64,
    filters: Vec<Box<str>>,
    mailbox: mpsc::Receiver<Delivery>,
}

impl Subscriptions {
    pub(super) fn new(audience: &Arc<Audience>, queue_max: usize) -> Self {
        let (sender, mailbox) = mpsc::channel(queue_max);
        let mut seats = audience.seats.write();
        seats.last_number += 1;
        let number = seats.last_number;
        seats.mailboxes.insert(number, sender);
        drop(seats);
        Self { audience: Arc::clone(audience), number, filters: Vec::new(), mailbox }
    }

    /// Adds `filter`, or changes its QoS. False when there are `max` others already.
    pub(super) fn add(&mut self, filter: &str, qos: Qos, max: usize) -> bool {
        if !self.filters.iter().any(|known| **known == *filter) {
            if self.filters.len() >= max {
                return false;
            }
            self.filters.push(filter.into());
        }
        let mut seats = self.audience.seats.write();
        let filters = seats.filters(filter);
        if let Some(members) = filters.get_mut(filter) {
            members.insert(self.number, qos);
        } else {
            filters.insert(filter.into(), Members::from_iter([(self.number, qos)]));
        }
        true
    }

    /// Takes `filter` away; whether it was there.
    pub(super) fn remove(&mut self, filter: &str) -> bool {
        let before = self.filters.len();
        self.filters.retain(|known| **known != *filter);
        self.audience.seats.write().leave(filter, self.number);
        self.filters.len() < before
    }

    /// The next message. Cancel-safe.
    pub(super) async fn next(&mut self) -> Delivery {
        match self.mailbox.recv().await {
            Some(delivery) => delivery,
            // The sender lives among the seats, and ours is left last.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        let mut seats = self.audience.seats.write();
        seats.mailboxes.remove(&self.number);
        for filter in &self.filters {
            seats.leave(filter, self.number);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        crate::config::Config::load(None, std::iter::empty()).unwrap().mqtt
    }

    /// What is in each mailbox after `topic` was told.
    fn told(audience: &Audience, topic: &str, seats: &mut [Subscriptions]) -> Vec<Vec<Qos>> {
        let message = audience.message(topic.into(), (b"{}".to_vec(), "application/json"), None).expect("room");
        assert_eq!(audience.tell(&Arc::new(message)), 0);
        seats
            .iter_mut()
            .map(|seat| std::iter::from_fn(|| seat.mailbox.try_recv().ok()).map(|(_, qos)| qos).collect())
            .collect()
    }

    // MQTT 5 §3.3.4: overlapping subscriptions, one delivery at the highest QoS.
    #[test]
    fn everybody_who_wants_a_result_is_told_once() {
        let audience = Audiences::default().of(IntegrationId::generate(), &config());
        let results = audience.topics.results().to_owned();
        let (own, all) = (format!("{results}/gateway"), format!("{results}/#"));
        let mut seats: Vec<_> = (0..4).map(|_| Subscriptions::new(&audience, 8)).collect();
        let (zero, one) = (Qos::AtMostOnce, Qos::AtLeastOnce);
        assert!(seats[0].add(&own, zero, 8) && seats[0].add(&all, one, 8));
        assert!(seats[1].add(&all, zero, 8) && seats[1].add(&format!("{results}/+"), zero, 8));
        assert!(seats[2].add(&results, one, 8));
        assert_eq!(told(&audience, &own, &mut seats), [vec![one], vec![zero], vec![], vec![]]);
        assert_eq!(told(&audience, &results, &mut seats), [vec![one], vec![zero], vec![one], vec![]]);
        assert!(seats[0].add(&all, zero, 8), "subscribing again changes the QoS");
        assert_eq!(told(&audience, &own, &mut seats)[0], [zero]);
        assert!(seats[0].remove(&all) && !seats[0].remove(&all));
        assert_eq!(told(&audience, &results, &mut seats)[0], []);
        assert!(audience.is_wanted(&own) && !audience.is_wanted(audience.topics.readings()));
    }

    #[test]
    fn who_leaves_leaves_nothing_behind() {
        let audience = Audiences::default().of(IntegrationId::generate(), &config());
        let results = audience.topics.results().to_owned();
        let mut seats: Vec<_> = (0..3).map(|_| Subscriptions::new(&audience, 8)).collect();
        for (number, seat) in seats.iter_mut().enumerate() {
            assert!(
                seat.add(&results, Qos::AtMostOnce, 2)
                    && seat.add(&format!("{results}/{number}/#"), Qos::AtMostOnce, 2)
            );
            assert!(!seat.add(&format!("{results}/more"), Qos::AtMostOnce, 2), "no more than it may have");
        }
        drop(seats.remove(1));
        assert!(!audience.is_wanted(&format!("{results}/1/a")) && audience.is_wanted(&format!("{results}/2/a")));
        assert_eq!(told(&audience, &results, &mut seats).concat().len(), 2);
        drop(seats);
        assert!(!audience.is_wanted(&results));
        let left = audience.seats.read();
        assert_eq!((left.mailboxes.len(), left.topics.len(), left.patterns.len()), (0, 0, 0));
    }
}
