//! Connections that carry no load: idle ones that only stay open, and slow ones that send a few bytes at a time.
//! Both send `validate_only` batches, so that nothing of theirs is stored.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::connection::Envelope;

/// The request of a member of the crowd: head and body.
#[derive(Debug, Clone)]
pub struct Visit {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Visit {
    /// A `validate_only` batch with one reading of nobody's equipment.
    #[must_use]
    pub fn new(addr: SocketAddr, path: &str, envelope: &Envelope) -> Self {
        let body = br#"{"readings":[{"external_id":"nobody-here","metric":"temperature","value":20.0}]}"#.to_vec();
        let mut head = format!("POST {path}?validate_only=true HTTP/1.1\r\nhost: {addr}\r\n").into_bytes();
        for (name, value) in envelope.headers() {
            if name != "host" && name != "content-encoding" {
                head.extend_from_slice(name.as_str().as_bytes());
                head.extend_from_slice(b": ");
                head.extend_from_slice(value.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
        }
        head.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        Self { head, body }
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
        stream.write_all(&visit.head)?;
        stream.write_all(&visit.body)?;
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
    /// Starts `count` clients that send a byte every 100 ms and come back when they are cut off.
    #[must_use]
    pub fn start(addr: SocketAddr, visit: &Visit, count: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cut = Arc::new(AtomicU64::new(0));
        // One thread serves them all, byte by byte.
        let (stopped, cuts, visit) = (Arc::clone(&stop), Arc::clone(&cut), visit.clone());
        let thread = std::thread::spawn(move || trickle(addr, &visit, count, &stopped, &cuts));
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

fn trickle(addr: SocketAddr, visit: &Visit, count: u32, stop: &AtomicBool, cut: &AtomicU64) {
    let bytes: Vec<u8> = visit.head.iter().chain(&visit.body).copied().collect();
    let mut clients: Vec<(Option<TcpStream>, usize)> = (0..count).map(|_| (None, 0)).collect();
    while !stop.load(Ordering::Relaxed) {
        for (stream, sent) in &mut clients {
            if stream.is_none() {
                *stream = TcpStream::connect(addr).ok();
                *sent = 0;
            }
            let Some(open) = stream else { continue };
            let gone = open.set_nonblocking(true).is_err() || matches!(open.peek(&mut [0u8; 1]), Ok(0));
            if gone || open.write_all(&bytes[*sent..=*sent]).is_err() {
                cut.fetch_add(1, Ordering::Relaxed);
                *stream = None;
                continue;
            }
            *sent += 1;
            if *sent == bytes.len() {
                *stream = None;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
