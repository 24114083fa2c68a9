//! One session that carries load: publishes in flight, each waiting for its PUBACK and, where asked for, its result.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

use super::packet::{self, Incoming, Reason, Wish};
use super::{Client, Gateway};
use crate::connection::Failure;
use crate::profile::Version;

/// How long CONNACK and SUBACK may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back of a publish.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Over 5: the PUBACK's reason. Over 3.1.1 a PUBACK says nothing but that it came.
    pub reason: Option<Reason>,
    /// Whether it came in the order of the publishes (MQTT 5 §4.6, 3.1.1 §4.6).
    pub is_in_order: bool,
    /// Whether the session still stood when the time for the result was up.
    pub is_overdue: bool,
    /// The result, where the session subscribed and it came in time.
    pub result: Option<Bytes>,
}

/// An open session; clones share it. Must be made and used inside a `LocalSet`.
#[derive(Debug, Clone)]
pub struct Session {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    topic: String,
    response_topic: String,
    out: RefCell<BytesMut>,
    /// There is something in `out`.
    written: Notify,
    /// Somebody wants it to end.
    closing: Notify,
    waiting: RefCell<Vec<Waiting>>,
    end: RefCell<Option<Failure>>,
    last: Cell<u64>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    ack: Option<Ack>,
    result: Option<Bytes>,
    /// Taken once it was told.
    tell: Option<oneshot::Sender<Receipt>>,
}

#[derive(Debug, Clone, Copy)]
struct Ack {
    reason: Option<Reason>,
    is_in_order: bool,
}

/// What a result over 3.1.1 says about whose it is.
#[derive(Deserialize)]
struct Addressed {
    batch_id: String,
}

impl Session {
    /// Connects and, where the client wants results, subscribes. `in_flight` publishes must fit into what the server
    /// takes at once.
    ///
    /// # Errors
    ///
    /// [`Failure::Connect`] and [`Failure::Refused`].
    pub async fn open(gateway: &Gateway, client: &Client, in_flight: u32) -> Result<Self, Failure> {
        let opening = async {
            let mut stream = TcpStream::connect(gateway.addr).await.map_err(|_| Failure::Connect)?;
            stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
            let mut hello = BytesMut::new();
            packet::connect(client, gateway, &mut hello);
            let mut inbox = BytesMut::new();
            let connected = ask(&mut stream, client.version, &hello, &mut inbox).await?;
            let Incoming::Connected { refusal, receive_max, keep_alive_s } = connected else {
                return Err(Failure::Refused("no CONNACK".to_owned()));
            };
            if let Some(refusal) = refusal {
                return Err(Failure::Refused(format!("CONNACK {refusal}")));
            }
            if u32::from(receive_max) < in_flight {
                return Err(Failure::Refused(format!("receive maximum {receive_max}: less than mqtt.in_flight")));
            }
            if client.results {
                let mut wish = BytesMut::new();
                packet::subscribe(client.version, &gateway.results_of(client), 1, &mut wish);
                match ask(&mut stream, client.version, &wish, &mut inbox).await? {
                    Incoming::Subscribed { is_granted: true } => (),
                    other => return Err(Failure::Refused(format!("SUBSCRIBE: {other:?}"))),
                }
            }
            Ok((stream, inbox, keep_alive_s))
        };
        let (stream, inbox, keep_alive_s) =
            tokio::time::timeout(PATIENCE, opening).await.unwrap_or(Err(Failure::Timeout))?;
        let shared = Rc::new(Shared {
            client: client.clone(),
            topic: gateway.topic.clone(),
            response_topic: gateway.results_of(client),
            out: RefCell::default(),
            written: Notify::new(),
            closing: Notify::new(),
            waiting: RefCell::default(),
            end: RefCell::default(),
            last: Cell::new(0),
        });
        let silence = Duration::from_secs(u64::from(keep_alive_s.max(2)) / 2);
        drop(tokio::task::spawn_local(drive(Rc::clone(&shared), stream, inbox, silence)));
        Ok(Self { shared })
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.end.borrow().is_some()
    }

    /// Publishes one batch and waits for what becomes of it.
    ///
    /// After `timeout` without a PUBACK the session is ended: nobody resends but after a reconnect.
    ///
    /// # Errors
    ///
    /// Any [`Failure`]; the session is of no use afterwards.
    pub async fn publish(&self, payload: Bytes, timeout: Duration) -> Result<Receipt, Failure> {
        let shared = &self.shared;
        if self.has_ended() {
            return Err(Failure::Stale);
        }
        let number = shared.last.get() + 1;
        shared.last.set(number);
        let (tell, told) = oneshot::channel();
        shared.waiting.borrow_mut().push(Waiting { number, ack: None, result: None, tell: Some(tell) });
        let wish = shared
            .client
            .results
            .then(|| Wish { ticket: shared.ticket(number), response_topic: shared.response_topic.clone() });
        let version = shared.client.version;
        packet::publish(version, &shared.topic, packet_id(number), payload, wish, &mut shared.out.borrow_mut());
        shared.written.notify_one();
        let outcome = tokio::time::timeout(timeout, told).await;
        let waiting = shared.take(number);
        match outcome {
            Ok(Ok(receipt)) => Ok(receipt),
            // Over 5 the PUBACK alone is the promise, whether or not the result came as well.
            no_result => {
                match (waiting.filter(Waiting::is_promised).and_then(|waiting| waiting.receipt()), no_result) {
                    (Some(receipt), no_result) => Ok(Receipt { is_overdue: no_result.is_err(), ..receipt }),
                    (None, Ok(_)) => Err(shared.end.borrow().clone().unwrap_or(Failure::Cut)),
                    (None, Err(_)) => {
                        shared.closing.notify_one();
                        Err(Failure::Timeout)
                    }
                }
            }
        }
    }
}

