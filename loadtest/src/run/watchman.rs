//! Samples of the server while a run lasts, over restarts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::load::{Clock, Job};
use crate::process::{Usage, Watch};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(200);
/// Quiet is less than this share of a core.
const QUIET_SHARE: f64 = 0.02;
/// Samples are kept so long to tell whether it is quiet.
const RECENT: Duration = Duration::from_secs(120);

/// One sample.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Look {
    /// Since the start of the load. Seconds; negative before it.
    pub at_s: f64,
    /// CPU of all processes so far. Nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory. Bytes.
    pub rss_bytes: u64,
}

/// CPU at the edges of the measured window.
#[derive(Debug, Default, Clone)]
pub struct Edge {
    /// All CPU. Nanoseconds.
    pub cpu_ns: u64,
    /// By name of thread. Nanoseconds.
    pub by_thread_ns: BTreeMap<String, u64>,
    /// From /proc/PID/stat. Nanoseconds.
    pub ticks_ns: u64,
    /// When it was looked at, since the start of the load. Seconds.
    pub at_s: f64,
    /// Readings acked by then.
    pub acked: u64,
    /// CPU of the generator itself. Nanoseconds.
    pub own_ns: u64,
}

/// What the watchman saw.
#[derive(Debug, Default)]
pub struct Log {
    /// Sample after sample.
    pub looks: Vec<Look>,
    /// At the start of the load.
    pub start: Edge,
    /// At the start of the measured window.
    pub measure_from: Edge,
    /// At its end.
    pub stop: Edge,
    /// At the very end, after the server became quiet.
    pub end: Edge,
    /// The most memory that any of the processes had. Bytes.
    pub rss_peak_bytes: u64,
}

/// Follows the server's process, and the next one after a restart.
#[derive(Debug)]
pub struct Watchman {
    watch: Option<Watch>,
    own: Watch,
    /// CPU of the processes that were killed, as last seen.
    before: Usage,
    current: Usage,
    looked: Option<Instant>,
    recent: Vec<(Instant, u64)>,
    marks: u8,
    log: Log,
}

impl Watchman {
    /// Follows `pid`, if there is one to follow.
    pub(super) fn new(pid: Option<u32>) -> Self {
        Self {
            watch: pid.map(Watch::new),
            own: Watch::new(std::process::id()),
            before: Usage::default(),
            current: Usage::default(),
            looked: None,
            recent: Vec::new(),
            marks: 0,
            log: Log::default(),
        }
    }

    /// The server was restarted as `pid`.
    pub(super) fn follow(&mut self, pid: u32) {
        let gone = std::mem::take(&mut self.current);
        self.before.cpu_ns += gone.cpu_ns;
        self.before.ticks_ns += gone.ticks_ns;
        for (name, cpu_ns) in gone.by_thread_ns {
            *self.before.by_thread_ns.entry(name).or_default() += cpu_ns;
        }
        self.watch = Some(Watch::new(pid));
        self.recent.clear();
    }

    /// Resident memory now.
    pub(super) fn rss_bytes(&mut self) -> u64 {
        self.refresh();
        self.current.rss_bytes
    }

    /// Looks if it is time to, and always at the edges of the measured window.
    pub(super) fn tick(&mut self, clock: &Clock, acked: u64) {
        let now = Instant::now();
        let edges = [clock.start, clock.measure_from, clock.stop_at];
        let reached = edges.iter().filter(|edge| now >= **edge).count() as u8;
        let due = self.looked.is_none_or(|looked| now - looked >= EVERY);
        if !due && reached == self.marks {
            return;
        }
        self.refresh();
        self.looked = Some(now);
        let at_s =
            if now >= clock.start { (now - clock.start).as_secs_f64() } else { -(clock.start - now).as_secs_f64() };
        let edge = self.edge(at_s, acked);
        for mark in self.marks..reached {
            *[&mut self.log.start, &mut self.log.measure_from, &mut self.log.stop][usize::from(mark)] = edge.clone();
        }
        self.marks = reached;
        self.log.looks.push(Look { at_s, cpu_ns: edge.cpu_ns, rss_bytes: self.current.rss_bytes });
        self.log.end = edge;
        self.recent.push((now, self.log.end.cpu_ns));
        self.recent.retain(|(at, _)| now - *at <= RECENT);
    }

    /// Whether the server has done next to nothing for `quiet`, since `since` at the earliest.
    pub(super) fn is_quiet(&self, quiet: Duration, since: Instant) -> bool {
        if self.watch.is_none() {
            return true;
        }
        let Some((last_at, last_ns)) = self.recent.last() else { return false };
        let earlier = self.recent.iter().rev().find(|(at, _)| *last_at - *at >= quiet && *at >= since);
        let Some((at, ns)) = earlier else { return false };
        let share = (last_ns - ns) as f64 / (*last_at - *at).as_nanos() as f64;
        share < QUIET_SHARE
    }

    pub(super) fn into_log(self) -> Log {
        self.log
    }

    fn refresh(&mut self) {
        // A process that is just being restarted has nothing to show.
        if let Some(usage) = self.watch.as_mut().and_then(|watch| watch.look().ok()) {
            self.log.rss_peak_bytes = self.log.rss_peak_bytes.max(usage.rss_peak_bytes);
            self.current = usage;
        }
    }

    fn edge(&mut self, at_s: f64, acked: u64) -> Edge {
        let mut by_thread_ns = self.before.by_thread_ns.clone();
        for (name, cpu_ns) in &self.current.by_thread_ns {
            *by_thread_ns.entry(name.clone()).or_default() += cpu_ns;
        }
        Edge {
            cpu_ns: self.before.cpu_ns + self.current.cpu_ns,
            ticks_ns: self.before.ticks_ns + self.current.ticks_ns,
            by_thread_ns,
            at_s,
            acked,
            own_ns: self.own.look().map_or(0, |usage| usage.cpu_ns),
        }
    }
}

/// When the server is to be killed: at uneven times, the same in every run of one seed.
pub(super) fn kill_times(job: &Job) -> Vec<Instant> {
    let Some(kill) = &job.profile.kill else { return Vec::new() };
    let mut times = Vec::new();
    let mut at = job.clock.start;
    for number in 0.. {
        // Ten draws of a bit make a number between 0 and 1.
        let bits = (0..10u64).filter(|bit| job.plan.draws(number, *bit, 3, 0.5));
        let share: f64 = bits.map(|bit| 0.5f64.powi(bit as i32 + 1)).sum();
        at += Duration::from_secs_f64(kill.every_min_s + share * (kill.every_max_s - kill.every_min_s));
        if at >= job.clock.stop_at {
            break;
        }
        times.push(at);
    }
    times
}
