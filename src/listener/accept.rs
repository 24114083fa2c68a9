//! The accept loop: limits first, then PROXY header and TLS handshake in the connection's own task.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Config, Peer, Stream, Tls,
    address_cap::{AddressCap, AddressSlot},
    instruments::{Instruments, Present, Refusal},
    proxy::{self, Source},
};
use crate::telemetry::task;

/// Accepting again at once after "too many open files" would spin; these are the first and the longest pause.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What differs from port to port; the limits are the [`Config`]'s.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name in metrics and logs, from a closed set: `http`, `admin`, `mqtt`, `mqtts`, `mqtt_ws`.
    pub name: &'static str,
    /// Certificate and key, or none for a plain port.
    pub tls: Option<Tls>,
    /// Whether every connection begins with a PROXY protocol v2 header; only proxies in
    /// `listener.proxy_protocol_from` may then connect.
    pub proxy_protocol: bool,
}

impl Port {
    /// A port without TLS and without PROXY headers.
    #[must_use]
    pub fn plain(name: &'static str) -> Self {
        Self { name, tls: None, proxy_protocol: false }
    }
}

/// A connection that has passed the limits and, where the port has them, PROXY header and TLS handshake.
#[derive(Debug)]
pub struct Connection {
    /// Its bytes.
    pub stream: Stream,
    /// Who is at the other end.
    pub peer: Peer,
    /// Its places under the limits, held as long as it lives.
    pub(super) places: Places,
}

/// What a connection occupies; given back when dropped.
#[derive(Debug)]
pub(super) struct Places {
    _connection: OwnedSemaphorePermit,
    _address: Option<AddressSlot>,
}

/// Everything the connections of one port share.
pub(super) struct Gate {
    pub(super) config: Arc<Config>,
    pub(super) instruments: Instruments,
    port: Port,
    connections: Arc<Semaphore>,
    addresses: Arc<AddressCap>,
    handshakes: Semaphore,
}

/// Accepts connections and runs `handle` for each in its own task, until `shutdown`; then stops accepting and waits
/// for the connections to end, at most `listener.shutdown_grace_ms`. `handle` must itself watch `shutdown`.
///
/// A full port accepts and closes at once rather than letting connections queue in the kernel: the caller sees a
/// refusal, not a hang, and the refusal is counted.
pub async fn accept<H, F>(tcp: TcpListener, config: Config, port: Port, handle: H, shutdown: CancellationToken)
where
    H: Fn(Connection) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let gate = Gate::new(config, port);
    gate.accept(tcp, handle, shutdown).await;
}

impl Gate {
    pub(super) fn new(config: Config, port: Port) -> Arc<Self> {
        Arc::new(Self {
            instruments: Instruments::new(port.name),
            connections: Arc::new(Semaphore::new(config.connections_max)),
            addresses: AddressCap::new(config.connections_per_address_max),
            handshakes: Semaphore::new(config.handshakes_max),
            config: Arc::new(config),
            port,
        })
    }

