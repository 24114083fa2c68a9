//! One profile from start to report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use crate::admin_client::AdminClient;
use crate::body::Template;
use crate::connection::{Connector, Envelope};
use crate::fixture::{Scratch, furnish};
use crate::lag::Probe;
use crate::ledger::Verdict;
use crate::load::{self, Clock, Job};
use crate::mqtt::{Gateway, visitor};
use crate::plan::Plan;
use crate::process::disk_bytes;
use crate::profile::{Load, Profile, ServerKind};
use crate::readback;
use crate::report::figures::{Facts, Figures};
use crate::server::{Endpoints, Recovery, Server};
use crate::setup::{self, Estate};

mod bystanders;
pub mod kick;
pub mod watchman;

use bystanders::Bystanders;
use watchman::{Watchman, kill_times};

/// Where things are.
#[derive(Debug, Clone)]
pub struct Site {
    /// sensorgate's binary.
    pub server_binary: PathBuf,
    /// This program, for the floors.
    pub own_binary: PathBuf,
    /// Fixtures and data directories go below it.
    pub work_dir: PathBuf,
    /// `demo.json` of a running server that is to be used instead of one of our own.
    pub target: Option<PathBuf>,
}

/// Everything that a run needs, standing.
struct Stage {
    server: Option<Server>,
    endpoints: Endpoints,
    estate: Option<Estate>,
    plan: Arc<Plan>,
    /// Kept so that it is removed last.
    _scratch: Scratch,
}

/// Runs `profile` once. `requests_per_s` is the rate of an open loop.
///
/// # Errors
///
/// When the run itself fails; a broken promise is in the figures.
pub fn run(profile: &Profile, site: &Site, requests_per_s: Option<f64>) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut stage = raise(profile, site)?;
    let admins = match &stage.estate {
        Some(estate) => runtime.block_on(setup::administrators(&stage.endpoints, estate))?,
        None => Vec::new(),
    };
    let job = prepare(profile, &stage, &runtime, requests_per_s)?;
    if profile.server.stored_subscription {
        visitor::leave_subscription(&job.gateways[0])?;
    }

    let mut watchman = Watchman::new(stage.server.as_ref().map(Server::pid));
    let mut facts = Facts { load_started: Timestamp::now().to_string(), ..Facts::default() };
    let mut bystanders = Bystanders::gather(&job, &mut watchman, &mut facts)?;

    let (job, running) = load::start(job)?;
    let probe = probe(profile, &job, &admins, stage.estate.as_ref());
    let recoveries = attend(&job, &running, &mut stage, &mut watchman)?;
    let outcome = running.join()?;
    bystanders.count(&mut facts);
    facts.lag_us = probe.map(Probe::stop).unwrap_or_default();
    if let Some(estate) = stage.estate.as_ref().filter(|_| profile.crowd.kick) {
        facts.kick = Some(kick::kick(&admins, estate, std::mem::take(&mut bystanders.sessions), &runtime)?);
    }
    drop(bystanders);

    if profile.kill.is_some()
        && let Some(server) = stage.server.as_mut()
    {
        // Nothing acked in the last moment may hang on a clean end.
        facts.last_recovery = Some(server.kill_and_restart(job.clock.start.elapsed())?);
        watchman.follow(server.pid());
    }
    settle(profile, &job, &mut stage, &mut watchman, &mut facts)?;
    let ledger = Arc::new(outcome.ledger);
    facts.verdict = verify(profile, &stage, &admins, &ledger, &runtime)?;
    facts.recoveries = recoveries;
    if let Some(server) = stage.server.take() {
        facts.disk_bytes = disk_bytes(server.data_dir());
        facts.stop_ms = server.stop()?.as_secs_f64() * 1e3;
        facts.disk_bytes_after_stop = disk_bytes(&stage_dir(&stage));
    }
    Ok(Figures::new(&job, &outcome.tally, &watchman.into_log(), facts))
}

fn stage_dir(stage: &Stage) -> PathBuf {
    stage._scratch.path().join("data")
}

/// Starts the server that the profile names, or takes the running one.
fn raise(profile: &Profile, site: &Site) -> Result<Stage> {
    let now_us = Timestamp::now().as_microsecond();
    let plan = Plan::new(profile, now_us)?;
    let scratch = Scratch::new(&site.work_dir)?;
    if let Some(demo) = site.target.as_ref().filter(|_| profile.server.kind == ServerKind::Sensorgate) {
        ensure!(profile.kill.is_none(), "a server that was not started here is not killed");
        let (endpoints, estate, names) = setup::read_demo(demo)?;
        let plan = Arc::new(plan.for_names(names));
        return Ok(Stage { server: None, endpoints, estate: Some(estate), plan, _scratch: scratch });
    }
    let data_dir = scratch.path().join("data");
    let log = site.work_dir.join(format!("{}.server.log", profile.name));
    if log.exists() {
        std::fs::remove_file(&log)?;
    }
    let (binary, estate) = match profile.server.kind {
        ServerKind::Sensorgate => {
            let estate = furnish(profile, &plan, &site.server_binary, &site.work_dir, &data_dir)?;
            (site.server_binary.as_path(), Some(estate))
        }
        ServerKind::FloorDrop | ServerKind::FloorParse | ServerKind::Command => {
            std::fs::create_dir_all(&data_dir)?;
            (site.own_binary.as_path(), None)
        }
    };
    let server = Server::start(&profile.server, binary, &data_dir, &log)?;
    let endpoints = server.endpoints.clone();
    Ok(Stage { server: Some(server), endpoints, estate, plan: Arc::new(plan), _scratch: scratch })
}

