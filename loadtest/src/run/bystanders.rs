//! Who is connected while the load runs and carries none of it: idle and slow, over HTTP and MQTT.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use super::watchman::Watchman;
use crate::crowd::{self, Slow, Visit};
use crate::load::Job;
use crate::mqtt::{Client, visitor};
use crate::report::figures::Facts;

/// The first few warm up what is made once, so that the rest shows the price of one more.
const FIRST: u32 = 64;

/// Everybody.
#[derive(Debug)]
pub(super) struct Bystanders {
    connections: Vec<TcpStream>,
    /// MQTT sessions.
    pub(super) sessions: Vec<TcpStream>,
    slow: Vec<Slow>,
}

impl Bystanders {
    /// Lets them come, and notes what an idle one costs.
    ///
    /// # Errors
    ///
    /// When one is refused.
    pub(super) fn gather(job: &Job, watchman: &mut Watchman, facts: &mut Facts) -> Result<Self> {
        let crowd = &job.profile.crowd;
        let (addr, path) = (job.connector.addr, &job.profile.server.path);
        let version = job.profile.mqtt.versions[0];
        let settle = Duration::from_secs_f64(crowd.settle_s);
        let visits: Vec<Visit> = job.envelopes.iter().map(|envelope| Visit::http(addr, path, envelope)).collect();
        let (connections, bytes) =
            weigh(watchman, settle, crowd.idle_connections, |_, count| crowd::idle(addr, &visits, count))?;
        facts.idle_connections = connections.len() as u64;
        facts.idle_connection_bytes = bytes;
        let (sessions, bytes) = weigh(watchman, settle, crowd.idle_sessions, |names, count| {
            visitor::idle(&job.gateways, version, names, count)
        })?;
        facts.idle_sessions = sessions.len() as u64;
        facts.idle_session_bytes = bytes;

        let mut slow = Vec::new();
        if crowd.slow_clients > 0 {
            slow.push(Slow::start(addr, vec![visits[0].clone(); crowd.slow_clients as usize]));
        }
        if crowd.slow_sessions > 0 {
            let gateway = &job.gateways[0];
            let client = |number| Client { id: format!("slow-{number}"), version, results: false };
            let visits = (0..crowd.slow_sessions).map(|number| Visit::mqtt(gateway, &client(number))).collect();
            slow.push(Slow::start(gateway.addr, visits));
        }
        Ok(Self { connections, sessions, slow })
    }

    /// Counts who is still there.
    pub(super) fn count(&mut self, facts: &mut Facts) {
        facts.slow_clients_cut = self.slow.drain(..).map(Slow::stop).sum();
        facts.idle_connections_left = crowd::still_open(&self.connections) as u64;
        facts.idle_sessions_left = crowd::still_open(&self.sessions) as u64;
    }
}

/// Opens `count` with `open`, and says by how much the server's memory grew for each.
fn weigh(
    watchman: &mut Watchman,
    settle: Duration,
    count: u32,
    open: impl Fn(&str, u32) -> Result<Vec<TcpStream>>,
) -> Result<(Vec<TcpStream>, Option<f64>)> {
    if count == 0 {
        return Ok((Vec::new(), None));
    }
    let mut connections = open("first", FIRST)?;
    std::thread::sleep(settle);
    let before = watchman.rss_bytes();
    connections.extend(open("idle", count)?);
    std::thread::sleep(settle);
    let after = watchman.rss_bytes();
    Ok((connections, Some(after.saturating_sub(before) as f64 / f64::from(count))))
}
