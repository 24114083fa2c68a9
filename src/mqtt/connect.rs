//! The CONNECT: what cannot be served, then both credentials by the same pipeline as HTTP, then the answer.

use std::{net::IpAddr, num::NonZeroU16, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    audience::Audience,
    codec::Codec,
    edge::Edge,
    exchange::{Answer, Exchange},
    packet::{Connect, Out, Refuse, Version, Welcome, WillRetain},
    wire::Wire,
};
use crate::{
    auth::{self, Call, Credential, NotOpened, SessionRequest},
    model::{IntegrationId, ProblemCode, RequestId, Scope},
};

/// Where the credentials are in a CONNECT.
const CREDENTIALS: &str = "Send the API key as user name and the JWT as password.";

/// A session that was let in.
pub(super) struct Connected {
    pub(super) codec: Codec,
    pub(super) session: auth::Session,
    pub(super) audience: Arc<Audience>,
    /// How long the client may be silent.
    pub(super) patience: Duration,
    /// The token's end.
    pub(super) expires: Instant,
    /// Unacknowledged results that the client takes.
    pub(super) results_unacked_max: usize,
}

/// Judges a CONNECT and writes the answer.
pub(super) async fn judge<S: AsyncRead + AsyncWrite + Unpin + Send>(
    edge: &Arc<Edge>,
    wire: &mut Wire<S>,
    mut codec: Codec,
    request: Connect,
    addr: IpAddr,
) -> Option<Connected> {
    let mut exchange = Exchange::connect(&edge.journal, addr);
    let call = Call { addr, request_id: exchange.request_id, now_us: jiff::Timestamp::now().as_microsecond() };
    let client_id = ClientId::of(&request, &call);
    let opened = match unacceptable(edge, &request) {
        Some(refusal) => Err(refusal),
        None => open(edge, &request, &client_id, &call).await,
    };
    let session = match opened {
        // Past its end, within the leeway for clocks: it opens no session, which would end at once.
        Ok(session) if token_left(&session, &call).is_zero() => {
            let expired = ProblemCode::TokenExpired;
            Err(Refusal {
                integration_id: Some(session.integration.facts().id),
                key_generation: Some(session.key_generation()),
                ..Refusal::problem(expired, expired.code(), None, call.request_id)
            })
        }
        opened => opened,
    };
    let session = match session {
        Ok(session) => session,
        Err(refusal) => {
            let written = codec.encode(Out::Refuse(refusal.refuse, refusal.words.clone()), &mut wire.unsent);
            debug_assert!(written.is_ok(), "a refusal fits");
            edge.meters.connect(refusal.outcome);
            exchange.integration_id = refusal.integration_id;
            exchange.key_generation = refusal.key_generation;
            exchange.end(Answer { message: Some(&refusal.words), ..refusal.answer });
            return None;
        }
    };
    exchange.integration_id = Some(session.integration.facts().id);
    exchange.key_generation = Some(session.key_generation());
    exchange.granted = Some(true);
    let (server_keep_alive_s, patience) = keep_alive(edge, codec.version(), request.keep_alive_s);
    let welcome = Welcome {
        assigned_client_id: client_id.is_assigned.then_some(&client_id.id),
        server_keep_alive_s,
        receive_maximum: NonZeroU16::new(edge.config.receive_maximum).unwrap_or(NonZeroU16::MIN),
        packet_bytes_max: u32::try_from(edge.config.packet_bytes_max).unwrap_or(u32::MAX),
    };
    codec.encode(Out::Welcome(welcome), &mut wire.unsent).ok()?;
    edge.meters.connect("ok");
    exchange.end(Answer { status: 200, ..Answer::default() });
    Some(Connected {
        audience: edge.audiences.of(session.integration.facts().id, &edge.config),
        expires: Instant::now() + token_left(&session, &call),
        results_unacked_max: usize::from(request.receive_maximum).min(edge.config.results_unacked_max),
        codec,
        session,
        patience,
    })
}

/// How long the token is still good for; a century at the most.
fn token_left(session: &auth::Session, call: &Call) -> Duration {
    const CENTURY_US: i128 = 100 * 365 * 86_400 * 1_000_000;
    let left_us = i128::from(session.token_expires_s) * 1_000_000 - i128::from(call.now_us);
    Duration::from_micros(u64::try_from(left_us.clamp(0, CENTURY_US)).unwrap_or(0))
}

/// A CONNECT that is refused.
struct Refusal {
    refuse: Refuse,
    /// For the reason string of version 5.
    words: String,
    /// For the metric.
    outcome: &'static str,
    answer: Answer<'static>,
    integration_id: Option<IntegrationId>,
    key_generation: Option<u64>,
}

