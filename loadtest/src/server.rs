//! The server under test as a process: start, wait until it is ready, kill, start again on the same ports, stop.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::profile::{Server as Spec, ServerKind};

/// What a server writes into its ready file once it listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoints {
    /// The integration API.
    pub http_url: String,
    /// MQTT, where it is served.
    #[serde(default)]
    pub mqtt_url: Option<String>,
    /// The admin API.
    #[serde(default)]
    pub admin_url: String,
    /// The token end point.
    #[serde(default)]
    pub token_url: String,
    /// Audience of integration tokens.
    #[serde(default)]
    pub audience: String,
}

impl Endpoints {
    /// Address of the integration API.
    ///
    /// # Errors
    ///
    /// When its URL is not `http://IP:PORT`.
    pub fn http_addr(&self) -> Result<SocketAddr> {
        addr_of(&self.http_url)
    }

    /// Address of MQTT.
    ///
    /// # Errors
    ///
    /// When it is not served, or its URL is not `mqtt://IP:PORT`.
    pub fn mqtt_addr(&self) -> Result<SocketAddr> {
        addr_of(self.mqtt_url.as_deref().context("the server has no mqtt_url: it does not serve MQTT")?)
    }
}

fn addr_of(url: &str) -> Result<SocketAddr> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("mqtt://"));
    let rest = rest.with_context(|| format!("{url}: the load goes over plain http or mqtt"))?;
    let host = rest.split('/').next().unwrap_or(rest).replace("localhost", "127.0.0.1");
    host.parse().with_context(|| format!("{url} has no address and port"))
}

/// A server that was started here. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    spec: Spec,
    binary: PathBuf,
    data_dir: PathBuf,
    log: PathBuf,
    child: Child,
    started: Instant,
    /// Where it listens.
    pub endpoints: Endpoints,
}

/// How a restart went.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Recovery {
    /// Since the start of the load. Seconds.
    pub at_s: f64,
    /// Bytes in the spool at the moment of the kill.
    pub spool_bytes: u64,
    /// Time to read those bytes once, from the start of the first file to the end of the last. Milliseconds.
    pub read_once_ms: f64,
    /// From the start of the process until it is ready. Milliseconds.
    pub ready_ms: f64,
}

impl Server {
    /// Starts what `spec` names and waits until it is ready. `binary` is sensorgate's, or this program's for a floor.
    ///
    /// # Errors
    ///
    /// When it does not start or is not ready within a minute; the end of its log is part of the error.
    pub fn start(spec: &Spec, binary: &Path, data_dir: &Path, log: &Path) -> Result<Self> {
        let ports = Ports::Any;
        let (child, started, endpoints) = launch(spec, binary, data_dir, log, &ports)?;
        let mut server = Self {
            spec: spec.clone(),
            binary: binary.to_owned(),
            data_dir: data_dir.to_owned(),
            log: log.to_owned(),
            child,
            started,
            endpoints,
        };
        server.await_ready()?;
        Ok(server)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From its last start until now.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// kill -9, and a new start on the same directory and ports.
    ///
    /// # Errors
    ///
    /// When it does not come back.
    pub fn kill_and_restart(&mut self, since_start: Duration) -> Result<Recovery> {
        self.kill()?;
        let spool = self.data_dir.join("spool");
        let (spool_bytes, read_once) = read_once(&spool);
        let ports = Ports::Same(self.endpoints.clone());
        let (child, started, endpoints) = launch(&self.spec, &self.binary, &self.data_dir, &self.log, &ports)?;
        self.child = child;
        self.started = started;
        self.endpoints = endpoints;
        self.await_ready()?;
        Ok(Recovery {
            at_s: since_start.as_secs_f64(),
            spool_bytes,
            read_once_ms: read_once.as_secs_f64() * 1e3,
            ready_ms: self.started.elapsed().as_secs_f64() * 1e3,
        })
    }

    /// kill -9.
    ///
    /// # Errors
    ///
    /// When it had ended by itself before.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server had ended by itself before the kill: {status}{}", self.log_end());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Fails if the server has ended by itself.
    ///
    /// # Errors
    ///
    /// With its status and the end of its log.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server has ended by itself: {status}{}", self.log_end()),
        }
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Errors
    ///
    /// When it takes longer than half a minute or ends with another status than 0.
    pub fn stop(mut self) -> Result<Duration> {
        let begin = Instant::now();
        let told = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status().context("cannot run kill")?;
        ensure!(told.success(), "SIGTERM could not be sent");
        while begin.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success() || self.spec.kind != ServerKind::Sensorgate,
                    "after SIGTERM the server ended with {status}{}",
                    self.log_end()
                );
                return Ok(begin.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("the server did not end within 30 s of SIGTERM{}", self.log_end())
    }

