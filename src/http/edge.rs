//! One request after the other, through the checks in the order of `api.md` §3.

use std::{convert::Infallible, fmt, net::SocketAddr, sync::Arc};

use http::{Method, Request, Response, request::Parts};
use hyper::body::Incoming;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    capacity::Capacity,
    content::{Content, Limits},
    exchange::Exchange,
    finish::caught,
    idempotency::Idempotency,
    instruments::{Instruments, READINGS_ROUTE},
    refusal::Refusal,
    reply::ReplyBody,
    resource,
    seam::Door,
    surface::{Route, Routes, Surface},
};
use crate::{
    auth::Call,
    ingest::{Budget, Intake},
    journal::Journal,
    listener::{self, Peer, Port},
    model::ProblemCode,
};

pub(super) const READINGS_PATH: &str = "/v1/sensors/readings";

/// What an [`Edge`] is made of.
pub struct Args<D, I> {
    /// `[http]`.
    pub config: Config,
    /// Lets callers in.
    pub door: Arc<D>,
    /// Takes batches in.
    pub intake: Arc<I>,
    /// Bytes of bodies in memory, shared with the other edge.
    pub budget: Budget,
    /// The routes besides batches.
    pub surface: Surface,
    /// Kept answers.
    pub idempotency: Arc<Idempotency>,
    /// Where a record of each request goes.
    pub journal: Arc<dyn Journal>,
}

/// The integration API's edge.
pub struct Edge<D, I> {
    pub(super) config: Config,
    pub(super) intake: Arc<I>,
    pub(super) capacity: Capacity,
    pub(super) idempotency: Arc<Idempotency>,
    /// Places for bodies being inflated off the connections' threads.
    pub(super) inflating: Semaphore,
    door: Arc<D>,
    routes: Routes,
    instruments: Arc<Instruments>,
    journal: Arc<dyn Journal>,
}

impl<D, I> fmt::Debug for Args<D, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<D, I> fmt::Debug for Edge<D, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<D: Door, I: Intake> Edge<D, I> {
    /// An edge out of its parts.
    #[must_use]
    pub fn new(args: Args<D, I>) -> Arc<Self> {
        let Args { mut config, door, intake, budget, surface, idempotency, journal } = args;
        config.public_url.truncate(config.public_url.trim_end_matches('/').len());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            capacity: Capacity::new(budget, config.integration_bytes_max, config.capacity_wait()),
            config,
            intake,
            idempotency,
            inflating: Semaphore::new(cores),
            door,
            routes: Routes::new(surface),
            instruments: Arc::new(Instruments::new()),
            journal,
        })
    }

    /// Serves `tcp` until `shutdown`, then finishes what is in flight.
    pub async fn serve(
        self: Arc<Self>,
        tcp: TcpListener,
        listener: listener::Config,
        port: Port,
        shutdown: CancellationToken,
    ) {
        let service = tower::service_fn(move |request| {
            let edge = Arc::clone(&self);
            async move { Ok::<_, Infallible>(edge.answer(request).await) }
        });
        listener::serve(tcp, listener, port, service, shutdown).await;
    }

    /// Answers one request, whatever happens.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<ReplyBody> {
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().expect("the listener names the peer of every request").addr;
        let addr = self.door.client_addr(peer.ip(), &parts.headers);
        let mut exchange = Exchange::begin(&parts.method, &parts.headers, addr, &self.instruments, &self.journal);
        let caller = SocketAddr::new(addr, if addr == peer.ip() { peer.port() } else { 0 });
        let outcome = match caught(self.dispatch(&mut exchange, caller, parts, body)).await {
            Ok(outcome) => outcome,
            Err(panic) => {
                tracing::error!(request_id = %exchange.request_id, panic, "a handler panicked; the request was answered 500");
                Err(Refusal::new(ProblemCode::Internal).because("panic"))
            }
        };
        let now_us = exchange.now_us;
        exchange.end(outcome, &self.config.public_url, || self.door.anonymous_rate(addr, now_us))
    }

    async fn dispatch(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        caller: SocketAddr,
        parts: Parts,
        body: Incoming,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let path = parts.uri.path();
        if (parts.method == Method::GET || parts.method == Method::HEAD)
            && let Some(page) = self.routes.pages.get(path)
        {
            exchange.route = "pages";
            return Ok(page);
        }
        if let Some(open) = self.routes.open(path) {
            exchange.route = open.name;
            let plain = self.config.public_body_bytes_max;
            let limits = Limits { plain, compressed: plain.min(self.config.compressed_bytes_max) };
            let content = Content::of_any(&parts.headers, limits)?;
            let body = self.read_body(exchange, content, limits, body, None).await?;
            let router = open.router.clone();
            return resource::forward(resource::Call { request_id: exchange.request_id, caller }, router, parts, body)
                .await;
        }
        let route = self.routes.find(path);
        exchange.route = match &route {
            Route::Readings => READINGS_ROUTE,
            Route::Resource(resource) => resource.name,
            Route::Page => "pages",
            Route::Unknown => exchange.route,
        };
        let call = Call { addr: exchange.addr, request_id: exchange.request_id, now_us: exchange.now_us };
        exchange.scope = route.scope(&parts.method);
        let principal = self.door.authenticate(&parts.headers, &call).await?;
        exchange.integration_id = Some(principal.facts.id);
        exchange.key_generation = Some(principal.generation);
        exchange.rate = Some(self.door.admit(&principal, exchange.scope, exchange.now_us)?);
        exchange.granted = exchange.scope.map(|_| true);
        match route {
            Route::Readings if parts.method == Method::POST => {
                self.post_readings(exchange, principal, &parts, body).await
            }
            Route::Readings => Err(Refusal::method_not_allowed("POST")),
            Route::Resource(resource) => self.call_resource(exchange, caller, resource, principal, parts, body).await,
            Route::Page => Err(Refusal::method_not_allowed("GET, HEAD")),
            Route::Unknown => Err(Refusal::new(ProblemCode::NotFound)),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { plain: self.config.body_bytes_max, compressed: self.config.compressed_bytes_max }
    }
}
