//! Connections that carry no load: idle ones that only stay open, and slow ones that send a few bytes at a time.
//! They send batches of nobody's equipment, over HTTP `validate_only` ones, so that nothing of theirs is stored.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;

use crate::connection::Envelope;
use crate::mqtt::visitor::nobodys_batch;
use crate::mqtt::{Client, Gateway, packet};

/// What a member of the crowd sends.
#[derive(Debug, Clone)]
pub struct Visit {
    /// At once, also by a slow one.
    hello: Vec<u8>,
    /// The rest.
    request: Vec<u8>,
}

impl Visit {
    /// Over HTTP: a `validate_only` batch with one reading of nobody's equipment.
    #[must_use]
    pub fn http(addr: SocketAddr, path: &str, envelope: &Envelope) -> Self {
        let body = nobodys_batch(1);
        let mut request = format!("POST {path}?validate_only=true HTTP/1.1\r\nhost: {addr}\r\n").into_bytes();
        for (name, value) in envelope.headers() {
            if name != "host" && name != "content-encoding" {
                request.extend_from_slice(name.as_str().as_bytes());
                request.extend_from_slice(b": ");
                request.extend_from_slice(value.as_bytes());
                request.extend_from_slice(b"\r\n");
            }
        }
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(&body);
        Self { hello: Vec::new(), request }
    }

    /// Over MQTT: CONNECT at once, and a publish of the same batch.
    #[must_use]
    pub fn mqtt(gateway: &Gateway, client: &Client) -> Self {
        let (mut hello, mut request) = (BytesMut::new(), BytesMut::new());
        packet::connect(client, gateway, &mut hello);
        packet::publish(client.version, &gateway.topic, 1, nobodys_batch(1), None, &mut request);
        Self { hello: hello.to_vec(), request: request.to_vec() }
    }
}

/// Opens `count` connections, each of which makes one request and then stays open. Keep what it gives to keep them.
///
/// # Errors
///
/// When one cannot be opened or gets no answer.
pub fn idle(addr: SocketAddr, visits: &[Visit], count: u32) -> Result<Vec<TcpStream>> {
    let mut connections = Vec::with_capacity(count as usize);
    for number in 0..count {
        let visit = &visits[number as usize % visits.len()];
        let mut stream = TcpStream::connect(addr)
            .with_context(|| format!("idle connection {number} of {count}: more open files allowed (ulimit -n)?"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&visit.request)?;
        let mut answer = [0u8; 4096];
        let got = stream.read(&mut answer).with_context(|| format!("idle connection {number} got no answer"))?;
        ensure!(got > 0, "idle connection {number} was closed");
        connections.push(stream);
    }
    Ok(connections)
}

/// How many of the idle connections the server has kept open.
#[must_use]
pub fn still_open(connections: &[TcpStream]) -> usize {
    connections
        .iter()
        .filter(|stream| {
            let mut byte = [0u8; 1];
            let blocks = stream.set_nonblocking(true).is_ok();
            // Nothing to read and no end: it is open. What was left of an answer counts as open too.
            blocks && !matches!(stream.peek(&mut byte), Ok(0))
        })
        .count()
}

/// Slow clients under way.
#[derive(Debug)]
pub struct Slow {
    stop: Arc<AtomicBool>,
    cut: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Slow {
    /// Starts a client for each visit. It sends a byte every 100 ms, and comes back when it has done or is cut off.
    #[must_use]
    pub fn start(addr: SocketAddr, visits: Vec<Visit>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cut = Arc::new(AtomicU64::new(0));
        // One thread serves them all, byte by byte.
        let (stopped, cuts) = (Arc::clone(&stop), Arc::clone(&cut));
        let thread = std::thread::spawn(move || trickle(addr, &visits, &stopped, &cuts));
        Self { stop, cut, threads: vec![thread] }
    }

    /// Ends them; says how often the server had cut one off.
    #[must_use]
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            drop(thread.join());
        }
        self.cut.load(Ordering::Relaxed)
    }
}

fn trickle(addr: SocketAddr, visits: &[Visit], stop: &AtomicBool, cut: &AtomicU64) {
    let mut clients: Vec<(Option<TcpStream>, usize)> = visits.iter().map(|_| (None, 0)).collect();
    while !stop.load(Ordering::Relaxed) {
        for ((stream, sent), visit) in clients.iter_mut().zip(visits) {
            if stream.is_none() {
                *stream = TcpStream::connect(addr).ok().filter(|mut open| open.write_all(&visit.hello).is_ok());
                *sent = 0;
            }
            let Some(open) = stream else { continue };
            let gone = open.set_nonblocking(true).is_err() || is_closed(open);
            if gone || open.write_all(&visit.request[*sent..=*sent]).is_err() {
                cut.fetch_add(1, Ordering::Relaxed);
                *stream = None;
                continue;
            }
            *sent += 1;
            if *sent == visit.request.len() {
                *stream = None;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the server has closed it; what it said is read and dropped.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0u8; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => (),
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}