fn prepare(profile: &Profile, stage: &Stage, runtime: &tokio::runtime::Runtime, rate: Option<f64>) -> Result<Job> {
    let connector = Connector { addr: stage.endpoints.http_addr()?, protocol: profile.protocol };
    let envelope = |credentials: Option<&_>| {
        let content_type = &profile.data.body.content_type;
        Envelope::new(&connector, &profile.server.path, content_type, profile.encoding, credentials)
    };
    let mut callers = vec![("0".to_owned(), None)];
    if let Some(estate) = &stage.estate {
        let credentials = runtime.block_on(setup::tokens(&stage.endpoints, estate))?;
        let ids = estate.integrations.iter().map(|integration| integration.id.clone());
        callers = ids.zip(credentials.into_iter().map(Some)).collect();
    }
    let envelopes = callers.iter().map(|(_, caller)| envelope(caller.as_ref())).collect::<Result<Vec<_>>>()?;
    let mut gateways = Vec::new();
    if profile.speaks_mqtt() {
        let addr = stage.endpoints.mqtt_addr()?;
        gateways = callers.into_iter().map(|(id, caller)| Gateway::new(addr, &profile.server, &id, caller)).collect();
    }
    let requests_per_s = rate.or(profile.requests_per_s());
    if let (Some(requests_per_s), false) = (requests_per_s, matches!(profile.load, Load::Closed { .. })) {
        stage.plan.check_room(requests_per_s * profile.total_s() * f64::from(profile.data.readings_per_batch))?;
    }
    Ok(Job {
        profile: profile.clone(),
        plan: Arc::clone(&stage.plan),
        connector,
        envelopes,
        gateways,
        template: Template::new(&profile.data.body, profile.encoding)?,
        requests_per_s,
        trusting: stage.estate.is_none(),
        clock: Clock::new(profile, Duration::ZERO),
        acked: AtomicU64::new(0),
        fresh: Mutex::new(None),
    })
}

fn probe(profile: &Profile, job: &Arc<Job>, admins: &[AdminClient], estate: Option<&Estate>) -> Option<Probe> {
    let estate = estate.filter(|_| profile.check.lag_probe)?;
    Some(Probe::start(Arc::clone(job), admins.to_vec(), estate.clone()))
}

/// Watches over the load: samples, kills by plan, tells how it goes.
fn attend(
    job: &Arc<Job>,
    running: &load::Running,
    stage: &mut Stage,
    watchman: &mut Watchman,
) -> Result<Vec<Recovery>> {
    let mut recoveries = Vec::new();
    let mut kills = kill_times(job).into_iter().peekable();
    let mut told = Instant::now();
    while !running.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
        let now = Instant::now();
        watchman.tick(&job.clock, job.acked_so_far());
        let Some(server) = stage.server.as_mut() else { continue };
        if kills.next_if(|at| *at <= now).is_some() {
            recoveries.push(server.kill_and_restart(now - job.clock.start)?);
            watchman.follow(server.pid());
        } else {
            server.ensure_running()?;
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = now;
            eprintln!("  {:4.0} s: {} readings acked", (now - job.clock.start).as_secs_f64(), job.acked_so_far());
        }
    }
    Ok(recoveries)
}

/// Waits until the server is quiet: what was acked stands in the store by then.
fn settle(profile: &Profile, job: &Job, stage: &mut Stage, watchman: &mut Watchman, facts: &mut Facts) -> Result<()> {
    let begin = Instant::now();
    let limit = Duration::from_secs_f64(profile.check.settle_s);
    let quiet = Duration::from_secs_f64(profile.check.quiet_s);
    while begin.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(200));
        watchman.tick(&job.clock, job.acked_so_far());
        if let Some(server) = stage.server.as_mut() {
            server.ensure_running()?;
        }
        if watchman.is_quiet(quiet, begin) {
            break;
        }
    }
    facts.settle_s = begin.elapsed().as_secs_f64();
    facts.settled = watchman.is_quiet(quiet, begin) || limit.is_zero();
    Ok(())
}

fn verify(
    profile: &Profile,
    stage: &Stage,
    admins: &[AdminClient],
    ledger: &Arc<crate::ledger::Ledger>,
    runtime: &tokio::runtime::Runtime,
) -> Result<Option<Verdict>> {
    let Some(estate) = stage.estate.as_ref().filter(|_| profile.check.read_back_share > 0.0) else { return Ok(None) };
    let check = readback::check(admins, estate, Arc::clone(ledger), profile.check.read_back_share);
    let verdict = runtime.block_on(check).context("reading back failed")?;
    Ok(Some(verdict))
}

/// Figures of several runs of one profile, by name of profile.
pub type Rounds = BTreeMap<String, Vec<Figures>>;

/// The folder for fixtures and data where none is named.
#[must_use]
pub fn default_work_dir() -> PathBuf {
    std::env::temp_dir().join("sensorgate-loadtest")
}

/// The server's binary where none is named: beside this one.
#[must_use]
pub fn default_server_binary(own_binary: &Path) -> PathBuf {
    own_binary.with_file_name("sensorgate")
}