impl Refusal {
    /// What we do not serve, whoever asks.
    fn unacceptable(refuse: Refuse, outcome: &'static str, words: &str) -> Self {
        let answer = Answer { status: 400, cause: Some(outcome), ..Answer::default() };
        Self { refuse, words: words.to_owned(), outcome, answer, integration_id: None, key_generation: None }
    }

    /// The answer of `api.md` §2 to a problem.
    fn problem(problem: ProblemCode, cause: &'static str, detail: Option<&str>, request_id: RequestId) -> Self {
        let refuse = match (problem, problem.status()) {
            (ProblemCode::TooManySessions, _) => Refuse::Quota,
            (_, 401) => Refuse::Credentials,
            (_, 403) => Refuse::NotAuthorized,
            (_, 429) => Refuse::ConnectionRate,
            _ => Refuse::Unavailable,
        };
        let detail = match problem {
            ProblemCode::MissingCredential => CREDENTIALS,
            _ => detail.unwrap_or_else(|| problem.remedy()),
        };
        Self {
            refuse,
            words: format!("{} ({request_id}): {detail}", problem.code()),
            outcome: problem.code(),
            answer: Answer {
                status: problem.status(),
                code: Some(problem.code()),
                cause: Some(cause),
                ..Answer::default()
            },
            integration_id: None,
            key_generation: None,
        }
    }
}

/// The client's name for itself, or ours where it has none.
struct ClientId {
    id: Box<str>,
    is_assigned: bool,
}

impl ClientId {
    fn of(request: &Connect, call: &Call) -> Self {
        let is_assigned = request.client_id.is_empty();
        let id = if is_assigned { call.request_id.to_string().into() } else { request.client_id.clone() };
        Self { id, is_assigned }
    }
}

fn unacceptable(edge: &Edge, request: &Connect) -> Option<Refusal> {
    let will = |refuse| Some(Refusal::unacceptable(refuse, "will", "Wills are not supported."));
    match request.will {
        Some(WillRetain(true)) => return will(Refuse::WillRetain),
        Some(WillRetain(false)) => return will(Refuse::Will),
        None => {}
    }
    if request.has_auth_method {
        return Some(Refusal::unacceptable(Refuse::AuthMethod, "auth_method", CREDENTIALS));
    }
    let id = &request.client_id;
    if id.len() > edge.config.client_id_bytes_max || id.contains('\0') {
        let words = "The client id is too long, or has a character that is not allowed.";
        return Some(Refusal::unacceptable(Refuse::ClientId, "client_id", words));
    }
    None
}

async fn open(edge: &Edge, request: &Connect, client_id: &ClientId, call: &Call) -> Result<auth::Session, Refusal> {
    let credential = Credential {
        api_key: request.username.as_deref().unwrap_or_default(),
        token: request.password.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default(),
    };
    let opening = SessionRequest {
        client_id: &client_id.id,
        scope: Scope::SensorsWrite,
        sessions_max: edge.config.sessions_per_integration_max,
        opens_per_minute: edge.config.connects_per_minute,
    };
    let refused = |problem, cause, detail: Option<&str>| Refusal::problem(problem, cause, detail, call.request_id);
    edge.door.open_session(&credential, call, &opening).await.map_err(|not_opened| match not_opened {
        NotOpened::Denied(denial) => Refusal {
            integration_id: denial.integration_id,
            key_generation: denial.key_generation,
            ..refused(denial.problem, denial.cause.as_str(), denial.detail.as_deref())
        },
        NotOpened::Full => refused(ProblemCode::TooManySessions, "sessions_max", None),
        NotOpened::TooOften => refused(ProblemCode::TooManySessions, "connects_per_minute", None),
    })
}

/// The keep-alive that version 5 is told to use instead of its own, and how long the client may be silent: one and a
/// half times the keep-alive (MQTT 5 §3.1.2.10). 3.1.1 cannot be told, so there only the idle time-out bounds it.
fn keep_alive(edge: &Edge, version: Version, wish_s: u16) -> (Option<u16>, Duration) {
    let one_and_a_half = |seconds: u16| Duration::from_millis(u64::from(seconds) * 1_500);
    let max_s = edge.config.keep_alive_max_s;
    match (version, wish_s) {
        (Version::V5, seconds) if seconds == 0 || seconds > max_s => (Some(max_s), one_and_a_half(max_s)),
        (Version::V5, seconds) => (None, one_and_a_half(seconds)),
        (Version::V3, 0) => (None, edge.config.idle_timeout()),
        (Version::V3, seconds) => (None, one_and_a_half(seconds).min(edge.config.idle_timeout())),
    }
}
