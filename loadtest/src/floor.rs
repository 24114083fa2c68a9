//! The floors: what any server on this stack has to spend. `drop` reads the body and drops it; `parse` parses it with
//! simd-json into borrowed strings as well. Nothing is checked, kept or promised.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde::Deserialize;
use tokio::net::TcpListener;

/// Which floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Floor {
    /// Reads the body and drops it.
    Drop,
    /// Reads it and parses it.
    Parse,
}

#[derive(Debug, Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    readings: Vec<Reading<'a>>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "parsed as a server has to, and dropped")]
struct Reading<'a> {
    id: Option<&'a str>,
    external_id: &'a str,
    metric: &'a str,
    value: f64,
    unit: Option<&'a str>,
    timestamp: &'a str,
}

thread_local! {
    static BUFFERS: RefCell<simd_json::Buffers> = RefCell::new(simd_json::Buffers::default());
}

/// Serves on `addr` for ever, with two worker threads. Writes the address to `ready_file` once it listens.
///
/// # Errors
///
/// When the address cannot be bound.
pub fn serve(floor: Floor, addr: SocketAddr, ready_file: Option<&Path>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))?;
        if let Some(path) = ready_file {
            write_ready(path, listener.local_addr()?)?;
        }
        accept(floor, listener).await
    })
}

/// Accepts and serves for ever.
///
/// # Errors
///
/// Never; the type says that it only ends by being dropped.
pub async fn accept(floor: Floor, listener: TcpListener) -> Result<()> {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        connections.spawn(async move {
            let service = service_fn(move |request| answer(floor, request));
            // How a client's connection ends is no concern of a floor.
            drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(floor: Floor, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match floor {
        Floor::Drop => drain(request.into_body()).await,
        Floor::Parse => parse(request.into_body()).await,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status.unwrap_or(StatusCode::BAD_REQUEST);
    Ok(response)
}

async fn drain(mut body: Incoming) -> Option<StatusCode> {
    while let Some(frame) = body.frame().await {
        drop(frame.ok()?);
    }
    Some(StatusCode::OK)
}

async fn parse(mut body: Incoming) -> Option<StatusCode> {
    let expected = usize::try_from(hyper::body::Body::size_hint(&body).lower()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected.min(1 << 20));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    let sum: f64 = BUFFERS.with_borrow_mut(|buffers| {
        let batch: Batch<'_> = simd_json::serde::from_slice_with_buffers(&mut bytes, buffers).ok()?;
        Some(batch.readings.iter().map(|reading| reading.value).sum())
    })?;
    std::hint::black_box(sum);
    Some(StatusCode::OK)
}

fn write_ready(path: &Path, addr: SocketAddr) -> Result<()> {
    let whole = serde_json::json!({ "http_url": format!("http://{addr}") });
    let partial = path.with_extension("partial");
    std::fs::write(&partial, whole.to_string())?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}
