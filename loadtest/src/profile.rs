//! What to do, as data: one TOML file per profile, each able to build on another by `base`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// Requests a minute that one integration may make at most (the contract's ceiling).
pub const REQUESTS_PER_MINUTE_MAX: u32 = 10_000;

/// One profile, as read and checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The file's name without `.toml`; set by [`Profile::load`].
    #[serde(default)]
    pub name: String,
    /// What it shows, in one sentence, for the report.
    pub description: String,
    /// Open connections that carry load over HTTP; 0 where all of it goes over MQTT.
    pub connections: u32,
    /// Wire protocol.
    pub protocol: Protocol,
    /// Requests in flight on one connection; above 1 only with HTTP/2.
    pub streams: u32,
    /// Generator threads; each has its own share of the integrations.
    pub threads: u32,
    /// Content-Encoding of the bodies.
    pub encoding: Encoding,
    /// After this long without an answer the outcome counts as unknown. Milliseconds.
    pub timeout_ms: u64,
    /// Load before the measured window. Seconds.
    pub warm_up_s: f64,
    /// The measured window. Seconds.
    pub duration_s: f64,
    /// What to do with a batch that was refused with 429 or 503, or the PUBACK reasons for the same.
    pub on_refusal: OnRefusal,
    /// Sessions that carry load over MQTT, beside the connections.
    pub mqtt: Mqtt,
    /// How requests follow one another.
    pub load: Load,
    /// What is sent.
    pub data: Data,
    /// Who receives it.
    pub server: Server,
    /// kill -9 in the middle.
    pub kill: Option<Kill>,
    /// Connections that carry no load.
    pub crowd: Crowd,
    /// What is looked at afterwards.
    pub check: Check,
}

/// Wire protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1, one request in flight a connection.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Load over MQTT, always with QoS 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Sessions, each of which publishes for one integration; 0: none.
    pub sessions: u32,
    /// Publishes in flight on each.
    pub in_flight: u32,
    /// Versions of the protocol, dealt out to the sessions in turn.
    pub versions: Vec<Version>,
    /// Whether every session subscribes to the results of its publishes and checks them. Without, all that it knows is
    /// the PUBACK, which over 3.1.1 does not tell stored from refused.
    pub results: bool,
}

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// 5.
    #[serde(rename = "5")]
    V5,
}

/// Content-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Plain.
    Identity,
    /// gzip, level 1.
    Gzip,
    /// zstd, level 1.
    Zstd,
}

/// What becomes of a refused batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRefusal {
    /// Sent again after Retry-After, until it is acked.
    Retry,
    /// Given up: it must not be there afterwards.
    Drop,
}

/// How requests follow one another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Load {
    /// As fast as the answers come.
    Closed {
        /// Guess of the highest rate, only to know how many integrations keep within their limits.
        requests_per_s_max: f64,
    },
    /// At a fixed rate whatever the answers do; latency counts from the intended time.
    Open {
        /// Offered rate.
        requests_per_s: f64,
    },
    /// Open loop at a multiple of what another profile reached in the same run.
    OpenTimes {
        /// The multiple.
        times: f64,
        /// The other profile's name; it is run first.
        of: String,
    },
}

/// What is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Integrations; absent: as many as the rate needs within 10,000 requests a minute each.
    pub integrations: Option<u32>,
    /// Sensors over all integrations.
    pub sensors: u32,
    /// Every sensor reports each of these.
    pub metrics: Vec<String>,
    /// Readings in one request.
    pub readings_per_batch: u32,
    /// Time between two readings of a series. Milliseconds.
    pub step_ms: i64,
    /// How far before now the first reading lies. Hours.
    pub start_hours_ago: f64,
    /// Share of broken entries, 0 to 1.
    pub bad_share: f64,
    /// Share of acked batches that are sent once more, unchanged.
    pub resend_share: f64,
    /// Share of acked batches that are sent once more with other values: the later must win.
    pub rewrite_share: f64,
    /// In which order the sensors of an integration come.
    pub order: Order,
    /// Seed of everything that varies.
    pub seed: u64,
    /// Bodies encoded before the load starts (for compressed ones, whose making is dear).
    pub prepared_requests: u32,
    /// The body's form.
    pub body: BodyForm,
}

/// In which order the sensors of an integration come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As registered.
    Sequential,
    /// In a fixed order without locality.
    Shuffled,
}

/// The body as a template, so that another server's format is data too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyForm {
    /// Before the first entry.
    pub prefix: String,
    /// One entry. Fields: `{id} {external_id} {metric} {value} {unit} {timestamp} {timestamp_s} {timestamp_ms}
    /// {timestamp_us} {timestamp_ns}`.
    pub entry: String,
    /// Between two entries.
    pub separator: String,
    /// After the last entry.
    pub suffix: String,
    /// Content-Type.
    pub content_type: String,
}

