//! Sessions that outlive a request (MQTT): each is known here from its CONNECT to the end of its connection, so that
//! who may no longer be connected can be cut off (S113), and a client id has one session at a time.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Denial, Integration, Principal, allowlist};
use crate::model::{IntegrationFacts, Scope, Status};

/// Why a session has to end now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionEnd {
    /// Suspended, revoked, regenerated, or the address is no longer on the allowlist.
    AccessChanged,
    /// The scope that the session lives by was taken away.
    ScopeLost,
    /// Another connection of the same integration came with the same client id.
    TakenOver,
}

/// Why a session was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOpened {
    /// The caller may not.
    Denied(Denial),
    /// As many sessions of the integration are open as its edge allows.
    Full,
    /// The integration opens sessions faster than its edge allows.
    TooOften,
}

/// What kind of session to open.
#[derive(Debug, Clone, Copy)]
pub struct SessionRequest<'a> {
    /// The client's own name, unique within its integration: a second session with it ends the first.
    pub client_id: &'a str,
    /// The scope that the session lives by.
    pub scope: Scope,
    /// How many sessions an integration may have.
    pub sessions_max: usize,
    /// How many an integration may open in a minute, once `sessions_max` were opened in one go: two gateways with one
    /// client id, which end each other's session for ever, keep nobody busy.
    pub opens_per_minute: u32,
}

/// A live session. Dropped as the last thing of its connection, when nothing more can be read or sent on it: who cuts
/// sessions waits for that.
#[derive(Debug)]
pub struct Session {
    /// The integration that the key names.
    pub integration: Arc<Integration>,
    /// The true address of the caller.
    pub addr: IpAddr,
    /// When the token ends, Unix seconds: the session may not outlive it (S190).
    pub token_expires_s: u64,
    generation: u64,
    number: u64,
    live: Arc<Live>,
    end: watch::Receiver<Option<SessionEnd>>,
}

/// What is known of a session from outside.
#[derive(Debug)]
pub(super) struct Live {
    client_id: Box<str>,
    scope: Scope,
    addr: IpAddr,
    generation: u64,
    /// Set before the gate is drained, and looked at behind the gate.
    cut: AtomicBool,
    end: watch::Sender<Option<SessionEnd>>,
    closed: CancellationToken,
}

impl Live {
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    fn must_end(&self, facts: &IntegrationFacts) -> Option<SessionEnd> {
        if facts.status != Status::Active
            || facts.key_generation != self.generation
            || !allowlist::allows(facts.allowlist.as_deref(), self.addr)
        {
            Some(SessionEnd::AccessChanged)
        } else if facts.scopes.contains(self.scope) {
            None
        } else {
            Some(SessionEnd::ScopeLost)
        }
    }

    fn cut(&self, end: SessionEnd) {
        // Who merely comes again has a right to what was sent before.
        if end != SessionEnd::TakenOver {
            self.cut.store(true, Ordering::Release);
        }
        self.end.send_if_modified(|known| known.is_none() && known.replace(end).is_none());
    }
}

impl Session {
    /// One request on this session: counted as in flight while it lives, judged by the facts of now.
    #[must_use]
    pub fn request(&self) -> Principal {
        let facts = self.integration.facts();
        Principal::new(Arc::clone(&self.integration), facts, self.generation, self.addr, self.token_expires_s)
            .on_session(Arc::clone(&self.live))
    }

    /// Which of the integration's keys opened it.
    #[must_use]
    pub const fn key_generation(&self) -> u64 {
        self.generation
    }

    /// Waits until the session has to end. Cancel-safe; once ended, it answers at once and for ever.
    pub async fn ended(&mut self) -> SessionEnd {
        let end = self.end.wait_for(Option::is_some).await.map_or(None, |end| *end);
        match end {
            Some(end) => end,
            // The sender lives in `live`, which we hold.
            None => std::future::pending().await,
        }
    }

