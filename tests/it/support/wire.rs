//! MQTT as bytes on a socket: for what no client library would send, and for what must be seen packet by packet.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Integration, Server, mqtt::PATIENCE};

/// A packet as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

pub const CONNACK: u8 = 0x20;
pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const SUBACK: u8 = 0x90;
pub const PINGRESP: u8 = 0xd0;
pub const DISCONNECT: u8 = 0xe0;

impl Packet {
    /// Its type, with the flags left out.
    pub fn kind(&self) -> u8 {
        self.first & 0xf0
    }

    /// The packet identifier of an acknowledgement.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    /// The reason of a CONNACK, PUBACK or DISCONNECT; 0 where it is left out.
    pub fn reason(&self) -> u8 {
        let at = match self.kind() {
            CONNACK => 1,
            PUBACK => 2,
            _ => 0,
        };
        self.body.get(at).copied().unwrap_or(0)
    }
}

/// A number as MQTT writes lengths.
pub fn length(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (n % 128) as u8;
        n /= 128;
        if n == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A text or bytes with their length before them.
pub fn field(bytes: &[u8]) -> Vec<u8> {
    let mut field = (bytes.len() as u16).to_be_bytes().to_vec();
    field.extend_from_slice(bytes);
    field
}

/// A packet: first byte, length, body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(length(body.len()));
    bytes.extend_from_slice(body);
    bytes
}

/// A CONNECT for a clean session with a keep-alive of 30 s.
pub fn connect(version: u8, client_id: &str, username: &str, password: &str) -> Vec<u8> {
    connect_for(version, 30, client_id, username, password)
}

/// The same with another keep-alive.
pub fn connect_for(version: u8, keep_alive_s: u8, client_id: &str, username: &str, password: &str) -> Vec<u8> {
    let mut body = field(b"MQTT");
    body.extend([version, 0b1100_0010, 0, keep_alive_s]);
    if version == 5 {
        body.push(0);
    }
    body.extend(field(client_id.as_bytes()));
    body.extend(field(username.as_bytes()));
    body.extend(field(password.as_bytes()));
    packet(0x10, &body)
}

/// A PUBLISH at QoS 1.
pub fn publish(version: u8, topic: &[u8], id: u16, payload: &[u8]) -> Vec<u8> {
    publish_with(version, 0x32, topic, id, payload)
}

/// A PUBLISH with these flags in its first byte; without an identifier at QoS 0.
pub fn publish_with(version: u8, first: u8, topic: &[u8], id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = field(topic);
    if first & 0b0110 != 0 {
        body.extend(id.to_be_bytes());
    }
    if version == 5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(first, &body)
}

/// A SUBSCRIBE to one filter at QoS 1.
pub fn subscribe(version: u8, filter: &[u8], id: u16) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == 5 {
        body.push(0);
    }
    body.extend(field(filter));
    body.push(1);
    packet(0x82, &body)
}

/// A PINGREQ.
pub const PING: [u8; 2] = [0xc0, 0];

/// A connection of bytes.
#[derive(Debug)]
pub struct Wire {
    pub stream: TcpStream,
    pub version: u8,
    unread: Vec<u8>,
}

impl Wire {
    /// Connected, nothing sent.
    pub async fn raw(server: &Server, version: u8) -> Self {
        let stream = TcpStream::connect(server.mqtt_authority()).await.expect("the port is open");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, version, unread: Vec::new() }
    }

    /// With a session of this integration.
    pub async fn open(server: &Server, version: u8, integration: &Integration, client_id: &str) -> Self {
        let mut wire = Self::raw(server, version).await;
        wire.send(&connect(version, client_id, &integration.api_key, &integration.token)).await;
        let answer = wire.packet().await.expect("a CONNACK");
        assert_eq!((answer.kind(), answer.reason()), (CONNACK, 0), "{answer:?}");
        wire
    }

    /// Writes everything; that the other end is closed meanwhile is no failure.
    pub async fn send(&mut self, bytes: &[u8]) {
        let written = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server reads");
        if let Err(error) = written {
            let is_gone = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
            assert!(is_gone, "{error}");
        }
    }

    /// The next packet, or none when the connection was closed first.
    pub async fn packet(&mut self) -> Option<Packet> {
        self.packet_within(PATIENCE).await.expect("a packet or the end")
    }

    /// The same; an error when nothing of it happens in this time.
    pub async fn packet_within(&mut self, patience: Duration) -> Result<Option<Packet>, tokio::time::error::Elapsed> {
        timeout(patience, async {
            loop {
                if let Some((packet, taken)) = parse(&self.unread) {
                    self.unread.drain(..taken);
                    return Some(packet);
                }
                // A reset is an end, too: the server does not read what comes after a packet that it refused.
                match self.stream.read_buf(&mut self.unread).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    /// Everything that comes until the connection is closed.
    pub async fn rest(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(packet) = self.packet().await {
            packets.push(packet);
        }
        packets
    }

    /// Waits for the end; the reason of the DISCONNECT before it.
    pub async fn ended(&mut self) -> Option<u8> {
        let last = self.rest().await.pop()?;
        (last.kind() == DISCONNECT).then(|| last.reason())
    }
}

fn parse(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (mut at, mut size, mut shift) = (1, 0, 0);
    loop {
        let byte = *bytes.get(at)?;
        size |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = bytes.get(at..at + size)?.to_vec();
    Some((Packet { first: bytes[0], body }, at + size))
}
