//! The command line as an administrator uses it: the real binary, with a folder of its own for the session.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Facility, server::sensorgate};

/// An administrator's machine.
pub struct Cli {
    pub state: TempDir,
    url: String,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The same, which must have ended like this.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// The value in the line `NAME  value` of a card on standard output.
    #[track_caller]
    pub fn line(&self, name: &str) -> &str {
        let value = self.out.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with("  ")));
        value.unwrap_or_else(|| panic!("no line {name} in {}", self.out)).trim()
    }
}

impl Cli {
    /// For a service, with nobody signed in.
    pub fn new(url: &str) -> Self {
        Self { state: tempfile::tempdir().expect("a temporary directory"), url: url.to_owned() }
    }

    /// The two administrators of a facility, both signed in.
    pub fn of(facility: &Facility) -> [Self; 2] {
        let sign_in = |email: &str, password: &str| {
            let cli = Self::new(&facility.server.admin_url);
            cli.piped(&["login", email, "--password-stdin"], password).expect(0);
            cli
        };
        let [alice, bob] = &facility.passwords;
        [sign_in("alice@example.org", alice), sign_in("bob@example.org", bob)]
    }

    /// The command, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sensorgate();
        command.args(arguments).env("SENSORGATE_URL", &self.url).env("XDG_STATE_HOME", self.state.path());
        command.env_remove("SENSORGATE_TOKEN").env_remove("NO_COLOR");
        command
    }

    /// Runs a command without a terminal.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.piped(arguments, "")
    }

    /// Likewise, with something on standard input.
    pub fn piped(&self, arguments: &[&str], input: &str) -> Said {
        said(self.command(arguments), input)
    }

    /// Runs a command that must be done.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Said {
        self.run(arguments).expect(0)
    }

    /// Its answer as JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.ok(&[arguments, &["--output", "json"]].concat()).json()
    }

    /// Its answer as JSON, once it is what the test waits for: logs are written beside the requests.
    #[track_caller]
    pub fn until(&self, arguments: &[&str], is_there: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..100 {
            let answer = self.json(arguments);
            if is_there(&answer) {
                return answer;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("not seen in {}", self.json(arguments))
    }

    /// The files of the sessions.
    pub fn files(&self) -> Vec<PathBuf> {
        let folder = self.state.path().join("sensorgate");
        let files = std::fs::read_dir(folder).map(|all| all.filter_map(|entry| Some(entry.ok()?.path())).collect());
        files.unwrap_or_default()
    }
}

/// Runs a command to its end.
pub fn said(mut command: Command, input: &str) -> Said {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    // A command that does not read has ended, or closed its end.
    drop(child.stdin.take().expect("a pipe").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}
