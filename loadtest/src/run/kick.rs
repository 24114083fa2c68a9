//! How long a suspend takes to end every session of an integration: until the administrator is answered, and until the
//! last socket is closed.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::admin_client::AdminClient;
use crate::mqtt::visitor::drop_closed;
use crate::setup::Estate;

/// A session that is still open after so long counts as never ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was seen.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Kick {
    /// Sessions that stood.
    pub sessions: u64,
    /// Sessions that the server says it has ended.
    pub sessions_cut: u64,
    /// Until the last suspend was answered. Milliseconds.
    pub answered_ms: f64,
    /// Until the last socket was closed. Milliseconds.
    pub closed_ms: f64,
}

/// Suspends all integrations of `estate`, one after the other, and watches `sessions` end.
///
/// # Errors
///
/// When a suspend is refused, or a session outlives it.
pub(super) fn kick(
    admins: &[AdminClient],
    estate: &Estate,
    mut sessions: Vec<TcpStream>,
    runtime: &tokio::runtime::Runtime,
) -> Result<Kick> {
    drop_closed(&mut sessions)?;
    let standing = sessions.len() as u64;
    let begin = Instant::now();
    let watching = std::thread::spawn(move || -> Result<Duration> {
        while !sessions.is_empty() {
            ensure!(begin.elapsed() < PATIENCE, "{} sessions outlived the suspend", sessions.len());
            drop_closed(&mut sessions)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(begin.elapsed())
    });
    let mut sessions_cut = 0;
    for integration in &estate.integrations {
        let path = format!("/admin/v1/integrations/{}/suspend", integration.id);
        let reason = json!({ "reason": "The load generator times the end of all sessions." });
        let suspended: Value = runtime.block_on(admins[integration.organisation].post(&path, &reason))?;
        sessions_cut += suspended["cut"]["sessions"].as_u64().context("the suspend does not say what it cut")?;
    }
    let answered = begin.elapsed();
    let closed = watching.join().map_err(|_| anyhow!("the thread that watches the sessions panicked"))??;
    Ok(Kick {
        sessions: standing,
        sessions_cut,
        answered_ms: answered.as_secs_f64() * 1e3,
        closed_ms: closed.as_secs_f64() * 1e3,
    })
}
