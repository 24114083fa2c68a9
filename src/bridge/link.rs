//! One connection to the broker, from CONNECT to its end. It never reconnects: whoever wants another one opens it anew,
//! so that what belongs to a connection (above all an acknowledgement) cannot go out on a later one.

use std::{io, net::IpAddr, pin::Pin, time::Duration};

use metrics::Counter;
use mqtt_client::{
    AckMode, AsyncClient, ConnAck, Event, EventLoop, MqttOptions, Packet, PersistedAckMode, PersistedSession, Publish,
    QoS, SessionStore, SessionStoreError, SessionStoreKey,
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{
    Config,
    broker::{Broker, Wire},
    error::LinkError,
};
use crate::telemetry::task;

/// Packets of our own that may await an answer on one connection: a SUBSCRIBE, or results.
const OUTGOING_MAX: u16 = 64;

/// An open connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Sends; what it is given after the end goes nowhere.
    pub(super) client: AsyncClient,
    /// The broker's address as it is seen from here.
    pub(super) peer: IpAddr,
    /// Whether the broker had kept a session of ours.
    pub(super) is_resumed: bool,
    messages: mpsc::Receiver<Publish>,
    pump: JoinHandle<LinkError>,
}

/// What kind of connection to open.
#[derive(Debug, Clone, Copy)]
pub(super) enum Session<'a> {
    /// For taking messages: acknowledged by hand, and kept by the broker where the configuration says so.
    Inbox(&'a Config),
    /// For sending results: nothing is kept.
    Outbox(&'a Config),
}

impl Link {
    /// Dials, says who we are, and waits for the broker's consent.
    /// `dropped` counts what comes faster than it can be taken.
    pub(super) async fn open(
        broker: &Broker,
        client_id: &str,
        session: Session<'_>,
        dropped: Counter,
    ) -> Result<Self, LinkError> {
        let (Session::Inbox(config) | Session::Outbox(config)) = session;
        let opening = Self::open_in_any_time(broker, client_id, session, dropped);
        timeout(config.connect_timeout(), opening).await.unwrap_or(Err(LinkError::Timeout))
    }

    async fn open_in_any_time(
        broker: &Broker,
        client_id: &str,
        session: Session<'_>,
        dropped: Counter,
    ) -> Result<Self, LinkError> {
        let (wire, peer) = broker.dial().await?;
        let (client, mut events) = session.connected_by(wire, broker, client_id)?;
        let consent = loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(consent))) => break consent,
                Ok(_) => {}
                Err(error) => return Err(LinkError::from_library(error, client_id)),
            }
        };
        check(&consent)?;
        let places = session.places();
        let (sender, messages) = mpsc::channel(2 * places);
        let pump = Pump { events, sender, reserved: places, dropped, client_id: client_id.to_owned() };
        let pump = task::spawn("bridge_link", pump.run());
        Ok(Self { client, peer, is_resumed: consent.session_present, messages, pump })
    }

    /// The next message; none at the connection's end. Cancel-safe.
    pub(super) async fn message(&mut self) -> Option<Publish> {
        self.messages.recv().await
    }

    /// Why it ended, once [`Link::message`] has said that it did.
    pub(super) async fn end(mut self) -> LinkError {
        ended(&mut self.pump).await
    }

    /// Waits for the end without taking messages: for a connection that gets none. Cancel-safe.
    pub(super) async fn lost(&mut self) -> LinkError {
        ended(&mut self.pump).await
    }

    /// Sends what was handed in before, then DISCONNECT, and waits `grace` for that at most.
    pub(super) async fn close(mut self, grace: Duration) {
        if self.client.try_disconnect().is_err() {
            return;
        }
        let closing = async {
            // Whoever no longer takes messages must not keep the pump from sending.
            while self.messages.recv().await.is_some() {}
            ended(&mut self.pump).await
        };
        if timeout(grace, closing).await.is_err() {
            tracing::warn!("The broker did not take our last packets in time; the connection is cut.");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn ended(pump: &mut JoinHandle<LinkError>) -> LinkError {
    pump.await.unwrap_or_else(|error| LinkError::Lost(error.to_string()))
}

/// Drives the connection. The library must not be cancelled half-way through a packet, so this is a task of its own.
struct Pump {
    events: EventLoop,
    sender: mpsc::Sender<Publish>,
    /// Places in the queue that messages of QoS 0 may not take.
    reserved: usize,
    dropped: Counter,
    client_id: String,
}

impl Pump {
    async fn run(mut self) -> LinkError {
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    if message.qos == QoS::AtMostOnce && self.sender.capacity() <= self.reserved {
                        self.dropped.increment(1);
                        continue;
                    }
                    // The socket is not read while messages wait to be taken. Who takes them never waits for us.
                    if self.sender.send(message).await.is_err() {
                        return LinkError::Lost("given up".to_owned());
                    }
                }
                Ok(_) => {}
                Err(error) => return LinkError::from_library(error, &self.client_id),
            }
        }
    }
}