    fn await_ready(&mut self) -> Result<()> {
        let (url, path) = match self.spec.kind {
            ServerKind::Sensorgate => (&self.endpoints.admin_url, "/readyz".to_owned()),
            ServerKind::Command => (&self.endpoints.http_url, self.spec.ready_path.clone()),
            ServerKind::FloorDrop | ServerKind::FloorParse => return Ok(()),
        };
        let addr = addr_of(url)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while !(if path.is_empty() { accepts(addr) } else { answers_2xx(addr, &path) }) {
            self.ensure_running()?;
            ensure!(Instant::now() < deadline, "not ready after 60 s: {path}{}", self.log_end());
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn log_end(&self) -> String {
        log_end(&self.log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

enum Ports {
    Any,
    Same(Endpoints),
}

/// Starts the process and waits for its ready file.
fn launch(
    spec: &Spec,
    binary: &Path,
    data_dir: &Path,
    log: &Path,
    ports: &Ports,
) -> Result<(Child, Instant, Endpoints)> {
    let ready_file = data_dir.with_extension("ready.json");
    if ready_file.exists() {
        std::fs::remove_file(&ready_file)?;
    }
    let [http, mqtt, admin] = match ports {
        Ports::Any => ["127.0.0.1:0"; 3].map(str::to_owned),
        Ports::Same(endpoints) => [
            endpoints.http_addr()?.to_string(),
            endpoints.mqtt_addr().map_or_else(|_| "127.0.0.1:0".to_owned(), |addr| addr.to_string()),
            if endpoints.admin_url.is_empty() { String::new() } else { addr_of(&endpoints.admin_url)?.to_string() },
        ],
    };
    let peer_port = match (spec.kind, ports) {
        (ServerKind::Command, Ports::Any) => TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
        (_, Ports::Same(endpoints)) => endpoints.http_addr()?.port(),
        _ => 0,
    };
    let mut words: Vec<String> = match spec.kind {
        ServerKind::Sensorgate => {
            ["serve", "--http", &http, "--mqtt", &mqtt, "--admin", &admin, "--data-dir"].map(str::to_owned).into()
        }
        ServerKind::FloorDrop => ["floor", "drop", "--http", &http].map(str::to_owned).into(),
        ServerKind::FloorParse => ["floor", "parse", "--http", &http].map(str::to_owned).into(),
        ServerKind::Command => spec.command[1..]
            .iter()
            .map(|word| word.replace("{port}", &peer_port.to_string()).replace("{dir}", &data_dir.to_string_lossy()))
            .collect(),
    };
    let program = if spec.kind == ServerKind::Command { PathBuf::from(&spec.command[0]) } else { binary.to_owned() };
    if spec.kind == ServerKind::Sensorgate {
        words.push(data_dir.to_string_lossy().into_owned());
    }
    if spec.kind != ServerKind::Command {
        words.extend(["--ready-file".to_owned(), ready_file.to_string_lossy().into_owned()]);
    }
    let mut command = match &spec.cores {
        // taskset replaces itself by the program: the process id stays.
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cores).arg(&program);
            command
        }
        None => Command::new(&program),
    };
    command.args(words).stdin(Stdio::null());
    for (key, value) in &spec.config {
        let (room, name) = key.split_once('.').with_context(|| format!("{key}: write room.key"))?;
        command.env(format!("SENSORGATE__{}__{}", room.to_uppercase(), name.to_uppercase()), value);
    }
    let file = File::options().create(true).append(true).open(log)?;
    command.stdout(file.try_clone()?).stderr(file);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    if spec.kind == ServerKind::Command {
        let http_url = format!("http://127.0.0.1:{peer_port}");
        let endpoints = Endpoints {
            http_url,
            // A peer speaks one protocol on its one port: the profile's.
            mqtt_url: Some(format!("mqtt://127.0.0.1:{peer_port}")),
            admin_url: String::new(),
            token_url: String::new(),
            audience: String::new(),
        };
        return Ok((child, started, endpoints));
    }
    let endpoints = await_ready_file(&mut child, &ready_file, log)?;
    Ok((child, started, endpoints))
}

fn await_ready_file(child: &mut Child, ready_file: &Path, log: &Path) -> Result<Endpoints> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(text) = std::fs::read_to_string(ready_file)
            && let Ok(endpoints) = serde_json::from_str(&text)
        {
            return Ok(endpoints);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the server ended at its start: {status}{}", log_end(log));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            bail!("no {} after 60 s{}", ready_file.display(), log_end(log));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn accepts(addr: SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(500)).is_ok()
}

/// A plain GET, so that waiting for readiness needs no runtime.
fn answers_2xx(addr: SocketAddr, path: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(500)) else { return false };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let mut head = [0u8; 12];
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut head).is_ok()
        && head[9] == b'2'
}

/// Reads all files below `path` once; gives their size and the time it took.
fn read_once(path: &Path) -> (u64, Duration) {
    let begin = Instant::now();
    let bytes = read_tree(path);
    (bytes, begin.elapsed())
}

fn read_tree(path: &Path) -> u64 {
    if path.is_dir() {
        return std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| read_tree(&entry.path())).sum();
    }
    let mut buffer = vec![0u8; 1 << 20];
    let Ok(mut file) = File::open(path) else { return 0 };
    let mut bytes = 0;
    while let Ok(count @ 1..) = std::io::Read::read(&mut file, &mut buffer) {
        bytes += count as u64;
    }
    bytes
}

fn log_end(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(15).collect();
    let end: Vec<&str> = lines.into_iter().rev().collect();
    format!("\n--- end of its log {}:\n{}", log.display(), end.join("\n"))
}
