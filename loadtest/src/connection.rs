//! One connection to the server: HTTP/1.1 or HTTP/2 without a pool, so that the generator costs little.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::profile::{Encoding, Protocol};

/// Where and how to connect.
#[derive(Debug, Clone, Copy)]
pub struct Connector {
    /// The server.
    pub addr: SocketAddr,
    /// Its protocol.
    pub protocol: Protocol,
}

/// An open connection. Must be made and used inside a `LocalSet`.
#[derive(Debug)]
pub enum Connection {
    /// HTTP/1.1.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2; clones share it.
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What stays the same in all requests of one integration.
#[derive(Debug, Clone)]
pub struct Envelope {
    headers: HeaderMap,
    uri: Uri,
}

/// An answer, fully read.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// `X-Readings-Accepted`.
    pub accepted: Option<u32>,
    /// `X-Readings-Rejected`.
    pub rejected: Option<u32>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// The server would not have us, for this reason: nothing was sent.
    Refused(String),
    /// The connection had closed before anything was sent.
    Stale,
    /// Cut while the request was under way: the outcome is unknown.
    Cut,
    /// The same, and the server said why.
    Ended(String),
    /// The server broke the protocol: the outcome is unknown.
    Protocol(String),
    /// No answer in time: the outcome is unknown.
    Timeout,
}

impl Failure {
    /// The label that it is counted under.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Connect => "no connection".to_owned(),
            Self::Refused(why) => format!("refused: {why}"),
            Self::Stale => "connection was closed".to_owned(),
            Self::Cut => "cut before the answer".to_owned(),
            Self::Ended(why) => format!("cut before the answer: {why}"),
            Self::Protocol(what) => format!("protocol error: {what}"),
            Self::Timeout => "timed out".to_owned(),
        }
    }

    /// Whether the server may have got the request.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Cut | Self::Ended(_) | Self::Protocol(_) | Self::Timeout)
    }
}

/// The two credentials of an integration.
#[derive(Clone)]
pub struct Credentials {
    /// The JWT.
    pub token: String,
    /// The API key.
    pub api_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Envelope {
    /// Headers and target for requests to `path` at the server of `connector`.
    ///
    /// # Errors
    ///
    /// When something in them is no legal header or path.
    pub fn new(
        connector: &Connector,
        path: &str,
        content_type: &str,
        encoding: Encoding,
        credentials: Option<&Credentials>,
    ) -> Result<Self> {
        let mut headers = HeaderMap::new();
        let uri = match connector.protocol {
            Protocol::Http1 => {
                headers.insert(header::HOST, HeaderValue::try_from(connector.addr.to_string())?);
                path.parse()
            }
            Protocol::Http2 => format!("http://{}{path}", connector.addr).parse(),
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(content_type)?);
        match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Zstd => Some("zstd"),
        }
        .and_then(|name| headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name)));
        if let Some(credentials) = credentials {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", credentials.token))?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
            let mut key = HeaderValue::try_from(&credentials.api_key)?;
            key.set_sensitive(true);
            headers.insert("x-api-key", key);
        }
        Ok(Self { headers, uri: uri.with_context(|| format!("{path} is not a path"))? })
    }

    /// The headers, for requests that are written by hand.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl Connector {
    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// [`Failure::Connect`].
    pub async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(self.addr).await.map_err(|_| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let io = TokioIo::new(stream);
        // The tasks that move the bytes end with their connection; how it ended shows in the requests.
        match self.protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::handshake(io).await.map_err(|_| Failure::Connect)?;
                drop(tokio::task::spawn_local(driver));
                Ok(Connection::Http1(sender))
            }
            Protocol::Http2 => {
                let (sender, driver) = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(1 << 22)
                    .handshake(io)
                    .await
                    .map_err(|_| Failure::Connect)?;
                drop(tokio::task::spawn_local(driver));
                Ok(Connection::Http2(sender))
            }
        }
    }
}

impl Connection {
    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// Any [`Failure`]; the connection is of no use afterwards.
    pub async fn exchange(&mut self, envelope: &Envelope, body: Bytes, timeout: Duration) -> Result<Answer, Failure> {
        let exchange = async {
            let response = match self {
                Self::Http1(sender) => {
                    sender.ready().await.map_err(|_| Failure::Stale)?;
                    sender.send_request(envelope.request(body)).await
                }
                Self::Http2(sender) => {
                    sender.ready().await.map_err(|_| Failure::Stale)?;
                    sender.send_request(envelope.request(body)).await
                }
            };
            read(response.map_err(|error| if error.is_canceled() { Failure::Stale } else { Failure::Cut })?).await
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(Failure::Timeout))
    }

    /// Another handle to the same connection, where the protocol has one.
    #[must_use]
    pub fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let number = |name: &str| head.headers.get(name)?.to_str().ok()?.parse::<u32>().ok();
    let body = body.collect().await.map_err(|_| Failure::Cut)?.to_bytes();
    Ok(Answer {
        status: head.status.as_u16(),
        accepted: number("x-readings-accepted"),
        rejected: number("x-readings-rejected"),
        retry_after: number("retry-after").map(|seconds| Duration::from_secs(u64::from(seconds))),
        body,
    })
}
