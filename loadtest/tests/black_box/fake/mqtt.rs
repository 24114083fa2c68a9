//! The fake's MQTT side, with rumqttc's codec as a server would use it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{self, v4};
use rumqttc::v5::mqttbytes::{self as mqttbytes5, v5};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{State, Taken, Wrong, take};

const MAX: usize = 1 << 24;
const READINGS: &str = "grq/v1/i/readings";
const RESULTS: &str = "grq/v1/i/results";

pub(super) async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, wrong: Wrong) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&state);
        let session = tokio::task::spawn(async move {
            let mut peer = Peer { stream, inbox: BytesMut::new(), out: BytesMut::new(), is_v5: false, held: None };
            // How a client's connection ends is seen by the client.
            drop(peer.talk(&shared, wrong).await);
        });
        state.lock().unwrap().sessions.push(session.abort_handle());
    }
}

/// Ends all sessions, and says how many there were. An honest server does so before it answers.
pub(super) async fn suspend(state: &Mutex<State>, wrong: Wrong) -> usize {
    let sessions: Vec<_> = state.lock().unwrap().sessions.drain(..).filter(|session| !session.is_finished()).collect();
    let count = sessions.len();
    let end = async move {
        for session in &sessions {
            session.abort();
        }
        while sessions.iter().any(|session| !session.is_finished()) {
            tokio::task::yield_now().await;
        }
    };
    if wrong == Wrong::SuspendsLate {
        drop(tokio::task::spawn(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            end.await;
        }));
    } else {
        end.await;
    }
    count
}

struct Peer {
    stream: TcpStream,
    inbox: BytesMut,
    out: BytesMut,
    is_v5: bool,
    /// A PUBACK that is late.
    held: Option<Bytes>,
}

/// A publish of either version.
struct Publish {
    packet_id: u16,
    topic: String,
    response_topic: Option<String>,
    correlation: Option<Bytes>,
    payload: Bytes,
}

/// What a payload over 3.1.1 says of whose its result is.
#[derive(serde::Deserialize)]
struct Addressed {
    batch_id: Option<String>,
}

enum Request {
    Publish(Publish),
    Subscribe(u16, String),
    Ack,
    Ping,
}

