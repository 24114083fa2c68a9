//! One HTTP connection from its first byte to its last: which version, how long it may be silent, how it ends.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Connection, Peer, Stream,
    accept::Gate,
    http1::{self, Ended},
    http2,
    instruments::{Present, Refusal},
    service::{Activity, Handler, Tracked},
};

/// What a client with prior knowledge of HTTP/2 sends first (RFC 9113 §3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long and for how many bytes we go on reading after the last answer, so that a client that is still sending
/// its too large body sees the answer instead of a reset connection.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// What all HTTP connections of one port share.
pub(super) struct Host<S> {
    pub(super) gate: Arc<Gate>,
    pub(super) service: S,
    pub(super) shutdown: CancellationToken,
    pub(super) http1: hyper::server::conn::http1::Builder,
    pub(super) http2: hyper::server::conn::http2::Builder<http2::StreamTasks>,
}

enum Version {
    Http1,
    Http2,
}

/// What waiting for a connection's next bytes came to.
enum Next {
    Bytes(Version),
    /// The client left, or the port is shutting down.
    Ended,
    /// Nothing, for too long.
    Silence,
}

impl<S: Handler> Host<S> {
    /// The port's service as `peer`'s connection sees it.
    pub(super) fn tracked(&self, peer: Peer, activity: &Arc<Activity>) -> Tracked<S> {
        Tracked {
            service: self.service.clone(),
            peer,
            activity: Arc::clone(activity),
            in_flight: self.gate.instruments.requests_in_flight.clone(),
        }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(self: Arc<Self>, connection: Connection) {
        let Connection { mut stream, peer, places } = connection;
        let config = &self.gate.config;
        let first = self.next_bytes(&mut stream, config.first_byte_timeout()).await;
        match first {
            Next::Bytes(Version::Http2) => Box::pin(http2::serve(&self, stream, peer)).await,
            Next::Bytes(Version::Http1) => {
                let ends_at = self.ends_at();
                loop {
                    // Boxed, and gone while the connection is parked: an idle connection is a socket and little else.
                    match Box::pin(http1::serve(&self, stream, peer, ends_at)).await {
                        Ended::Parked(parked) => stream = parked,
                        Ended::Finished(finished) => break Box::pin(linger(finished)).await,
                        Ended::Broken => break,
                    }
                    let _parked = Present::count(&self.gate.instruments.parked);
                    let patience = config.idle_timeout().min(ends_at.saturating_duration_since(Instant::now()));
                    if !matches!(self.next_bytes(&mut stream, patience).await, Next::Bytes(_)) {
                        break;
                    }
                }
            }
            Next::Silence => self.gate.instruments.refuse(Refusal::Silent),
            Next::Ended => {}
        }
        drop(places);
    }

    /// Waits for the connection's next bytes, at most for `patience`, looks at them and puts them back.
    async fn next_bytes(&self, stream: &mut Stream, patience: Duration) -> Next {
        tokio::select! {
            sniffed = timeout(patience, sniff(stream)) => match sniffed {
                Ok(Ok(Some(version))) => Next::Bytes(version),
                Ok(Ok(None) | Err(_)) => Next::Ended,
                Err(_late) => Next::Silence,
            },
            () = self.shutdown.cancelled() => Next::Ended,
        }
    }

    /// When the connection is too old: by then load balancers and DNS may have moved, and a fleet that connected in
    /// one moment should not come back in one moment, hence the spread of ± 10 %.
    pub(super) fn ends_at(&self) -> Instant {
        use std::hash::BuildHasher;
        const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);
        let age_max = match self.gate.config.connection_age_max_s {
            0 => NEVER,
            seconds => {
                let spread = std::hash::RandomState::new().hash_one(()) % 2_001;
                Duration::from_millis(seconds.saturating_mul(900 + spread / 10))
            }
        };
        Instant::now() + age_max.min(NEVER)
    }
}

/// Which HTTP version the first bytes speak; they are put back. `None` at the end of the stream.
async fn sniff(stream: &mut Stream) -> io::Result<Option<Version>> {
    let mut first = [0; H2_PREFACE.len()];
    let mut count = stream.read(&mut first).await?;
    if count == 0 {
        return Ok(None);
    }
    let version = match (stream.is_tls(), stream.alpn()) {
        (true, Some(b"h2")) => Version::Http2,
        (true, _) => Version::Http1,
        (false, _) => loop {
            if first[..count] != H2_PREFACE[..count] {
                break Version::Http1;
            }
            if count == first.len() {
                break Version::Http2;
            }
            match stream.read(&mut first[count..]).await? {
                0 => break Version::Http1,
                more => count += more,
            }
        },
    };
    stream.unread(Bytes::copy_from_slice(&first[..count]));
    Ok(Some(version))
}

/// Closes our side, and reads on a little so that the last answer arrives (see [`LINGER_TIME`]).
async fn linger(mut stream: Stream) {
    let read_on = async {
        stream.shutdown().await?;
        let mut discarded = 0;
        let mut scratch = vec![0; 8_192];
        while discarded < LINGER_BYTES_MAX {
            match stream.read(&mut scratch).await? {
                0 => break,
                count => discarded += count,
            }
        }
        Ok::<_, io::Error>(())
    };
    // Whether it went well makes no difference: the connection is over either way.
    let _ended = timeout(LINGER_TIME, read_on).await;
}
