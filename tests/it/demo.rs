//! The demo: what it stores, what it leaves behind, and the lines that it prints for a newcomer to paste.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{mosquitto, server::sensorgate, skip};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn demo(data: &Path) -> Command {
    let mut command = sensorgate();
    command.args(["demo", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir"]);
    command.arg(data);
    command
}

fn once(data: &Path) -> Output {
    demo(data).arg("--once").output().expect("the binary starts")
}

// api.md, "Trying it out".
#[test]
fn the_demo_stores_and_reads_back_every_reading() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let output = once(&data);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    assert!(said.contains("95904 read back equal to the file, 0 missing"), "{said}");
    assert!(said.contains("96 batches over HTTP") && said.contains("96 batches over MQTT"), "{said}");
    let files: Value = serde_json::from_str(&std::fs::read_to_string(data.join("demo.json")).unwrap()).unwrap();
    assert!(files["mqtt_url"].as_str().expect("an address").starts_with("mqtt://127.0.0.1:"));
    for secret in ["client_secret", "api_key"] {
        let secret = files[secret].as_str().expect("a secret");
        assert!(!said.contains(secret) && !text(&output.stderr).contains(secret), "the demo prints no secret");
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(data.join("demo.env")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = once(&data);
    assert!(!again.status.success() && text(&again.stderr).contains("not empty"), "{}", text(&again.stderr));
}

// Without a listener for MQTT everything goes over HTTP, and no line to paste speaks of it.
#[test]
fn the_demo_does_without_mqtt() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let output = demo(&data).arg("--once").env("SENSORGATE__MQTT__ENABLED", "false").output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    assert!(said.contains("192 batches over HTTP") && !said.contains("over MQTT:"), "{said}");
    assert!(!std::fs::read_to_string(data.join("demo.env")).unwrap().contains("MQTT"));
}

/// A demo that serves; asked to end when dropped.
struct Serving {
    child: Child,
    said: String,
}

impl Serving {
    fn start(data: &Path) -> Self {
        let mut child = demo(data).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut said = String::new();
        while !said.contains("Serving until Ctrl-C.") {
            assert!(lines.read_line(&mut said).expect("text") > 0, "it ended: {said}");
        }
        // Nobody reads on, so nothing may be in its way.
        std::thread::spawn(move || lines.read_to_string(&mut String::new()));
        Self { child, said }
    }

    /// What is to be pasted: everything between the two headings.
    fn lines_to_paste(&self) -> &str {
        let (_, rest) = self.said.split_once("paste into another terminal) ===\n").expect("a heading");
        rest.split_once("=== Pages ===").expect("a heading after it").0
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let asked = Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status();
        assert!(asked.expect("kill starts").success());
        assert!(self.child.wait().expect("it can be waited for").success(), "Ctrl-C is a clean end");
    }
}

/// A shell that finds curl and the MQTT clients, wherever they are on this machine.
fn shell() -> Option<Command> {
    let publisher = mosquitto::command("mosquitto_pub")?;
    if Command::new("curl").arg("--version").output().is_err() {
        skip("curl is not installed");
        return None;
    }
    let folder = Path::new(publisher.get_program()).parent().expect("a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&path))).expect("paths");
    let mut shell = Command::new("sh");
    shell.env("PATH", path);
    for (name, value) in publisher.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    Some(shell)
}

/// What the pasted lines said, and how many of them reported a stored reading.
fn paste(lines: &str, mut shell: Command) -> (String, usize) {
    let output = shell.args(["-e", "-c", lines]).output().expect("a shell");
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && !errors.contains("Warning"), "{said}\n{errors}");
    let results = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let stored = results.filter(|result| result["accepted"] == 1 && result["received"] == 1).count();
    (said, stored)
}

// api.md, "Trying it out": the printed lines work when they are pasted, exactly as they stand.
#[test]
fn the_printed_lines_work_when_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(first) = shell() else { return };
    let serving = Serving::start(&folder.path().join("demo"));
    let lines = serving.lines_to_paste();
    let (mut said, mut stored) = paste(lines, first);
    assert!(said.contains("HTTP/1.1 200 OK"), "the reading over HTTP: {said}");
    assert!(said.contains(r#""value":21.4"#), "read back: {said}");
    // They give the subscriber a second. A machine that is busy with other tests may need another go.
    for _ in 0..2 {
        if stored < 2 {
            (said, stored) = paste(lines, shell().expect("as before"));
        }
    }
    assert_eq!(stored, 2, "the answer over HTTP and the result over MQTT: {said}");
}
