//! Sessions that carry no load, on plain sockets: ones that connect, subscribe, publish once and stay.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Bytes, BytesMut};

use super::packet::{self, Incoming, Reason};
use super::{Client, Gateway};
use crate::profile::Version;

/// Readings in the one batch that an idle session publishes: of full size, so that its buffers have been in use.
const READINGS: usize = 500;

/// A batch of nobody's equipment: every entry of it is refused, and nothing is stored.
#[must_use]
pub fn nobodys_batch(readings: usize) -> Bytes {
    let entry =
        r#"{"external_id":"nobody-here","metric":"temperature","value":20.0,"unit":"C","timestamp":1767607200}"#;
    Bytes::from(format!("{{\"readings\":[{}]}}", vec![entry; readings].join(",")))
}

/// Opens `count` sessions, each of which subscribes to its results, publishes one batch of full size and then stays
/// idle. Keep what it gives to keep them.
///
/// # Errors
///
/// When one cannot be opened or is not answered as it should be.
pub fn idle(gateways: &[Gateway], version: Version, names: &str, count: u32) -> Result<Vec<TcpStream>> {
    let batch = nobodys_batch(READINGS);
    let mut sessions = Vec::with_capacity(count as usize);
    for number in 0..count {
        let gateway = &gateways[number as usize % gateways.len()];
        let client = Client { id: format!("{names}-{number}"), version, results: true };
        let session = visit(gateway, &client, &batch)
            .with_context(|| format!("idle session {number} of {count}: more open files allowed (ulimit -n)?"))?;
        sessions.push(session);
    }
    Ok(sessions)
}

fn visit(gateway: &Gateway, client: &Client, batch: &Bytes) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(gateway.addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    let (mut out, mut inbox) = (BytesMut::new(), BytesMut::new());
    packet::connect(client, gateway, &mut out);
    stream.write_all(&out)?;
    match next(&mut stream, client.version, &mut inbox)? {
        Incoming::Connected { refusal: None, .. } => (),
        other => bail!("CONNECT was answered by {other:?}"),
    }
    out.clear();
    packet::subscribe(client.version, &gateway.results_of(client), 1, &mut out);
    packet::publish(client.version, &gateway.topic, 2, batch.clone(), None, &mut out);
    stream.write_all(&out)?;
    let mut is_subscribed = false;
    loop {
        match next(&mut stream, client.version, &mut inbox)? {
            Incoming::Subscribed { is_granted: true } => is_subscribed = true,
            Incoming::Message { packet_id: Some(packet_id), .. } => {
                out.clear();
                packet::acknowledge(client.version, packet_id, &mut out);
                stream.write_all(&out)?;
            }
            Incoming::Message { packet_id: None, .. } => (),
            Incoming::Acked { packet_id: 2, reason: None | Some(Reason::PayloadFormatInvalid) } => break,
            other => bail!("a subscription and a batch of nobody's equipment were answered by {other:?}"),
        }
    }
    ensure!(is_subscribed, "PUBACK before SUBACK");
    Ok(stream)
}

/// Leaves a stored session behind that has subscribed to the readings.
///
/// # Errors
///
/// When the server refuses.
pub fn leave_subscription(gateway: &Gateway) -> Result<()> {
    let mut stream = TcpStream::connect(gateway.addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut out, mut inbox) = (BytesMut::new(), BytesMut::new());
    packet::connect_stored("keeper", &mut out);
    packet::subscribe(Version::V311, &gateway.topic, 1, &mut out);
    stream.write_all(&out)?;
    for _ in 0..2 {
        match next(&mut stream, Version::V311, &mut inbox)? {
            Incoming::Connected { refusal: None, .. } | Incoming::Subscribed { is_granted: true } => (),
            other => bail!("a stored session was answered by {other:?}"),
        }
    }
    Ok(())
}

fn next(stream: &mut TcpStream, version: Version, inbox: &mut BytesMut) -> Result<Incoming> {
    loop {
        if let Some(incoming) = packet::read(version, inbox).map_err(|malformed| anyhow!(malformed.0))? {
            return Ok(incoming);
        }
        let mut bytes = [0u8; 4096];
        let got = stream.read(&mut bytes).context("no answer")?;
        ensure!(got > 0, "the connection was closed");
        inbox.extend_from_slice(&bytes[..got]);
    }
}

/// Takes those out of `sessions` that the server has closed. What it said before is read and dropped.
///
/// # Errors
///
/// When a socket cannot be asked.
pub fn drop_closed(sessions: &mut Vec<TcpStream>) -> Result<()> {
    let mut bytes = [0u8; 4096];
    for stream in &*sessions {
        stream.set_nonblocking(true)?;
    }
    sessions.retain_mut(|stream| {
        loop {
            match stream.read(&mut bytes) {
                Ok(1..) => (),
                Ok(0) => break false,
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
        }
    });
    Ok(())
}