impl Session<'_> {
    /// Messages that may wait to be taken, those of QoS 0 not counted.
    fn places(self) -> usize {
        match self {
            Self::Inbox(config) => config.receive_maximum.into(),
            Self::Outbox(_) => 1,
        }
    }

    /// What the library is told.
    fn options(self, broker: &Broker, client_id: &str) -> Result<MqttOptions, LinkError> {
        // The socket is ours, so this name is never looked up.
        let mut options = MqttOptions::new(client_id, mqtt_client::Broker::tcp("broker", 1_883));
        if !broker.username.is_empty() {
            match broker.password()? {
                Some(password) => options.set_credentials(&broker.username, password.as_bytes().to_vec()),
                None => options.set_username(&broker.username),
            };
        }
        options.set_outgoing_inflight_upper_limit(OUTGOING_MAX);
        match self {
            Self::Outbox(config) => options.set_keep_alive(config.keep_alive_s).set_clean_start(true),
            Self::Inbox(config) => options
                .set_keep_alive(config.keep_alive_s)
                .set_clean_start(config.clean_start)
                .set_session_expiry_interval(Some(config.session_expiry_s))
                .set_receive_maximum(Some(config.receive_maximum))
                .set_max_packet_size(Some(config.packet_bytes_max))
                .set_ack_mode(AckMode::Manual),
        };
        if !options.clean_start() {
            options.set_session_store(NothingUnfinished { client_id: client_id.to_owned() });
        }
        Ok(options)
    }

    /// A client on the open socket, which the library asks for exactly once.
    fn connected_by(self, wire: Wire, broker: &Broker, client_id: &str) -> Result<(AsyncClient, EventLoop), LinkError> {
        let mut options = self.options(broker, client_id)?;
        let wire = Mutex::new(Some(wire));
        options.set_socket_connector(move |_, _| {
            let wire = wire.lock().take();
            async move { wire.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "a link connects once")) }
        });
        let client = AsyncClient::builder(options);
        Ok(match self {
            // There is at most one acknowledgement for each message that is being worked on, and handing it in must
            // neither wait nor fail.
            Self::Inbox(_) => client.unbounded().build(),
            Self::Outbox(_) => client.capacity(usize::from(OUTGOING_MAX)).build(),
        })
    }
}

fn check(consent: &ConnAck) -> Result<(), LinkError> {
    let shared = consent.properties.as_ref().and_then(|properties| properties.shared_subscription_available);
    if shared == Some(0) {
        return Err(LinkError::Lost("the broker has no shared subscriptions".to_owned()));
    }
    Ok(())
}

/// What this side has left unfinished of its session with the broker: nothing, after whatever restart. All it sends on
/// such a session is SUBSCRIBE and acknowledgements. The library wants to be told before it resumes one.
#[derive(Debug)]
struct NothingUnfinished {
    client_id: String,
}

type Stored<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingUnfinished {
    fn load<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: self.client_id.clone(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(OUTGOING_MAX),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
