//! The parts that all connections share, and the ports that they come in by.

use std::sync::Arc;

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    audience::Audiences,
    connection,
    meters::Meters,
    seam::{Door, Intake},
};
use crate::{
    ingest::Budget,
    journal::Journal,
    listener::{self, Connection, Port},
};

/// What an [`Edge`] is made of.
pub struct Args {
    /// `[mqtt]`.
    pub config: Config,
    /// Lets callers in.
    pub door: Arc<dyn Door>,
    /// Takes batches in.
    pub intake: Arc<dyn Intake>,
    /// Bytes of batches in memory, shared with the other edge.
    pub budget: Budget,
    /// Where a record of each CONNECT and PUBLISH goes.
    pub journal: Arc<dyn Journal>,
    /// Where the pages of problems are, without a slash at the end.
    pub public_url: String,
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args").field("config", &self.config).finish_non_exhaustive()
    }
}

/// How packets lie in the bytes of a port's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One after the other.
    Plain,
    /// In the binary frames of WebSocket.
    WebSocket,
}

/// The integration API's edge over MQTT.
pub struct Edge {
    pub(super) config: Config,
    pub(super) door: Arc<dyn Door>,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) budget: Budget,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) public_url: String,
    pub(super) audiences: Audiences,
    pub(super) meters: Meters,
    /// Places for connections between their first byte and the answer to their CONNECT.
    pub(super) connecting: Semaphore,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Edge {
    /// An edge out of its parts.
    #[must_use]
    pub fn new(args: Args) -> Arc<Self> {
        let Args { config, door, intake, budget, journal, mut public_url } = args;
        public_url.truncate(public_url.trim_end_matches('/').len());
        Arc::new(Self {
            connecting: Semaphore::new(config.connecting_max),
            audiences: Audiences::default(),
            meters: Meters::new(),
            config,
            door,
            intake,
            budget,
            journal,
            public_url,
        })
    }

    /// Serves MQTT on `tcp` until `shutdown`; then acknowledges what is under way and says goodbye.
    pub async fn serve(
        self: Arc<Self>,
        tcp: TcpListener,
        listener: listener::Config,
        port: Port,
        framing: Framing,
        shutdown: CancellationToken,
    ) {
        let stop = shutdown.clone();
        let handle = move |connection: Connection| {
            let (edge, stop) = (Arc::clone(&self), stop.clone());
            async move {
                // Its places under the limits are given back last, when `connection` ends.
                let Connection { stream, peer, .. } = connection;
                match framing {
                    Framing::Plain => connection::serve(&edge, stream, peer.addr.ip(), &stop).await,
                    Framing::WebSocket => connection::serve_upgraded(&edge, stream, peer.addr.ip(), &stop).await,
                }
            }
        };
        listener::accept(tcp, listener, port, handle, shutdown).await;
    }
}
