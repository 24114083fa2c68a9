//! One connection from its first byte to its last.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    codec::{Codec, NotConnect, first},
    connect::{self, Connected},
    edge::Edge,
    ending::Ending,
    packet::{Out, Refuse, Version},
    session::Session,
    websocket,
    wire::{Arrived, Wire},
};

/// How long and for how many bytes we go on reading after the last words, so that a client that is still sending its
/// too large packet sees them instead of a reset connection.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Serves one connection of `addr` to its end.
pub(super) async fn serve<S>(edge: &Arc<Edge>, stream: S, addr: IpAddr, shutdown: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut wire = Wire::new(stream);
    // Boxed and dropped when done, so that a session does not carry the state of its beginning.
    let connected = tokio::select! {
        connected = timeout(edge.config.connect_timeout(), Box::pin(connect(edge, &mut wire, addr))) => connected,
        () = shutdown.cancelled() => return,
    };
    let Ok(Some(connected)) = connected else {
        let is_answered = !wire.unsent.is_empty();
        if close(edge, &mut wire).await && is_answered {
            linger(&mut wire).await;
        }
        return;
    };
    // One of its own: each look at a token locks it, and all sessions look with every packet.
    let shutdown = shutdown.child_token();
    let _open = edge.meters.session(connected.codec.version());
    let mut session = Box::new(Session::new(edge, wire, connected));
    let ending = session.run(&shutdown).await;
    edge.meters.ended(ending);
    session.end(ending).await;
}

/// The same for a connection that begins with the upgrade to WebSocket.
pub(super) async fn serve_upgraded<S>(edge: &Arc<Edge>, stream: S, peer: IpAddr, shutdown: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let upgraded = timeout(edge.config.connect_timeout(), Box::pin(websocket::upgrade(edge, stream, peer)));
    let upgraded = tokio::select! {
        upgraded = upgraded => upgraded,
        () = shutdown.cancelled() => return,
    };
    if let Ok(Some((stream, addr))) = upgraded {
        serve(edge, stream, addr, shutdown).await;
    }
}

/// The CONNECT and its answer. `None` where there is no session; what is to be said about that is unsent then.
async fn connect<S>(edge: &Arc<Edge>, wire: &mut Wire<S>, addr: IpAddr) -> Option<Connected>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Ok(Arrived::Head(head)) = wire.next(true).await else { return None };
    if !head.is_connect() || head.total() > edge.config.connect_bytes_max {
        return None;
    }
    // Who has said nothing yet has no place here, and cannot keep others out.
    let _place = edge.connecting.acquire().await.ok()?;
    wire.begin();
    let Ok(Arrived::Packet(head, packet)) = wire.next(true).await else { return None };
    let not_connect = match first(head, packet) {
        Ok((codec, request)) => return connect::judge(edge, wire, codec, request, addr).await,
        Err(not_connect) => not_connect,
    };
    let (version, refuse, outcome) = match not_connect {
        NotConnect::NotMqtt => return None,
        NotConnect::Version(version) => (version, Refuse::Version, "version"),
        NotConnect::Malformed(version) => (version, Refuse::Malformed, "malformed"),
        NotConnect::ClientId => (Version::V3, Refuse::ClientId, "client_id"),
        NotConnect::TinyPackets => (Version::V5, Refuse::PacketTooLarge, "packet_size"),
    };
    edge.meters.connect(outcome);
    // 3.1.1 has no code for a malformed CONNECT: it is closed (3.1.1 §4.8).
    if (version, refuse) != (Version::V3, Refuse::Malformed) {
        let written = Codec::of(version).encode(Out::Refuse(refuse, String::new()), &mut wire.unsent);
        debug_assert!(written.is_ok(), "a refusal fits");
    }
    None
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Says goodbye, closes our side, and gives the session up: an administrator's suspend waits for that.
    async fn end(self: Box<Self>, ending: Ending) {
        let (edge, mut wire, mut codec, session) = self.into_parts();
        if ending.reason().is_some() && matches!(codec, Codec::V5(_)) {
            let written = codec.encode(Out::Disconnect(ending), &mut wire.unsent);
            debug_assert!(written.is_ok(), "a DISCONNECT fits");
        }
        if !close(&edge, &mut wire).await || ending.reason().is_none() {
            drop(wire);
            return drop(session);
        }
        // Nothing is said any more, and nothing that still comes is looked at: the session is over.
        drop(session);
        linger(&mut wire).await;
    }
}

/// Sends what is unsent, as far as the client takes it in time, and closes our side; whether that went well.
async fn close<S: AsyncRead + AsyncWrite + Unpin + Send>(edge: &Edge, wire: &mut Wire<S>) -> bool {
    let goodbye = async {
        wire.send().await?;
        wire.close().await
    };
    matches!(timeout(edge.config.close_timeout(), goodbye).await, Ok(Ok(())))
}

/// Reads on a little, so that the last words arrive (see [`LINGER_TIME`]).
async fn linger<S: AsyncRead + AsyncWrite + Unpin + Send>(wire: &mut Wire<S>) {
    // Whether it went well makes no difference: the connection is over either way.
    let _ended = timeout(LINGER_TIME, wire.discard(LINGER_BYTES_MAX)).await;
}