    pub(super) async fn accept<H, F>(self: Arc<Self>, tcp: TcpListener, handle: H, shutdown: CancellationToken)
    where
        H: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(tls) = self.port.tls.clone() {
            task::spawn("tls certificate watch", tls.watch(shutdown.clone()));
        }
        let mut connections = JoinSet::new();
        let mut backoff = BACKOFF_MIN;
        loop {
            tokio::select! {
                accepted = tcp.accept() => match accepted {
                    Ok((stream, addr)) => {
                        backoff = BACKOFF_MIN;
                        self.enter(&mut connections, stream, addr, &handle);
                    }
                    Err(error) if is_the_callers_fault(&error) => {}
                    Err(error) => {
                        self.instruments.accept_errors.increment(1);
                        if backoff == BACKOFF_MIN {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(error, port = self.port.name, "cannot accept connections; trying on");
                        }
                        sleep(backoff).await;
                        backoff = (backoff * 2).min(BACKOFF_MAX);
                    }
                },
                Some(ended) = connections.join_next() => self.left(ended),
                () = shutdown.cancelled() => break,
            }
        }
        drop(tcp);
        self.drain(connections).await;
    }

    /// Waits for what is in flight, but not for ever.
    async fn drain(&self, mut connections: JoinSet<()>) {
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                self.left(ended);
            }
        };
        if timeout(self.config.shutdown_grace(), all_ended).await.is_err() {
            tracing::warn!(port = self.port.name, count = connections.len(), "connections cut at shutdown");
            connections.shutdown().await;
        }
    }

    fn left(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(port = self.port.name, "a connection's task panicked; only that connection ended");
        }
    }

    fn enter<H, F>(self: &Arc<Self>, connections: &mut JoinSet<()>, tcp: TcpStream, addr: SocketAddr, handle: &H)
    where
        H: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
            return self.instruments.refuse(Refusal::ConnectionsMax);
        };
        // A proxy's own address is not counted: it stands for many callers, who are counted by their own below.
        let mut places = Places { _connection: place, _address: None };
        if self.port.proxy_protocol {
            if !self.config.proxy_protocol_from.iter().any(|net| net.contains(&addr.ip())) {
                return self.instruments.refuse(Refusal::ProxyUntrusted);
            }
        } else if let Some(address) = self.addresses.enter(addr.ip()) {
            places._address = Some(address);
        } else {
            return self.instruments.refuse(Refusal::AddressMax);
        }
        // Answers are one small write each; waiting for more to send would only add latency.
        if tcp.set_nodelay(true).is_err() {
            return;
        }
        self.instruments.accepted.increment(1);
        let (gate, handle) = (Arc::clone(self), handle.clone());
        connections.spawn(async move {
            let _open = Present::count(&gate.instruments.open);
            // Boxed and dropped when done, so that an idle connection does not carry the handshake's state.
            match Box::pin(gate.prepare(tcp, Peer { addr }, places)).await {
                Ok(connection) => handle(connection).await,
                Err(reason) => gate.instruments.refuse(reason),
            }
        });
    }

    async fn prepare(&self, mut tcp: TcpStream, mut peer: Peer, mut places: Places) -> Result<Connection, Refusal> {
        if self.port.proxy_protocol {
            match timeout(self.config.proxy_header_timeout(), proxy::read(&mut tcp)).await {
                Ok(Ok(Source::Client(addr))) => peer.addr = addr,
                Ok(Ok(Source::Itself)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(port = self.port.name, proxy = %peer.addr, %error, "PROXY header refused");
                    return Err(Refusal::ProxyHeader);
                }
                Err(_late) => return Err(Refusal::ProxyHeader),
            }
            places._address = Some(self.addresses.enter(peer.addr.ip()).ok_or(Refusal::AddressMax)?);
        }
        let stream = match &self.port.tls {
            None => Stream::plain(tcp),
            Some(tls) => self.handshake(tls, tcp).await?,
        };
        Ok(Connection { stream, peer, places })
    }

    async fn handshake(&self, tls: &Tls, tcp: TcpStream) -> Result<Stream, Refusal> {
        // Whoever says nothing must not hold one of the few handshake places.
        match timeout(self.config.first_byte_timeout(), tcp.peek(&mut [0])).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Err(Refusal::Handshake),
            Err(_late) => return Err(Refusal::Silent),
        }
        let deadline = tokio::time::Instant::now() + self.config.handshake_timeout();
        let _place = match timeout_at(deadline, self.handshakes.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => return Err(Refusal::HandshakeTimeout),
        };
        match timeout_at(deadline, TlsAcceptor::from(tls.current()).accept(tcp)).await {
            Ok(Ok(stream)) => Ok(Stream::tls(stream)),
            Ok(Err(error)) => {
                tracing::debug!(port = self.port.name, %error, "TLS handshake failed");
                Err(Refusal::Handshake)
            }
            Err(_late) => Err(Refusal::HandshakeTimeout),
        }
    }
}

/// The connection ended between the kernel and us; the listener itself is well.
fn is_the_callers_fault(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused)
}
