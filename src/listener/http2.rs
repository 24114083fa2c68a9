//! HTTP/2 on one connection, by prior knowledge or by ALPN.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    Config, Peer, Stream,
    connection::Host,
    service::{Activity, Handler, Watched},
};
use crate::telemetry::task;

/// Runs each stream's request in a task of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamTasks;

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        task::spawn("http2 stream", future);
    }
}

/// The limits of HTTP/2; those against rapid reset are hyper's defaults, spelled out so that they stay.
pub(super) fn builder(config: &Config) -> hyper::server::conn::http2::Builder<StreamTasks> {
    let mut builder = hyper::server::conn::http2::Builder::new(StreamTasks);
    builder
        .timer(hyper_util::rt::TokioTimer::new())
        .max_concurrent_streams(config.h2_streams_max)
        .max_header_list_size(config.h2_header_list_bytes_max)
        .initial_stream_window_size(config.h2_stream_window_bytes)
        .initial_connection_window_size(config.h2_connection_window_bytes)
        .max_pending_accept_reset_streams(config.h2_resets_pending_max)
        .max_local_error_reset_streams(config.h2_resets_local_max)
        .max_send_buf_size(config.buffer_bytes_max)
        .keep_alive_interval(Duration::from_secs(config.h2_ping_interval_s))
        .keep_alive_timeout(Duration::from_secs(config.h2_ping_timeout_s));
    builder
}

/// Serves the connection to its end.
pub(super) async fn serve<S: Handler>(host: &Host<S>, stream: Stream, peer: Peer) {
    let activity = Arc::new(Activity::default());
    let config = &host.gate.config;
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let mut http = host.http2.serve_connection(io, host.tracked(peer, &activity));
    let mut ticks = interval_at(Instant::now() + config.park_after(), config.park_after());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ends_at = host.ends_at();
    let mut requests = Requests::default();
    let mut ending_since = None;
    loop {
        tokio::select! {
            biased;
            // Also an error is an end: there is nobody left to tell, and the client has had its GOAWAY.
            _ended = Pin::new(&mut http) => return,
            () = host.shutdown.cancelled(), if ending_since.is_none() => {}
            now = ticks.tick() => {
                let is_idle = requests.idle_for(&activity, now) >= config.idle_timeout();
                match ending_since {
                    // The client ignores our GOAWAY, or does not read.
                    Some(since) if is_idle && now.duration_since(since) >= config.idle_timeout() => return,
                    None if is_idle || now >= ends_at => {}
                    _ => continue,
                }
            }
        }
        ending_since = Some(Instant::now());
        Pin::new(&mut http).graceful_shutdown();
    }
}

/// How long no request has begun, ended, or been in work. Pings move bytes, so bytes say nothing here.
struct Requests {
    count: u64,
    since: Instant,
}

impl Default for Requests {
    fn default() -> Self {
        Self { count: 0, since: Instant::now() }
    }
}

impl Requests {
    fn idle_for(&mut self, activity: &Activity, now: Instant) -> Duration {
        let look = activity.look();
        if look.requests != self.count || (look.is_busy && !look.is_blocked) {
            (self.count, self.since) = (look.requests, now);
        }
        now.duration_since(self.since)
    }
}
