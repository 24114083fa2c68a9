//! How long a suspend takes to end every session of an integration: until the administrator is answered, and until the
//! last socket is closed.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Sessions whose sockets were still open when the last suspend had been answered: there should be none.
    pub sessions_outliving: u64,
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
    let is_answered = Arc::new(AtomicBool::new(false));
    let answered_yet = Arc::clone(&is_answered);
    let watching = std::thread::spawn(move || watch(sessions, begin, &answered_yet));
    let mut sessions_cut = 0;
    for integration in &estate.integrations {
        let path = format!("/admin/v1/integrations/{}/suspend", integration.id);
        let reason = json!({ "reason": "The load generator times the end of all sessions." });
        let suspended: Value = runtime.block_on(admins[integration.organisation].post(&path, &reason))?;
        sessions_cut += suspended["cut"]["sessions"].as_u64().context("the suspend does not say what it cut")?;
    }
    let answered = begin.elapsed();
    is_answered.store(true, Ordering::Release);
    let (closed, outliving) =
        watching.join().map_err(|_| anyhow!("the thread that watches the sessions panicked"))??;
    Ok(Kick {
        sessions: standing,
        sessions_cut,
        answered_ms: answered.as_secs_f64() * 1e3,
        closed_ms: closed.as_secs_f64() * 1e3,
        sessions_outliving: outliving,
    })
}

/// Watches until the last session is closed; says when that was, and how many were open in the first look after
/// the suspend was answered.
fn watch(mut sessions: Vec<TcpStream>, begin: Instant, is_answered: &AtomicBool) -> Result<(Duration, u64)> {
    let mut outliving = None;
    while !sessions.is_empty() {
        ensure!(begin.elapsed() < PATIENCE, "{} sessions outlived the suspend", sessions.len());
        let is_answered = is_answered.load(Ordering::Acquire);
        drop_closed(&mut sessions)?;
        if is_answered {
            outliving.get_or_insert(sessions.len() as u64);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((begin.elapsed(), outliving.unwrap_or(0)))
}
