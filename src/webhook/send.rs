//! One attempt: judge, connect, sign, send, and read a little of the answer. Nothing is followed, nothing is reused.

use std::{
    future::pending,
    net::IpAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Sender, connect, guard::Refused, sign};
use crate::{
    control::{AttemptReport, DueDelivery, Verdict, WebhookSecret},
    model::{WebhookTarget, webhook::TargetError},
};

const USER_AGENT: &str = concat!("sensorgate-webhooks/", env!("CARGO_PKG_VERSION"));

/// How far an attempt came. Filled in as it goes, so that a time-out leaves what is known.
#[derive(Debug, Default)]
struct Trace {
    target: Option<String>,
    address: Option<IpAddr>,
    status: Option<StatusCode>,
    retry_after_s: Option<u64>,
    response: Vec<u8>,
}

impl Sender {
    /// Makes one attempt, within the configured time.
    pub(super) async fn attempt(&self, due: &DueDelivery) -> AttemptReport {
        let (began, at_us) = (Instant::now(), now_us());
        let mut trace = Trace::default();
        let ended = timeout(self.config.timeout(), self.exchange(due, at_us / 1_000_000, &mut trace)).await;
        let error = match (trace.status, ended) {
            // Once the status is here, a body that does not end changes nothing.
            (Some(status), _) if status.is_success() => None,
            (Some(status), _) if status.is_redirection() => Some("redirect"),
            (Some(_), _) => Some("status"),
            (None, Ok(Err(error))) => Some(error),
            (None, Ok(Ok(()))) => Some("broken"),
            (None, Err(_)) => Some("timeout"),
        };
        let fallback = || due.url.split('?').next().unwrap_or_default().to_owned();
        AttemptReport {
            seq: due.seq,
            at_us,
            verdict: self.verdict(due, error, &trace),
            target: trace.target.unwrap_or_else(fallback),
            address: trace.address,
            status: trace.status.map(|status| status.as_u16()),
            error,
            latency_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            response: shown(&trace.response, self.config.response_kept_bytes),
        }
    }

    async fn exchange(&self, due: &DueDelivery, timestamp_s: i64, trace: &mut Trace) -> Result<(), &'static str> {
        let secret = due.secret.as_ref().ok_or("secret_unreadable")?;
        let (target, addresses) = self.guard.admit(&due.url).await.map_err(|refused| match refused {
            Refused::Target(error) => TargetError::class(error),
            Refused::Unresolved => "unresolved",
        })?;
        trace.target = Some(target.without_query().to_owned());
        trace.address = addresses.first().map(std::net::SocketAddr::ip);
        let opening = timeout(self.config.connect_timeout(), connect::open(&target, &addresses, &self.tls));
        let (address, wire) = opening.await.map_err(|_| "connect_timeout")?;
        trace.address = address.map(|address| address.ip());
        let wire = wire.map_err(|failed| match failed {
            connect::Failed::Connect => "connect_failed",
            connect::Failed::Tls => "tls_failed",
        })?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(65_536)
            .handshake::<_, Full<Bytes>>(TokioIo::new(wire))
            .await
            .map_err(|_| "broken")?;
        let answer = async {
            let response =
                sender.send_request(request(due, secret, &target, timestamp_s)).await.map_err(|_| "broken")?;
            trace.status = Some(response.status());
            trace.retry_after_s = retry_after(response.headers(), timestamp_s);
            read_some(response.into_body(), self.config.response_bytes_max, &mut trace.response).await;
            Ok(())
        };
        let driving = async {
            // What ends the connection ends the request as well, and that one tells of it.
            let _ended = connection.await;
            pending::<()>().await;
        };
        tokio::select! {
            biased;
            answered = answer => answered,
            () = driving => unreachable!("it never ends"),
        }
    }

    fn verdict(&self, due: &DueDelivery, error: Option<&'static str>, trace: &Trace) -> Verdict {
        if error.is_none() {
            return Verdict::Delivered;
        }
        if trace.status == Some(StatusCode::GONE) {
            return Verdict::Gone;
        }
        let pause_s = self.config.retry_after_s.get(due.failures as usize).filter(|_| !due.is_replay);
        let Some(pause_s) = pause_s else { return Verdict::Dead };
        let asked_s = trace.retry_after_s.unwrap_or(0).min(self.config.retry_after_max_s);
        let pause = with_jitter(Duration::from_secs((*pause_s).max(asked_s)));
        Verdict::Retry { at_us: now_us() + i64::try_from(pause.as_micros()).unwrap_or(i64::MAX / 2) }
    }
}

fn request(
    due: &DueDelivery,
    secret: &WebhookSecret,
    target: &WebhookTarget,
    timestamp_s: i64,
) -> Request<Full<Bytes>> {
    let signature = sign(secret, due.event_id, timestamp_s, &due.body);
    Request::post(target.path_and_query())
        .header(header::HOST, target.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .header("webhook-id", due.event_id.to_string())
        .header("webhook-timestamp", timestamp_s)
        .header("webhook-signature", signature.standard)
        .header("x-webhook-timestamp", timestamp_s)
        .header("x-webhook-signature", signature.plain)
        .body(Full::new(Bytes::from(due.body.clone())))
        .expect("a judged URL and our own texts make a request")
}

async fn read_some(mut body: Incoming, most: usize, out: &mut Vec<u8>) {
    while out.len() < most {
        let Some(Ok(frame)) = body.frame().await else { return };
        if let Some(data) = frame.data_ref() {
            let some = data.len().min(most - out.len());
            out.extend_from_slice(&data[..some]);
        }
    }
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now_s: i64) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    u64::try_from(at.as_second() - now_s).ok()
}

/// Up to a tenth more, so that what failed together does not come back together.
fn with_jitter(pause: Duration) -> Duration {
    pause + (pause / 10).mul_f64(f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX))
}

/// The beginning of an answer, fit to be shown: text, without anything that moves a cursor.
fn shown(bytes: &[u8], most: usize) -> Option<String> {
    if bytes.is_empty() || most == 0 {
        return None;
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    Some(text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect())
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, 1_445_412_480)
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Wed, 21 Oct 2015 07:29:00 GMT"), Some(60));
        assert_eq!(read("Wed, 21 Oct 2015 07:20:00 GMT"), None, "past");
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn an_answer_is_shown_short_and_tame() {
        assert_eq!(shown(b"", 10), None);
        assert_eq!(shown(b"\x1b[2Jno\nway\0", 100).as_deref(), Some(" [2Jno\nway "));
        assert_eq!(shown(b"0123456789", 4).as_deref(), Some("0123"));
    }
}
