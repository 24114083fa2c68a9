//! MQTT inside WebSocket (RFC 6455, MQTT 5 §6): the HTTP upgrade, and a stream of the bytes in binary frames.
//!
//! Frames are taken apart while they are read, so that a frame's length, which a stranger announces, costs no memory:
//! only the MQTT packet inside is held, under its own limits.

mod frames;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use self::frames::Frames;
use super::edge::Edge;

/// The sub-protocol that a client has to name (MQTT 5 §6).
const SUB_PROTOCOL: &str = "mqtt";
/// Header fields of an upgrade, at most.
const HEADERS_MAX: usize = 64;
/// The smallest buffer that hyper reads a header with.
const HEADER_BYTES_MIN: usize = 8_192;
/// Bytes of one frame that we send, at most.
const FRAME_BYTES_MAX: usize = 16 * 1_024;
/// Bytes taken from the connection in one go.
const CHUNK_BYTES: usize = 8 * 1_024;

/// Answers the upgrade, the one request on a connection of `peer`. Gives the stream and the true address of the
/// client; nothing where the request was none that can be granted, which has been answered then.
pub(super) async fn upgrade<S>(edge: &Edge, stream: S, peer: IpAddr) -> Option<(WebSocket<S>, IpAddr)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let granted = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request);
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            *granted.lock() = Some(edge.door.client_addr(peer, request.headers()));
        }
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(edge.config.connect_timeout())
        .max_headers(HEADERS_MAX)
        .max_buf_size(edge.config.connect_bytes_max.max(HEADER_BYTES_MIN));
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    poll_fn(|cx| connection.poll_without_shutdown(cx)).await.ok()?;
    let parts = connection.into_parts();
    let addr = granted.lock().take()?;
    Some((WebSocket::new(parts.io.into_inner(), parts.read_buf), addr))
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let refuse = |words: &'static str| {
        let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    };
    match create_response_with_body(request, || Full::new(Bytes::new())) {
        Ok(_) if !names_sub_protocol(request.headers()) => refuse("Name the WebSocket sub-protocol \"mqtt\".\n"),
        Ok(mut response) => {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUB_PROTOCOL));
            response
        }
        Err(_not_an_upgrade) => refuse("This port takes WebSocket upgrades only.\n"),
    }
}

fn names_sub_protocol(headers: &HeaderMap) -> bool {
    let named = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|name| name.trim() == SUB_PROTOCOL)
}

/// The bytes inside the binary frames of a connection.
#[derive(Debug)]
pub(super) struct WebSocket<S> {
    stream: S,
    /// Read along with the upgrade, to be looked at first.
    early: Bytes,
    frames: Frames,
    /// Frames of ours to be written. Without memory while empty.
    unsent: BytesMut,
    /// The client said that it closes.
    is_ended: bool,
    /// We said so.
    is_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    fn new(stream: S, early: Bytes) -> Self {
        let (frames, unsent) = (Frames::default(), BytesMut::new());
        Self { stream, early, frames, unsent, is_ended: false, is_closed: false }
    }

    /// Reads raw bytes of the connection into the front of `buf`.
    fn poll_raw(&mut self, cx: &mut Context<'_>, raw: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.early.is_empty() {
            let count = raw.len().min(self.early.len());
            self.early.copy_to_slice(&mut raw[..count]);
            if self.early.is_empty() {
                self.early = Bytes::new();
            }
            return Poll::Ready(Ok(count));
        }
        let mut read = ReadBuf::new(raw);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(count);
        }
        self.unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.is_ended || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let room = buf.remaining().min(CHUNK_BYTES);
            let raw = buf.initialize_unfilled_to(room);
            let count = ready!(this.poll_raw(cx, raw))?;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            let taken = this.frames.take(&mut raw[..count], &mut this.unsent);
            let taken = taken.map_err(|_violation| io::Error::from(io::ErrorKind::InvalidData))?;
            this.is_ended |= taken.is_closed;
            if !this.unsent.is_empty() {
                // A pong need not wait for something else to be said; whether it can go now is seen to later.
                let _sent = this.poll_unsent(cx)?;
            }
            if taken.payload > 0 {
                buf.advance(taken.payload);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(cx))?;
        let payload = &buf[..buf.len().min(FRAME_BYTES_MAX)];
        frames::write_binary(payload, &mut self.unsent);
        // The frame is ours now; the rest of it goes with the next write or the flush.
        let _sent = self.poll_unsent(cx)?;
        Poll::Ready(Ok(payload.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closed {
            self.is_closed = true;
            frames::write_close(&mut self.unsent);
        }
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