/// The packet id of the publish with this running number: no two in flight have the same.
fn packet_id(number: u64) -> u16 {
    (number % 65_535) as u16 + 1
}

impl Waiting {
    fn is_promised(&self) -> bool {
        self.ack.is_some_and(|ack| ack.reason == Some(Reason::Success))
    }

    fn receipt(&self) -> Option<Receipt> {
        let Ack { reason, is_in_order } = self.ack?;
        Some(Receipt { reason, is_in_order, is_overdue: false, result: self.result.clone() })
    }
}

impl Shared {
    fn ticket(&self, number: u64) -> String {
        format!("{}-{number}", self.client.id)
    }

    fn take(&self, number: u64) -> Option<Waiting> {
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.iter().position(|waiting| waiting.number == number)?;
        Some(waiting.remove(place))
    }

    /// Handles what came; `Err` is the end of the session.
    fn handle(&self, incoming: Incoming) -> Result<(), Failure> {
        match incoming {
            Incoming::Acked { packet_id: acked, reason } => {
                let mut waiting = self.waiting.borrow_mut();
                let first = waiting.iter().position(|waiting| waiting.ack.is_none());
                let place = waiting
                    .iter()
                    .position(|waiting| waiting.ack.is_none() && packet_id(waiting.number) == acked)
                    .ok_or_else(|| Failure::Protocol(format!("PUBACK of {acked}, which is not in flight")))?;
                waiting[place].ack = Some(Ack { reason, is_in_order: Some(place) == first });
                self.tell(&mut waiting[place]);
            }
            Incoming::Message { correlation, packet_id, payload } => {
                if let Some(packet_id) = packet_id {
                    packet::acknowledge(self.client.version, packet_id, &mut self.out.borrow_mut());
                    self.written.notify_one();
                }
                let ticket = match correlation {
                    Some(ticket) => String::from_utf8(ticket.to_vec()).ok(),
                    None => serde_json::from_slice(&payload).ok().map(|addressed: Addressed| addressed.batch_id),
                };
                let mut waiting = self.waiting.borrow_mut();
                // Over 3.1.1 the results of the integration's other sessions come here too.
                let Some(mine) =
                    ticket.and_then(|ticket| waiting.iter_mut().find(|waiting| self.ticket(waiting.number) == ticket))
                else {
                    return Ok(());
                };
                mine.result = Some(payload);
                self.tell(mine);
            }
            Incoming::Ended(reason) => return Err(Failure::Ended(reason)),
            Incoming::Connected { .. } | Incoming::Subscribed { .. } => {
                return Err(Failure::Protocol(format!("{incoming:?}, which nobody had asked for")));
            }
            Incoming::Other => (),
        }
        Ok(())
    }

    /// Tells who waits, once everything is there that they wait for.
    fn tell(&self, waiting: &mut Waiting) {
        if self.client.results && waiting.result.is_none() {
            return;
        }
        if let Some(receipt) = waiting.receipt()
            && let Some(tell) = waiting.tell.take()
        {
            // Who waited may have given up meanwhile: then there is nobody to tell.
            drop(tell.send(receipt));
        }
    }
}

/// Moves the bytes of a session until it ends, and tells everybody who still waits.
async fn drive(shared: Rc<Shared>, stream: TcpStream, inbox: BytesMut, silence: Duration) {
    let (reader, writer) = stream.into_split();
    let end = tokio::select! {
        end = read(&shared, reader, inbox, silence) => end,
        end = write(&shared, writer) => end,
        () = shared.closing.notified() => Failure::Cut,
    };
    *shared.end.borrow_mut() = Some(end);
    for waiting in shared.waiting.borrow_mut().iter_mut() {
        drop(waiting.tell.take());
    }
}

async fn read(shared: &Shared, mut reader: OwnedReadHalf, mut inbox: BytesMut, silence: Duration) -> Failure {
    loop {
        loop {
            match packet::read(shared.client.version, &mut inbox) {
                Ok(None) => break,
                Ok(Some(incoming)) => {
                    if let Err(end) = shared.handle(incoming) {
                        return end;
                    }
                }
                Err(malformed) => return Failure::Protocol(malformed.0),
            }
        }
        match tokio::time::timeout(silence, reader.read_buf(&mut inbox)).await {
            Ok(Ok(1..)) => (),
            Ok(Ok(0) | Err(_)) => return Failure::Cut,
            Err(_) => {
                packet::ping(&mut shared.out.borrow_mut());
                shared.written.notify_one();
            }
        }
    }
}

async fn write(shared: &Shared, mut writer: OwnedWriteHalf) -> Failure {
    loop {
        shared.written.notified().await;
        loop {
            let bytes = shared.out.borrow_mut().split();
            if bytes.is_empty() {
                break;
            }
            if writer.write_all(&bytes).await.is_err() {
                // What the server said last explains more than a broken pipe: the reader comes upon it.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Sends `request` and reads the one packet that answers it.
async fn ask(
    stream: &mut TcpStream,
    version: Version,
    request: &BytesMut,
    inbox: &mut BytesMut,
) -> Result<Incoming, Failure> {
    stream.write_all(request).await.map_err(|_| Failure::Connect)?;
    loop {
        match packet::read(version, inbox) {
            Ok(Some(incoming)) => return Ok(incoming),
            Ok(None) => (),
            Err(malformed) => return Err(Failure::Protocol(malformed.0)),
        }
        if stream.read_buf(inbox).await.map_err(|_| Failure::Connect)? == 0 {
            return Err(Failure::Connect);
        }
    }
}
