//! The steps of `cargo xtask test`, in order; all are run, and the list of those that failed comes last.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use crate::packages::{self, Found};

struct Step {
    name: &'static str,
    run: fn() -> Outcome,
}

enum Outcome {
    Passed,
    Failed(String),
    /// Could not be run here; a failure where `CI=true`.
    Missing(String),
}

const STEPS: &[Step] = &[
    Step { name: "fmt", run: || cargo(&["fmt", "--all", "--", "--check"], &[]) },
    Step {
        name: "clippy",
        run: || cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[]),
    },
    Step { name: "unit", run: || cargo(&["test", "--workspace", "--lib", "--bins", "--locked"], &[]) },
    Step {
        name: "house rules",
        run: || cargo(&["test", "--test", "tidy", "--test", "statements", "--test", "contract", "--locked"], &[]),
    },
    Step { name: "black box", run: black_box },
    Step { name: "load", run: load },
    Step {
        name: "docs",
        run: || cargo(&["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")]),
    },
    Step { name: "deny", run: deny },
];

/// Runs the steps (those whose name contains `only`).
pub(crate) fn run(only: Option<&str>) -> ExitCode {
    let strict = strict();
    let mut report: Vec<(&str, String, Duration)> = Vec::new();
    let mut failed = 0;
    for step in STEPS.iter().filter(|step| only.is_none_or(|word| step.name.contains(word))) {
        say(&format!("\n=== {} ===", step.name));
        let started = Instant::now();
        let verdict = match (step.run)() {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Missing(why) if !strict => format!("SKIPPED: {why}"),
            Outcome::Missing(why) => {
                failed += 1;
                format!("FAILED (CI=true allows no gaps): {why}")
            }
            Outcome::Failed(why) => {
                failed += 1;
                format!("FAILED: {why}")
            }
        };
        report.push((step.name, verdict, started.elapsed()));
    }
    say("\n=== summary ===");
    for (name, verdict, took) in &report {
        say(&format!("{name:12} {:>5.0} s  {verdict}", took.as_secs_f64()));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[allow(clippy::print_stdout, reason = "a task speaks to whoever started it")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Whether a gap is a failure.
fn strict() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).envs(variables.iter().copied()).current_dir(root());
    if strict() {
        // Nothing is built twice there, and what an incremental build keeps fills a small disk.
        command.env("CARGO_INCREMENTAL", "0");
    }
    outcome(&mut command)
}

fn outcome(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{command:?} ended with {status}")),
        Err(error) => Outcome::Failed(format!("{command:?} did not start: {error}")),
    }
}

/// The tests that start the real binary and speak to it over sockets.
fn black_box() -> Outcome {
    let gaps = packages::missing();
    for gap in &gaps {
        say(&format!("Not available, its tests are skipped: {gap}"));
    }
    let programs = [
        "test",
        "--workspace",
        "--locked",
        "--no-fail-fast",
        "--test",
        "it",
        "--test",
        "oidc_provider",
        "--test",
        "black_box",
    ];
    match cargo(&programs, &[]) {
        Outcome::Passed if !gaps.is_empty() => Outcome::Missing(gaps.join("; ")),
        other => other,
    }
}

/// The run of schemathesis that is part of the black-box tests, with more rounds.
pub(crate) fn contract(examples: u32, seed: u32) -> ExitCode {
    let (examples, seed) = (examples.to_string(), seed.to_string());
    let variables = [("CONTRACT_EXAMPLES", examples.as_str()), ("CONTRACT_SEED", seed.as_str())];
    packages::missing().iter().for_each(|gap| say(&format!("Not available: {gap}")));
    match cargo(&["test", "--test", "it", "schemathesis", "--locked", "--", "--nocapture"], &variables) {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed(why) | Outcome::Missing(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

/// A short run of the load generator with its ledger, against an optimised build.
fn load() -> Outcome {
    if let failed @ Outcome::Failed(_) =
        cargo(&["build", "--release", "--locked", "-p", "sensorgate", "-p", "loadtest"], &[])
    {
        return failed;
    }
    cargo(&["run", "--release", "--locked", "-p", "loadtest", "--", "run", "loadtest/profiles/smoke.toml"], &[])
}

fn deny() -> Outcome {
    match packages::cargo_deny() {
        Found::At(path) => outcome(
            Command::new(path).args(["--workspace", "check", "bans", "licenses", "sources"]).current_dir(root()),
        ),
        Found::Nowhere(why) => Outcome::Missing(why),
    }
}
