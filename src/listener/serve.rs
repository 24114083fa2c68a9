//! HTTP over accepted connections.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body::Body;
use hyper::{Request, body::Incoming};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    Config, Port,
    accept::Gate,
    connection::Host,
    http1, http2,
    service::{Answer, BoxError},
};

/// Serves HTTP/1.1 and HTTP/2 on `tcp` with `service` (an `axum::Router` will do) until `shutdown`, then finishes
/// what is in flight, at most for `listener.shutdown_grace_ms`, and returns.
///
/// Every request has its [`Peer`](super::Peer) in its extensions. The service must not keep a request's body beyond
/// its answer. Broken HTTP is answered by hyper itself (400, 408, 431) and never reaches the service.
pub async fn serve<S, B>(tcp: TcpListener, config: Config, port: Port, service: S, shutdown: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Answer<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let gate = Gate::new(config, port);
    let host = Arc::new(Host {
        service,
        shutdown: shutdown.clone(),
        http1: http1::builder(&gate.config),
        http2: http2::builder(&gate.config),
        gate: Arc::clone(&gate),
    });
    gate.accept(tcp, move |connection| Arc::clone(&host).serve(connection), shutdown).await;
}