impl Peer {
    async fn talk(&mut self, state: &Mutex<State>, wrong: Wrong) -> std::io::Result<()> {
        while self.inbox.len() < 2 || self.inbox.len() < level_at(&self.inbox) + 1 {
            self.more().await?;
        }
        self.is_v5 = self.inbox[level_at(&self.inbox)] == 5;
        let login = loop {
            match self.connect() {
                Some(login) => break login,
                None => self.more().await?,
            }
        };
        assert_eq!(login, ("grq_live_x".to_owned(), "token-c".to_owned()));
        self.stream.write_all(if self.is_v5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] }).await?;
        let mut filter = None;
        loop {
            while let Some(request) = self.request() {
                match request {
                    Request::Publish(publish) => {
                        assert_eq!(publish.topic, READINGS);
                        let taken = take(&mut state.lock().unwrap(), &publish.payload, false, wrong);
                        let Taken::Answered(status, result) = taken else { return Ok(()) };
                        self.answer(&publish, status, result, filter.as_deref(), wrong);
                    }
                    Request::Subscribe(packet_id, topic) => {
                        assert!(topic.starts_with(RESULTS));
                        let [high, low] = packet_id.to_be_bytes();
                        let granted =
                            if self.is_v5 { vec![0x90, 4, high, low, 0, 1] } else { vec![0x90, 3, high, low, 1] };
                        self.out.extend(granted);
                        filter = Some(topic);
                    }
                    Request::Ping => self.out.extend_from_slice(&[0xD0, 0]),
                    Request::Ack => (),
                }
            }
            if self.held.is_some() {
                // The next publish overtakes it, if one comes soon.
                if let Ok(more) = tokio::time::timeout(Duration::from_millis(50), self.more()).await {
                    more?;
                    continue;
                }
                self.out.extend(self.held.take().unwrap_or_default());
            }
            let out = self.out.split();
            self.stream.write_all(&out).await?;
            self.more().await?;
        }
    }

    async fn more(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn connect(&mut self) -> Option<(String, String)> {
        if self.is_v5 {
            match v5::Packet::read(&mut self.inbox, Some(MAX as u32)) {
                Ok(v5::Packet::Connect(_, _, Some(login))) => Some((login.username, login.password)),
                Err(mqttbytes5::Error::InsufficientBytes(_)) => None,
                other => panic!("{other:?}"),
            }
        } else {
            match v4::Packet::read(&mut self.inbox, MAX) {
                Ok(v4::Packet::Connect(connect)) => connect.login.map(|login| (login.username, login.password)),
                Err(mqttbytes::Error::InsufficientBytes(_)) => None,
                other => panic!("{other:?}"),
            }
        }
    }

    fn request(&mut self) -> Option<Request> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some(if self.is_v5 {
            match v5::Packet::read(&mut self.inbox, Some(MAX as u32)) {
                Ok(v5::Packet::Publish(publish)) => {
                    let properties = publish.properties.unwrap_or_default();
                    Request::Publish(Publish {
                        packet_id: publish.pkid,
                        topic: text(&publish.topic),
                        response_topic: properties.response_topic,
                        correlation: properties.correlation_data,
                        payload: publish.payload,
                    })
                }
                Ok(v5::Packet::Subscribe(subscribe)) => {
                    Request::Subscribe(subscribe.pkid, subscribe.filters[0].path.clone())
                }
                Ok(v5::Packet::PubAck(_)) => Request::Ack,
                Ok(v5::Packet::PingReq(_)) => Request::Ping,
                Err(mqttbytes5::Error::InsufficientBytes(_)) => return None,
                other => panic!("{other:?}"),
            }
        } else {
            match v4::Packet::read(&mut self.inbox, MAX) {
                Ok(v4::Packet::Publish(publish)) => Request::Publish(Publish {
                    packet_id: publish.pkid,
                    topic: publish.topic,
                    response_topic: None,
                    correlation: None,
                    payload: publish.payload,
                }),
                Ok(v4::Packet::Subscribe(subscribe)) => {
                    Request::Subscribe(subscribe.pkid, subscribe.filters[0].path.clone())
                }
                Ok(v4::Packet::PubAck(_)) => Request::Ack,
                Ok(v4::Packet::PingReq) => Request::Ping,
                Err(mqttbytes::Error::InsufficientBytes(_)) => return None,
                other => panic!("{other:?}"),
            }
        })
    }

    /// The result and the PUBACK of a publish. What HTTP would answer with 503 is a rate limit here.
    fn answer(&mut self, publish: &Publish, status: u16, mut result: Value, filter: Option<&str>, wrong: Wrong) {
        let reason = match status {
            200 | 207 => 0,
            503 => {
                result = json!({"status": 429, "code": "rate_limited"});
                0x97
            }
            _ => 0x99,
        };
        if filter.is_some() && wrong != Wrong::KeepsResults {
            self.send_result(publish, result);
        }
        let [high, low] = publish.packet_id.to_be_bytes();
        let ack = match (self.is_v5, reason) {
            (true, 1..) => Bytes::copy_from_slice(&[0x40, 3, high, low, reason]),
            _ => Bytes::copy_from_slice(&[0x40, 2, high, low]),
        };
        if let Some(held) = self.held.take() {
            self.out.extend_from_slice(&ack);
            self.out.extend_from_slice(&held);
        } else if wrong == Wrong::AcksOutOfOrder {
            self.held = Some(ack);
        } else {
            self.out.extend_from_slice(&ack);
        }
    }

    fn send_result(&mut self, publish: &Publish, mut result: Value) {
        if self.is_v5 {
            let properties = v5::PublishProperties {
                correlation_data: publish.correlation.clone(),
                ..v5::PublishProperties::default()
            };
            let topic = publish.response_topic.as_deref().unwrap_or(RESULTS);
            let mut message =
                v5::Publish::new(topic, mqttbytes5::QoS::AtLeastOnce, result.to_string(), Some(properties));
            message.pkid = publish.packet_id;
            message.write(&mut self.out).unwrap();
        } else {
            let addressed: Addressed = serde_json::from_slice(&publish.payload).unwrap();
            result["batch_id"] = addressed.batch_id.into();
            let mut message = v4::Publish::new(RESULTS, mqttbytes::QoS::AtLeastOnce, result.to_string());
            message.pkid = publish.packet_id;
            message.write(&mut self.out).unwrap();
        }
    }
}

/// Where the protocol level of a CONNECT stands.
fn level_at(bytes: &[u8]) -> usize {
    let length = bytes[1..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    1 + length + 6
}