/// Who receives it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Which server.
    pub kind: ServerKind,
    /// CPU list for `taskset -c`; absent: all.
    pub cores: Option<String>,
    /// Overrides for sensorgate, `"room.key" = "value"`, given as `SENSORGATE__ROOM__KEY`.
    pub config: BTreeMap<String, String>,
    /// Command line of a peer; `{port}` and `{dir}` are filled in. It must not fork.
    pub command: Vec<String>,
    /// Path that batches are posted to.
    pub path: String,
    /// Topic that batches are published to; `{integration_id}` is filled in.
    pub topic: String,
    /// Topic of their results.
    pub results_topic: String,
    /// Whether a stored session subscribes to the readings and leaves before the load begins: a broker only keeps what
    /// somebody is to get (peers only).
    pub stored_subscription: bool,
    /// Path that answers 2xx once the server is ready; empty where it is ready once it accepts connections (peers only;
    /// sensorgate has /readyz).
    pub ready_path: String,
    /// Threads whose names start so work behind the ack; their CPU is told apart.
    pub background_threads: Vec<String>,
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// The real one, with setup and ledger.
    Sensorgate,
    /// hyper that reads the body and drops it.
    FloorDrop,
    /// hyper and simd-json into borrowed strings, nothing else.
    FloorParse,
    /// Another product, started by `command`.
    Command,
}

/// kill -9 in the middle.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Shortest time between two kills. Seconds.
    pub every_min_s: f64,
    /// Longest time between two kills. Seconds.
    pub every_max_s: f64,
}

/// Connections that carry no load.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crowd {
    /// Connections that made one request and stay open.
    pub idle_connections: u32,
    /// Connections that send a request a few bytes at a time.
    pub slow_clients: u32,
    /// MQTT sessions that subscribed, published one batch and stay open.
    pub idle_sessions: u32,
    /// MQTT sessions that send a publish a few bytes at a time.
    pub slow_sessions: u32,
    /// How long the server's memory is left to settle before and after the idle ones came. Seconds.
    pub settle_s: f64,
    /// Whether the integrations of the idle sessions are suspended once the load has ended, and their end is timed.
    pub kick: bool,
}

/// What is looked at afterwards.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Share of the series that are read back and compared, 0 to 1.
    pub read_back_share: f64,
    /// How long the server may take until it is quiet after the load. Seconds.
    pub settle_s: f64,
    /// How long the server must do next to nothing to count as quiet. Seconds.
    pub quiet_s: f64,
    /// Whether an acked reading is looked for every second while the load runs.
    pub lag_probe: bool,
}

impl Profile {
    /// Reads `name_or_path`: a path to a TOML file, or the name of one that is shipped in `profiles/`.
    ///
    /// # Errors
    ///
    /// When the file or one of its bases cannot be read or does not fit.
    pub fn load(name_or_path: &str) -> Result<Self> {
        let path = locate(name_or_path)?;
        let table = read_with_base(&path, 0)?;
        let mut profile: Self =
            table.try_into().with_context(|| format!("{} does not fit the form of a profile", path.display()))?;
        profile.name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("profile").to_owned();
        profile.check().with_context(|| format!("profile {}", profile.name))?;
        Ok(profile)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.connections + self.mqtt.sessions > 0, "connections or mqtt.sessions: 1 or more");
        ensure!(self.threads > 0 && self.streams > 0, "threads, streams: 1 or more");
        self.check_mqtt()?;
        ensure!(self.streams == 1 || self.protocol == Protocol::Http2, "streams above 1 need protocol = \"http2\"");
        ensure!(self.data.readings_per_batch > 0, "readings_per_batch: 1 or more");
        ensure!(self.data.sensors > 0 && !self.data.metrics.is_empty(), "sensors and metrics: 1 or more");
        ensure!(self.data.step_ms > 0, "step_ms: 1 or more");
        for (key, share) in [
            ("bad_share", self.data.bad_share),
            ("resend_share", self.data.resend_share),
            ("rewrite_share", self.data.rewrite_share),
            ("read_back_share", self.check.read_back_share),
        ] {
            ensure!((0.0..=1.0).contains(&share), "{key} = {share}: 0 to 1");
        }
        if let Some(kill) = &self.kill {
            ensure!(
                kill.every_min_s > 0.0 && kill.every_max_s >= kill.every_min_s,
                "kill: 0 < every_min_s <= every_max_s"
            );
        }
        if self.server.kind == ServerKind::Command && self.server.command.is_empty() {
            bail!("server.kind = \"command\" needs server.command");
        }
        Ok(())
    }

    fn check_mqtt(&self) -> Result<()> {
        let mqtt = &self.mqtt;
        ensure!((1..=1_000).contains(&mqtt.in_flight), "mqtt.in_flight: 1 to 1000");
        ensure!(!mqtt.versions.is_empty(), "mqtt.versions: one or more");
        ensure!(
            mqtt.sessions == 0 || self.encoding == Encoding::Identity,
            "a payload is never compressed: mqtt.sessions needs encoding = \"identity\""
        );
        ensure!(
            mqtt.sessions == 0 || mqtt.results || self.data.bad_share == 0.0,
            "without mqtt.results nobody sees which entries were refused: bad_share must be 0"
        );
        ensure!(!self.crowd.kick || self.crowd.idle_sessions > 0, "crowd.kick needs crowd.idle_sessions");
        Ok(())
    }

    /// Whether anything of it goes over MQTT.
    #[must_use]
    pub fn speaks_mqtt(&self) -> bool {
        self.mqtt.sessions + self.crowd.idle_sessions + self.crowd.slow_sessions > 0
    }

    /// Whole time under load, warm-up included. Seconds.
    #[must_use]
    pub fn total_s(&self) -> f64 {
        self.warm_up_s + self.duration_s
    }

    /// The offered (or, in a closed loop, the guessed) request rate. `None` while it hangs on another profile.
    #[must_use]
    pub fn requests_per_s(&self) -> Option<f64> {
        match self.load {
            Load::Closed { requests_per_s_max } => Some(requests_per_s_max),
            Load::Open { requests_per_s } => Some(requests_per_s),
            Load::OpenTimes { .. } => None,
        }
    }

    /// How many integrations it takes.
    ///
    /// A window has 60 s and 10,000 requests; a run shorter than that is one window. A fifth is left as a margin.
    #[must_use]
    pub fn integrations(&self) -> u32 {
        if let Some(integrations) = self.data.integrations {
            return integrations.max(1);
        }
        let requests = self.requests_per_s().unwrap_or(0.0)
            * self.total_s().min(60.0)
            * (1.0 + self.data.resend_share + self.data.rewrite_share);
        let needed = (requests * 1.2 / f64::from(REQUESTS_PER_MINUTE_MAX)).ceil().max(1.0) as u32;
        needed.max(self.threads)
    }
}

