//! The life of a session: one task that reads, writes, answers and watches its timers, and never waits for one of them
//! alone.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    audience::{Audience, Delivery, Message, Subscriptions},
    clock::{Clock, Due, Now},
    codec::Codec,
    connect::Connected,
    edge::Edge,
    ending::Ending,
    header,
    meters::Fate,
    packet::{Out, Packet, Publish, Qos, Version},
    publish::{self, Judged, Waiting},
    receipts::{Pending, Receipts, Room},
    results::Unacked,
    subscribe,
    verdict::{Outcome, Verdict},
    wire::{Arrived, Head, Wire},
};
use crate::{auth, model::RequestId};

/// Everything of one session.
pub(super) struct Session<S> {
    edge: Arc<Edge>,
    wire: Wire<S>,
    codec: Codec,
    session: auth::Session,
    audience: Arc<Audience>,
    subscriptions: Option<Subscriptions>,
    unacked: Unacked,
    receipts: Receipts,
    waiting: Waiting,
    /// Room for the publish that is being read.
    room: Option<Room>,
    phase: Phase,
    clock: Clock,
}

/// How far the session is.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It reads and answers.
    Serving,
    /// It reads no more; what is under way is answered before it ends.
    Finishing(Ending),
    /// The client is gone; what is under way is finished for those who read its results elsewhere.
    Abandoned(Ending),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn new(edge: &Arc<Edge>, wire: Wire<S>, connected: Connected) -> Self {
        let Connected { codec, session, audience, patience, expires, results_unacked_max } = connected;
        Self {
            receipts: Receipts::new(Arc::clone(&edge.intake), edge.config.hold(), edge.meters.holds.clone()),
            edge: Arc::clone(edge),
            wire,
            codec,
            session,
            audience,
            subscriptions: None,
            unacked: Unacked::new(results_unacked_max),
            waiting: Waiting::Nothing,
            room: None,
            phase: Phase::Serving,
            clock: Clock::new(&edge.config, patience, expires),
        }
    }

    /// What the last words need. All that was under way is let go: what is being stored goes on by itself.
    pub(super) fn into_parts(self) -> (Arc<Edge>, Wire<S>, Codec, auth::Session) {
        (self.edge, self.wire, self.codec, self.session)
    }

    /// Serves until the session has to end, and tells why.
    pub(super) async fn run(&mut self, shutdown: &CancellationToken) -> Ending {
        loop {
            if let Some(ending) = self.is_over() {
                return ending;
            }
            let is_reading = self.is_reading();
            self.clock.arm(self.now());
            let (is_serving, is_heard) =
                (matches!(self.phase, Phase::Serving), !matches!(self.phase, Phase::Abandoned(_)));
            let can_deliver = is_heard
                && self.subscriptions.is_some()
                && self.unacked.has_room()
                && self.wire.unsent.len() < self.edge.config.unsent_bytes_max;
            let went_on = tokio::select! {
                biased;
                end = self.session.ended() => return end.into(),
                () = self.clock.alarm() => self.alarm(),
                () = shutdown.cancelled(), if is_serving => {
                    self.stop();
                    Ok(())
                }
                (pending, outcome) = self.receipts.next(), if !self.receipts.is_empty() => {
                    self.answer(pending, &outcome)
                }
                room = self.waiting.room() => self.room(room),
                (message, qos) = next_delivery(&mut self.subscriptions), if can_deliver => {
                    self.deliver(&message, qos);
                    Ok(())
                }
                arrived = self.wire.next(is_reading), if is_heard => self.arrived(arrived),
            };
            match went_on {
                Ok(()) => {}
                // Refused behind the gate: whoever shut it tells us at once why.
                Err(Ending::AccessChanged) => {
                    let told = timeout(self.edge.config.close_timeout(), self.session.ended()).await;
                    return told.map_or(Ending::AccessChanged, Into::into);
                }
                Err(ending) => return ending,
            }
        }
    }

    /// Whether what had to be finished is finished.
    fn is_over(&self) -> Option<Ending> {
        match self.phase {
            Phase::Finishing(ending) | Phase::Abandoned(ending) if self.receipts.is_empty() => Some(ending),
            Phase::Serving | Phase::Finishing(_) | Phase::Abandoned(_) => None,
        }
    }

    /// Whether there is room for what the client sends: it is not read otherwise, and waits in the client's hands.
    fn is_reading(&self) -> bool {
        let max = usize::from(self.edge.config.receive_maximum);
        let is_full = match self.codec.version() {
            // 3.1.1 knows no receive maximum, so nothing more is read.
            Version::V3 => self.receipts.len() >= max,
            // Who sends more at QoS 1 than was announced is to be noticed.
            Version::V5 => self.receipts.len() - self.receipts.unacknowledged() >= max,
        };
        matches!(self.phase, Phase::Serving)
            && matches!(self.waiting, Waiting::Nothing)
            && !is_full
            && self.wire.unsent.len() < self.edge.config.unsent_bytes_max
    }

    /// The service stops: nothing more is read, and nothing held any longer.
    fn stop(&mut self) {
        self.phase = Phase::Finishing(Ending::ShuttingDown);
        self.waiting = Waiting::Nothing;
        self.receipts.give_up();
    }

    /// There is room for the publish whose header has come.
    fn room(&mut self, room: Option<Room>) -> Result<(), Ending> {
        self.waiting = Waiting::Nothing;
        self.room = Some(room.ok_or(Ending::TooLarge)?);
        self.wire.begin();
        Ok(())
    }

    fn arrived(&mut self, arrived: io::Result<Arrived>) -> Result<(), Ending> {
        match arrived {
            Ok(Arrived::Head(head)) => self.head(head),
            Ok(Arrived::Packet(head, packet)) => {
                self.clock.packet_came();
                let packet = self.codec.decode(head, packet)?;
                self.packet(packet)
            }
            Ok(Arrived::Sent) => Ok(()),
            Ok(Arrived::Malformed) => Err(Ending::Malformed),
            Ok(Arrived::End) | Err(_) => {
                self.phase = Phase::Abandoned(Ending::Gone);
                Ok(())
            }
        }
    }

    /// The header of a packet: judged before there is memory for its body.
    fn head(&mut self, head: Head) -> Result<(), Ending> {
        self.clock.packet_began();
        if !header::is_publish(head, &self.edge.config)? {
            self.wire.begin();
            return Ok(());
        }
        if head.qos() == 1 && self.receipts.unacknowledged() >= usize::from(self.edge.config.receive_maximum) {
            return Err(Ending::ReceiveMaximum);
        }
        match publish::room(&self.edge, &self.audience, head.total()) {
            Ok(room) => self.room(Some(room)),
            Err(waiting) => {
                self.waiting = waiting;
                Ok(())
            }
        }
    }

    fn packet(&mut self, packet: Packet) -> Result<(), Ending> {
        match packet {
            Packet::Publish(publish) => self.publish(*publish),
            Packet::PublishAck(id) => {
                self.unacked.give_back(id);
                Ok(())
            }
            Packet::Subscribe(packet) => {
                if packet.has_identifier {
                    return Err(Ending::SubscriptionId);
                }
                let granted =
                    subscribe::subscribe(&self.audience, &mut self.subscriptions, &packet.filters, &self.edge.config);
                self.send(Out::SubscribeAck(packet.packet_id, &granted))
            }
            Packet::Unsubscribe(packet) => {
                let existed = subscribe::unsubscribe(self.subscriptions.as_mut(), &packet.filters);
                self.send(Out::UnsubscribeAck(packet.packet_id, &existed))
            }
            Packet::Ping => self.send(Out::Pong),
            Packet::Disconnect => {
                self.phase = Phase::Abandoned(Ending::Left);
                Ok(())
            }
        }
    }

    fn publish(&mut self, publish: Publish) -> Result<(), Ending> {
        let room = self.room.take();
        if let Some(id) = publish.packet_id
            && self.receipts.contains(id)
        {
            // A resend on the same connection is not of the standard, but harmless: it is answered once.
            let is_harmless = publish.is_resend && self.codec.version() == Version::V3;
            return if is_harmless { Ok(()) } else { Err(Ending::Protocol) };
        }
        let is_allowed = publish::is_allowed(&self.audience, &publish);
        let (pending, payload) = publish::pending(&self.edge, &self.session, publish, room);
        if is_allowed {
            self.go_on(publish::admit(&self.edge, &self.session, pending, payload));
        } else if self.codec.version() == Version::V5 && pending.packet_id.is_some() {
            self.receipts.settled(pending, publish::forbidden());
        } else {
            pending.exchange.end(publish::forbidden().answer());
            return Err(Ending::Forbidden);
        }
        Ok(())
    }

    fn go_on(&mut self, judged: Judged) {
        match judged {
            Judged::Submit(pending, batch) => self.receipts.submit(pending, batch),
            Judged::Settled(pending, outcome) => self.receipts.settled(pending, outcome),
            Judged::Delay(delayed) => self.waiting = Waiting::Window(delayed),
        }
    }

    /// Acknowledges a publish whose turn it is, and tells its result.
    fn answer(&mut self, pending: Pending, outcome: &Outcome) -> Result<(), Ending> {
        let Pending { packet_id, exchange, response_topic, correlation, .. } = pending;
        let (ack, went_on) = match outcome.verdict() {
            Verdict::Acked(ack) => (Some(ack), Ok(())),
            Verdict::Ends(ending) => (None, Err(ending)),
        };
        if let (Some(ack), Some(id)) = (ack, packet_id) {
            self.send(Out::PublishAck(id, ack, outcome.words()))?;
        }
        // What will be sent again has no result yet; at QoS 0 it will not be.
        if ack.is_some() || (packet_id.is_none() && went_on != Err(Ending::AccessChanged)) {
            self.tell(exchange.request_id, response_topic, correlation, outcome);
        }
        self.edge.meters.publish(packet_id.is_some(), ack, exchange.age_s());
        exchange.end(outcome.answer());
        went_on
    }

    fn tell(&self, id: RequestId, topic: Option<Box<str>>, correlation: Option<Bytes>, outcome: &Outcome) {
        if !self.audience.is_wanted(topic.as_deref().unwrap_or(self.audience.topics.results())) {
            return;
        }
        let topic = topic.unwrap_or_else(|| self.audience.topics.results().into());
        let body = outcome.message(id, &self.edge.public_url);
        match self.audience.message(topic, body, correlation) {
            Some(message) => {
                let dropped = self.audience.tell(&Arc::new(message));
                self.edge.meters.result(Fate::Slow, dropped);
            }
            None => self.edge.meters.result(Fate::TooMany, 1),
        }
    }

    fn deliver(&mut self, message: &Message, qos: Qos) {
        let id = (qos == Qos::AtLeastOnce).then(|| self.unacked.take());
        // Larger than the client takes: it is discarded as if it had been sent (MQTT 5 §3.1.2.11.4).
        if self.codec.encode(Out::Result(message, qos, id), &mut self.wire.unsent).is_ok() {
            self.edge.meters.result(Fate::Sent, 1);
            return;
        }
        self.edge.meters.result(Fate::TooLarge, 1);
        if let Some(id) = id {
            self.unacked.give_back(id);
        }
    }

    fn send(&mut self, out: Out<'_>) -> Result<(), Ending> {
        if matches!(self.phase, Phase::Abandoned(_)) {
            return Ok(());
        }
        // An answer that the client has no room for cannot be left out.
        self.codec.encode(out, &mut self.wire.unsent).map_err(|_| Ending::TooLarge)
    }

    /// How things are, for the clock.
    fn now(&self) -> Now {
        Now {
            is_reading: self.is_reading(),
            has_unsent: !self.wire.unsent.is_empty(),
            written: self.wire.moved_out(),
            window: self.waiting.until(),
        }
    }

    fn alarm(&mut self) -> Result<(), Ending> {
        match self.clock.due(self.now()) {
            Due::Nothing => {}
            Due::End(ending) => return Err(ending),
            Due::Window => {
                if let Waiting::Window(delayed) = std::mem::replace(&mut self.waiting, Waiting::Nothing) {
                    self.go_on(publish::admit_again(&self.edge, *delayed));
                }
            }
        }
        Ok(())
    }
}

async fn next_delivery(subscriptions: &mut Option<Subscriptions>) -> Delivery {
    match subscriptions {
        Some(subscriptions) => subscriptions.next().await,
        None => std::future::pending().await,
    }
}
