//! One connection from its first byte to its last.

use std::{net::IpAddr, sync::Arc};

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
    wire::{Arrived, Wire},
};

/// Serves one connection of `addr` to its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    edge: &Arc<Edge>,
    stream: S,
    addr: IpAddr,
    shutdown: &CancellationToken,
) {
    let mut wire = Wire::new(stream);
    // Boxed and dropped when done, so that a session does not carry the state of its beginning.
    let connected = tokio::select! {
        connected = timeout(edge.config.connect_timeout(), Box::pin(connect(edge, &mut wire, addr))) => connected,
        () = shutdown.cancelled() => return,
    };
    let Ok(Some(connected)) = connected else {
        return close(edge, &mut wire).await;
    };
    let mut session = Session::new(edge, wire, connected);
    let ending = session.run(shutdown).await;
    tracing::debug!(ending = ending.as_str(), %addr, "MQTT session ended");
    session.end(ending).await;
}

/// The CONNECT and its answer. `None` where there is no session; what is to be said about that is unsent then.
async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    edge: &Arc<Edge>,
    wire: &mut Wire<S>,
    addr: IpAddr,
) -> Option<Connected> {
    let (head, packet) = loop {
        match wire.next(true).await {
            Ok(Arrived::Head(head)) if head.total() <= edge.config.connect_bytes_max => wire.begin(),
            Ok(Arrived::Packet(head, packet)) => break (head, packet),
            Ok(Arrived::Head(_) | Arrived::Malformed | Arrived::End) | Err(_) => return None,
        }
    };
    match first(head, packet) {
        Ok((codec, request)) => connect::judge(edge, wire, codec, request, addr).await,
        Err(not_connect) => {
            let (version, refuse) = match not_connect {
                NotConnect::NotMqtt => return None,
                NotConnect::Version(version) => (version, Refuse::Version),
                NotConnect::Malformed(version) => (version, Refuse::Malformed),
                NotConnect::ClientId => (Version::V3, Refuse::ClientId),
                NotConnect::TinyPackets => (Version::V5, Refuse::PacketTooLarge),
            };
            // 3.1.1 has no code for a malformed CONNECT: it is closed (3.1.1 §4.8).
            if (version, refuse) != (Version::V3, Refuse::Malformed) {
                let mut codec = Codec::of(version);
                let written = codec.encode(Out::Refuse(refuse, String::new()), &mut wire.unsent);
                debug_assert!(written.is_ok(), "a refusal fits");
            }
            None
        }
    }
}

/// Sends what is unsent, as far as the client takes it in time, and closes.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(edge: &Edge, wire: &mut Wire<S>) {
    let goodbye = async {
        wire.send().await?;
        wire.close().await
    };
    // Whether it went well makes no difference: the connection is over either way.
    let _ended = timeout(edge.config.close_timeout(), goodbye).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Says goodbye, closes, and gives the session up last: an administrator's suspend waits for that.
    async fn end(self, ending: Ending) {
        let Self { edge, mut wire, mut codec, session, .. } = self;
        if ending.reason().is_some() && matches!(codec, Codec::V5(_)) {
            // Words that do not fit the client's limits are left out by the codec.
            let written = codec.encode(Out::Disconnect(ending), &mut wire.unsent);
            debug_assert!(written.is_ok(), "a DISCONNECT fits");
        }
        close(&edge, &mut wire).await;
        drop(wire);
        drop(session);
    }
}