/// The folder of the shipped profiles.
#[must_use]
pub fn shipped_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles")
}

fn locate(name_or_path: &str) -> Result<PathBuf> {
    let path = PathBuf::from(name_or_path);
    if path.is_file() {
        return Ok(path);
    }
    let shipped = shipped_dir().join(format!("{name_or_path}.toml"));
    ensure!(shipped.is_file(), "there is no profile {name_or_path}: neither a file nor in {}", shipped_dir().display());
    Ok(shipped)
}

fn read_with_base(path: &Path, depth: u32) -> Result<toml::Table> {
    ensure!(depth < 8, "{}: bases go in a circle", path.display());
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut table: toml::Table = toml::from_str(&text).with_context(|| format!("{} is not TOML", path.display()))?;
    let Some(base) = table.remove("base") else { return Ok(table) };
    let name = base.as_str().context("base must be the name of a profile")?;
    let beside = path.with_file_name(format!("{name}.toml"));
    let base_path = if beside.is_file() { beside } else { locate(name)? };
    let mut merged = read_with_base(&base_path, depth + 1)?;
    merge(&mut merged, table);
    Ok(merged)
}

/// Lays `over` onto `table`, table by table; a `load` table is replaced whole, since its keys hang on its mode.
fn merge(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) if key != "load" => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_is_sound() {
        let mut seen = 0;
        for entry in std::fs::read_dir(shipped_dir()).unwrap() {
            let path = entry.unwrap().path();
            let profile = Profile::load(path.to_str().unwrap()).unwrap();
            assert!(!profile.description.is_empty(), "{}", profile.name);
            seen += 1;
        }
        assert!(seen > 15, "{seen}");
    }

    #[test]
    fn a_rate_within_the_limits_decides_the_number_of_integrations() {
        let mut profile = Profile::load("main").unwrap();
        profile.data.integrations = None;
        profile.warm_up_s = 2.0;
        profile.duration_s = 58.0;
        for (requests_per_s, expected) in [(1.0, 1), (138.0, 1), (140.0, 2), (3_333.0, 24)] {
            profile.load = Load::Open { requests_per_s };
            assert_eq!(profile.integrations(), expected, "{requests_per_s}");
        }
        profile.duration_s = 8.0;
        profile.load = Load::Closed { requests_per_s_max: 3_000.0 };
        assert_eq!(profile.integrations(), 4, "a run shorter than a window is one window");
    }

    #[test]
    fn a_profile_lays_itself_over_its_base() {
        let mut table: toml::Table =
            toml::from_str("a = 1\n[b]\nc = 1\nd = 2\n[load]\nmode = \"closed\"\nx = 1").unwrap();
        merge(&mut table, toml::from_str("[b]\nd = 3\n[load]\nmode = \"open\"").unwrap());
        let expected: toml::Table = toml::from_str("a = 1\n[b]\nc = 1\nd = 3\n[load]\nmode = \"open\"").unwrap();
        assert_eq!(table, expected);
    }
}
