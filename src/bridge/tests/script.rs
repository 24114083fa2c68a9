//! A broker that does what a test tells it, packet by packet.

use std::net::SocketAddr;

use bytes::BytesMut;
use mqtt_client::{
    ConnAck, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAck, Publish, PublishProperties,
    QoS, SubAck, SubscribeReasonCode,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

use super::PATIENCE;
use crate::telemetry::task;

/// Listens; connections for results are served by itself.
pub(super) struct ScriptedBroker {
    address: SocketAddr,
    inboxes: mpsc::Receiver<(Connect, Peer)>,
    results: mpsc::Receiver<Publish>,
}

/// One connection, seen from the broker.
pub(super) struct Peer {
    socket: TcpStream,
    buffer: BytesMut,
}

impl ScriptedBroker {
    pub(super) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ((inbox_sender, inboxes), (result_sender, results)) = (mpsc::channel(100), mpsc::channel(100));
        drop(task::spawn("scripted broker", accept_all(listener, inbox_sender, result_sender)));
        Self { address, inboxes, results }
    }

    pub(super) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// The next connection that takes messages, after CONNACK.
    pub(super) async fn accept(&mut self, is_resumed: bool) -> (Connect, Peer) {
        let (connect, mut peer) = timeout(PATIENCE, self.inboxes.recv()).await.expect("it connects").unwrap();
        peer.consent(is_resumed).await;
        (connect, peer)
    }

    /// The same, after a subscription that was granted.
    pub(super) async fn join(&mut self) -> Peer {
        let (_, mut peer) = self.accept(true).await;
        peer.grant(SubscribeReasonCode::Success(QoS::AtLeastOnce)).await;
        peer
    }

    /// The next result: topic, body, properties.
    pub(super) async fn result(&mut self) -> (String, Value, PublishProperties) {
        let message = timeout(PATIENCE, self.results.recv()).await.expect("a result in time").unwrap();
        let topic = String::from_utf8(message.topic.to_vec()).unwrap();
        (topic, serde_json::from_slice(&message.payload).unwrap(), message.properties.unwrap())
    }

    /// Whether a result is there now.
    pub(super) fn has_result(&mut self) -> bool {
        self.results.try_recv().is_ok()
    }
}

async fn accept_all(listener: TcpListener, inboxes: mpsc::Sender<(Connect, Peer)>, results: mpsc::Sender<Publish>) {
    while let Ok((socket, _)) = listener.accept().await {
        let mut peer = Peer { socket, buffer: BytesMut::new() };
        let Some(Packet::Connect(connect, _, _)) = peer.receive().await else { panic!("no CONNECT") };
        if connect.client_id.ends_with("-results") {
            drop(task::spawn("results", take_results(peer, results.clone())));
        } else if inboxes.try_send((connect, peer)).is_err() {
            return;
        }
    }
}

async fn take_results(mut peer: Peer, sender: mpsc::Sender<Publish>) {
    peer.consent(false).await;
    while let Some(packet) = peer.receive().await {
        match packet {
            Packet::Publish(message) => {
                peer.send(Packet::PubAck(PubAck::new(message.pkid, None))).await;
                sender.try_send(message).unwrap();
            }
            Packet::PingReq => peer.send(Packet::PingResp).await,
            Packet::Disconnect(_) => return,
            other => panic!("{other:?}"),
        }
    }
}

impl Peer {
    /// The next packet; none at the end of the connection.
    pub(super) async fn receive(&mut self) -> Option<Packet> {
        loop {
            // An error says that bytes are missing: what the client sends is well-formed.
            if let Ok(packet) = Packet::read(&mut self.buffer, None) {
                return Some(packet);
            }
            let read = timeout(PATIENCE, self.socket.read_buf(&mut self.buffer)).await.expect("a packet in time");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn consent(&mut self, session_present: bool) {
        let code = ConnectReturnCode::Success;
        self.send(Packet::ConnAck(ConnAck { session_present, code, properties: None })).await;
    }

    pub(super) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.socket.write_all(&bytes).await.unwrap();
    }

    /// Answers the SUBSCRIBE that comes next; its filter.
    pub(super) async fn grant(&mut self, code: SubscribeReasonCode) -> String {
        let Some(Packet::Subscribe(subscribe)) = self.receive().await else { panic!("no SUBSCRIBE") };
        let pkid = subscribe.pkid;
        self.send(Packet::SubAck(SubAck { pkid, return_codes: vec![code], properties: None })).await;
        subscribe.filters[0].path.clone()
    }

    /// The packet id of the PUBACK that comes next.
    pub(super) async fn acknowledged(&mut self) -> u16 {
        match self.receive().await {
            Some(Packet::PubAck(ack)) => ack.pkid,
            other => panic!("no PUBACK: {other:?}"),
        }
    }

    /// Ends the connection with a reason.
    pub(super) async fn end(&mut self, reason: DisconnectReasonCode) {
        self.send(Packet::Disconnect(Disconnect::new(reason))).await;
    }
}

/// A message at QoS 1 with both credentials.
pub(super) fn publish(packet_id: u16, topic: &str, api_key: &str, body: &str) -> Packet {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let properties = PublishProperties {
        user_properties: vec![pair("api_key", api_key), pair("authorization", "Bearer token")],
        ..PublishProperties::default()
    };
    publish_with(packet_id, topic, properties, body)
}

/// A message at QoS 1, or at QoS 0 with packet id 0.
pub(super) fn publish_with(packet_id: u16, topic: &str, properties: PublishProperties, body: &str) -> Packet {
    let qos = if packet_id == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let message = Publish::new(topic, qos, body.to_owned(), Some(properties));
    Packet::Publish(Publish { pkid: packet_id, ..message })
}
