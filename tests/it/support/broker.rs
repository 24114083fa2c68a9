//! Somebody else's MQTT broker as a child process, on a free port of this machine.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::mosquitto;

const PATIENCE: Duration = Duration::from_secs(30);

/// Mosquitto with its sessions and queues on disk.
pub struct Mosquitto {
    pub port: u16,
    settings: String,
    child: Option<Child>,
    folder: TempDir,
}

impl Mosquitto {
    /// A running broker that lets everybody in; none, after saying so, where Mosquitto is not to be had.
    pub fn start() -> Option<Self> {
        Self::start_with(|_| "allow_anonymous true\n".to_owned())
    }

    /// The same with further settings, which may name files in the folder given.
    pub fn start_with(settings: impl FnOnce(&Path) -> String) -> Option<Self> {
        mosquitto::command("mosquitto")?;
        let folder = tempfile::tempdir().expect("a temporary directory");
        let settings = settings(folder.path());
        let mut broker = Self { port: free_port(), settings, child: None, folder };
        broker.launch();
        Some(broker)
    }

    /// Starts it on the same port and the same directory.
    pub fn launch(&mut self) {
        let data = self.folder.path().join("data");
        fs::create_dir_all(&data).expect("a directory");
        // `user` matters to root alone: it keeps what it may write to.
        let text = format!(
            "user root\nlistener {} 127.0.0.1\npersistence true\npersistence_location {}/\nmax_queued_messages 0\n{}",
            self.port,
            data.display(),
            self.settings
        );
        let file = self.folder.path().join("mosquitto.conf");
        fs::write(&file, text).expect("written");
        let log = fs::File::create(self.folder.path().join("log.txt")).expect("a file");
        let mut command = mosquitto::command("mosquitto").expect("it was there before");
        let child = command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(log).spawn().expect("mosquitto starts");
        self.child = Some(child);
        self.wait_until_open();
    }

    fn wait_until_open(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().expect("it runs").try_wait().expect("it can be asked");
            let log = fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "mosquitto does not listen: {log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it as an operator would: it writes its sessions and queues down.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let id = child.id().to_string();
        let told = Command::new("kill").args(["-s", "TERM", &id]).status().expect("kill starts");
        assert!(told.success());
        child.wait().expect("reaped");
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail when it has ended by itself.
            let _ended = child.kill().and_then(|()| child.wait().map(drop));
        }
    }
}

/// rumqttd, whose queues are in memory.
pub struct Rumqttd {
    pub port: u16,
    child: Child,
}

impl Rumqttd {
    /// A running broker; none, after saying so, where `cargo xtask test` has not built it.
    pub fn start() -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/xtask/rumqttd-broker/rumqttd-broker");
        if !program.is_file() {
            super::skip("rumqttd is not built; cargo xtask test builds it");
            return None;
        }
        let port = free_port();
        let mut command = Command::new(program);
        let child = command.arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let broker = Self { port, child: child.expect("rumqttd starts") };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "rumqttd does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Some(broker)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

impl Drop for Rumqttd {
    fn drop(&mut self) {
        // Both fail when it has ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait().map(drop));
    }
}

/// A port that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
