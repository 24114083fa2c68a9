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
    packet::{Connect, Out, Refuse, Version, Welcome, WillRetain},
    wire::Wire,
};
use crate::{
    auth::{self, Call, Credential, Denial, NotOpened, SessionRequest},
    model::{ProblemCode, RequestId, Scope},
};

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
pub(super) async fn judge<S: AsyncRead + AsyncWrite + Unpin>(
    edge: &Arc<Edge>,
    wire: &mut Wire<S>,
    mut codec: Codec,
    request: Connect,
    addr: IpAddr,
) -> Option<Connected> {
    let call = Call { addr, request_id: RequestId::generate(), now_us: jiff::Timestamp::now().as_microsecond() };
    let client_id = ClientId::of(&request, &call);
    let opened = match refused(edge, &request) {
        Some((refuse, words)) => Err((refuse, words.to_owned())),
        None => open(edge, &request, &client_id, &call).await,
    };
    let session = match opened {
        Ok(session) => session,
        Err((refuse, words)) => {
            let written = codec.encode(Out::Refuse(refuse, words), &mut wire.unsent);
            debug_assert!(written.is_ok(), "a refusal fits");
            return None;
        }
    };
    let (server_keep_alive_s, patience) = keep_alive(edge, codec.version(), request.keep_alive_s);
    let welcome = Welcome {
        assigned_client_id: client_id.is_assigned.then_some(&client_id.id),
        server_keep_alive_s,
        receive_maximum: NonZeroU16::new(edge.config.receive_maximum).unwrap_or(NonZeroU16::MIN),
        packet_bytes_max: u32::try_from(edge.config.packet_bytes_max).unwrap_or(u32::MAX),
    };
    codec.encode(Out::Welcome(welcome), &mut wire.unsent).ok()?;
    let token_left = i128::from(session.token_expires_s) * 1_000_000 - i128::from(call.now_us);
    let token_left = Duration::from_micros(u64::try_from(token_left).unwrap_or(0));
    Some(Connected {
        audience: edge.audiences.of(session.integration.facts().id),
        expires: Instant::now() + token_left.min(Duration::from_secs(u64::from(u32::MAX))),
        results_unacked_max: usize::from(request.receive_maximum).min(edge.config.results_unacked_max),
        codec,
        session,
        patience,
    })
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

/// What we do not serve, whoever asks.
fn refused(edge: &Edge, request: &Connect) -> Option<(Refuse, &'static str)> {
    match request.will {
        Some(WillRetain(true)) => return Some((Refuse::WillRetain, "Wills are not supported.")),
        Some(WillRetain(false)) => return Some((Refuse::Will, "Wills are not supported.")),
        None => {}
    }
    if request.has_auth_method {
        return Some((Refuse::AuthMethod, "Send the API key as user name and the JWT as password."));
    }
    let id = &request.client_id;
    if id.len() > edge.config.client_id_bytes_max || id.contains('\0') {
        return Some((Refuse::ClientId, "The client id is too long, or has a character that is not allowed."));
    }
    None
}

async fn open(
    edge: &Edge,
    request: &Connect,
    client_id: &ClientId,
    call: &Call,
) -> Result<auth::Session, (Refuse, String)> {
    let refuse = |refuse, problem: ProblemCode, detail: Option<&str>| {
        let detail = detail.unwrap_or_else(|| problem.remedy());
        (refuse, format!("{} ({}): {detail}", problem.code(), call.request_id))
    };
    let credential = Credential {
        api_key: request.username.as_deref().unwrap_or_default(),
        token: request.password.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default(),
    };
    let opening = SessionRequest {
        client_id: &client_id.id,
        scope: Scope::SensorsWrite,
        sessions_max: edge.config.sessions_per_integration_max,
    };
    match edge.door.open_session(&credential, call, &opening).await {
        Ok(session) => Ok(session),
        Err(NotOpened::Denied(denial)) => {
            log_denial(call, &denial);
            Err(refuse(code(denial.problem), denial.problem, denial.detail.as_deref()))
        }
        Err(NotOpened::Full) => {
            let words = format!("The integration has its full number of sessions ({}).", call.request_id);
            Err((Refuse::Quota, words))
        }
    }
}

/// The answer to a denial (`api.md` §2).
fn code(problem: ProblemCode) -> Refuse {
    match problem.status() {
        401 => Refuse::Credentials,
        403 => Refuse::NotAuthorized,
        429 => Refuse::ConnectionRate,
        _ => Refuse::Unavailable,
    }
}

fn log_denial(call: &Call, denial: &Denial) {
    tracing::info!(
        request_id = %call.request_id,
        integration_id = denial.integration_id.map(tracing::field::display),
        addr = %call.addr,
        code = denial.problem.code(),
        cause = denial.cause.as_str(),
        "MQTT connection refused"
    );
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
