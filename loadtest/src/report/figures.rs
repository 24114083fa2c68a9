//! The figures of one run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::ledger::Verdict;
use crate::load::Job;
use crate::measure::{Quantiles, Second, Tally};
use crate::process::{cpu_of, growth};
use crate::run::kick::Kick;
use crate::run::watchman::{Edge, Log, Look};
use crate::server::Recovery;

/// What a run knows beside counts and samples.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Facts {
    /// When the load began.
    pub load_started: String,
    /// From ack to visible, in order of time. Microseconds.
    pub lag_us: Vec<u64>,
    /// Kills in the middle.
    pub recoveries: Vec<Recovery>,
    /// The kill at the end.
    pub last_recovery: Option<Recovery>,
    /// Idle connections that were opened.
    pub idle_connections: u64,
    /// Of them, open at the end.
    pub idle_connections_left: u64,
    /// Growth of resident memory for each. Bytes.
    pub idle_connection_bytes: Option<f64>,
    /// Idle MQTT sessions that were opened.
    pub idle_sessions: u64,
    /// Of them, open at the end.
    pub idle_sessions_left: u64,
    /// Growth of resident memory for each. Bytes.
    pub idle_session_bytes: Option<f64>,
    /// The end of all sessions by a suspend.
    pub kick: Option<Kick>,
    /// How often the server cut off a slow client.
    pub slow_clients_cut: u64,
    /// Time from the end of the load until the server was quiet. Seconds.
    pub settle_s: f64,
    /// Whether it became quiet in time.
    pub settled: bool,
    /// The ledger against the read-back; `None` where nothing was read back.
    pub verdict: Option<Verdict>,
    /// Bytes on disk once quiet, by folder or file of the data directory.
    pub disk_bytes: BTreeMap<String, u64>,
    /// The same after a clean stop.
    pub disk_bytes_after_stop: BTreeMap<String, u64>,
    /// Time for a clean stop. Milliseconds.
    pub stop_ms: f64,
}

/// One run of a profile.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Integrations that sent.
    pub integrations: u32,
    /// Sensors in all.
    pub sensors: u64,
    /// Offered rate of an open loop.
    pub offered_requests_per_s: Option<f64>,
    /// Length of the measured window. Seconds.
    pub measured_s: f64,
    /// Readings acked in the measured window.
    pub acked: u64,
    /// Readings acked in the whole run.
    pub acked_in_all: u64,
    /// Readings rejected in the measured window.
    pub rejected: u64,
    /// Requests acked in the measured window.
    pub acked_requests: u64,
    /// Requests sent in the measured window.
    pub requests: u64,
    /// Body bytes a request.
    pub body_bytes_per_request: f64,
    /// From the intended time to the ack.
    pub response: Quantiles,
    /// From the send to the answer.
    pub service: Quantiles,
    /// Lateness of the generator itself (open loop).
    pub lateness: Quantiles,
    /// Points of the response time's distribution: share of requests, microseconds.
    pub response_curve: Vec<(f64, u64)>,
    /// Server CPU a reading in the measured window. Nanoseconds.
    pub cpu_ns: f64,
    /// The same without the threads that work behind the ack. Nanoseconds.
    pub ack_cpu_ns: f64,
    /// The same by clock ticks, as a check. Nanoseconds.
    pub ticks_cpu_ns: f64,
    /// Server CPU a reading from the start of the load until the server was quiet. Nanoseconds.
    pub cpu_to_store_ns: f64,
    /// Server CPU a reading by name of thread, in the measured window. Nanoseconds.
    pub by_thread_ns: BTreeMap<String, f64>,
    /// The generator's own CPU a reading in the measured window. Nanoseconds.
    pub generator_cpu_ns: f64,
    /// Cores that the server kept busy in the measured window.
    pub cores_busy: f64,
    /// The most memory that was resident. Bytes.
    pub rss_peak_bytes: u64,
    /// Resident memory at the end. Bytes.
    pub rss_end_bytes: u64,
    /// Answers by status and code, failures by kind.
    pub outcomes: BTreeMap<String, u64>,
    /// Answers whose counts did not fit the batch.
    pub miscounted: u64,
    /// The first few of them.
    pub miscounted_examples: Vec<String>,
    /// A line a second.
    pub seconds: Vec<Second>,
    /// Samples of the process.
    pub looks: Vec<Look>,
    /// Everything else.
    pub facts: Facts,
}

