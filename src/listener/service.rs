//! The service of one connection: adds the peer to each request and notes what the connection is doing.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;
use hyper::{Request, body::Incoming};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::{Service, ServiceExt};

use super::{Peer, Stream};

/// Any error of a response body.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A response with a body of type `B`.
pub(super) type Answer<B> = hyper::Response<B>;

/// What a port's service must be: the bounds of [`serve`](super::serve()) under one name.
pub(super) trait Handler:
    Service<Request<Incoming>, Response = Answer<Self::Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> Handler for S
where
    S: Service<Request<Incoming>, Response = Answer<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

/// What one connection is doing. Only its own task (and its HTTP/2 streams) write here, so all of it is relaxed.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    answered: AtomicU64,
    /// Successful reads and writes so far: no change means that nothing moves.
    moves: AtomicU64,
    /// Something was read since the last answer: perhaps the beginning of the next request.
    read_on: AtomicBool,
    /// The last write did not fit into the socket's buffer: the client does not read.
    blocked: AtomicBool,
}

/// One look at an [`Activity`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Reads and writes so far.
    pub(super) moves: u64,
    /// Requests begun so far.
    pub(super) requests: u64,
    /// Requests without an answer yet.
    pub(super) is_busy: bool,
    /// Between two requests: the last is answered, and nothing of the next has come.
    pub(super) is_between_requests: bool,
    /// The client does not read what we write.
    pub(super) is_blocked: bool,
}

impl Activity {
    pub(super) fn look(&self) -> Look {
        let (begun, answered) = (self.begun.load(Relaxed), self.answered.load(Relaxed));
        let is_busy = begun != answered;
        let is_blocked = self.blocked.load(Relaxed);
        Look {
            moves: self.moves.load(Relaxed),
            requests: begun,
            is_busy,
            is_between_requests: answered > 0 && !is_busy && !is_blocked && !self.read_on.load(Relaxed),
            is_blocked,
        }
    }
}

/// Wraps the port's service for one connection.
pub(super) struct Tracked<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) in_flight: metrics::Gauge,
}

// Nothing here is pinned in place: the inner service is cloned for each request.
impl<S> Unpin for Tracked<S> {}

impl<S: Handler> hyper::service::Service<Request<Incoming>> for Tracked<S> {
    type Response = Answer<S::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer<S::Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        let flight = Flight::begin(&self.activity, &self.in_flight);
        let answer = self.service.clone().oneshot(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(flight);
            answer
        })
    }
}

/// One request in flight; ends with its answer, or when the client gives up.
struct Flight {
    activity: Arc<Activity>,
    in_flight: metrics::Gauge,
}

impl Flight {
    fn begin(activity: &Arc<Activity>, in_flight: &metrics::Gauge) -> Self {
        activity.begun.fetch_add(1, Relaxed);
        in_flight.increment(1.0);
        Self { activity: Arc::clone(activity), in_flight: in_flight.clone() }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.activity.read_on.store(false, Relaxed);
        self.activity.answered.fetch_add(1, Relaxed);
        self.in_flight.decrement(1.0);
    }
}

/// A connection's bytes, noting what moves.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: Stream,
    pub(super) activity: Arc<Activity>,
}

impl Watched {
    fn note_write<T>(&self, result: Poll<T>) -> Poll<T> {
        if result.is_ready() {
            self.activity.moves.fetch_add(1, Relaxed);
        }
        self.activity.blocked.store(result.is_pending(), Relaxed);
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if result.is_ready() {
            self.activity.moves.fetch_add(1, Relaxed);
            self.activity.read_on.store(true, Relaxed);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_pending() {
            self.activity.blocked.store(true, Relaxed);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
