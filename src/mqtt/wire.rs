//! Bytes ⇄ packets. A packet's length is known, and judged, before there is memory for its body, and a connection on
//! which nothing moves holds no buffer at all.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Bytes of one read while it is not known what comes. They lie on the stack until they are there.
const SCRATCH_BYTES: usize = 8 * 1_024;
/// Room behind a packet, so that the codec does not make a new buffer when it has taken the packet out.
const SPARE_BYTES: usize = 5;

/// The fixed header of a packet (MQTT 5 §2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    first: u8,
    len: u8,
    remaining: u32,
}

/// Four bytes of length, and no end of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endless;

impl Head {
    /// The header at the front of `bytes`, once it is whole.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Endless> {
        let Some((&first, length)) = bytes.split_first() else { return Ok(None) };
        let mut remaining = 0;
        for (place, &byte) in length.iter().take(4).enumerate() {
            remaining |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(Some(Self { first, len: place as u8 + 2, remaining }));
            }
        }
        if length.len() < 4 { Ok(None) } else { Err(Endless) }
    }

    /// Whether it is that of a CONNECT, whose flags are all 0.
    pub(super) const fn is_connect(self) -> bool {
        self.first == 0x10
    }

    /// Bytes of the whole packet.
    pub(super) const fn total(self) -> usize {
        self.remaining as usize + self.len as usize
    }

    /// Bytes behind the header.
    pub(super) const fn remaining(self) -> usize {
        self.remaining as usize
    }

    /// Bytes of the header itself.
    pub(super) const fn len(self) -> usize {
        self.len as usize
    }

    /// The packet's type (MQTT 5 §2.1.2).
    pub(super) const fn kind(self) -> u8 {
        self.first >> 4
    }

    /// The QoS of a PUBLISH: 0 to 3.
    pub(super) const fn qos(self) -> u8 {
        (self.first >> 1) & 0b11
    }

    /// Whether a PUBLISH is to be retained.
    pub(super) const fn is_retained(self) -> bool {
        self.first & 1 == 1
    }

    /// Whether a PUBLISH is a resend.
    pub(super) const fn is_resend(self) -> bool {
        self.first & 0b1000 != 0
    }
}

/// What came.
#[derive(Debug)]
pub(super) enum Arrived {
    /// A packet's header. Its body is read once [`Wire::begin`] has made room for it.
    Head(Head),
    /// A whole packet, header and all.
    Packet(Head, BytesMut),
    /// A header without an end.
    Malformed,
    /// The client has closed its side.
    End,
    /// Nothing; but everything that was unsent is written, so that there may be room to read again.
    Sent,
}

/// A connection as packets.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    /// Read and not yet looked at. Without memory while empty.
    unread: BytesMut,
    /// The header that was announced last.
    head: Option<Head>,
    /// The packet that is being read.
    packet: Option<BytesMut>,
    /// To be written. Without memory while empty.
    pub(super) unsent: BytesMut,
    is_unflushed: bool,
    moved_out: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            head: None,
            packet: None,
            unsent: BytesMut::new(),
            is_unflushed: false,
            moved_out: 0,
        }
    }

    /// Bytes written so far: no change means that the client takes nothing.
    pub(super) const fn moved_out(&self) -> u64 {
        self.moved_out
    }

    /// Makes room for the announced packet and goes on with its body.
    pub(super) fn begin(&mut self) {
        if let Some(head) = self.head {
            self.packet = Some(BytesMut::with_capacity(head.total() + SPARE_BYTES));
        }
    }

    /// Writes what is unsent and, while `is_reading`, waits for what comes; otherwise until all is written.
    /// Cancel-safe.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) async fn next(&mut self, is_reading: bool) -> io::Result<Arrived> {
        poll_fn(|cx| {
            let is_waiting = !self.unsent.is_empty();
            match self.poll_send(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ if is_reading => self.poll_arrive(cx),
                Poll::Ready(Ok(())) if is_waiting => Poll::Ready(Ok(Arrived::Sent)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Writes everything that is unsent. Cancel-safe.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Closes our side.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
    }

    /// Reads and forgets what comes, until the client closes its side or has sent `bytes_max`.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) async fn discard(&mut self, bytes_max: usize) -> io::Result<()> {
        let mut discarded = 0;
        self.packet = None;
        while discarded < bytes_max {
            self.unread = BytesMut::new();
            match poll_fn(|cx| self.poll_read_some(cx)).await? {
                0 => break,
                count => discarded += count,
            }
        }
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(count);
            self.moved_out += count as u64;
            self.is_unflushed = true;
            if self.unsent.is_empty() {
                self.unsent = BytesMut::new();
            }
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_arrive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrived>> {
        loop {
            if let (Some(head), Some(packet)) = (self.head, &mut self.packet) {
                let wanted = head.total() - packet.len();
                if wanted == 0 {
                    let whole = self.packet.take().unwrap_or_default();
                    self.head = None;
                    return Poll::Ready(Ok(Arrived::Packet(head, whole)));
                }
                if !self.unread.is_empty() {
                    let count = wanted.min(self.unread.len());
                    packet.extend_from_slice(&self.unread[..count]);
                    self.unread.advance(count);
                    if self.unread.is_empty() {
                        self.unread = BytesMut::new();
                    }
                    continue;
                }
                let count = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut packet.limit(wanted)))?;
                if count == 0 {
                    return Poll::Ready(Ok(Arrived::End));
                }
                continue;
            }
            if self.head.is_some() {
                return Poll::Pending;
            }
            match Head::parse(&self.unread) {
                Ok(Some(head)) => {
                    self.head = Some(head);
                    return Poll::Ready(Ok(Arrived::Head(head)));
                }
                Ok(None) => {}
                Err(Endless) => return Poll::Ready(Ok(Arrived::Malformed)),
            }
            if ready!(self.poll_read_some(cx))? == 0 {
                return Poll::Ready(Ok(Arrived::End));
            }
        }
    }

    fn poll_read_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [const { MaybeUninit::uninit() }; SCRATCH_BYTES];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.unread.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }
}