    /// A session for tests of an edge, which have no credentials to check.
    #[cfg(test)]
    pub(crate) fn assumed(integration: Arc<Integration>, addr: IpAddr, opening: &SessionRequest<'_>) -> Self {
        let principal = Principal::assumed(integration, addr);
        Sessions::open(&principal, opening, 0).expect("a test opens no more than it allows")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.integration.sessions.leave(self.number, &self.live);
        self.live.closed.cancel();
    }
}

/// The live sessions of one integration.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last_number: u64,
    /// GCRA: when the sessions opened so far would have been opened at an even rate.
    opened_until_us: i64,
    by_number: FxHashMap<u64, Arc<Live>>,
    by_client_id: FxHashMap<Box<str>, u64>,
}

impl Sessions {
    /// Opens a session for `principal`, and ends the one that has the same client id. The facts have to be judged
    /// once more afterwards ([`Sessions::cut_those_shut_out`] may have passed in between).
    pub(super) fn open(principal: &Principal, opening: &SessionRequest<'_>, now_us: i64) -> Result<Session, NotOpened> {
        let integration = Arc::clone(&principal.integration);
        let (sender, end) = watch::channel(None);
        let live = Arc::new(Live {
            client_id: opening.client_id.into(),
            scope: opening.scope,
            addr: principal.addr,
            generation: principal.generation,
            cut: AtomicBool::new(false),
            end: sender,
            closed: CancellationToken::new(),
        });
        let number = integration.sessions.enter(&live, opening, now_us)?;
        if let Some(end) = live.must_end(&integration.facts()) {
            live.cut(end);
        }
        Ok(Session {
            addr: principal.addr,
            token_expires_s: principal.token_expires_s,
            generation: principal.generation,
            integration,
            number,
            live,
            end,
        })
    }

    fn enter(&self, live: &Arc<Live>, opening: &SessionRequest<'_>, now_us: i64) -> Result<u64, NotOpened> {
        let mut table = self.0.lock();
        let before = table.by_client_id.get(&live.client_id).copied();
        if before.is_none() && table.by_number.len() >= opening.sessions_max {
            return Err(NotOpened::Full);
        }
        table.charge(opening, now_us)?;
        table.last_number += 1;
        let number = table.last_number;
        if let Some(before) = before.and_then(|before| table.by_number.get(&before)) {
            before.cut(SessionEnd::TakenOver);
        }
        table.by_client_id.insert(live.client_id.clone(), number);
        table.by_number.insert(number, Arc::clone(live));
        Ok(number)
    }

    fn leave(&self, number: u64, live: &Live) {
        let mut table = self.0.lock();
        table.by_number.remove(&number);
        if table.by_client_id.get(&live.client_id) == Some(&number) {
            table.by_client_id.remove(&live.client_id);
        }
    }

    /// Tells every session that `facts` shut out to end. They are in force already, so nobody new gets in.
    pub(super) fn cut_those_shut_out(&self, facts: &IntegrationFacts) -> CutSessions {
        let table = self.0.lock();
        let mut cut = Vec::new();
        for live in table.by_number.values() {
            if let Some(end) = live.must_end(facts) {
                live.cut(end);
                cut.push(live.closed.clone());
            }
        }
        CutSessions(cut)
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().by_number.len()
    }
}

impl Table {
    /// Charges one opening, or tells that it comes too soon after the others.
    fn charge(&mut self, opening: &SessionRequest<'_>, now_us: i64) -> Result<(), NotOpened> {
        let interval_us = 60_000_000 / i64::from(opening.opens_per_minute.max(1));
        let burst = i64::try_from(opening.sessions_max).unwrap_or(i64::MAX);
        let until_us = self.opened_until_us.max(now_us);
        if until_us - now_us > interval_us.saturating_mul(burst - 1) {
            return Err(NotOpened::TooOften);
        }
        self.opened_until_us = until_us + interval_us;
        Ok(())
    }
}

/// Sessions that were told to end.
pub(super) struct CutSessions(Vec<CancellationToken>);

impl CutSessions {
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Waits until the last of them is closed.
    pub(super) async fn closed(self) {
        for closed in self.0 {
            closed.cancelled().await;
        }
    }
}
