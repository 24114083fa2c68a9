//! A client of MQTT 5 over any stream, packet by packet; the packets are rumqttc's.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use rumqttc::v5::mqttbytes::{self, v5};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Integration, Server};

const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// The client.
pub struct Five {
    pub readings: String,
    pub results: String,
    stream: Box<dyn Duplex>,
    read: BytesMut,
}

impl Five {
    /// A client that is connected on the plain port.
    pub async fn open(server: &Server, sender: &Integration, client_id: &str) -> Self {
        Self::try_open(server, sender, client_id).await.unwrap_or_else(|code| panic!("refused with {code:#x}"))
    }

    /// The same, or the code of the refusal.
    pub async fn try_open(server: &Server, sender: &Integration, client_id: &str) -> Result<Self, u8> {
        let address = server.mqtt_url.trim_start_matches("mqtt://");
        Self::over(TcpStream::connect(address).await.expect("a connection"), sender, client_id).await
    }

    /// The same over a stream of one's own.
    pub async fn over(stream: impl Duplex + 'static, sender: &Integration, client_id: &str) -> Result<Self, u8> {
        let (readings, results) = (format!("grq/v1/{}/readings", sender.id), format!("grq/v1/{}/results", sender.id));
        let mut five = Self { readings, results, stream: Box::new(stream), read: BytesMut::new() };
        let login = v5::Login { username: sender.api_key.clone(), password: sender.token.clone() };
        let connect =
            v5::Connect { keep_alive: 60, client_id: client_id.to_owned(), clean_start: true, properties: None };
        five.send(v5::Packet::Connect(connect, None, Some(login))).await;
        // Read raw: rumqttc does not know every code.
        five.whole().await;
        match five.read[..] {
            [0x20, _, 0, 0, ..] => {
                let _welcome = five.next().await;
                Ok(five)
            }
            [0x20, length, ..] => Err(five.read[if length < 0x80 { 3 } else { 4 }]),
            ref other => panic!("{other:02x?}"),
        }
    }

    /// Sends a packet. That the connection has ended shows with the next one that is read.
    pub async fn send(&mut self, packet: v5::Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).expect("a packet");
        let _ended = timeout(PATIENCE, self.stream.write_all(&bytes)).await.expect("in time");
    }

    /// Sends bytes that need not be a packet.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ended = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("in time");
    }

    /// Publishes to the own readings at QoS 1.
    pub async fn publish(&mut self, packet_id: u16, body: &str) {
        let mut publish = v5::Publish::new(self.readings.clone(), mqttbytes::QoS::AtLeastOnce, body.to_owned(), None);
        publish.pkid = packet_id;
        self.send(v5::Packet::Publish(publish)).await;
    }

    /// Publishes, and gives the reason of the acknowledgement.
    pub async fn exchange(&mut self, packet_id: u16, body: &str) -> u8 {
        self.try_exchange(packet_id, body).await.expect("an acknowledgement")
    }

    /// The same, or nothing where the session ended.
    pub async fn try_exchange(&mut self, packet_id: u16, body: &str) -> Option<u8> {
        self.publish(packet_id, body).await;
        if !self.whole().await || self.read[0] == 0xe0 {
            return None;
        }
        match self.next().await {
            v5::Packet::PubAck(ack) if ack.pkid == packet_id => Some(ack.reason as u8),
            other => panic!("{other:?}"),
        }
    }

    /// The next packet.
    pub async fn next(&mut self) -> v5::Packet {
        assert!(self.whole().await, "the connection ended");
        v5::Packet::read(&mut self.read, None).expect("a packet that rumqttc can read")
    }

    /// A ping, and that the session answers it.
    pub async fn ping(&mut self) {
        self.send(v5::Packet::PingReq(v5::PingReq)).await;
        assert!(matches!(self.next().await, v5::Packet::PingResp(_)));
    }

    /// The packet ids that are acknowledged before the session ends, and the reason of its DISCONNECT.
    pub async fn end(mut self) -> (Vec<u16>, Option<u8>) {
        let mut acked = Vec::new();
        while self.whole().await {
            match self.read[..] {
                [0x40, length, high, low, ..] => {
                    acked.push(u16::from_be_bytes([high, low]));
                    self.read.advance(usize::from(length) + 2);
                }
                [0xe0, _, reason, ..] => return (acked, Some(reason)),
                ref other => panic!("{other:02x?}"),
            }
        }
        (acked, None)
    }

    /// Waits until a whole packet is there; false at the end of the connection.
    async fn whole(&mut self) -> bool {
        while whole_packet(&self.read).is_none() {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("something in time");
            if read.unwrap_or(0) == 0 {
                return false;
            }
        }
        true
    }
}

/// The length of the packet at the front, once all of it is there. None of ours is longer than 16 KB.
fn whole_packet(bytes: &[u8]) -> Option<usize> {
    let (low, high) = (usize::from(*bytes.get(1)?), usize::from(*bytes.get(2).unwrap_or(&0)));
    let total = if low < 0x80 { 2 + low } else { 3 + (low & 0x7f) + (high << 7) };
    (bytes.len() >= total.max(2)).then_some(total)
}
