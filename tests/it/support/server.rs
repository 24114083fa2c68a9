//! The real binary as a child process.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// How long the server may take to open its listeners or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Dropped, it is killed; a log line of level ERROR that the test did not expect fails the test.
pub struct Server {
    pub data: PathBuf,
    pub http_url: String,
    pub mqtt_url: String,
    pub admin_url: String,
    pub token_url: String,
    pub audience: String,
    /// Everything in the ready file.
    urls: Value,
    child: Option<Child>,
    variables: Vec<(String, String)>,
    starts: u32,
    expected_errors: Vec<String>,
    folder: TempDir,
}

/// A command that runs the binary with nothing of our own environment that configures it.
pub fn sensorgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensorgate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SENSORGATE__") {
            command.env_remove(name);
        }
    }
    command
}

impl Server {
    /// A server with the default configuration.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server whose configuration differs in these variables (`SENSORGATE__ROOM__KEY`).
    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut server = Self::prepare(variables);
        server.launch("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
        server
    }

    /// The same on a directory of its own, not started yet.
    pub fn prepare(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Self {
            data: folder.path().join("data"),
            http_url: String::new(),
            mqtt_url: String::new(),
            admin_url: String::new(),
            token_url: String::new(),
            audience: String::new(),
            urls: Value::Null,
            child: None,
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            starts: 0,
            expected_errors: Vec::new(),
            folder,
        }
    }

    /// Makes an organisation with two administrators: e-mail address and one-time password of each.
    pub fn bootstrap(&self, organisation: &str, emails: [&str; 2]) -> Vec<(String, String)> {
        let output = sensorgate()
            .args(["bootstrap", "--output", "json", "--organisation", organisation])
            .args(["--admin", emails[0], "--admin", emails[1], "--data-dir"])
            .arg(&self.data)
            .output()
            .expect("the binary starts");
        assert!(output.status.success(), "bootstrap: {}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let admins = answer["admins"].as_array().expect("a list");
        admins.iter().map(|admin| (text(&admin["email"]), text(&admin["one_time_password"]))).collect()
    }

    /// Starts it on these addresses and waits until its listeners are open.
    pub fn launch(&mut self, http: &str, mqtt: &str, admin: &str) {
        let ready = self.folder.path().join(format!("ready-{}.json", self.starts));
        let log = File::create(self.log_path(self.starts)).expect("a log file");
        self.starts += 1;
        let child = sensorgate()
            .arg("serve")
            .args(["--http", http, "--mqtt", mqtt, "--admin", admin])
            .arg("--data-dir")
            .arg(&self.data)
            .arg("--ready-file")
            .arg(&ready)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
        self.wait_until_ready(&ready);
    }

    fn wait_until_ready(&mut self, ready: &Path) {
        let deadline = Instant::now() + PATIENCE;
        while !ready.exists() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("the child can be asked"));
            assert!(ended.is_none(), "the server ended with {ended:?}: {}", self.log());
            assert!(Instant::now() < deadline, "the server is not ready: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
        let text = fs::read_to_string(ready).expect("the ready file");
        let urls: Value = serde_json::from_str(&text).expect("JSON in the ready file");
        let url = |name: &str| urls[name].as_str().unwrap_or_else(|| panic!("{name} in {text}")).to_owned();
        self.http_url = url("http_url");
        self.mqtt_url = url("mqtt_url");
        self.admin_url = url("admin_url");
        self.token_url = url("token_url");
        self.audience = url("audience");
        self.urls = urls;
    }

    /// Another address of the ready file.
    pub fn url(&self, name: &str) -> &str {
        self.urls[name].as_str().unwrap_or_else(|| panic!("{name} in {}", self.urls))
    }

    /// Kills it as a power cut would: no signal that it could handle.
    pub fn kill_9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// Asks it to stop and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for the end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not stop: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Host and port of the MQTT listener.
    pub fn mqtt_authority(&self) -> &str {
        self.mqtt_url.split_once("://").expect("a URL").1
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().expect("kill starts").success());
    }

    /// Starts it again on the same directory and, so that clients find it, on the same ports.
    pub fn restart(&mut self) {
        let [http, mqtt, admin] = [&self.http_url, &self.mqtt_url, &self.admin_url].map(|url| authority(url));
        self.launch(&http, &mqtt, &admin);
    }

    /// Changes one variable for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Allows log lines of level ERROR that contain `text`.
    pub fn expect_error(&mut self, text: &str) {
        self.expected_errors.push(text.to_owned());
    }

    fn log_path(&self, start: u32) -> PathBuf {
        self.folder.path().join(format!("log-{start}.txt"))
    }

    /// Everything that it has logged, over all starts.
    pub fn log(&self) -> String {
        (0..self.starts).filter_map(|start| fs::read_to_string(self.log_path(start)).ok()).collect()
    }

    fn unexpected_errors(&self) -> Vec<String> {
        let expected = |line: &str| self.expected_errors.iter().any(|text| line.contains(text.as_str()));
        let log = self.log();
        log.lines()
            .filter(|line| line.contains(" ERROR ") || line.contains("panicked at"))
            .filter(|line| !expected(line))
            .map(str::to_owned)
            .collect()
    }
}

fn authority(url: &str) -> String {
    let (_scheme, rest) = url.split_once("://").unwrap_or(("", url));
    rest.trim_end_matches('/').to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill_9();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("the server's last lines:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            return;
        }
        let errors = self.unexpected_errors();
        assert!(errors.is_empty(), "errors that the test did not expect:\n{}", errors.join("\n"));
    }
}
