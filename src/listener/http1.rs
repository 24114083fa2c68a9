//! HTTP/1.1 on one connection, and how an idle one is parked.
//!
//! hyper keeps its read buffer (8 KB and more) for as long as its connection object lives. Ten thousand gateways that
//! send once a minute would keep ten thousand buffers for nothing. So a connection that stands between two requests
//! is taken away from hyper and kept as a bare socket, and gets a new connection object with its next byte.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use hyper_util::rt::TokioIo;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    Config, Peer, Stream,
    connection::Host,
    service::{Activity, Handler, Look, Watched},
};

/// How a connection's stay in hyper ended.
pub(super) enum Ended {
    /// It stands between two requests; the socket goes on.
    Parked(Stream),
    /// No more requests on it; the answers are written.
    Finished(Stream),
    /// It is of no use any more: the client does not read.
    Broken,
}

/// The limits of HTTP/1.1.
pub(super) fn builder(config: &Config) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_headers(config.headers_max)
        .max_header_size(config.header_bytes_max)
        .max_buf_size(config.buffer_bytes_max)
        // A client that closes its side after the request still gets its answer, and one that is gone is noticed at
        // its answer: a request that was begun is ended.
        .half_close(true)
        .keep_alive(true);
    builder
}

/// What a look at the connection calls for.
enum Verdict {
    Wait,
    /// Nobody reads our answers.
    Break,
    /// Too old: the request in work is the last.
    End,
    /// Idle between two requests.
    Park,
}

/// Follows whether a connection moves, one look a tick.
struct Pulse {
    moves: u64,
    moved_at: Instant,
}

impl Pulse {
    fn verdict(&mut self, look: Look, now: Instant, ends_at: Instant, config: &Config) -> Verdict {
        let is_moving = look.moves != self.moves;
        if is_moving {
            (self.moves, self.moved_at) = (look.moves, now);
        }
        if look.is_blocked && now.duration_since(self.moved_at) >= config.idle_timeout() {
            Verdict::Break
        } else if now >= ends_at {
            Verdict::End
        } else if look.is_between_requests && !is_moving {
            Verdict::Park
        } else {
            Verdict::Wait
        }
    }
}

/// Serves requests until the connection ends, is too old, is to end with the port, or stands idle.
pub(super) async fn serve<S: Handler>(host: &Host<S>, stream: Stream, peer: Peer, ends_at: Instant) -> Ended {
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let mut http = host.http1.serve_connection(io, host.tracked(peer, &activity));
    let config = &host.gate.config;
    let mut ticks = interval_at(Instant::now() + config.park_after(), config.park_after());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pulse = Pulse { moves: 0, moved_at: Instant::now() };
    let mut is_ending = false;
    loop {
        let is_parking = tokio::select! {
            biased;
            // How it ended makes no difference: what hyper had to say to the client, it has written.
            _ended = poll_fn(|cx| http.poll_without_shutdown(cx)) => {
                return Ended::Finished(http.into_parts().io.into_inner().stream);
            }
            () = host.shutdown.cancelled(), if !is_ending => false,
            now = ticks.tick() => match pulse.verdict(activity.look(), now, ends_at, config) {
                Verdict::Break => return Ended::Broken,
                Verdict::End if !is_ending => false,
                Verdict::Park if !is_ending => true,
                Verdict::Wait | Verdict::End | Verdict::Park => continue,
            },
        };
        // An idle connection is over with this; one at work takes no further request.
        Pin::new(&mut http).graceful_shutdown();
        is_ending = true;
        let polled = poll_fn(|cx| Poll::Ready(http.poll_without_shutdown(cx))).await;
        if let Poll::Ready(result) = polled {
            let parts = http.into_parts();
            let stream = parts.io.into_inner().stream;
            let is_clean = result.is_ok() && parts.read_buf.is_empty();
            return if is_parking && is_clean { Ended::Parked(stream) } else { Ended::Finished(stream) };
        }
    }
}