impl Figures {
    /// Puts a run's figures together.
    #[must_use]
    pub fn new(job: &Job, tally: &Tally, log: &Log, facts: Facts) -> Self {
        let measured = Span { from: &log.measure_from, to: &log.stop };
        let whole = Span { from: &log.start, to: &log.end };
        let by_thread_ns = growth(&log.measure_from.by_thread_ns, &log.stop.by_thread_ns);
        let background_ns = cpu_of(&by_thread_ns, &job.profile.server.background_threads);
        let acked = measured.acked();
        Self {
            integrations: job.plan.integrations,
            sensors: u64::from(job.plan.integrations) * u64::from(job.plan.sensors_each),
            offered_requests_per_s: job.requests_per_s.filter(|_| !job.is_closed()),
            measured_s: job.profile.duration_s,
            acked: tally.acked,
            acked_in_all: tally.acked_in_all,
            rejected: tally.rejected,
            acked_requests: tally.acked_requests,
            requests: tally.requests,
            body_bytes_per_request: tally.body_bytes as f64 / (tally.requests.max(1)) as f64,
            response: Quantiles::of(&tally.response),
            service: Quantiles::of(&tally.service),
            lateness: Quantiles::of(&tally.lateness),
            response_curve: curve(&tally.response),
            cpu_ns: measured.cpu_ns() / acked,
            ack_cpu_ns: (measured.cpu_ns() - background_ns as f64) / acked,
            ticks_cpu_ns: (measured.to.ticks_ns - measured.from.ticks_ns) as f64 / acked,
            cpu_to_store_ns: whole.cpu_ns() / whole.acked(),
            by_thread_ns: by_thread_ns.into_iter().map(|(name, cpu_ns)| (name, cpu_ns as f64 / acked)).collect(),
            generator_cpu_ns: measured.to.own_ns.saturating_sub(measured.from.own_ns) as f64 / acked,
            cores_busy: measured.cpu_ns() / 1e9 / (measured.to.at_s - measured.from.at_s).max(1e-9),
            rss_peak_bytes: log.rss_peak_bytes,
            rss_end_bytes: log.looks.last().map_or(0, |look| look.rss_bytes),
            outcomes: tally.outcomes.clone(),
            miscounted: tally.miscounted,
            miscounted_examples: tally.examples.clone(),
            seconds: tally.seconds.clone(),
            looks: log.looks.clone(),
            facts,
        }
    }

    /// Whether nothing was lost, doubled, wrong or miscounted, and no session outlived a suspend.
    #[must_use]
    pub fn promises_kept(&self) -> bool {
        let barrier_held = self.facts.kick.is_none_or(|kick| kick.sessions_outliving == 0);
        self.miscounted == 0 && barrier_held && self.facts.verdict.as_ref().is_none_or(Verdict::is_clean)
    }

    /// The figures that goals and medians speak of, by name. What was not measured is left out.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let mut named = vec![
            ("acked_per_s", self.acked as f64 / self.measured_s),
            ("acked_requests_per_s", self.acked_requests as f64 / self.measured_s),
            ("requests_per_s", self.requests as f64 / self.measured_s),
            ("cpu_ns", self.cpu_ns),
            ("ack_cpu_ns", self.ack_cpu_ns),
            ("ticks_cpu_ns", self.ticks_cpu_ns),
            ("cpu_to_store_ns", self.cpu_to_store_ns),
            ("generator_cpu_ns", self.generator_cpu_ns),
            ("cores_busy", self.cores_busy),
            ("p50_us", self.response.p50_us as f64),
            ("p90_us", self.response.p90_us as f64),
            ("p99_us", self.response.p99_us as f64),
            ("p999_us", self.response.p999_us as f64),
            ("max_us", self.response.max_us as f64),
            ("lateness_p99_us", self.lateness.p99_us as f64),
            ("rss_peak_bytes", self.rss_peak_bytes as f64),
            ("rss_end_bytes", self.rss_end_bytes as f64),
            ("settle_s", self.facts.settle_s),
        ];
        named.extend(self.facts.idle_connection_bytes.map(|bytes| ("idle_connection_bytes", bytes)));
        named.extend(self.facts.idle_session_bytes.map(|bytes| ("idle_session_bytes", bytes)));
        if let Some(kick) = &self.facts.kick {
            named.push(("kick_answered_ms", kick.answered_ms));
            named.push(("kick_ms", kick.answered_ms.max(kick.closed_ms)));
            named.push(("kick_sessions_outliving", kick.sessions_outliving as f64));
        }
        if let Some(lag_us) = crate::report::goals::median(self.facts.lag_us.iter().map(|lag| *lag as f64).collect()) {
            named.push(("lag_p50_us", lag_us));
        }
        if let Some(lag_us) = self.facts.lag_us.iter().max() {
            named.push(("lag_max_us", *lag_us as f64));
        }
        if let Some(store) = self.facts.disk_bytes_after_stop.get("store").filter(|_| self.acked_in_all > 0) {
            named.push(("store_bytes_per_reading", *store as f64 / self.acked_in_all as f64));
        }
        let recoveries = &self.facts.recoveries;
        let median = |of: fn(&Recovery) -> f64| crate::report::goals::median(recoveries.iter().map(of).collect());
        named.extend(median(|recovery| recovery.ready_ms).map(|ms| ("recovery_ms", ms)));
        named.extend(median(|recovery| recovery.read_once_ms).map(|ms| ("spool_read_once_ms", ms)));
        named.extend(median(|recovery| recovery.spool_bytes as f64).map(|bytes| ("recovery_spool_bytes", bytes)));
        named.retain(|(_, value)| value.is_finite());
        named
    }
}

struct Span<'a> {
    from: &'a Edge,
    to: &'a Edge,
}

impl Span<'_> {
    fn cpu_ns(&self) -> f64 {
        self.to.cpu_ns.saturating_sub(self.from.cpu_ns) as f64
    }

    /// Readings acked between the two looks: CPU and count from the same moments.
    fn acked(&self) -> f64 {
        self.to.acked.saturating_sub(self.from.acked) as f64
    }
}

/// Quantiles at evenly spaced "nines", as the plot shows them.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    (0..=40)
        .map(|step| 1.0 - 10f64.powf(-f64::from(step) / 10.0))
        .map(|share| (share, histogram.value_at_quantile(share)))
        .collect()
}
